"""Lists that others have left behind, removed from records that are new.

When Chroma deletes a collection, lists in the metadata of its records stay in its database, and turn up in whatever
record gets the same row number next (seen in 1.5.9, server and folder). We write no lists, so that every list in a
record that we have just made is such a one. They are looked for after each load, while the next one is on its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from vexarrow.patience import Requests

from ._chroma_store import Collection, Store


class Sweeper:
    """Looks after new records in a thread of its own; used by one thread."""

    def __init__(self, store: Store, requests: Requests) -> None:
        self._store = store
        self._requests = requests
        self._pool = ThreadPoolExecutor(1, "vex-chroma-sweeper")
        self._pending: Future[None] | None = None

    def sweep(self, collection: Collection, ids: Sequence[str], most: int) -> None:
        """Begin to look at records, `most` a request. Raises what the last sweep raised, once it has ended."""
        self.settle()
        self._pending = self._pool.submit(self._sweep, collection, ids, most)

    def _sweep(self, collection: Collection, ids: Sequence[str], most: int) -> None:
        for start in range(0, len(ids), most):
            part = list(ids[start : start + most])
            left = self._requests.call(lambda part=part: self._store.lists(collection, part))  # type: ignore[misc]
            if left:
                self._requests.call(lambda left=left: self._store.forget(collection, left))  # type: ignore[misc]

    def settle(self) -> None:
        """Wait until all is done. Raises what went wrong."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for what is on its way, whatever becomes of it."""
        if self._pending is not None:
            wait([self._pending])
        self._pool.shutdown()
