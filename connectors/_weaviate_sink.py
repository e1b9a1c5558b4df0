"""Writing: objects in batches over gRPC, each error of an object a reject or another try."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from vexarrow import records
from vexarrow.delivery import Rows, by_size, deliver, last_of_each
from vexarrow.errors import AccessError, NotFound, Refused, SchemaError, TransientError, UsageError
from vexarrow.ids import ORIGINAL_ID, SCHEMES
from vexarrow.location import Location
from vexarrow.metrics import metric
from vexarrow.payload import HIDDEN
from vexarrow.protocols import Description, Reject

from ._weaviate_client import TENANT, Client, forbidden, passing
from ._weaviate_describe import described
from ._weaviate_pack import Objects
from ._weaviate_schema import OURS, STORE, Layout, named_vectors, new_class, prop

# Of the 104,858,000 bytes that a server takes by default; what a batch holds is in its memory several times.
REQUEST_BYTES, REQUEST_ROWS = 8 << 20, 1000
_FEWEST = 100
_LASTING = re.compile(
    r"invalid|not a valid|no such prop|dimensions do not match|with length|lengths don't match|wrong size|reserved|"
    r"does not have",
    re.I,
)


class ClassSink:
    """The records of one class."""

    def __init__(self, location: Location, client: Client) -> None:
        self._client = client
        self._location = location
        self._tenant = _tenant(location)
        self._by_tenant = _choice(location, "namespace-as", ("property", "tenant")) == "tenant"
        self._scheme = _choice(location, "id-scheme", tuple(SCHEMES))
        self._create = (location.option("auto-create") or "true").lower() not in ("false", "0", "no")
        self._layout: Layout | None = None
        self._main = ""
        self._known: set[str] = set()
        self._plan = Description()

    @property
    def by_namespace(self) -> bool:
        """Whether namespaces are tenants, in each of which an id is another record."""
        tenants = self._by_tenant if self._layout is None else self._layout.tenants
        return tenants and self._tenant is None

    # -- the class ----------------------------------------------------------------------------------------

    def existing(self) -> Description | None:
        """The class as it is. Raises AccessError, TransientError."""
        schema = self._client.schema()
        return None if schema is None else described(self._client, Layout.of(schema), self._location)

    def prepare(self, plan: Description) -> Description:
        """Create the class, or add what of ours it lacks. Raises NotFound with --auto-create false."""
        schema = self._client.schema()
        self._plan = plan
        if schema is None:
            schema = self._created(plan)
        found = None
        if schema is not None:
            found = described(self._client, Layout.of(schema), self._location)
            self._completed(Layout.of(schema), plan)
        layout = self._reload()
        layout = self._add_vectors(layout, list(plan.vectors))
        dim = found.dim if found and found.dim else plan.dim
        return Description(
            dim=dim,
            metric=layout.metric(self._main),
            rows=found.rows if found else 0,
            id_type=layout.id_type,
            source_store=STORE,
        )

    def _created(self, plan: Description) -> dict[str, Any] | None:
        """Create the class. The class that is there when another run was faster, or when the answer to an earlier try
        was lost; else None."""
        if not self._create:
            raise NotFound(f"{self._client.place} is not there, and --auto-create false forbids to create it")
        tenants = self._by_tenant or self._tenant is not None
        body = new_class(self._client.collection, plan, tenants=tenants)
        if tenants and self._tenant is not None:
            body["properties"].append(prop("namespace"))
        try:
            self._client.change("POST", "/v1/schema", body)
        except SchemaError:
            schema = self._client.schema()
            if schema is None:
                raise
            layout = Layout.of(schema)
            there = layout.metric(layout.main(self._location.option("vector-name"), self._client.place))
            if there != metric(plan.metric or "cosine"):
                raise SchemaError(f"{self._client.place} was created meanwhile, with the metric {there}") from None
            return schema
        return None

    def _completed(self, layout: Layout, plan: Description) -> None:
        """Add the properties that records of ours need and a class of somebody else lacks."""
        if self._by_tenant and not layout.tenants:
            raise SchemaError(f"{self._client.place} has no tenants: leave --namespace-as tenant out")
        if self._tenant is not None and not layout.tenants:
            raise SchemaError(f"{self._client.place} has no tenants: leave --tenant out")
        by_tenant = layout.tenants and self._tenant is None and "namespace" not in layout.properties
        for name in OURS:
            if name in layout.properties or (name == "namespace" and by_tenant):
                continue
            body = prop(name, plan.id_type if not layout.properties else "string")
            self._add_property(body)
        for name in (ORIGINAL_ID, HIDDEN):
            if name in layout.properties and not layout.holds(name):
                raise SchemaError(f"{self._client.place}: its property {name} is no text")

    def _add_property(self, body: dict[str, Any]) -> None:
        try:
            self._client.change("POST", f"{self._path}/properties", body)
        except SchemaError:
            schema = self._client.schema()  # it is there when another run was faster, or an answer was lost
            if schema is None or body["name"] not in Layout.of(schema).properties:
                raise

    @property
    def _path(self) -> str:
        return f"/v1/schema/{quote(self._client.collection)}"

    def _reload(self) -> Layout:
        schema = self._client.schema()
        if schema is None:
            raise NotFound(f"{self._client.place} is gone")
        self._layout = layout = Layout.of(schema)
        self._main = layout.main(self._location.option("vector-name"), self._client.place)
        if layout.tenants:
            self._known = {name for name, _ in self._client.tenants()}
        return layout

    def _add_vectors(self, layout: Layout, columns: Sequence[str]) -> Layout:
        further = [name for name in columns if name.startswith(records.EXTRA_VECTORS)]
        if f"vector:{self._main}" in further:
            raise SchemaError(f"{self._client.place}: {self._main!r} is its main vector; --vector-name chooses another")
        missing = named_vectors(further, self._plan, layout.vectors)
        if not missing:
            return layout
        config = {**(layout.schema.get("vectorConfig") or {}), **missing}
        self._client.change("PUT", self._path, {**layout.schema, "vectorConfig": config})
        return self._reload()

    # -- records ------------------------------------------------------------------------------------------

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        """Upsert a batch. What the server refuses of it comes back as rejects of code "refused"."""
        return self.begin(batch)()

    def begin(self, batch: pa.RecordBatch) -> Callable[[], Sequence[Reject]]:
        """Start to `load` a batch; it is there when what is returned returns."""
        layout = self._layout
        if layout is None:
            raise UsageError(f"{self._client.place} was not prepared")
        layout = self._add_vectors(layout, batch.schema.names)
        batch = records.with_id_type(batch, layout.id_type)
        objects = Objects(batch, self._client.collection, layout, self._main, self._tenant)
        rejects = objects.name(self._scheme)
        self._add_tenants(objects.tenants)
        rows, parts = self._parts(objects, {one.row for one in rejects})
        sending = _Sending(self._client, objects, rows)

        def sent() -> list[Reject]:
            whole = deliver(self._client.requests, sending.send, parts)
            refused = [Reject(one.code, one.message, row=rows[one.row or 0]) for one in whole]
            return sorted([*rejects, *sending.rejects, *refused], key=lambda one: one.row or 0)

        return self._client.requests.in_turn(sent)

    def _parts(self, objects: Objects, without: set[int | None]) -> tuple[list[int], list[Rows]]:
        """The rows to be sent, of each object the last one, and the ranges of them that are requests."""
        keys = [f"{tenant}/{one}" for tenant, one in zip(objects.tenants, objects.uuids, strict=True)]
        left = [row for row in range(len(keys)) if row not in without]
        last = last_of_each([keys[row] for row in left])
        rows = left if last is None else [left[at] for at in last]
        sizes = objects.sizes()
        most = max(_FEWEST, min(REQUEST_ROWS, -(-len(rows) // self._client.requests.concurrency)))
        return rows, by_size([sizes[row] for row in rows], most_bytes=REQUEST_BYTES, most_rows=most)

    def _add_tenants(self, wanted: Sequence[str]) -> None:
        missing = sorted(set(wanted) - self._known - {""})
        if missing:
            self._client.change("POST", f"{self._path}/tenants", [{"name": name} for name in missing])
            self._known.update(missing)

    def finish(self) -> None:
        """Nothing: Weaviate indexes as it goes."""


class _Sending:
    """The requests of a batch, and what of them was refused."""

    def __init__(self, client: Client, objects: Objects, rows: Sequence[int]) -> None:
        self._client = client
        self._objects = objects
        self._rows = rows
        self._rejects: dict[int, Reject] = {}

    @property
    def rejects(self) -> list[Reject]:
        """Of single objects, each once."""
        return list(self._rejects.values())

    def send(self, part: Rows) -> None:
        """One request, and what is left of it until an answer has no error: of objects that a shard did not take a
        server names the first alone, so only then are all of them there. Raises AccessError when the key may not write,
        TransientError when another try may succeed, Refused when it is not known which object is at fault."""
        rows = [self._rows[at] for at in part]
        while rows := [row for row in rows if row not in self._rejects]:
            errors = self._client.call("BatchObjects", self._objects.request(rows)).errors
            if not errors:
                return
            self._judge(rows, errors)

    def _judge(self, rows: Sequence[int], errors: Sequence[Any]) -> None:
        """Reject the objects that are at fault themselves."""
        place, others = self._client.place, []
        for error in errors:
            said = self._client.hidden(error.error)
            if forbidden(error.error):
                raise AccessError(f"{place}: the key may not write: {said}")
            if _LASTING.search(error.error):
                self._rejects[rows[error.index]] = Reject("refused", f"{place}: {said}", row=rows[error.index])
            else:
                others.append((passing(error.error), said))
        for again, said in sorted(others, reverse=True):
            raise (TransientError if again else Refused)(f"{place}: objects were not taken: {said}")


def _choice(location: Location, name: str, known: Sequence[str]) -> str:
    text = location.option(name) or known[0]
    if text not in known:
        raise UsageError(f"--{name} {text}: has to be one of {', '.join(known)}")
    return text


def _tenant(location: Location) -> str | None:
    name = location.option("tenant")
    if name is not None and not TENANT.fullmatch(name):
        raise UsageError(f"--tenant {name}: names of tenants have up to 64 letters, digits, _ and - alone")
    return name
