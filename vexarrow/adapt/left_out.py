"""Ridge judged by pairs that are left out, each in its turn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt import blas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vexarrow.adapt.maps import Maps

    Matrix = NDArray[Any]

# Pairs that are left out to choose a penalty: all of them would say the same, and take most of the time.
MOST_LEFT_OUT = 500


class LeftOut:
    """The leave-one-out cosine of ridge for any penalty, in closed form.

    With D = (L + a u)^-1 the fitted row i is f_i = p_i D C, C = V'X'Y; leaving the pair out, what is left over of z_i
    is (z_i - f_i) / (1 - h_i). Its products with y_i, z_i and itself need the rows only along the axes: each penalty
    costs n r^2 and not n r d_out.
    """

    def __init__(self, maps: Maps, x: Matrix, y: Matrix, taken: Matrix) -> None:
        """Some of the rows x that the maps were learnt from, y of length 1, and `taken`: what was taken from each y [n,
        d_out], or from all of them [d_out], before maps were learnt from the rest."""
        along, kind = maps.along, maps.along.dtype
        self._values, self._floor, self._n = maps.axes.values, maps.floor, maps.count
        y, taken = y.astype(kind, copy=False), (taken + maps.target_mean).astype(kind, copy=False)
        rest = y - taken
        self._inner, y_along, self._rows, taken_along = blas.results(
            [
                lambda: along @ along.T,
                lambda: y @ along.T,
                lambda: (x - maps.source_mean).astype(kind, copy=False) @ maps.axes.vectors,
                lambda: taken @ along.T,
            ]
        )
        self._with_y, self._with_rest = self._rows * y_along, self._rows * (y_along - taken_along)
        self._rest_y = np.einsum("ij,ij->i", rest, y)
        self._rest_rest = np.einsum("ij,ij->i", rest, rest)

    def curve(self, penalties: Sequence[float], near: float | None) -> tuple[tuple[float, float], ...]:
        """(penalty, cosine) of all, or uphill from the one that is `near` until both its neighbours are lower."""
        if near not in penalties:
            cosines = blas.results([partial(self.cosine, penalty) for penalty in penalties])
            return tuple(zip(penalties, cosines, strict=True))
        found: dict[float, float] = {}
        top, at = -1, penalties.index(near)
        while top != at:
            top = at
            around = penalties[max(top - 1, 0) : top + 2]
            found |= {penalty: self.cosine(penalty) for penalty in around if penalty not in found}
            at = penalties.index(max(around, key=found.__getitem__))
        return tuple(sorted(found.items()))

    def cosine(self, penalty: float) -> float:
        """The mean cosine of the predictions, each without its own pair, with the targets."""
        inverse = 1 / (self._values + self._floor(penalty))
        scaled = self._rows * inverse
        fit_y, fit_rest = self._with_y @ inverse, self._with_rest @ inverse
        fit_fit = np.einsum("ij,ij->i", scaled @ self._inner, scaled)
        leverage = np.einsum("ij,ij->i", self._rows, scaled) + 1 / self._n
        share = 1 / np.maximum(1 - leverage, 8 * np.finfo(leverage.dtype).eps)
        product = 1 - (self._rest_y - fit_y) * share
        square = 1 - 2 * (self._rest_y - fit_y) * share + (self._rest_rest - 2 * fit_rest + fit_fit) * share**2
        return float(np.mean(product / np.sqrt(np.maximum(square, 1e-12))))
