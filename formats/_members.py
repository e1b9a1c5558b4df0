"""Columns as members of JSON objects, column by column in Arrow; Python only where a value is nested or needs escapes.

Integers are exact, floats are the shortest text that gives the same value (float32 as float32), decimals are text,
dates and times ISO 8601, binary is base64, lists and structs are nested JSON. Members that are null, and NaN (which
JSON cannot say), are left out; infinity is the text "Infinity".
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ._roles import Member, is_text


def objects(batch: pa.RecordBatch, members: Sequence[Member]) -> pa.Array:
    """One JSON object text a row made of the given columns; null for a row without any member."""
    fragments = []
    for member in members:
        text = _json(batch.column(member.column), raw=member.json)
        label = json.dumps(member.key, ensure_ascii=False) + ":"
        fragments.append(pc.binary_join_element_wise(label, text, ""))
    if not fragments:
        return pa.nulls(batch.num_rows, pa.string())
    # The brace takes part in the join, because Arrow forgets rows of which every part is skipped.
    open_ended = pc.binary_join_element_wise("{", *fragments, ",", null_handling="skip")
    whole = pc.binary_join_element_wise(pc.replace_substring(open_ended, "{,", "{", max_replacements=1), "}", "")
    return pc.if_else(pc.equal(open_ended, "{"), pa.scalar(None, pa.string()), whole)


def _json(column: pa.Array, *, raw: bool) -> pa.Array:
    """The JSON text of every value, null where there is none."""
    if isinstance(column, pa.ExtensionArray):
        if column.type == pa.uuid():
            return _quoted(pa.array([str(value) if value else None for value in column.to_pylist()], pa.string()))
        column = column.storage
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if is_text(kind):
        return column.cast(pa.string()) if raw else _quoted(column.cast(pa.string()))
    if pa.types.is_floating(kind):
        return _floats(column)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        return _quoted(_timestamps(column))
    if pa.types.is_decimal(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        return _quoted(column.cast(pa.string()))
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.string())
    return pa.array([_nested(value) for value in _values(column)], type=pa.string())


def _values(column: pa.Array) -> list[Any]:
    """Python values, with maps as dictionaries unless a map has a key twice."""
    try:
        return list(column.to_pylist(maps_as_pydicts="strict"))
    except KeyError:
        return list(column.to_pylist())


def _quoted(column: pa.Array) -> pa.Array:
    special = pc.any(pc.match_substring_regex(column, r'["\\\x00-\x1f]')).as_py()
    if special:
        texts = [None if text is None else orjson.dumps(text).decode() for text in column.to_pylist()]
        return pa.array(texts, type=pa.string())
    return pc.binary_join_element_wise('"', column, '"', "")


def _floats(column: pa.Array) -> pa.Array:
    text = column.cast(pa.string())
    whole = pc.invert(pc.match_substring_regex(text, r"[.en]"))
    text = pc.if_else(whole, pc.binary_join_element_wise(text, ".0", ""), text)
    infinite = pc.is_inf(column)
    if pc.any(infinite).as_py():
        named = pc.if_else(pc.greater(column, pa.scalar(0, column.type)), '"Infinity"', '"-Infinity"')
        text = pc.if_else(infinite, named, text)
    return pc.if_else(pc.is_nan(column), pa.scalar(None, pa.string()), text)


def _timestamps(column: pa.Array) -> pa.Array:
    """ISO 8601 in UTC where the column has a time zone, without a zone where it has none."""
    zone = column.type.tz
    if zone:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    return pc.replace_substring(column.cast(pa.string()), " ", "T", max_replacements=1)


def _nested(value: Any) -> str | None:
    if value is None:
        return None
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return str(value)
