"""What formats and connectors promise alike."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from vexarrow import plugins, records
from vexarrow.digest import ContentDigest
from vexarrow.errors import NotFound, Unsupported
from vexarrow.protocols import Capabilities, Connector, Format, Page, Partition, Source
from vexarrow.selected import Selected
from vexarrow.selection import Selection
from vexarrow.testing import samples
from vexarrow.testing.facts import Fact, facts
from vexarrow.testing.imports import foreign_imports
from vexarrow.testing.spots import Spot, copied, pages, plan_of, read, write

SELECTIONS: Mapping[str, tuple[tuple[str | None, ...] | None, str | None]] = {
    "one namespace": (("a",), None),
    "no namespace": ((None,), None),
    "the empty namespace": (("",), None),
    "several namespaces": (("b", None, "none has this"), None),
    "a namespace that is not there": (("'",), None),
    "columns": (None, "id > 'id-0000050' and text like '%record 9%'"),
    "metadata": (None, "metadata->>'n' >= 95 and metadata->>'kind' <> 'odd'"),
    "dims": (None, "dims = 8 and namespace in ('a', 'c')"),
    "both": (("a", ""), "metadata->>'n' < 20"),
}


class Contract:
    """A subclass says where a fresh target is (`place`); the rest follows from the plugin's capabilities.

    `verbatim`: JSON comes back letter by letter, and source_store and vex_version as they were. `ordered`: records
    come back in the order in which they were written.
    """

    verbatim: ClassVar[bool]
    ordered: ClassVar[bool]

    def place(self, folder: Path) -> Spot:
        """A place that does not exist yet, or an empty one of the store; `folder` is an empty directory for files."""
        raise NotImplementedError

    def fit(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """What of a sample this very target can hold, e.g. with integer ids; all of it unless this is overridden."""
        return batch

    @pytest.fixture
    def spot(self, tmp_path: Path) -> Spot:
        """A fresh target."""
        return self.place(tmp_path)

    @pytest.fixture
    def plugin(self, spot: Spot) -> Connector | Format:
        """The plugin that the target means."""
        return spot.target().plugin

    @pytest.fixture
    def capabilities(self, plugin: Connector | Format) -> Capabilities:
        """What it declares."""
        return plugin.capabilities

    @pytest.fixture
    def hundred(self, spot: Spot) -> list[Fact]:
        """A hundred records that are in the target."""
        sample = self.fit(samples.many(100))
        assert write(spot, sample) == []
        return self.expected(sample)

    def expected(self, *batches: pa.RecordBatch) -> list[Fact]:
        """The records as the target must give them back."""
        return self.comparable(facts(batches, verbatim=self.verbatim))

    def found(self, spot: Spot, **how: Any) -> list[Fact]:
        """The records that the target gives back; `how` goes to `read`."""
        return self.comparable(facts(read(spot, **how), verbatim=self.verbatim))

    def comparable(self, found: list[Fact]) -> list[Fact]:
        """Sorted where order means nothing."""
        return found if self.ordered else in_any_order(found)

    # -- the plugin itself ----------------------------------------------------------------------------------------

    def test_the_registry_knows_it_by_its_name(self, plugin: Connector | Format) -> None:
        known = plugins.formats() if isinstance(plugin, Format) else plugins.connectors()
        assert known[plugin.name] is plugin

    def test_its_capabilities_say_whether_it_reads_and_writes(self, plugin: Connector | Format) -> None:
        reads, writes = sides(plugin)
        assert (plugin.capabilities.source, plugin.capabilities.sink) == (reads, writes)

    def test_importing_its_module_imports_no_client_library(self, plugin: Connector | Format) -> None:
        assert foreign_imports(plugin) == set()

    # -- round trips ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("name", samples.EVERY)
    def test_records_come_back_bit_by_bit_and_so_does_their_content_digest(self, spot: Spot, name: str) -> None:
        sample = self.fit(samples.EVERY[name]())
        assert write(spot, sample) == []
        found = read(spot, rows=2)
        assert self.comparable(facts(found, verbatim=self.verbatim)) == self.expected(sample)
        assert digest(found) == digest([sample])

    @pytest.mark.parametrize("name", samples.HARD)
    def test_what_cannot_be_held_is_rejected_and_all_else_is_kept(self, spot: Spot, name: str) -> None:
        sample = self.fit(samples.HARD[name]())
        refused = {identity for _, identity in write(spot, sample)}
        kept = [at for at, identity in enumerate(sample.column("id").to_pylist()) if identity not in refused]
        assert len(kept) + len(refused) == sample.num_rows
        assert self.found(spot) == self.expected(sample.take(pa.array(kept)))

    def test_slices_of_a_batch_are_written_as_what_they_are(self, spot: Spot) -> None:
        whole = self.fit(samples.many(20))
        parts = [whole.slice(3, 5), whole.slice(8, 0), whole.slice(8, 12)]
        write(spot, parts)
        assert self.found(spot) == self.expected(*parts)

    def test_further_vectors_are_held_or_refused_but_never_dropped(self, spot: Spot) -> None:
        sample = self.fit(samples.further_vectors())
        try:
            refused = write(spot, sample)
        except Unsupported:
            return
        if refused:
            assert len(refused) == sample.num_rows
        else:
            assert self.found(spot) == self.expected(sample)

    def test_records_without_vectors_are_held_or_rejected_as_declared(
        self, spot: Spot, capabilities: Capabilities, tmp_path: Path
    ) -> None:
        sample = self.fit(samples.some_vectors())
        report = copied([sample], spot, str(tmp_path / "rejects"))
        if capabilities.null_vectors:
            assert (report.counts.written, report.codes) == (6, {})
            assert self.found(spot) == self.expected(sample)
        else:
            assert (report.counts.written, report.codes) == (3, {"no-vector": 3})
            assert self.found(spot) == self.expected(sample.take([1, 3, 5]))

    def test_no_record_at_all_needs_a_vector_where_none_does(self, spot: Spot, capabilities: Capabilities) -> None:
        sample = self.fit(samples.without_vectors())
        if capabilities.null_vectors:
            assert write(spot, sample) == []
            assert self.found(spot) == self.expected(sample)
        else:
            assert len(write(spot, sample)) == sample.num_rows

    def test_dimensions_are_mixed_or_rejected_as_declared(
        self, spot: Spot, capabilities: Capabilities, tmp_path: Path
    ) -> None:
        mixed = [self.fit(batch) for batch in samples.mixed_dims()]
        report = copied(mixed, spot, str(tmp_path / "rejects"))
        five = 0 if capabilities.mixed_dims else 2
        bare = 0 if capabilities.null_vectors else 1
        assert report.counts.written == 8 - five - bare
        assert report.codes == {code: n for code, n in (("dimension", five), ("no-vector", bare)) if n}
        kept = [batch for at, batch in enumerate(mixed) if (at != 1 or not five) and (at != 2 or not bare)]
        assert in_any_order(self.found(spot)) == in_any_order(self.expected(*kept))

    # -- pages and partitions -------------------------------------------------------------------------------------

    def test_no_records_are_written_and_read_as_none(self, spot: Spot) -> None:
        assert write(spot, []) == []
        assert self.found(spot) == []

    def test_many_loads_and_many_pages_hold_every_record(self, spot: Spot) -> None:
        batches = [self.fit(samples.many(2000)).slice(at, 700) for at in range(0, 2000, 700)]
        assert write(spot, batches) == []
        assert self.found(spot, rows=999) == self.expected(*batches)

    @pytest.mark.parametrize("rows", [1, 5, 100])
    def test_reading_goes_on_right_after_any_cursor_or_is_refused(
        self, spot: Spot, capabilities: Capabilities, rows: int
    ) -> None:
        sample = self.fit(samples.many(12))
        write(spot, sample)
        with spot.source().source(Selection()) as source:
            parts = source.partitions(1)
            if capabilities.resumable:
                found = [page.batch for part in parts for page in resumed_everywhere(source, part, rows)]
                assert self.comparable(facts(found, verbatim=self.verbatim)) == self.expected(sample)
            else:
                cursor = pages(source, parts[0], rows)[0].cursor
                with pytest.raises(Unsupported):
                    pages(source, parts[0], rows, cursor)

    @pytest.mark.parametrize("wanted", [1, 4])
    def test_reading_goes_on_between_dimensions_and_in_partitions(
        self, spot: Spot, capabilities: Capabilities, wanted: int
    ) -> None:
        mixed = capabilities.mixed_dims and capabilities.null_vectors
        batches = [self.fit(batch) for batch in samples.mixed_dims()]
        write(spot, batches if mixed else batches[:1])
        with spot.source().source(Selection()) as source:
            for part in source.partitions(wanted) if capabilities.resumable else ():
                resumed_everywhere(source, part, 4)

    @pytest.mark.parametrize("wanted", [1, 4])
    def test_partitions_hold_every_record_exactly_once(self, spot: Spot, hundred: list[Fact], wanted: int) -> None:
        with spot.source().source(Selection()) as source:
            parts = source.partitions(wanted)
            batches = [page.batch for part in parts for page in pages(source, part, 9)]
            for part in parts:
                assert part.rows in (None, sum(page.batch.num_rows for page in pages(source, part)))
        assert len({part.key for part in parts}) == len(parts)
        assert self.comparable(facts(batches, verbatim=self.verbatim)) == hundred

    def test_partitions_have_the_same_keys_when_opened_again(self, spot: Spot, hundred: list[Fact]) -> None:
        with spot.source().source(Selection()) as source:
            before = source.partitions(4)
        with spot.source().source(Selection()) as source:
            assert source.partitions(4) == before

    def test_partitions_can_be_read_at_the_same_time(self, spot: Spot, hundred: list[Fact]) -> None:
        with spot.source().source(Selection()) as source, ThreadPoolExecutor(4) as threads:
            read_in_threads = list(threads.map(lambda part: pages(source, part, 9), source.partitions(4)))
        batches = [page.batch for found in read_in_threads for page in found]
        assert self.comparable(facts(batches, verbatim=self.verbatim)) == hundred

    def test_a_batch_of_the_largest_size_is_loaded_at_once(self, spot: Spot, capabilities: Capabilities) -> None:
        rows = capabilities.max_rows or 5_000
        with spot.target().sink() as sink:
            sample = self.fit(samples.many(rows, dim=2))
            sink.prepare(plan_of([sample]))
            assert list(sink.load(sample)) == []
            sink.finish()
        assert sum(batch.num_rows for batch in read(spot)) == rows

    # -- selections -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("wish", SELECTIONS)
    def test_a_selection_gives_the_same_records_wherever_it_is_applied(
        self, spot: Spot, hundred: list[Fact], capabilities: Capabilities, wish: str
    ) -> None:
        selection = Selection(*SELECTIONS[wish])
        everything = read(spot)
        with spot.source().source(selection) as source:
            parts = source.partitions(1)
            given = [page.batch for part in parts for page in pages(source, part, 30)]
            selected = [page.batch for part in parts for page in pages(Selected(source, selection), part, 30)]
        wanted = self.comparable(facts(map(partial(chosen, selection), everything)))
        assert self.comparable(facts(selected)) == wanted
        asked = {"namespace": selection.namespaces, "where": selection.where}
        if {name for name, value in asked.items() if value is not None} <= capabilities.pushdown:
            assert self.comparable(facts(given)) == wanted, "the source leaves a part of its pushdown to the engine"

    def test_a_limit_ends_the_reading(self, spot: Spot, hundred: list[Fact]) -> None:
        selection = Selection(namespaces=("a", "b"), limit=7)
        with spot.source().source(selection) as source:
            selected = Selected(source, selection)
            found = [page.batch for part in source.partitions(4) for page in pages(selected, part, 5)]
        assert [fact.namespace in ("a", "b") for fact in facts(found)] == [True] * 7

    # -- describing -----------------------------------------------------------------------------------------------

    def test_its_description_is_true_or_says_nothing(self, spot: Spot, hundred: list[Fact]) -> None:
        with spot.source().source(Selection()) as source:
            said = source.describe()
            batches = [page.batch for part in source.partitions(1) for page in pages(source, part)]
        assert said.dim in (None, 8)
        assert said.rows in (None, 100)
        assert said.model in (None, "all-MiniLM-L6-v2")
        assert {records.id_type(batch.schema) for batch in batches} == {said.id_type}
        assert set(said.namespaces) in (set(), {"a", "b", "c", "", None})
        assert said.size is None or said.size > 0

    def test_describing_changes_nothing_and_can_be_repeated(self, spot: Spot, hundred: list[Fact]) -> None:
        with spot.source().source(Selection()) as source:
            assert source.describe() == source.describe()
            batches = [page.batch for part in source.partitions(1) for page in pages(source, part)]
        assert self.comparable(facts(batches, verbatim=self.verbatim)) == hundred

    def test_reading_where_nothing_is_raises_not_found(self, tmp_path: Path) -> None:
        (tmp_path / "nothing").mkdir()
        with pytest.raises(NotFound):
            read(self.nowhere(tmp_path / "nothing"))

    def nowhere(self, folder: Path) -> Spot:
        """A place that does not exist; `place` unless that makes one."""
        return self.place(folder)


def resumed_everywhere(source: Source, part: Partition, rows: int) -> list[Page]:
    """The pages of a partition; asserts that reading after each cursor gives the very pages that follow it."""
    whole = pages(source, part, rows)
    for at, page in enumerate(whole):
        rest = pages(source, part, rows, page.cursor)
        assert [one.cursor for one in rest] == [one.cursor for one in whole[at + 1 :]]
        assert facts(one.batch for one in rest) == facts(one.batch for one in whole[at + 1 :])
    return whole


def sides(plugin: Connector | Format) -> tuple[bool, bool]:
    """Whether the plugin has a reader and a writer."""
    if isinstance(plugin, Connector):
        return plugin.source is not None, plugin.sink is not None
    return plugin.open_reader is not None, plugin.open_writer is not None


def chosen(selection: Selection, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The records of a batch that are wanted."""
    mask = selection.mask(batch)
    return batch if mask is None else batch.filter(pa.array(mask))


def in_any_order(found: list[Fact]) -> list[Fact]:
    """Sorted by all that a record is, null before everything."""
    return sorted(found, key=repr)


def digest(batches: list[pa.RecordBatch]) -> str:
    """The content digest of the batches."""
    whole = ContentDigest()
    for batch in batches:
        whole.update(batch)
    return whole.hexdigest()
