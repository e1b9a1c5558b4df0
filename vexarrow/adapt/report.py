"""What was measured of a projection: numbers with their sizes and intervals, JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vexarrow.errors import DataError

NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Measure:
    """The mean of a number over `rows` rows, and the interval [low, high] that it is in with 95 % confidence."""

    value: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True, slots=True)
class Spot:
    """Neighbours of one size: the share of native ones among those under the projection, and in the source space."""

    neighbours: int
    projected: float
    source: float


@dataclass(frozen=True, slots=True)
class Point:
    """A step of the learning curve: a map trained with `pairs` pairs, judged on the same held-out ones."""

    pairs: int
    cosine: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Corrections:
    """Corrections near `groups` groups of source vectors, beside the global map alone, on the held-out pairs.

    overlap, global_overlap: share of the 10 native neighbours with and without them; gain: how much better it is with
    them, row by row; query_gain: the same for native vectors as queries. `kept`: the projection has them; all else that
    was measured is of it as it is.
    """

    groups: int
    overlap: Measure
    global_overlap: Measure
    gain: Measure
    query_gain: Measure
    kept: bool


@dataclass(frozen=True, slots=True)
class Queries:
    """Real queries, embedded by the target model, against the projected corpus; beside it the same against native
    vectors of the corpus, and the source model on its own, None where the queries have no source vectors.

    recall: share of a query's relevant records (`labelled`: as given, else the native top 10) in the top 10. mrr: one
    over the rank of the first relevant record (else of the native nearest). `lost`: queries that were left out because
    none of their relevant records is in the corpus.
    """

    count: int
    corpus: int
    labelled: bool
    recall: Measure
    native_recall: float
    source_recall: float | None
    mrr: Measure
    native_mrr: float
    source_mrr: float | None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """Measured on `held_out` pairs that the training did not see; it was trained with `pairs`, None: not known.

    cosine: of the projected with the native vector; cosine_p5 its 5th percentile. constant_cosine: of the mean target
    vector with the native ones, which is what knowing nothing gives. shuffled_cosine and shuffled_std: of projected
    vectors with those of other pairs. r2: share of the targets' variance that is explained, at the best scale.
    recall_at_1, mrr: a native vector finds its own projected one. overlap: share of the 10 native neighbours among the
    10 under the projection. native_top1: the nearest native neighbour is among these 10. source_overlap: the same share
    in the source space: staying on the old model; gain: how much better overlap is, row by row. query_overlap: native
    vectors as queries over projected ones, as in a store that was migrated. loo_cosine: predicted by leaving pairs out.
    unfamiliar: share of `corpus` vectors unlike anything trained on. local: what local corrections change, None where
    none were asked for. All neighbours are looked for among the held-out
    vectors.
    """

    pairs: int | None
    held_out: int
    cosine: Measure
    cosine_p5: float
    constant_cosine: float
    shuffled_cosine: float
    shuffled_std: float
    r2: float
    recall_at_1: Measure
    mrr: Measure
    overlap: Measure
    native_top1: Measure
    source_overlap: Measure
    query_overlap: Measure
    by_size: tuple[Spot, ...] = ()
    curve: tuple[Point, ...] = ()
    loo_cosine: float | None = None
    unfamiliar: float | None = None
    corpus: int | None = None
    queries: Queries | None = None
    gain: Measure | None = None
    local: Corrections | None = None

    @property
    def neighbours(self) -> int:
        """How many native neighbours `overlap` looks for: 10, or fewer where no more than 10 pairs were held out."""
        return max((one.neighbours for one in self.by_size if one.neighbours <= NEIGHBOURS), default=NEIGHBOURS)

    def to_json(self) -> dict[str, Any]:
        """All fields, JSON-like."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Report:
        """The inverse; keys that are not known are left alone. Raises DataError for a report that is not complete."""
        try:
            values = {name: _read(name, said[name]) for name in cls.__slots__ if said.get(name) is not None}
            return cls(**{"pairs": None, **values})
        except (TypeError, AttributeError) as error:
            raise DataError("the report in its header is not complete") from error


def _read(name: str, said: Any) -> Any:
    if name == "by_size":
        return tuple(Spot(**one) for one in said)
    if name == "curve":
        return tuple(Point(**one) for one in said)
    if name in ("queries", "local"):
        kind = Queries if name == "queries" else Corrections
        return kind(**{key: _measure(value) for key, value in said.items()})
    return _measure(said)


def _measure(said: Any) -> Any:
    return Measure(**said) if isinstance(said, Mapping) else said
