"""Many messages of one buffer read at once, with numpy: no object is made of any field, and no byte copied.

`walk` steps through the first field of all messages, then the second of those that have one, and so on. What it tells
of a field is where it is. It reads what servers write, and raises Unusual for all else, cut off messages among it, so
that protobuf's own parser may decide: never does it read outside of a message, nor take more than `MOST_FIELDS` steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from ._arrow_numbers import int64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]

MOST_FIELDS = 400
_LONGEST = 21  # bits before the last byte of a varint: no length here has 28
_MESSAGE = 2
_FIRST_TAG = 8
_SIZES = np.array([0, 8, 0, -1, -1, 4, -1, -1])  # of a field by its wire kind, where that tells it; -1: not known


class Unusual(ValueError):
    """Messages that are not the ones expected."""


class Step(NamedTuple):
    """The fields that many messages have at one place, the first of each or the second: of which message each is (in
    their order), its number and wire kind, and where its value is: start and stop in the buffer."""

    owner: Places
    number: Places
    kind: Places
    start: Places
    stop: Places

    def of(self, number: int) -> Step:
        """The fields of a number. Raises Unusual when one is none that has a length."""
        mask = self.number == number
        found = self if mask.all() else Step(*(column[mask] for column in self))
        if (found.kind != _MESSAGE).any():
            raise Unusual("a field of another kind")
        return found


class Fields:
    """The fields of many messages, step by step."""

    def __init__(self, steps: Sequence[Step], messages: int) -> None:
        self.steps = steps
        self._messages = messages

    def each(self, number: int) -> tuple[Places, Places]:
        """Start and stop of the one field of a number in each message. Raises Unusual when one has none or several."""
        found = [step for step in (one.of(number) for one in self.steps) if step.owner.size]
        if len(found) == 1 and len(found[0].owner) == self._messages:
            return found[0].start, found[0].stop
        owner, _, _, start, stop = _concatenated(found)
        if len(owner) != self._messages or (np.bincount(owner, minlength=self._messages) != 1).any():
            raise Unusual("a field that is missing, or there twice")
        order = np.argsort(owner)
        return start[order], stop[order]

    def every(self, number: int) -> Step:
        """All fields of a number in the order of the messages."""
        found = _concatenated([one.of(number) for one in self.steps])
        order = np.argsort(found.owner, kind="stable")
        return Step(*(column[order] for column in found))

    def only(self) -> Step:
        """The one field of each message. Raises Unusual when one has none or several."""
        if not self._messages:
            return _concatenated([])
        if len(self.steps) != 1 or len(self.steps[0].owner) != self._messages:
            raise Unusual("a message with other fields than one")
        return self.steps[0]


def _concatenated(steps: Sequence[Step]) -> Step:
    if len(steps) == 1:
        return steps[0]
    return Step(*map(np.concatenate, zip(*steps, strict=True))) if steps else Step(*[np.empty(0, np.int64)] * 5)


def walk(data: NDArray[np.uint8], starts: Places, stops: Places) -> Fields:
    """All fields of the messages between `starts` and `stops` of a buffer. Raises Unusual."""
    if starts.size and not (starts.min() >= 0 and (starts <= stops).all() and stops.max() <= data.size):
        raise Unusual("messages outside of the buffer")
    owner = np.flatnonzero(starts < stops)
    at, end = (starts, stops) if len(owner) == len(starts) else (starts[owner], stops[owner])
    steps: list[Step] = []
    while owner.size:
        if len(steps) == MOST_FIELDS:
            raise Unusual("a message of many fields")
        tag, at = _varints(data, at, end)
        kind = tag & 7
        if tag.min() < _FIRST_TAG:
            raise Unusual("a field without a number")
        if (kind == _MESSAGE).all():
            length, at = _varints(data, at, end)
            stop = at + length
        else:
            at, stop = _sized(data, kind, at, end)
        left = end - stop
        if left.min() < 0:
            raise Unusual("a message that is cut off")
        steps.append(Step(owner, tag >> 3, kind, at, stop))
        more = np.flatnonzero(left)
        owner, at, end = (owner, stop, end) if len(more) == len(owner) else (owner[more], stop[more], end[more])
    return Fields(steps, len(starts))


def each_of(
    data: bytes, starts: Places, stops: Places, numbers: Sequence[int], wanted: Sequence[int]
) -> list[tuple[Places, Places]]:
    """Starts and stops of the wanted fields, each of which every message has once. Raises Unusual.

    Where all messages have fields of `numbers` and no others, in this order and with lengths of one byte or two, the
    first bytes of a field tell its end. Else the messages are walked through.
    """
    found: list[tuple[Places, Places]] = []
    words, last, at = overlapping(data, "<u8"), len(data) - 8, starts
    for number in numbers:
        if not at.size or at.max() > last:
            break
        word = words[at].view(np.int64)
        low, high = word >> 8 & 0xFF, word >> 16 & 0xFF
        long = low >> 7
        at = at + 2 + long
        stop = at + low + long * ((high << 7) - 0x80)
        if ((word & 0xFF) != number << 3 | _MESSAGE).any() or (high[long > 0] >= 0x80).any() or (stop > stops).any():
            break
        found.append((at, stop))
        at = stop
    if len(found) == len(numbers) and (at == stops).all():
        return [found[numbers.index(number)] for number in wanted]
    fields = walk(np.frombuffer(data, np.uint8), starts, stops)
    return [fields.each(number) for number in wanted]


def _sized(data: NDArray[np.uint8], kind: Places, at: Places, end: Places) -> tuple[Places, Places]:
    """Start and stop of values of several kinds."""
    size = _SIZES[kind]
    if (size < 0).any():
        raise Unusual("a wire kind that is not known")
    at, stop = at.copy(), at + size
    rows = np.flatnonzero(kind == _MESSAGE)
    length, at[rows] = _varints(data, at[rows], end[rows])
    stop[rows] = at[rows] + length
    rows = np.flatnonzero(kind == 0)
    stop[rows] = _varints(data, at[rows], end[rows])[1]
    return at, stop


def _varints(data: NDArray[np.uint8], at: Places, end: Places) -> tuple[Places, Places]:
    """The numbers at some places, and where the bytes after them start."""
    if (at >= end).any():
        raise Unusual("a message that is cut off")
    first = data[at]
    number, after = first.astype(np.int64), at + 1
    rows = np.flatnonzero(first >= 0x80)
    shift = 7
    while rows.size:
        here = after[rows]
        if shift > _LONGEST or (here >= end[rows]).any():
            raise Unusual("a number that is cut off, or a long one")
        byte = data[here].astype(np.int64)
        number[rows] += (byte - 1) << shift  # the bit that says "more" of the byte before is taken off
        after[rows] += 1
        rows = rows[byte >= 0x80]
        shift += 7
    return number, after


def texts(data: bytes, starts: Places, stops: Places) -> pa.StringArray:
    """The texts at some places, which are in the order of the buffer and do not overlap, in one copy. Raises Unusual
    when one is not UTF-8."""
    count = len(starts)
    if not count:
        return pa.array([], pa.string())
    bounds = np.empty(2 * count + 1, np.int32)  # every other element is what lies between two texts
    bounds[0:-1:2], bounds[1::2], bounds[-1] = starts, stops, stops[-1]
    if (bounds[1:] < bounds[:-1]).any():
        raise Unusual("fields that are not in order")
    every = pa.Array.from_buffers(pa.binary(), 2 * count, [None, pa.py_buffer(bounds), pa.py_buffer(data)])
    try:
        return every.take(int64(np.arange(0, 2 * count, 2))).cast(pa.string())
    except pa.ArrowInvalid as error:
        raise Unusual(str(error)) from None


def doubles(data: bytes, starts: Places) -> NDArray[np.float64]:
    """The numbers of eight bytes at some places, all of which are in the data."""
    return overlapping(data, "<f8")[starts] if len(starts) else np.empty(0)


def overlapping(data: bytes, kind: str) -> NDArray[Any]:
    """Every number of eight bytes in the data, one at each byte but for the last seven."""
    return np.ndarray((max(len(data) - 7, 0),), kind, data, strides=(1,))
