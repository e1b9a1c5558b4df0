"""The map applied to many vectors: one matrix product a block, the rest of the work while the block is in the cache.

What costs time beside the product are passes over its result, which is larger than all else. There are three: the bias
is added, lengths are measured, rows are divided by them. To bring the rows of x to length 1 before the product, and not
after it, saves a fourth. (A bias as one more row of the matrix would save another one, but a 385th column makes
OpenBLAS cut the inner dimension in two, which costs more.)

The product goes into memory of the thread's own, which stays in the cache from block to block, and only the last pass
writes to where the result belongs: BLAS goes over a product several times, and it is memory that does not keep up. With
blocks of twice the size this raised the rate from 75 to 85 % of the processor's peak at 384 to 1536 dimensions, and
from 81 to 87 % at 768 to 3072 (Xeon with AVX-512, into memory that is there). The passes go over a few rows at a time,
which the second-level cache holds: on a Xeon with 2 MB of it from 1.26 to 1.21 and from 1.22 to 1.11 times the time of
a large product, in turns. What is left is mostly the writing of the result.

What was measured and is no faster: a bias that is repeated, so that numpy adds it to eight rows at once; to write the
bias first and have BLAS add the product to it. Lengths before the product, from W W', cost a fourth more arithmetic.
"""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from vexarrow.adapt import blas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

# Of a block's result. The matrix is packed anew for each block, so that small ones are slow; so are those that the
# cache does not hold until their passes are done.
BLOCK_BYTES = 6 << 20
MOST_ROWS = 4096
STEP_BYTES = 1 << 20  # of the result that the passes after the product go over at a time


def project(
    x: Matrix,
    weight: Matrix,
    bias: Matrix,
    *,
    out: Matrix | None = None,
    scales: Matrix | None = None,
    threads: int | None = None,
) -> Matrix:
    """unit(unit(x) W + b) of each row of x [n, d_in], as [n, d_out] float32, into `out` if it is given.

    `scales` [n] receives the `inverse_lengths` of x: a row where it is 0 has no direction, and its result no meaning.
    `threads`: at most so many blocks at once, None for one a core; the result does not depend on it. Thread-safe; calls
    at the same time share the same threads, and BLAS has one thread a block while any of them is on its way.
    """
    made = np.empty((len(x), weight.shape[1]), np.float32) if out is None else out
    scale = np.empty(len(x), np.float32) if scales is None else scales
    every = blocks(len(x), weight.shape[1])
    room = _Room(max(block.stop - block.start for block in every), *weight.shape)
    with blas.single_threaded():
        blas.each(
            lambda block: _block(x[block], weight, bias, scale[block], made[block], room),
            every,
            threads,
        )
    return made


class _Room(threading.local):
    """Memory for a block's unit rows and their product, one for each thread: fresh memory for each block costs more
    than to fill it."""

    def __init__(self, rows: int, width: int, result: int) -> None:
        self.rows = np.empty((rows, width), np.float32)
        self.made = np.empty((rows, result), np.float32)


def blocks(rows: int, width: int) -> list[slice]:
    """Rows in as many parts, nearly equal, as keep each at `BLOCK_BYTES` of float32 of that width, or `MOST_ROWS`."""
    most = max(1, min(MOST_ROWS, BLOCK_BYTES // (4 * width)))
    parts = max(1, -(-rows // most))
    ends = [rows * part // parts for part in range(parts + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def _block(x: Matrix, weight: Matrix, bias: Matrix, scale: Matrix, out: Matrix, room: _Room) -> None:
    scale[:] = inverse_lengths(x)
    step = max(1, STEP_BYTES // (4 * weight.shape[1]))
    with np.errstate(all="ignore"):  # what is no direction shows in `scale`
        unit = np.multiply(x, scale[:, None], out=room.rows[: len(x)])
        made = np.matmul(unit, weight, out=room.made[: len(x)])
        for start in range(0, len(x), step):
            few = made[start : start + step]
            few += bias
            np.multiply(few, inverse_lengths(few)[:, None], out=out[start : start + step])


def inverse_lengths(rows: Matrix) -> Matrix:
    """1 / |row| of each row, 0 for one without a direction: of zeros, or of numbers that are not finite or whose
    squares are not."""
    with np.errstate(all="ignore"):
        squares = np.vecdot(rows, rows)
        inverse: Matrix = np.where(squares > 0, 1 / np.sqrt(squares), 0).astype(np.float32, copy=False)
    return inverse
