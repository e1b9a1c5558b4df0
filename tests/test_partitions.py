"""Partitions that are read side by side by the engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

import vexarrow
from vexarrow.engine import Plan, run
from vexarrow.errors import DataError
from vexarrow.location import Location
from vexarrow.places import SINK, Place, resolve
from vexarrow.protocols import Capabilities, Connector, Description, Page, Partition, Source
from vexarrow.readahead import read_ahead
from vexarrow.selection import Selection
from vexarrow.testing import samples

PARTS, PAGES, ROWS = 6, 3, 10


class Parted:
    """Six partitions of three pages; three of them have to be read at once, or reading never goes on."""

    def __init__(self, *, broken: int | None = None, meet: bool = True) -> None:
        self._broken = broken
        self._met = threading.Barrier(3, timeout=20) if meet else None
        self._batch = samples.many(PARTS * PAGES * ROWS)

    def describe(self) -> Description:
        return Description(dim=8)

    def partitions(self, wanted: int) -> Sequence[Partition]:
        return [Partition(str(number)) for number in range(PARTS)]

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        number = int(part.key)
        if self._met is not None and number < 3:
            self._met.wait()
        for page in range(PAGES):
            if number == self._broken and page == 1:
                raise DataError("it broke")
            yield Page(self._batch.slice((number * PAGES + page) * ROWS, ROWS), str(page))


def place(source: Parted, parallel: int = 3, options: dict[str, str] | None = None) -> Place:
    @contextmanager
    def opened(location: Location, selection: Selection) -> Iterator[Source]:
        yield source

    connector = Connector("parted", "", opened, None, capabilities=Capabilities(parallel=parallel))
    return Place(Location("parted", options=options or {}, store=True), connector)


def ids(path: Path) -> list[str]:
    table = pa.Table.from_batches(list(vexarrow.read(str(path))))
    return [str(one) for one in table.column("id").to_pylist()]


def test_partitions_are_read_at_once_and_every_record_arrives(tmp_path: Path) -> None:
    target = tmp_path / "out.vmig.jsonl"
    report = run(Plan(place(Parted()), resolve(str(target), side=SINK)))
    every = samples.many(PARTS * PAGES * ROWS).column("id").to_pylist()
    assert sorted(ids(target)) == sorted(every)
    assert {key: counts.read for key, counts in report.partitions.items()} == {
        str(number): PAGES * ROWS for number in range(PARTS)
    }


@pytest.mark.parametrize("options", [None, {"concurrency": "1"}])
def test_one_reader_keeps_the_order(tmp_path: Path, options: dict[str, str] | None) -> None:
    target = tmp_path / "out.vmig.jsonl"
    parallel = 1 if options is None else 3
    run(Plan(place(Parted(meet=False), parallel, options), resolve(str(target), side=SINK)))
    assert ids(target) == samples.many(PARTS * PAGES * ROWS).column("id").to_pylist()


def test_a_limit_is_kept_over_all_partitions(tmp_path: Path) -> None:
    target = tmp_path / "out.vmig.jsonl"
    source = place(Parted(meet=False))
    report = run(Plan(source, resolve(str(target), side=SINK), Selection(limit=35)))
    assert report.counts.written == 35
    assert ids(target) == samples.many(35).column("id").to_pylist()


def test_a_partition_that_breaks_fails_the_run_and_publishes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out.vmig.jsonl"
    with pytest.raises(DataError, match="it broke"):
        run(Plan(place(Parted(broken=1)), resolve(str(target), side=SINK)))
    assert not target.exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vex-reader")]


def test_a_reader_that_is_left_early_closes_its_generators() -> None:
    closed = threading.Event()

    def endless() -> Iterator[Page]:
        try:
            while True:
                yield Page(samples.many(10), "0")
        finally:
            closed.set()

    with read_ahead([endless, endless], 2) as pages:
        next(pages)
    assert closed.wait(5)
