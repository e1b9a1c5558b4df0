"""The entries of many google.protobuf.Struct messages read at once: `key` 1, and a Value 2 of one kind.

Most are short: then every length is one byte, and eight bytes at the start of an entry and eight at the start of its
value tell all of it. The others are walked through like any message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._protobuf_columns import Unusual, overlapping, walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._protobuf_columns import Places

_WORD = 8
# By the kind of a value, its wire kind; null 1, number 2, text 3, boolean 4, object 5, list 6.
_WIRE = np.array([-1, 0, 1, 2, 0, 2, 2])


class Entries(NamedTuple):
    """Entries: starts and stops of their keys, kinds of their values, starts and stops of what these hold."""

    key: tuple[Places, Places]
    kind: Places
    value: tuple[Places, Places]


def entries(data: bytes, starts: Places, stops: Places) -> Entries:
    """The entries at some places of a buffer. Raises Unusual for all that is not as servers write it."""
    if len(data) < _WORD:
        return _walked(data, starts, stops)
    words, last = overlapping(data, "<u8"), len(data) - _WORD
    size, short = _head(words[np.minimum(starts, last)], 0x0A)
    short &= starts <= last
    key = starts + 2
    middle = key + size
    word = words[np.minimum(middle, last)]
    size, good = _head(word, 0x12)
    short &= good & (middle <= last) & (middle + 2 + size == stops)
    tag, length = (word >> 16 & 0xFF).astype(np.int64), (word >> 24 & 0xFF).astype(np.int64)
    kind = tag >> 3
    sized = (tag & 7 == 2) & (kind >= 3) & (kind <= 6) & (kind != 4) & (length == size - 2) & (length < 0x80)
    short &= sized | ((tag == 0x11) & (size == 9)) | ((tag == 0x20) & (size == 2) & (length < 0x80))
    value = middle + 3 + sized
    rest = np.flatnonzero(~short)
    ends = stops
    if rest.size:
        other = _walked(data, starts[rest], stops[rest])
        ends = stops.copy()
        for place, new in zip((key, middle, kind, value, ends), (*other.key, other.kind, *other.value), strict=True):
            place[rest] = new
    return Entries((key, middle), kind, (value, ends))


def _head(word: NDArray[np.uint64], tag: int) -> tuple[Places, NDArray[np.bool_]]:
    """The length of a field, and whether it is of that tag and its length one byte."""
    size = (word >> 8 & 0xFF).astype(np.int64)
    return size, (word & 0xFF == tag) & (size < 0x80)


def _walked(data: bytes, starts: Places, stops: Places) -> Entries:
    """The same by walking."""
    buffer = np.frombuffer(data, np.uint8)
    found = walk(buffer, starts, stops)
    _, kind, wire, start, stop = walk(buffer, *found.each(2)).only()
    if kind.size and (kind.min() < 1 or kind.max() >= len(_WIRE) or (_WIRE[kind] != wire).any()):
        raise Unusual("a value of a kind that is not known")
    if (stop - start)[_WIRE[kind] == 0].max(initial=1) > 1:
        raise Unusual("a long boolean")
    return Entries(found.each(1), kind, (start, stop))
