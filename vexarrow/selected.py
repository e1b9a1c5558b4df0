"""A source seen through a selection: only the wanted records come out, the others are counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from vexarrow.protocols import Description, Page, Partition, Source
from vexarrow.selection import Selection


class Selected:
    """A source whose pages hold the wanted records alone, up to the limit over all partitions together.

    What the source has not applied itself is applied here; dropped records are added to `Page.skipped`. Records after
    the one that reaches the limit are neither read nor counted.
    """

    def __init__(self, source: Source, selection: Selection) -> None:
        self._source = source
        self._selection = selection
        self._left = selection.limit

    def describe(self) -> Description:
        """What the source says; counts are those before the selection."""
        return self._source.describe()

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """Those of the source."""
        return self._source.partitions(wanted)

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """The pages of the source with the wanted records."""
        if self._left == 0:
            return
        for page in self._source.extract(part, rows=rows, after=after):
            yield self._wanted(page)
            if self._left == 0:
                return

    def _wanted(self, page: Page) -> Page:
        mask = self._selection.mask(page.batch)
        rows = page.batch.num_rows
        if mask is None and (self._left is None or rows < self._left):
            self._left = None if self._left is None else self._left - rows
            return page
        hits = np.arange(rows) if mask is None else np.flatnonzero(mask)
        if self._left is not None:
            if len(hits) >= self._left:
                hits = hits[: self._left]
                rows = int(hits[-1]) + 1
            self._left -= len(hits)
        batch = page.batch.slice(0, rows) if len(hits) == rows else page.batch.take(pa.array(hits, type=pa.int64()))
        lines = None if page.lines is None else [page.lines[row] for row in hits.tolist()]
        return page._replace(batch=batch, lines=lines, skipped=page.skipped + rows - len(hits))
