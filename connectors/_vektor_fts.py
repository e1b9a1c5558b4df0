"""Triggers on a table of memories, and the full-text indexes that they feed.

Two things would go wrong by themselves. A trigger that indexes under `new.id` fails for an id that is no integer; it is
dropped and made again, word for word, inside the transaction that writes such rows, which the index then cannot hold
(the npm tool does the same). And an FTS5 table with an insert trigger but no update trigger would keep the old text of
a row that is updated; for the length of the connection a TEMP trigger brings it up to date.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass

from ._vektor_schema import Table, quoted

_INSERT = re.compile(
    r"\bINSERT\s+(?:OR\s+\w+\s+)?INTO\s+[\"'`\[]?(\w+)[\"'`\]]?\s*\(([^()]*)\)\s*VALUES\s*\(([^()]*)\)", re.IGNORECASE
)
_EVENT = re.compile(r"\b(INSERT|UPDATE|DELETE)\b(?:\s+OF\s+[^;]*?)?\s+ON\s", re.IGNORECASE)
_FTS5 = re.compile(r"USING\s+fts5\s*\((.*)\)", re.IGNORECASE | re.DOTALL)
_CONTENT = re.compile(r"\bcontent\s*=\s*(\"[^\"]*\"|'[^']*'|\w*)", re.IGNORECASE)
_KEYS = ("rowid", "docid", "_rowid_", "oid")


@dataclass(frozen=True, slots=True)
class Feed:
    """An insert trigger that fills a full-text table: `columns` get `values`, the row's number is `key`."""

    trigger: str
    sql: str
    index: str
    key: str
    columns: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Triggers:
    """What has to be minded when writing. `by_id`: triggers (name, SQL) that fail for ids that are no integers."""

    by_id: tuple[tuple[str, str], ...] = ()
    added: tuple[str, ...] = ()


def triggers(db: sqlite3.Connection, table: Table) -> Triggers:
    """Look at the triggers of a table."""
    found = db.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE", (table.name,)
    ).fetchall()
    feeds = [feed for name, sql in found if _event(sql) == "INSERT" for feed in _feeds(name, sql)]
    by_id = {feed.trigger: feed.sql for feed in feeds if feed.key == "new." + table.id.name.lower()}
    updates = [sql for _, sql in found if _event(sql) == "UPDATE"]
    stale = [feed for feed in feeds if not any(re.search(rf"\b{re.escape(feed.index)}\b", sql) for sql in updates)]
    added = [sql for number, feed in enumerate(stale) if (sql := _update_trigger(db, table, feed, number))]
    return Triggers(() if table.id_kind == "int" else tuple(by_id.items()), tuple(added))


def _event(sql: str) -> str:
    found = _EVENT.search(sql)
    return found[1].upper() if found else ""


def _feeds(name: str, sql: str) -> list[Feed]:
    feeds = []
    for index, columns, values in _INSERT.findall(sql):
        names = [column.strip().strip("\"'`[]") for column in columns.split(",")]
        given = [value.strip() for value in values.split(",")]
        at = next((at for at, column in enumerate(names) if column.lower() in _KEYS), None)
        if at is not None and len(names) == len(given):
            key = given.pop(at).replace('"', "").lower()
            names.pop(at)
            feeds.append(Feed(name, sql, index, key, tuple(names), tuple(given)))
    return feeds


def _update_trigger(db: sqlite3.Connection, table: Table, feed: Feed, number: int) -> str | None:
    """A TEMP trigger that does for an update what the insert trigger does for a new row; None if that is not FTS5."""
    row = db.execute("SELECT sql FROM sqlite_master WHERE name = ? COLLATE NOCASE", (feed.index,)).fetchone()
    declared = _FTS5.search(row[0] or "") if row else None
    plain = all(re.fullmatch(r"new\.\"?\w+\"?", value, re.IGNORECASE) for value in (feed.key, *feed.values))
    if declared is None or not plain:
        return None
    index, columns = quoted(feed.index), ", ".join(map(quoted, feed.columns))
    new = ", ".join(feed.values)
    old_key, old = (re.sub(r"(?i)\bnew\.", "old.", text) for text in (feed.key, new))
    indexed = f"EXISTS (SELECT 1 FROM {quoted(feed.index + '_docsize')} WHERE id = {old_key})"
    if _CONTENT.search(declared[1]):
        # Without a copy of its own, the index has to be told which words to forget.
        forget = f"INSERT INTO {index}({index}, rowid, {columns}) SELECT 'delete', {old_key}, {old} WHERE {indexed};"
    else:
        forget = f"DELETE FROM {index} WHERE rowid = {old_key};"
    whole = f"CAST(CAST({feed.key} AS INTEGER) AS TEXT) = CAST({feed.key} AS TEXT)"
    return (
        f"CREATE TEMP TRIGGER vex_update_{number} AFTER UPDATE ON main.{quoted(table.name)} WHEN {whole} BEGIN "
        f"{forget} INSERT INTO {index}(rowid, {columns}) VALUES ({feed.key}, {new}); END"
    )
