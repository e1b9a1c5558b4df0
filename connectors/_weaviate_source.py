"""Reading: pages in the order of the UUIDs over gRPC, by ranges of UUIDs and by tenants.

A partition is "<first tenant>..<last tenant>/<first UUID>..<last UUID>", the UUIDs as 32 hexadecimal digits and the
tenants empty in a class without. A cursor is "<tenant>/<last UUID>", or "<tenant>/<UUID before>/<last UUID>/<d>"
when the objects in between have vectors of several dimensions, and those of at most d are done; the UUID before is
empty where there is none.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

import pyarrow as pa

from vexarrow.errors import AccessError, NotFound, Refused, UsageError, VexError
from vexarrow.location import Location
from vexarrow.payload import Found
from vexarrow.protocols import Description, Page, Partition
from vexarrow.selection import Selection

from ._weaviate_client import TENANT, TOO_LARGE, Client
from ._weaviate_describe import Probe, described
from ._weaviate_pack import tenant_of
from ._weaviate_requests import LARGEST_PAGE, any_of, found_by_namespace, search
from ._weaviate_schema import Layout
from ._weaviate_unpack import Reader

_SPACE = 1 << 128
_KEY = re.compile(r"([A-Za-z0-9_-]*)\.\.([A-Za-z0-9_-]*)/([0-9a-f]{32})\.\.([0-9a-f]{32})")
_CURSOR = re.compile(r"([A-Za-z0-9_-]*)/(?:([0-9a-f-]*)/)?([0-9a-f-]{36})(?:/(\d+))?")
Position = tuple[str, str, str, int]


class ClassSource:
    """The records of one class. Thread-safe."""

    def __init__(self, location: Location, client: Client, wanted: Selection) -> None:
        schema = client.schema()
        if schema is None:
            raise NotFound(f"{client.place}: there is no collection {client.collection}")
        self._client = client
        self._location = location
        self._wanted = wanted
        self._layout = Layout.of(schema)
        self._main = self._layout.main(location.option("vector-name"), client.place)
        self._tenants = _tenants(client, self._layout, location.option("tenant"), wanted)
        self._made: Reader | None = None
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._limit = LARGEST_PAGE
        self._found = found_by_namespace(client, self._layout, wanted)

    def describe(self) -> Description:
        """Counted by the server; dimensions are those of the first objects that have vectors. Both are not known of
        tenants that reading would activate."""
        return described(self._client, self._layout, self._location, self._tenants)

    @property
    def _reader(self) -> Reader:
        """Made when something is read: it looks at objects, and so activates tenants."""
        with self._making:
            if self._made is None:
                dims = Probe(self._client, self._layout, self._main, self._tenants).dims
                self._made = Reader(self._layout, self._main, Found.of(self._location), dims)
            return self._made

    # -- partitions ---------------------------------------------------------------------------------------

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """Ranges of UUIDs; in a class with tenants groups of tenants, or ranges in each of them when they are few."""
        if not self._tenants:
            return [Partition(_key("", "", 0, 1))]
        groups = min(max(wanted, 1), len(self._tenants))
        edges = [len(self._tenants) * at // groups for at in range(groups + 1)]
        spans = [(self._tenants[a], self._tenants[b - 1]) for a, b in pairwise(edges)]
        ranges = max(1, -(-wanted // groups)) if groups == len(self._tenants) else 1
        return [Partition(_key(first, last, at, ranges)) for first, last in spans for at in range(ranges)]

    # -- reading ------------------------------------------------------------------------------------------

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """Pages in the order of the UUIDs, tenant by tenant; of several dimensions a page for each, smallest first."""
        found = _KEY.fullmatch(part.key)
        if found is None:
            raise UsageError(f"{self._client.place}: {part.key!r} is no partition of a Weaviate collection")
        first, last, low, high = found.groups()
        start = _position(after)
        for tenant in self._tenants:
            if not first <= tenant <= last or (start is not None and tenant < start[0]):
                continue
            here = start if start is not None and start[0] == tenant else None
            yield from self._range(tenant, _before(low), _dashed(high), rows, here)

    def _range(self, tenant: str, low: str, high: str, rows: int, start: Position | None) -> Iterator[Page]:
        position = low
        if start is not None:
            _, before, position, done = start
            if done:
                pages = self._pages(tenant, before, position, rows)
                yield from (page for page, dim in pages if dim > done)
        while True:
            results = self._search(tenant, position, rows)
            inside = [one for one in results if one.metadata.id <= high]
            if not inside:
                return
            yield from (page for page, _ in self._split(tenant, position, inside))
            position = inside[-1].metadata.id
            if len(inside) < len(results):
                return

    def _pages(self, tenant: str, before: str, last: str, rows: int) -> list[tuple[Page, int]]:
        """The pages that were made of the objects from one UUID to another, once more."""
        results: list[Any] = []
        position = before
        # One answer may hold fewer of them than the first time, or others that were not there.
        while position < last:
            found = self._search(tenant, position, rows)
            results += (one for one in found if one.metadata.id <= last)
            position = found[-1].metadata.id if found else last
        return self._split(tenant, before, results) if results else []

    def _split(self, tenant: str, before: str, results: Sequence[Any]) -> list[tuple[Page, int]]:
        """Pages, each with its dimension. The last one's cursor is the last UUID."""
        last = results[-1].metadata.id
        batches = self._reader.batches(results, tenant)
        ends = [f"{tenant}/{before}/{last}/{dim}" for dim, _ in batches[:-1]] + [f"{tenant}/{last}"]
        return [(self._chosen(batch, end), dim) for (dim, batch), end in zip(batches, ends, strict=True)]

    def _chosen(self, batch: pa.RecordBatch, cursor: str) -> Page:
        if self._wanted.namespaces is None:
            return Page(batch, cursor)
        kept = batch.filter(pa.array(self._wanted.namespace_mask(batch.column("namespace"))))
        return Page(kept, cursor, skipped=batch.num_rows - kept.num_rows)

    def _search(self, tenant: str, after: str, rows: int) -> Sequence[Any]:
        """Up to `rows` objects after a UUID, in their order; of namespaces that an index found, these alone."""
        while True:
            limit = min(rows, self._limit)
            request = search(self._client.collection, self._layout, tenant=tenant, after=after, limit=limit)
            if self._found is not None:
                start = bisect_right(self._found, after)
                chosen = self._found[start : start + limit]
                if not chosen:
                    return ()
                request.after = ""
                request.filters.CopyFrom(any_of(chosen))
            try:
                reply = self._client.requests.call(lambda request=request: self._client.call("Search", request))  # type: ignore[misc]
            except Refused as error:
                if not TOO_LARGE.search(str(error)) or limit == 1:
                    raise VexError(str(error)) from None
                with self._lock:
                    self._limit = min(self._limit, max(1, limit // 2))
                continue
            if self._found is None:
                results: Sequence[Any] = reply.results
                return results
            if reply.results:
                return sorted(reply.results, key=lambda one: str(one.metadata.id))
            after = chosen[-1]  # all of them were deleted meanwhile


# -- names of things --------------------------------------------------------------------------------------


def _tenants(client: Client, layout: Layout, only: str | None, wanted: Selection) -> list[str]:
    """The tenants to read, sorted; one without a name in a class without tenants."""
    if not layout.tenants:
        if only is not None:
            raise UsageError(f"{client.place} has no tenants: leave --tenant out")
        return [""]
    known = dict(client.tenants())
    if only is not None and not TENANT.fullmatch(only):
        raise UsageError(f"--tenant {only}: names of tenants have up to 64 letters, digits, _ and - alone")
    if only is not None and only not in known:
        raise NotFound(f"{client.place} has no tenant {only}")
    named = {only} if only is not None else set(known)
    if only is None and wanted.namespaces is not None and not layout.holds("namespace"):
        named &= {tenant_of(name) for name in wanted.namespaces}
    unread = [name for name in sorted(named) if not layout.readable(name, known[name])]
    if unread:
        more = f", and {len(unread) - 1} more are not active" if len(unread) > 1 else ""
        raise AccessError(
            f"{client.place}: the tenant {unread[0]} is {known[unread[0]]}{more}: activate what is to be read, or "
            "choose tenants with --tenant or --namespace"
        )
    return sorted(named)


def _key(first: str, last: str, at: int, of: int) -> str:
    low, high = _SPACE * at // of, _SPACE * (at + 1) // of - 1
    return f"{first}..{last}/{low:032x}..{high:032x}"


def _before(digits: str) -> str:
    """The UUID before the first of a range, "" for the very first: `after` leaves out the one that it names."""
    number = int(digits, 16)
    return str(UUID(int=number - 1)) if number else ""


def _dashed(digits: str) -> str:
    return str(UUID(digits))


def _position(cursor: str | None) -> Position | None:
    """(tenant, the UUID before objects to finish first, the last UUID that was read, the dimension that is done)."""
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None or (found[2] is None) != (found[4] is None):
        raise UsageError(f"{cursor!r} is no cursor of a Weaviate collection")
    return found[1], found[2] or "", found[3], int(found[4] or 0)
