"""A source made of batches in memory, for tests of what reads sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from vexarrow.protocols import Description, Page, Partition, Reject


@dataclass
class Batches:
    """Yields its batches cut into pages; lines are counted from 1 and go on from batch to batch unless `lines` is
    off. `rejects` come with the first page of each batch, by its position."""

    batches: Sequence[pa.RecordBatch]
    rejects: dict[int, Sequence[Reject]] = field(default_factory=dict)
    size: int | None = None
    lines: bool = True
    file: str | None = "in.vmig.jsonl"

    def describe(self) -> Description:
        return Description(size=self.size)

    def partitions(self, wanted: int) -> Sequence[Partition]:
        return [Partition(str(wanted), sum(batch.num_rows for batch in self.batches))]

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        line = 0
        for at, batch in enumerate(self.batches):
            rejects = tuple(self.rejects.get(at, ()))
            for start in range(0, max(batch.num_rows, 1), rows):
                piece = batch.slice(start, rows)
                numbers = list(range(line + 1, line + 1 + piece.num_rows)) if self.lines else None
                line += piece.num_rows
                yield Page(piece, str(line), rejects, lines=numbers, file=self.file)
                rejects = ()
