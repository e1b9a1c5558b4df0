"""The linear map between two spaces of vectors: a blend of a ridge map and a scaled Procrustes map, in closed form.

Rows x_i and y_i of unit length are vectors of one text each. X and Y are the rows less their means. With the
eigenvectors V and eigenvalues L of X'X and u = trace(X'X) / d_in, ridge maps by V (L + a u)^-1 V'X'Y. The penalty a is
the one of the best leave-one-out cosine, which has a closed form; a third of it serves retrieval better than all of it.
The Procrustes map is the polar factor of X'Y, scaled by least squares. How much of each, and how long the result is
beside the mean, is what finds the most native neighbours in a cross-validation. All in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vexarrow.adapt.axes import Axes
from vexarrow.adapt.blend import RIDGE, Chosen, Maps, choose_blend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

PENALTIES = tuple(10.0 ** (power / 2) for power in range(-6, 5))  # 10^-3, 10^-2.5, ..., 10^2
# With these a correction of a prior can fall back to a shift of the mean.
PRIOR_PENALTIES = (*PENALTIES, 300.0, 1e3, 1e6)
# Pairs that are left out, each in its turn, to choose a penalty: all of them would say the same, and take most of the
# time.
MOST_LEFT_OUT = 1_000


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

    `penalty`: the a of the best leave-one-out cosine, a part of the mean eigenvalue. `curve`: (penalty, cosine) of all
    that were tried. `chosen`: the blend of the two maps, None with a prior. `loo_cosine`: the leave-one-out cosine of
    ridge with the penalty that was used, and by how much the blend did better or worse in the cross-validation.
    `whitening`: [d_in, d_in], so that 1/n + |(x - source_mean) whitening|^2 is the leverage of x: how far it lies from
    what was trained on. `leverages`: that of each pair, seen from the others.
    """

    linear: Linear
    source_mean: Matrix
    target_mean: Matrix
    penalty: float
    loo_cosine: float
    curve: tuple[tuple[float, float], ...]
    chosen: Chosen | None
    whitening: Matrix
    leverages: Matrix


def fit(
    x: Matrix,
    y: Matrix,
    prior: Linear | None = None,
    *,
    chosen: Chosen | None = None,
    near: float | None = None,
    seed: int = 0,
) -> Fit:
    """Fit a map from unit rows x [n, d_in] to unit rows y [n, d_out]; with a prior, fit a correction of it.

    n has to be at least 3, and the rows of x must not all be the same (ValueError). `chosen`: the
    blend of another fit, None lets a cross-validation choose one, whose folds `seed` draws. `near`: the penalty of a
    fit of other pairs of these models, from which the best one is sought; None tries all.
    """
    source_mean = x.mean(0)
    before = y if prior is None else y - prior(x)
    target_mean = before.mean(0)
    axes = Axes.of(x - source_mean)
    if len(x) < 3 or not len(axes.values):
        raise ValueError("a map needs three pairs that differ")
    rest = before - target_mean
    cross = axes.rows.T @ rest  # V'X'Y
    choice = _Choice(axes, y, rest, cross)
    curve = choice.curve(PENALTIES if prior is None else PRIOR_PENALTIES, near)
    penalty, cosine = max(curve, key=lambda one: one[1])
    if prior is None:
        chosen = chosen or choose_blend(x, y, penalty, seed)
        cosine = choice.cosine(penalty * RIDGE.shrink) + chosen.gain
        maps = Maps(axes, cross, penalty)
        weight = maps.basis @ maps.blended(chosen.blend)
    else:
        chosen = None
        weight = axes.vectors @ (cross / (axes.values + penalty * axes.unit)[:, None])
    bias = target_mean - source_mean @ weight
    if prior is not None:
        weight, bias = weight + prior.weight, bias + prior.bias
    leverage = choice.leverage(penalty)
    return Fit(
        linear=Linear(weight, bias),
        source_mean=source_mean,
        target_mean=y.mean(0),
        penalty=penalty,
        loo_cosine=cosine,
        curve=curve,
        chosen=chosen,
        whitening=_whitening(axes, penalty * axes.unit),
        leverages=leverage / (1 - leverage),  # a pair's own part in the fit would make it look nearer than a new row
    )


def _whitening(axes: Axes, floor: float) -> Matrix:
    """(X'X + floor)^-1/2, or a factor of as much use. It sees directions in which no pair differs: vectors of another
    kind lie there, and nothing that was learnt holds for them."""
    inside = 1 / np.sqrt(axes.values + floor)
    if len(axes.values) == len(axes.vectors):
        return axes.vectors * inside
    outside = 1 / np.sqrt(floor)
    whole: Matrix = (axes.vectors * (inside - outside)) @ axes.vectors.T + outside * np.eye(len(axes.vectors))
    return whole


class _Choice:
    """The leave-one-out cosine of ridge for any penalty.

    With D = (L + a u)^-1 the fitted row i is f_i = p_i D C, C = V'X'Y; leaving the pair out, what is left over of z_i
    is (z_i - f_i) / (1 - h_i). Its products with y_i, z_i and itself need the rows only along the axes: each penalty
    costs n r^2 and not n r d_out.
    """

    def __init__(self, axes: Axes, y: Matrix, rest: Matrix, cross: Matrix) -> None:
        self._axes, self._n = axes, len(y)
        some = slice(None, None, -(-len(y) // MOST_LEFT_OUT))  # evenly spread
        self._rows, y, rest = axes.rows[some], y[some], rest[some]
        self._with_y = self._rows * (y @ cross.T)
        self._with_rest = self._rows * (rest @ cross.T)
        self._inner = cross @ cross.T
        self._rest_y = np.einsum("ij,ij->i", rest, y)
        self._rest_rest = np.einsum("ij,ij->i", rest, rest)

    def curve(self, penalties: Sequence[float], near: float | None) -> tuple[tuple[float, float], ...]:
        """(penalty, cosine) of all, or uphill from the one that is `near` until both its neighbours are lower."""
        if near not in penalties:
            return tuple((penalty, self.cosine(penalty)) for penalty in penalties)
        found: dict[float, float] = {}
        top, at = -1, penalties.index(near)
        while top != at:
            top = at
            around = penalties[max(top - 1, 0) : top + 2]
            found |= {penalty: self.cosine(penalty) for penalty in around if penalty not in found}
            at = penalties.index(max(around, key=found.__getitem__))
        return tuple(sorted(found.items()))

    def _inverse(self, penalty: float) -> Matrix:
        inverse: Matrix = 1 / (self._axes.values + penalty * self._axes.unit)
        return inverse

    def leverage(self, penalty: float) -> Matrix:
        """h_i: how much of its own prediction a pair decides; the mean decides 1/n of it."""
        return self._leverage(self._axes.rows, self._axes.rows * self._inverse(penalty))

    def _leverage(self, rows: Matrix, scaled: Matrix) -> Matrix:
        leverage: Matrix = np.einsum("ij,ij->i", rows, scaled) + 1 / self._n
        return np.minimum(leverage, 1 - 1e-9)

    def cosine(self, penalty: float) -> float:
        """The mean cosine of the predictions, each without its own pair, with the targets."""
        inverse = self._inverse(penalty)
        scaled = self._rows * inverse
        fit_y, fit_rest = self._with_y @ inverse, self._with_rest @ inverse
        fit_fit = np.einsum("ij,ij->i", scaled @ self._inner, scaled)
        share = 1 / (1 - self._leverage(self._rows, scaled))
        product = 1 - (self._rest_y - fit_y) * share
        square = 1 - 2 * (self._rest_y - fit_y) * share + (self._rest_rest - 2 * fit_rest + fit_fit) * share**2
        return float(np.mean(product / np.sqrt(np.maximum(square, 1e-12))))
