"""How much of a ridge map and how much of a Procrustes map: what finds the most neighbours in a cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vexarrow.adapt import blas
from vexarrow.adapt.report import NEIGHBOURS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vexarrow.adapt.maps import Maps

    Matrix = NDArray[Any]
    Part = str | float

DOUBT = 2.0  # standard errors by which a blend has to be better than the usual one


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

    def parts(self) -> dict[Part, float]:
        """The weights of what it is made of: "turn", "beside", and ridge maps by their shrink."""
        weights: dict[Part, float] = {"turn": 1 - self.ridge, self.shrink: self.ridge, "beside": self.whole}
        return {name: self.scale * weight for name, weight in weights.items() if weight}

    def of(self, maps: Maps, penalty: float) -> Matrix:
        """The blended map [d_in, d_out]. `penalty`: of the best leave-one-out cosine."""
        blended = np.zeros_like(maps.cross)
        for part, weight in self.parts().items():
            blended += weight * maps.part(part, penalty)
        return blended


USUAL = Blend(0.5)
# With fewer pairs than dimensions: all that no pair tells anything about would serve neighbours best, and none of it
# queries. No choice is best at both, so that none is left to a cross-validation; this one loses least at either.
WHOLE = 0.6
USUAL_OF_FEW = Blend(0.5, whole=WHOLE)
RIDGE = Blend(1.0)
# Where Procrustes weighs more, longer results cost more cosine than they bring neighbours.
BLENDS = (
    USUAL,
    *(Blend(ridge) for ridge in (0.0, 0.33, 0.67, 0.8)),
    *(Blend(ridge, 1.2) for ridge in (0.5, 0.67, 0.8)),
    *(Blend(ridge, shrink=1.0) for ridge in (0.8, 1.0)),
)
BLENDS_OF_FEW = (
    USUAL_OF_FEW,
    *(Blend(ridge, whole=WHOLE) for ridge in (0.0, 0.33, 0.67, 0.8)),
    *(Blend(ridge, shrink=1.0, whole=WHOLE) for ridge in (0.67, 0.8)),
)


class Fold(NamedTuple):
    """Maps, and rows that they were trained without: x as the maps see it, y of length 1."""

    maps: Maps
    x: Matrix
    y: Matrix

    def mapped(self, penalty: float, shrinks: Iterable[float], *, beside: bool) -> dict[Part, Matrix]:
        """The rows through every part that blends are made of, and the mean that is added to all."""
        maps, centred = self.maps, self.x - self.maps.source_mean
        mapped: dict[Part, Matrix] = {
            "mean": np.broadcast_to(maps.target_mean, self.y.shape),
            "turn": centred @ maps.turn,
        }
        if beside:
            mapped["beside"] = centred @ maps.beside
        return mapped | {shrink: centred @ maps.ridge(shrink * penalty) for shrink in shrinks}


class Chosen(NamedTuple):
    """A blend, and how much more cosine it had than ridge alone in the cross-validation."""

    blend: Blend
    gain: float


def choose_blend(folds: Sequence[Fold], origin: Matrix, penalty: float, *, few: bool) -> Chosen:
    """The blend whose maps, each trained without the rows that it is judged by, find the most native neighbours: both
    among projected rows and with native rows as queries.

    The usual one, unless another one is better by more than chance. `origin` [d_out]: where the maps see the target
    from. `penalty`: of the best leave-one-out cosine. `few`: no more pairs than dimensions will be learnt from.
    """
    usual = USUAL_OF_FEW if few else USUAL
    if not folds:
        return Chosen(usual, 0.0)
    blends = BLENDS_OF_FEW if few else BLENDS
    every: list[dict[Part, Matrix]] = [{} for _ in folds]

    def add(at: int) -> None:
        every[at] = folds[at].mapped(penalty, {one.shrink for one in blends}, beside=few)

    with blas.single_threaded() if len(folds) > 1 else nullcontext():
        blas.each(add, range(len(folds)))
    mapped = _pooled(every)
    mapped["mean"] += origin.astype(np.float32)
    judge = _Judge(mapped, np.vstack([fold.y for fold in folds]))
    found = judge.found(blends)
    gains = found / np.maximum(found[0].mean(1, keepdims=True), 1e-9)  # [blends, kinds of search, rows]
    gains = (gains - gains[0]).mean(1)
    errors = gains.std(1) / np.sqrt(gains.shape[1])
    best = blends[int(np.argmax(gains.mean(1) - DOUBT * errors))]
    return Chosen(best, judge.cosine(best) - judge.cosine(RIDGE))


def _pooled(every: Sequence[dict[Part, Matrix]]) -> dict[Part, Matrix]:
    """The rows of all folds, one below the other: each is a neighbour of those of other folds, too."""
    return {part: np.vstack([one[part] for one in every]).astype(np.float32, copy=False) for part in every[0]}


class _Judge:
    """Rows judged under many blends. Products of rows are sums of the products of parts, which are made once."""

    def __init__(self, mapped: dict[Part, Matrix], native: Matrix) -> None:
        self._count = min(NEIGHBOURS, len(native) // 4)
        self._native, self._mapped = native, mapped
        self._asked = {part: native @ rows.T for part, rows in mapped.items()}
        self._within: dict[tuple[Part, Part], Matrix] = {}
        for one, other in combinations_with_replacement(mapped, 2):
            product = mapped[one] @ mapped[other].T
            self._within[one, other] = product if one is other else product + product.T
        alike = native @ native.T
        np.fill_diagonal(alike, -np.inf)
        self._known = np.argpartition(alike, -self._count, axis=1)[:, -self._count :]

    def found(self, blends: Sequence[Blend]) -> Matrix:
        """The share of each row's native neighbours that are found [blends, 2, rows]: among projected rows, and by
        native ones."""
        found = np.empty((len(blends), 2, len(self._native)))

        def add(at: int) -> None:
            within, asked = self._alike(blends[at])
            found[at] = self._share(within), self._share(asked)

        with blas.single_threaded():
            blas.each(add, range(len(blends)))
        return found

    def cosine(self, blend: Blend) -> float:
        """The mean cosine of projected and native rows."""
        weights = self._weights(blend)
        within = sum(
            weights[one] * weights[other] * np.diagonal(product)
            for (one, other), product in self._within.items()
            if one in weights and other in weights
        )
        asked = sum(weight * np.diagonal(self._asked[part]) for part, weight in weights.items())
        return float(np.mean(asked / np.sqrt(within)))

    def _weights(self, blend: Blend) -> dict[Part, np.float32]:
        return {"mean": np.float32(1), **{part: np.float32(weight) for part, weight in blend.parts().items()}}

    def _alike(self, blend: Blend) -> tuple[Matrix, Matrix]:
        """Products of projected rows with each other, and of native rows with projected ones, over the lengths of the
        projected ones that are the neighbours."""
        weights = self._weights(blend)
        within, asked = np.zeros_like(self._asked["mean"]), np.zeros_like(self._asked["mean"])
        room = np.empty_like(within)
        for (one, other), product in self._within.items():
            if one in weights and other in weights:
                within += np.multiply(product, weights[one] * weights[other], out=room)
        for part, weight in weights.items():
            asked += np.multiply(self._asked[part], weight, out=room)
        inverse = 1 / np.sqrt(np.diagonal(within))
        within *= inverse
        asked *= inverse
        return within, asked

    def _share(self, alike: Matrix) -> Matrix:
        """Of each row's native neighbours the share that is among as many nearest ones, itself left out."""
        np.fill_diagonal(alike, -np.inf)
        known = np.take_along_axis(alike, self._known, 1)
        alike.partition(alike.shape[1] - self._count, axis=1)
        share: Matrix = (known >= alike[:, [-self._count]]).mean(1)
        return share
