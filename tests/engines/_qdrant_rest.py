"""The REST face of the engine: JSON made into the messages of the other face, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import TypeAdapter, ValidationError
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc, json_to_value
from qdrant_client.http import models as m

from tests.engines._qdrant_core import Code, Engine, Fault, q
from tests.engines._qdrant_grpc import deleted, retrieved, scrolled

_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.INTERNAL: 500,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
}
_MOST_BYTES = 32 << 20


def serve(engine: Engine, port: int, key: str | None) -> ThreadingHTTPServer:
    """An HTTP server on 127.0.0.1, not yet running."""

    class Handler(_Handler):
        faces = Face(engine)
        secret = key

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    return server


class Face:
    """One method for each route."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def answer(self, method: str, path: str, body: Any) -> Any:
        if isinstance(body, dict) and "with_vectors" in body:
            body["with_vector"] = body.pop("with_vectors")  # the server knows both names
        for verb, pattern, name, work in _ROUTES:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                if name:
                    self.engine.enter(name)
                return work(self, *map(unquote, found.groups()), body)
        raise Fault(Code.NOT_FOUND, f"there is no {method} {path}")

    def control(self, body: Any) -> Any:
        """What tests ask for: faults, another version, deferred points, old fields of vectors."""
        engine = self.engine
        engine.faults = body.get("faults", engine.faults)
        engine.version = body.get("version", engine.version)
        engine.old_vectors = body.get("old_vectors", engine.old_vectors)
        for name, hidden in body.get("deferred", {}).items():
            engine.get(name).deferred = hidden
        return dict(engine.calls)

    def listed(self, body: Any) -> Any:
        return {"collections": [{"name": name} for name in self.engine.collections]}

    def info(self, name: str, body: Any) -> Any:
        return GrpcToRest.convert_collection_info(self.engine.get(name).info())

    def exists(self, name: str, body: Any) -> Any:
        return {"exists": name in self.engine.collections}

    def create(self, name: str, body: Any) -> Any:
        wish = m.CreateCollection.model_validate(body)
        request = q.CreateCollection(collection_name=name)
        if wish.vectors is not None:
            request.vectors_config.CopyFrom(RestToGrpc.convert_vectors_config(wish.vectors))
        else:
            request.vectors_config.params_map.SetInParent()
        if wish.sparse_vectors:
            request.sparse_vectors_config.CopyFrom(RestToGrpc.convert_sparse_vector_config(wish.sparse_vectors))
        if wish.hnsw_config:
            request.hnsw_config.CopyFrom(RestToGrpc.convert_hnsw_config_diff(wish.hnsw_config))
        if wish.optimizers_config:
            request.optimizers_config.CopyFrom(RestToGrpc.convert_optimizers_config_diff(wish.optimizers_config))
        if wish.quantization_config:
            request.quantization_config.CopyFrom(RestToGrpc.convert_quantization_config(wish.quantization_config))
        if wish.strict_mode_config:
            request.strict_mode_config.CopyFrom(RestToGrpc.convert_strict_mode_config(wish.strict_mode_config))
        self.engine.create(request)
        return True

    def update(self, name: str, body: Any) -> Any:
        wish = m.UpdateCollection.model_validate(body)
        request = q.UpdateCollection(collection_name=name)
        if wish.optimizers_config:
            request.optimizers_config.CopyFrom(RestToGrpc.convert_optimizers_config_diff(wish.optimizers_config))
        for key, value in (wish.metadata or {}).items():
            request.metadata[key].CopyFrom(json_to_value(value))
        self.engine.update(request)
        return True

    def drop(self, name: str, body: Any) -> Any:
        return self.engine.delete(name)

    def upsert(self, name: str, body: Any) -> Any:
        if "batch" in body:
            one = m.Batch.model_validate(body["batch"])
            points = [
                m.PointStruct(id=id_, vector=vector, payload=payload)
                for id_, vector, payload in zip(one.ids, _rows(one), _payloads(one), strict=True)
            ]
        else:
            points = m.PointsList.model_validate(body).points
        self.engine.get(name).upsert([RestToGrpc.convert_point_struct(point) for point in points])
        return {"operation_id": 0, "status": "completed"}

    def retrieve(self, name: str, body: Any) -> Any:
        wish = m.PointRequest.model_validate(body)
        ids = [RestToGrpc.convert_extended_point_id(one) for one in wish.ids]
        request = q.GetPoints(collection_name=name, ids=ids, **_selectors(wish))
        return [GrpcToRest.convert_retrieved_point(one) for one in retrieved(self.engine, request).result]

    def scroll(self, name: str, body: Any) -> Any:
        wish = m.ScrollRequest.model_validate(body)
        request = q.ScrollPoints(collection_name=name, limit=wish.limit, **_selectors(wish))
        if wish.offset is not None:
            request.offset.CopyFrom(RestToGrpc.convert_extended_point_id(wish.offset))
        if wish.filter is not None:
            request.filter.CopyFrom(RestToGrpc.convert_filter(wish.filter))
        found = scrolled(self.engine, request)
        following = GrpcToRest.convert_point_id(found.next_page_offset) if found.HasField("next_page_offset") else None
        points = [GrpcToRest.convert_retrieved_point(one) for one in found.result]
        return {"points": points, "next_page_offset": following}

    def count(self, name: str, body: Any) -> Any:
        wish = m.CountRequest.model_validate(body)
        request = q.CountPoints(collection_name=name, exact=True)
        if wish.filter is not None:
            request.filter.CopyFrom(RestToGrpc.convert_filter(wish.filter))
        return {"count": self.engine.count(request)}

    def delete(self, name: str, body: Any) -> Any:
        selector: Any = TypeAdapter(m.PointsSelector).validate_python(body)
        request = q.DeletePoints(collection_name=name, points=RestToGrpc.convert_points_selector(selector))
        deleted(self.engine, request)
        return {"operation_id": 0, "status": "completed"}

    def index(self, name: str, body: Any) -> Any:
        wish = m.CreateFieldIndex.model_validate(body)
        kind = getattr(wish.field_schema, "type", wish.field_schema)
        field = q.FieldType.Value(f"FieldType{str(getattr(kind, 'value', kind)).capitalize()}")
        self.engine.index(
            q.CreateFieldIndexCollection(collection_name=name, field_name=wish.field_name, field_type=field)
        )
        return {"operation_id": 0, "status": "completed"}


_NAME = "/collections/([^/]+)"
_ROUTES: list[tuple[str, str, str, Callable[..., Any]]] = [
    ("POST", "/_control", "", Face.control),
    ("GET", "/collections", "", Face.listed),
    ("GET", _NAME, "Collections/Get", Face.info),
    ("GET", f"{_NAME}/exists", "", Face.exists),
    ("PUT", _NAME, "Collections/Create", Face.create),
    ("PATCH", _NAME, "Collections/Update", Face.update),
    ("DELETE", _NAME, "Collections/Delete", Face.drop),
    ("PUT", f"{_NAME}/points", "Points/Upsert", Face.upsert),
    ("POST", f"{_NAME}/points", "Points/Get", Face.retrieve),
    ("POST", f"{_NAME}/points/scroll", "Points/Scroll", Face.scroll),
    ("POST", f"{_NAME}/points/count", "Points/Count", Face.count),
    ("POST", f"{_NAME}/points/delete", "Points/Delete", Face.delete),
    ("PUT", f"{_NAME}/index", "Points/CreateFieldIndex", Face.index),
]


def _payloads(batch: Any) -> list[Any]:
    return list(batch.payloads or [None] * len(batch.ids))


def _rows(batch: Any) -> list[Any]:
    if isinstance(batch.vectors, dict):
        return [
            {name: values[at] for name, values in batch.vectors.items() if values[at] is not None}
            for at in range(len(batch.ids))
        ]
    return list(batch.vectors)


def _selectors(wish: Any) -> dict[str, Any]:
    payload = wish.with_payload if wish.with_payload is not None else True
    vectors = wish.with_vector if wish.with_vector is not None else False
    return {
        "with_payload": RestToGrpc.convert_with_payload_interface(payload),
        "with_vectors": RestToGrpc.convert_with_vectors(vectors),
    }


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json", exclude_none=True) if hasattr(value, "model_dump") else str(value)


class _Handler(BaseHTTPRequestHandler):
    faces: Face
    secret: str | None = None
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _serve(self) -> None:
        path = urlsplit(self.path).path
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if path == "/":
                version = self.faces.engine.version
                self._send(200, {"title": "qdrant - vector search engine", "version": version})
                return
            self._check(path)
            if len(raw) > _MOST_BYTES:
                raise Fault(Code.INVALID_ARGUMENT, "Payload too large")
            result = self.faces.answer(self.command, path, json.loads(raw) if raw else {})
            self._send(200, {"result": result, "status": "ok", "time": 0.0})
        except Fault as fault:
            self._send(_STATUS[fault.code], {"status": {"error": str(fault)}, "time": 0.0}, fault.retry_after)
        except (ValidationError, json.JSONDecodeError) as error:
            self._send(400, {"status": {"error": f"Format error in JSON body: {error}"[:500]}, "time": 0.0})
        except Exception as error:  # noqa: BLE001 - Edge raises plain Exceptions, for what a server calls wrong input
            self._send(400, {"status": {"error": f"Wrong input: {error}"}, "time": 0.0})

    def _check(self, path: str) -> None:
        given = [self.headers.get("api-key"), (self.headers.get("Authorization") or "").removeprefix("Bearer ")]
        if self.secret is not None and self.secret not in given and path != "/_control":
            raise Fault(Code.UNAUTHENTICATED, "Invalid API key or JWT")

    def _send(self, status: int, body: Any, retry_after: float | None = None) -> None:
        data = json.dumps(body, default=_plain).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

    def log_message(self, *args: Any) -> None:
        pass
