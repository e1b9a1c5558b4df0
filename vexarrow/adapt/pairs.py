"""Pairs of vectors to train and to judge a projection with: one text each, embedded by both models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt import blas
from vexarrow.errors import DataError, SchemaError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]
    Rows = NDArray[np.intp]

NEAR = 0.98  # of two sources with a larger cosine the second one says nothing new, and a hold-out must not know it
_MOST_COMPARED = 20_000
_KEY = 4  # components that tell nearly all rows apart from each other
_HEAD, _BLOCK_ROWS = 96, 256  # a block's table is compared while the cache holds it
_UNIT_ROWS = 128


@dataclass(frozen=True)
class Pairs:
    """Row i of `source` [n, d_in] and of `target` [n, d_out], float32, belong together; `ids` are their names, if any.

    `dropped` counts, by reason, pairs that were there before (see `clean`).
    """

    source: Matrix
    target: Matrix
    ids: Sequence[str] | None = None
    dropped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, rows: Rows | slice) -> Pairs:
        ids = None if self.ids is None else np.asarray(self.ids, object)[rows].tolist()
        return replace(self, source=self.source[rows], target=self.target[rows], ids=ids)

    @cached_property
    def sha256(self) -> str:
        """Of both matrices, little-endian, row by row: what was trained with. The names of the pairs take no part."""
        digest = sha256(f"{self.source.shape} {self.target.shape} ".encode())
        for side in (self.source, self.target):
            digest.update(np.ascontiguousarray(side, "<f4").data)
        return digest.hexdigest()

    def split(self, held_out: int, seed: int) -> tuple[Pairs, Pairs]:
        """Pairs to train with, and `held_out` others chosen by chance, the same for the same seed."""
        now, later = drawn(len(self), held_out, seed)
        return self[now], self[later]


def drawn(count: int, held_out: int, seed: int) -> tuple[Rows, Rows]:
    """Of `count` rows `held_out` chosen by chance, after the others; the same for the same seed."""
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def pairs_of(source: Any, target: Any, ids: Sequence[str] | None = None) -> Pairs:
    """Pairs of two matrices, numpy arrays or Arrow vector columns. Raises SchemaError when they do not belong together
    and DataError for vectors that are none."""
    x, y = matrix_of(source), matrix_of(target)
    if len(x) != len(y):
        raise SchemaError(f"{len(x):,} source vectors and {len(y):,} target vectors: pairs need one of each")
    if not x.shape[1] or not y.shape[1]:
        raise SchemaError("a vector without components cannot be trained with")
    return Pairs(x, y, ids)


def matrix_of(vectors: Any) -> Matrix:
    """An (n, d) float32 matrix of a numpy array, an Arrow fixed-size-list array or a record batch; not copied when it
    is float32 already. Raises SchemaError for anything else, and for a vector that is null."""
    import pyarrow as pa

    from vexarrow import records

    if isinstance(vectors, (pa.RecordBatch, pa.Table)):
        vectors = vectors.column("vector")
    if isinstance(vectors, (pa.Array, pa.ChunkedArray)):
        if vectors.null_count:
            raise SchemaError(f"{vectors.null_count:,} of {len(vectors):,} vectors are null")
        return records.matrix(vectors)
    matrix = np.asarray(vectors)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise SchemaError(
            f"vectors are a matrix of numbers with one row each, not {matrix.dtype} of {matrix.ndim} dimensions"
        )
    return matrix.astype(np.float32, copy=False)


def clean(pairs: Pairs) -> Pairs:
    """The pairs worth training with; `dropped` counts the others.

    Left out: rows that are not finite or zero, pairs that are there twice, and pairs whose source is nearly one that
    came before (cosine over 0.98; looked for among at most 20,000 pairs). Order stays. Raises DataError when all
    vectors of a side are the same: nothing can be learnt from them.
    """
    _check_constant(pairs)
    dropped: dict[str, int] = {}
    for reason, keep in (("not finite or zero", _sound), ("duplicates", _first), ("near duplicates", _far)):
        kept = keep(pairs)
        if lost := len(pairs) - int(kept.sum()):
            dropped[reason] = lost
            pairs = pairs[np.flatnonzero(kept)]
    return replace(pairs, dropped=dropped)


def _check_constant(pairs: Pairs) -> None:
    for side, rows in (("source", pairs.source), ("target", pairs.target)):
        # The last row nearly always differs: only where it does not are all of them looked at.
        if len(rows) > 1 and (rows[-1] == rows[0]).all() and (rows == rows[0]).all():
            raise DataError(f"all {len(rows):,} {side} vectors are the same; pairs of different texts are needed")


def _sound(pairs: Pairs) -> NDArray[np.bool_]:
    kept = np.ones(len(pairs), bool)
    for rows in (pairs.source, pairs.target):
        with np.errstate(all="ignore"):
            squares = np.vecdot(rows, rows)
        # Squares of numbers that are finite and not zero may be neither: those rows are looked at again.
        doubtful = np.flatnonzero(~(np.isfinite(squares) & (squares > 0)))
        kept[doubtful] &= np.isfinite(rows[doubtful]).all(1) & rows[doubtful].any(1)
    return kept


def _first(pairs: Pairs) -> NDArray[np.bool_]:
    kept = np.ones(len(pairs), bool)
    begun = [row.tobytes() for row in pairs.source[:, :_KEY]]
    seen = Counter(begun)
    known: set[bytes] = set()
    for row in [row for row, key in enumerate(begun) if seen[key] > 1]:  # others are unlike all
        digest = sha256(pairs.source[row].tobytes() + pairs.target[row].tobytes()).digest()
        kept[row] = digest not in known
        known.add(digest)
    return kept


def _far(pairs: Pairs) -> NDArray[np.bool_]:
    kept = np.ones(len(pairs), bool)
    if len(pairs) > _MOST_COMPARED:
        return kept
    unit = short_unit_rows(pairs.source)
    head = unit[:, :_HEAD]
    # Rows are at least as far apart as their first components are, which tell nearly all of them apart. With two more
    # columns the product is above zero where they may be near: |head|^2 + |head'|^2 - |head - head'|^2 is twice it.
    half = (np.vecdot(head, head) / 2 - np.float32((1 - NEAR) / 2 + 1e-6))[:, None]
    left, right = np.hstack([head, half, np.ones_like(half)]), np.hstack([head, -np.ones_like(half), -half])

    def compare(start: int) -> None:
        end = min(start + _BLOCK_ROWS, len(unit))
        maybe, before = _positive_before(left[start:end] @ right[:end].T, start)
        for some in np.array_split(np.arange(len(maybe)), 1 + len(maybe) // _BLOCK_ROWS):
            near = np.vecdot(unit[maybe[some]], unit[before[some]]) > NEAR
            kept[maybe[some][near]] = False

    with blas.single_threaded():
        blas.each(compare, range(0, len(unit), _BLOCK_ROWS))
    return kept


def _positive_before(table: Matrix, start: int) -> tuple[Rows, Rows]:
    """Where numbers of a table are above zero, as (row, column), whose first row is `start` of all: each row is looked
    at up to the column that is itself."""
    rows = np.arange(len(table))
    table[rows, start + rows] = -1
    some = np.flatnonzero(table.max(1) > 0)  # in nearly all rows no number is, and that is seen soonest
    row, column = np.nonzero(table[some] > 0)
    row = some[row] + start
    return row[column < row], column[column < row]


def short_unit_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """The rows in float32, each of length 1. Lengths are taken in float64: squares in float32 end at 10^38."""
    made = np.empty(rows.shape, np.float32)

    def scale(start: int) -> None:
        made[start : start + _UNIT_ROWS] = unit_rows(rows[start : start + _UNIT_ROWS])

    blas.each(scale, range(0, len(rows), _UNIT_ROWS))
    return made


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float64]:
    """The rows in float64, each of length 1."""
    exact = rows.astype(np.float64)
    exact /= np.sqrt(np.einsum("ij,ij->i", exact, exact))[:, None]
    return exact
