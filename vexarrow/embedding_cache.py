"""Vectors that were computed before, in a SQLite file, so that nothing is paid for twice.

A vector is found by the model (its provider and address with it), the dimensions that were asked for and the SHA-256 of
the text; the text itself is not kept. Vectors are raw little-endian float32. Threads and processes may share a file.
The file may be deleted at any time when nobody uses it. Where a server puts another model under an old name, the cache
still has the vectors of the old one: `--no-embed-cache`, or delete it. Only its owner may read it: texts can be guessed
from vectors.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from vexarrow.errors import AccessError, DataError, UsageError, VexError

PATIENCE = 60.0
_AT_ONCE = 500  # variables in a statement; old builds of SQLite take 999
_TABLES = {"models", "vectors"}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS models (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, dimensions INTEGER NOT NULL, UNIQUE (name, dimensions));
CREATE TABLE IF NOT EXISTS vectors (
    model INTEGER NOT NULL, text BLOB NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (model, text));
"""


def default_path() -> str:
    """`vexarrow/embeddings.sqlite3` in the folder that the platform has for caches."""
    if sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    elif sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/AppData/Local")
    else:
        given = os.environ.get("XDG_CACHE_HOME", "")  # a relative one is to be ignored, as its specification says
        base = given if os.path.isabs(given) else os.path.expanduser("~/.cache")
    return os.path.join(base, "vexarrow", "embeddings.sqlite3")


class Cache:
    """The vectors of one model. `path` None keeps them on disk for as long as this lives, for nobody else.

    Raises AccessError when the file cannot be opened, DataError when it is no database, UsageError when it is the
    database of somebody else. What fails later is no error: `trouble` then says what, and vectors are not kept.
    """

    def __init__(self, path: str | None, model: str, dimensions: int | None) -> None:
        self.path = path
        self.trouble: str | None = None
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._connection = _opened(path)
            self._model = _model(self._connection, model, dimensions or 0)
        except (sqlite3.Error, OSError) as error:
            raise _error(path, error) from None

    def found(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The vectors that are there, by the SHA-256 of their text."""
        result: dict[bytes, bytes] = {}
        with self._lock:
            try:
                for start in range(0, len(keys), _AT_ONCE):
                    some = keys[start : start + _AT_ONCE]
                    marks = ",".join("?" * len(some))
                    query = f"SELECT text, vector FROM vectors WHERE model = ? AND text IN ({marks})"
                    result.update(self._connection.execute(query, (self._model, *some)))
            except sqlite3.Error as error:
                self.trouble = str(error)
        return result

    def keep(self, vectors: Mapping[bytes, bytes]) -> None:
        """Remember vectors; they are there for everybody when this returns."""
        with self._lock:
            if self._closed:
                return
            try:
                self._write((self._model, key, vector) for key, vector in vectors.items())
            except sqlite3.Error as error:  # a full disk must not cost the vectors that were just paid for
                self.trouble = str(error)
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")

    def _write(self, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file; what is kept afterwards is forgotten."""
        with self._lock:
            self._closed = True
            self._connection.close()


def _opened(path: str | None) -> sqlite3.Connection:
    if path is not None:
        os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    # Transactions are our own; one lock lets one thread at a time in.
    connection = sqlite3.connect(path or "", timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        _checked(connection, path)
        if path is not None:
            _write_ahead(connection)
        connection.executescript(_SCHEMA)
    except (sqlite3.Error, VexError):
        connection.close()
        raise
    return connection


def _checked(connection: sqlite3.Connection, path: str | None) -> None:
    """Leave databases of others alone. Raises UsageError."""
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not there <= _TABLES:
        raise UsageError(f"--embed-cache {path}: this database holds something else ({', '.join(sorted(there)[:3])})")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Readers and a writer do not wait for each other. Going over to it fails at once when another process does too."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _model(connection: sqlite3.Connection, name: str, dimensions: int) -> int:
    given = (name, dimensions)
    connection.execute("INSERT OR IGNORE INTO models (name, dimensions) VALUES (?, ?)", given)
    query = "SELECT id FROM models WHERE name = ? AND dimensions = ?"
    number: int = connection.execute(query, given).fetchone()[0]
    return number


def _error(path: str | None, error: Exception) -> VexError:
    what = "not a SQLite database" if "not a database" in str(error) else f"cannot be opened ({error})"
    text = f"the cache of vectors {path}: {what}; --embed-cache names another file, --no-embed-cache goes without"
    return DataError(text) if "not a database" in str(error) else AccessError(text)
