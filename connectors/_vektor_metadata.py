"""Metadata between a record's JSON text and a row's columns, so that both directions are exact.

A row's metadata is its columns: `{"tags":"a,b","importance":3}`. When a record's metadata is more than that (other
members, another order, values that a column would change), its text goes verbatim into the column `metadata`, and the
columns hold copies for VEKTOR to work with. The text then ends in a note, the member `_vex`, with whatever else of the
record has no column:

    model, score, modality, vex_version, extra (as text), namespace, text, created_at (microseconds)
    defaults    what columns were filled with although the record said nothing: {"agent_id": "vektor-mcp"}
    metadata    the metadata itself when it is no JSON object: null, or its text

On reading, a column that differs from its copy was changed since and wins. In a row without a note both are originals
of somebody else: the member stays, and the column goes to the record's `extra` as {"vektor": {"tags": ...}}.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from vexarrow.jsontext import Malformed, members

from ._vektor_schema import Column

MARK = '"_vex":{'
BLOB = "$base64"
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_INT64 = 2**63
_NONE = type(None)
Note = dict[str, Any]
NOTHING: Note = {}


def encoded(value: Any) -> str:
    """A value of SQLite, not null and finite, as JSON."""
    if value.__class__ is bytes:
        value = {BLOB: base64.b64encode(value).decode()}
    return orjson.dumps(value).decode()


def loads(text: str) -> Any:
    """A JSON value; `...` when the text is no JSON. Integers beyond 64 bits may come as floats."""
    try:
        return orjson.loads(text)
    except ValueError:
        pass
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return ...


def _refuse(name: str) -> Any:
    raise ValueError(name)


# -- columns to JSON text ---------------------------------------------------------------------------------------------


def from_columns(
    fields: Sequence[Column], columns: Sequence[Sequence[Any]], kinds: Sequence[set[type]], rows: int
) -> list[str | None]:
    """The metadata of rows that have nothing in a column `metadata`: one member for each column that is not null.

    `kinds`: the types of the values in each column.
    """
    lists, sparse = [], False
    for field, values, types in zip(fields, columns, kinds, strict=True):
        if types != {_NONE}:
            lists.append(_members(field.name, values, types))
            sparse = sparse or _NONE in types
    if not lists:
        return [None] * rows
    if not sparse:
        return ["{" + ",".join(parts) + "}" for parts in zip(*lists, strict=True)]
    joined = [",".join(filter(None, parts)) for parts in zip(*lists, strict=True)]
    return ["{" + text + "}" if text else None for text in joined]


def _members(name: str, values: Sequence[Any], kinds: set[type]) -> list[str]:
    """`"name":value` for each value, "" for None. Equal texts are encoded once."""
    key = encoded(name) + ":"
    if kinds <= {str, _NONE}:
        known = {value: "" if value is None else key + encoded(value) for value in set(values)}
        return [known[values[0]]] * len(values) if len(known) == 1 else list(map(known.__getitem__, values))
    if kinds == {int}:
        return [f"{key}{value}" for value in values]
    return ["" if value is None else key + encoded(value) for value in values]


# -- JSON text to columns ---------------------------------------------------------------------------------------------


def stored(value: Any, column: Column) -> Any:
    """What the column holds for a member of that value, as SQLite gives it back; None when there is no good copy."""
    if isinstance(value, str):
        return _stored_text(value, column)
    if isinstance(value, (list, dict)):
        flat = _flat(value, column.name)
        return flat if isinstance(flat, bytes) else _stored_text(flat, column)
    if value is None:
        return None
    if column.affinity == "TEXT":
        return encoded(value)
    return _stored_number(value, column.affinity)


def _flat(value: Any, name: str) -> Any:
    """An array or object as VEKTOR keeps it: tags separated by commas, others as JSON."""
    if isinstance(value, dict) and value.keys() == {BLOB} and isinstance(value[BLOB], str):
        try:
            return base64.b64decode(value[BLOB], validate=True)
        except ValueError:
            pass
    if name.lower() == "tags" and isinstance(value, list) and all(isinstance(tag, str) for tag in value):
        return ",".join(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _stored_text(value: str, column: Column) -> Any:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return None
    if column.affinity in ("TEXT", "BLOB"):
        return value
    if len(value) < 40 and _NUMBER.fullmatch(value):
        return _stored_number(json.loads(value), column.affinity)
    try:
        float(value)
    except ValueError:
        return value
    return None  # SQLite may or may not turn it into a number


def _stored_number(value: float, affinity: str) -> float | None:
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        whole = affinity in ("INTEGER", "NUMERIC") and value.is_integer() and abs(value) < 2**53
        return int(value) if whole else value + 0.0  # a REAL column keeps no sign of zero
    if not -_INT64 <= value < _INT64:
        return None
    if affinity == "REAL":
        return float(value) if abs(value) <= 2**53 else None
    return int(value)


# -- the column `metadata` --------------------------------------------------------------------------------------------


class Merged(NamedTuple):
    """The metadata of a row, its note (empty when it has none), and columns that contradict it (JSON, or None)."""

    metadata: str | None
    note: Note
    contradictions: str | None = None


class Merger:
    """Brings the column `metadata` and the other columns of a row together."""

    def __init__(self, fields: Sequence[Column]) -> None:
        self._fields = tuple((column.name, column) for column in fields)
        self._notes: dict[str, Note | None] = {}

    def merged(self, text: str, values: Sequence[Any]) -> Merged:
        """One row, whose column `metadata` is not null."""
        body, note = self._split(text)
        document: Any = loads(body) if body is not None else {}
        if not isinstance(document, dict):
            if note is not None:
                return Merged(body, note)
            # Not an object, or not even JSON: kept as a member of its own.
            body = '{"metadata":' + (encoded(text) if document is ... else text) + "}"
            document = {"metadata": document}
        if not self._fields:
            return Merged(body, note or NOTHING)
        return self._against_columns(body, document, note, values)

    def _split(self, text: str) -> tuple[str | None, Note | None]:
        """The metadata's own text (None: null) and the note."""
        at = text.rfind(MARK)
        if at < 1 or text[-2:] != "}}":
            return text, None
        tail = text[at + 7 : -1]
        note = self._notes.get(tail)
        if note is None:
            parsed = loads(tail)
            if not isinstance(parsed, dict):
                return text, None
            if len(self._notes) > 4096:
                self._notes.clear()
            note = self._notes[tail] = parsed
        if "metadata" in note:
            return note["metadata"], note
        return ("{}" if at == 1 else text[: at - 1] + "}"), note

    def _against_columns(self, body: str | None, document: Any, note: Note | None, values: Sequence[Any]) -> Merged:
        defaults = note.get("defaults", NOTHING) if note else NOTHING
        added: list[str] = []
        changed: dict[str, Any] = {}
        for (name, column), value in zip(self._fields, values, strict=True):
            if name in document:
                if name not in defaults and stored(document[name], column) != value:
                    changed[name] = value
            elif value is not None and defaults.get(name) != value:
                added.append(f"{encoded(name)}:{encoded(value)}")
        if changed and note is None:
            changed = {name: value for name, value in changed.items() if value is not None}
            parts = [f"{encoded(name)}:{encoded(value)}" for name, value in changed.items()]
            return Merged(_extended(body, added), NOTHING, '{"vektor":{' + ",".join(parts) + "}}" if parts else None)
        if changed and body is not None:
            body = _replaced(body, changed)
        return Merged(_extended(body, added), note if note is not None else NOTHING)


def _extended(body: str | None, added: list[str]) -> str | None:
    if not added:
        return body
    if body is None:
        return "{" + ",".join(added) + "}"
    head = body.rstrip()[:-1]
    return head + ("," if head.strip() != "{" else "") + ",".join(added) + "}"


def _replaced(body: str, changed: dict[str, Any]) -> str:
    parts = []
    for key, written, value in members(body):
        if key not in changed:
            parts.append(f"{written}:{value}")
        elif changed[key] is not None:
            parts.append(f"{written}:{encoded(changed[key])}")
    return "{" + ",".join(parts) + "}"


class Splitter:
    """Spreads a record's metadata over columns, and says what is left for the column `metadata`."""

    def __init__(self, fields: Sequence[Column], defaults: Sequence[Any]) -> None:
        """`defaults`: what each column gets when the record says nothing, None for null."""
        self._keys = [encoded(column.name) + ":" for column in fields]
        self._places = {column.name: (at, column) for at, column in enumerate(fields)}
        self._blank: list[Any] = [None] * len(fields)
        filled = zip(fields, defaults, strict=True)
        self._defaults = {column.name: value for column, value in filled if value is not None}
        self._filled: dict[tuple[str, ...], str] = {}

    def split(self, metadata: str | None, note: str) -> tuple[list[Any], str | None]:
        """The values of the columns, and the text for `metadata`, None when the columns say it all.

        `note`: members of the note as JSON, without braces, "" for none.
        """
        document: Any = loads(metadata) if metadata is not None else None
        values, filled = self._values(document if isinstance(document, dict) else NOTHING)
        if filled:
            note = f"{note},{self._defaults_of(filled)}" if note else self._defaults_of(filled)
        if not note and self._derivable(metadata, document, values):
            return values, None
        if metadata == "{}":
            return values, "{" + MARK + note + "}}"
        if isinstance(document, dict) and document and metadata and metadata[0] == "{" and metadata[-1] == "}":
            if not note and MARK not in metadata and self._places.keys().isdisjoint(document):
                return values, metadata
            return values, f"{metadata[:-1]},{MARK}{note}}}}}"
        verbatim = "null" if metadata is None else json.dumps(metadata, ensure_ascii=False)
        return values, "{" + MARK + (note + "," if note else "") + f'"metadata":{verbatim}}}}}'

    def _values(self, document: dict[str, Any]) -> tuple[list[Any], tuple[str, ...]]:
        """The values of the columns, and the names of those that got their default."""
        values = self._blank.copy()
        places = self._places
        for name, value in document.items():
            if name in places:
                at, column = places[name]
                values[at] = stored(value, column)
        filled = ()
        for name, default in self._defaults.items():
            at, column = places[name]
            if values[at] is None and (column.required or name not in document):
                values[at] = default
                filled += (name,)  # type: ignore[assignment]
        return values, filled

    def _defaults_of(self, names: tuple[str, ...]) -> str:
        known = self._filled.get(names)
        if known is None:
            parts = (f"{encoded(name)}:{encoded(self._defaults[name])}" for name in names)
            known = self._filled[names] = '"defaults":{' + ",".join(parts) + "}"
        return known

    def _derivable(self, metadata: str | None, document: Any, values: list[Any]) -> bool:
        """Whether a reader gets just this metadata from the columns alone."""
        if isinstance(document, dict) and not (document and document.keys() <= self._places.keys()):
            return False
        present = [key + encoded(value) for key, value in zip(self._keys, values, strict=True) if value is not None]
        return metadata == ("{" + ",".join(present) + "}" if present else None)


def verbatim_key(name: str, value: str, extra: str | None) -> str:
    """`extra` with a member more at its front; `value` is JSON."""
    rest = "" if extra is None or extra == "{}" else "," + extra[1:-1]
    return f'{{"{name}":{value}{rest}}}'


def without_key(name: str, extra: str) -> str | None:
    """`extra` without a member; None when nothing is left."""
    try:
        rest = [f"{written}:{value}" for key, written, value in members(extra) if key != name]
    except Malformed:
        return extra
    return "{" + ",".join(rest) + "}" if rest else None
