"""What a table of memories looks like, connections to its database, and what SQLite's errors mean."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from vexarrow.errors import AccessError, DataError, NotFound, SchemaError, Unsupported, UsageError, VexError

# The order of known columns in a record's metadata, so that it does not depend on the order of the table's columns.
KNOWN = ("tags", "importance", "agent_id", "potential", "pinned", "summary", "updated_at", "edge_type")
MAIN_FILE_HEADER = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `affinity`: INTEGER, REAL, NUMERIC, TEXT or BLOB, which decides how SQLite changes what is stored.

    `default` is SQL; `required` means NOT NULL.
    """

    name: str
    affinity: str
    required: bool = False
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of memories: which column is what. A role that no column has is None; `fields` are all the others.

    `rowid` is a name of the rowid that no column hides. `id_kind`: "int" when only integers fit (INTEGER PRIMARY
    KEY), "text" when everything becomes text, "any" when both stay what they are. `unique`: no id occurs twice.
    """

    name: str
    rowid: str
    id: Column
    id_kind: str
    unique: bool
    text: Column | None
    vector: Column | None
    namespace: Column | None
    created_at: Column | None
    metadata: Column | None
    fields: tuple[Column, ...]

    @property
    def variant(self) -> str:
        """The letter of the schema that this is or resembles."""
        if self.id_kind == "int" and self.namespace is None:
            return "C"
        return "B" if self.vector is not None and self.vector.name.lower() == "embedding" else "A"


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def affinity(declared: str) -> str:
    """SQLite's rule from a declared type to the affinity of the column."""
    kind = declared.upper()
    if "INT" in kind:
        return "INTEGER"
    if any(part in kind for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not kind or "BLOB" in kind:
        return "BLOB"
    return "REAL" if any(part in kind for part in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def tables(db: sqlite3.Connection) -> list[str]:
    """The names of all tables and views, in alphabetical order."""
    return [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY 1")]


def inspect(db: sqlite3.Connection, name: str, place: str) -> Table | None:
    """The table of that name, None if there is none.

    Raises Unsupported for a view or a table without rowids, SchemaError for one without an id column.
    """
    found = db.execute(
        "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE", (name,)
    ).fetchone()
    if found is None:
        return None
    name = found[0]
    rows = db.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
    columns = {row[1].lower(): Column(row[1], affinity(row[2]), bool(row[3]), row[4]) for row in rows}
    keys = [row[1].lower() for row in rows if row[5]]
    if "id" not in columns:
        raise SchemaError(f"{place}: the table {name} has no column id")
    rowid = _rowid(db, name, found[1], columns, place)
    roles = {
        "text": _first(columns, "content", "text"),
        "vector": _first(columns, "vector", "embedding"),
        "namespace": columns.get("namespace"),
        "created_at": columns.get("created_at"),
        "metadata": columns.get("metadata"),
    }
    taken = {"id", *(column.name.lower() for column in roles.values() if column)}
    rest = [key for key in KNOWN if key in columns and key not in taken]
    rest += [key for key in columns if key not in taken and key not in KNOWN]
    declared = next(row[2] for row in rows if row[1].lower() == "id").upper()
    whole = declared == "INTEGER" and keys == ["id"]
    kind = "int" if whole else "text" if columns["id"].affinity == "TEXT" else "any"
    unique = whole or _unique(db, name)
    return Table(name, rowid, columns["id"], kind, unique, fields=tuple(columns[key] for key in rest), **roles)


def _first(columns: dict[str, Column], *names: str) -> Column | None:
    return next((columns[name] for name in names if name in columns), None)


def _rowid(db: sqlite3.Connection, name: str, kind: str, columns: dict[str, Column], place: str) -> str:
    free = next((alias for alias in ("rowid", "_rowid_", "oid") if alias not in columns), None)
    if kind == "view":
        raise Unsupported(f"{place}: {name} is a view; vektor reads and writes tables only")
    try:
        if free is None:
            raise sqlite3.OperationalError
        db.execute(f"SELECT {free} FROM {quoted(name)} LIMIT 0")
    except sqlite3.OperationalError:
        raise Unsupported(f"{place}: the table {name} has no rowids (WITHOUT ROWID), so it cannot be paged") from None
    return free


def _unique(db: sqlite3.Connection, name: str) -> bool:
    """Whether a unique index over just `id` lets an upsert find a row by it."""
    for index in db.execute(f"PRAGMA index_list({quoted(name)})").fetchall():
        parts = [row for row in db.execute(f"PRAGMA index_xinfo({quoted(index[1])})") if row[5]]
        alone = len(parts) == 1 and (parts[0][2] or "").lower() == "id" and parts[0][4] == "BINARY"
        if index[2] and not index[4] and alone:
            return True
    return False


# -- connections ------------------------------------------------------------------------------------------------------


def checked(path: str, place: str) -> bool:
    """Whether there is a database file. Raises UsageError for a directory, AccessError, DataError for another file."""
    with _files(place):
        if Path(path).is_dir():
            raise UsageError(f"{place}: is a directory, not a database")
        if not Path(path).exists():
            return False
        with Path(path).open("rb") as file:
            head = file.read(16)
    if head and head != MAIN_FILE_HEADER:
        raise DataError(f"{place}: is not a SQLite database")
    return True


@contextmanager
def _files(place: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise AccessError(f"{place}: permission denied") from error
    except OSError as error:
        raise VexError(f"{place}: {os.strerror(error.errno or errno.EIO)}") from error


def connect(path: str, mode: str, timeout: float) -> sqlite3.Connection:
    """A connection without implicit transactions that may wander between threads. `mode`: ro, rw or rwc."""
    uri = f"file:{quote(str(Path(path).absolute()))}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


@contextmanager
def reading(path: str, timeout: float) -> Iterator[sqlite3.Connection]:
    """A read-only connection that leaves no file behind.

    A reader of a WAL database makes `-wal` and `-shm` if nobody has the database open, and a read-only one cannot
    remove them; so a connection that may write, and does not, is closed last.
    """
    alone = not os.path.lexists(f"{path}-wal")
    with closing(_readable(path, timeout, alone)) as db:
        try:
            yield db
        finally:
            with suppress(sqlite3.Error):
                db.close()
    if alone and os.path.lexists(f"{path}-wal"):
        with suppress(sqlite3.Error), closing(connect(path, "rw", 0.0)) as last:
            last.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _readable(path: str, timeout: float, alone: bool) -> sqlite3.Connection:
    db = connect(path, "ro", timeout)
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        db.close()
        # A WAL database in a directory that cannot be written, and that nobody has open: it cannot change under us.
        if not alone or error.sqlite_errorname not in ("SQLITE_CANTOPEN", "SQLITE_READONLY_DIRECTORY"):
            raise
        db = connect(path, "ro&immutable=1", timeout)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def translated(place: str, timeout: float) -> Iterator[None]:
    """Turn SQLite's errors into our own, naming the place."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(place, timeout, error) from error


def _translated(place: str, timeout: float, error: sqlite3.Error) -> VexError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return AccessError(f"{place}: is locked by another process (waited {timeout:g} s for it)")
    if name.startswith("SQLITE_FULL"):
        return VexError(f"{place}: no space left on the device; what was committed before is safe")
    if name.startswith("SQLITE_READONLY"):
        return AccessError(f"{place}: the file or its directory cannot be written")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return AccessError(f"{place}: cannot be opened; is its directory there, and may it be read and written?")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return DataError(f"{place}: is not a SQLite database, or a damaged one ({error})")
    return VexError(f"{place}: {' '.join(str(error).split())}")


def missing(db: sqlite3.Connection, name: str, place: str) -> NotFound:
    """The error for a table that is not there, naming those that are."""
    known: Sequence[str] = [one for one in tables(db) if not one.startswith("sqlite_")]
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return NotFound(f"{place}: has no table {name}; its tables are: {shown or 'none'}")
