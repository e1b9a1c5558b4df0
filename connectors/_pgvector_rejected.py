"""Rows that cannot be records, as rejects with all that they hold, so that they can be mended and loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from vexarrow import records
from vexarrow.protocols import Reject

from ._pgvector_codec import EPOCH
from ._pgvector_decode import Fields
from ._pgvector_table import VERBATIM

if TYPE_CHECKING:
    from ._pgvector_records import Field

_ENDLESS = {(1 << 63) - 1: "infinity", -(1 << 63): "-infinity"}  # moments as the server sends them
_JSON = ("metadata", "extra", "others", VERBATIM)
_INNER = "key "  # begins the names of fields that only tell rows apart


def rejected(fields: Sequence[Field], rows: Fields, wrong: Iterable[int], code: str, message: str) -> list[Reject]:
    """Rejects for some of the rows. Text that is not UTF-8 has U+FFFD for what cannot be read; further vectors are left
    out."""
    found = []
    for row in wrong:
        record = _record(fields, rows.part(row, row + 1))
        identity = record.get("id")
        found.append(Reject(code, message, id=identity, record=orjson.dumps(record), row=row))
    return found


def _record(fields: Sequence[Field], row: Fields) -> dict[str, Any]:
    said = {field.name: _value(field, row, at) for at, field in enumerate(fields) if row.present(at)[0]}
    hidden, others = said.pop(VERBATIM, None), said.pop("others", None)
    if isinstance(hidden, dict):
        said |= {name: _json(value) if name in _JSON else value for name, value in hidden.items()}
    if isinstance(others, dict):
        metadata = said.get("metadata")
        said["metadata"] = others | (metadata if isinstance(metadata, dict) else {})
    said["vex_version"] = said.get("vex_version") or records.VMIG_VERSION
    return {name: value for name, value in said.items() if value is not None and not name.startswith(_INNER)}


def _value(field: Field, row: Fields, at: int) -> Any:
    """A field of one row as JSON has it; None for what has no place in a record."""
    if field.kind in ("vector", "halfvec"):
        if field.name != "vector":
            return None
        return records.matrix(row.vectors(at, ">f2" if field.kind == "halfvec" else ">f4"))[0].tolist()
    if field.kind == "moment":
        moment = int(row.numbers(at, ">i8")[0][0])
        return _ENDLESS.get(moment) or str(np.datetime64(moment + EPOCH, "us"))
    if field.kind == "score":
        return float(row.numbers(at, ">f8")[0][0])
    if field.kind in ("sparsevec", "_vector", "tid"):
        return None
    text = row.raw(at, 1 if field.kind == "jsonb" else 0)[0].as_py().decode("utf-8", "replace")
    return _json(text) if field.name in _JSON else text


def _json(text: Any) -> Any:
    """The value of a JSON text; the text itself where orjson does not read it, or cannot write it inside a record."""
    try:
        value = orjson.loads(text)
        orjson.dumps([[value]])
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return text
    return value
