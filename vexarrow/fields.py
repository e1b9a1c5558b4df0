"""Where the fields of foreign records are, as options of connectors say it; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from vexarrow.location import Location
from vexarrow.protocols import Option

FIELD_OPTIONS = (
    Option(("text-field",), "the key of the text, in collections of other tools", side="source"),
    Option(("namespace-field",), "the key of the namespace", side="source"),
    Option(("id-field",), "a key that holds the id", side="source"),
    Option(("metadata-field",), "a key whose members are the metadata", side="source"),
)


@dataclass(frozen=True)
class Found:
    """Where the fields of foreign records are, as the options say; None: found by looking."""

    text: str | None = None
    namespace: str | None = None
    id: str | None = None
    metadata: str | None = None

    @classmethod
    def of(cls, location: Location) -> Found:
        """As the options of a location say."""
        return cls(*(location.option(f"{name}-field") for name in ("text", "namespace", "id", "metadata")))
