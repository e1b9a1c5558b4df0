"""Which collection holds the records of which namespace.

Usually one collection holds all, and the namespace is in the metadata. With `--namespace-as collection` every namespace
has a collection of its name; where that cannot be the name of a collection, it is what is left of it and a digest.
Records without a namespace are in the collection that `--collection` names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from vexarrow.location import Location

from ._chroma_address import is_name, several

_OTHER = re.compile(r"[^A-Za-z0-9]+")
_LONGEST = 60


@dataclass(frozen=True)
class Naming:
    """`one`: all records are in `collection`; else it has those without a namespace."""

    collection: str | None
    one: bool = True

    def of(self, namespace: str | None) -> str | None:
        """The collection of a namespace, None when nothing says which one it is."""
        if self.one or namespace is None:
            return self.collection
        if is_name(namespace) and namespace != self.collection:
            return namespace
        rest = _OTHER.sub("-", namespace)[:_LONGEST].strip("-")
        digest = hashlib.sha256(namespace.encode()).hexdigest()[:16]
        return f"{rest or 'namespace'}-{digest}"

    def listed(self, wanted: Sequence[str | None] | None) -> list[str] | None:
        """The collections that may hold the wanted namespaces, None for every collection that there is."""
        if self.one:
            return [self.collection] if self.collection else []
        if wanted is None:
            return None
        names = {self.collection, *map(self.of, wanted)}
        return sorted(name for name in names if name is not None)

    def fill(self, name: str, columns: dict[str, Any]) -> None:
        """Give records the namespace of their collection; another one that they carry becomes metadata."""
        if self.one:
            return
        for row, namespace in enumerate(columns["namespace"]):
            if name == self.collection or (namespace is not None and self.of(namespace) == name):
                continue
            columns["namespace"][row] = name
            if namespace is not None:
                members = {"namespace": namespace, **orjson.loads(columns["metadata"][row] or "{}")}
                columns["metadata"][row] = orjson.dumps(members).decode()


def naming(location: Location, collection: str | None) -> Naming:
    """As the options of a location say."""
    return Naming(collection, one=not several(location))
