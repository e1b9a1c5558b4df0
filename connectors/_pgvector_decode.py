"""The binary format of COPY back to Arrow columns, a page at a time and without a loop over rows.

Where every field starts is found for all rows at once. Then the page is one Arrow array, whose values are the fields of
a column and what lies between them, and Arrow takes the fields out of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from vexarrow import records

from ._arrow_numbers import int64
from ._pgvector_codec import EPOCH, SIGNATURE, TRAILER, body

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Fields:
    """Rows of a COPY output. `starts` and `lengths`, (rows, fields), say where fields are; null has the length -1."""

    data: NDArray[np.uint8]
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, end: int) -> Fields:
        """Some of the rows."""
        return Fields(self.data, self.rows[start:end], self.starts[start:end], self.lengths[start:end])

    def without(self, gone: NDArray[np.bool_]) -> Fields:
        """The rows but those that are marked."""
        return Fields(self.data, self.rows[~gone], self.starts[~gone], self.lengths[~gone])

    def present(self, at: int) -> NDArray[np.bool_]:
        """Which rows have a value in a field."""
        return self.lengths[:, at] >= 0

    def raw(self, at: int, skip: int = 0) -> pa.Array:
        """A field as bytes, without the first `skip` of them; null where it is null."""
        starts = self.starts[:, at] + skip
        lengths = np.maximum(self.lengths[:, at] - skip, 0)
        starts = np.where(self.present(at), starts, self.starts[:, at])
        # Values of one Arrow array: the field, and what lies between it and that of the next row.
        bounds = np.empty(2 * len(starts) + 1, np.int32)
        bounds[0:-1:2], bounds[1::2], bounds[-1] = starts, starts + lengths, len(self.data)
        slots = pa.Array.from_buffers(
            pa.binary(), 2 * len(starts), [None, pa.py_buffer(bounds), pa.py_buffer(self.data)]
        )
        taken = slots.take(int64(np.arange(0, 2 * len(starts), 2)))
        present = self.present(at)
        if present.all():
            return taken
        _, offsets, data = taken.buffers()
        bitmap = pa.py_buffer(np.packbits(present, bitorder="little"))
        return pa.Array.from_buffers(pa.binary(), len(starts), [bitmap, offsets, data])

    def texts(self, at: int, skip: int = 0) -> pa.Array:
        """A field as strings. Raises pyarrow.ArrowInvalid for what is not UTF-8."""
        return self.raw(at, skip).cast(pa.string())

    def numbers(self, at: int, kind: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A field of numbers of a big-endian numpy type, and which are there; 0 where it is null."""
        present = self.present(at)
        out = np.zeros(len(self), np.dtype(kind).newbyteorder("="))
        out[present] = np.frombuffer(body(self.raw(at)), kind)
        return out, present

    def vectors(self, at: int, kind: str = ">f4", dim: int = 0) -> pa.FixedSizeListArray:
        """A field of vectors that all have one dimension, as a vector column; `dim` is that of nulls alone."""
        present = self.present(at)
        if not present.any():
            return records.no_vectors(len(self), dim)
        size = int(self.lengths[present.argmax(), at])
        there = np.frombuffer(body(self.raw(at)), np.uint8).reshape(-1, size)[:, 4:].view(kind)
        if present.all():
            return records.from_matrix(there.astype(np.float32))
        whole = np.zeros((len(self), there.shape[1]), np.float32)
        whole[present] = there
        return records.from_matrix(whole, present)

    def sparse(self, at: int) -> pa.StructArray:
        """A field of sparsevec as a sparse column."""
        present = self.present(at)
        words = np.frombuffer(body(self.raw(at)), ">u4")
        sizes = np.where(present, self.lengths[:, at] // 4, 0)
        counts = np.where(present, (sizes - 3) // 2, 0)
        first = np.cumsum(sizes) - sizes + 3
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        where = np.repeat(first, counts) + inside
        indices = words[where].astype(np.uint32)
        values = words[where + np.repeat(counts, counts)].view(">f4").astype(np.float32)
        ends = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        lists = [pa.ListArray.from_arrays(ends, pa.array(part)) for part in (indices, values)]
        return pa.StructArray.from_arrays(lists, ["indices", "values"], mask=pa.array(~present))

    def multi(self, at: int, dim: int = 0) -> pa.ListArray:
        """A field of arrays of vectors that all have one dimension; `dim` is that of nulls and empty arrays alone.

        Other arrays raise ValueError.
        """
        present = self.present(at)
        lengths = np.where(present, self.lengths[:, at], 0)
        data = np.frombuffer(body(self.raw(at)), np.uint8)
        first = np.cumsum(lengths) - lengths
        filled = lengths > 12
        if not filled.any():
            return _lists(np.zeros(len(self), np.int64), present, np.zeros((0, dim), np.float32))
        at_first = first[filled]
        words = data[at_first[:, None] + np.arange(24)].reshape(-1, 24).copy().view(">i4")
        size = int(words[0, 5]) if words.shape[1] > 5 else 0
        counts = np.zeros(len(self), np.int64)
        counts[filled] = words[:, 3]
        if (words[:, 0] != 1).any() or (lengths[filled] != 20 + counts[filled] * (4 + size)).any():
            raise ValueError("arrays of vectors of one dimension")
        kept = np.repeat(first + 20, counts * (4 + size)) + _inside(counts * (4 + size))
        whole = data[kept].reshape(-1, 4 + size)[:, 8:].copy().view(">f4").astype(np.float32)
        return _lists(counts, present, whole)


def _inside(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, ... up to each count, one after the other."""
    inside: NDArray[np.int64] = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return inside


def _lists(counts: NDArray[np.int64], present: NDArray[np.bool_], values: NDArray[np.float32]) -> pa.ListArray:
    ends = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    return pa.ListArray.from_arrays(ends, records.from_matrix(values), mask=pa.array(~present))


class Rows:
    """Rows of a COPY output on their way, one after the other in memory that is used for page after page."""

    def __init__(self) -> None:
        self._data = np.empty(1 << 20, np.uint8)
        self._view = memoryview(self._data.data)
        self._ends: list[int] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self._ends)

    def fill(self, messages: Iterator[memoryview], most_rows: int, most_bytes: int) -> bool:
        """Take messages of the server: rows, the header with or without one, and the trailer. Ends, with True, when
        there are so many rows or bytes, and with False when there are no more messages."""
        ends, view, end = self._ends, self._view, self.size
        count = len(ends)
        try:
            for message in messages:  # once a row: all that is looked up here is local
                size = len(message)
                if not count or size <= 2:  # where header and trailer may be
                    row = _row_of(message)
                    if row is None:
                        continue
                    message, size = row, len(row)
                start, end = end, end + size
                if end + 4 > len(view):
                    self.size = start
                    view = self._grow(end + 4)
                view[start:end] = message
                ends.append(end)
                count += 1
                if count >= most_rows or end >= most_bytes:
                    return True
        finally:
            self.size = ends[-1] if ends else 0
        return False

    def _grow(self, size: int) -> memoryview:
        larger = np.empty(2 * size, np.uint8)
        larger[: self.size] = self._data[: self.size]
        self._data, self._view = larger, memoryview(larger.data)
        return self._view

    def drop(self, rows: int) -> None:
        """Forget the first rows. What `fields` gave is no longer valid."""
        start = self._ends[rows - 1]
        self._data[: self.size - start] = self._data[start : self.size].copy()
        self._ends = [end - start for end in self._ends[rows:]]
        self.size -= start

    def fields(self, count: int) -> Fields:
        """Where the fields of all rows are. Raises ValueError when they are not `count` each."""
        ends = np.array(self._ends, np.int64)
        rows = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        data = self._data[: self.size + 4]  # so that four bytes can be read anywhere
        starts, sizes = np.empty((2, len(ends), count), np.int64)
        at = rows + 2
        for field in range(count):
            size = _int32(data, at)
            starts[:, field], sizes[:, field] = at + 4, size
            at = at + 4 + np.maximum(size, 0)
        if not (at == ends).all():
            raise ValueError(f"the server sent rows of other than {count} fields")
        return Fields(data, rows, starts, sizes)


def _int32(whole: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.int64]:
    words = np.ndarray((len(whole) - 3,), ">i4", whole.data, strides=(1,))  # one from every byte on
    found: NDArray[np.int64] = words[np.minimum(at, len(whole) - 4)].astype(np.int64)
    return found


def _row_of(message: memoryview) -> memoryview | None:
    """The row in a message of a COPY output, without the header; None for the trailer or the header alone."""
    if bytes(message[:11]) == SIGNATURE:
        extra = int.from_bytes(message[15:19], "big")
        message = message[19 + extra :]
    return None if len(message) <= 2 and bytes(message) in (b"", TRAILER) else message


def moments_of(values: NDArray[np.int64], present: NDArray[np.bool_]) -> pa.Array:
    """The inverse of `moments`."""
    return int64(values + EPOCH, present).cast(records.TIMESTAMP)
