"""The members of many JSON objects at once, as columns: no Python object is made of any member but of numbers.

It reads objects of texts, numbers and booleans as orjson writes them, which is what most metadata are; `flat` says
which of the texts are that. Whatever else a text may be, nested, spelt in another way or no JSON at all, it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from ._arrow_numbers import int64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]
    Mask = NDArray[np.bool_]

TEXT, FLOAT, INTEGER, FALSE, TRUE, _OTHER = range(6)
_SPACE, _QUOTE, _BACKSLASH, _COLON, _COMMA, _OPEN, _CLOSE = map(ord, ' "\\:,{}')
_WORDS = {b"true": TRUE, b"false": FALSE}
_WORD = 4  # bytes at the end of a word that tell it from all others of its length
_SPARE = 4  # bytes after the last text, so that one can look behind it


class Flat(NamedTuple):
    """The members of flat objects, those of an object together and in their order.

    `flat`: which of the texts are such objects; only these have members here. Of each member: `owner`, the row of its
    object; `key`, its place in `names`; its `kind`. `texts` are the values of kind TEXT in their order, `numbers` those
    of FLOAT and INTEGER, which are beyond 2**53 not exact.
    """

    flat: Mask
    owner: Places
    key: Places
    kind: NDArray[np.uint8]
    names: list[str]
    texts: pa.StringArray
    numbers: NDArray[np.float64]


class _Unreadable(ValueError):
    """Texts of which one makes the others unreadable."""


def members(objects: pa.StringArray) -> Flat:
    """The members of objects, of which none is null."""
    try:
        return _read(objects)
    except _Unreadable:
        return _read(pa.array(["-"] * len(objects), pa.string()))


def _read(objects: pa.StringArray) -> Flat:
    data, starts, stops = _bytes_of(objects)
    strings = _strings(data, starts, stops)
    flat, row, opens, closes = strings.sound, strings.row, strings.opens, strings.closes
    is_key, last = strings.is_key, strings.last
    flat[row[~_right(data, starts, stops, strings)]] = False
    at = np.flatnonzero(is_key & flat[row])
    owner, kind = row[at], np.full(len(at), TEXT, np.uint8)
    is_text = ~last[at]
    is_text[is_text] = strings.is_value[at[is_text] + 1]
    scalars = np.flatnonzero(~is_text)
    end = np.where(last[at[scalars]], stops[owner[scalars]], np.append(opens, 0)[at[scalars] + 1]) - 1
    kind[scalars], numbers, odd = _scalars(data, closes[at[scalars]] + 2, end)
    flat[owner[scalars[odd]]] = False
    values = at[is_text] + 1
    texts, odd = _texts(data, opens[values] + 1, closes[values])
    flat[owner[is_text][odd]] = False
    keys = _cut(data, opens[at] + 1, closes[at]).dictionary_encode()
    names = [name.decode() for name in keys.dictionary.to_pylist()]
    key = keys.indices.to_numpy().astype(np.int64)
    with_escape = np.array(["\\" in name for name in names], dtype=bool)
    flat[owner[with_escape[key]]] = False
    flat[_twice(owner, key, len(names))] = False
    mine = flat[owner]
    if not mine.all():
        texts = texts.take(int64(np.flatnonzero(mine[kind == TEXT])))
        numbers = numbers[mine[(kind == FLOAT) | (kind == INTEGER)]]
        owner, key, kind = owner[mine], key[mine], kind[mine]
    return Flat(flat, owner, key, kind, names, texts, numbers)


def _bytes_of(texts: pa.StringArray) -> tuple[NDArray[np.uint8], Places, Places]:
    """The bytes of texts and spare ones; where each text starts and stops."""
    bounds = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, 4 * texts.offset).astype(np.int64)
    body = texts.buffers()[2]
    raw = np.frombuffer(body if body is not None else b"", np.uint8)[bounds[0] : bounds[-1]]
    data = np.zeros(len(raw) + _SPARE, np.uint8)
    data[: len(raw)] = raw
    return data, bounds[:-1] - bounds[0], bounds[1:] - bounds[0]


class _Strings(NamedTuple):
    """The strings of texts: of which row each is, where its quotes are, whether it is the first or the last of its row,
    a key, or a value right after its key. `sound`: rows that begin and end as objects and have no control character."""

    sound: Mask
    row: Places
    opens: Places
    closes: Places
    first: Mask
    last: Mask
    is_key: Mask
    is_value: Mask


def _strings(data: NDArray[np.uint8], starts: Places, stops: Places) -> _Strings:
    quotes = data == _QUOTE
    if (data == _BACKSLASH).any():
        quotes &= ~escaped(data)
    places = np.flatnonzero(quotes)
    counts = np.searchsorted(places, stops) - np.searchsorted(places, starts)
    if (counts % 2).any():
        raise _Unreadable("a string without an end")
    sizes = stops - starts
    sound: Mask = (sizes >= 2) & (data[starts] == _OPEN) & (data[np.maximum(stops, 1) - 1] == _CLOSE)
    sound &= (counts > 0) | (sizes == 2)
    controls = np.flatnonzero(data[:-_SPARE] < _SPACE)
    sound[np.searchsorted(starts, controls, "right") - 1] = False
    row, opens, closes = np.repeat(np.arange(len(starts)), counts // 2), places[::2], places[1::2]
    change = row[1:] != row[:-1]
    first, last = np.append(True, change)[: len(row)], np.append(change, True)[: len(row)]
    is_key = data[closes + 1] == _COLON
    is_value = ~is_key & ~first
    is_value[1:] &= is_key[:-1] & (opens[1:] == closes[:-1] + 2)
    return _Strings(sound, row, opens, closes, first, last, is_key, is_value)


def _right(data: NDArray[np.uint8], starts: Places, stops: Places, strings: _Strings) -> Mask:
    """Which strings stand where they may: a key at the start, or behind a comma after a text or after a value between
    its key and here, which is for others to look at; a text right behind its key, and at the end before the brace."""
    _, row, opens, closes, first, last, is_key, is_value = strings
    behind = np.append(0, closes[:-1] + 2)[: len(row)]
    after_scalar = is_key & ~first & np.append(False, is_key[:-1])[: len(row)]
    place = np.where(first, starts[row] + 1, behind)
    right: Mask = (is_key | is_value) & np.where(after_scalar, opens > place + 1, opens == place)
    right &= ~is_key | first | (data[opens - 1] == _COMMA)
    right &= is_key | ~last | (closes + 2 == stops[row])
    return right


def escaped(data: NDArray[np.uint8]) -> Mask:
    """Which bytes come right after an odd number of backslashes."""
    places = np.arange(len(data))
    last_other = np.maximum.accumulate(np.where(data == _BACKSLASH, -1, places))
    run = places - last_other
    found: Mask = np.append(False, run[:-1] % 2 == 1)
    return found


def _cut(data: NDArray[np.uint8], starts: Places, stops: Places) -> pa.BinaryArray:
    """What is at places that are in order and do not overlap, in one copy."""
    if not len(starts):
        return pa.array([], pa.binary())
    bounds = np.empty(2 * len(starts) + 1, np.int32)
    bounds[0:-1:2], bounds[1::2], bounds[-1] = starts, stops, len(data)
    slots = pa.Array.from_buffers(pa.binary(), 2 * len(starts), [None, pa.py_buffer(bounds), pa.py_buffer(data)])
    return slots.take(int64(np.arange(0, 2 * len(starts), 2)))


def _scalars(
    data: NDArray[np.uint8], starts: Places, stops: Places
) -> tuple[NDArray[np.uint8], NDArray[np.float64], Mask]:
    """The kinds of values that are no texts, the numbers among them, and which are none of either as orjson writes
    them."""
    kinds = np.full(len(starts), _OTHER, np.uint8)
    lead = data[np.minimum(starts, len(data) - 4)]
    number = ((lead >= ord("0")) & (lead <= ord("9"))) | (lead == ord("-"))
    bad = ~number
    words = np.ndarray((len(data) - _WORD + 1,), "<u4", data, strides=(1,))  # one from every byte on
    for word, kind in _WORDS.items():
        mine = np.flatnonzero(~number & (lead == word[0]) & (stops - starts == len(word)))
        mine = mine[words[stops[mine] - _WORD] == int.from_bytes(word[-_WORD:], "little")]
        kinds[mine], bad[mine] = kind, False
    where = np.flatnonzero(number)
    values, point, odd = _numbers(data, starts[where], stops[where])
    kinds[where] = np.where(point, FLOAT, INTEGER)
    bad[where[odd]] = True
    return kinds, values, bad


def _numbers(data: NDArray[np.uint8], starts: Places, stops: Places) -> tuple[NDArray[np.float64], Mask, Mask]:
    """Numbers, which of them are floats, and which are written otherwise than orjson does."""
    if not len(starts):
        return np.empty(0), np.empty(0, np.bool_), np.empty(0, np.bool_)
    joined = _cut(data, starts, stops + 1)  # and the comma or brace after each
    bounds = np.frombuffer(joined.buffers()[1], np.int32, len(joined) + 1)
    raw = np.frombuffer(joined.buffers()[2], np.uint8)[: bounds[-1]].copy()
    raw[bounds[1:] - 1] = _COMMA
    whole = b"[" + raw[:-1].tobytes() + b"]"
    try:
        values = orjson.loads(whole)
    except orjson.JSONDecodeError:
        raise _Unreadable("a number that is none") from None
    if len(values) != len(starts):
        raise _Unreadable("several values where one belongs")
    odd = np.zeros(len(values), np.bool_)
    if orjson.dumps(values) != whole:
        written = zip(values, whole[1:-1].split(b","), strict=True)
        odd = np.fromiter((orjson.dumps(value) != text for value, text in written), np.bool_, len(values))
    points = np.flatnonzero((raw == ord(".")) | (raw == ord("e")))
    point = np.zeros(len(values), np.bool_)
    point[np.searchsorted(bounds, points, "right") - 1] = True
    return np.array(values, np.float64), point, odd


def _texts(data: NDArray[np.uint8], starts: Places, stops: Places) -> tuple[pa.StringArray, Mask]:
    """Texts, and which are written otherwise than orjson does."""
    odd = np.zeros(len(starts), np.bool_)
    texts = _cut(data, starts, stops)
    rows = _with_backslash(texts)
    if not len(rows):
        return texts.cast(pa.string()), odd
    fixed = []
    for row in rows.tolist():
        raw = b'"' + texts[row].as_py() + b'"'
        try:
            value = orjson.loads(raw)
            odd[row] = orjson.dumps(value) != raw
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            value, odd[row] = "", True
        fixed.append(value)
    order = np.arange(len(texts))
    order[rows] = len(texts) + np.arange(len(rows))
    return pa.concat_arrays([texts.cast(pa.string()), pa.array(fixed, pa.string())]).take(int64(order)), odd


def _with_backslash(texts: pa.BinaryArray) -> Places:
    """The texts that have an escape."""
    if not len(texts):
        return np.empty(0, np.int64)
    bounds = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1)
    raw = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[: bounds[-1]]
    places = np.searchsorted(bounds, np.flatnonzero(raw == _BACKSLASH), "right") - 1
    return places[np.append(True, places[1:] != places[:-1])] if len(places) else places


def _twice(owner: Places, key: Places, names: int) -> Places:
    """The rows of objects that have a key twice."""
    code = np.sort(owner * max(names, 1) + key)
    again: Places = code[1:][code[1:] == code[:-1]] // max(names, 1)
    return again
