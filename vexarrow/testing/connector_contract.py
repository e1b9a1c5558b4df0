"""What connectors promise on top: loading by id, as declared, and whole batches."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from vexarrow.protocols import Capabilities
from vexarrow.testing import samples
from vexarrow.testing.contract import Contract, in_any_order
from vexarrow.testing.facts import Fact
from vexarrow.testing.spots import Spot, interrupted, write


class ConnectorContract(Contract):
    """The suite for a connector; `place` names a collection or table that is not there yet, or is empty.

    `verbatim`: JSON comes back letter by letter, and source_store and vex_version as they were; a store need not.
    `ordered`: records come back in the order in which they were written; a store need not.
    """

    verbatim: ClassVar[bool] = False
    ordered: ClassVar[bool] = False

    def test_loading_twice_equals_once_or_doubles_as_declared(
        self, spot: Spot, hundred: list[Fact], capabilities: Capabilities
    ) -> None:
        write(spot, self.fit(samples.many(100)))
        twice = hundred if capabilities.idempotent else in_any_order(hundred + hundred)
        assert in_any_order(self.found(spot)) == in_any_order(twice)

    def test_a_record_that_is_loaded_again_is_replaced_as_a_whole(
        self, spot: Spot, hundred: list[Fact], capabilities: Capabilities
    ) -> None:
        changed = self.fit(second_version())
        write(spot, changed)
        ids = {fact.id for fact in self.expected(changed)}
        kept = [fact for fact in hundred if not capabilities.idempotent or fact.id not in ids]
        assert in_any_order(self.found(spot)) == in_any_order(kept + self.expected(changed))

    def test_an_id_that_comes_twice_in_a_run_is_rejected_or_the_last_one_counts(
        self, spot: Spot, capabilities: Capabilities
    ) -> None:
        first, last = self.fit(samples.many(3)), self.fit(second_version().slice(0, 3))
        both = pa.Table.from_batches([first, last]).combine_chunks().to_batches()[0]
        refused = write(spot, both)
        if refused:
            assert refused == [("duplicate-id", identity) for identity in last.column("id").to_pylist()]
            kept = self.expected(first)
        else:
            kept = ([] if capabilities.idempotent else self.expected(first)) + self.expected(last)
        assert in_any_order(self.found(spot)) == in_any_order(kept)

    def test_loading_adds_to_what_is_there(self, spot: Spot, hundred: list[Fact]) -> None:
        more = self.fit(samples.many(130)).slice(100)
        write(spot, more)
        assert in_any_order(self.found(spot)) == in_any_order(hundred + self.expected(more))

    def test_a_run_that_failed_can_be_repeated(self, spot: Spot, capabilities: Capabilities) -> None:
        sample = self.fit(samples.many(60))
        loaded = sample.slice(0, 40)
        interrupted(spot, loaded)
        write(spot, sample)
        before = [] if capabilities.idempotent else self.expected(loaded)
        assert in_any_order(self.found(spot)) == in_any_order(before + self.expected(sample))

    def test_what_was_loaded_stays_when_the_run_fails_later(self, spot: Spot) -> None:
        loaded = self.fit(samples.many(40))
        interrupted(spot, loaded)
        assert in_any_order(self.found(spot)) == in_any_order(self.expected(loaded))


def second_version() -> pa.RecordBatch:
    """The first ten records of `samples.many`, with nothing but an id and another vector, or null."""
    ids = samples.many(10).column("id")
    return samples.batch(
        {"id": ids, "text": [f"second {row}" for row in range(10)]}, vector=samples.vectors(10, 8, seed=8)
    )
