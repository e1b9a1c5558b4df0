"""Columns of times as timestamp[us, UTC]: timestamps, dates, ISO 8601 texts, epoch numbers."""

from __future__ import annotations

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import timestamps
from vexarrow.records import TIMESTAMP

Odd = dict[int, str]


def read(column: pa.Array) -> tuple[pa.Array, Odd]:
    """The times, and by row the JSON text of each value that is no time or that microseconds cannot hold exactly.

    A time without a zone is taken as UTC; `vexarrow.timestamps` says how numbers and texts are read.
    """
    kind = column.type
    if kind == TIMESTAMP:
        return column, {}
    if pa.types.is_timestamp(kind):
        return _from_timestamps(column)
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("us")).cast(TIMESTAMP), {}
    values = column.cast(pa.string()) if pa.types.is_string_view(kind) or pa.types.is_dictionary(kind) else column
    try:
        return timestamps.array(values.to_pylist()), {}
    except ValueError:
        return _one_by_one(values)


def _from_timestamps(column: pa.Array) -> tuple[pa.Array, Odd]:
    """Only nanoseconds can be finer than microseconds: they are cut, and the whole text kept."""
    out = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(TIMESTAMP)
    if column.type.unit != "ns":
        return out, {}
    fine = pc.not_equal(pc.multiply(out.cast(pa.int64()), 1000), column.cast(pa.int64())).fill_null(False)
    texts = pc.replace_substring(column.cast(pa.string()), " ", "T")
    return out, {int(row): _json(texts[int(row)].as_py()) for row in np.flatnonzero(np.asarray(fine))}


def _one_by_one(column: pa.Array) -> tuple[pa.Array, Odd]:
    numbers: list[int | None] = []
    odd: Odd = {}
    for row, value in enumerate(column.to_pylist()):
        number, exact = _microseconds(value)
        numbers.append(number)
        if not exact:
            odd[row] = _json(value)
    return pa.array(numbers, type=pa.int64()).cast(TIMESTAMP), odd


def _microseconds(value: str | float | None) -> tuple[int | None, bool]:
    if value is None or value != value:  # NaN is how pandas says null
        return None, True
    try:
        return timestamps.microseconds(value)
    except ValueError:
        return None, False


def _json(value: str | float) -> str:
    return orjson.dumps(value).decode()
