"""Batches that are begun while the one before is on its way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from vexarrow.engine import Plan, run
from vexarrow.errors import DataError, TooManyRejects, VexError
from vexarrow.location import Location
from vexarrow.patience import Requests
from vexarrow.places import Memory, Place
from vexarrow.protocols import Capabilities, Connector, Description, Reject, Sink
from vexarrow.testing import samples

ROWS, PAGES = 5, 4


class Slow:
    """Takes batches in a thread, and each has to wait until the next one was begun: the last one until `finish`.

    `refuses`: the first record of every batch. `fails`: the batch that cannot be written.
    """

    def __init__(self, *, refuses: bool = False, fails: int | None = None) -> None:
        self.begun: list[pa.RecordBatch] = []
        self.written: list[str] = []
        self.waited = 0
        self.most_open = 0
        self._refuses, self._fails = refuses, fails
        self._requests = Requests()
        self._next = [threading.Event() for _ in range(PAGES + 1)]

    def prepare(self, plan: Description) -> Description:
        return plan

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        raise AssertionError("a batch is begun")

    def begin(self, batch: pa.RecordBatch) -> Callable[[], Sequence[Reject]]:
        number = len(self.begun)
        self.begun.append(batch)
        self.most_open = max(self.most_open, len(self.begun) - self.waited)
        self._next[number].set()
        if number == PAGES - 1:
            self._next[PAGES].set()
        wait = self._requests.in_turn(lambda: self._write(number, batch))

        def waited() -> list[Reject]:
            self.waited += 1
            return wait()

        return waited

    def _write(self, number: int, batch: pa.RecordBatch) -> list[Reject]:
        assert self._next[number + 1].wait(20), "the next batch was not begun meanwhile"
        if number == self._fails:
            raise DataError("the disk is full")
        names = [str(one) for one in batch.column("id").to_pylist()]
        self.written += names[1:] if self._refuses else names
        return [Reject("refused", "no", row=0)] if self._refuses else []

    def finish(self) -> None:
        assert self.waited == len(self.begun)

    def close(self) -> None:
        for one in self._next:
            one.set()
        self._requests.close()


def place(sink: Slow) -> Place:
    @contextmanager
    def opened(location: Location) -> Iterator[Sink]:
        try:
            yield sink
        finally:
            sink.close()

    connector = Connector("slow", "", None, opened, capabilities=Capabilities())
    return Place(Location("slow", target="slow", store=True), connector)


def moved(folder: Path, sink: Slow, *, most_rejects: int | None = None) -> Plan:
    """A run of pages of records in memory to a sink."""
    rejects = str(folder / "rejects.jsonl")
    batch = samples.many(ROWS * PAGES)
    return Plan(Memory(batch, {}), place(sink), rows=ROWS, rejects_path=rejects, most_rejects=most_rejects)


def rejected(folder: Path) -> list[str]:
    return [orjson.loads(line)["id"] for line in (folder / "rejects.jsonl").read_bytes().splitlines()]


IDS: list[str] = samples.many(ROWS * PAGES).column("id").to_pylist()


def test_a_batch_is_begun_while_the_one_before_is_written_and_never_a_third(tmp_path: Path) -> None:
    sink = Slow()
    report = run(moved(tmp_path, sink))
    assert sink.written == IDS
    assert sink.most_open == 2
    assert (report.counts.read, report.counts.written) == (ROWS * PAGES, ROWS * PAGES)


def test_what_is_refused_later_is_counted_and_written_down_in_order(tmp_path: Path) -> None:
    sink = Slow(refuses=True)
    report = run(moved(tmp_path, sink))
    assert (report.counts.written, report.counts.rejected) == ((ROWS - 1) * PAGES, PAGES)
    assert rejected(tmp_path) == IDS[::ROWS]
    assert sink.written == [one for at, one in enumerate(IDS) if at % ROWS]


def test_rejects_of_two_kinds_keep_the_order_of_the_records(tmp_path: Path) -> None:
    sink = Slow(refuses=True)
    for number in range(PAGES + 1):
        sink._next[number].set()  # the third batch settles the second before it is begun
    batch = samples.many(ROWS * PAGES)
    scores = pa.array([float("nan") if row == 2 * ROWS + 3 else None for row in range(ROWS * PAGES)], pa.float64())
    batch = batch.set_column(batch.schema.get_field_index("score"), batch.schema.field("score"), scores)
    plan = Plan(Memory(batch, {}), place(sink), rows=ROWS, rejects_path=str(tmp_path / "rejects.jsonl"))
    report = run(plan)
    assert report.counts.rejected == PAGES + 1
    # The unsound record of the third page is found before its page is sent, and after the second page has arrived.
    assert rejected(tmp_path) == [IDS[0], IDS[ROWS], IDS[2 * ROWS + 3], IDS[2 * ROWS], IDS[3 * ROWS]]


def test_after_a_batch_that_failed_none_is_written_and_the_first_error_is_raised(tmp_path: Path) -> None:
    sink = Slow(fails=1)
    with pytest.raises(DataError, match="the disk is full"):
        run(moved(tmp_path, sink))
    assert sink.written == IDS[:ROWS]
    assert len(sink.begun) == 3


def test_a_run_that_ends_for_too_many_rejects_waits_for_what_is_on_its_way(tmp_path: Path) -> None:
    sink = Slow(refuses=True)
    sink._next[3].set()  # the second batch needs no fourth
    with pytest.raises(TooManyRejects, match="reject 2"):
        run(moved(tmp_path, sink, most_rejects=2))
    assert sink.waited == len(sink.begun)
    assert rejected(tmp_path) == IDS[: sink.waited * ROWS : ROWS]


def test_jobs_run_in_turn_and_none_after_one_that_failed() -> None:
    requests, done, go = Requests(), [], threading.Event()

    def job(number: int) -> int:
        assert go.wait(20)
        if number == 2:
            raise DataError("no")
        done.append(number)
        return number

    waits = [requests.in_turn(lambda number=number: job(number)) for number in range(4)]  # type: ignore[misc]
    go.set()
    assert [wait() for wait in waits[:2]] == [0, 1]
    with pytest.raises(DataError, match="no"):
        waits[2]()
    with pytest.raises(VexError, match="given up"):
        waits[3]()
    assert done == [0, 1]
    requests.close()
    with pytest.raises(VexError, match="given up"):
        requests.in_turn(lambda: 5)


def test_a_job_that_has_not_begun_when_all_is_closed_ends_with_an_error() -> None:
    requests, begun, go = Requests(), threading.Event(), threading.Event()

    def first() -> int:
        begun.set()
        assert go.wait(20)
        return 1

    waits = [requests.in_turn(first), requests.in_turn(lambda: 2)]
    assert begun.wait(20)
    closing = threading.Thread(target=requests.close)
    closing.start()
    while not requests._closed.is_set():
        pass
    go.set()
    closing.join(20)
    assert waits[0]() == 1
    with pytest.raises(VexError, match="given up"):
        waits[1]()
