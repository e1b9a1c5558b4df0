"""VEKTOR memories: a SQLite database with a table `memories`, in any of the shapes that its tools have made.

Columns are recognised by looking, never by a version (`_vektor_schema`). `id`, `content`, `vector` (or `embedding`),
`namespace` and `created_at` become the record; every other column that is not null becomes a member of its metadata
under the column's name, and goes back into that column exactly. What has no column (model, score, other metadata) is
kept in a column `metadata` as JSON (`_vektor_metadata`). `source_store` is always "vektor". Other tables are never
touched, triggers run and full-text indexes stay right (`_vektor_fts`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from vexarrow.errors import UsageError
from vexarrow.location import Location, is_url
from vexarrow.protocols import Capabilities, Connector, Option, Sink, Source
from vexarrow.selection import Selection


@contextmanager
def open_source(location: Location, selection: Selection) -> Iterator[Source]:
    """The memories of a database, read-only. Raises NotFound, AccessError, DataError, SchemaError, UsageError."""
    from ._vektor_source import MemorySource

    path = _path(location, "VEKTOR_DB")
    with MemorySource.opened(path, str(location), _table(location), _timeout(location), selection) as source:
        yield source


@contextmanager
def open_sink(location: Location) -> Iterator[Sink]:
    """Upserts into a database, made if there is none. A run that fails before its first batch leaves no file."""
    from ._vektor_sink import MemorySink

    path = _path(location, "VEKTOR_DB_PATH or VEKTOR_DB")
    agent = location.option("agent-id") or "vektor-mcp"
    with MemorySink.opened(path, str(location), _table(location), _timeout(location), agent) as sink:
        yield sink


def _path(location: Location, variables: str) -> str:
    target = location.target or location.option("db") or ""
    if target.startswith("vektor://"):
        target = unquote(target.removeprefix("vektor://").split("?")[0].split("#")[0])
    if not target:
        raise UsageError(f"vektor: which database? Give --db PATH or set {variables}")
    if is_url(target):
        raise UsageError(f"{location}: a VEKTOR database has to be a local file")
    return target


def _table(location: Location) -> str:
    return location.option("table") or "memories"


def _timeout(location: Location) -> float:
    text = location.option("timeout") or "10"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise UsageError(f"--timeout {text}: not a number of seconds from 0 to 86400")
    return seconds


_OPTIONS = (
    Option(("db",), "the database file", env=("VEKTOR_DB",), side="source"),
    Option(("db",), "the database file", env=("VEKTOR_DB_PATH", "VEKTOR_DB"), side="sink"),
    Option(("table",), "the table of the memories", default="memories"),
    Option(
        ("agent-id",),
        "agent_id of records that carry none",
        env=("VEKTOR_AGENT_ID",),
        default="vektor-mcp",
        side="sink",
    ),
    Option(("timeout",), "seconds to wait for a lock that another process holds", default="10"),
    Option(("batch-size",), "accepted for the original tool's sake; the run's batches decide", side="sink"),
    Option(
        ("skip-graph",), "accepted for the original tool's sake; graph edges are never built", flag=True, side="sink"
    ),
)

connector = Connector(
    name="vektor",
    summary="VEKTOR memories in a SQLite database, schemas A, B and C",
    source=open_source,
    sink=open_sink,
    options=_OPTIONS,
    capabilities=Capabilities(idempotent=True, in_order=True, pushdown=frozenset({"namespace"})),
    aliases=("vektor-memory", "slipstream"),
    suffixes=(".db", ".sqlite", ".sqlite3"),
    magic=b"SQLite format 3\0",
    path_option="db",
)
