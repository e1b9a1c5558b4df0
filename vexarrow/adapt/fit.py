"""The linear map between two spaces of vectors: a blend of a ridge map and a scaled Procrustes map, in closed form.

Rows x_i and y_i of unit length are vectors of one text each. X and Y are the rows less their means. With the
eigenvectors V and eigenvalues L of X'X and u = trace(X'X) / d_in, ridge maps by V (L + a u)^-1 V'X'Y. The penalty a is
the one of the best leave-one-out cosine, which has a closed form; a third of it serves retrieval better than all of it.
The Procrustes map is the polar factor of X'Y, scaled by least squares. How much of each, and how long the result is
beside the mean, is what finds the most native neighbours in a cross-validation.

Many pairs are summed up once, in eight parts; whatever is fitted to some of the parts is fitted to their sums.

All that takes long is done side by side, with one thread of BLAS each (`blas.results`), and so is all between it:
training on 5,000 pairs from 768 to 1536 dimensions took a fifth longer where this and BLAS with all cores took turns.
Besides, the result does not depend on the number of threads then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt import blas
from vexarrow.adapt.blend import RIDGE, Chosen, Fold, choose_blend
from vexarrow.adapt.left_out import MOST_LEFT_OUT, LeftOut
from vexarrow.adapt.maps import FewMaps, ManyMaps, Maps
from vexarrow.adapt.sums import Sums

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    Matrix = NDArray[Any]  # float64, where nothing else is said
    Rows = NDArray[np.intp]
    Parts = tuple[int, ...]
    Curve = tuple[tuple[float, float], ...]
    Step = Callable[[], object]

PENALTIES = tuple(10.0 ** (power / 2) for power in range(-6, 5))  # 10^-3, 10^-2.5, ..., 10^2
# With these a correction of a prior can fall back to a shift of the mean.
PRIOR_PENALTIES = (*PENALTIES, 300.0, 1e3, 1e6)
PARTS = 8
EVERY = tuple(range(PARTS))
LATER = (PARTS,)  # as if a ninth one: the rows that only the last fit learns from
FEWEST_JUDGED = 40  # pairs of a cross-validation
BLOCK_ROWS = 1024  # that are multiplied at once
ENOUGH_JUDGED = 500  # of more pairs only as many parts are judged as have so many


@dataclass(frozen=True, slots=True)
class Linear:
    """The map y = x W + b: `weight` is [d_in, d_out], `bias` [d_out]."""

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


def fit(x: Matrix, y: Matrix, prior: Linear | None = None, *, chosen: Chosen | None = None, seed: int = 0) -> Fit:
    """Fit a map from unit rows x [n, d_in] to unit rows y [n, d_out]; with a prior, fit a correction of it.

    n has to be at least 3, and the rows of x must not all be the same (ValueError). `chosen`: the
    blend of another fit, None lets a cross-validation choose one, whose folds `seed` draws.
    """
    with blas.single_threaded():  # see above
        return Lesson(x, y, prior, seed=seed).first(chosen)


class Lesson:
    """Pairs to fit maps to, all of them or some: unit rows x [n, d_in] and y [n, d_out].

    In float32 they take half the memory, and products of many of them half the time; sums of these products, and all
    that is decomposed, are in float64 in any case. `prior`: a map that the fits are corrections of. `later`: rows that
    only `final` learns from. The others are cut into eight parts by chance. Raises ValueError for less than three
    others, and where their x are all the same.
    """

    def __init__(
        self, x: Matrix, y: Matrix, prior: Linear | None = None, *, later: Rows | None = None, seed: int = 0
    ) -> None:
        self._later = np.empty(0, np.intp) if later is None else later
        now = np.setdiff1d(np.arange(len(x)), self._later)
        if len(now) < 3 or ((x[now[-1]] == x[now[0]]).all() and (x[now] == x[now[0]]).all()):
            raise ValueError("a map needs three pairs that differ")
        self._prior, self._x, self._y = prior, x, y
        self._penalties = PENALTIES if prior is None else PRIOR_PENALTIES
        # What maps are learnt from is seen from here: near the means, so that sums lose no digits.
        self._rest = y if prior is None else (y - prior(x)).astype(y.dtype, copy=False)
        self._origin = tuple(blas.results([partial(_mean, self._rest), partial(_mean, x)])[::-1])
        self._parts = np.array_split(now[np.random.default_rng(seed).permutation(len(now))], PARTS)
        self._folds = _folds(len(now)) if prior is None else {}
        self._sums: dict[Parts, Sums] = {}
        self._maps: dict[Parts, Maps] = {}

    def first(self, chosen: Chosen | None = None, *, exact: bool = True, also: Sequence[int] = ()) -> Fit:
        """The fit of all but the later rows. `chosen`: the blend of another fit; None lets a cross-validation choose.

        `exact`: in float64, else in float32 where pairs are more than dimensions. `also`: numbers of parts that `part`
        will be asked for: it takes less time to prepare all at once.
        """
        folds = {} if chosen else self._folds
        wanted = dict.fromkeys([*folds.values(), *(EVERY[:count] for count in also)])
        if not self._few(EVERY):
            self._sum_up(wanted)
        kind = np.float64 if exact else np.float32
        whole, *parted = blas.results(
            [
                partial(self._learnt, EVERY, kind, axes=True),
                *(partial(self._learnt, parts, np.float32) for parts in wanted),
            ]
        )
        self._maps = dict(zip(wanted, parted, strict=True))
        blas.results([*whole.steps(left_out=True, turned=self._prior is None), *self._steps(self._maps.values())])
        judged = [self._fold(self._maps[parts], self._parts[part]) for part, parts in folds.items()]
        penalty, curve, left_out = self._best(whole, self._rows(EVERY))
        if self._prior is None:
            chosen = chosen or choose_blend(judged, self._origin[1], penalty, few=whole.few)
        cosine = dict(curve)[penalty] if chosen is None else left_out.cosine(penalty * RIDGE.shrink) + chosen.gain
        return self._fit(whole, self._rows(EVERY), penalty, chosen, cosine, curve)

    def part(self, count: int, known: Fit) -> Linear:
        """The map of so many of the eight parts, in float32, with the blend of another fit. Where pairs are more than
        dimensions, with its penalty, too."""
        parts = EVERY[:count]
        maps = self._maps.get(parts) or self._learnt(parts, np.float32)
        linear = self._linear(maps, self._near(maps, self._rows(parts), known), known.chosen)
        return Linear(linear.weight.astype(np.float32), linear.bias.astype(np.float32))

    def final(self, known: Fit, meanwhile: Sequence[Step] = ()) -> Fit:
        """The fit of all rows, in float64, with blend and penalty as those of a part. `meanwhile`: calls that have
        nothing to do with it, for cores that would wait."""
        rows, few = np.arange(len(self._x)), self._few(EVERY)
        if len(rows) > self._x.shape[1]:
            maps: Maps = ManyMaps(reduce(add, self._summed((*EVERY, *LATER))), axes=few)
        else:
            maps = FewMaps(*self._seen(rows, np.float64))
        steps = maps.steps(left_out=few, turned=self._prior is None)
        if few:  # else the penalty is known, and nothing has to wait
            blas.results(steps)
            steps = []
        penalty = self._near(maps, rows, known)
        return self._fit(maps, rows, penalty, known.chosen, known.loo_cosine, known.curve, steps, meanwhile)

    def _rows(self, parts: Parts) -> Rows:
        return np.sort(np.concatenate([self._parts[part] for part in parts]))

    def _few(self, parts: Parts) -> bool:
        count = sum(len(self._parts[part]) for part in parts)
        return count <= len(self._origin[0])

    def _sum_up(self, wanted: Iterable[Parts]) -> None:
        """Sum up what is needed of many pairs: parts that are only ever wanted together, together."""
        many = [parts for parts in wanted if not self._few(parts)]
        together: dict[tuple[bool, ...], list[int]] = {}
        for part in EVERY:
            together.setdefault(tuple(part in parts for parts in many), []).append(part)
        groups = {tuple(group): self._rows(tuple(group)) for group in together.values()} | {LATER: self._later}
        longest = sorted(groups, key=lambda group: -len(groups[group]))
        sums = blas.results([partial(self._sum, groups[group]) for group in longest])
        self._sums = dict(zip(longest, sums, strict=True))

    def _summed(self, parts: Parts) -> list[Sums]:
        if not self._sums:
            self._sum_up([])
        return [self._sums[group] for group in sorted(self._sums) if set(group) <= set(parts)]

    def _sum(self, rows: Rows) -> Sums:
        cuts = range(BLOCK_ROWS, max(1, len(rows)), BLOCK_ROWS)  # of no rows one block
        return Sums.over(self._seen(block) for block in np.split(rows, cuts))

    def _seen(self, rows: Rows, kind: DTypeLike | None = None) -> tuple[Matrix, Matrix]:
        """What maps learn of these rows, seen from the origin, in their own precision or of another kind."""
        x, rest = (side[rows].astype(kind or side.dtype, copy=False) for side in (self._x, self._rest))
        x -= self._origin[0].astype(x.dtype)
        rest -= self._origin[1].astype(rest.dtype)
        return x, rest

    def _learnt(self, parts: Parts, kind: type[np.floating[Any]], *, axes: bool = False) -> Maps:
        if not self._few(parts):
            return ManyMaps(reduce(add, self._summed(parts)), kind, axes=axes)
        # Where they are few of many, they make a point of the learning curve; else the fit itself, and what judges it.
        return FewMaps(*self._seen(self._rows(parts), np.float64 if self._few(EVERY) else kind))

    def _steps(self, every: Iterable[Maps]) -> list[Step]:
        return [step for maps in every for step in maps.steps(left_out=maps.few, turned=self._prior is None)]

    def _fold(self, maps: Maps, rows: Rows) -> Fold:
        return Fold(maps, self._seen(rows, np.float32)[0], self._y[rows].astype(np.float32, copy=False))

    def _best(self, maps: Maps, rows: Rows, near: float | None = None) -> tuple[float, Curve, LeftOut]:
        some = rows[:: -(-len(rows) // MOST_LEFT_OUT)]  # evenly spread
        y = self._y[some]
        taken = self._origin[1] if self._prior is None else y - self._rest[some] + self._origin[1]
        left_out = LeftOut(maps, self._seen(some)[0], y, taken)
        curve = left_out.curve(self._penalties, near)
        return max(curve, key=lambda one: one[1])[0], curve, left_out

    def _near(self, maps: Maps, rows: Rows, known: Fit) -> float:
        """The best penalty near a known one: few pairs take another one than more of them do."""
        few = maps.few or self._few(EVERY)
        return self._best(maps, rows, known.penalty)[0] if few else known.penalty

    def _target_mean(self, maps: Maps, rows: Rows) -> Matrix:
        mean: Matrix = self._origin[1] + maps.target_mean if self._prior is None else _mean(self._y[rows])
        return mean

    def _linear(self, maps: Maps, penalty: float, chosen: Chosen | None) -> Linear:
        """The map of a penalty and a blend, on top of the prior if there is one."""
        source_mean, target_mean = self._origin[0] + maps.source_mean, self._origin[1] + maps.target_mean
        weight = maps.part(1.0, penalty) if chosen is None else chosen.blend.of(maps, penalty)
        bias = target_mean - source_mean @ weight
        if self._prior is None:
            return Linear(weight, bias)
        return Linear(self._prior.weight + weight, self._prior.bias + bias)

    def _fit(
        self,
        maps: Maps,
        rows: Rows,
        penalty: float,
        chosen: Chosen | None,
        cosine: float,
        curve: Curve,
        steps: Sequence[Step] = (),
        meanwhile: Sequence[Step] = (),
    ) -> Fit:
        """A fit whose map is made of what is there, or of what these steps make meanwhile."""
        found: dict[str, Matrix] = {}
        ridge = 1.0 if chosen is None else chosen.blend.shrink

        def judge() -> None:
            found["whitening"] = maps.whitening(penalty)
            found["leverages"] = self._leverages(rows, maps.source_mean, found["whitening"])

        # Those that take longest first: whoever is done early takes the next one.
        blas.results([*steps, judge, lambda: maps.part(ridge, penalty), *meanwhile])
        return Fit(
            linear=self._linear(maps, penalty, chosen),
            source_mean=self._origin[0] + maps.source_mean,
            target_mean=self._target_mean(maps, rows),
            penalty=penalty,
            loo_cosine=cosine,
            curve=curve,
            chosen=chosen,
            **found,
        )

    def _leverages(self, rows: Rows, mean: Matrix, whitening: Matrix) -> Matrix:
        """That of each row, seen from the others: its own part in the fit would make it look nearer than a new row."""
        whitening = whitening.astype(np.float32, copy=False)
        origin = (self._origin[0] + mean).astype(np.float32)
        leverages = np.empty(len(rows))

        def measure(start: int) -> None:
            some = rows[start : start + BLOCK_ROWS]
            along = (self._x[some].astype(np.float32, copy=False) - origin) @ whitening
            leverages[start : start + len(some)] = np.vecdot(along, along) + 1 / len(rows)

        blas.each(measure, range(0, len(rows), BLOCK_ROWS))
        seen: Matrix = leverages / np.maximum(1 - leverages, 1e-6)
        return seen


def _folds(count: int) -> dict[int, Parts]:
    """Which parts judge blends, and the parts that each of them is judged without: of fewer pairs more parts, until
    they are enough; of so many that one is enough, half of them are trained with, as for the learning curve."""
    if count < FEWEST_JUDGED:
        return {}
    parts = min(PARTS, -(-ENOUGH_JUDGED * PARTS // count))
    if parts == 1:
        return {PARTS - 1: EVERY[: PARTS // 2]}
    return {part: EVERY[:part] + EVERY[part + 1 :] for part in EVERY[:parts]}


def _mean(rows: Matrix) -> Matrix:
    """The mean row, float64."""
    return np.ones(len(rows), rows.dtype) @ rows / np.float64(len(rows))
