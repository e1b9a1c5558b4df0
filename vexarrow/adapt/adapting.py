"""The transform of a run: every record projected into the target's space, or rejected with the reason.

Models may mix: each record goes the way of the model that it names. A vector of the target's model passes as it is, so
that twice equals once. A record that names no model, or one without a projection, is rejected ("no-model",
"no-projection"), and so are a vector of a length that its model does not have ("dimension"), none at all ("no-vector"),
one of zeros ("zero-vector") or one that is not finite ("vector-not-finite"). Nothing goes on unmarked: see
`adapting_batch` for what a projected record says of itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from vexarrow import records
from vexarrow.adapt import adapting_tally as words
from vexarrow.adapt import catalog
from vexarrow.adapt.adapting_batch import (
    LOST,
    Group,
    Part,
    assembled,
    by_model,
    names,
    note,
    twice,
    with_direction,
    with_parts,
)
from vexarrow.adapt.adapting_tally import Tally
from vexarrow.adapt.gate import MOST_UNFAMILIAR
from vexarrow.adapt.lanes import Lane, Lanes, check_given
from vexarrow.adapt.loading import is_file_name, load
from vexarrow.embedding_models import same_model
from vexarrow.errors import DataError, SchemaError, Unfit, UsageError
from vexarrow.location import is_url
from vexarrow.protocols import Changed, Description, Reject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vexarrow.adapt.model import Adapter

    Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Adapt:
    """The wish to project. `target`: the model to whose space, perhaps with `@N` for N dimensions; None for that of the
    projections. `projections`: adapters, or files and URLs of some; for other models those at hand are taken (see
    `vexarrow.adapt.shelf`). `source`: the model of records that name none; they are rejected where it is None.
    `force`: also with a projection that was refused, and for vectors unlike anything it was trained on.
    """

    target: str | None = None
    projections: Sequence[str | Adapter] = ()
    source: str | None = None
    force: bool = False

    @classmethod
    def of(cls, said: Sequence[str | Adapter], *, source: str | None = None, force: bool = False) -> Adapt:
        """From adapters, files of projections and at most one name of a model. Raises UsageError for two names."""
        models = [one for one in said if isinstance(one, str) and not (is_file_name(one) or is_url(one))]
        if len(models) > 1:
            raise UsageError(f"vectors are projected into one space, not into those of {' and '.join(models)}")
        others = [one for one in said if not isinstance(one, str) or is_file_name(one) or is_url(one)]
        return cls(models[0] if models else None, others, source, force)

    def transform(self, kind: type[Adapting] | None = None) -> Adapting:
        """The transform that does it, or one of another `kind`; files are read now. Raises UsageError, NotFound,
        DataError and Unfit."""
        given = [self._loaded(one) for one in self.projections]
        target = check_given(given, self.target, force=self.force)
        return (kind or Adapting)(Lanes(given, target, source=self.source, force=self.force), force=self.force)

    def _loaded(self, one: str | Adapter) -> Adapter:
        if not isinstance(one, str):
            return one
        target = None if self.target is None else catalog.split(self.target)[0]
        return load(one, source=self.source, target=target)


class Adapting:
    """A transform after which every vector is in the target's space. Thread-safe; `dim` is known after `bind`."""

    def __init__(self, lanes: Lanes, *, force: bool = False) -> None:
        self.dim: int | None = None
        self.tally = Tally()
        self._lanes = lanes
        self._force = force
        self._first: list[pa.RecordBatch] = []
        self._further: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """The target's model."""
        return self._lanes.name

    def look(self, batch: pa.RecordBatch) -> None:
        """Remember some records of the source until `bind`."""
        self._first.append(batch)

    def bind(self, plan: Description) -> Description:
        """The plan with the target's model and dimension. Raises NotFound, UsageError or SchemaError when none of the
        records that were looked at can be projected, and Unfit for a projection that must not be trusted with them."""
        first, self._first = self._first, []
        seen = [(name, records.dim(batch) or None) for batch in first for name in names(batch)]
        self._lanes.settle([*seen, (plan.model, plan.dim)])
        self.dim = self._lanes.dim
        self._further = tuple(plan.vectors)
        if not self._force:
            self._judge(first)
        return replace(plan, dim=self.dim, model=self.model)

    def _judge(self, first: Sequence[pa.RecordBatch]) -> None:
        """Refuse a run of which nothing good can come, as far as its first records tell."""
        tally = Tally()
        for batch in first:
            self._count(batch, tally)
        if tally.refused and not tally.projected and not tally.passed:
            raise tally.refused[0].refused.error()
        for one in tally.projected:
            if one.share is not None and one.share > MOST_UNFAMILIAR:
                raise Unfit(
                    f"{one.share:.0%} of {one.looked:,} vectors of {one.lane.model} are unlike anything its projection "
                    "was trained on: train with pairs of these texts (`vex-adapt sample` chooses them), or --force"
                )

    def __call__(self, batch: pa.RecordBatch) -> Changed:
        """The records in the target's space, and rejects for those that cannot be brought there."""
        assert self.dim is not None, "bind comes first"  # noqa: S101 - the engine's part
        groups, rejects = self._sorted(batch, self.tally)
        matrix = records.matrix(batch.column("vector"))
        parts: list[Part] = []
        for group in groups:
            part, bad = self._through(batch, matrix, group)
            parts.append(part)
            rejects += bad
        return Changed(assembled(batch, parts, self.dim, self.model), rejects)

    def _through(self, batch: pa.RecordBatch, matrix: Matrix, group: Group) -> tuple[Part, list[Reject]]:
        """The rows of a group on their way, and rejects for vectors without a direction."""
        adapter, vectors = group.lane.adapter, group.of(matrix)
        if adapter is None:
            self.tally.add(group.lane, len(vectors))
            return Part(group.rows, vectors, None), []
        bad: list[Reject] = []
        try:
            made = adapter.matrix(vectors)
        except DataError:
            group, bad = with_direction(group, matrix)
            self._lose(bad, self.tally)
            vectors = group.of(matrix)
            made = adapter.matrix(vectors)
        self.tally.add(group.lane, len(vectors), vectors, twice(batch, group.rows))
        return Part(group.rows, made, note(group.lane.model or "", adapter)), bad

    def _sorted(self, batch: pa.RecordBatch, tally: Tally) -> tuple[list[Group], list[Reject]]:
        """The rows by the way that they go; those that are refused by their model, or have no vector, are rejects."""
        missing = np.flatnonzero(~records.present(batch.column("vector")))
        rejects = [Reject("no-vector", LOST["no-vector"], row=row) for row in missing.tolist()]
        tally.lose("no-vector", len(missing))
        groups = []
        for name, rows in by_model(batch):
            group = Group(self._lanes.of(name, records.dim(batch)), rows)
            if (refusal := group.lane.refusal) is None:
                groups.append(group)
                continue
            every = range(batch.num_rows) if rows is None else rows.tolist()
            rejects += [Reject(refusal.code, refusal.message, row=row) for row in every]
            tally.add(group.lane, len(every))
        return groups, rejects

    def _count(self, batch: pa.RecordBatch, tally: Tally) -> None:
        """Count what would be done, without doing it."""
        matrix = records.matrix(batch.column("vector"))
        for group in self._sorted(batch, tally)[0]:
            bad: list[Reject] = []
            if group.lane.adapter is not None:
                group, bad = with_direction(group, matrix)
            self._lose(bad, tally)
            vectors = group.of(matrix)
            tally.add(group.lane, len(vectors), vectors, twice(batch, group.rows))

    @staticmethod
    def _lose(bad: Sequence[Reject], tally: Tally) -> None:
        for reject in bad:
            tally.lose(reject.code, 1)

    # -- words ----------------------------------------------------------------------------------------------------

    @property
    def warnings(self) -> list[str]:
        """What is no error and yet worth knowing, after the run."""
        return [*words.rejects(self.tally), *self._doubts]

    @property
    def _doubts(self) -> list[str]:
        return list(words.warnings(self.tally, self._further))

    @property
    def told(self) -> Mapping[str, int]:
        """Rejects by code of which the warnings say why."""
        return self.tally.rejected

    def said(self) -> list[str]:
        """What was done and what it means, in a few sentences."""
        return list(words.notes(self.tally, self.model))

    @property
    def facts(self) -> Mapping[str, object]:
        """What was done, JSON-like, for the report of a run."""
        return {"projection": words.facts(self.tally, self.model, self.dim or 0)}


class Foreseen(Adapting):
    """Stands in for `Adapting` and tells what it would do; no vector is projected."""

    def __call__(self, batch: pa.RecordBatch) -> Changed:
        """The batch as it is."""
        return Changed(batch)

    def foresee(self, batch: pa.RecordBatch) -> None:
        """Count the records of a batch."""
        self._count(batch, self.tally)

    @property
    def foreseen(self) -> Mapping[str, object]:
        """The counts; see `Adapting.facts`."""
        return self.facts

    @property
    def sentences(self) -> list[str]:
        """The counts for a terminal."""
        return list(words.forecast(self.tally, self.model)) + [f"warning  {doubt}" for doubt in self._doubts]


def project_batch(batch: pa.RecordBatch, adapter: Adapter) -> pa.RecordBatch:
    """See `Projection.__call__`. A record without a vector stays as it is. Raises SchemaError for a record of another
    model or of none and for what is no batch of records, and DataError for a vector without a direction."""
    if not isinstance(batch, pa.RecordBatch) or {"vector", "model", "extra"} - set(batch.schema.names):
        raise SchemaError(
            "a projection is called with a record batch that has the columns vector, model and extra, as vexarrow.read "
            f"gives them, not with {_kind(batch)}; for vectors alone there is projection.matrix(vectors)"
        )
    strange = [name for name in names(batch) if not (name and same_model(name, adapter.source.name))]
    if strange:
        said = ", ".join(repr(name) if name else "no model" for name in strange[:3])
        raise SchemaError(f"the projection is for records of {adapter.source.name}, these name {said}")
    matrix = records.matrix(batch.column("vector"))
    groups = [Group(Lane(name, adapter.source.dim, adapter), rows) for name, rows in by_model(batch)]
    parts = [Part(one.rows, adapter.matrix(one.of(matrix)), note(one.lane.model or "", adapter)) for one in groups]
    return with_parts(batch, parts, adapter.target.dim, adapter.target.name)


def _kind(found: object) -> str:
    """What was given, in a few words."""
    names = f" of {', '.join(found.schema.names) or 'no columns'}" if isinstance(found, pa.RecordBatch) else ""
    return f"{type(found).__name__}{names}"
