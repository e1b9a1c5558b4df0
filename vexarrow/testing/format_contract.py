"""What formats promise on top: files appear whole or not at all, and are never replaced unasked."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from vexarrow import plugins
from vexarrow.errors import DataError, UsageError
from vexarrow.protocols import Format
from vexarrow.selection import Selection
from vexarrow.testing import samples
from vexarrow.testing.contract import Contract
from vexarrow.testing.facts import Fact, facts
from vexarrow.testing.spots import Spot, interrupted, plan_of, write


class FormatContract(Contract):
    """The suite for a format; `place` names a file or directory below `folder` that is not there yet.

    `verbatim`: JSON comes back letter by letter. `ordered`: records come back in the order in which they were written.
    """

    verbatim: ClassVar[bool] = True
    ordered: ClassVar[bool] = True

    def test_its_suffixes_lead_back_to_it(self, plugin: Format) -> None:
        for suffix in plugin.suffixes:
            for packed in ("", *plugin.compressions):
                assert plugins.format_of(f"some/file{suffix}{packed}") is plugin

    def test_nothing_has_the_final_name_before_the_end(self, spot: Spot, tmp_path: Path) -> None:
        with spot.target().sink() as sink:
            sample = self.fit(samples.many(50))
            sink.prepare(plan_of([sample]))
            sink.load(sample)
            assert visible(tmp_path) == []
            sink.finish()
        assert visible(tmp_path) == contents(tmp_path) != []

    def test_nothing_is_left_after_an_exception(self, spot: Spot, tmp_path: Path) -> None:
        interrupted(spot, self.fit(samples.many(500)))
        assert sorted(tmp_path.rglob("*")) == []

    def test_nothing_is_left_when_nobody_finished(self, spot: Spot, tmp_path: Path) -> None:
        with spot.target().sink() as sink:
            sink.prepare(plan_of([]))
        assert sorted(tmp_path.rglob("*")) == []

    def test_an_existing_output_is_refused_and_stays(self, spot: Spot, hundred: list[Fact]) -> None:
        with pytest.raises(UsageError, match="--overwrite"):
            write(spot, self.fit(samples.one()))
        assert self.found(spot) == hundred

    def test_overwriting_replaces_all_that_was_there(self, spot: Spot, hundred: list[Fact]) -> None:
        sample = self.fit(samples.one())
        write(spot, sample, overwrite=True)
        assert self.found(spot) == self.expected(sample)

    def test_overwriting_that_fails_leaves_what_was_there(
        self, spot: Spot, hundred: list[Fact], tmp_path: Path
    ) -> None:
        before = sorted(tmp_path.rglob("*"))
        interrupted(spot, self.fit(samples.many(500)), overwrite=True)
        assert sorted(tmp_path.rglob("*")) == before
        assert self.found(spot) == hundred

    def test_an_id_that_occurs_twice_stays_twice(self, spot: Spot) -> None:
        sample = self.fit(samples.many(3))
        write(spot, [sample, sample])
        assert self.found(spot) == self.expected(sample, sample)

    @pytest.mark.skipif(sys.platform != "linux", reason="counts what the kernel read")
    def test_describing_reads_a_small_part_of_the_file(self, spot: Spot, tmp_path: Path) -> None:
        write(spot, self.fit(samples.many(1000, dim=256)))
        size = sum(file.stat().st_size for file in contents(tmp_path))
        with spot.source().source(Selection()) as source:
            start = bytes_read()
            assert source.describe().size == size
            assert bytes_read() - start < size / 4

    def test_a_file_that_is_cut_off_is_an_error_and_invents_nothing(self, spot: Spot, tmp_path: Path) -> None:
        sample = self.fit(samples.many(300))
        write(spot, sample)
        for file in contents(tmp_path):
            os.truncate(file, file.stat().st_size // 2)
        seen: list[Fact] = []
        complaints: list[object] = []
        try:
            with spot.source().source(Selection()) as source:
                for page in (page for part in source.partitions(1) for page in source.extract(part, rows=50)):
                    seen += facts(page.batch, verbatim=self.verbatim)
                    complaints += page.rejects
        except DataError as error:
            complaints.append(error)
        assert complaints
        assert set(seen) < set(self.expected(sample))


def contents(folder: Path) -> list[Path]:
    """All files in a folder, in depth."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def visible(folder: Path) -> list[Path]:
    """The files that a reader of the folder takes for data: nothing on their way has a name that starts with a dot."""
    return [path for path in contents(folder) if not any(part[0] in "._" for part in path.relative_to(folder).parts)]


def bytes_read() -> int:
    """Bytes that this process has read so far, by the kernel's count."""
    return int(Path("/proc/self/io").read_text().split()[1])
