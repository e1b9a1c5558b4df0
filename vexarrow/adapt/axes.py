"""The principal axes of rows, and rows of length 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

LOST = 1e-12  # an eigenvalue below this part of the largest one is noise of float64


@dataclass(frozen=True, slots=True)
class Axes:
    """The principal axes of n centred rows: `vectors` [d_in, r], `values` [r] and `rows` [n, r], the rows along them.

    r is at most n - 1 and d_in: a direction in which the rows do not differ is left out.
    """

    vectors: Matrix
    values: Matrix
    rows: Matrix

    @classmethod
    def of(cls, x: Matrix) -> Axes:
        """Those of centred rows, by the smaller of the two Gram matrices."""
        n, d = x.shape
        if n > d:
            values, vectors = np.linalg.eigh(x.T @ x)
            kept = values > LOST * values[-1]
            return cls(vectors[:, kept], values[kept], x @ vectors[:, kept])
        values, left = np.linalg.eigh(x @ x.T)
        kept = values > LOST * values[-1]
        rows = left[:, kept] * np.sqrt(values[kept])
        return cls(x.T @ (rows / values[kept]), values[kept], rows)

    @property
    def unit(self) -> float:
        """The mean eigenvalue, over all d_in: what penalties are parts of."""
        return float(self.values.sum()) / len(self.vectors)


def unit(rows: Matrix) -> Matrix:
    """The rows, each of length 1."""
    scaled: Matrix = rows / np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return scaled
