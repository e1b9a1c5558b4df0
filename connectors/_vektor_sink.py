"""Writing memories: upserts by id, one transaction a batch."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import chain, compress
from pathlib import Path
from threading import Lock
from typing import Any

import orjson
import pyarrow as pa

from vexarrow import records
from vexarrow.errors import AccessError, SchemaError, Unsupported
from vexarrow.protocols import Description, Reject

from ._vektor_fts import Triggers, triggers
from ._vektor_metadata import stored
from ._vektor_rows import Composer, Rows, default_of, integer
from ._vektor_schema import KNOWN, Column, Table, checked, connect, inspect, quoted, translated

_COLUMNS = """agent_id TEXT, content TEXT, summary TEXT, importance INT, tags TEXT, namespace TEXT, pinned INT,
    created_at NUM, updated_at NUM, vector BLOB, edge_type TEXT, potential TEXT, metadata TEXT"""


# Rows a statement: a step of SQLite gives the GIL away, which in a process with busy threads takes 5 ms to come back.
_BLOCK = 128
_PARAMETERS = 32_000


class MemorySink:
    """The table of one database. Calls may come from any thread; they are done one after the other."""

    def __init__(self, db: sqlite3.Connection, place: str, name: str, timeout: float, agent: str) -> None:
        self._db = db
        self._place = place
        self._name = name
        self._timeout = timeout
        self._agent = agent
        self._lock = Lock()
        self._pending: list[str] = []  # changes to the schema, made in the transaction of the first batch
        self._version = 0
        self._indexed = True
        self.committed = False

    @classmethod
    @contextmanager
    def opened(cls, path: str, place: str, name: str, timeout: float, agent: str) -> Iterator[MemorySink]:
        """The sink, closed at the end. A file that is new stays only if something was committed."""
        new = not checked(path, place)
        if not Path(path).absolute().parent.is_dir():
            raise AccessError(f"{place}: there is no directory {Path(path).parent}")
        sink = None
        try:
            with translated(place, timeout), closing(connect(path, "rwc", timeout)) as db:
                sink = cls(db, place, name, timeout, agent)
                yield sink
        finally:
            if new and (sink is None or not sink.committed):
                for suffix in ("", "-journal", "-wal", "-shm"):
                    with suppress(OSError):
                        os.unlink(path + suffix)  # noqa: PTH108 - a name with a suffix, not a path

    # -- before the first record ------------------------------------------------------------------------------------

    def prepare(self, plan: Description) -> Description:
        """Look at the table, or plan one of schema A for ids of the plan's type. Nothing is written yet.

        Raises Unsupported for further vectors, SchemaError for a table without a vector column, AccessError for a
        database that cannot be written or is locked.
        """
        if plan.vectors:
            raise Unsupported(f"{self._place}: VEKTOR holds one vector a record, not {', '.join(plan.vectors)} as well")
        with translated(self._place, self._timeout):
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("ROLLBACK")
            table = inspect(self._db, self._name, self._place)
            if table is None:
                table = self._planned(plan.id_type)
            self._start(table)
        return replace(plan, id_type="int" if table.id_kind == "int" else "string", details=self._details(table))

    def _planned(self, id_type: str) -> Table:
        self._pending.append(self._declaration("INTEGER PRIMARY KEY" if id_type == "int" else "TEXT"))
        with closing(sqlite3.connect(":memory:")) as scratch:
            scratch.execute(self._pending[0])
            table = inspect(scratch, self._name, self._place)
        assert table is not None  # noqa: S101 - it was just made
        return table

    def _declaration(self, id_type: str) -> str:
        return f"CREATE TABLE {quoted(self._name)} (\n    id {id_type}, {_COLUMNS}\n)"

    def _start(self, table: Table) -> None:
        if table.vector is None:
            raise SchemaError(f"{self._place}: the table {table.name} has no column vector or embedding")
        self._table = table
        # In a table of ours text ids get their unique index at the end: with it, every batch would write all of it.
        declared = self._db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table.name,)).fetchone()
        self._indexed = table.unique or (declared is not None and declared[0] != self._declaration("TEXT"))
        iso, milliseconds = self._clock(table)
        self._defaults = [self._default(column) for column in table.fields]
        self._composer = Composer(table, iso, milliseconds, self._defaults)
        self._triggers = Triggers() if self._pending else triggers(self._db, table)
        self._db.execute("CREATE TEMP TABLE vex_ids (id PRIMARY KEY, run INT, row INT) WITHOUT ROWID")
        for sql in self._triggers.added:
            self._db.execute(sql)
        self._map_ids()

    def _default(self, column: Column) -> Any:
        if column.name.lower() == "agent_id":
            return self._agent
        value = default_of(self._db, column)
        return None if value is None else stored(value, column)

    def _clock(self, table: Table) -> tuple[bool, bool]:
        """Whether `created_at` is ISO 8601 text, and whether its numbers are milliseconds, judged by what is there."""
        column = table.created_at
        if column is None or column.affinity == "TEXT":
            return column is not None, False
        if self._pending:
            return False, False
        name = quoted(column.name)
        found = self._db.execute(
            f"SELECT typeof({name}), abs({name}) >= 1e11 FROM {quoted(table.name)} WHERE {name} IS NOT NULL LIMIT 1"
        ).fetchone()
        return bool(found and found[0] == "text"), bool(found and found[0] != "text" and found[1])

    def _details(self, table: Table) -> dict[str, object]:
        details: dict[str, object] = {"schema": table.variant, "table": table.name, "new": bool(self._pending)}
        if self._triggers.by_id:
            names = ", ".join(name for name, _ in self._triggers.by_id)
            details["warning"] = f"{names} indexes integer ids only: rows with other ids are not in its full-text index"
        return details

    # -- records ----------------------------------------------------------------------------------------------------

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        """Upsert the records of a batch in one transaction, durable on return; all of them or, on an error, none."""
        with self._lock, translated(self._place, self._timeout):
            rows, rejects = self._composer.rows(batch)
            if any(name.startswith(records.EXTRA_VECTORS) for name in batch.schema.names):
                rows, rejects = self._without_further_vectors(batch, rows, rejects)
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._alter(rows)
                rejects += self._write(rows)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._pending = []
            self._version = self._data_version()
            self.committed = True
        return rejects

    def finish(self) -> None:
        """Make the table if no record came, and the unique index of a table that is ours."""
        if self._pending and not self.committed:
            self.load(records.empty())
        if not self._indexed:
            name = quoted(f"{self._table.name}_id")
            # If another process has written an id twice meanwhile, there is no index, and the next run sees to both.
            with self._lock, translated(self._place, self._timeout), suppress(sqlite3.IntegrityError):
                self._db.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {quoted(self._table.name)} (id)")

    def _without_further_vectors(
        self, batch: pa.RecordBatch, rows: Rows, rejects: list[Reject]
    ) -> tuple[Rows, list[Reject]]:
        names = [name for name in batch.schema.names if name.startswith(records.EXTRA_VECTORS)]
        bad = {at for name in names for at in range(batch.num_rows) if batch.column(name)[at].is_valid}
        message = f"VEKTOR has no place for {', '.join(names)}"
        refused = [Reject("further-vectors", message, row=at) for at in rows.at if at in bad]
        wanted = [at not in bad for at in rows.at]
        return rows.only(wanted), rejects + refused

    def _alter(self, rows: Rows) -> None:
        """Change the schema where that is due: make the table, or add the column `metadata` when a record needs it."""
        if self._table.metadata is None and any(note is not None for note in rows.notes):
            self._pending.append(f"ALTER TABLE {quoted(self._table.name)} ADD COLUMN metadata TEXT")
        for sql in self._pending:
            self._db.execute(sql)
        if any(sql.startswith("ALTER") for sql in self._pending):
            self._table = replace(self._table, metadata=Column("metadata", "TEXT"))

    def _write(self, rows: Rows) -> list[Reject]:
        numbers, rejects = self._claimed(rows)
        if rejects:
            refused = {reject.row for reject in rejects}
            wanted = [at not in refused for at in rows.at]
            rows, numbers = rows.only(wanted), list(compress(numbers, wanted))
        values: list[tuple[Any, ...]] = rows.values
        if self._table.metadata is not None:
            values = [(*row, note) for row, note in zip(values, rows.notes, strict=True)]
        if not self._table.unique:
            values = [(*row, number) for row, number in zip(values, numbers, strict=True)]
        return rejects + self._upsert(values, rows.at)

    # -- ids --------------------------------------------------------------------------------------------------------

    def _map_ids(self) -> None:
        """Learn the rowid of every id where no index knows it; where an id occurs twice, the last one counts."""
        if not self._table.unique and not self._pending:
            self._version = self._data_version()
            self._db.execute(f"INSERT OR REPLACE INTO temp.vex_ids {self._known_ids('TRUE')}")

    def _known_ids(self, condition: str) -> str:
        identity, rowid = quoted(self._table.id.name), self._table.rowid
        return (
            f"SELECT {identity}, 0, {rowid} FROM main.{quoted(self._table.name)} "
            f"WHERE {identity} IS NOT NULL AND {condition} ORDER BY {rowid}"
        )

    def _data_version(self) -> int:
        """Changes when another connection has changed the database."""
        version: int = self._db.execute("PRAGMA data_version").fetchone()[0]
        return version

    def _claimed(self, rows: Rows) -> tuple[list[int | None], list[Reject]]:
        """The rowid for every row where ids are not unique, and rejects for ids that this run has loaded already."""
        ids = [row[0] for row in rows.values]
        self._learn_newest()
        self._db.execute("SAVEPOINT claim")
        claim = "INSERT OR IGNORE INTO temp.vex_ids (id, run) SELECT value, 1 FROM json_each(?)"
        if self._db.execute(claim, (orjson.dumps(ids).decode(),)).rowcount == len(ids):
            return [None] * len(ids), []
        self._db.execute("ROLLBACK TO claim")
        return self._claimed_one_by_one(ids, rows.at)

    def _claimed_one_by_one(self, ids: list[Any], at: list[int]) -> tuple[list[int | None], list[Reject]]:
        numbers: list[int | None] = []
        rejects = []
        for identity, row in zip(ids, at, strict=True):
            known = self._db.execute("SELECT run, row FROM temp.vex_ids WHERE id = ?", (identity,)).fetchone()
            if known and known[0]:
                message = f"id {identity!r} occurs more than once in this run; the first one was kept"
                rejects.append(Reject("duplicate-id", message, id=str(identity), row=row))
            number = known[1] if known else None  # SQLite gives new rows their rowid
            numbers.append(number)
            self._db.execute("INSERT OR REPLACE INTO temp.vex_ids VALUES (?, 1, ?)", (identity, number))
        return numbers, rejects

    def _learn_newest(self) -> None:
        """Map the ids that another process has added since the last batch. Runs inside the transaction."""
        if not self._table.unique and self._data_version() != self._version:
            self._db.execute(f"INSERT OR IGNORE INTO temp.vex_ids {self._known_ids('TRUE')}")

    # -- rows -------------------------------------------------------------------------------------------------------

    def _upsert(self, values: list[tuple[Any, ...]], at: list[int]) -> list[Reject]:
        """Write rows. Those that triggers cannot index go first, while these triggers are away."""
        by_id = self._triggers.by_id
        whole = [not by_id or isinstance(row[0], int) or integer(row[0]) is not None for row in values]
        rejects: list[Reject] = []
        if not all(whole):
            for name, _ in by_id:
                self._db.execute(f"DROP TRIGGER main.{quoted(name)}")
            rejects = self._upsert_all(*_chosen(values, at, [not one for one in whole]))
            for _, sql in by_id:
                self._db.execute(sql)
            values, at = _chosen(values, at, whole)
        return rejects + self._upsert_all(values, at)

    def _upsert_all(self, values: list[tuple[Any, ...]], at: list[int]) -> list[Reject]:
        """Write rows at once, or one by one when a constraint or trigger refuses one of them."""
        width = len(values[0]) if values else 1
        block = max(1, min(_BLOCK, _PARAMETERS // width))
        self._db.execute("SAVEPOINT rows")
        try:
            for start in range(0, len(values), block):
                part = values[start : start + block]
                self._db.execute(self._statement(len(part)), list(chain.from_iterable(part)))
        except (sqlite3.IntegrityError, sqlite3.DataError):
            self._db.execute("ROLLBACK TO rows")
        else:
            return []
        sql = self._statement(1)
        rejects = []
        for row, position in zip(values, at, strict=True):
            try:
                self._db.execute("SAVEPOINT rows")
                self._db.execute(sql, row)
            except (sqlite3.IntegrityError, sqlite3.DataError) as error:
                self._db.execute("ROLLBACK TO rows")
                rejects.append(Reject("constraint", f"the database refuses it: {error}", id=str(row[0]), row=position))
            self._db.execute("RELEASE rows")
        return rejects

    def _statement(self, rows: int) -> str:
        table = self._table
        names = [*map(quoted, self._composer.names), *([quoted(table.metadata.name)] if table.metadata else [])]
        own = quoted(table.name)
        foreign = {quoted(column.name): column for column in table.fields if column.name.lower() not in KNOWN}
        changes = [
            # A column that VEKTOR's tools do not know keeps what it has unless the record says something about it.
            f"{name} = coalesce(nullif(excluded.{name}, {foreign[name].default or 'NULL'}), {own}.{name})"
            if name in foreign
            else f"{name} = excluded.{name}"
            for name in names[1:]
        ]
        key = names[0] if table.unique else table.rowid
        names += [] if table.unique else [table.rowid]
        marks = ", ".join([f"({', '.join('?' * len(names))})"] * rows)
        return (
            f"INSERT INTO main.{quoted(table.name)} ({', '.join(names)}) VALUES {marks} "
            f"ON CONFLICT ({key}) DO UPDATE SET {', '.join(changes)}"
        )


def _chosen(
    values: list[tuple[Any, ...]], at: list[int], wanted: list[bool]
) -> tuple[list[tuple[Any, ...]], list[int]]:
    return list(compress(values, wanted)), list(compress(at, wanted))
