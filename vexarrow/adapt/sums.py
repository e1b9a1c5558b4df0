"""Sums over pairs, which are all that a fit of many pairs needs of them: added and taken away, they give the fits of
parts of the pairs without looking at a pair again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Rows = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Sums:
    """How many pairs, and the sums over them of x [d_in], y [d_out], x'x [d_in, d_in] and x'y [d_in, d_out].

    x and y are seen from a common origin near their means: of sums of large numbers too few digits would be left when
    the means are taken away.
    """

    count: int
    x: Matrix
    y: Matrix
    xx: Matrix
    xy: Matrix

    @classmethod
    def of(cls, x: Rows, y: Rows) -> Sums:
        """Those of rows x [n, d_in] and y [n, d_out]."""
        return cls.over([(x, y)])

    @classmethod
    def over(cls, blocks: Iterable[tuple[Rows, Rows]]) -> Sums:
        """Those of all blocks of rows x [n, d_in] and y [n, d_out], at least one, which may come into the same memory
        one after the other.

        Within a block they are made in the precision of its rows, from block to block they are added in float64.
        """
        total: Sums | None = None
        for x, y in blocks:
            ones = np.ones(len(x), x.dtype)  # by BLAS, which adds float32 in several lines and not all in one
            parts = ones @ x, ones @ y, x.T @ x, x.T @ y
            if total is None:
                total = cls(len(x), *(part.astype(np.float64, copy=False) for part in parts))
                continue
            for sums, part in zip((total.x, total.y, total.xx, total.xy), parts, strict=True):
                sums += part
            total = replace(total, count=total.count + len(x))
        assert total is not None  # noqa: S101 - of no rows there are no shapes
        return total

    def __add__(self, more: Sums) -> Sums:
        return Sums(self.count + more.count, self.x + more.x, self.y + more.y, self.xx + more.xx, self.xy + more.xy)

    def __sub__(self, less: Sums) -> Sums:
        return Sums(self.count - less.count, self.x - less.x, self.y - less.y, self.xx - less.xx, self.xy - less.xy)

    def centred(self) -> tuple[Matrix, Matrix]:
        """The sums of x'x and x'y of rows less their means."""
        mean = self.x / self.count
        shifts = np.outer(mean, self.x), np.outer(mean, self.y)
        return np.subtract(self.xx, shifts[0], out=shifts[0]), np.subtract(self.xy, shifts[1], out=shifts[1])
