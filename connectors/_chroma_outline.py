"""What describes a folder, copied elsewhere: the embedded client brings any folder that it opens to its own version.

The copy has all tables of the database, but rows only in those that describe collections. The client migrates the copy;
whether that changed anything tells whether it would change the folder. The folder itself is opened read-only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

DATABASE_FILE = "chroma.sqlite3"
_COPIED = ("migrations", "tenants", "databases", "collections", "collection_metadata", "segments", "segment_metadata")
# The log of writes may be ahead of the table of records: the last thing said about an id counts, 3 is its deletion.
_COUNT = """
WITH said AS (SELECT id, operation, max(seq_id) FROM embeddings_queue WHERE topic LIKE '%/' || ?1 GROUP BY id)
SELECT count(*) FROM (
    SELECT embedding_id FROM embeddings
    WHERE segment_id IN (SELECT id FROM segments WHERE collection = ?1 AND scope = 'METADATA')
    UNION SELECT id FROM said
) WHERE embedding_id NOT IN (SELECT id FROM said WHERE operation = 3)
"""


@dataclass(frozen=True)
class Outline:
    """A copy of what describes a database, in `folder`; `before`: the migrations that the database has seen."""

    folder: Path
    before: frozenset[tuple[str, int]]

    def changed(self) -> bool:
        """Whether the client, having opened the copy, had to migrate it."""
        with closing(_read_only(self.folder / DATABASE_FILE)) as database:
            return _migrations(database) != self.before


@contextmanager
def outlined(file: Path) -> Iterator[Outline]:
    """The outline of a database, removed in the end. Raises sqlite3.Error."""
    # Chroma's client may hold its files a little longer than it says.
    with TemporaryDirectory(prefix="vex-chroma-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with closing(_read_only(file)) as old, closing(sqlite3.connect(folder / DATABASE_FILE)) as new:
            _copy(old, new)
            before = _migrations(old)
        yield Outline(folder, before)


def count(file: Path, collection: str) -> int:
    """The number of records of a collection, by its id. Raises sqlite3.Error."""
    with closing(_read_only(file)) as database:
        (number,) = database.execute(_COUNT, (collection,)).fetchone()
        return int(number)


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)


def _migrations(database: sqlite3.Connection) -> frozenset[tuple[str, int]]:
    if not _has(database, "migrations"):
        return frozenset()
    return frozenset(database.execute("SELECT dir, version FROM migrations"))


def _copy(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    # Virtual tables first, which make tables of their own; indexes last.
    every = """
        SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' ESCAPE '!'
        AND type IN ('table', 'index') ORDER BY type = 'index', sql NOT LIKE 'CREATE VIRTUAL%'
    """
    for name, sql in old.execute(every).fetchall():
        if not _has(new, name):
            new.execute(sql)
    for table in _COPIED:
        if _has(old, table):
            rows = old.execute(f"SELECT * FROM {table}").fetchall()
            for row in rows:
                new.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)
    new.commit()


def _has(database: sqlite3.Connection, name: str) -> bool:
    return database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None
