"""The Parquet source: partitions of files or row groups, vectors read last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from vexarrow import records
from vexarrow.errors import NotFound, UsageError
from vexarrow.files import FileInfo, find
from vexarrow.location import STANDARD_STREAM, Location, is_url
from vexarrow.protocols import Description, Page, Partition

from . import _parquet_files, _roles, _vectors
from ._parquet_pages import VectorChunk
from ._scan import Cursor, Scan, divided, key_of

if TYPE_CHECKING:
    from vexarrow.selection import Selection

    from ._columns import Rows

# Records that are looked at together when most are not wanted, by the size of their vectors.
SPAN_BYTES = 32 << 20
SPAN_ROWS = 65_536
# More footers than these (of remote files, of local ones) are not read merely to count rows.
COUNTED = {True: 64, False: 1024}


class ParquetSource:
    """Records of one or many Parquet files; see `vexarrow.protocols.Source`."""

    def __init__(self, location: Location, selection: Selection, suffixes: Sequence[str]) -> None:
        if location.target == STANDARD_STREAM:
            raise UsageError(
                "Parquet cannot be read from the standard input, since its footer is at the end; Arrow can"
            )
        self.location = location
        self.selection = selection
        self.files = {key_of(location.target, info.path): info for info in find(location.target, suffixes)}
        self._groups: dict[str, list[int]] = {}
        first = next(iter(self.files.values()))
        with _parquet_files.opened(first.path) as (file, _):
            self._plan = self._described(file, first)

    def describe(self) -> Description:
        """What schemas, footers and folders say."""
        return self._plan

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """A partition a file; large files in ranges of row groups when more are wanted than there are files."""
        if wanted <= len(self.files):
            return [Partition(f"{key}#", self._rows(key)) for key in self.files]
        total = sum(info.size or 1 for info in self.files.values()) or 1
        parts = []
        for key, info in self.files.items():
            rows = self._row_groups(key)
            for low, high in divided(len(rows), round(wanted * (info.size or 1) / total)):
                parts.append(Partition(f"{key}#{low}-{high}", sum(rows[low:high])))
        return parts

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """Pages of a partition in file order. A page's cursor is a row group and an offset in it."""
        key, _, span = part.key.rpartition("#")
        if key not in self.files:
            raise NotFound(f"{self.location}: {key} is not there any more")
        path = self.files[key].path
        with _parquet_files.opened(path) as (file, source):
            low, high = (int(n) for n in span.split("-")) if span else (0, file.num_row_groups)
            start = Cursor.parse(after) if after else Cursor(low)
            yield from self._pages(file, source, path, start, high, rows)

    def _pages(self, file: Any, source: Any, path: str, at: Cursor, end: int, rows: int) -> Iterator[Page]:
        roles = _roles.find(file.schema_arrow, self.location)
        constants = _parquet_files.hive_values(path)
        span = _span(file.metadata) if self.selection.filters else 0
        scan = Scan(roles, constants, self.selection, path, rows, span)
        first = sum(file.metadata.row_group(i).num_rows for i in range(at.chunk))
        for group in range(at.chunk, end):
            chunk = _RowGroup(file, source, group, first, roles, max(rows, span))
            first += chunk.rows
            if self._excluded(file.metadata, group, roles, constants):
                yield scan.nothing(group, chunk.rows)
            else:
                yield from scan.pages(chunk, at if group == at.chunk else Cursor(group))

    def _excluded(self, meta: Any, group: int, roles: _roles.Roles, constants: Mapping[str, str | None]) -> bool:
        """True when no record of a row group is of a wanted namespace, as far as statistics and folders tell."""
        wanted = self.selection.namespaces
        if wanted is None:
            return False
        column = roles.fields.get("namespace")
        if column is None:
            # Without a column or a folder of that name, all records are in no namespace.
            return constants.get("namespace") not in wanted
        return _parquet_files.excluded(meta, group, column, wanted)

    def _rows(self, key: str) -> int | None:
        if len(self.files) > COUNTED[is_url(self.location.target)]:
            return None
        return sum(self._row_groups(key))

    def _row_groups(self, key: str) -> list[int]:
        """The number of rows of each row group of a file."""
        if key not in self._groups:
            with _parquet_files.opened(self.files[key].path) as (file, _):
                meta = file.metadata
                self._groups[key] = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        return self._groups[key]

    def _described(self, file: Any, info: FileInfo) -> Description:
        roles = _roles.find(file.schema_arrow, self.location)
        said = {key.decode(): value.decode(errors="replace") for key, value in (file.metadata.metadata or {}).items()}
        counts = [self._rows(key) for key in self.files]
        known = [count for count in counts if count is not None]
        folders = [_parquet_files.hive_values(path.path) for path in self.files.values()]
        namespaces = {values["namespace"] for values in folders if "namespace" in values}
        return Description(
            dim=_dimension(file, roles),
            metric=said.get("vex.metric"),
            rows=sum(known) if len(known) == len(counts) else None,
            namespaces=sorted(namespaces, key=lambda name: (name is not None, name)),
            id_type=roles.id_type,
            model=said.get("vex.model"),
            source_store=said.get("vex.source"),
            vectors=dict.fromkeys(roles.vectors.values()),
            size=sum(one.size or 0 for one in self.files.values()),
            details={
                "files": len(self.files),
                "row_groups": file.num_row_groups if len(self.files) == 1 else None,
                "columns": {f.name: str(f.type) for f in file.schema_arrow},
                "written_by": file.metadata.created_by,
            },
        )


def _dimension(file: Any, roles: _roles.Roles) -> int | None:
    """The dimension that the schema or else the first vector tells."""
    kind = file.schema_arrow.field(roles.vector).type
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) or None
    for batch in file.iter_batches(batch_size=64, columns=[roles.vector]):
        return _vectors.length_of(batch.column(batch.schema.get_field_index(roles.vector)))
    return None


def _span(meta: Any) -> int:
    """How many rows to look at together when a filter leaves little of them."""
    total = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
    return min(SPAN_ROWS, SPAN_BYTES * int(meta.num_rows) // max(int(total), 1))


class _RowGroup:
    """A row group as a chunk; its vector columns are opened only when they are asked for."""

    def __init__(self, file: Any, source: Any, group: int, first: int, roles: _roles.Roles, span: int) -> None:
        self.rows = int(file.metadata.row_group(group).num_rows)
        self.first = first
        self.light = _Feed(file, group, roles.light, span).read
        self.heavy = _Feed(file, group, roles.heavy, span).read
        self._vector = file.schema_arrow.field(roles.vector)
        self._single = _single(file, source, group, roles) if not roles.vectors else None

    def pick(self, rows: Rows) -> pa.RecordBatch | None:
        """The vectors of some rows from the pages that hold them."""
        matrix = None if self._single is None else self._single.rows(rows)
        if matrix is None:
            return None
        return pa.record_batch([records.from_matrix(matrix)], names=[self._vector.name])


def _single(file: Any, source: Any, group: int, roles: _roles.Roles) -> VectorChunk | None:
    """A reader of single vectors, for fixed-size lists of float32."""
    kind = file.schema_arrow.field(roles.vector).type
    column = _parquet_files.column_at(file.metadata, f"{roles.vector}.list.element")
    fixed = pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32() and kind.list_size > 0
    return VectorChunk(source, file.metadata, group, column, kind.list_size) if fixed and column is not None else None


class _Feed:
    """Some columns of a row group, read forward only, in pieces of any size; opened when first asked."""

    def __init__(self, file: Any, group: int, columns: Sequence[str], span: int) -> None:
        self._columns = list(columns)
        # Not a method: a cycle would keep the buffers of a row group until Python looks for cycles.
        self._open = partial(file.iter_batches, span, row_groups=[group], columns=self._columns)
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._rest: pa.RecordBatch | None = None
        self._at = 0

    def read(self, offset: int, count: int) -> pa.RecordBatch:
        """`count` rows from `offset` on, which is at or after the end of what was read before."""
        parts: list[pa.RecordBatch] = []
        while count:
            batch = self._next()
            passed = min(max(offset - self._at, 0), batch.num_rows)
            taken = min(count, batch.num_rows - passed)
            if taken:
                parts.append(batch.slice(passed, taken))
            self._rest = batch.slice(passed + taken) if passed + taken < batch.num_rows else None
            self._at += passed + taken
            offset, count = offset + taken, count - taken
        return parts[0] if len(parts) == 1 else pa.concat_batches(parts)

    def _next(self) -> pa.RecordBatch:
        if self._rest is not None:
            return self._rest
        if self._batches is None:
            self._batches = self._open()
        # Names with dots select columns of a common prefix as well: keep what was asked for.
        return next(self._batches).select(self._columns)
