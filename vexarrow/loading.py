"""Brings pages to a sink, and keeps the counts.

A sink that can begin a batch (`protocols.Beginning`) makes one ready while the one before is on its way: then one batch
is under way at any time, and its counts, rejects and progress are settled after the next one was begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from vexarrow import records, sound
from vexarrow import rejects as rejected
from vexarrow.delivery import unsent
from vexarrow.digest import ContentDigest
from vexarrow.preparing import Pace
from vexarrow.progress import Progress
from vexarrow.protocols import Beginning, Page, Reject, Sink
from vexarrow.repeats import Repeats
from vexarrow.report import Counts

if TYPE_CHECKING:
    from vexarrow.engine import Plan

MEND_DIMENSION = "project with `vex adapt`, or use --reembed"


@dataclass
class Run:
    """The state of a run while it is on its way; `counts` balance at any moment, also after a failure."""

    plan: Plan
    rejects: rejected.Rejects
    progress: Progress
    digest: ContentDigest | None = None
    counts: Counts = field(default_factory=Counts)
    partitions: dict[str, Counts] = field(default_factory=dict)
    store: str | None = None
    dim: int | None = None
    target_dim: int | None = None
    pace: Pace = field(default_factory=lambda: Pace(None))
    loaded_any: bool = False
    repeats: Repeats | None = None
    replaced: int = 0


class _Sent(NamedTuple):
    """A batch on its way: where its lines and file are, the counts of its partition, and what waits for its end."""

    batch: pa.RecordBatch
    lines: Sequence[int] | None
    file: str | None
    counts: Counts
    wait: Callable[[], Sequence[Reject]]


class Loading:
    """Takes the pages of a run. After the last one `settle` has to be called."""

    def __init__(self, state: Run, sink: Sink) -> None:
        self._state = state
        self._sink = sink
        self._begin = sink.begin if isinstance(sink, Beginning) else None
        self._sent: _Sent | None = None
        self._most = _most_rows(state.plan)

    def page(self, page: Page, counts: Counts) -> None:
        """Bring one page of the partition that `counts` is of."""
        if page.rejects:
            self.settle()  # rejects are in the order of the records
        here = Counts(read=page.skipped + len(page.rejects), skipped=page.skipped)
        self._reject(here, counts, page.rejects)
        for batch, lines in _pieces(page.batch, page.lines, self._most):
            self._piece(batch, lines, page.file, counts)

    def settle(self) -> None:
        """Wait until everything that was sent has arrived or was refused."""
        if self._sent is not None:
            sent, self._sent = self._sent, None
            self._arrived(sent, list(sent.wait()))

    def _piece(self, batch: pa.RecordBatch, lines: Sequence[int] | None, file: str | None, counts: Counts) -> None:
        state = self._state
        fitting, unfit = _fitting(state, batch)
        if unfit:
            self.settle()
            self._reject(Counts(read=len(unfit)), counts, rejected.completed(unfit, batch, lines, file))
            if fitting is None or not fitting.num_rows:
                return
            gone = {reject.row for reject in unfit}
            lines = None if lines is None else [line for row, line in enumerate(lines) if row not in gone]
            batch = fitting
        if not state.loaded_any:
            state.loaded_any = True
            state.store = batch.column("source_store")[0].as_py()
        state.pace.wait(batch.num_rows)
        if self._begin is None:
            self._arrived(_Sent(batch, lines, file, counts, list), list(self._sink.load(batch)))
            return
        sent = _Sent(batch, lines, file, counts, self._begin(batch))
        try:
            self.settle()
        finally:
            self._sent = sent

    def _arrived(self, sent: _Sent, refused: list[Reject]) -> None:
        """Count a batch of which all but the refused records were written."""
        state, batch = self._state, sent.batch
        if state.repeats is not None:
            refused += unsent(state.repeats.keys(batch), refused) if refused else []
            state.repeats.add(sound.without(batch, refused))
        if state.digest is not None:
            state.digest.update(sound.without(batch, refused))
        here = Counts(read=batch.num_rows, written=batch.num_rows - len(refused))
        self._reject(here, sent.counts, rejected.completed(refused, batch, sent.lines, sent.file) if refused else [])

    def _reject(self, here: Counts, counts: Counts, rejects: Sequence[Reject]) -> None:
        """Add to the counts of a partition and of the run together, before the limit of rejects ends the run."""
        here.rejected += len(rejects)
        counts.add(here)
        self._state.counts.add(here)
        self._state.progress.advance(here.read)
        self._state.rejects.add(rejects)


def _most_rows(plan: Plan) -> int | None:
    """Records in one load at most: what the target takes, and with a rate about a second's worth."""
    limits = [plan.target.capabilities.max_rows, None if plan.rate is None else max(1, int(plan.rate))]
    return min((limit for limit in limits if limit is not None), default=None)


def _pieces(
    batch: pa.RecordBatch, lines: Sequence[int] | None, most: int | None
) -> Iterator[tuple[pa.RecordBatch, Sequence[int] | None]]:
    step = most or max(batch.num_rows, 1)
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step), None if lines is None else lines[start : start + step]


def _fitting(state: Run, batch: pa.RecordBatch) -> tuple[pa.RecordBatch | None, list[Reject]]:
    """The records that the target can hold by its capabilities, and rejects for the others."""
    target, dim = state.plan.target, records.dim(batch)
    if not target.capabilities.mixed_dims and state.target_dim and dim not in (0, state.target_dim):
        message = f"the vector has {dim} dimensions, {target} holds {state.target_dim}; {MEND_DIMENSION}"
        return None, [Reject("dimension", message, row=row) for row in range(batch.num_rows)]
    unfit = sound.unsound(batch)
    if not target.capabilities.null_vectors and batch.column("vector").null_count:
        known = {reject.row for reject in unfit}
        missing = set((~records.present(batch.column("vector"))).nonzero()[0].tolist()) - known
        unfit += [Reject("no-vector", f"{target} holds no record without a vector", row=row) for row in sorted(missing)]
    return sound.without(batch, unfit), unfit
