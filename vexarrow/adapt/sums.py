"""Sums over pairs, which are all that a fit of many pairs needs of them: added and taken away, they give the fits of
parts of the pairs without looking at a pair again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]


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
    def of(cls, x: Matrix, y: Matrix) -> Sums:
        """Those of rows x [n, d_in] and y [n, d_out]."""
        return cls(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y)

    def __add__(self, more: Sums) -> Sums:
        return Sums(self.count + more.count, self.x + more.x, self.y + more.y, self.xx + more.xx, self.xy + more.xy)

    def __sub__(self, less: Sums) -> Sums:
        return Sums(self.count - less.count, self.x - less.x, self.y - less.y, self.xx - less.xx, self.xy - less.xy)

    def centred(self) -> tuple[Matrix, Matrix]:
        """The sums of x'x and x'y of rows less their means."""
        mean = self.x / self.count
        return self.xx - np.outer(mean, self.x), self.xy - np.outer(mean, self.y)
