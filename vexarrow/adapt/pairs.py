"""Pairs of vectors to train and to judge a projection with: one text each, embedded by both models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.errors import DataError, SchemaError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]
    Rows = NDArray[np.intp]

NEAR = 0.98  # of two sources with a larger cosine the second one says nothing new, and a hold-out must not know it
_MOST_COMPARED = 20_000
_HEAD, _BLOCK_ROWS = 96, 1024


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
        if len(rows) > 1 and (rows == rows[0]).all():
            raise DataError(f"all {len(rows):,} {side} vectors are the same; pairs of different texts are needed")


def _sound(pairs: Pairs) -> NDArray[np.bool_]:
    kept = np.ones(len(pairs), bool)
    for rows in (pairs.source, pairs.target):
        kept &= np.isfinite(rows).all(1) & rows.any(1)
    return kept


def _first(pairs: Pairs) -> NDArray[np.bool_]:
    first: dict[bytes, int] = {}
    for row, (x, y) in enumerate(zip(pairs.source, pairs.target, strict=True)):
        first.setdefault(sha256(x.tobytes() + y.tobytes()).digest(), row)
    kept = np.zeros(len(pairs), bool)
    kept[list(first.values())] = True
    return kept


def _far(pairs: Pairs) -> NDArray[np.bool_]:
    kept = np.ones(len(pairs), bool)
    if len(pairs) > _MOST_COMPARED:
        return kept
    unit = unit_rows(pairs.source).astype(np.float32)
    head = unit[:, :_HEAD]
    # Rows are at least as far apart as their first components are, which tell nearly all of them apart.
    half = np.vecdot(head, head) / 2 - np.float32((1 - NEAR) / 2 + 1e-6)
    for start in range(0, len(unit), _BLOCK_ROWS):
        end = min(start + _BLOCK_ROWS, len(unit))
        alike = head[start:end] @ head[:end].T
        alike -= half[:end]
        maybe, before = np.nonzero(alike > half[start:end, None])
        maybe += start
        maybe, before = maybe[before < maybe], before[before < maybe]
        for some in np.array_split(np.arange(len(maybe)), 1 + len(maybe) // _BLOCK_ROWS):
            near = np.vecdot(unit[maybe[some]], unit[before[some]]) > NEAR
            kept[maybe[some][near]] = False
    return kept


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float64]:
    """The rows in float64, each of length 1."""
    exact = rows.astype(np.float64)
    exact /= np.sqrt(np.einsum("ij,ij->i", exact, exact))[:, None]
    return exact
