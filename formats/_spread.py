"""`--metadata columns`: a typed column for each metadata key, and nothing lost by it.

Keys may come late, so records wait in a temporary file until all are known. A column is bool, int64, double or string
when all values of its key are (integers among floats become double); lists, objects and mixtures are JSON text. A key
that is the name of a record field, or differs from another name only in case, gets the column `metadata.<key>`. The
footer tells which columns these are, and reading puts the metadata together again, members in the order of the columns.

A null in a column means that the key is absent. A record that columns cannot hold exactly (a null member, an integer
among floats, a number too long, a key given twice, an empty object, metadata that is no object) has its whole metadata
in the column `metadata` too, which is null elsewhere; it goes before the columns when the file is read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson
import pyarrow as pa

from vexarrow import records

from ._parquet_encode import Settings
from ._spool import Spool

MOST_COLUMNS = 1000
RESERVED = frozenset({"vector", "dims", *records.BASE_NAMES})
_LONG = re.compile(r"\d{16}")
_TYPES = {"bool": pa.bool_(), "int": pa.int64(), "double": pa.float64(), "string": pa.string(), "json": pa.string()}


class _Target(Protocol):
    def write(self, batch: pa.RecordBatch) -> None: ...
    def finish(self, schema: pa.Schema) -> None: ...
    def discard(self) -> None: ...


class Spreading:
    """A target of `ParquetSink` in front of another one."""

    def __init__(self, target: _Target, settings: Settings, path: str) -> None:
        self._target = target
        self._settings = settings
        self._spool = Spool(path)
        self._kinds: dict[str, str] = {}

    def write(self, batch: pa.RecordBatch) -> None:
        """Put a batch aside, and note the keys of its metadata and their types."""
        for text in records.storage(batch.column("metadata")).to_pylist():
            value = None if text is None else _parsed(text)[0]
            for key, member in (value or {}).items():
                kind = _kind(member)
                known = self._kinds.get(key)
                if known != kind and kind is not None:
                    self._kinds[key] = kind if known is None else _wider(known, kind)
        self._spool.append(batch)

    def finish(self, schema: pa.Schema) -> None:
        """Write all records with their columns."""
        kinds = dict(list(self._kinds.items())[:MOST_COLUMNS])
        columns = _names(kinds, schema.names)
        self._settings.spread = {columns[key]: {"key": key, "kind": kind} for key, kind in kinds.items()}
        fields = [pa.field(columns[key], _TYPES[kind]) for key, kind in kinds.items()]
        whole = pa.schema([*schema, *fields], metadata=schema.metadata)
        for batch in self._spool:
            self._target.write(_spread(batch, kinds, whole))
        self._spool.close()
        self._target.finish(whole)

    def discard(self) -> None:
        """Remove what was put aside."""
        self._spool.close()
        self._target.discard()


def _names(kinds: Mapping[str, str], taken: Sequence[str]) -> dict[str, str]:
    """A column name for each key; names are compared without case, as DuckDB does."""
    used = {name.casefold() for name in (*taken, *RESERVED)}
    names = {}
    for key in kinds:
        name = key
        while not name or name.casefold() in used or name.startswith(records.EXTRA_VECTORS):
            name = f"metadata.{name}"
        used.add(name.casefold())
        names[key] = name
    return names


def _spread(batch: pa.RecordBatch, kinds: Mapping[str, str], schema: pa.Schema) -> pa.RecordBatch:
    texts = records.storage(batch.column("metadata")).to_pylist()
    values: dict[str, list[Any]] = {key: [None] * len(texts) for key in kinds}
    whole: list[str | None] = [None] * len(texts)
    for row, text in enumerate(texts):
        if text is None:
            continue
        members, exact = _parsed(text)
        for key, member in (members or {}).items():
            column = values.get(key)
            if column is None or not _put(column, row, kinds[key], member):
                exact = False
        if not exact:
            whole[row] = text
    at = batch.schema.get_field_index("metadata")
    arrays = [*batch.columns, *(pa.array(values[key], type=_TYPES[kinds[key]]) for key in kinds)]
    arrays[at] = records.json_array(whole)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _put(column: list[Any], row: int, kind: str, member: Any) -> bool:
    """Set a value in its column. False when the column does not say exactly what it was."""
    if member is None:
        return False
    if kind == "json":
        column[row] = _dumped(member)
        return column[row] is not None
    if isinstance(member, float) and not math.isfinite(member):
        return False
    if kind == "double" and isinstance(member, int):
        column[row] = float(member) if abs(member) < 2**1000 else None
        return False
    column[row] = member
    return True


def _dumped(member: Any) -> str | None:
    """JSON text, with integers of any length; None for numbers that are infinite as floats, such as 1e999."""
    try:
        return json.dumps(member, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return None


def _parsed(text: str) -> tuple[dict[str, Any] | None, bool]:
    """The members of a metadata text, and whether they say all that the text does."""
    if _LONG.search(text) or "\\ud" in text.lower():
        return _parsed_slowly(text)
    value = orjson.loads(text)
    if not isinstance(value, dict):
        return None, False
    if not value:
        return value, False
    if len(orjson.dumps(value)) == len(text.encode()):
        return value, True
    return _parsed_slowly(text)


def _parsed_slowly(text: str) -> tuple[dict[str, Any] | None, bool]:
    """With integers of any length, and a look at keys that are there twice."""
    twice = False

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        members = dict(pairs)
        twice = twice or len(members) < len(pairs)
        return members

    value = json.loads(text, object_pairs_hook=unique)
    if not isinstance(value, dict) or not value:
        return None, False
    try:
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None, False
    return value, not twice


def _kind(member: Any) -> str | None:
    if member is None:
        return None
    if isinstance(member, bool):
        return "bool"
    if isinstance(member, int):
        return "int" if -(2**63) <= member < 2**63 else "double"
    if isinstance(member, float):
        return "double"
    return "string" if isinstance(member, str) else "json"


def _wider(first: str, second: str) -> str:
    if first == second:
        return first
    return "double" if {first, second} == {"int", "double"} else "json"
