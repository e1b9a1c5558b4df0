"""Single vectors out of a Parquet column chunk, without decoding the rest.

Arrow decodes every value of a column to give a few rows, and spends more time on list levels than on data. Where no
vector is null, row r of a column chunk of fixed-size lists is values r * d to (r + 1) * d, so that only pages in which
a wanted row lies have to be decompressed. What is not just so (other encodings or page kinds, nulls) is left to Arrow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]

CODECS = {"ZSTD": "zstd", "SNAPPY": "snappy", "LZ4": "lz4_raw", "UNCOMPRESSED": None}
DATA_PAGE, PLAIN, RLE = 0, 0, 3
STOP, TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 12
_UNPACKERS = 2


class _Page(NamedTuple):
    """Where a page is in its chunk, and which values it holds."""

    first: int
    values: int
    at: int
    packed: int
    size: int


class VectorChunk:
    """The column chunk of a vector column in one row group, when it is laid out as expected; `dim` values a row.

    `source` opens the file. A mapping of its own for each chunk lets go of the pages read before.
    """

    def __init__(self, source: Callable[[], Any], meta: Any, group: int, column: int, dim: int) -> None:
        self._source = source
        self._column = meta.row_group(group).column(column)
        self._levels = meta.schema.column(column).max_definition_level
        self._dim = dim
        self._data: Any = None
        self._pages: list[_Page] | None = None
        rows = meta.row_group(group).num_rows
        self._usable = (
            self._column.compression in CODECS
            and not self._column.has_dictionary_page
            and self._column.num_values == rows * dim
            and meta.schema.column(column).max_repetition_level == 1
        )

    def rows(self, wanted: Rows) -> NDArray[np.float32] | None:
        """The vectors of rows in ascending order as a matrix; None when Arrow has to read them, or to say what is
        wrong with the file."""
        try:
            return self._rows(wanted) if self._usable else None
        except (IndexError, KeyError, ValueError, OSError, pa.ArrowException):
            self._usable = False
            return None

    def _rows(self, wanted: Rows) -> NDArray[np.float32] | None:
        if self._pages is None:
            self._load()
        out = np.empty((len(wanted), self._dim), dtype=np.float32)
        starts = wanted * self._dim
        needed = [
            (page, low, high) for page in self._pages or () for low, high in [self._held(page, starts)] if low < high
        ]
        # Unpacking leaves the interpreter alone, so that the next page is unpacked while this one is.
        with ThreadPoolExecutor(_UNPACKERS) as pool:
            ahead = deque(pool.submit(self._values, page) for page, _, _ in needed[:_UNPACKERS])
            for at, (page, low, high) in enumerate(needed):
                values = ahead.popleft().result()
                if at + _UNPACKERS < len(needed):
                    ahead.append(pool.submit(self._values, needed[at + _UNPACKERS][0]))
                if values is None:
                    self._usable = False
                    return None
                _copy(values, starts[low:high] - page.first, out[low:high])
        return out if self._usable else None

    def _held(self, page: _Page, starts: Rows) -> tuple[int, int]:
        """Which of the rows that begin at `starts` have values in a page."""
        low = int(np.searchsorted(starts + self._dim, page.first, side="right"))
        return low, int(np.searchsorted(starts, page.first + page.values, side="left"))

    def _load(self) -> None:
        start, size = self._column.data_page_offset, self._column.total_compressed_size
        file = self._source()
        file.seek(start)
        self._data = file.read_buffer(size)
        self._pages = []
        for page in _pages(memoryview(self._data).cast("B"), self._column.num_values):
            if page is None:
                self._usable = False
                return
            self._pages.append(page)

    def _values(self, page: _Page) -> NDArray[np.float32] | None:
        codec = CODECS[self._column.compression]
        data: Any = self._data.slice(page.at, page.packed)
        if codec:
            data = pa.decompress(data, page.size, codec)
        view = memoryview(data).cast("B")
        at = 4 + int.from_bytes(view[:4], "little")
        length = int.from_bytes(view[at : at + 4], "little")
        run, value = _varint(view, at + 4)
        # One run of the highest level says that no list and no value is null.
        if run != page.values << 1 or view[value] != self._levels or value + 1 != at + 4 + length:
            return None
        return np.frombuffer(data, dtype="<f4", count=page.values, offset=at + 4 + length)


def _copy(values: NDArray[np.float32], starts: Rows, out: NDArray[np.float32]) -> None:
    """Copy rows that start at `starts` of a page's values; of those that begin or end in another page, a part."""
    dim = out.shape[1]
    low, high = (1 if starts[0] < 0 else 0), len(starts)
    if low:
        # A row longer than the page may go on in the next one.
        skipped = -int(starts[0])
        part = values[: dim - skipped]
        out[0, skipped : skipped + len(part)] = part
    if high > low and starts[-1] + dim > len(values):
        high -= 1
        rest = values[int(starts[-1]) :]
        out[high, : len(rest)] = rest
    if high > low:
        out[low:high] = np.lib.stride_tricks.sliding_window_view(values, dim)[starts[low:high]]


# -- page headers, in Thrift's compact protocol --------------------------------------------------------------


def _pages(data: memoryview, total: int) -> Iterator[_Page | None]:
    """The pages of a chunk; None for one of another kind than ours."""
    at = first = 0
    while first < total:
        header, at = _struct(data, at)
        detail = header.get(5)
        if header.get(1) != DATA_PAGE or not detail or detail.get(2) != PLAIN or detail.get(3) != RLE:
            yield None
            return
        yield _Page(first, detail[1], at, header[3], header[2])
        first, at = first + detail[1], at + header[3]


def _struct(data: memoryview, at: int) -> tuple[dict[int, Any], int]:
    """The fields of a struct by number, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while data[at] != STOP:
        kind, delta = data[at] & 15, data[at] >> 4
        if delta:
            number, at = number + delta, at + 1
        else:
            raw, at = _varint(data, at + 1)
            number = _signed(raw)
        fields[number], at = _value(data, at, kind)
    return fields, at + 1


def _value(data: memoryview, at: int, kind: int) -> tuple[Any, int]:
    if kind in (TRUE, FALSE):
        return kind == TRUE, at
    if kind == STRUCT:
        return _struct(data, at)
    if kind == BINARY:
        size, at = _varint(data, at)
        return None, at + size
    if kind in (BYTE, DOUBLE):
        return None, at + (1 if kind == BYTE else 8)
    if kind in (LIST, SET):
        raise ValueError("a page header of another kind")
    raw, at = _varint(data, at)
    return _signed(raw), at


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7


def _signed(raw: int) -> int:
    return (raw >> 1) ^ -(raw & 1)
