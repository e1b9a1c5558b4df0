"""The principal axes of rows, and rows of length 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    Matrix = NDArray[Any]

# An eigenvalue below this part of the largest one is noise of float64, or of a matrix in float32. Gram matrices are
# made and decomposed in float64 all the same: LAPACK is no faster in float32, and a square has half the digits.
LOST = {8: 1e-12, 4: 1e-10}
_SMALL = 64  # rows whose inverse takes no time


@dataclass(frozen=True, slots=True)
class Axes:
    """The principal axes of n centred rows: `vectors` [d_in, r] and `values` [r], the sums of squares along them.

    r is at most n - 1 and d_in: a direction in which the rows do not differ is left out.
    """

    vectors: Matrix
    values: Matrix

    @classmethod
    def of(cls, x: Matrix) -> Axes:
        """Those of centred rows [n, d_in], by the smaller of the two Gram matrices."""
        exact = x.astype(np.float64, copy=False)
        if len(x) > x.shape[1]:
            return cls.of_gram(exact.T @ exact, x.dtype)
        values, left = _decomposed(exact @ exact.T, x.dtype)
        return cls(x.T @ (left / np.sqrt(values)), values)

    @classmethod
    def of_gram(cls, gram: Matrix, kind: DTypeLike = np.float64) -> Axes:
        """Those of the rows whose products X'X [d_in, d_in] these are, float64; the axes are of another `kind`."""
        values, vectors = _decomposed(gram, kind)
        return cls(vectors, values)

    @property
    def unit(self) -> float:
        """The mean eigenvalue, over all d_in: what penalties are parts of."""
        return float(self.values.sum()) / len(self.vectors)


def _decomposed(gram: Matrix, kind: DTypeLike) -> tuple[Matrix, Matrix]:
    """The eigenvalues that are more than noise, and their eigenvectors, of a `kind` of numbers."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > LOST[np.dtype(kind).itemsize] * values[-1]
    return values[kept].astype(kind), vectors[:, kept].astype(kind)


def polar(cross: Matrix) -> tuple[Matrix, float]:
    """The semi-orthogonal matrix that is nearest to this one, which is its polar factor, and the sum of its singular
    values.

    By the smaller Gram matrix: an SVD takes three times as long. What lies along an eigenvector tells a singular value
    to more digits than the square does.
    """
    if len(cross) > cross.shape[1]:
        turned, total = polar(cross.T)
        return turned.T, total
    exact = cross.astype(np.float64, copy=False)
    _, left = _decomposed(exact @ exact.T, cross.dtype)
    along = left.T @ cross
    lengths = np.sqrt(np.einsum("ij,ij->i", along, along))
    along /= lengths[:, None]
    return left @ along, float(lengths.sum())


def inverse_of_lower(lower: Matrix) -> Matrix:
    """The inverse of a lower triangular matrix, by halves: nearly all of it are products of matrices. numpy's `inv`
    knows nothing of the triangle, and takes six times as long for 768 rows."""
    if len(lower) <= _SMALL:
        return np.tril(np.linalg.inv(lower))
    half = len(lower) // 2
    inverse = np.zeros_like(lower)
    inverse[:half, :half] = inverse_of_lower(lower[:half, :half])
    inverse[half:, half:] = inverse_of_lower(lower[half:, half:])
    inverse[half:, :half] = -inverse[half:, half:] @ (lower[half:, :half] @ inverse[:half, :half])
    return inverse


def apart(columns: Matrix, count: int) -> Matrix:
    """`count` orthonormal columns [d, count] that are orthogonal to these [d, r] orthonormal ones, always the same."""
    drawn = np.random.default_rng(0).standard_normal((len(columns), max(count, 0)))
    for _ in range(2):  # once leaves the rounding of a long sum
        drawn -= columns @ (columns.T @ drawn)
    # By the products of the columns: half the time of a QR decomposition, and chance makes no two nearly the same.
    for _ in range(2 if count > 0 else 0):
        lower = np.linalg.cholesky(drawn.T @ drawn)
        drawn = drawn @ np.linalg.inv(lower).T
    return drawn


def unit(rows: Matrix) -> Matrix:
    """The rows, each of length 1."""
    scaled: Matrix = rows / np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return scaled
