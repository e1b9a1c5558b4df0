"""Euclidean lengths of vectors: statistics and a histogram in one pass and little memory.

The histogram's cells are 0.1 % wide: the bits of a norm as float64, rounded to 10 bits of mantissa, so that a round
value such as 1.0 lies in the middle of its cell. The bins that are shown join whole cells, so their counts are exact.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNIT_TOLERANCE = 1e-3
BINS = 12
_BLOCK = 512
_SHIFT = 42
_HALF = 1 << (_SHIFT - 1)
_WIDE = 100.0


@dataclass(frozen=True, slots=True)
class Bin:
    """How many norms lie in [low, high)."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class NormReport:
    """Norms of the vectors that have a direction; `zero` and `not_finite` vectors are counted apart and not in them.

    unit: norms within 0.001 of 1. std: of the population. The statistics are None when there is no vector.
    """

    measured: int = 0
    zero: int = 0
    not_finite: int = 0
    unit: int = 0
    min: float | None = None
    mean: float | None = None
    max: float | None = None
    std: float | None = None
    histogram: tuple[Bin, ...] = ()


def lengths(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """The norm of each row of an (n, d) matrix, computed in float64; not finite where a component is not."""
    squares = np.empty(len(matrix))
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(matrix), _BLOCK):
            block = matrix[start : start + _BLOCK].astype(np.float64)
            np.vecdot(block, block, out=squares[start : start + _BLOCK])
        return np.sqrt(squares)


class Norms:
    """Takes matrices of vectors, batch after batch."""

    def __init__(self) -> None:
        self._zero = self._not_finite = self._unit = self._count = 0
        self._mean = self._squares = 0.0
        self._low, self._high = math.inf, -math.inf
        self._cells: Counter[int] = Counter()

    def add(self, matrix: NDArray[np.float32], present: NDArray[np.bool_] | None = None) -> None:
        """Count the rows of an (n, d) matrix where `present` is True."""
        norms = lengths(matrix)
        if present is not None and not present.all():
            norms = norms[present]
        finite = np.isfinite(norms)
        self._not_finite += len(norms) - int(finite.sum())
        norms = norms[finite & (norms > 0)]
        self._zero += int(finite.sum()) - len(norms)
        if len(norms):
            self._measure(norms)

    def _measure(self, norms: NDArray[np.float64]) -> None:
        self._low, self._high = min(self._low, float(norms.min())), max(self._high, float(norms.max()))
        self._unit += int((np.abs(norms - 1) <= UNIT_TOLERANCE).sum())
        mean, before = float(norms.mean()), self._count
        self._count += len(norms)
        # Chan's formula joins two sets; a sum of squares would lose the variance of norms that are nearly equal.
        apart = mean - self._mean
        self._mean += apart * len(norms) / self._count
        self._squares += float(((norms - mean) ** 2).sum()) + apart**2 * before * len(norms) / self._count
        cells, counts = np.unique((norms.view(np.int64) + _HALF) >> _SHIFT, return_counts=True)
        self._cells.update(dict(zip(cells.tolist(), counts.tolist(), strict=True)))

    def result(self, bins: int = BINS) -> NormReport:
        """What was counted so far, with `bins` bins at most."""
        if not self._count:
            return NormReport(zero=self._zero, not_finite=self._not_finite)
        std = math.sqrt(max(self._squares, 0.0) / self._count)
        counts = (self._count, self._zero, self._not_finite, self._unit)
        return NormReport(*counts, self._low, self._mean, self._high, std, self._histogram(bins))

    def _histogram(self, bins: int) -> tuple[Bin, ...]:
        low, high = min(self._cells), max(self._cells) + 1
        if high - low <= bins or _value(high) > _WIDE * _value(low):
            # Few cells, or norms of many magnitudes: bins of equal ratio.
            edges = np.linspace(low, high, min(bins, high - low) + 1).round().astype(np.int64)
        else:
            values = np.linspace(_value(low), _value(high), bins + 1)
            edges = np.unique((values.view(np.int64) + _HALF) >> _SHIFT)
        cells = np.array(list(self._cells))
        counts, _ = np.histogram(cells, edges, weights=np.array(list(self._cells.values()), dtype=np.float64))
        limits = [_value(int(edge)) for edge in edges]
        return tuple(Bin(*parts) for parts in zip(limits, limits[1:], counts.astype(int).tolist(), strict=False))


def _value(cell: int) -> float:
    """Where a cell begins."""
    return float(np.int64((cell << _SHIFT) - _HALF).view(np.float64))
