"""Nearest neighbours by cosine among unit vectors, exact, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]
    Ranks = NDArray[np.intp]

BLOCK_ROWS = 1024


def nearest(queries: Matrix, corpus: Matrix, count: int, *, but_self: bool = False) -> Ranks:
    """The rows of the `count` corpus vectors nearest to each query, nearest first, as [n, count].

    `but_self`: query i is about row i of the corpus, which is passed over.
    """
    found = np.empty((len(queries), count), np.intp)
    for start, similar in _blocks(queries, corpus):
        if but_self:
            rows = np.arange(len(similar))
            similar[rows, start + rows] = -np.inf
        best = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(similar, best, 1), axis=1, kind="stable")
        found[start : start + len(similar)] = np.take_along_axis(best, order, 1)
    return found


def own_ranks(queries: Matrix, corpus: Matrix) -> Ranks:
    """How many corpus vectors are nearer to query i than row i is: 0 when it finds its own."""
    ranks = np.empty(len(queries), np.intp)
    for start, similar in _blocks(queries, corpus):
        rows = np.arange(len(similar))
        own = similar[rows, start + rows]
        ranks[start : start + len(similar)] = (similar > own[:, None]).sum(1)
    return ranks


def shared(ours: Ranks, theirs: Ranks) -> NDArray[np.float64]:
    """The share of row i of `theirs` that is in row i of `ours`; both [n, k]."""
    hits = (ours[:, :, None] == theirs[:, None, :]).any(1).sum(1)
    share: NDArray[np.float64] = hits / theirs.shape[1]
    return share


def _blocks(queries: Matrix, corpus: Matrix) -> Iterator[tuple[int, Matrix]]:
    for start in range(0, len(queries), BLOCK_ROWS):
        yield start, queries[start : start + BLOCK_ROWS] @ corpus.T
