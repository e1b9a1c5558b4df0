"""Reading a table: one snapshot for all readers, and for each a range of the key as one COPY in the key's order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from threading import Lock
from typing import Any

from vexarrow.errors import TransientError, Unsupported, UsageError, VexError
from vexarrow.location import Location
from vexarrow.patience import Requests
from vexarrow.payload import HIDDEN
from vexarrow.protocols import Description, Page, Partition
from vexarrow.selection import Selection

from ._pgvector_address import DEFAULT_TABLE, Address
from ._pgvector_decode import Rows
from ._pgvector_records import STORE, Reader, Selected
from ._pgvector_roles import index_settings, roles, table_metric
from ._pgvector_table import OLDER_TABLE, Column, Table, candidates, extension, found, missing
from ._pgvector_wire import Session

# Counting reads the whole table: what is larger (in blocks of 8 KB) is left uncounted.
_COUNTED_BLOCKS = 1 << 17
# In tables of up to so many blocks namespaces are counted one by one; in larger ones that takes too long.
_GROUPED_BLOCKS = 1 << 10
_MOST_NAMESPACES = 10_000
_INDEXED = """
    SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
    WHERE i.indrelid = $1::oid AND i.indkey[0]::text = $2 AND i.indisvalid AND i.indpred IS NULL
        AND m.amname = 'btree'"""
# Ranges of larger tables come from a sample of this many blocks.
_SAMPLED_BLOCKS = 256
_PAGE_BYTES = 32 << 20
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
Cursor = tuple[str, ...]


class TableSource:
    """One table as it was when the source was opened. Any number of threads may read partitions at once."""

    def __init__(self, address: Address, requests: Requests, leader: Session, selection: Selection, location: Location):
        self._address = address
        self._requests = requests
        self._leader = leader
        self._lock = Lock()
        self._table = _wanted_table(leader, address)
        self._roles = roles(self._table, location, address.place)
        self._dims = {name: self._dimension(column) for name, column in self._roles.further.items()}
        self._selected = Selected.of(self._table, self._roles, leader, self._dims)
        self._namespaces = selection.namespaces
        self._snapshot = leader.value("SELECT pg_export_snapshot()") or ""

    @classmethod
    @contextmanager
    def opened(cls, location: Location, selection: Selection) -> Iterator[TableSource]:
        """The source; its snapshot is held until the end. Raises NotFound, AccessError, SchemaError, UsageError."""
        address, requests = Address.of(location), Requests.of(location)
        leader = requests.call(lambda: Session.opened(address, requests.timeout))
        try:
            leader.run(_BEGIN)
            yield cls(address, requests, leader, selection, location)
        finally:
            leader.close()
            requests.close()

    # -- what is there ----------------------------------------------------------------------------------------------

    def describe(self) -> Description:
        """Dimension, metric and index as declared; records and namespaces of tables of up to a gigabyte."""
        known, table = self._roles, self._table
        with self._lock:
            version, _ = extension(self._leader)
            rows, namespaces = self._counted()
            dim = self._dimension(known.vector) if known.vector is not None else None
        settings = index_settings(table, known.vector)
        details: dict[str, object] = {
            "table": f"{table.schema}.{table.name}",
            "pgvector": version,
            "postgresql": self._leader.version // 10_000,
            "columns": {column.name: column.type for column in table.columns},
        }
        if rows is None and table.rows_estimated >= 0:
            details["rows_estimated"] = int(table.rows_estimated)
        if known.vector is not None:
            settings = {"type": known.vector.type, **settings}
        return Description(
            dim=dim,
            metric=table_metric(table, known.vector),
            rows=rows,
            namespaces=namespaces,
            id_type=known.id_type,
            source_store=STORE,
            vectors=self._dims,
            settings={"pgvector": settings} if settings else {},
            details=details | ({"index": settings} if settings.get("index") else {}),
        )

    def _counted(self) -> tuple[int | None, Sequence[str | None]]:
        table, column = self._table, self._roles.namespace
        if table.pages > _COUNTED_BLOCKS or table.kind not in "rm":
            return None, ()
        if column is not None and table.pages <= _GROUPED_BLOCKS:
            grouped = f"SELECT {self._namespace(column)}, count(*) FROM {table.sql} GROUP BY 1 ORDER BY 1"
            rows = self._leader.rows(grouped)
            return sum(int(count or 0) for _, count in rows), tuple(name for name, _ in rows)
        count = int(self._leader.value(f"SELECT count(*) FROM {table.sql}") or 0)
        return count, self._indexed_namespaces(column) if column is not None and table.own else ()

    def _indexed_namespaces(self, column: Column) -> Sequence[str | None]:
        """The namespaces, from one to the next along the index of their column; () where there is none."""
        if self._leader.value(_INDEXED, self._table.oid, str(column.number)) is None:
            return ()
        first = f"SELECT {column.sql} FROM {self._table.sql} WHERE {column.sql}"
        last = f"ORDER BY {column.sql} LIMIT 1"
        rows = self._leader.rows(
            f"WITH RECURSIVE one(name) AS (({first} IS NOT NULL {last}) UNION ALL "
            f"SELECT ({first} > one.name {last}) FROM one WHERE one.name IS NOT NULL) SELECT name FROM one LIMIT 10001"
        )
        if len(rows) > _MOST_NAMESPACES:
            return ()
        names = [name for (name,) in rows if name is not None]
        return [*names, None] if self._leader.rows(f"{first} IS NULL LIMIT 1") else names

    def _dimension(self, column: Column) -> int | None:
        """What the column declares, else the length of the first vector that is met."""
        if column.dim is not None or column.type == "sparsevec":
            return column.dim
        one = f"{column.sql}[1]" if column.type == "_vector" else column.sql
        first = f"SELECT vector_dims({one}) FROM {self._table.sql} WHERE {one} IS NOT NULL LIMIT 1"
        dim = self._leader.value(first)
        return int(dim) if dim else None

    # -- partitions -------------------------------------------------------------------------------------------------

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """Ranges of the key that hold about as many records each; of blocks where the table has no key."""
        with self._lock:
            bounds = self._bounds(wanted) if wanted > 1 else []
        ends: list[Any] = [None, *bounds, None]
        keys = (json.dumps(pair, ensure_ascii=False) for pair in pairwise(ends))
        return [Partition(key) for key in keys]

    def _bounds(self, wanted: int) -> list[list[str]]:
        table, keys = self._table, self._roles.keys
        if not keys:
            return [[f"({table.pages * at // wanted},0)"] for at in range(1, wanted)] if table.pages >= wanted else []
        if table.kind in "vf":  # nothing says that their ids are unique, or how they are spread
            return []
        texts = ", ".join(f"{column.sql}::text" for column in keys)
        order = ", ".join(column.sql for column in keys)
        sample = ""
        if table.pages > 2 * _SAMPLED_BLOCKS:
            percent = 100 * _SAMPLED_BLOCKS / table.pages
            sample = f" TABLESAMPLE SYSTEM ({percent:.6f}) REPEATABLE (0)"
        ranked = f"SELECT {order}, row_number() OVER (ORDER BY {order}) AS vex_row, count(*) OVER () AS vex_all"
        picked = " OR ".join(f"vex_row = vex_all * {at} / {wanted}" for at in range(1, wanted))
        query = f"SELECT {texts} FROM ({ranked} FROM {table.sql}{sample}) AS vex_keys WHERE {picked} ORDER BY vex_row"
        return [[value or "" for value in row] for row in self._leader.rows(query)]

    # -- records ----------------------------------------------------------------------------------------------------

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """The records of a range in the order of the key. When a connection is lost, reading goes on over another."""
        bounds = _understood(part.key, "partition", 2)
        start = tuple(_understood(after, "cursor", None)) if after is not None else None
        reading = _Reading(self, bounds, rows, start)
        try:
            while (pages := self._requests.call(reading.more)) is not None:
                yield from pages
        finally:
            reading.close()

    def session(self) -> Session:
        """A new connection that sees what all others see."""
        session = Session.opened(self._address, self._requests.timeout)
        try:
            # Rows come in the order of the key's index, not when all of them have been sorted.
            session.run(
                f"{_BEGIN}; SET TRANSACTION SNAPSHOT {session.literal(self._snapshot)}; SET LOCAL enable_sort = off"
            )
        except TransientError:
            session.close()
            raise
        except VexError as error:
            session.close()
            raise TransientError(f"{self._address.place}: the snapshot is gone: {error}") from error
        return session

    def check_resumable(self, session: Session) -> None:
        """Raise Unsupported when a key does not say where reading goes on: in a view or foreign table whose ids are
        not unique or null, and in a partitioned table without a key, whose rows lie in several places."""
        table, identity = self._table, self._roles.id.sql
        why = ""
        if table.kind == "p" and not self._roles.keys:
            why = "the table is partitioned and has no unique key"
        elif table.kind in "vf":
            repeated = (
                f"SELECT 1 FROM {table.sql} GROUP BY {identity} HAVING count(*) > 1 OR {identity} IS NULL LIMIT 1"
            )
            why = f"the ids of {table.name} are not unique, or null" if session.rows(repeated) else ""
        if why:
            raise Unsupported(f"{self._address.place}: reading cannot go on in the middle: {why}; begin again")

    def query(self, session: Session, bounds: Sequence[Any], after: Cursor | None) -> str:
        """The COPY of a range, from right after a key."""
        conditions = [*self._range(session, bounds, after), *self._wanted(session)]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        keys = self._roles.keys
        # A bare name would be that of the column's text in the output, which sorts 10 before 9.
        order = f" ORDER BY {', '.join(f'vex_rows.{column.sql}' for column in keys)}" if keys else ""
        rows = f"SELECT {self._selected.sql} FROM {self._table.sql} AS vex_rows{where}{order}"
        return f"COPY ({rows}) TO STDOUT (FORMAT BINARY)"

    def _range(self, session: Session, bounds: Sequence[Any], after: Cursor | None) -> list[str]:
        lower, upper = bounds
        keys = self._roles.keys
        if not keys:
            limits = [(">=", lower), ("<", upper), (">", after)]
            return [f"ctid {sign} {session.literal(key[0])}::tid" for sign, key in limits if key is not None]
        names = ", ".join(column.sql for column in keys)
        limits = [(">", lower if after is None else after), ("<=", upper)]
        return [f"({names}) {sign} ({', '.join(map(session.literal, key))})" for sign, key in limits if key is not None]

    def _wanted(self, session: Session) -> list[str]:
        column = self._roles.namespace
        if self._namespaces is None or column is None:
            return []
        given = self._namespace(column)
        names = [session.literal(name) for name in self._namespaces if name is not None and "\0" not in name]
        conditions = [f"{given} IN ({', '.join(names)})"] if names else []
        conditions += [f"{given} IS NULL"] if None in self._namespaces else []
        return [f"({' OR '.join(conditions)})"] if conditions else ["FALSE"]

    def _namespace(self, column: Column) -> str:
        """SQL for the namespace of a record. In tables of other tools, what we wrote says under `__vex__` when "" is
        null (the column takes no null) or is "" (npm vex writes "" for null)."""
        text, metadata = f"{column.sql}::text", self._roles.metadata
        if self._table.own or metadata is None:
            return column.sql if column.type == "text" else text
        said = f"coalesce({metadata.sql}->>'{HIDDEN}', '')"
        null = f'{said} NOT LIKE \'%"namespace":""%\'' if self._table.npm else f"{said} LIKE '%\"namespace\":null%'"
        return f"(CASE WHEN {text} = '' AND {null} THEN NULL ELSE {text} END)"

    @property
    def selected(self) -> Selected:
        """What is read."""
        return self._selected


class _Reading:
    """One partition on its way: rows that have come and are in no page yet, and the key of the last page."""

    def __init__(self, source: TableSource, bounds: Sequence[Any], rows: int, after: Cursor | None) -> None:
        self._source = source
        self._bounds = bounds
        self._most = rows
        self._after = after
        self._reader = Reader(source.selected)
        self._session: Session | None = None
        self._copy: Iterator[memoryview] | None = None
        self._rows = Rows()
        self._ended = False

    def more(self) -> list[Page] | None:
        """The next pages, None at the end. After an error it may be called again, and goes on after the last page."""
        try:
            self._fill()
        except TransientError:
            self.close()
            raise
        if not len(self._rows):
            return None
        found = self._rows.fields(len(self._source.selected.fields))
        # The last batch may go on in rows that have not come: unless it is the only one, it waits for them.
        parts = list(self._reader.parts(found))
        kept = parts if len(parts) == 1 or self._ended else parts[:-1]
        pages = []
        for part in kept:
            self._after = self._key(found.part(part.last, part.last + 1))
            pages.append(Page(part.batch, json.dumps(self._after, ensure_ascii=False), part.rejects))
        self._rows.drop(kept[-1].last + 1)
        return pages

    def _fill(self) -> None:
        """Read on until there are so many rows, or about so many bytes."""
        rows = self._rows
        if self._ended or len(rows) >= self._most:
            return
        if self._copy is None:
            self._session = self._source.session()
            if self._after is not None:
                self._source.check_resumable(self._session)
            self._copy = self._session.copy_out(self._source.query(self._session, self._bounds, self._after))
        self._ended = not rows.fill(self._copy, self._most, _PAGE_BYTES)

    def _key(self, row: Any) -> Cursor:
        selected = self._source.selected
        if selected.roles.id_is_unique:
            return (row.texts(0)[0].as_py(),)
        if not selected.roles.keys:
            raw = row.raw(1)[0].as_py()
            return (f"({int.from_bytes(raw[:4], 'big')},{int.from_bytes(raw[4:], 'big')})",)
        return tuple(row.texts(at + 1)[0].as_py() for at in range(len(selected.roles.keys)))

    def close(self) -> None:
        """Give up the connection, and rows that are in no page."""
        self._copy, self._rows = None, Rows()
        if self._session is not None:
            self._session.close()
            self._session = None


def _wanted_table(session: Session, address: Address) -> Table:
    """The table that is named; else ours, npm vex's, or the only one of the database that has vectors."""
    names = [address.table] if address.table is not None else [DEFAULT_TABLE, OLDER_TABLE]
    table = found(session, address, names)
    if table is None and address.table is None:
        every = candidates(session)
        if len(every) == 1:
            schema, name = every[0]
            table = found(session, replace(address, schema=schema), [name])
    if table is None:
        raise missing(session, address, names[0])
    if table.kind not in "rpmvf":
        raise Unsupported(f"{address.place}: {table.name} is no table")
    return table


def _understood(text: str, what: str, size: int | None) -> list[Any]:
    with suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, list) and value and size in (None, len(value)):
            return value
    raise UsageError(f"pgvector: {text!r} is no {what} of this source")
