"""Parquet: one file, a directory of parts, a glob or a hive directory (`namespace=x/`), ours or anybody's.

Reading. Files of ours are known by `vex.id_type` in their metadata. In others the vector, the id and the text are found
by type and name (`--vector-column`, `--id-column`, `--text-column` decide), columns with the name and type of a record
field are that field, and all others are members of the metadata (`_members.py` says how values look there). Vectors of
double are rounded to float32; a value too large for one is a reject. A row group whose statistics exclude the wanted
namespaces is not read, and vectors are read only where a record is wanted.

Writing. One file; or, when the target ends in "/", is a directory, or `--partition-by namespace` is given, a directory.
A partitioned directory keeps the column in its files too: null (`namespace=__HIVE_DEFAULT_PARTITION__`) and ""
(`namespace=`) stay different for every reader, and a number stays text for polars. DuckDB and polars read it as it is;
pandas and pyarrow need `partitioning=None`, because they refuse a column that is in the path and the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vexarrow.protocols import Capabilities, Format, Sink, Source

from ._options import COLUMN_OPTIONS, COMPRESSION, METADATA, PARTITION_BY

if TYPE_CHECKING:
    from vexarrow.location import Location
    from vexarrow.selection import Selection

SUFFIXES = (".parquet", ".pq")


@contextmanager
def open_reader(location: Location, selection: Selection) -> Iterator[Source]:
    """The records of a Parquet file, directory or glob. Raises NotFound, DataError, and SchemaError when no column can
    be the vector or the id."""
    from ._parquet_read import ParquetSource

    yield ParquetSource(location, selection, SUFFIXES)


@contextmanager
def open_writer(location: Location) -> Iterator[Sink]:
    """A Parquet file or directory that appears whole at `finish`, or not at all."""
    from ._parquet_write import open_sink

    with open_sink(location) as sink:
        yield sink


format = Format(
    name="parquet",
    summary="Parquet files and hive directories, ours or foreign",
    suffixes=SUFFIXES,
    open_reader=open_reader,
    open_writer=open_writer,
    options=(*COLUMN_OPTIONS, METADATA, PARTITION_BY, COMPRESSION),
    capabilities=Capabilities(mixed_dims=False, pushdown=frozenset({"namespace", "where"})),
    directory=True,
    magic=b"PAR1",
)
