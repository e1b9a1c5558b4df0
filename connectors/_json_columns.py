"""JSON objects of many records written at once, from columns of their members: no Python object is made of any member.

All the pieces of the texts, values and what stands between them, are one Arrow array; it is taken in the order of the
output, and what that makes is all texts, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from ._arrow_numbers import int64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]

_SPACE, _QUOTE, _BACKSLASH = 0x20, 0x22, 0x5C  # below the first and the other two need an escape
_FORMS = 6  # of what stands before a value: 0 and 1 first, 2 and 3 after a value, 4 and 5 after a text; odd: of a text
_ENDS, _ALONE = 3, 2  # forms of what stands at the end, and which is that of no members


Pieces = tuple[pa.StringArray, "Places"]  # texts, and the place in them of each that is meant


def inner(texts: pa.StringArray) -> Pieces:
    """Texts as they stand between quotes in JSON."""
    bounds = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, 4 * texts.offset)
    body = texts.buffers()[2]
    raw = np.frombuffer(body if body is not None else b"", np.uint8)[bounds[0] : bounds[-1]]
    order = np.arange(len(texts))
    places = np.flatnonzero((raw < _SPACE) | (raw == _QUOTE) | (raw == _BACKSLASH))
    if not places.size:
        return texts, order
    rows = np.searchsorted(bounds, places + bounds[0], "right") - 1
    rows = rows[np.append(True, rows[1:] != rows[:-1])]
    escaped = [orjson.dumps(text)[1:-1].decode() for text in texts.take(int64(rows)).to_pylist()]
    order[rows] = len(texts) + np.arange(len(rows))
    return pa.concat_arrays([texts, pa.array(escaped, pa.string())]), order


def numbers(values: NDArray[np.float64], floats: NDArray[np.bool_]) -> Pieces:
    """Finite numbers as JSON: whole ones, which are within 64 bits, as integers, but those of `floats`."""
    whole = (np.floor(values) == values) & ~floats
    digits = int64(values[whole].astype(np.int64)).cast(pa.string())
    if whole.all():
        return digits, np.arange(len(values))
    others = orjson.dumps(np.ascontiguousarray(values[~whole]), option=orjson.OPT_SERIALIZE_NUMPY)
    points = pa.array(others[1:-1].decode().split(","), pa.string())
    order = np.empty(len(values), np.int64)
    order[whole] = np.arange(len(digits))
    order[~whole] = len(digits) + np.arange(len(points))
    return pa.concat_arrays([digits, points]), order


class Members(NamedTuple):
    """Members of objects, those of a record together and in their order: the record (not decreasing), the place of the
    key in the names, that of the value in the values, and whether it is a text, which has no quotes there."""

    owner: Places
    key: Places
    value: Places
    text: NDArray[np.bool_]


class Rest(NamedTuple):
    """What further members records have: those texts (`"a":1,"b":2`; None: no object where there are no other members),
    and the place in them of each record's."""

    texts: Sequence[str | None]
    of: Places


def objects(members: Members, names: Sequence[str], values: Sequence[pa.StringArray], rest: Rest) -> pa.StringArray:
    """The JSON object of each record of `rest`, null for one without members. `values`: as JSON, all arrays in one."""
    owner, key, value, text = members
    rows = len(rest.of)
    counts = np.bincount(owner, minlength=rows)
    bare = np.array([one is None for one in rest.texts], dtype=bool)[rest.of]
    there = (counts > 0) | ~bare
    stops = np.cumsum(2 * counts + there)
    before = np.zeros(len(owner), np.int64)
    before[1:] = np.where(owner[1:] != owner[:-1], 0, 2 + 2 * text[:-1])
    at = 2 * np.arange(len(owner)) + (np.cumsum(there) - 1)[owner]
    pieces = [*chain.from_iterable(map(_before, names)), *chain.from_iterable(map(_after, rest.texts))]
    known = sum(map(len, values))
    order = np.empty(int(stops[-1]) if rows else 0, np.int64)
    order[at] = known + _FORMS * key + before + text
    order[at + 1] = value
    last = np.full(rows, _ALONE)
    last[counts > 0] = text[np.cumsum(counts)[counts > 0] - 1]
    order[stops[there] - 1] = known + _FORMS * len(names) + _ENDS * rest.of[there] + last[there]
    joined = pa.concat_arrays([*values, pa.array(pieces, pa.string())]).take(int64(order))
    bounds = np.frombuffer(joined.buffers()[1], np.int32, len(joined) + 1)
    offsets = pa.py_buffer(bounds[np.append(0, stops)])
    mask = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
    return pa.StringArray.from_buffers(rows, offsets, joined.buffers()[2], mask, rows - int(there.sum()))


@lru_cache(4096)
def _before(name: str) -> tuple[str, ...]:
    """What stands before the value of a key, in its forms."""
    key: Any = orjson.dumps(name).decode() + ":"
    return tuple(f"{start}{key}{quote}" for start in ("{", ",", '",') for quote in ("", '"'))


@lru_cache(4096)
def _after(rest: str | None) -> tuple[str, ...]:
    """What stands after the last value that is no text, after one that is, and where there is none."""
    more = f",{rest}" if rest else ""
    return f"{more}}}", f'"{more}}}', f"{{{rest or ''}}}"
