"""Large files are read and written by two processes: the records, their order, their lines and the rejects stay the
same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import DEBIAN
from vexarrow.digest import ContentDigest
from vexarrow.places import resolve
from vexarrow.protocols import Description, Page, Source
from vexarrow.selection import Selection

RECORDS, TIMES = 160, 135
BAD_LINES = (9_000, 9_001, 20_000)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """112 MB with three bad lines, a blank one and a comment, deep in the file."""
    path = tmp_path_factory.mktemp("shared") / "large.vmig.jsonl"
    lines = DEBIAN.read_bytes().splitlines(keepends=True) * TIMES
    for number in BAD_LINES:
        lines[number - 1] = b'{"id":"bad"\n'
    lines[11_999], lines[12_000] = b"\n", b"# a comment\n"
    path.write_bytes(b"".join(lines))
    yield path
    path.unlink()


def pages(source: Source, rows: int, after: str | None = None) -> Iterator[Page]:
    (part,) = source.partitions(1)
    return source.extract(part, rows=rows, after=after)


def children() -> list[int]:
    """Our child processes that help with files; servers of other tests may be there, too."""
    every = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in every if "formats._" in Path(f"/proc/{pid}/cmdline").read_text()]


def facts(large: Path, rows: int = 4096, *, kill: bool = False) -> tuple[str, list[int], list[int | None]]:
    """The digest of all records, their lines, and the lines of the rejects."""
    digest = ContentDigest()
    lines: list[int] = []
    rejects: list[int | None] = []
    killed = 0
    with resolve(str(large), side="source").source(Selection()) as source:
        for page in pages(source, rows):
            if kill:
                for child in children():
                    os.kill(child, signal.SIGKILL)
                    killed += 1
            digest.update(page.batch)
            lines.extend(page.lines or ())
            rejects.extend(reject.line for reject in page.rejects)
    assert bool(killed) == kill
    return digest.hexdigest(), lines, rejects


def test_every_line_is_there_once_in_its_order_and_bad_ones_are_named(large: Path) -> None:
    digest, lines, rejects = facts(large)
    skipped = {*BAD_LINES, 12_000, 12_001}
    assert lines == [number for number in range(1, RECORDS * TIMES + 1) if number not in skipped]
    assert rejects == list(BAD_LINES)
    assert children() == []
    assert facts(large, rows=500) == (digest, lines, rejects)


def test_nothing_changes_when_the_second_process_is_killed(large: Path) -> None:
    assert facts(large, kill=True) == facts(large)


def test_reading_goes_on_after_any_page(large: Path) -> None:
    with resolve(str(large), side="source").source(Selection()) as source:
        every = list(pages(source, 4096))
        for at in (0, 3, len(every) - 2):
            rest = list(pages(source, 4096, after=every[at].cursor))
            assert [line for page in rest for line in page.lines or ()] == [
                line for page in every[at + 1 :] for line in page.lines or ()
            ]


def test_a_reader_that_stops_early_leaves_no_process(large: Path) -> None:
    with resolve(str(large), side="source").source(Selection()) as source:
        each = pages(source, 4096)
        next(each)
        each.close()  # type: ignore[attr-defined]
    assert children() == []


@pytest.mark.parametrize("kill", [False, True])
def test_a_large_file_is_written_as_a_small_one_even_when_the_second_process_is_killed(
    tmp_path: Path, kill: bool
) -> None:
    with resolve(str(DEBIAN), side="source").source(Selection()) as source:
        (page,) = pages(source, 4096)
    output, times = tmp_path / "out.vmig.jsonl", 200
    with resolve(str(output), side="sink").sink() as sink:
        sink.prepare(Description(rows=1000 * page.batch.num_rows, dim=384))
        for number in range(times):
            assert not sink.load(page.batch)
            if number == times // 2:
                time.sleep(1.5)  # the process is up by now, also on a busy machine
            if kill and number == times // 2 + 10:
                (child,) = children()
                os.kill(child, signal.SIGKILL)
        sink.finish()
    assert children() == []
    assert output.read_bytes() == DEBIAN.read_bytes() * times
