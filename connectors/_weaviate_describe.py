"""What is known of a class without reading its records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vexarrow.errors import Refused
from vexarrow.location import Location
from vexarrow.protocols import Description

from ._weaviate_client import TOO_LARGE, Client
from ._weaviate_requests import search
from ._weaviate_schema import READABLE, STORE, Layout
from ._weaviate_wire import messages

_PROBED = 25
_COUNTED_TENANTS = 100


class Probe:
    """The dimensions of the vectors, seen in the first objects of a few tenants."""

    def __init__(self, client: Client, layout: Layout, main: str, tenants: Sequence[str]) -> None:
        self.dim: int | None = None
        self.dims: dict[str, int] = {}
        columns = {name: f"multi:{name}" if multi else f"vector:{name}" for name, multi in layout.vectors.items()}
        for tenant in tenants[:3]:
            for one in _first(client, layout, tenant):
                self._see(one.metadata, main, columns)

    def _see(self, meta: Any, main: str, columns: dict[str, str]) -> None:
        if meta.vector_bytes:
            if main:
                self.dims.setdefault("vector:unnamed", len(meta.vector_bytes) // 4)
            else:
                self.dim = self.dim or len(meta.vector_bytes) // 4
        for vector in meta.vectors:
            data, column = vector.vector_bytes, columns.get(vector.name, "")
            if vector.name == main:
                self.dim = self.dim or len(data) // 4
            elif data:
                self.dims.setdefault(
                    column, int.from_bytes(data[:2], "little") if column[:1] == "m" else len(data) // 4
                )


def _first(client: Client, layout: Layout, tenant: str) -> Sequence[Any]:
    """The vectors of the first objects, without properties; fewer where an answer has no room for them."""
    request = search(client.collection, layout, tenant=tenant, after="", limit=_PROBED)
    request.ClearField("properties")
    request.properties.SetInParent()  # none of them
    while True:
        try:
            found: Sequence[Any] = client.requests.call(lambda: client.call("Search", request)).results
        except Refused as error:
            if request.limit == 1 or not TOO_LARGE.search(str(error)):
                raise
            request.limit = max(1, request.limit // 5)
        else:
            return found


def described(client: Client, layout: Layout, location: Location, tenants: Sequence[str] | None = None) -> Description:
    """What is known of a class, or of some of its tenants. Activates none."""
    main = layout.main(location.option("vector-name"), client.place)
    known = client.tenants() if layout.tenants else []
    if tenants is None:
        tenants = [name for name, _ in known] if layout.tenants else [""]
    states = dict(known)
    active = [name for name in tenants if not layout.tenants or states.get(name) in READABLE]
    probe = Probe(client, layout, main, active)
    unread = [name for name, state in known if not layout.readable(name, state)]
    details: dict[str, object] = {
        "properties": {name: kinds[0] for name, kinds in layout.properties.items()},
        "index": layout.config(main).get("vectorIndexType"),
        "server": (client.rest("GET", "/v1/meta") or {}).get("version"),
    }
    if layout.tenants:
        details |= {"tenants": len(known), "inactive_tenants": unread}
    columns = {name: f"multi:{name}" if multi else f"vector:{name}" for name, multi in layout.vectors.items()}
    further = {column: probe.dims.get(column) for name, column in sorted(columns.items()) if name != main}
    return Description(
        dim=probe.dim,
        metric=layout.metric(main),
        rows=_count(client, active) if len(active) == len(tenants) else None,
        id_type="string" if location.option("id-field") else layout.id_type,
        source_store=STORE,
        vectors=further,
        details=details,
        settings={STORE: layout.settings(main)},
    )


def _count(client: Client, tenants: Sequence[str]) -> int | None:
    """How many objects there are; None where asking every tenant would take long."""
    if len(tenants) > _COUNTED_TENANTS:
        return None
    kinds = messages()

    def one(tenant: str) -> int:
        request = kinds["AggregateRequest"](collection=client.collection, tenant=tenant, objects_count=True)
        count: int = client.call("Aggregate", request).single_result.objects_count
        return count

    return sum(client.requests.map(one, tenants))
