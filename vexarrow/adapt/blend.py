"""How much of a ridge map and how much of a Procrustes map: what finds the most neighbours in a cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations_with_replacement, product
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
        (first, weight), *others = self.parts().items()
        blended: Matrix = weight * maps.part(first, penalty)
        for part, weight in others:
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

    def mapped(self, part: Part, penalty: float) -> Matrix:
        """The rows through a part that blends are made of."""
        mapped = self.maps.through(self.x - self.maps.source_mean, part, penalty)
        return mapped.astype(np.float32, copy=False)


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
    parts = list(dict.fromkeys(part for one in blends for part in one.parts()))
    jobs = list(product(parts, folds))
    rows = iter(blas.results([partial(fold.mapped, part, penalty) for part, fold in jobs]))
    judge = _Judge(
        # Rows of all folds, one below the other: each is a neighbour of those of other folds, too.
        {part: np.vstack([next(rows) for _ in folds]) for part in parts},
        np.vstack([fold.y for fold in folds]),
        np.stack([origin + fold.maps.target_mean for fold in folds]).astype(np.float32),
        np.repeat(np.arange(len(folds)), [len(fold.y) for fold in folds]),
    )
    found = judge.found(blends)
    gains = found / np.maximum(found[0].mean(1, keepdims=True), 1e-9)  # [blends, kinds of search, rows]
    gains = (gains - gains[0]).mean(1)
    errors = gains.std(1) / np.sqrt(gains.shape[1])
    best = blends[int(np.argmax(gains.mean(1) - DOUBT * errors))]
    return Chosen(best, judge.cosine(best) - judge.cosine(RIDGE))


class _Judge:
    """Rows judged under many blends. Products of rows are sums of the products of parts, which are made once.

    `mapped`: rows through parts of blends. `native`: what they are held against. `means` [folds, d_out]: what is added
    to the rows of each fold, `fold` [n] the one of each row.
    """

    def __init__(self, mapped: dict[Part, Matrix], native: Matrix, means: Matrix, fold: NDArray[np.intp]) -> None:
        self._count = min(NEIGHBOURS, len(native) // 4)
        pairs = list(combinations_with_replacement(mapped, 2))
        alike, *tables = blas.results(
            [
                partial(_product, native, native),
                *(partial(_product, native, rows) for rows in mapped.values()),
                *(partial(_both_ways, mapped[one], mapped[other]) for one, other in pairs),
            ]
        )
        self._asked: dict[Part, Matrix] = dict(zip(mapped, tables[: len(mapped)], strict=True))
        self._within: dict[tuple[Part, Part], Matrix] = dict(zip(pairs, tables[len(mapped) :], strict=True))
        # Rows of a fold share their mean, whose products need to be made once.
        self._asked["mean"] = (native @ means.T)[:, fold]
        self._within["mean", "mean"] = (means @ means.T)[fold][:, fold]
        for part, rows in mapped.items():
            table = (means @ rows.T)[fold]
            self._within["mean", part] = table + table.T
        np.fill_diagonal(alike, -np.inf)
        self._known = np.argpartition(alike, -self._count, axis=1)[:, -self._count :]

    def found(self, blends: Sequence[Blend]) -> Matrix:
        """The share of each row's native neighbours that are found [blends, 2, rows]: among projected rows, and by
        native ones."""
        return np.array(blas.results([partial(self._found, blend) for blend in blends]))

    def _found(self, blend: Blend) -> tuple[Matrix, Matrix]:
        within, asked = self._alike(blend)
        return self._share(within), self._share(asked)

    def cosine(self, blend: Blend) -> float:
        """The mean cosine of projected and native rows."""
        weights = self._weights(blend)
        within = sum(
            weights[one] * weights[other] * np.diagonal(table)
            for (one, other), table in self._within.items()
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
        for (one, other), table in self._within.items():
            if one in weights and other in weights:
                within += np.multiply(table, weights[one] * weights[other], out=room)
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


def _product(rows: Matrix, others: Matrix) -> Matrix:
    product: Matrix = rows @ others.T
    return product


def _both_ways(rows: Matrix, others: Matrix) -> Matrix:
    """What two parts of a blend add to the products of its rows with each other."""
    product: Matrix = rows @ others.T
    return product if rows is others else product + product.T
