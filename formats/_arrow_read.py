"""The Arrow source: partitions of files or record batches, pages that are slices of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from vexarrow.errors import DataError, NotFound
from vexarrow.files import compression, filesystem, find, open_input
from vexarrow.location import STANDARD_STREAM, Location, is_url, redact
from vexarrow.protocols import Description, Page, Partition

from . import _roles, _vectors
from ._parquet_files import hive_values, reading
from ._scan import Cursor, Scan, divided, key_of

if TYPE_CHECKING:
    from vexarrow.selection import Selection

    from ._columns import Rows

MAGIC = b"ARROW1"


@dataclass
class _Opened:
    """An open file or stream. `count` is the number of its record batches, None for a stream."""

    reader: Any
    count: int | None
    passed: int = 0

    @property
    def schema(self) -> pa.Schema:
        return self.reader.schema

    def batches(self, low: int, high: int | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Record batches from `low` to before `high` (None for the end), with their numbers."""
        if self.count is not None:
            for index in range(low, self.count if high is None else high):
                yield index, self.reader.get_batch(index)
            return
        for index, batch in enumerate(self.reader):
            if index >= low:
                yield index, batch
            self.passed += batch.num_rows

    def rows_before(self, index: int) -> int:
        """The number of rows before a record batch; in a stream, that has to be the current one."""
        if self.count is None:
            return self.passed
        return sum(self.reader.get_batch(before).num_rows for before in range(index))


class ArrowSource:
    """Records of one or many Arrow files or streams; see `vexarrow.protocols.Source`."""

    def __init__(self, location: Location, selection: Selection, suffixes: Sequence[str]) -> None:
        packed = [*suffixes, *(suffix + codec for suffix in suffixes for codec in (".gz", ".zst"))]
        self.location = location
        self.selection = selection
        self.files = {key_of(location.target, info.path): info for info in find(location.target, packed)}
        self._stdin: Any = None
        first = next(iter(self.files.values()))
        with self._opened(first.path) as opened:
            self._plan = self._described(opened)

    def describe(self) -> Description:
        """What the schema says, and the number of records where that costs nothing."""
        return self._plan

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """A partition a file; ranges of record batches when more are wanted than there are files."""
        parts = []
        for key, info in self.files.items():
            if wanted <= len(self.files) or info.path == STANDARD_STREAM or compression(info.path):
                parts.append(Partition(f"{key}#"))
                continue
            with self._opened(info.path) as opened:
                ranges = divided(opened.count or 0, wanted // len(self.files))
            parts += [Partition(f"{key}#{low}-{high}") for low, high in ranges] if opened.count else []
            parts += [] if opened.count else [Partition(f"{key}#")]
        return parts

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """Pages of a partition in file order. A page's cursor is a record batch and an offset in it."""
        key, _, span = part.key.rpartition("#")
        if key not in self.files:
            raise NotFound(f"{self.location}: {key} is not there any more")
        low, high = (int(n) for n in span.split("-")) if span else (0, None)
        start = Cursor.parse(after) if after else Cursor(low)
        path = self.files[key].path
        with self._opened(path) as opened:
            roles = _roles.find(opened.schema, self.location)
            scan = Scan(roles, hive_values(path), self.selection, path, rows)
            for index, batch in opened.batches(start.chunk, high):
                chunk = Batch(batch, roles, partial(opened.rows_before, index))
                yield from scan.pages(chunk, start if index == start.chunk else Cursor(index))

    def close(self) -> None:
        """Forget the standard input."""
        self._stdin = None

    @contextmanager
    def _opened(self, path: str) -> Iterator[_Opened]:
        with reading(path):
            if path == STANDARD_STREAM:
                # It can be read once only: what was opened to see the schema goes on as the data.
                if self._stdin is None:
                    with open_input(path) as raw:
                        self._stdin = _sequential(raw, path)
                yield self._stdin
            elif compression(path):
                with open_input(path) as raw:
                    yield _sequential(raw, path)
            else:
                with _seekable(path) as source:
                    yield _open_seekable(source, path)

    def _described(self, opened: _Opened) -> Description:
        roles = _roles.find(opened.schema, self.location)
        plan = described(opened.schema, roles)
        dim = plan.dim
        if dim is None and opened.count:
            dim = _vectors.length_of(opened.reader.get_batch(0).column(roles.vector)) or None
        sizes = [info.size for info in self.files.values()]
        return replace(
            plan,
            dim=dim,
            rows=_rows(opened) if len(self.files) == 1 else None,
            size=None if None in sizes else sum(size or 0 for size in sizes),
            details={
                "files": len(self.files),
                "layout": "stream" if opened.count is None else "file",
                "columns": {f.name: str(f.type) for f in opened.schema},
            },
        )


def described(schema: pa.Schema, roles: _roles.Roles) -> Description:
    """What a schema tells of its records."""
    kind = schema.field(roles.vector).type
    dim = kind.list_size if pa.types.is_fixed_size_list(kind) else None
    return Description(dim=dim or None, id_type=roles.id_type, vectors=dict.fromkeys(roles.vectors.values()))


@contextmanager
def _seekable(path: str) -> Iterator[Any]:
    if is_url(path):
        fs, inner = filesystem(path)
        source = fs.open(inner, "rb")
    else:
        source = _mapped(path)
    try:
        yield source
    finally:
        # A mapping lives on as long as batches use it.
        source.close()


def _mapped(path: str) -> Any:
    """A memory map; an empty file cannot be mapped."""
    return pa.memory_map(path) if Path(path).stat().st_size else pa.BufferReader(b"")


def _open_seekable(source: Any, path: str) -> _Opened:
    start = source.read(len(MAGIC))
    source.seek(0)
    if start == MAGIC:
        reader = pa.ipc.open_file(source)
        return _Opened(reader, reader.num_record_batches)
    return _open_stream(source, start, path)


def _sequential(raw: Any, path: str) -> _Opened:
    """A stream as it comes; a file in a stream is read whole first, because its footer is at the end."""
    start = raw.read(len(MAGIC))
    while 0 < len(start) < len(MAGIC):
        more = raw.read(len(MAGIC) - len(start))
        if not more:
            break
        start += more
    source = _Rejoined(start, raw)
    if start == MAGIC:
        reader = pa.ipc.open_file(pa.BufferReader(source.read()))
        return _Opened(reader, reader.num_record_batches)
    return _open_stream(pa.PythonFile(source, mode="r"), start, path)


def _open_stream(source: Any, start: bytes, path: str) -> _Opened:
    if not start:
        raise DataError(f"{redact(path)}: is empty; an Arrow file has a schema even without records")
    return _Opened(pa.ipc.open_stream(source), None)


class _Rejoined:
    """A stream with the bytes that were read to look at put back."""

    closed = False

    def __init__(self, start: bytes, rest: Any) -> None:
        self._start = start
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        """Like any `read`."""
        if size < 0:
            data, self._start = self._start + bytes(self._rest.read()), b""
            return data
        parts = [self._start[:size]]
        self._start = self._start[size:]
        size -= len(parts[0])
        while size:
            data = self._rest.read(size)
            if not data:
                break
            parts.append(bytes(data))
            size -= len(data)
        return b"".join(parts)

    def readable(self) -> bool:
        """True."""
        return True

    def close(self) -> None:
        """The stream belongs to who opened it."""


class Batch:
    """A record batch as a chunk. `first` may be a function, which is called when a row has to be named."""

    def __init__(self, batch: pa.RecordBatch, roles: _roles.Roles, first: int | Callable[[], int]) -> None:
        self.rows = batch.num_rows
        self._first = first
        self._light = batch.select(roles.light)
        self._heavy = batch.select(roles.heavy)

    @property
    def first(self) -> int:
        """The number of the first row in the file."""
        return self._first() if callable(self._first) else self._first

    def light(self, offset: int, count: int) -> pa.RecordBatch:
        """A slice of all columns but the vectors."""
        return self._light.slice(offset, count)

    def heavy(self, offset: int, count: int) -> pa.RecordBatch:
        """A slice of the vector columns."""
        return self._heavy.slice(offset, count)

    def pick(self, rows: Rows) -> None:
        """Slices cost nothing, so there is nothing to gain."""


def _rows(opened: _Opened) -> int | None:
    """The number of records in a file; None for a stream, which would have to be read."""
    return None if opened.count is None else int(opened.reader.count_rows())
