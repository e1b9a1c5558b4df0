"""A source seen through transforms: the order, the counts and the cursors of its pages, and what comes of rejects."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.pages import Batches
from vexarrow import records
from vexarrow.engine import Plan, run
from vexarrow.errors import SchemaError, TransientError, VexError
from vexarrow.location import Location
from vexarrow.places import Memory, Place
from vexarrow.preparing import outline
from vexarrow.protocols import Capabilities, Changed, Connector, Description, Page, Partition, Reject, Sink
from vexarrow.transformed import Step, Transformed


def batch(start: int, rows: int) -> pa.RecordBatch:
    ids = [str(at) for at in range(start, start + rows)]
    return records.build({"id": ids}, np.ones((rows, 2), np.float32))


def odd(given: pa.RecordBatch) -> Changed:
    """Keeps records with an odd id."""
    ids = given.column("id").to_pylist()
    rejects = [Reject("even", "no", row=row) for row, key in enumerate(ids) if int(key) % 2 == 0]
    kept = [row for row, key in enumerate(ids) if int(key) % 2]
    return Changed(given.take(pa.array(kept, pa.int64())), rejects)


def pages(source: Batches, steps: Sequence[Step], ahead: int = 1, rows: int = 10) -> list[Page]:
    seen = Transformed(source, steps, ahead)
    (part,) = seen.partitions(1)
    return list(seen.extract(part, rows=rows))


def test_rejects_come_with_their_lines_and_records_and_the_rest_keeps_its_own() -> None:
    (page,) = pages(Batches([batch(0, 5)], {0: [Reject("early", "unreadable")]}), [odd])
    assert page.batch.column("id").to_pylist() == ["1", "3"]
    assert page.lines == [2, 4]
    assert [(one.code, one.id, one.line) for one in page.rejects] == [
        ("early", None, None),
        ("even", "0", 1),
        ("even", "2", 3),
        ("even", "4", 5),
    ]
    assert all(one.record for one in page.rejects[1:])


def test_a_step_sees_what_the_one_before_it_left() -> None:
    (page,) = pages(Batches([batch(0, 6)]), [odd, odd, lambda given: given.slice(0)])
    assert page.batch.column("id").to_pylist() == ["1", "3", "5"]
    assert len(page.rejects) == 3


def test_a_step_that_loses_records_is_an_error() -> None:
    with pytest.raises(VexError, match="made 4 records of 5"):
        pages(Batches([batch(0, 5)]), [lambda given: given.slice(1)])


@pytest.mark.parametrize("ahead", [1, 3])
def test_pages_keep_their_order_and_cursors_however_many_are_on_their_way(ahead: int) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def slow(given: pa.RecordBatch) -> pa.RecordBatch:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02 if given.column("id")[0].as_py() in ("0", "40") else 0.005)
        with lock:
            inside -= 1
        return given

    source = Batches([batch(0, 100)])
    found = pages(source, [slow], ahead)
    assert [page.cursor for page in found] == [str(at) for at in range(10, 101, 10)]
    assert pa.Table.from_batches([page.batch for page in found]).column("id").to_pylist() == list(map(str, range(100)))
    assert most == ahead


def test_an_error_of_a_step_comes_after_the_pages_before_it() -> None:
    def third(given: pa.RecordBatch) -> pa.RecordBatch:
        if given.column("id")[0].as_py() == "20":
            raise TransientError("gone")
        return given

    found = Transformed(Batches([batch(0, 100)]), [third], 3).extract(Partition("1"), rows=10)
    assert [next(found).cursor, next(found).cursor] == ["10", "20"]
    with pytest.raises(TransientError, match="gone"):
        next(found)


@pytest.mark.parametrize("ahead", [1, 3])
def test_an_error_of_the_source_comes_after_the_pages_before_it(ahead: int) -> None:
    class Broken(Batches):
        def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
            for page in super().extract(part, rows=rows, after=after):
                if page.cursor == "30":
                    raise TransientError("gone")
                yield page

    found = Transformed(Broken([batch(0, 100)]), [odd], ahead).extract(Partition("1"), rows=10)
    assert [next(found).cursor, next(found).cursor] == ["10", "20"]
    with pytest.raises(TransientError, match="gone"):
        next(found)


# -- in a run ------------------------------------------------------------------------------------------------------


class Longer:
    """A transform after which all vectors have four dimensions."""

    dim = 4
    warnings = ("longer now",)

    def bind(self, plan: Description) -> Description:
        return replace(plan, dim=4)

    def __call__(self, given: pa.RecordBatch) -> pa.RecordBatch:
        column = records.from_matrix(np.ones((given.num_rows, 4), np.float32))
        changed: pa.RecordBatch = given.set_column(2, pa.field("vector", column.type), column)
        return changed


class Store:
    """A store in memory that holds vectors of one length."""

    def __init__(self, dim: int | None) -> None:
        self.dim = dim
        self.ids: list[str] = []

    def existing(self) -> Description | None:
        return None if self.dim is None else Description(dim=self.dim)

    def prepare(self, plan: Description) -> Description:
        self.dim = self.dim or plan.dim
        return Description(dim=self.dim)

    def load(self, given: pa.RecordBatch) -> Sequence[Reject]:
        assert records.dim(given) == self.dim
        self.ids += given.column("id").to_pylist()
        return []

    def finish(self) -> None:
        """Nothing is left to do."""


def place(store: Store) -> Place:
    @contextmanager
    def sink(location: Location) -> Iterator[Sink]:
        yield store

    connector = Connector("memory", "in memory", None, sink, capabilities=Capabilities(mixed_dims=False))
    return Place(Location("memory", "somewhere", store=True), connector)


@pytest.mark.parametrize("dim", [None, 4])
def test_a_store_takes_what_the_transform_makes(dim: int | None) -> None:
    store = Store(dim)
    report = run(Plan(Memory(pa.Table.from_batches([batch(0, 9)]), {}), place(store), transforms=[Longer()]))
    assert (report.counts.written, store.dim) == (9, 4)
    assert report.warnings == ["longer now"]


def test_a_store_of_another_dimension_is_refused_before_anything_is_written() -> None:
    store = Store(3)
    for act in (run, outline):
        plan = Plan(Memory(pa.Table.from_batches([batch(0, 9)]), {}), place(store), transforms=[Longer()])
        with pytest.raises(SchemaError, match="holds vectors of 3 dimensions, those to come have 4"):
            act(plan)
    assert store.ids == []


def test_records_that_a_transform_rejects_are_counted(tmp_path: object) -> None:
    class Odd(Longer):
        def __call__(self, given: pa.RecordBatch) -> Changed:
            done = odd(given)
            return Changed(super().__call__(done.batch), done.rejects)

    store = Store(None)
    plan = Plan(
        Memory(pa.Table.from_batches([batch(0, 9)]), {}),
        place(store),
        transforms=[Odd()],
        rejects_path=f"{tmp_path}/rejects.jsonl",
        drop_vectors=True,
    )
    report = run(plan)
    assert (report.counts.read, report.counts.written, report.counts.rejected) == (9, 4, 5)
    assert store.ids == ["1", "3", "5", "7"]
