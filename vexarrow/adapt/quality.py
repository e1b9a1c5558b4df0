"""The few numbers of a projection's report that a list has room for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a projection is. `overlap`: share of the 10 native neighbours under it; `source_overlap`: the same when
    one stays on the source model; `pairs`: it was trained with. None means not known. `verdict`: in a word, "unknown"
    for a projection that nobody has measured."""

    overlap: float | None = None
    source_overlap: float | None = None
    pairs: int | None = None
    verdict: str = "unknown"

    def to_json(self) -> dict[str, Any]:
        """All fields, JSON-like."""
        return asdict(self)

    @classmethod
    def of_header(cls, header: Mapping[str, Any]) -> Quality:
        """What the header of a file says."""
        report, verdict, pairs = (_inside(header, name) for name in ("report", "verdict", "pairs"))
        overlap, source = (_inside(report, name).get("value") for name in ("overlap", "source_overlap"))
        return cls.from_json(
            {
                "overlap": overlap,
                "source_overlap": source,
                "pairs": pairs.get("count"),
                "verdict": verdict.get("verdict"),
            }
        )

    @classmethod
    def from_json(cls, said: Any) -> Quality:
        """The inverse; what is no number, or no word, is not known."""
        said = said if isinstance(said, Mapping) else {}
        overlap, source, pairs = (_number(said.get(name)) for name in ("overlap", "source_overlap", "pairs"))
        verdict = said.get("verdict")
        return cls(
            overlap,
            source,
            None if pairs is None else int(pairs),
            verdict if isinstance(verdict, str) and verdict.isprintable() else "unknown",
        )

    def __str__(self) -> str:
        if self.overlap is None or self.source_overlap is None:
            return "nothing is known of its quality" if self.verdict == "unknown" else self.verdict
        return f"{self.overlap:.0%} of native neighbours (source alone: {self.source_overlap:.0%}), {self.verdict}"


def _inside(header: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = header.get(name)
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
