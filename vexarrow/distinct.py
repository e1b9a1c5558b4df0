"""Which ids occur more than once: exact, and in bounded memory for any number of ids.

Each id is known by 128 bits of keyed SipHash (Python's own `hash` of its UTF-8, twice). They are kept in memory up to
250,000 records, and beyond that in sorted runs in a temporary file, which are then compared range by range. Two ids
among 10^9 are taken for one with a probability below 10^-20. The ids themselves go to a temporary file too, whence the
few that are to be shown come back; those are compared as text.
"""

from __future__ import annotations

import bisect
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

RUN = 1 << 18
RANGES = 256
_SCHEMA = pa.schema([("id", pa.string()), ("line", pa.int64())])


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Where a record was: its position in the stream from 0, and its line and file where the place has them."""

    row: int
    line: int | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An id that had occurred before: `first` is its very first occurrence, `later` this one."""

    id: str
    first: Occurrence
    later: Occurrence


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What is known after the last record.

    records: ids seen. distinct: different ones. repeated: ids that occur at least twice. unflagged: duplicates (that
    is, occurrences after the first) that were not flagged when added. examples: the first ones in order of the stream.
    """

    records: int
    distinct: int
    repeated: int
    unflagged: int
    examples: tuple[Duplicate, ...] = ()

    @property
    def duplicates(self) -> int:
        """Occurrences after the first, of all ids."""
        return self.records - self.distinct


class Distinct:
    """Takes id columns, batch after batch. Call `close` in the end; it removes the temporary files.

    In memory: 24 bytes a record up to `run` records and some 40 MB at most with the default, unless one single id makes
    up most of a huge input (about 100 bytes for each repetition of that id, for a moment, at the end).
    """

    def __init__(self, run: int = RUN) -> None:
        self.records = 0
        self._run = run
        self._pending: list[Words] = []
        self._pending_rows = 0
        self._runs = _Runs()
        self._ids = _Ids()

    def add(
        self,
        ids: pa.Array,
        *,
        lines: Sequence[int] | None = None,
        file: str | None = None,
        flags: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take n ids, with n line numbers if there are any. `flags`: the rows not to count in `unflagged`."""
        count = len(ids)
        if not count:
            return
        words = np.empty((3, count), dtype=np.uint64)
        words[0], words[1] = _hashes(ids)
        words[2] = np.arange(self.records, self.records + count, dtype=np.uint64) << np.uint64(1)
        if flags is not None:
            words[2] |= flags.astype(np.uint64)
        self._ids.add(self.records, ids, lines, file)
        self._pending.append(words)
        self._pending_rows += count
        self.records += count
        if self._pending_rows >= self._run:
            self._spill()

    def _spill(self) -> None:
        words = np.concatenate(self._pending, axis=1)
        self._pending, self._pending_rows = [], 0
        self._runs.add(words)

    def result(self, limit: int = 10, *, once: bool = False) -> Duplicates:
        """What was seen so far. `limit` duplicates at most are examples; with `once`, one of each id."""
        found = repeated = unflagged = 0
        firsts = laters = np.empty(0, dtype=np.uint64)
        for part in self._parts():
            repeats = _repeats(part)
            found += len(repeats.later)
            repeated += int(repeats.second.sum())
            unflagged += int((repeats.later & np.uint64(1) == 0).sum())
            wanted = repeats.second if once else slice(None)
            laters = np.concatenate([laters, repeats.later[wanted]])
            firsts = np.concatenate([firsts, repeats.first[wanted]])
            order = np.argsort(laters)[:limit]
            laters, firsts = laters[order], firsts[order]
        return Duplicates(self.records, self.records - found, repeated, unflagged, self._examples(firsts, laters))

    def _parts(self) -> Iterator[Words]:
        """The words of all records in parts, such that equal ids are in one part."""
        if not self._runs.rows:
            yield from [np.concatenate(self._pending, axis=1)] if self._pending else []
            return
        if self._pending:
            self._spill()
        yield from self._runs.parts(self._run)

    def _examples(self, firsts: Words, laters: Words) -> tuple[Duplicate, ...]:
        rows = [(int(first) >> 1, int(later) >> 1) for first, later in zip(firsts, laters, strict=True)]
        known = self._ids.find({row for pair in rows for row in pair})
        pairs = [(known[first], known[later]) for first, later in rows]
        return tuple(Duplicate(a[0], a[1], b[1]) for a, b in pairs if a[0] == b[0])

    def close(self) -> None:
        """Remove the temporary files."""
        self._runs.close()
        self._ids.close()


def _hashes(ids: pa.Array) -> tuple[Words, Words]:
    # hash() of a str depends on how CPython stores it, so that "ab" and "\u6261" are one; that of bytes does not.
    texts = ids.cast(pa.binary()).to_pylist()
    first = np.array(list(map(hash, texts)), dtype=np.int64)
    second = np.array([hash(b"\0" + text) for text in texts], dtype=np.int64)
    return first.view(np.uint64), second.view(np.uint64)


class _Repeats(NamedTuple):
    """Occurrences after the first (row * 2 + flag), the first of the same id, and whether it is the second."""

    first: Words
    later: Words
    second: NDArray[np.bool_]


def _repeats(words: Words) -> _Repeats:
    order = np.argsort(words[0])
    hashes = words[0][order]
    equal = hashes[1:] == hashes[:-1]
    near = np.zeros(len(hashes), dtype=bool)
    near[1:] |= equal
    near[:-1] |= equal
    some = words[:, order[near]]
    some = some[:, np.lexsort((some[2], some[1], some[0]))]
    at = np.arange(some.shape[1])
    starts = np.ones(len(at), dtype=bool)
    starts[1:] = (some[:2, 1:] != some[:2, :-1]).any(axis=0)
    start = np.maximum.accumulate(np.where(starts, at, 0)) if len(at) else at
    later = ~starts
    return _Repeats(some[2][start[later]], some[2][later], (at - start)[later] == 1)


class _Runs:
    """Sorted runs of words in a temporary file. Each run knows where the ranges of the first hash begin in it."""

    def __init__(self) -> None:
        self.rows = 0
        self._file = tempfile.TemporaryFile(prefix="vex-distinct-")  # noqa: SIM115  closed by close()
        self._runs: list[tuple[int, int, NDArray[np.int64]]] = []

    def add(self, words: Words) -> None:
        """Sort a run and write it."""
        order = np.argsort(words[0])
        ordered = np.stack([row[order] for row in words])
        bounds = np.arange(1, RANGES, dtype=np.uint64) << np.uint64(56)
        cuts = np.concatenate([[0], np.searchsorted(ordered[0], bounds), [len(order)]])
        offset = self._file.seek(0, 2)
        self._file.write(ordered.data)
        self._runs.append((offset, len(order), cuts))
        self.rows += len(order)

    def parts(self, rows: int) -> Iterator[Words]:
        """The words of all runs range by range, as many ranges at once as make about `rows`."""
        sizes = np.sum([np.diff(cuts) for _, _, cuts in self._runs], axis=0)
        start = held = 0
        for at, size in enumerate(sizes):
            if held and held + size > rows:
                yield self._read(start, at)
                start, held = at, 0
            held += int(size)
        yield self._read(start, RANGES)

    def _read(self, start: int, stop: int) -> Words:
        pieces = []
        for offset, length, cuts in self._runs:
            low, high = int(cuts[start]), int(cuts[stop])
            piece = np.empty((3, high - low), dtype=np.uint64)
            for word in range(3):
                self._file.seek(offset + 8 * (word * length + low))
                self._file.readinto(piece[word].data)
            pieces.append(piece)
        return np.concatenate(pieces, axis=1)

    def close(self) -> None:
        self._file.close()


class _Ids:
    """The ids and their lines in a temporary file, found again by row."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="vex-ids-")  # noqa: SIM115  closed by close()
        self._starts: list[int] = []
        self._places: list[tuple[int, int, str | None]] = []

    def add(self, row: int, ids: pa.Array, lines: Sequence[int] | None, file: str | None) -> None:
        """Write the ids of the rows from `row` on."""
        numbers = pa.nulls(len(ids), pa.int64()) if lines is None else pa.array(np.asarray(lines, dtype=np.int64))
        data = pa.RecordBatch.from_arrays([ids, numbers], schema=_SCHEMA).serialize()
        self._starts.append(row)
        self._places.append((self._file.tell(), data.size, file))
        self._file.write(data)

    def find(self, rows: set[int]) -> dict[int, tuple[str, Occurrence]]:
        """Id and occurrence of each of the rows."""
        found = {}
        batch, loaded = pa.RecordBatch.from_pylist([], schema=_SCHEMA), -1
        for row in sorted(rows):
            at = bisect.bisect_right(self._starts, row) - 1
            offset, size, file = self._places[at]
            if at != loaded:
                self._file.seek(offset)
                batch, loaded = pa.ipc.read_record_batch(pa.py_buffer(self._file.read(size)), _SCHEMA), at
            key, line = (batch.column(i)[row - self._starts[at]].as_py() for i in range(2))
            found[row] = (key, Occurrence(row, line, file))
        self._file.seek(0, 2)
        return found

    def close(self) -> None:
        self._file.close()
