"""Arrow IPC: `.arrow` and `.feather` files, `.arrows` streams, and streams through stdin and stdout.

Local files are mapped into memory, and batches are slices of them without a copy. Which of the two kinds a file is, its
first bytes say, not its name. Files that vexarrow did not write are read as foreign Parquet is, with the same options
(see `parquet.py`). Written files hold JSON columns as plain strings, which every reader knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vexarrow.protocols import Capabilities, Format, Option, Sink, Source

from ._options import COLUMN_OPTIONS

if TYPE_CHECKING:
    import pyarrow as pa

    from vexarrow.location import Location
    from vexarrow.selection import Selection

SUFFIXES = (".arrows", ".arrow", ".feather", ".ipc")
COMPRESSION = Option(("compression",), "zstd, lz4 or none, within the file", default="none", side="sink")


@contextmanager
def open_reader(location: Location, selection: Selection) -> Iterator[Source]:
    """The records of Arrow files or streams. Raises NotFound, DataError, and SchemaError when no column can be the
    vector or the id."""
    from ._arrow_read import ArrowSource

    source = ArrowSource(location, selection, SUFFIXES)
    try:
        yield source
    finally:
        source.close()


@contextmanager
def open_memory(reader: pa.RecordBatchReader, location: Location, selection: Selection) -> Iterator[Source]:
    """The records of Arrow data in memory, of any schema that a file may have."""
    from ._arrow_memory import open_memory as opened

    with opened(reader, location, selection) as source:
        yield source


@contextmanager
def open_writer(location: Location) -> Iterator[Sink]:
    """An Arrow file, or a stream for `.arrows` and stdout, that appears whole at `finish`, or not at all."""
    from ._arrow_write import open_sink

    with open_sink(location) as sink:
        yield sink


format = Format(
    name="arrow",
    summary="Arrow IPC files and streams, memory-mapped",
    suffixes=SUFFIXES,
    open_reader=open_reader,
    open_writer=open_writer,
    open_memory=open_memory,
    options=(*COLUMN_OPTIONS, COMPRESSION),
    capabilities=Capabilities(mixed_dims=False, pushdown=frozenset({"namespace", "where"})),
    aliases=("ipc", "feather"),
    compressions=(".gz", ".zst"),
    streams=True,
    magic=b"ARROW1",
)
