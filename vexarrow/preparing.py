"""What is decided and checked before the first record is written."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from vexarrow.errors import NotFound, SchemaError, Unsupported
from vexarrow.metrics import metric
from vexarrow.places import Memory
from vexarrow.protocols import Connector, Description, Foreseeing, Looking, Page, Sink, Source, Target
from vexarrow.selected import Selected

if TYPE_CHECKING:
    import pyarrow as pa

    from vexarrow.engine import Plan


# What transforms may look at before anything is decided: records of each of some partitions, in so many pages at most.
LOOK_PARTITIONS, LOOK_ROWS, LOOK_PAGES = 4, 512, 8


def show_first(plan: Plan, source: Source) -> None:
    """Show the transforms that want it the first records of some partitions, where the source can be read again."""
    looking = [one for one in plan.transforms if isinstance(one, Looking)]
    if not looking or isinstance(plan.source, Memory) or plan.source.is_stream:
        return
    wanted = Selected(source, plan.selection)
    for part in wanted.partitions(LOOK_PARTITIONS)[:LOOK_PARTITIONS]:
        for batch in _first(wanted.extract(part, rows=LOOK_ROWS)):
            for one in looking:
                one.look(batch)


def _first(pages: Iterator[Page]) -> Iterator[pa.RecordBatch]:
    left = LOOK_ROWS
    with closing(pages):  # type: ignore[type-var]  # a generator
        for page in islice(pages, LOOK_PAGES):
            yield page.batch
            left -= page.batch.num_rows
            if left <= 0:
                return


def intended(plan: Plan, source: Source) -> Description:
    """What the source is after the transforms of a plan, with what the plan says instead of the source. Raises what a
    transform raises that cannot work on it."""
    described = source.describe()
    for transform in plan.transforms:
        described = transform.bind(described)
    if plan.drop_vectors:
        described = replace(described, vectors={})
    return replace(described, metric=plan.metric) if plan.metric else described


def check_target(plan: Plan, described: Description, sink: Sink) -> Description | None:
    """What the target is, None when it has to be created or does not say. Raises NotFound when it is missing and must
    not be created, SchemaError when its metric is another one, or its dimension not that of all vectors to come, and
    Unsupported when it cannot hold the further vectors."""
    _check_further(plan, described)
    found = sink.existing() if isinstance(sink, Target) else None
    if found is None:
        if isinstance(sink, Target) and not plan.create:
            raise NotFound(f"{plan.target} is not there, and --no-create forbids to create it")
        return None
    ours, theirs = metric(described.metric), metric(found.metric)
    if ours and theirs and ours != theirs and not plan.any_metric:
        raise SchemaError(
            f"{plan.target} has the metric {theirs}, the records come from {ours}: neighbours would change; "
            "--allow-metric-change loads them all the same"
        )
    _check_dimension(plan, found)
    return found


def _check_further(plan: Plan, described: Description) -> None:
    """Refuse further vectors of a kind that a store has no place for, before it is made for nothing."""
    if not isinstance(plan.target.plugin, Connector):
        return
    able = plan.target.capabilities.further
    names = [name for name in described.vectors if name.partition(":")[0] not in able]
    if names:
        held = f"of further vectors only {', '.join(sorted(able))}" if able else "one vector a record"
        raise Unsupported(f"{plan.target} holds {held} and no {', '.join(names)}; --drop-vectors leaves these out")


def _check_dimension(plan: Plan, found: Description) -> None:
    """Refuse a target of another dimension when a transform makes all vectors of one that does not fit."""
    dims = [dim for transform in plan.transforms if (dim := getattr(transform, "dim", None))]
    if dims and found.dim and found.dim != dims[-1] and not plan.target.capabilities.mixed_dims:
        raise SchemaError(f"{plan.target} holds vectors of {found.dim} dimensions, those to come have {dims[-1]}")


@dataclass(frozen=True)
class Outline:
    """What a run would do. `existing` is None for a target that would be created or that is a file; `foreseen` is what
    transforms would do, and `sentences` the same for a terminal."""

    source: str
    target: str
    described: Description
    existing: Description | None
    store: bool
    encodings: Sequence[str]
    foreseen: Mapping[str, object] = field(default_factory=dict)
    sentences: Sequence[str] = ()

    def to_json(self) -> dict[str, object]:
        """As one JSON object."""
        return {
            "dry_run": True,
            "source": self.source,
            "target": self.target,
            "records": self.described.rows,
            "dimension": self.described.dim,
            "metric": self.described.metric,
            "model": self.described.model,
            "further_vectors": dict(self.described.vectors),
            "target_exists": self.existing is not None,
            "target_dimension": self.existing.dim if self.existing else None,
            "target_metric": self.existing.metric if self.existing else None,
            "target_records": self.existing.rows if self.existing else None,
            "encodings": list(self.encodings),
            **self.foreseen,
        }

    def render(self) -> str:
        """For a terminal."""
        one = self.described
        lines = [
            f"source   {self.source}",
            f"         {_number(one.rows)} records, {_number(one.dim)} dimensions, metric {one.metric or 'not known'}",
            f"target   {self.target}",
            f"         {self._target()}",
        ]
        lines += self.sentences
        lines += [f"kept as  {sentence}" for sentence in self.encodings]
        return "\n".join([*lines, "nothing was written (--dry-run)"])

    def _target(self) -> str:
        if self.existing is None:
            made = f"{_number(self.described.dim)} dimensions, metric {self.described.metric or 'cosine'}"
            return f"would be created: {made}" if self.store else "would be written"
        one = self.existing
        return (
            f"is there: {_number(one.rows)} records, {_number(one.dim)} dimensions, metric {one.metric or 'not known'}"
        )


def outline(plan: Plan) -> Outline:
    """What a plan would do, without writing anything. Raises what the run would raise before its first record."""
    with plan.source.source(plan.selection) as source:
        show_first(plan, source)
        described = intended(plan, source)
        foreseeing = _foreseen(plan, source)
    existing = None
    plugin = plan.target.plugin
    if isinstance(plugin, Connector):
        with plan.target.sink() as sink:
            existing = check_target(plan, described, sink)
    return Outline(
        source=str(plan.source),
        target=str(plan.target),
        described=described,
        existing=existing,
        store=isinstance(plugin, Connector),
        encodings=plugin.encodings if isinstance(plugin, Connector) else (),
        foreseen={key: value for one in foreseeing for key, value in one.foreseen.items()},
        sentences=[sentence for one in foreseeing for sentence in one.sentences],
    )


def _foreseen(plan: Plan, source: Source) -> Sequence[Foreseeing]:
    """The transforms that can tell what they would do, having seen all wanted records of the source."""
    every = [one for one in plan.transforms if isinstance(one, Foreseeing)]
    if every:
        wanted = Selected(source, plan.selection)
        pages = (page for part in wanted.partitions(1) for page in wanted.extract(part, rows=plan.rows or 1024))
        for page in pages:
            for one in every:
                one.foresee(page.batch)
    return every


def _number(value: int | None) -> str:
    return "an unknown number of" if value is None else f"{value:,}"


class Pace:
    """Holds records back so that there are at most `rate` a second, None for no limit."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._free_at = 0.0
        self._lock = threading.Lock()

    def wait(self, records: int) -> None:
        """Wait until so many more may be sent."""
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._free_at)
            self._free_at = start + records / self._rate
        if start > now:
            time.sleep(start - now)
