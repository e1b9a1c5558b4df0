"""Ids that come more than once in a run: of such records a store keeps the last one alone."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from vexarrow.distinct import Distinct


class Repeats:
    """Takes the batches of a run and counts the records whose key came before; exact, in bounded memory.

    The key of a record is its id, `by_namespace` together with its namespace.
    """

    def __init__(self, *, by_namespace: bool) -> None:
        self._by_namespace = by_namespace
        self._distinct = Distinct()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch of records that were sent."""
        self._distinct.add(self._keys(batch))

    def keys(self, batch: pa.RecordBatch) -> Sequence[object]:
        """The keys of the rows of a batch."""
        found: list[object] = self._keys(batch).to_pylist()
        return found

    def _keys(self, batch: pa.RecordBatch) -> pa.Array:
        keys = batch.column("id")
        if self._by_namespace:
            names = batch.column("namespace")
            # The length says where the namespace ends; "-" is none.
            head = pc.if_else(names.is_valid(), pc.utf8_length(names).cast(pa.string()), "-")
            keys = pc.binary_join_element_wise(head, names.fill_null(""), keys, ":")
        return keys

    def count(self) -> int:
        """The records that came after another one of their key."""
        return self._distinct.result(0).duplicates

    def close(self) -> None:
        """Remove temporary files."""
        self._distinct.close()
