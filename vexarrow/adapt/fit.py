"""The linear map between two spaces of vectors: the mean of a ridge map and a scaled Procrustes map, in closed form.

Rows x_i and y_i of unit length are vectors of one text each. X and Y are the rows less their means. With the
eigenvectors V and eigenvalues L of X'X and u = trace(X'X) / d_in, ridge maps by V (L + a u)^-1 V'X'Y. The penalty a is
the one of the best leave-one-out cosine, which has a closed form; a third of it serves retrieval better than all of it.
The Procrustes map is the polar factor of X'Y, scaled by least squares. All in float64; numbers and method: README.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

PENALTIES = tuple(10.0 ** (power / 2) for power in range(-6, 5))  # 10^-3, 10^-2.5, ..., 10^2
# With these a correction of a prior can fall back to a shift of the mean.
PRIOR_PENALTIES = (*PENALTIES, 300.0, 1e3, 1e6)
SHRINK_LESS = 3.0
_LOST = 1e-12  # an eigenvalue below this part of the largest one is noise of float64


@dataclass(frozen=True, slots=True)
class Linear:
    """The map y = x W + b: `weight` is [d_in, d_out], `bias` [d_out], both float64."""

    weight: Matrix
    bias: Matrix

    def __call__(self, x: Matrix) -> Matrix:
        """The rows of x, mapped; their lengths are whatever they become."""
        mapped: Matrix = x @ self.weight + self.bias
        return mapped


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted map and what is known of the fit.

    `penalty`: the a of the best leave-one-out cosine, a part of the mean eigenvalue. `loo_cosine`: that cosine.
    `curve`: (penalty, cosine) of all that were tried. `whitening`: [d_in, r], so that 1/n + |(x - source_mean)
    whitening|^2 is the leverage of x: how far it lies from what was trained on. `leverages`: that of each pair, seen
    from the others.
    """

    linear: Linear
    source_mean: Matrix
    target_mean: Matrix
    penalty: float
    loo_cosine: float
    curve: tuple[tuple[float, float], ...]
    whitening: Matrix
    leverages: Matrix


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
            kept = values > _LOST * values[-1]
            return cls(vectors[:, kept], values[kept], x @ vectors[:, kept])
        values, left = np.linalg.eigh(x @ x.T)
        kept = values > _LOST * values[-1]
        rows = left[:, kept] * np.sqrt(values[kept])
        return cls(x.T @ (rows / values[kept]), values[kept], rows)


def fit(x: Matrix, y: Matrix, prior: Linear | None = None) -> Fit:
    """Fit a map from unit rows x [n, d_in] to unit rows y [n, d_out]; with a prior, fit a correction of it.

    n has to be at least 3, and the rows of x must not all be the same (ValueError).
    """
    source_mean = x.mean(0)
    before = y if prior is None else y - prior(x)
    target_mean = before.mean(0)
    axes = Axes.of(x - source_mean)
    if len(x) < 3 or not len(axes.values):
        raise ValueError("a map needs three pairs that differ")
    rest = before - target_mean
    cross = axes.rows.T @ rest  # V'X'Y
    unit = float(axes.values.sum()) / x.shape[1]
    penalties = PENALTIES if prior is None else PRIOR_PENALTIES
    chosen = _Choice(axes, y, rest, cross, unit)
    curve = tuple((penalty, chosen.cosine(penalty)) for penalty in penalties)
    penalty, cosine = max(curve, key=lambda one: one[1])
    shrunk = axes.values + penalty / (SHRINK_LESS if prior is None else 1.0) * unit
    along = cross / shrunk[:, None]
    if prior is None:
        along = (along + _procrustes(cross, float(axes.values.sum()))) / 2
    weight = axes.vectors @ along
    bias = target_mean - source_mean @ weight
    if prior is not None:
        weight, bias = weight + prior.weight, bias + prior.bias
    final = axes.values + penalty * unit
    leverage = chosen.leverage(penalty)
    return Fit(
        linear=Linear(weight, bias),
        source_mean=source_mean,
        target_mean=y.mean(0),
        penalty=penalty,
        loo_cosine=cosine,
        curve=curve,
        whitening=axes.vectors / np.sqrt(final),
        leverages=leverage / (1 - leverage),  # a pair's own part in the fit would make it look nearer than a new row
    )


class _Choice:
    """The leave-one-out cosine of ridge for any penalty.

    With D = (L + a u)^-1 the fitted row i is f_i = p_i D C, C = V'X'Y; leaving the pair out, what is left over of z_i
    is (z_i - f_i) / (1 - h_i). Its products with y_i, z_i and itself need the rows only along the axes: each penalty
    costs n r^2 and not n r d_out.
    """

    def __init__(self, axes: Axes, y: Matrix, rest: Matrix, cross: Matrix, unit: float) -> None:
        self._axes, self._unit, self._n = axes, unit, len(y)
        self._with_y = axes.rows * (y @ cross.T)
        self._with_rest = axes.rows * (rest @ cross.T)
        self._inner = cross @ cross.T
        self._rest_y = np.einsum("ij,ij->i", rest, y)
        self._rest_rest = np.einsum("ij,ij->i", rest, rest)

    def _inverse(self, penalty: float) -> Matrix:
        inverse: Matrix = 1 / (self._axes.values + penalty * self._unit)
        return inverse

    def leverage(self, penalty: float) -> Matrix:
        """h_i: how much of its own prediction a pair decides; the mean decides 1/n of it."""
        leverage: Matrix = self._axes.rows**2 @ self._inverse(penalty) + 1 / self._n
        return np.minimum(leverage, 1 - 1e-9)

    def cosine(self, penalty: float) -> float:
        """The mean cosine of the predictions, each without its own pair, with the targets."""
        inverse = self._inverse(penalty)
        scaled = self._axes.rows * inverse
        fit_y, fit_rest = self._with_y @ inverse, self._with_rest @ inverse
        fit_fit = np.einsum("ij,ij->i", scaled @ self._inner, scaled)
        share = 1 / (1 - self.leverage(penalty))
        product = 1 - (self._rest_y - fit_y) * share
        square = 1 - 2 * (self._rest_y - fit_y) * share + (self._rest_rest - 2 * fit_rest + fit_fit) * share**2
        return float(np.mean(product / np.sqrt(np.maximum(square, 1e-12))))


def _procrustes(cross: Matrix, spread: float) -> Matrix:
    """The semi-orthogonal map along the axes that turns X to Y best, times the scale that fits best."""
    left, values, right = np.linalg.svd(cross, full_matrices=False)
    turned: Matrix = (float(values.sum()) / spread) * (left @ right)
    return turned
