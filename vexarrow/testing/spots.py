"""Where contract tests write and read, and the few verbs that they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pyarrow as pa

from vexarrow import records
from vexarrow.engine import Plan, run
from vexarrow.location import Location
from vexarrow.places import SINK, SOURCE, Place, resolve
from vexarrow.protocols import Connector, Description, Page, Partition, Source
from vexarrow.report import Report
from vexarrow.selection import Selection

EVERYTHING = Selection()


@dataclass(frozen=True)
class Spot:
    """A place where nothing is yet, as a user would name it: `text` with the options of each side.

    `format` names the format where `text` does not tell.
    """

    text: str
    source_options: Mapping[str, str] = field(default_factory=dict)
    target_options: Mapping[str, str] = field(default_factory=dict)
    format: str | None = None

    def source(self) -> Place:
        """The place, to be read."""
        return resolve(self.text, self.source_options, side=SOURCE, format=self.format)

    def target(self, *, overwrite: bool = False) -> Place:
        """The place, to be written."""
        return resolve(self.text, self.target_options, side=SINK, format=self.format, overwrite=overwrite)


def plan_of(batches: Sequence[pa.RecordBatch]) -> Description:
    """What a source of these batches says of itself."""
    dims = [records.dim(batch) for batch in batches if records.dim(batch)]
    kind = records.id_type(batches[0].schema) if batches else "string"
    return Description(dim=dims[0] if dims else None, rows=sum(map(len, batches)), id_type=kind)


def write(
    spot: Spot, batches: pa.RecordBatch | Sequence[pa.RecordBatch], *, overwrite: bool = False
) -> list[tuple[str, str | None]]:
    """Load the batches in one go and finish; returns code and id of what was rejected."""
    if isinstance(batches, pa.RecordBatch):
        batches = [batches]
    place = spot.target(overwrite=overwrite)
    refused = []
    with place.sink() as sink:
        sink.prepare(plan_of(batches))
        for piece in loads(batches, place.capabilities.max_rows):
            ids = piece.column("id").to_pylist()
            for reject in sink.load(piece):
                assert reject.row is not None or reject.id is not None, f"{reject} does not say which record it is"
                refused.append((reject.code, ids[reject.row] if reject.row is not None else reject.id))
        sink.finish()
    return refused


class Interrupted(Exception):
    """Something that goes wrong in the middle of a run."""


def interrupted(spot: Spot, batch: pa.RecordBatch, *, overwrite: bool = False) -> None:
    """Load a batch, then fail before the end, and swallow nothing but that failure."""
    with suppress(Interrupted), spot.target(overwrite=overwrite).sink() as sink:
        sink.prepare(plan_of([batch]))
        sink.load(batch)
        raise Interrupted


def loads(batches: Sequence[pa.RecordBatch], most: int | None) -> Iterator[pa.RecordBatch]:
    """The batches in slices of at most `most` rows; None means that there is no limit."""
    for batch in batches:
        step = most or max(batch.num_rows, 1)
        yield from (batch.slice(at, step) for at in range(0, batch.num_rows, step))


def pages(
    source: Source, part: Partition, rows: int = 1000, after: str | None = None, *, readable: bool = True
) -> list[Page]:
    """The pages of a partition, each checked to be canonical and of at most `rows` records.

    `readable`: there must be no rejects.
    """
    found = []
    for page in source.extract(part, rows=rows, after=after):
        batch = page.batch
        more = [batch.schema.field(at) for at in range(len(records.BASE_FIELDS) + 1, len(batch.schema))]
        canonical = records.schema(records.dim(batch), id_type=records.id_type(batch.schema), more=more)
        assert batch.schema.names == canonical.names
        assert batch.schema.types == canonical.types
        assert batch.num_rows <= rows
        assert page.lines is None or len(page.lines) == batch.num_rows
        assert not (readable and page.rejects), page.rejects
        batch.validate(full=True)
        found.append(page)
    return found


def read(spot: Spot, *, rows: int = 1000, wanted: int = 1, selection: Selection = EVERYTHING) -> list[pa.RecordBatch]:
    """All batches of all partitions, just as the source gives them."""
    with spot.source().source(selection) as source:
        return [page.batch for part in source.partitions(wanted) for page in pages(source, part, rows)]


def copied(batches: Sequence[pa.RecordBatch], spot: Spot, rejects: str) -> Report:
    """A run of the engine from memory to the spot: what the target cannot hold is rejected, all else is written."""
    memory = Connector("samples", "batches in memory", source=lambda *_: _memory(batches), sink=None)
    place = Place(Location("samples", store=True), memory)
    return run(Plan(place, spot.target(), rejects_path=rejects))


@contextmanager
def _memory(batches: Sequence[pa.RecordBatch]) -> Iterator[Source]:
    yield Memory(batches)


class Memory:
    """Batches as a source, a page for each batch."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self._batches = batches

    def describe(self) -> Description:
        """Dimension and kind of ids of the first batches, and the number of records."""
        return plan_of(self._batches)

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """One."""
        return [Partition("all", sum(map(len, self._batches)))]

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """Every batch in pages of at most `rows` records."""
        numbered = enumerate(loads(self._batches, rows))
        start = 0 if after is None else int(after)
        yield from (Page(piece, str(at + 1), lines=None) for at, piece in numbered if at >= start)
