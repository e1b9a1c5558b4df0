"""A directory of Parquet files, in folders by column value if wanted, that appears when all of it is complete.

Parts are written into a hidden folder and moved at the end. Few files are open at a time however many values there are:
records of further values wait in a spool, and are written value by value at the end, a few megabytes of them in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow.files import translated
from vexarrow.location import Location

from ._parquet_encode import Encoder, Settings
from ._parquet_files import HIVE_NULL
from ._spool import Spool
from ._staging import Staging

OPEN_FILES = 64
BUFFERED_BYTES = 64 << 20
PART_BYTES = 1 << 30
GATHERED_BYTES = 16 << 20
LONGEST_NAME = 180
Values = tuple[str | None, ...]


class Directory:
    """A target of `ParquetSink`: `part-00000.parquet` and so on, below `<column>=<value>/` for each of `columns`.

    Raises UsageError when the directory holds anything and may not be overwritten, or holds Parquet files of others.
    """

    def __init__(self, location: Location, settings: Settings, columns: Sequence[str]) -> None:
        self._place = str(location)
        self._staging = Staging(location)
        self._settings = settings
        self._columns = columns
        self._open: dict[Values, _Parts] = {}
        self._waiting = _Waiting(location.target)

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch."""
        with translated(self._place):
            self._write(batch)

    def _write(self, batch: pa.RecordBatch) -> None:
        values, codes = _partition(batch, self._columns)
        later = []
        for code, value in enumerate(values):
            if value not in self._open and len(self._open) >= OPEN_FILES:
                later.append(code)
                continue
            parts = self._open.setdefault(value, self._parts(value))
            parts.write(batch if len(values) == 1 else batch.take(pa.array(np.flatnonzero(codes == code))))
        if later:
            rows = np.flatnonzero(np.isin(codes, later))
            self._waiting.append(batch.take(pa.array(rows)), [values[code] for code in codes[rows]])
        self._shrink()

    def _parts(self, value: Values) -> _Parts:
        names = zip(self._columns, value, strict=True)
        return _Parts(self._staging, "".join(folder(name, one) + "/" for name, one in names), self._settings)

    def _shrink(self) -> None:
        """Flush the largest buffers when all of them together are too large."""
        total = sum(parts.buffered for parts in self._open.values())
        if total <= BUFFERED_BYTES:
            return
        for parts in sorted(self._open.values(), key=lambda parts: -parts.buffered):
            total -= parts.buffered
            parts.flush()
            if total <= BUFFERED_BYTES // 2:
                return

    def finish(self, schema: pa.Schema) -> None:
        """Complete all parts and move them to their places."""
        with translated(self._place):
            for parts in self._open.values():
                parts.close()
            self._open = {}
            for value, batches in self._waiting.groups():
                parts = self._parts(value)
                for batch in batches:
                    parts.write(batch)
                parts.close()
            if not self._staging.names:
                parts = _Parts(self._staging, "", self._settings)
                parts.write(pa.RecordBatch.from_pylist([], schema=schema))
                parts.close()
        self._staging.publish()

    def discard(self) -> None:
        """Remove what was not published."""
        for parts in self._open.values():
            parts.abandon()
        self._waiting.close()
        self._staging.discard()


def folder(column: str, value: str | None) -> str:
    """The hive folder of a value: `namespace=a%2Fb`. Very long values end in a digest; the files hold them whole."""
    if value is None:
        return f"{column}={HIVE_NULL}"
    name = quote(value, safe="")
    if value == HIVE_NULL:
        name = "%5F" + name[1:]
    if len(name) > LONGEST_NAME:
        name = quote(value[:16], safe="") + "~" + hashlib.sha256(value.encode()).hexdigest()[:32]
    return f"{column}={name}"


def _partition(batch: pa.RecordBatch, columns: Sequence[str]) -> tuple[list[Values], Any]:
    """The distinct values of the columns, and for each row the index of its value."""
    if not columns or not batch.num_rows:
        return [()] if batch.num_rows else [], np.zeros(batch.num_rows, dtype=np.int64)
    codes = np.zeros(batch.num_rows, dtype=np.int64)
    known: list[list[str | None]] = []
    for name in columns:
        coded = pc.dictionary_encode(batch.column(name), null_encoding="encode")
        known.append(coded.dictionary.to_pylist())
        codes = codes * len(known[-1]) + coded.indices.to_numpy(zero_copy_only=False)
    found, codes = np.unique(codes, return_inverse=True)
    places = np.unravel_index(found, [len(one) for one in known])
    return [tuple(known[i][at[k]] for i, at in enumerate(places)) for k in range(len(found))], codes


class _Parts:
    """The files of one folder; a new one is begun when one is large."""

    def __init__(self, staging: Staging, below: str, settings: Settings) -> None:
        self._staging = staging
        self._below = below
        self._settings = settings
        self._number = 0
        self._file: Any = None
        self._encoder: Encoder | None = None

    @property
    def buffered(self) -> int:
        """Bytes that wait for their row group."""
        return self._encoder.buffered if self._encoder else 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch."""
        if self._encoder is None:
            self._file = self._staging.create(f"{self._below}part-{self._number:05}.parquet")
            self._encoder = Encoder(self._file, batch.schema, self._settings)
            self._number += 1
        self._encoder.write(batch)
        if self._encoder.written >= PART_BYTES:
            self.close()

    def flush(self) -> None:
        """Write what is buffered as a row group."""
        if self._encoder:
            self._encoder.flush()

    def close(self) -> None:
        """Complete the file that is open."""
        if self._encoder:
            self._encoder.close()
            self._staging.complete(self._file)
            self._encoder = None

    def abandon(self) -> None:
        """Let go of the file that is open."""
        if self._encoder:
            self._encoder.abandon()
            self._file.close()
            self._encoder = None


class _Waiting:
    """Records of values that have no open file, put aside; given back value by value."""

    def __init__(self, target: str) -> None:
        self._spool = Spool(target)
        self._codes: list[Any] = []
        self._known: dict[Values, int] = {}
        self._bytes: list[float] = []

    def append(self, batch: pa.RecordBatch, values: Sequence[Values]) -> None:
        """Put rows aside; `values` are the folders that they belong to."""
        codes = np.array([self._known.setdefault(value, len(self._known)) for value in values], dtype=np.int32)
        self._bytes.extend([0.0] * (len(self._known) - len(self._bytes)))
        each = batch.nbytes / batch.num_rows
        for code, count in zip(*np.unique(codes, return_counts=True), strict=True):
            self._bytes[code] += each * count
        self._codes.append(codes)
        self._spool.append(batch)

    def groups(self) -> Iterator[tuple[Values, Iterator[pa.RecordBatch]]]:
        """Every value with its records. A pass over the spool takes as many values as fit in memory, at least one."""
        values = list(self._known)
        for low, high in self._passes():
            if high == low + 1:
                yield values[low], self._of(low)
            else:
                yield from self._several(values, low, high)

    def _passes(self) -> Iterator[tuple[int, int]]:
        low = 0
        while low < len(self._bytes):
            high, size = low + 1, self._bytes[low]
            while high < len(self._bytes) and size + self._bytes[high] <= GATHERED_BYTES:
                size += self._bytes[high]
                high += 1
            yield low, high
            low = high

    def _of(self, code: int) -> Iterator[pa.RecordBatch]:
        for batch, codes in zip(self._spool, self._codes, strict=True):
            rows = np.flatnonzero(codes == code)
            if len(rows):
                yield batch.take(pa.array(rows))

    def _several(
        self, values: Sequence[Values], low: int, high: int
    ) -> Iterator[tuple[Values, Iterator[pa.RecordBatch]]]:
        taken, marks = [], []
        for batch, codes in zip(self._spool, self._codes, strict=True):
            rows = np.flatnonzero((codes >= low) & (codes < high))
            if len(rows):
                taken.append(batch.take(pa.array(rows)))
                marks.append(codes[rows])
        codes = np.concatenate(marks)
        order = np.argsort(codes, kind="stable")
        gathered = pa.concat_batches(taken).take(pa.array(order))
        bounds = np.searchsorted(codes[order], np.arange(low, high + 1))
        for code in range(low, high):
            at, end = int(bounds[code - low]), int(bounds[code - low + 1])
            yield values[code], iter([gathered.slice(at, end - at)])

    def close(self) -> None:
        """Give the disk back."""
        self._spool.close()
