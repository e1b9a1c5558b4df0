"""`created_at` in and out: ISO 8601 or epoch numbers to microseconds UTC, and back to ISO 8601."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from vexarrow.records import TIMESTAMP

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Numbers from here on are milliseconds (and from there on microseconds): as seconds they would lie after the year 5138.
MILLISECONDS_FROM = 10**11
MICROSECONDS_FROM = 10**14
FIRST = -62_135_596_800_000_000
LAST = 253_402_300_799_999_999
_FINER = re.compile(r"[.,]\d{6}(\d+)")


def microseconds(value: str | float | int) -> tuple[int, bool]:
    """Microseconds since the epoch of one `created_at`, and whether nothing was lost by it.

    Text is ISO 8601; without an offset it is UTC. Numbers are epoch seconds, from 10^11 on milliseconds, from 10^14 on
    microseconds. Digits finer than a microsecond are cut, which the second value tells. Raises ValueError for anything
    else, and for years outside 1 to 9999.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("created_at is neither ISO 8601 text nor a number")
    result, exact = _from_text(value) if isinstance(value, str) else _from_number(value)
    if not FIRST <= result <= LAST:
        raise ValueError(f"created_at {value!r} lies outside the years 1 to 9999")
    return result, exact


def _from_text(text: str) -> tuple[int, bool]:
    try:
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise ValueError(f"created_at {text[:60]!r} is not ISO 8601") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    finer = _FINER.search(text)
    return (moment - EPOCH) // timedelta(microseconds=1), not (finer and finer[1].strip("0"))


def _from_number(value: float | int) -> tuple[int, bool]:
    size = abs(value)
    if not size < 10**17:
        raise ValueError(f"created_at {value!r} is no epoch time")
    scale = 1_000_000 if size < MILLISECONDS_FROM else 1_000 if size < MICROSECONDS_FROM else 1
    if isinstance(value, int):
        return value * scale, True
    result = round(value * scale)
    return result, result / scale == value


def array(values: Sequence[Any]) -> pa.Array:
    """Many `created_at` values (text, numbers, None) as timestamps, fast when they are all alike and exact.

    Raises ValueError when one of them needs `microseconds`, for whatever reason; the caller then goes one by one.
    """
    kinds = set(map(type, values)) - {type(None)}
    try:
        if kinds <= {str}:
            return from_texts(pa.array(values, type=pa.string()))
        if kinds == {int}:
            return from_seconds(pa.array(values, type=pa.int64()))
    except (pa.ArrowException, OverflowError):
        pass
    raise ValueError("not alike, or not exact")


def from_texts(column: pa.Array) -> pa.Array:
    """ISO 8601 texts with an offset as timestamps. Raises ValueError (or Arrow's own, which is one) for others."""
    times = column.cast(TIMESTAMP)
    numbers = times.cast(pa.int64()).drop_null().to_numpy()
    if numbers.size and not FIRST <= numbers.min() <= numbers.max() <= LAST:
        raise ValueError("years outside 1 to 9999")
    return times


def from_seconds(numbers: pa.Array) -> pa.Array:
    """Epoch seconds (int64) as timestamps. Raises ValueError when some look like milliseconds."""
    filled = numbers.fill_null(0).to_numpy()
    if filled.size and max(filled.max(), -filled.min()) >= MILLISECONDS_FROM:
        raise ValueError("milliseconds among them")
    mask = np.asarray(numbers.is_null())
    return pa.array(filled * 1_000_000, type=pa.int64(), mask=mask).cast(TIMESTAMP)


def texts(column: pa.Array) -> list[str | None]:
    """Timestamps as ISO 8601 text in UTC: milliseconds as JavaScript writes them, microseconds where there are any."""
    if column.null_count == len(column):
        return [None] * len(column)
    numbers = column.cast(pa.int64()).fill_null(0).to_numpy()
    moments = numbers.astype("datetime64[us]")
    fine = numbers % 1000 != 0
    out = np.datetime_as_string(moments, unit="ms", timezone="UTC").tolist()
    for at in np.flatnonzero(fine).tolist():
        out[at] = str(np.datetime_as_string(moments[at], unit="us", timezone="UTC"))
    for at in np.flatnonzero(~np.asarray(column.is_valid())).tolist():
        out[at] = None
    result: list[str | None] = out
    return result
