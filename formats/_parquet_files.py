"""Opening Parquet files anywhere, with bounded memory; what folders and statistics say without reading a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from vexarrow.errors import DataError
from vexarrow.files import filesystem, translated
from vexarrow.location import is_url, redact

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
LOCAL_BUFFER = 1 << 20
REMOTE_BUFFER = 8 << 20
SMALL_GROUP = 64 << 20


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Translate what reading a Parquet or Arrow file raises; corrupt pages come as OSError without an errno."""
    with translated(path):
        try:
            yield
        except OSError as error:
            if error.errno is not None:
                raise
            raise DataError(f"{redact(path)}: {str(error).splitlines()[0]}") from error


@contextmanager
def opened(path: str) -> Iterator[tuple[Any, Any]]:
    """A ParquetFile, and what opens the Arrow file below it once more (mapped where it is local).

    Column chunks are read piece by piece, except small ones of a remote file, which come whole.
    """
    with reading(path):
        source = _source(path)
        try:
            again = (lambda: source) if is_url(path) else partial(pa.memory_map, path)
            yield _parquet_file(source, remote=is_url(path)), again
        finally:
            source.close()


def _source(path: str) -> Any:
    if is_url(path):
        fs, inner = filesystem(path)
        return pa.PythonFile(fs.open(inner, "rb", cache_type="none"), mode="r")
    return pa.OSFile(path, "rb")


def _parquet_file(source: Any, *, remote: bool) -> Any:
    meta = pq.read_metadata(source)
    largest = max((meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)), default=0)
    whole = remote and largest <= SMALL_GROUP
    buffer = 0 if whole else REMOTE_BUFFER if remote else LOCAL_BUFFER
    return pq.ParquetFile(source, metadata=meta, pre_buffer=whole, buffer_size=buffer, arrow_extensions_enabled=True)


def hive_values(path: str) -> dict[str, str | None]:
    """What the unbroken chain of `key=value` folders directly above a file says, percent-decoded."""
    values: dict[str, str | None] = {}
    for folder in reversed(path.replace("\\", "/").split("/")[:-1]):
        key, mark, value = folder.partition("=")
        if not (key and mark):
            break
        values[unquote(key)] = None if value == HIVE_NULL else unquote(value)
    return dict(reversed(values.items()))


def excluded(meta: Any, group: int, column: str | None, wanted: Sequence[str | None]) -> bool:
    """True when the statistics of a row group prove that no row has one of the wanted values in that column."""
    if column is None:
        return False
    place = column_at(meta, column)
    found = meta.row_group(group).column(place).statistics if place is not None else None
    if found is None:
        return False
    return not any(_possible(found, value, meta.row_group(group).num_rows) for value in wanted)


def column_at(meta: Any, name: str) -> int | None:
    """The number of a leaf column by its path."""
    names = (meta.schema.column(i).path for i in range(meta.num_columns))
    return next((i for i, path in enumerate(names) if path == name), None)


def _possible(found: Any, value: str | None, rows: int) -> bool:
    if value is None:
        return not found.has_null_count or found.null_count > 0
    if found.has_null_count and found.null_count == rows:
        return False
    if not found.has_min_max:
        return True
    low, high = _text(found.min), _text(found.max)
    return low is None or high is None or low <= value.encode() <= high


def _text(bound: Any) -> bytes | None:
    if isinstance(bound, str):
        return bound.encode()
    return bound if isinstance(bound, bytes) else None
