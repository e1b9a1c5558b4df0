"""How good a projection is, measured on pairs that it was not trained with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt import blas
from vexarrow.adapt.neighbours import nearest, own_ranks, shared
from vexarrow.adapt.pairs import matrix_of, short_unit_rows
from vexarrow.adapt.report import NEIGHBOURS, Measure, Point, Report, Spot
from vexarrow.errors import SchemaError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vexarrow.adapt.fit import Linear
    from vexarrow.adapt.model import Adapter
    from vexarrow.adapt.pairs import Pairs

    Matrix = NDArray[np.float32]

SIZES = (1, 2, 5, 10, 20, 50)
GOOD_ROWS = 100
Z = 1.959964  # 97.5 % of a normal distribution are below


class Known:
    """Held-out pairs as neighbours are looked for among them, made once for all that is judged by them: unit rows, and
    `near`, the native neighbours of each row, nearest first, of the largest of `SIZES` that there is.

    Raises SchemaError for less than 2 pairs.
    """

    def __init__(self, kept: Pairs) -> None:
        if len(kept) < 2:
            raise SchemaError(f"{len(kept)} pairs cannot be measured on; 2 are the least, {GOOD_ROWS} are good")
        self.pairs = kept
        self.native, self.source = short_unit_rows(kept.target), short_unit_rows(kept.source)
        self.near = nearest(self.native, self.native, min(max(SIZES), len(kept) - 1), but_self=True)


def evaluate(
    adapter: Adapter,
    kept: Pairs | Known,
    *,
    pairs: int | None,
    loo_cosine: float | None = None,
    corpus: Any = None,
    curve: Sequence[Point] = (),
) -> Report:
    """The report of an adapter, trained with `pairs` pairs (None: not known), on others that it does not know.

    `corpus`: source vectors of what is to be projected, None for those of `kept`. Raises SchemaError for less than 2
    pairs, or pairs of other dimensions.
    """
    known = kept if isinstance(kept, Known) else Known(kept)
    native, source, rows = known.native, known.source, len(known.native)
    if native.shape[1] != adapter.target.dim:
        raise SchemaError(
            f"{adapter.target.name} has vectors of {adapter.target.dim} dimensions, those of the target side have "
            f"{native.shape[1]}"
        )
    ours = adapter.matrix(known.pairs.source)
    cosines = np.einsum("ij,ij->i", ours, native)
    mean = _mean_target(adapter, native)
    sizes = [size for size in SIZES if size < rows]
    most = max(sizes)
    ten = neighbours_among(rows)
    near_native = known.near[:, :most]
    near_ours, near_source, near_query, ranks = blas.results(
        [
            lambda: nearest(ours, ours, most, but_self=True),
            lambda: nearest(source, source, most, but_self=True),
            lambda: nearest(native, ours, ten, but_self=True),
            lambda: own_ranks(native, ours),
        ]
    )
    (shuffled, spread), r2 = _shuffled(ours, native), _explained(ours, native)
    overlap, staying = (shared(near[:, :ten], near_native[:, :ten]) for near in (near_ours, near_source))
    return Report(
        pairs=pairs,
        held_out=rows,
        cosine=measure(cosines),
        cosine_p5=float(np.quantile(cosines, 0.05)),
        constant_cosine=float((native @ mean).mean()),
        shuffled_cosine=shuffled,
        shuffled_std=spread,
        r2=r2,
        recall_at_1=measure(ranks == 0),
        mrr=measure(1 / (1 + ranks)),
        overlap=measure(overlap),
        native_top1=measure((near_ours[:, :ten] == near_native[:, :1]).any(1)),
        source_overlap=measure(staying),
        gain=measure(overlap - staying),
        query_overlap=measure(shared(near_query, near_native[:, :ten])),
        by_size=tuple(_spot(size, near_ours, near_source, near_native) for size in sizes),
        curve=tuple(curve),
        loo_cosine=loo_cosine,
        unfamiliar=_unfamiliar(adapter, known.pairs.source if corpus is None else corpus),
        corpus=rows if corpus is None else len(corpus),
    )


def neighbours_among(rows: int) -> int:
    """How many neighbours of a row are looked for among so many rows, at least 2: 10, or fewer, of which not all are
    neighbours of all."""
    return max(size for size in SIZES if size <= NEIGHBOURS and size < rows)


def measure(values: NDArray[Any]) -> Measure:
    """Mean and 95 % interval of a number a row: Wilson's for what is true or false, else Student's, which stays within
    0 and 1 where all values do."""
    mean, n = float(values.mean()), len(values)
    if values.dtype == np.bool_:
        return Measure(mean, *_wilson(mean, n), n)
    half = _student(n - 1) * float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else 1.0
    low, high = mean - half, mean + half
    if bool((values >= 0).all() and (values <= 1).all()):
        low, high = max(low, 0.0), min(high, 1.0)
    return Measure(mean, low, high, n)


def _wilson(share: float, n: int) -> tuple[float, float]:
    """The interval of a share of n: not empty where all or none are true."""
    square = Z * Z / n
    centre = (share + square / 2) / (1 + square)
    half = math.sqrt(share * (1 - share) * square + square * square / 4) / (1 + square)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's distribution, by its expansion around the normal one."""
    first = (Z**3 + Z) / 4 / freedom
    return Z + first + (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96 / freedom**2


def point(count: int, linear: Linear, known: Known) -> Point:
    """A point of the learning curve: cosine and overlap of a map on held-out pairs."""
    ours = short_unit_rows(linear(known.source))
    ten = neighbours_among(len(ours))
    overlap = shared(nearest(ours, ours, ten, but_self=True), known.near[:, :ten])
    return Point(count, float(np.einsum("ij,ij->i", ours, known.native).mean()), float(overlap.mean()))


def _mean_target(adapter: Adapter, native: Matrix) -> Matrix:
    """The direction of the mean target vector, from the training where it is known."""
    known = getattr(adapter, "target_mean", None)
    mean = native.mean(0) if known is None else known
    direction: Matrix = mean / np.linalg.norm(mean)
    return direction


def _shuffled(ours: Matrix, native: Matrix) -> tuple[float, float]:
    """Mean cosine with the vectors of other texts, and the standard deviation of such a mean over all shuffles."""
    n = len(ours)
    own = float(np.einsum("ij,ij->", ours, native, dtype=np.float64))
    others = (float(ours.sum(0, dtype=np.float64) @ native.sum(0, dtype=np.float64)) - own) / (n * (n - 1))
    # The table of all cosines, rows and columns centred, is the product of the centred sides.
    left, right = ours - ours.mean(0), native - native.mean(0)
    tall = n > ours.shape[1]
    square = np.sum((left.T @ left) * (right.T @ right)) if tall else np.sum((left @ right.T) ** 2)
    return others, float(np.sqrt(square / (n - 1)) / n)


def _explained(ours: Matrix, native: Matrix) -> float:
    """The share of the variance of `native`, for the shift and scale of `ours` that fit best: both have length 1."""
    left, right = ours - ours.mean(0), native - native.mean(0)
    return float(np.sum(left * right) ** 2 / max(float(np.sum(left**2) * np.sum(right**2)), 1e-30))


def _spot(size: int, ours: NDArray[np.intp], source: NDArray[np.intp], native: NDArray[np.intp]) -> Spot:
    known = native[:, :size]
    return Spot(size, float(shared(ours[:, :size], known).mean()), float(shared(source[:, :size], known).mean()))


def _unfamiliar(adapter: Adapter, corpus: Any) -> float | None:
    leverage, limit = adapter.leverage(matrix_of(corpus)), adapter.leverage_limit
    return None if leverage is None or limit is None else float((leverage > limit).mean())
