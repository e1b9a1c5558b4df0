"""The map applied to many vectors: one matrix product a block, the rest of the work while the block is in the cache."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

BLOCK_ROWS = 1024
THREADS = 2


def project(x: Matrix, weight: Matrix, bias: Matrix, *, out: Matrix | None = None, threads: int = THREADS) -> Matrix:
    """unit(unit(x) W + b) of each row of x [n, d_in], as [n, d_out] float32, into `out` if it is given.

    A row of zeros has no direction: it becomes unit(b). Each thread multiplies blocks of its own with one thread of
    BLAS, so that one normalises while the other multiplies.
    """
    made = np.empty((len(x), weight.shape[1]), np.float32) if out is None else out
    blocks = [slice(start, start + BLOCK_ROWS) for start in range(0, len(x), BLOCK_ROWS)]
    with threadpool_limits(1, "blas"):
        if threads == 1 or len(blocks) == 1:
            for block in blocks:
                _block(x[block], weight, bias, made[block])
        else:
            with ThreadPoolExecutor(threads, "vex-project") as pool:
                list(pool.map(lambda block: _block(x[block], weight, bias, made[block]), blocks))
    return made


def _block(x: Matrix, weight: Matrix, bias: Matrix, out: Matrix) -> None:
    np.matmul(x, weight, out=out)
    out *= inverse_lengths(x)[:, None]
    out += bias
    out *= inverse_lengths(out)[:, None]


def inverse_lengths(rows: Matrix) -> Matrix:
    """1 / |row| of each row, 0 for a row of zeros."""
    squares = np.einsum("ij,ij->i", rows, rows)
    with np.errstate(divide="ignore"):
        return np.where(squares > 0, 1 / np.sqrt(squares), 0).astype(np.float32)
