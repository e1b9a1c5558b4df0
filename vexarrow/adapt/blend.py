"""How much of a ridge map and how much of a Procrustes map: what finds the most neighbours in a cross-validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vexarrow.adapt.axes import LOST, Axes, unit
from vexarrow.adapt.neighbours import nearest, shared
from vexarrow.adapt.report import NEIGHBOURS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Rows = NDArray[np.intp]

FOLDS = 4
QUERIES_WEIGH = 4.0  # beside neighbours: queries are what a store is for
FEWEST_FOLDED = 40
MOST_FOLDED = 2500  # pairs of a cross-validation; of more, some chosen by chance


class Blend(NamedTuple):
    """`ridge` of the ridge map and 1 - `ridge` of the Procrustes map, times `scale`.

    `shrink`: the penalty of the ridge map, as a part of the one of the best cosine, which shrinks too much for most
    retrieval. `whole`: where there are fewer pairs than dimensions, the Procrustes map may turn the directions in which
    no two pairs differ as well, to anywhere, with this weight: that keeps the neighbourhoods of the source, and costs
    native queries as much as it adds.
    """

    ridge: float
    scale: float = 1.0
    shrink: float = 1 / 3
    whole: float = 0.0


USUAL = Blend(0.5)
RIDGE = Blend(1.0)
# Where Procrustes weighs more, longer results cost more cosine than they bring neighbours.
BLENDS = (
    USUAL,
    *(Blend(ridge) for ridge in (0.0, 0.33, 0.67, 0.8)),
    *(Blend(ridge, 1.2) for ridge in (0.5, 0.67, 0.8)),
    *(Blend(ridge, shrink=1.0) for ridge in (0.8, 1.0)),
    *(Blend(ridge, whole=1.0) for ridge in (0.0, 0.33, 0.5, 0.67)),
    *(Blend(ridge, whole=0.5) for ridge in (0.33, 0.5, 0.67)),
    Blend(0.67, shrink=1.0, whole=1.0),
)


class Maps:
    """The two maps on a basis of the source space: first the axes of the pairs, then the rest of it, if there is one.

    `basis` is [d_in, b].
    """

    def __init__(self, axes: Axes, cross: Matrix, penalty: float) -> None:
        self._axes, self._cross, self._penalty = axes, cross, penalty
        self._polar, self._length = _polar(cross, float(axes.values.sum()))
        rest = min(len(axes.vectors), cross.shape[1]) - len(axes.values)
        self._rest = _apart(self._polar.T, rest).T  # [rest, d_out]
        self.basis = np.hstack([axes.vectors, _apart(axes.vectors, rest)])

    def blended(self, blend: Blend) -> Matrix:
        """Their sum as the blend says, [b, d_out]."""
        weight = (1 - blend.ridge) * self._length
        mixed = weight * self._polar
        if blend.ridge:
            mixed += blend.ridge * (self._cross / self._shrunk(blend.shrink)[:, None])
        whole: Matrix = blend.scale * np.vstack([mixed, weight * blend.whole * self._rest])
        return whole

    def mapped(self, rows: Matrix, blends: Sequence[Blend]) -> Iterator[Matrix]:
        """`rows @ basis @ blended(blend)` for each of the blends, by a few products for all of them."""
        along, apart = np.split(rows @ self.basis, [len(self._axes.values)], axis=1)
        turned, beside = self._length * (along @ self._polar), self._length * (apart @ self._rest)
        shrinks = {one.shrink for one in blends}
        ridge = {shrink: (along / self._shrunk(shrink)) @ self._cross for shrink in shrinks}
        for blend in blends:
            mixed = (1 - blend.ridge) * (turned + blend.whole * beside)
            mixed += blend.ridge * ridge[blend.shrink]
            yield blend.scale * mixed

    def _shrunk(self, shrink: float) -> Matrix:
        shrunk: Matrix = self._axes.values + shrink * self._penalty * self._axes.unit
        return shrunk


def _polar(cross: Matrix, spread: float) -> tuple[Matrix, float]:
    """The semi-orthogonal map along the axes that turns X to Y best, and the length that fits best.

    That is the polar factor of V'X'Y, by its Gram matrix: an SVD of it takes three times as long.
    """
    squares, left = np.linalg.eigh(cross @ cross.T)
    kept = squares > LOST * squares[-1]
    lengths = np.sqrt(squares[kept])
    return (left[:, kept] / lengths) @ (left[:, kept].T @ cross), float(lengths.sum()) / spread


def _apart(columns: Matrix, count: int) -> Matrix:
    """`count` orthonormal columns [d, count] that are orthogonal to these [d, r] orthonormal ones, always the same."""
    drawn = np.random.default_rng(0).standard_normal((len(columns), max(count, 0)))
    for _ in range(2):  # once leaves the rounding of a long sum
        drawn -= columns @ (columns.T @ drawn)
    apart: Matrix = np.linalg.qr(drawn)[0]
    return apart


class Chosen(NamedTuple):
    """A blend, and how much more cosine it had than ridge alone in the cross-validation."""

    blend: Blend
    gain: float


def choose_blend(x: Matrix, y: Matrix, penalty: float, seed: int = 0) -> Chosen:
    """The blend whose maps, each trained without the rows that it is judged by, find the most native neighbours: both
    among projected rows and with native rows as queries.

    Where no blend is best at both, the one that stays least behind; the usual one when there are too few rows to tell.
    """
    order = np.random.default_rng(seed).permutation(len(x))[:MOST_FOLDED]
    if len(order) < FEWEST_FOLDED:
        return Chosen(USUAL, 0.0)
    whole = len(order) < MOST_FOLDED
    folds = np.array_split(order, FOLDS if whole else FOLDS + 1)
    few = len(order) - len(folds[0]) <= x.shape[1]  # else no direction is left that `whole` could turn
    blends = [blend for blend in BLENDS if few or not blend.whole]
    judged = [
        _judge(x, y, np.setdiff1d(order, fold), fold, penalty, blends) for fold in (folds if whole else folds[:1])
    ]
    within, asked = np.hstack([one.within for one in judged]), np.hstack([one.asked for one in judged])
    best = int(np.argmin(_short(within) ** 2 + QUERIES_WEIGH * _short(asked) ** 2))
    cosines = np.mean([one.cosines for one in judged], axis=0)
    return Chosen(blends[best], float(cosines[best] - cosines[-1]))


class _Judged(NamedTuple):
    """`within`, `asked` [blends, rows]: the share of native neighbours found, among projected rows and by native ones.
    `cosines`: of each blend, and of ridge alone."""

    within: Matrix
    asked: Matrix
    cosines: Matrix


def _short(found: Matrix) -> Matrix:
    """How much less each blend finds than the one that finds most, 0 to 1."""
    means = found.mean(1)
    short: Matrix = 1 - means / max(float(means.max()), 1e-9)
    return short


def _judge(x: Matrix, y: Matrix, train: Rows, test: Rows, penalty: float, blends: Sequence[Blend]) -> _Judged:
    """Every blend, trained with some rows and judged by others."""
    mean_x, mean_y = x[train].mean(0), y[train].mean(0)
    axes = Axes.of(x[train] - mean_x)
    maps = Maps(axes, axes.rows.T @ (y[train] - mean_y), penalty)
    native = y[test].astype(np.float32)
    count = min(NEIGHBOURS, len(test) // 4)
    known = nearest(native, native, count, but_self=True)
    within, asked, cosines = [], [], []
    every = (*blends, RIDGE)
    for blend, mapped in zip(every, maps.mapped(x[test] - mean_x, every), strict=True):
        ours = unit(mapped + mean_y).astype(np.float32)
        cosines.append(float(np.einsum("ij,ij->i", ours, native).mean()))
        if blend is not RIDGE:
            within.append(shared(nearest(ours, ours, count, but_self=True), known))
            asked.append(shared(nearest(native, ours, count, but_self=True), known))
    return _Judged(np.array(within), np.array(asked), np.array(cosines))
