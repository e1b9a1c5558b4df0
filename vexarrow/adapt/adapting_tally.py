"""What was projected, counted while it happens, and what has to be said of it afterwards."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt.adapting_batch import LOST
from vexarrow.adapt.gate import MOST_UNFAMILIAR
from vexarrow.adapt.lanes import Lane, Refusal, refusals
from vexarrow.adapt.truncation import Truncation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vexarrow.adapt.model import Adapter

# Vectors of a batch that are compared with the training: a tenth of the cost of all, and as telling.
LOOKED_AT = 256
# A share of fewer vectors says nothing.
FEWEST = 20
_MOST_SAID = 5


@dataclass
class Count:
    """Records of a lane. `looked`: vectors that were compared with what the projection was trained on, `unfamiliar`
    those of them that are unlike it. `twice`: records that had been projected before, exact cuts apart."""

    lane: Lane
    records: int = 0
    looked: int = 0
    unfamiliar: int = 0
    twice: int = 0

    @property
    def refused(self) -> Refusal:
        """Why its records are rejected; of lanes that lead there alone."""
        assert self.lane.refusal is not None  # noqa: S101 - the lane is one that leads into the rejects
        return self.lane.refusal

    @property
    def adapter(self) -> Adapter:
        """What its records go through; of lanes that lead through an adapter alone."""
        assert self.lane.adapter is not None  # noqa: S101 - the lane is one that leads through an adapter
        return self.lane.adapter

    @property
    def share(self) -> float | None:
        """The part that is unlike anything trained on; None where too little is known."""
        return self.unfamiliar / self.looked if self.looked >= FEWEST else None


class Tally:
    """Counts by lane. Thread-safe."""

    def __init__(self) -> None:
        self.lost: Counter[str] = Counter()
        self._counts: dict[tuple[str | None, int], Count] = {}
        self._lock = threading.Lock()

    def add(self, lane: Lane, records: int, vectors: NDArray[np.float32] | None = None, twice: int = 0) -> None:
        """Records of a lane, with their vectors where some of them are to be compared with the training."""
        looked, strange = _unfamiliar(lane.adapter, vectors) if lane.adapter and vectors is not None else (0, 0)
        with self._lock:
            one = self._counts.setdefault((lane.model, lane.dim), Count(lane))
            one.records += records
            one.looked += looked
            one.unfamiliar += strange
            one.twice += twice

    def lose(self, code: str, records: int) -> None:
        """Records that are rejected whatever their model."""
        if records:
            with self._lock:
                self.lost[code] += records

    @property
    def projected(self) -> list[Count]:
        """Of lanes that lead through an adapter."""
        return [one for one in self._counts.values() if one.lane.adapter]

    @property
    def refused(self) -> list[Count]:
        """Of lanes that lead into the rejects, the fullest first."""
        found = [one for one in self._counts.values() if one.lane.refusal]
        return sorted(found, key=lambda one: -one.records)

    @property
    def rejected(self) -> Counter[str]:
        """Records that were rejected, by code."""
        found = Counter(self.lost)
        for one in self.refused:
            found[one.refused.code] += one.records
        return found

    @property
    def passed(self) -> int:
        """Records that were in the target's space already."""
        return sum(one.records for one in self._counts.values() if not one.lane.adapter and not one.lane.refusal)


def _unfamiliar(adapter: Adapter, vectors: NDArray[np.float32]) -> tuple[int, int]:
    limit = adapter.leverage_limit
    if limit is None or not len(vectors):
        return 0, 0
    some = vectors[:: -(-len(vectors) // LOOKED_AT)]
    leverage = adapter.leverage(some)
    return (0, 0) if leverage is None else (len(some), int((leverage > limit).sum()))


def differing(adapter: Adapter) -> float | None:
    """The share of a record's ten nearest neighbours that is expected to differ from native ones; None if not known."""
    report = getattr(adapter, "report", None)
    return None if report is None else 1 - float(report.overlap.value)


# -- words ---------------------------------------------------------------------------------------------------------


def notes(tally: Tally, target: str) -> Iterator[str]:
    """What always has to be said after a run, in a few sentences."""
    for one in tally.projected:
        yield f"{one.records:,} records were projected from {one.lane.model} to {target}: {_quality(one.adapter)}"
    if tally.passed:
        yield f"{tally.passed:,} records were vectors of {target} already and passed as they are"
    if any(not isinstance(one.adapter, Truncation) for one in tally.projected):
        yield (
            "score thresholds have to be tuned again; projected vectors are not native ones, `adapted` in extra marks "
            "them: do not mix the two unmarked; keep the source vectors"
        )


def _quality(adapter: Adapter) -> str:
    if isinstance(adapter, Truncation):
        return f"the first {adapter.target.dim} components, which the model gives itself"
    share = differing(adapter)
    if share is None:
        return "an approximation, nobody knows how good"
    return f"an approximation; expect {share:.0%} of a record's 10 nearest neighbours to differ"


def rejects(tally: Tally) -> Iterator[str]:
    """Which records were rejected, and why."""
    for one in tally.refused[:_MOST_SAID]:
        yield f"{one.records:,} records were rejected ({one.refused.code}): {one.refused.message}"
    if others := tally.refused[_MOST_SAID:]:
        yield f"{sum(one.records for one in others):,} records of {len(others)} more models were rejected"
    for code, count in tally.lost.items():
        yield f"{count:,} records were rejected ({code}): {LOST[code]}"


def warnings(tally: Tally, further: Sequence[str]) -> Iterator[str]:
    """What is no error and yet probably not meant, rejects apart."""
    for one in tally.projected:
        yield from _doubts(one)
    if further and tally.projected:
        yield f"{', '.join(further)}: further vectors stay as they are, in the space of their own model"


def _doubts(one: Count) -> Iterator[str]:
    model, share = one.lane.model, one.share
    if share is not None and share > MOST_UNFAMILIAR:
        yield (
            f"{share:.0%} of the vectors of {model} are unlike anything the projection was trained on, and the result "
            "is not to be trusted: train with pairs of these texts (`vex-adapt sample` chooses them)"
        )
    if differing(one.adapter) is None and not isinstance(one.adapter, Truncation):
        yield (
            f"how good the projection from {model} is, its file does not say; measure it before anything relies on the "
            "result: `vex-adapt evaluate`, with vectors of the same texts by both models"
        )
    if one.twice and not isinstance(one.adapter, Truncation):  # a cut is exact, whatever it cuts
        yield (
            f"{one.twice:,} records of {model} had been projected before, and errors add up: project from the vectors "
            "of their first model"
        )
    if reasons := refusals(one.adapter):
        yield f"the projection from {model} was refused, and used all the same: {reasons}"


def forecast(tally: Tally, target: str) -> Iterator[str]:
    """What a run would do, a line each."""
    for one in tally.projected:
        yield f"project  {one.records:,} records from {one.lane.model} to {target}: {_quality(one.adapter)}"
    if tally.passed:
        yield f"pass     {tally.passed:,} records that are vectors of {target} already"
    for one in tally.refused:
        yield f"reject   {one.records:,} records ({one.refused.code}): {one.refused.message}"
    for code, count in tally.lost.items():
        yield f"reject   {count:,} records ({code}): {LOST[code]}"


def facts(tally: Tally, target: str, dim: int) -> dict[str, Any]:
    """The counts, JSON-like."""
    refused = [
        {"model": one.lane.model, "dimension": one.lane.dim, "records": one.records, "code": one.refused.code}
        for one in tally.refused
    ]
    refused += [{"code": code, "records": count} for code, count in tally.lost.items()]
    return {
        "target": target,
        "dimension": dim,
        "projected": sum(one.records for one in tally.projected),
        "passed": tally.passed,
        "models": [_fact(one) for one in tally.projected],
        "refused": refused,
    }


def _fact(one: Count) -> dict[str, Any]:
    return {
        "model": one.lane.model,
        "dimension": one.lane.dim,
        "records": one.records,
        "projection": one.adapter.checksum,
        "exact": isinstance(one.adapter, Truncation),
        "neighbours_that_differ": differing(one.adapter),
        "unfamiliar": one.share,
        "looked_at": one.looked,
        "projected_before": one.twice,
    }
