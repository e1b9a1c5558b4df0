"""The REST face of the Weaviate emulator: schema, tenants, objects, batches, and the one GraphQL query of npm vex."""

from __future__ import annotations

import json
import re
import struct
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.engines import _weaviate_schema as rules
from tests.engines._weaviate_schema import Problem, ShardProblem
from tests.engines._weaviate_store import MAXIMUM_BYTES, Collection, Store, Thing

VERSION = "1.35.3"  # the last without server-side batching, which the emulator has not
_GET = re.compile(
    r'\{\s*Get\s*\{\s*(\w+)\s*\(limit:\s*(\d+)(?:,\s*after:\s*"([^"]*)")?\)\s*'
    r"\{\s*_additional\s*\{([\w\s]*)\}([\w\s]*)\}\s*\}\s*\}"
)


def allowed(given: str | None, key: str | None) -> None:
    """Raises Problem for a wrong key, and for any key where there are none."""
    if key is None and given is not None:
        raise Problem("no authentication scheme is configured, but an 'Authorization' header was provided", 401)
    if key is not None and given is None:
        raise Problem("anonymous access not enabled. Please authenticate", 401)
    if key is not None and given != f"Bearer {key}":
        raise Problem("unauthorized: invalid api key", 401)


class Handler(BaseHTTPRequestHandler):
    """One request. `store` and `key` are set by the server that is made of it."""

    protocol_version = "HTTP/1.1"
    store: Store
    key: str | None = None
    grpc_port = 0

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """Answer."""
        self._answer("GET")

    def do_POST(self) -> None:
        """Answer."""
        self._answer("POST")

    def do_PUT(self) -> None:
        """Answer."""
        self._answer("PUT")

    def do_DELETE(self) -> None:
        """Answer."""
        self._answer("DELETE")

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer("HEAD")

    def _answer(self, method: str) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        try:
            allowed(self.headers.get("Authorization"), self.key)
            with self.store.lock:
                status, body = self._found(method, path.removeprefix("/v1").rstrip("/"), query, _json(data))
        except Problem as problem:
            status, body = problem.status, {"error": [{"message": str(problem)}]}
            if status == 401:
                body = {"code": status, "message": str(problem)}
        answer = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if method != "HEAD":
            self.wfile.write(answer)

    def _found(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        head, *rest = path.lstrip("/").split("/")
        if head == ".well-known":
            return (404, None) if "openid" in path else (200, {})
        if head == "meta":
            return 200, {"version": VERSION, "modules": {}, "grpcMaxMessageSize": MAXIMUM_BYTES, "hostname": "http://e"}
        if head == "schema":
            return self._schema(method, rest, body)
        if head == "objects":
            return self._objects(method, rest, query, body)
        if head == "aliases":
            return self._aliases(method, rest, body)
        if path == "/batch/objects":
            return 200, _batch(self.store, body["objects"])
        if path == "/graphql":
            return 200, _graphql(self.store, body["query"])
        raise Problem(f"path {path} was not found", 404)

    # -- schema -------------------------------------------------------------------------------------------

    def _schema(self, method: str, rest: list[str], body: Any) -> tuple[int, Any]:
        if not rest:
            if method == "GET":
                return 200, {"classes": [_schema(one) for one in self.store.classes.values()]}
            return 200, _schema(self.store.create(body))
        found = self.store.find(rest[0])
        if found is not None and method != "GET" and rest[0] in self.store.aliases:
            raise Problem(f'class "{rest[0]}": not found')  # an alias is for objects and for reading
        if found is None and not (method == "DELETE" and len(rest) == 1):
            return 404, None
        if found is None:
            return 200, None
        if len(rest) == 1:
            return self._class(method, found, body)
        if rest[1] == "properties":
            rules.add_property(found.schema, body)
            return 200, body
        if rest[1] == "shards":
            return self._shards(method, found, body)
        return self._tenants(method, found, body)

    def _class(self, method: str, found: Collection, body: Any) -> tuple[int, Any]:
        if method == "DELETE":
            del self.store.classes[found.name]
            return 200, None
        if method == "PUT":
            found.schema = rules.updated(found.schema, body)
        return 200, _schema(found)

    def _shards(self, method: str, found: Collection, body: Any) -> tuple[int, Any]:
        """Of a class without tenants, which has one. Whatever the name that is given, a server changes it."""
        shard = found.shard("")
        if method == "PUT":
            shard.status = body["status"]
            return 200, {"status": shard.status}
        return 200, [{"name": "onlyShard", "status": shard.status, "vectorQueueSize": 0}]

    def _aliases(self, method: str, rest: list[str], body: Any) -> tuple[int, Any]:
        if method == "DELETE":
            self.store.aliases.pop(rest[0], None)
            return 204, None
        if body["class"] not in self.store.classes:
            raise Problem(f'validation: target class "{body["class"]}" does not exist')
        self.store.aliases[body["alias"]] = body["class"]
        return 200, body

    def _tenants(self, method: str, found: Collection, body: Any) -> tuple[int, Any]:
        if method == "POST":
            self.store.add_tenants(found, body)
            return 200, body
        if method == "PUT":
            for one in body:
                if one["name"] not in found.shards:
                    raise Problem(f"updating schema: TYPE_UPDATE_TENANT: shard not found: {one['name']}")
                state = one["activityStatus"]
                found.shards[one["name"]].state = {"ACTIVE": "HOT", "INACTIVE": "COLD"}.get(state, state)
            return 200, body
        if not found.tenancy["enabled"]:
            raise Problem(f'multi-tenancy is not enabled for class "{found.name}"')
        return 200, [{"name": name, "activityStatus": one.state} for name, one in found.shards.items()]

    # -- objects ------------------------------------------------------------------------------------------

    def _objects(self, method: str, rest: list[str], query: str, body: Any) -> tuple[int, Any]:
        if method == "POST":
            found = self.store.writable(body["class"])
            thing = _thing(body)
            if thing.id in found.shard(body.get("tenant", "")).things:
                raise Problem(f"id '{thing.id}' already exists")
            _put(found, body, thing)
            return 200, _shown(found, thing, vector=True)
        found_class = self.store.find(rest[0]) if len(rest) == 2 else None
        tenant = query.partition("tenant=")[2].partition("&")[0]
        thing_found = found_class.shard(tenant).things.get(rest[1]) if found_class else None
        if found_class is None or thing_found is None:
            return 404, None
        if method == "DELETE":
            shard = found_class.shard(tenant)
            del shard.things[rest[1]]
            shard.order = None
            return 204, None
        return 200, _shown(found_class, thing_found, vector="vector" in query)


def _schema(found: Collection) -> dict[str, Any]:
    """A class as a server shows it: null where there are no properties."""
    return {**found.schema, "properties": found.schema["properties"] or None}


def _json(data: bytes) -> Any:
    if not data:
        return None
    try:
        return json.loads(data)
    except ValueError:
        raise Problem("parsing body from was not possible", 400) from None


def _thing(body: Mapping[str, Any]) -> Thing:
    identity = body.get("id") or str(uuid.uuid4())
    if not rules.is_uuid(identity):
        raise Problem(f'id in body must be of type uuid: "{identity}"')
    vectors = {"": body["vector"]} if body.get("vector") else {}
    vectors |= body.get("vectors") or {}
    packed = {name: struct.pack(f"<{len(values)}f", *values) for name, values in vectors.items()}
    return Thing(identity, dict(body.get("properties") or {}), packed)


def _put(found: Collection, body: Mapping[str, Any], thing: Thing) -> None:
    found.put(body.get("tenant", ""), thing)


def _shown(found: Collection, thing: Thing, *, vector: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"class": found.name, "id": thing.id, "properties": thing.properties}
    shown |= {"creationTimeUnix": thing.created, "lastUpdateTimeUnix": thing.created}
    if vector and "" in thing.vectors:
        shown["vector"] = _floats(thing.vectors[""])
    return shown


def _floats(data: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def _batch(store: Store, bodies: list[Any]) -> list[Any]:
    """Objects with a result each."""
    answer, closed = [], set()
    for body in bodies:
        thing = _thing(body)
        result: dict[str, Any] = {"status": "SUCCESS"}
        shard = (body["class"], body.get("tenant", ""))
        try:
            if shard not in closed:
                _put(store.writable(body["class"]), body, thing)
        except Problem as problem:
            closed |= {shard} if isinstance(problem, ShardProblem) else set()
            result = {"status": "FAILED", "errors": {"error": [{"message": str(problem)}]}}
        answer.append({**body, "id": thing.id, "result": result})
    return answer


def _graphql(store: Store, query: str) -> dict[str, Any]:
    """The answer to `{Get{Class(limit:n,after:"uuid"){_additional{id vector} property ...}}}`."""
    asked = _GET.fullmatch(query.strip())
    if asked is None:
        raise Problem("the emulator knows no other GraphQL than Get with limit and after", 400)
    name, limit, after, additional, properties = asked.groups()
    found = store.classes.get(name)
    if found is None:
        return {"errors": [{"message": f'Cannot query field "{name}" on type "GetObjectsObj".'}]}
    types = found.types()
    for one in properties.split():
        if one not in types:
            return {"errors": [{"message": f'Cannot query field "{one}" on type "{name}".'}]}
    try:
        things = found.listed("", int(limit), after or "", None)
    except Problem as problem:
        return {"errors": [{"message": str(problem)}], "data": {"Get": {name: None}}}
    rows = []
    for thing in things:
        known = {"id": thing.id, "vector": _floats(thing.vectors.get("", b""))}
        row: dict[str, Any] = {one: thing.properties.get(one) for one in properties.split()}
        rows.append({**row, "_additional": {one: known.get(one) for one in additional.split()}})
    return {"data": {"Get": {name: rows}}}
