"""The gRPC face of the Weaviate emulator, over the messages that the official client ships."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import grpc
from weaviate.proto.v1 import (
    aggregate_pb2,
    batch_delete_pb2,
    batch_pb2,
    health_weaviate_pb2,
    properties_pb2,
    search_get_pb2,
    tenants_pb2,
    weaviate_pb2_grpc,
)

from tests.engines._weaviate_rest import allowed
from tests.engines._weaviate_schema import Problem, ShardProblem
from tests.engines._weaviate_store import MAXIMUM_BYTES, Collection, Shard, Store, Thing, is_multi

SINGLE, MULTI = 1, 2
_STATES: Mapping[str, Any] = {"HOT": 1, "COLD": 2, "FROZEN": 4}
_EQUAL, _AND, _OR, _ANY = 1, 7, 8, 12


@dataclass
class Faults:
    """What goes wrong on purpose. `calls`: for each call of a name, in turn, the code, the message and milliseconds to
    wait, or None for nothing; `objects`: errors of objects by UUID, `shards`: of all objects of a class, in turn."""

    calls: dict[str, list[tuple[grpc.StatusCode, str, int | None] | None]] = field(default_factory=dict)
    objects: dict[str, list[str]] = field(default_factory=dict)
    shards: dict[str, list[str]] = field(default_factory=dict)
    seen: list[tuple[str, Any]] = field(default_factory=list)


class Servicer(weaviate_pb2_grpc.WeaviateServicer):
    """The service. `key`: what calls have to bring as a bearer."""

    def __init__(self, store: Store, faults: Faults, key: str | None) -> None:
        self._store = store
        self._faults = faults
        self._key = key

    def Search(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the name of the call
        """A page of objects, in the order of their UUIDs."""
        return self._guarded("Search", request, context, self._search)

    def BatchObjects(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Upserts, with an error for each object that is refused."""
        return self._guarded("BatchObjects", request, context, self._batch)

    def BatchDelete(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Delete what a filter finds."""
        return self._guarded("BatchDelete", request, context, self._delete)

    def TenantsGet(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The tenants of a class."""
        return self._guarded("TenantsGet", request, context, self._tenants)

    def Aggregate(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """How many objects there are."""
        return self._guarded("Aggregate", request, context, self._aggregate)

    def _guarded(self, name: str, request: Any, context: grpc.ServicerContext, answer: Callable[[Any], Any]) -> Any:
        given = dict(context.invocation_metadata())
        try:
            allowed(given.get("authorization"), self._key)
        except Problem:
            context.abort(grpc.StatusCode.UNKNOWN, "extract auth: unauthorized: invalid api key")  # not its own code
        self._faults.seen.append((name, request))
        planned = self._faults.calls.get(name)
        fault = planned.pop(0) if planned else None
        if fault is not None:
            code, message, wait = fault
            if wait is not None:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", str(wait)),))
            context.abort(code, message)
        try:
            with self._store.lock:
                reply = answer(request)
        except Problem as problem:
            context.abort(grpc.StatusCode.UNKNOWN, str(problem))
        if reply.ByteSize() > MAXIMUM_BYTES:
            message = f"grpc: trying to send message larger than max ({reply.ByteSize()} vs. {MAXIMUM_BYTES})"
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        return reply

    def _class(self, name: str) -> Collection:
        found = self._store.find(name)
        if found is None:
            raise Problem(f"could not find class {name} in schema")
        return found

    # -- reading ------------------------------------------------------------------------------------------

    def _search(self, request: Any) -> Any:
        found = self._class(request.collection)
        for one in ("hybrid_search", "bm25_search", "near_vector", "near_object", "near_text", "group_by"):
            if request.HasField(one):
                raise Problem(f"the emulator has no {one}")
        wanted = _condition(request.filters) if request.HasField("filters") else None
        if request.offset or request.sort_by:
            raise Problem("the emulator has no offset and sort_by")
        things = found.listed(request.tenant, request.limit, request.after, wanted)
        asked, types = _asked(request, found), found.types()
        results = [_result(found, one, request, asked, types) for one in things]
        return search_get_pb2.SearchReply(results=results)

    def _tenants(self, request: Any) -> Any:
        found = self._class(request.collection)
        names = set(request.names.values) if request.HasField("names") else set(found.shards)
        listed = [(name, one) for name, one in found.shards.items() if name in names]
        states = [tenants_pb2.Tenant(name=name, activity_status=_STATES[one.state]) for name, one in listed]
        return tenants_pb2.TenantsGetReply(tenants=states)

    def _aggregate(self, request: Any) -> Any:
        shard = self._class(request.collection).shard(request.tenant)
        wanted = _condition(request.filters) if request.HasField("filters") else lambda thing: True
        single = aggregate_pb2.AggregateReply.Single(objects_count=sum(map(wanted, shard.things.values())))
        return aggregate_pb2.AggregateReply(single_result=single)

    # -- writing ------------------------------------------------------------------------------------------

    def _batch(self, request: Any) -> Any:
        errors, closed = [], set()
        for at, one in enumerate(request.objects):
            if (one.collection, one.tenant) in closed:
                continue  # a server names the first object of such a shard alone
            try:
                self._put(one)
            except Problem as problem:
                if isinstance(problem, ShardProblem):
                    closed.add((one.collection, one.tenant))
                errors.append(batch_pb2.BatchObjectsReply.BatchError(index=at, error=str(problem)))
        return batch_pb2.BatchObjectsReply(errors=errors)

    def _put(self, one: Any) -> None:
        if shard := self._faults.shards.get(one.collection):
            raise ShardProblem(shard.pop(0))
        if planned := self._faults.objects.get(one.uuid):
            raise Problem(planned.pop(0))
        self._store.writable(one.collection).put(one.tenant, _thing(one))

    def _delete(self, request: Any) -> Any:
        shard = self._class(request.collection).shard(request.tenant)
        wanted = _condition(request.filters)
        gone = [key for key, one in shard.things.items() if wanted(one)]
        if not request.dry_run:
            _remove(shard, gone)
        return batch_delete_pb2.BatchDeleteReply(matches=len(gone), successful=len(gone))


def _remove(shard: Shard, keys: Sequence[str]) -> None:
    for key in keys:
        del shard.things[key]
    shard.order = None


def _thing(one: Any) -> Thing:
    """An object of a batch."""
    vectors = {vector.name: vector.vector_bytes for vector in one.vectors}
    if one.vector_bytes:
        vectors[""] = one.vector_bytes
    elif one.vector:
        vectors[""] = struct.pack(f"<{len(one.vector)}f", *one.vector)
    return Thing(one.uuid, _sent(one.properties), vectors)


def _sent(properties: Any) -> dict[str, Any]:
    found = {name: _plain(value) for name, value in properties.non_ref_properties.fields.items()}
    for one in properties.number_array_properties:
        data = one.values_bytes
        found[one.prop_name] = list(struct.unpack(f"<{len(data) // 8}d", data)) if data else list(one.values)
    for kind in ("int_array_properties", "text_array_properties", "boolean_array_properties"):
        for one in getattr(properties, kind):
            found[one.prop_name] = list(one.values)
    for one in properties.object_properties:
        found[one.prop_name] = _sent(one.value)
    for one in properties.object_array_properties:
        found[one.prop_name] = [_sent(value) for value in one.values]
    return found | {name: [] for name in properties.empty_list_props}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {name: _plain(one) for name, one in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_plain(one) for one in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)


# -- answers ----------------------------------------------------------------------------------------------


def _asked(request: Any, found: Collection) -> dict[str, Any]:
    """The properties that are wanted, with those inside of objects. Raises Problem for an unknown one."""
    types = found.types()
    if not request.HasField("properties") or request.properties.return_all_nonref_properties:
        return {name: None for name, kind in types.items() if kind != "blob" and not kind[0].isupper()}
    wanted: dict[str, Any] = dict.fromkeys(request.properties.non_ref_properties)
    wanted |= {one.prop_name: one for one in request.properties.object_properties}
    for name in wanted:
        if name not in types:
            raise Problem(
                f"extract properties request: get property by name {name} for class {found.name}: no such prop with "
                f"name '{name}' found in class '{found.name}' in the schema."
            )
    return wanted


def _reference(asked: Any, beacons: Sequence[Any]) -> Any:
    """The objects of one class that a cross-reference leads to."""
    found = search_get_pb2.RefPropertiesResult(prop_name=asked.reference_property)
    for one in beacons:
        target, _, identity = one["beacon"].removeprefix("weaviate://localhost/").partition("/")
        if target == asked.target_collection:
            found.properties.add(target_collection=target).metadata.id = identity
    return found


def _result(found: Collection, thing: Thing, request: Any, asked: Mapping[str, Any], types: Mapping[str, str]) -> Any:
    meta, references = request.metadata, request.properties.ref_properties
    fields = {name: _value(thing.properties.get(name), types[name], inside) for name, inside in asked.items()}
    properties = search_get_pb2.PropertiesResult(
        non_ref_props=properties_pb2.Properties(fields=fields), target_collection=found.name
    )
    for one in references:
        properties.ref_props.append(_reference(one, thing.properties.get(one.reference_property) or ()))
    data = search_get_pb2.MetadataResult()
    if meta.uuid:
        data.id, data.id_as_bytes = thing.id, UUID(thing.id).bytes
    if meta.creation_time_unix:
        data.creation_time_unix, data.creation_time_unix_present = thing.created, True
    if meta.last_update_time_unix:
        data.last_update_time_unix, data.last_update_time_unix_present = thing.created, True
    if meta.vector and "" in thing.vectors:
        data.vector_bytes = thing.vectors[""]
    for name in [one for one in thing.vectors if one and (one in meta.vectors or (meta.vector and not meta.vectors))]:
        multi = is_multi(found.named[name]["vectorIndexConfig"])
        data.vectors.add(name=name, vector_bytes=thing.vectors[name], type=MULTI if multi else SINGLE)
    return search_get_pb2.SearchResult(properties=properties, metadata=data)


def _value(value: Any, kind: str, inside: Any = None) -> Any:
    make = properties_pb2.Value
    if value is None:
        return make(null_value=0)
    if kind.endswith("[]"):
        return make(list_value=_list(value, kind[:-2], inside))
    if kind == "object":
        return make(object_value=_members(value, inside))
    if kind == "geoCoordinates":
        return make(geo_value=properties_pb2.GeoCoordinate(**value))
    if kind == "phoneNumber":  # a server parses it, and fills in more
        country = str(value.get("defaultCountry", "")).upper()
        return make(phone_value=properties_pb2.PhoneNumber(input=value["input"], default_country=country))
    name = {"text": "text", "int": "int", "number": "number", "boolean": "bool"}.get(kind, kind)
    return make(**{f"{name}_value": value})


def _list(values: Sequence[Any], kind: str, inside: Any) -> Any:
    make = properties_pb2.ListValue
    if kind in ("number", "int"):
        data = struct.pack(f"<{len(values)}{'d' if kind == 'number' else 'q'}", *values)
        return make(**{f"{kind}_values": getattr(properties_pb2, f"{kind.title()}Values")(values=data)})
    if kind == "object":
        return make(object_values=properties_pb2.ObjectValues(values=[_members(one, inside) for one in values]))
    name = {"boolean": "bool"}.get(kind, kind)
    return make(**{f"{name}_values": getattr(properties_pb2, f"{name.title()}Values")(values=values)})


def _members(value: Mapping[str, Any], inside: Any) -> Any:
    """An object without a schema of its own here: numbers are numbers."""
    wanted = {*inside.primitive_properties, *(one.prop_name for one in inside.object_properties)} if inside else None
    found = {name: one for name, one in value.items() if wanted is None or name in wanted}
    deeper = {one.prop_name: one for one in inside.object_properties} if inside else {}
    return properties_pb2.Properties(
        fields={name: _value(one, _kind(one), deeper.get(name)) for name, one in found.items()}
    )


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return f"{_kind(value[0])}[]" if value else "text[]"
    if isinstance(value, dict):
        return "object"
    return "boolean" if isinstance(value, bool) else "number" if isinstance(value, (int, float)) else "text"


def _condition(filters: Any) -> Callable[[Thing], bool]:
    """A filter by id or by equal texts, or of several such. Raises Problem for any other."""
    if filters.operator in (_AND, _OR):
        parts = [_condition(one) for one in filters.filters]
        return lambda thing: (all if filters.operator == _AND else any)(part(thing) for part in parts)
    name = filters.target.property
    values = list(filters.value_text_array.values) if filters.operator == _ANY else [filters.value_text]
    if filters.operator not in (_EQUAL, _ANY):
        raise Problem("the emulator has no such filter")
    return lambda thing: (thing.id if name in ("_id", "id") else thing.properties.get(name)) in values


class _Health(grpc.GenericRpcHandler):  # type: ignore[misc] # it is Any
    """Says that all is well."""

    def service(self, call: Any) -> Any:
        """The one method."""
        if call.method != "/grpc.health.v1.Health/Check":
            return None
        serving = health_weaviate_pb2.WeaviateHealthCheckResponse(status="SERVING")
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: serving,
            request_deserializer=health_weaviate_pb2.WeaviateHealthCheckRequest.FromString,
            response_serializer=health_weaviate_pb2.WeaviateHealthCheckResponse.SerializeToString,
        )


def serve(server: Any, store: Store, faults: Faults, key: str | None) -> None:
    """Add the service, and the one that says that all is well, to a server of grpc."""
    add: Any = weaviate_pb2_grpc.add_WeaviateServicer_to_server  # has no types
    add(Servicer(store, faults, key), server)
    server.add_generic_rpc_handlers((_Health(),))
