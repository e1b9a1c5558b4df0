"""How much of a ridge map and how much of a Procrustes map: what finds the most neighbours in a cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vexarrow.adapt.axes import LOST, Axes, unit
from vexarrow.adapt.neighbours import nearest, shared
from vexarrow.adapt.report import NEIGHBOURS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Rows = NDArray[np.intp]

SHRINK_LESS = 3.0  # the penalty of the best cosine shrinks too much for retrieval
FOLDS = 4
FEWEST_FOLDED = 40
MOST_FOLDED = 2500  # pairs of a cross-validation; of more, some chosen by chance


class Blend(NamedTuple):
    """`ridge` of the ridge map and 1 - `ridge` of the Procrustes map, times `scale`."""

    ridge: float
    scale: float


USUAL = Blend(0.5, 1.0)
RIDGE = Blend(1.0, 1.0)
# Where Procrustes weighs more, longer results cost more cosine than they bring neighbours.
BLENDS = (
    USUAL,
    Blend(0.0, 1.0),
    Blend(0.33, 1.0),
    Blend(0.67, 1.0),
    Blend(0.8, 1.0),
    *(Blend(r, 1.2) for r in (0.5, 0.67, 0.8)),
)


class Maps:
    """The two maps, along the axes: [r, d_out] each."""

    def __init__(self, axes: Axes, cross: Matrix, penalty: float) -> None:
        self._ridge = cross / (axes.values + penalty / SHRINK_LESS * axes.unit)[:, None]
        self._procrustes = _procrustes(cross, float(axes.values.sum()))

    def blended(self, blend: Blend) -> Matrix:
        """Their sum as the blend says."""
        mixed: Matrix = blend.scale * (blend.ridge * self._ridge + (1 - blend.ridge) * self._procrustes)
        return mixed


def _procrustes(cross: Matrix, spread: float) -> Matrix:
    """The semi-orthogonal map along the axes that turns X to Y best, times the scale that fits best.

    That is the polar factor of V'X'Y, by its Gram matrix: an SVD of it takes three times as long.
    """
    squares, left = np.linalg.eigh(cross @ cross.T)
    kept = squares > LOST * squares[-1]
    lengths = np.sqrt(squares[kept])
    turned: Matrix = (float(lengths.sum()) / spread) * ((left[:, kept] / lengths) @ (left[:, kept].T @ cross))
    return turned


class Chosen(NamedTuple):
    """A blend, and how much more cosine it had than ridge alone in the cross-validation."""

    blend: Blend
    gain: float


def choose_blend(x: Matrix, y: Matrix, penalty: float, seed: int = 0) -> Chosen:
    """The blend whose maps, each trained without the rows that it is judged by, find the most native neighbours: half
    of them among projected rows, half with native rows as queries.

    The usual one, unless another is better by more than the standard error, or when there are too few rows to tell.
    """
    order = np.random.default_rng(seed).permutation(len(x))[:MOST_FOLDED]
    if len(order) < FEWEST_FOLDED:
        return Chosen(USUAL, 0.0)
    whole = len(order) < MOST_FOLDED
    folds = np.array_split(order, FOLDS if whole else FOLDS + 1)
    judged = [_judge(x, y, np.setdiff1d(order, fold), fold, penalty) for fold in (folds if whole else folds[:1])]
    found = np.hstack([one.found for one in judged])
    better = found - found[0]
    error = better.std(1) / np.sqrt(better.shape[1])
    best = int(np.argmax(better.mean(1)))
    best = best if better[best].mean() > error[best] else 0
    cosines = np.mean([one.cosines for one in judged], axis=0)
    return Chosen(BLENDS[best], float(cosines[best] - cosines[-1]))


class _Judged(NamedTuple):
    """`found` [blends, rows]: the share of native neighbours, twice. `cosines`: of each blend, and of ridge alone."""

    found: Matrix
    cosines: Matrix


def _judge(x: Matrix, y: Matrix, train: Rows, test: Rows, penalty: float) -> _Judged:
    """Every blend, trained with some rows and judged by others."""
    mean_x, mean_y = x[train].mean(0), y[train].mean(0)
    axes = Axes.of(x[train] - mean_x)
    maps = Maps(axes, axes.rows.T @ (y[train] - mean_y), penalty)
    along = (x[test] - mean_x) @ axes.vectors
    native = y[test].astype(np.float32)
    count = min(NEIGHBOURS, len(test) // 4)
    known = nearest(native, native, count, but_self=True)
    found, cosines = [], []
    for blend in (*BLENDS, RIDGE):
        ours = unit(along @ maps.blended(blend) + mean_y).astype(np.float32)
        cosines.append(float(np.einsum("ij,ij->i", ours, native).mean()))
        if blend is not RIDGE:
            within = nearest(ours, ours, count, but_self=True)
            asked = nearest(native, ours, count, but_self=True)
            found.append(shared(within, known) + shared(asked, known))
    return _Judged(np.array(found), np.array(cosines))
