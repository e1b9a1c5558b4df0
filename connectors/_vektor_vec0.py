"""Vectors that only a vec0 table of sqlite-vec holds, read from its shadow tables without the extension.

Schema B may have `memories_vec`, joined on the rowid. Its chunks hold up to 1,024 vectors in one blob; `_rowids` says
where each is. Only tables of one float column called `embedding` are read; others are left alone.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from ._vektor_schema import Table, quoted

_DECLARED = re.compile(r"USING\s+vec0\s*\(.*?\bembedding\s+float\s*\[\s*(\d+)\s*\]", re.IGNORECASE | re.DOTALL)


class Vec0:
    """Completes rows whose own vector is null. Does nothing where there is no such table."""

    def __init__(self, db: sqlite3.Connection, table: Table) -> None:
        self._db = db
        self._name = f"{table.name}_vec"
        self._bytes = 4 * (self.dim(db, table) or 0)
        self._chunk: tuple[int, bytes] = (-1, b"")

    @staticmethod
    def dim(db: sqlite3.Connection, table: Table) -> int | None:
        """The dimension of the vec0 table beside a table of memories, None if there is none."""
        found = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (f"{table.name}_vec",)).fetchone()
        declared = _DECLARED.search(found[0] or "") if found else None
        shadows = [f"{table.name}_vec_{part}" for part in ("rowids", "vector_chunks00")]
        marks = ", ".join("?" * len(shadows))
        there = db.execute(f"SELECT count(*) FROM sqlite_master WHERE name IN ({marks})", shadows).fetchone()[0]
        return int(declared[1]) if declared and there == len(shadows) else None

    def completed(self, rowids: Sequence[int], blobs: Sequence[Any]) -> Sequence[Any]:
        """The blobs, with those of the vec0 table where there are none."""
        if not self._bytes or None not in blobs:
            return blobs
        places = self._db.execute(
            f"SELECT rowid, chunk_id, chunk_offset FROM {quoted(self._name + '_rowids')} WHERE rowid BETWEEN ? AND ?",
            (rowids[0], rowids[-1]),
        )
        known = {rowid: (chunk_id, offset) for rowid, chunk_id, offset in places}
        return [
            self._vector(*known[rowid]) if blob is None and rowid in known else blob
            for rowid, blob in zip(rowids, blobs, strict=True)
        ]

    def _vector(self, chunk_id: int, offset: int) -> bytes:
        if self._chunk[0] != chunk_id:
            query = f"SELECT vectors FROM {quoted(self._name + '_vector_chunks00')} WHERE rowid = ?"
            self._chunk = (chunk_id, self._db.execute(query, (chunk_id,)).fetchone()[0])
        return self._chunk[1][offset * self._bytes : (offset + 1) * self._bytes]
