"""The two maps that pairs tell: ridge and Procrustes, of few pairs by their rows and of many by sums over them.

All is in the precision of what is given. What takes long is made when it is first asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np

from vexarrow.adapt.axes import Axes, apart, inverse_of_lower, polar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vexarrow.adapt.sums import Sums

    Matrix = NDArray[Any]


Value = TypeVar("Value")


class lazy(Generic[Value]):  # noqa: N801 - as `property` is written
    """A property that is made once. Unlike `functools.cached_property`, which in Python 3.11 lets no two threads make
    that of two objects at the same time; two threads that ask for that of one object may both make it."""

    def __init__(self, make: Callable[[Any], Value]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__
        self.__isabstractmethod__ = getattr(make, "__isabstractmethod__", False)

    @overload
    def __get__(self, owner: None, kind: type) -> lazy[Value]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> Value: ...
    def __get__(self, owner: object | None, kind: type) -> Value | lazy[Value]:
        """The value, which stands in the owner's way to this from then on."""
        if owner is None:
            return self
        value = owner.__dict__[self._name] = self._make(owner)
        return value


class Maps(ABC):
    """The maps [d_in, d_out] from rows X less `source_mean` to rows Y less `target_mean`.

    `count`: how many pairs. `cross`: X'Y. `spread`: the sum of squares of X. `few`: no more pairs than d_in, so that
    directions are left in which no two of them differ.
    """

    few: bool

    def __init__(self, count: int, means: tuple[Matrix, Matrix], cross: Matrix, spread: float) -> None:
        self.count, self.cross, self.spread = count, cross, spread
        self.source_mean, self.target_mean = means
        self._ridges: dict[float, Matrix] = {}

    def floor(self, penalty: float) -> float:
        """What ridge adds to each eigenvalue of X'X. The penalty is a part of their mean."""
        return penalty * self.spread / len(self.cross)

    @lazy
    @abstractmethod
    def axes(self) -> Axes:
        """The principal axes of X."""

    @lazy
    def along(self) -> Matrix:
        """V'X'Y: `cross` along the axes."""
        along: Matrix = self.axes.vectors.T @ self.cross
        return along

    def ridge(self, penalty: float) -> Matrix:
        """The ridge map: (X'X + floor)^-1 X'Y."""
        weight: Matrix = self.axes.vectors @ (self.along / (self.axes.values + self.floor(penalty))[:, None])
        return weight

    @lazy
    @abstractmethod
    def turn(self) -> Matrix:
        """The Procrustes map: as X turns to Y best, and as long as fits best."""

    @lazy
    def beside(self) -> Matrix:
        """What the Procrustes map may do with directions in which no two pairs differ: keep lengths and angles, and go
        where no pair goes."""
        return np.zeros_like(self.cross)

    def whitening(self, penalty: float) -> Matrix:
        """A factor [d_in, d_in] of (X'X + floor)^-1. It sees directions in which no pair differs: vectors of another
        kind lie there, and nothing that was learnt holds for them."""
        floor = self.floor(penalty)
        inside, outside = 1 / np.sqrt(self.axes.values + floor), floor**-0.5
        whole: Matrix = (self.axes.vectors * (inside - outside)) @ self.axes.vectors.T
        whole[np.diag_indices_from(whole)] += outside
        return whole

    @abstractmethod
    def steps(self, *, left_out: bool, turned: bool) -> list[Callable[[], object]]:
        """What takes long of all that is asked of ridge judged by pairs that are `left_out`, and of the Procrustes map:
        these calls may be made at the same time."""

    def part(self, name: str | float, penalty: float) -> Matrix:
        """A part of a blend: "turn", "beside", or the ridge map with such a part of the penalty, which is made once."""
        if isinstance(name, float):
            if name * penalty not in self._ridges:
                self._ridges[name * penalty] = self.ridge(name * penalty)
            return self._ridges[name * penalty]
        part: Matrix = getattr(self, name)
        return part

    def through(self, rows: Matrix, name: str | float, penalty: float) -> Matrix:
        """Rows [n, d_in] through a part of a blend."""
        mapped: Matrix = rows @ self.part(name, penalty)
        return mapped


class FewMaps(Maps):
    """Those of rows x [n, d_in] and y [n, d_out], with at most d_in + 1 axes between them."""

    few = True

    def __init__(self, x: Matrix, y: Matrix) -> None:
        means = x.mean(0), y.mean(0)
        self._centred = x - means[0]
        super().__init__(len(x), means, self._centred.T @ (y - means[1]), float(np.vdot(self._centred, self._centred)))

    @lazy
    def axes(self) -> Axes:
        """The principal axes of X."""
        return Axes.of(self._centred)

    @lazy
    def turn(self) -> Matrix:
        """The Procrustes map."""
        turned, length = self._turned
        turn: Matrix = self.axes.vectors @ (length * turned)
        return turn

    @lazy
    def beside(self) -> Matrix:
        """What it may do with directions in which no two pairs differ."""
        into, out = self._beside
        beside: Matrix = into @ out
        return beside

    def through(self, rows: Matrix, name: str | float, penalty: float) -> Matrix:
        """Rows through a part, along the axes: a few rows take less time than the part itself, and less memory."""
        if name == "beside":
            into, out = self._beside
            beside: Matrix = rows @ into @ out
            return beside
        along = rows @ self.axes.vectors
        if isinstance(name, float):
            ridge: Matrix = along / (self.axes.values + self.floor(name * penalty)) @ self.along
            return ridge
        turned, length = self._turned
        turn: Matrix = length * along @ turned
        return turn

    @lazy
    def _turned(self) -> tuple[Matrix, float]:
        turned, total = polar(self.along)
        return turned, total / self.spread

    @lazy
    def _beside(self) -> tuple[Matrix, Matrix]:
        turned, length = self._turned
        free = min(self.cross.shape) - len(turned)
        return length * apart(self.axes.vectors, free), apart(turned.T, free).T

    def steps(self, *, left_out: bool, turned: bool) -> list[Callable[[], object]]:
        """What takes long."""
        return [lambda: self._turned if turned else self.axes]


class ManyMaps(Maps):
    """Those of sums over more pairs than d_in, float64; the maps are of another `kind` of numbers.

    `axes`: they will be asked for, and all is made of them. Else it is made without them, which takes less time than
    they alone.
    """

    few = False

    def __init__(self, sums: Sums, kind: type[np.floating[Any]] = np.float64, *, axes: bool = False) -> None:
        gram, cross = sums.centred()
        means = (sums.x / sums.count).astype(kind), (sums.y / sums.count).astype(kind)
        super().__init__(sums.count, means, cross.astype(kind, copy=False), float(np.trace(gram)))
        self._gram, self._by_axes = gram, axes

    @lazy
    def axes(self) -> Axes:
        """The principal axes of X."""
        return Axes.of_gram(self._gram, self.cross.dtype)

    def ridge(self, penalty: float) -> Matrix:
        """The ridge map."""
        if self._by_axes:
            return super().ridge(penalty)
        factor = self._factor(penalty)
        # Twice as fast as to solve for all columns, and the penalty keeps the inverse small.
        weight: Matrix = (factor.T @ factor).astype(self.cross.dtype, copy=False) @ self.cross
        return weight

    @lazy
    def turn(self) -> Matrix:
        """The Procrustes map."""
        turned, total = polar(self.cross)
        turned *= total / self.spread
        return turned

    def whitening(self, penalty: float) -> Matrix:
        """What leverage is measured with."""
        if self._by_axes:
            return super().whitening(penalty)
        return self._factor(penalty).T.astype(self.cross.dtype, copy=False)

    def _factor(self, penalty: float) -> Matrix:
        """Of (X'X + floor)^-1 = F'F."""
        raised = self._gram.copy()
        raised[np.diag_indices_from(raised)] += self.floor(penalty)
        return inverse_of_lower(np.linalg.cholesky(raised))

    def steps(self, *, left_out: bool, turned: bool) -> list[Callable[[], object]]:
        """What takes long."""
        return [*([lambda: self.turn] if turned else []), *([lambda: self.along] if left_out else [])]
