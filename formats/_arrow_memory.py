"""Arrow data that is in memory already, as a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vexarrow.protocols import Description, Page, Partition, Source

from . import _roles
from ._arrow_read import Batch, described
from ._scan import Cursor, Scan

if TYPE_CHECKING:
    import pyarrow as pa

    from vexarrow.location import Location
    from vexarrow.selection import Selection


@contextmanager
def open_memory(reader: pa.RecordBatchReader, location: Location, selection: Selection) -> Iterator[Source]:
    """The records of a stream of record batches of any schema. Raises SchemaError when no column can be the id or the
    vector. The stream can be read once, so cursors only tell pages apart."""
    yield MemorySource(reader, location, selection)


class MemorySource:
    """Records of a RecordBatchReader; one partition."""

    def __init__(self, reader: pa.RecordBatchReader, location: Location, selection: Selection) -> None:
        self._reader = reader
        self._selection = selection
        self._roles = _roles.find(reader.schema, location)

    def describe(self) -> Description:
        """What the schema says."""
        return described(self._reader.schema, self._roles)

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """The whole stream."""
        return [Partition("memory")]

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """The pages of the stream, in its order."""
        scan = Scan(self._roles, {}, self._selection, "memory", rows)
        first = 0
        for index, batch in enumerate(self._reader):
            chunk = Batch(batch, self._roles, first)
            first += chunk.rows
            yield from scan.pages(chunk, Cursor(index))
