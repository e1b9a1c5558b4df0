"""What a run did: counts that balance, and the summary that ends every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from vexarrow.errors import VexError
from vexarrow.location import redact

WIDTH = 46


@dataclass(slots=True)
class Counts:
    """Records of a partition or of a run. read = written + rejected + skipped."""

    read: int = 0
    written: int = 0
    rejected: int = 0
    skipped: int = 0

    def add(self, other: Counts) -> None:
        """Add the counts of a partition."""
        self.read += other.read
        self.written += other.written
        self.rejected += other.rejected
        self.skipped += other.skipped

    def check(self, what: str) -> None:
        """Raises VexError when the counts do not balance, which would mean that records were lost."""
        if self.read != self.written + self.rejected + self.skipped:
            raise VexError(
                f"{what}: the counts do not balance: read {self.read}, written {self.written}, "
                f"rejected {self.rejected}, skipped {self.skipped}"
            )


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `copy`. `duration` is in seconds; `codes` counts rejects by reason; `store` tells
    that the target is a store, whose records are upserted, and no file; `facts` are what transforms say of their part,
    JSON-like."""

    source: str
    target: str
    kind: str
    counts: Counts
    duration: float
    codes: Mapping[str, int] = field(default_factory=dict)
    rejects_file: str | None = None
    store: bool = False
    sidecar: str | None = None
    content_digest: str | None = None
    partitions: Mapping[str, Counts] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    facts: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The report as one JSON-like object."""
        body = asdict(self)
        counts, facts = body.pop("counts"), body.pop("facts")
        for path in ("sidecar", "rejects_file"):
            body[path] = None if body[path] is None else redact(body[path])
        return {"source": body.pop("source"), "target": body.pop("target"), **counts, **body, **facts}

    def summary(self) -> str:
        """The block that ends a run."""
        head = f"┌─ {self.kind} summary "
        lines = [head + "─" * max(1, WIDTH - len(head))]
        lines += [f"│ {name:<14}: {value}" for name, value in self._rows()]
        return "\n".join([*lines, "└" + "─" * (WIDTH - 1)])

    def _rows(self) -> list[tuple[str, str]]:
        counts = self.counts
        done = "upserted" if self.store else "written"
        rows = [
            ("total records", str(counts.read)),
            (done, str(counts.written)),
            ("skipped", str(counts.skipped)),
        ]
        if counts.rejected:
            reasons = ", ".join(f"{code} {n}" for code, n in sorted(self.codes.items(), key=lambda one: -one[1])[:4])
            rows.append(("rejected", f"{counts.rejected} ({reasons})"))
            rows.append(("rejects file", str(self.rejects_file)))
        return [*rows, ("duration", f"{self.duration:.1f}s")]
