"""Rows of a table of memories, column by column.

SQLite joins a page's vectors into one blob and its other values into one JSON text, so that a page costs one step of
the interpreter and not one a row: a step gives the GIL away, and in a process with busy threads that takes 5 ms to
come back. Where JSON is not exact (REAL values get 15 digits, blobs and text that is not UTF-8 are errors), the rows
are read one by one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Sequence
from itertools import accumulate, chain
from typing import Any

import orjson

from ._vektor_schema import Table, quoted

ROWID, ID, TEXT, VECTOR, NAMESPACE, CREATED_AT, METADATA = range(7)
FIELDS = 7
Columns = list[Sequence[Any]]


class Chunk:
    """Rows by column, in the order of the constants above, then the table's fields. False when there are none.

    `joined`: the blobs of the column VECTOR one after the other; the column then holds their lengths. `marked`: text
    that is not UTF-8 may be among the values, with lone surrogates for its bytes.
    """

    def __init__(self, columns: Columns, joined: bytes | None = None, *, marked: bool = False) -> None:
        self.columns = columns
        self.kinds = [set(map(type, column)) for column in columns]
        self.joined = joined
        self.marked = marked

    def __bool__(self) -> bool:
        return bool(self.columns)

    def __len__(self) -> int:
        return len(self.columns[ROWID])

    @property
    def last(self) -> int:
        """The greatest rowid."""
        rowid: int = self.columns[ROWID][-1]
        return rowid

    @property
    def width(self) -> int:
        """The length in bytes of every vector when they are joined and alike, else 0."""
        lengths = self.columns[VECTOR]
        alike = self.joined is not None and self.kinds[VECTOR] == {int} and lengths.count(lengths[0]) == len(lengths)
        return int(lengths[0]) if alike and lengths[0] % 4 == 0 else 0

    def blobs(self) -> Sequence[Any]:
        """The column VECTOR as blobs."""
        lengths = self.columns[VECTOR]
        if self.joined is None:
            return lengths
        whole = memoryview(self.joined)
        ends = list(accumulate(length or 0 for length in lengths))
        bounds = zip(lengths, chain((0,), ends), ends, strict=False)
        return [None if length is None else whole[start:end] for length, start, end in bounds]

    def replaced(self, vectors: Sequence[Any]) -> Chunk:
        """The same rows with other blobs."""
        columns = [*self.columns[:VECTOR], vectors, *self.columns[VECTOR + 1 :]]
        return Chunk(columns, marked=self.marked)

    def without(self, rows: Container[int]) -> Chunk:
        """The rows but those at some positions."""
        kept = [at for at in range(len(self)) if at not in rows]
        return Chunk([[column[at] for at in kept] for column in self.columns])


class Chunks:
    """Reads the rows of a table that fulfil conditions, in the order of their rowids."""

    def __init__(self, db: sqlite3.Connection, table: Table, conditions: list[str], values: list[Any]) -> None:
        self._db = db
        self._table = table
        self._conditions = conditions
        self._values = values
        # A blob is joined as the bytes that it is only where text is UTF-8.
        self._joins = db.execute("PRAGMA encoding").fetchone()[0] == "UTF-8"

    def read(self, after: int | None, rows: int, *, last: int | None = None) -> Chunk:
        """At most `rows` rows whose rowid is greater than `after` and at most `last`; an empty chunk at the end."""
        bounds = [(f"{self._table.rowid} > ?", after), (f"{self._table.rowid} <= ?", last)]
        conditions = [*self._conditions, *(sql for sql, value in bounds if value is not None)]
        values = [*self._values, *(value for _, value in bounds if value is not None), rows]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        source = f" FROM {quoted(self._table.name)}{where} ORDER BY {self._table.rowid} LIMIT ?"
        if self._joins:
            chunk = self._joined(source, values)
            if chunk is not None:
                return chunk
            self._joins = False
        return self._plain(source, values)

    def _columns(self) -> list[str]:
        table = self._table
        roles = (table.id, table.text, table.vector, table.namespace, table.created_at, table.metadata, *table.fields)
        return [table.rowid, *("NULL" if column is None else quoted(column.name) for column in roles)]

    def _joined(self, source: str, values: list[Any]) -> Chunk | None:
        """The rows in one step; None when JSON cannot hold them exactly."""
        names = [f"c{at}" for at in range(len(self._columns()))]
        inner = ", ".join(f"{column} AS {name}" for column, name in zip(self._columns(), names, strict=True))
        vector = names[VECTOR]
        length = f"iif(typeof({vector}) = 'blob', length({vector}), iif({vector} IS NULL, NULL, -1))"
        outer = ", ".join([*names[:VECTOR], length, *names[VECTOR + 1 :]])
        query = f"SELECT group_concat(json_array({outer}), ','), CAST(group_concat({vector}, '') AS BLOB) FROM "
        try:
            text, joined = self._db.execute(f"{query}(SELECT {inner}{source})", values).fetchone()
            table = orjson.loads(f"[{text or ''}]")
        except (sqlite3.OperationalError, sqlite3.DataError, ValueError) as error:
            if getattr(error, "sqlite_errorname", "SQLITE_ERROR") in ("SQLITE_ERROR", "SQLITE_TOOBIG"):
                return None
            raise
        columns: Columns = list(zip(*table, strict=True))
        if not columns:
            return Chunk([])
        chunk = Chunk(columns, joined or b"")
        exact = not any(float in kinds for kinds in chunk.kinds) and -1 not in columns[VECTOR]
        return chunk if exact else None

    def _plain(self, source: str, values: list[Any]) -> Chunk:
        query = f"SELECT {', '.join(self._columns())}{source}"
        try:
            rows = self._db.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "decode to UTF-8" not in str(error):
                raise
            # What is not UTF-8 is marked by lone surrogates; such rows become rejects.
            self._db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            rows = self._db.execute(query, values).fetchall()
        return Chunk(list(zip(*rows, strict=True)), marked=self._db.text_factory is not str)
