"""Local corrections of a projection: fitted to what its linear map leaves over, and judged beside that map alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vexarrow.adapt.axes import Axes, unit
from vexarrow.adapt.blend import RIDGE
from vexarrow.adapt.fit import PRIOR_PENALTIES, Fit, Linear
from vexarrow.adapt.local import Local
from vexarrow.adapt.measures import measure
from vexarrow.adapt.neighbours import nearest, shared
from vexarrow.adapt.pairs import unit_rows
from vexarrow.adapt.report import NEIGHBOURS, Corrections
from vexarrow.adapt.sample import middles
from vexarrow.errors import Unfit, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vexarrow.adapt.pairs import Pairs
    from vexarrow.adapt.projection import Projection

    Matrix = NDArray[np.float64]

FEWEST_PAIRS, FEWEST_A_GROUP = 2000, 100
# Below a gain of so much overlap they are not worth what they cost: files and products of three times the size.
LEAST_GAIN = 0.002
FEWEST_ROWS = 20  # of a group that gets a correction
RANK = 32  # of a correction: nearly all that ridge says, at a fifth of its size


def check_groups(groups: int, pairs: int, *, force: bool) -> None:
    """Raises UsageError for less than 2 groups, and Unfit for pairs that are too few for them; `force` allows a few."""
    if groups < 2:
        raise UsageError(f"{groups} groups for local corrections: 2 are the least, 16 are usual")
    fewest = 2 * FEWEST_ROWS * groups if force else max(FEWEST_PAIRS, FEWEST_A_GROUP * groups)
    if pairs < fewest:
        raise Unfit(
            f"local corrections for {groups} groups need {fewest:,} pairs, these are {pairs:,}: with fewer they add "
            "noise; train without them (leave out --local), or embed more texts with both models"
        )


def corrected(projection: Projection, fitted: Fit, x: Matrix, y: Matrix, groups: int, seed: int) -> Projection:
    """A projection with corrections near `groups` groups of source vectors. `fitted`: its linear map, x and y the unit
    rows that it was fitted to."""
    return replace(projection, local=fit_local(fitted.linear, fitted.source_mean, x, y, groups, seed))


def fit_local(linear: Linear, mean: Matrix, x: Matrix, y: Matrix, groups: int, seed: int) -> Local:
    """The corrections of a linear map from unit rows x [n, d_in] to unit rows y [n, d_out]; n is at least `groups`.

    Each row teaches the group whose centre is nearest. All groups have the same penalty, a part of the mean eigenvalue
    of each: a third of the one of the best leave-one-out cosine, as for the linear map.
    """
    directions = unit(x - mean)
    centres = middles(directions.astype(np.float32), groups, np.random.default_rng(seed))
    near = (directions @ centres.T).argmax(1)
    members = [rows for group in range(groups) if len(rows := np.flatnonzero(near == group)) >= FEWEST_ROWS]
    found = [_Group(x[rows], y[rows], linear) for rows in members]
    rank = min(RANK, x.shape[1], y.shape[1])
    shapes = (groups, x.shape[1], rank), (groups, rank, y.shape[1]), (groups, y.shape[1])
    into, out, bias = (np.zeros(shape) for shape in shapes)
    penalty = max(PRIOR_PENALTIES, key=lambda one: sum(group.gain(one) for group in found))
    for rows, group in zip(members, found, strict=True):
        at = near[rows[0]]
        left, right, bias[at] = group.correction(penalty * RIDGE.shrink, rank)
        into[at, :, : len(right)], out[at, : len(right)] = left, right
    parts = (centres, centres @ mean, into, out, bias)
    return Local(*(np.ascontiguousarray(part, np.float32) for part in parts))


class _Group:
    """Rows of one group, and ridge on what a linear map leaves over of them."""

    def __init__(self, x: Matrix, y: Matrix, linear: Linear) -> None:
        self._y, left = y, y - linear(x)
        self._mean, self._shift = x.mean(0), left.mean(0)
        self._x, self._rest = x - self._mean, left - self._shift
        self._axes = Axes.of(self._x)
        self._rows = self._x @ self._axes.vectors
        self._cross = self._rows.T @ self._rest

    def gain(self, penalty: float) -> float:
        """The sum of the leave-one-out cosines."""
        scaled = self._rows / self._spread(penalty)
        leverage = np.einsum("ij,ij->i", scaled, self._rows) + 1 / len(self._y)
        over = (self._rest - scaled @ self._cross) / np.maximum(1 - leverage, 1e-9)[:, None]
        return float(np.einsum("ij,ij->", unit(self._y - over), self._y))

    def correction(self, penalty: float, rank: int) -> tuple[Matrix, Matrix, Matrix]:
        """The map in two parts, [d_in, r] and [r, d_out], and its bias: of all that ridge says, the `rank` directions
        of the target that vary most over these rows."""
        weight = self._axes.vectors @ (self._cross / self._spread(penalty)[:, None])
        kept = Axes.of(self._x @ weight).vectors[:, -rank:]  # the least come first
        into: Matrix = weight @ kept
        return into, kept.T, self._shift - self._mean @ into @ kept.T

    def _spread(self, penalty: float) -> Matrix:
        spread: Matrix = self._axes.values + penalty * self._axes.unit
        return spread


def better(plain: Projection, corrected: Projection, kept: Pairs, *, force: bool) -> tuple[Projection, Corrections]:
    """The one with corrections where they raise the overlap of `kept` by `LEAST_GAIN` and cost native queries nothing,
    or with `force`; and what they change."""
    assert corrected.local is not None  # noqa: S101 - whoever asks has just fitted them
    (within, asked), (within_plain, asked_plain) = _found(corrected, kept), _found(plain, kept)
    gain, query_gain = measure(within - within_plain), measure(asked - asked_plain)
    said = Corrections(
        groups=len(corrected.local),
        overlap=measure(within),
        global_overlap=measure(within_plain),
        gain=gain,
        query_gain=query_gain,
        kept=force or (gain.value >= LEAST_GAIN and query_gain.value >= 0),
    )
    return corrected if said.kept else plain, said


def _found(projection: Projection, kept: Pairs) -> tuple[Matrix, Matrix]:
    """The share of native neighbours found, row by row: among projected rows, and by native ones."""
    native, ours = unit_rows(kept.target).astype(np.float32), projection.matrix(kept.source)
    ten = min(NEIGHBOURS, len(kept) - 1)
    known = nearest(native, native, ten, but_self=True)
    within, asked = (shared(nearest(one, ours, ten, but_self=True), known) for one in (ours, native))
    return within, asked
