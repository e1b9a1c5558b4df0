"""Reading memories: one read-only snapshot a partition, in the order of the rowids, a page per dimension.

A cursor is "b", the last rowid of a page, or "a,b,d" when rows (a, b] hold vectors of several dimensions and those of
at most d are done; a is empty when the rows are the first of the partition.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from vexarrow.errors import NotFound, UsageError
from vexarrow.protocols import Description, Page, Partition
from vexarrow.selection import Selection

from ._vektor_chunks import Chunks
from ._vektor_pages import Assembler
from ._vektor_schema import Table, checked, inspect, missing, quoted, reading, translated
from ._vektor_vec0 import Vec0

WHOLE = "all"
_RANGE = re.compile(r"(-?\d+)-(-?\d+)")
_CURSOR = re.compile(r"(?:(-?\d*),)?(-?\d+)(?:,(\d+))?")
_TOP_NAMESPACES = 50


class MemorySource:
    """The memories of one database. Every extract has a connection and a snapshot of its own."""

    def __init__(self, db: sqlite3.Connection, path: str, place: str, table: Table, timeout: float, wanted: Selection):
        self._db = db
        self._path = path
        self._place = place
        self._table = table
        self._timeout = timeout
        self._wanted = wanted
        self._id_type = self._probe_id_type()

    @classmethod
    @contextmanager
    def opened(cls, path: str, place: str, name: str, timeout: float, wanted: Selection) -> Iterator[MemorySource]:
        """The source, closed at the end. Raises NotFound for a missing file or table."""
        if not checked(path, place):
            raise NotFound(f"{place}: no such file")
        with translated(place, timeout), reading(path, timeout) as db:
            table = inspect(db, name, place)
            if table is None:
                raise missing(db, name, place)
            yield cls(db, path, place, table, timeout, wanted)

    def _probe_id_type(self) -> str:
        """What the ids are. `max` needs no scan where there is an index."""
        if self._table.id_kind != "any":
            return "int" if self._table.id_kind == "int" else "string"
        column, name = quoted(self._table.id.name), quoted(self._table.name)
        # Numbers sort before text and blobs, so the greatest id tells whether there is anything else.
        kind = self._db.execute(f"SELECT typeof(max({column})) FROM {name}").fetchone()[0]
        return "int" if kind in ("integer", "real") else "string"

    # -- what is known ----------------------------------------------------------------------------------------------

    def describe(self) -> Description:
        """Counts come from one scan; `dim` is that of the first vector found."""
        with translated(self._place, self._timeout):
            counts = self._counts()
            pragma = {name: self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "page_size")}
            listed = self._db.execute(f"PRAGMA table_info({quoted(self._table.name)})").fetchall()
        details = {
            "schema": self._table.variant,
            "table": self._table.name,
            "columns": [" ".join(filter(None, row[1:3])) for row in listed],
            **pragma,
            "namespaces": [{"name": name, "rows": rows} for name, rows in counts[:_TOP_NAMESPACES]],
        }
        return Description(
            dim=self._dim(),
            rows=sum(rows for _, rows in counts),
            namespaces=tuple(name for name, _ in counts) if self._table.namespace or not self._table.metadata else (),
            id_type=self._id_type,
            source_store="vektor",
            size=Path(self._path).stat().st_size,
            details=details,
        )

    def _counts(self) -> list[tuple[str | None, int]]:
        """Rows by namespace, the largest first. In a table without that column all are of the namespace null."""
        name = quoted(self._table.name)
        if self._table.namespace is None:
            return [(None, self._db.execute(f"SELECT count(*) FROM {name}").fetchone()[0])]
        column = quoted(self._table.namespace.name)
        counts = self._db.execute(f"SELECT {column}, count(*) FROM {name} GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
        return [(value if value is None else str(value), rows) for value, rows in counts]

    def _dim(self) -> int | None:
        found = None
        if self._table.vector is not None:
            length = f"length({quoted(self._table.vector.name)})"
            found = self._db.execute(f"SELECT {length} FROM {quoted(self._table.name)} WHERE {length} > 0").fetchone()
        return found[0] // 4 if found else Vec0.dim(self._db, self._table)

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """One, or ranges of rowids; the key "a-b" holds the rowids from a to b."""
        if wanted <= 1:
            return [Partition(WHOLE)]
        rowid, name = self._table.rowid, quoted(self._table.name)
        with translated(self._place, self._timeout):
            low, high = self._db.execute(f"SELECT min({rowid}), max({rowid}) FROM {name}").fetchone()
        if low is None or high - low < wanted:
            return [Partition(WHOLE)]
        edges = [low + (high - low + 1) * part // wanted for part in range(wanted + 1)]
        return [Partition(f"{start}-{end - 1}") for start, end in pairwise(edges)]

    # -- reading ----------------------------------------------------------------------------------------------------

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """Pages in the order of the rowids; rows of several dimensions become a page for each, smallest first."""
        first, pending, done = _position(after)
        with translated(self._place, self._timeout), reading(self._path, self._timeout) as db:
            db.execute("BEGIN")  # every query below sees the same snapshot
            assembler = Assembler(self._table, self._id_type, Vec0(db, self._table))
            chunks = Chunks(db, self._table, *self._conditions(part))
            if pending is not None:
                rest = chunks.read(first, rows, last=pending)
                yield from (self._chosen(page) for page, dim in assembler.pages(rest, first) if dim > done)
                first = pending
            while chunk := chunks.read(first, rows):
                yield from (self._chosen(page) for page, _ in assembler.pages(chunk, first))
                first = chunk.last

    def _conditions(self, part: Partition) -> tuple[list[str], list[Any]]:
        conditions: list[str] = []
        values: list[Any] = []
        if part.key != WHOLE:
            found = _RANGE.fullmatch(part.key)
            if found is None:
                raise UsageError(f"{self._place}: {part.key!r} is no partition of a VEKTOR database")
            conditions.append(f"{self._table.rowid} BETWEEN ? AND ?")
            values += [int(found[1]), int(found[2])]
        home = self._table.namespace
        if self._wanted.namespaces is not None and home is not None and not home.required:
            # The + keeps SQLite from an index on the namespace, which would sort all rows again for every query.
            column = f"+{quoted(home.name)}"
            named = [name for name in self._wanted.namespaces if name is not None]
            either = [f"{column} IN ({', '.join('?' * len(named))})"] if named else []
            either += [f"{column} IS NULL"] if None in self._wanted.namespaces else []
            conditions.append(f"({' OR '.join(either) or '0'})")
            values += named
        return conditions, values

    def _chosen(self, page: Page) -> Page:
        """The page without namespaces that are not wanted, where they may be in a note and SQL cannot tell."""
        home = self._table.namespace
        if self._wanted.namespaces is None or (home is not None and not home.required):
            return page
        mask = self._wanted.namespace_mask(page.batch.column("namespace"))
        batch = page.batch.filter(pa.array(mask))
        return page._replace(batch=batch, skipped=page.batch.num_rows - batch.num_rows)


def _position(cursor: str | None) -> tuple[int | None, int | None, int]:
    """(rows are after this one, the end of rows to finish first, the dimension up to which they are done)."""
    if cursor is None:
        return None, None, 0
    found = _CURSOR.fullmatch(cursor)
    if found is None or (found[1] is None) != (found[3] is None):
        raise UsageError(f"{cursor!r} is no cursor of a VEKTOR database")
    if found[3] is None:
        return int(found[2]), None, 0
    return int(found[1]) if found[1] else None, int(found[2]), int(found[3])
