"""The gRPC face of the Pinecone emulator: VectorService, at the port of REST, with the same rules and the same records.

A connection of HTTP/2 is known by its first bytes and handed to a gRPC server, which every index has as soon as it is
asked for. What a call asks is put as REST has it and answered by the same functions.
"""

from __future__ import annotations

import importlib
import select
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np

from tests.engines import _pinecone_rules as rules
from tests.engines._pinecone_messages import messages
from tests.engines._pinecone_rules import Json, Record, Refusal

PREFACE = b"PRI "
WORKERS = 16
_CHUNK = 1 << 18
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ALREADY_EXISTS",
    413: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# Method and path of the same request over REST, as the protocol file has them.
PATHS: Mapping[str, str] = {
    "Upsert": "POST /vectors/upsert",
    "Delete": "POST /vectors/delete",
    "Fetch": "GET /vectors/fetch",
    "List": "GET /vectors/list",
    "FetchByMetadata": "POST /vectors/fetch_by_metadata",
    "DescribeIndexStats": "POST /describe_index_stats",
    "ListNamespaces": "GET /namespaces",
}
Answer = Callable[[str, Json, int, Mapping[str, str]], Any]


class Face:
    """The gRPC server of one index. `answer` is given a request as REST has it, its size and the headers. `packing`:
    how vectors are answered: in one "packed" list, as is usual, in two "parts" of one, or "one by one"."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.packing = "packed"
        self._server: Any = None
        self._port = 0
        self._lock = threading.Lock()

    def port(self) -> int:
        """Where the server listens; it is started at the first call."""
        with self._lock:
            if self._server is None:
                grpc: Any = importlib.import_module("grpc")
                options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
                self._server = grpc.server(ThreadPoolExecutor(WORKERS, "pinecone-grpc"), options=options)
                self._server.add_generic_rpc_handlers([_service(grpc, self)])
                self._port = self._server.add_insecure_port("127.0.0.1:0")
                self._server.start()
            return self._port

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.stop(None).wait()

    def call(self, name: str, data: bytes, context: Any) -> bytes:
        """One call: bytes in, bytes out."""
        grpc: Any = importlib.import_module("grpc")
        try:
            told = _told(name, data)
            found = self._answer(PATHS[name], told, len(data), dict(context.invocation_metadata()))
            if self.packing != "packed" and "records" in found:
                return b"".join(_entry(one, self.packing) for one in found["records"])
            reply: bytes = _reply(name, found).SerializeToString()
            return reply
        except Refusal as error:
            if error.retry_after is not None:
                context.set_trailing_metadata((("retry-after", str(error.retry_after)),))
            context.abort(getattr(grpc.StatusCode, _CODES.get(error.status, "UNKNOWN")), error.message)
            raise


def _service(grpc: Any, face: Face) -> Any:
    def handler(name: str) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda data, context: face.call(name, data, context))

    return grpc.method_handlers_generic_handler("VectorService", {name: handler(name) for name in PATHS})


def relay(here: socket.socket, port: int, closing: threading.Event) -> None:
    """Pass bytes between a connection and a port of this machine until one side ends."""
    with socket.create_connection(("127.0.0.1", port)) as there:
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        other = {here: there, there: here}
        with suppress(OSError):
            while not closing.is_set():
                for one in select.select([here, there], [], [], 0.1)[0]:
                    data = one.recv(_CHUNK)
                    if not data:
                        return
                    other[one].sendall(data)


# -- requests as REST has them --------------------------------------------------------------------------


def _told(name: str, data: bytes) -> Json:
    decoded: Any = importlib.import_module("google.protobuf.message").DecodeError
    try:
        request = messages()[f"{name}Request"].FromString(data)
    except decoded as error:
        raise Refusal(400, f"failed to decode Protobuf message: {error}") from None
    if name == "Upsert":
        return {"namespace": request.namespace, "vectors": [_vector(one) for one in request.vectors]}
    if name == "ListNamespaces":
        return {"limit": request.limit or 100, "paginationToken": request.pagination_token or None}
    told: Json = {"namespace": request.namespace} if name != "DescribeIndexStats" else {}
    for field, key in (("prefix", "prefix"), ("limit", "limit"), ("pagination_token", "paginationToken")):
        if field in request.DESCRIPTOR.fields_by_name and request.HasField(field):
            told[key] = getattr(request, field)
    if name in ("Fetch", "Delete"):
        told["ids"] = list(request.ids)
    if name == "Delete":
        told["deleteAll"] = request.delete_all
    if name == "FetchByMetadata" and request.HasField("filter"):
        told["filter"] = _object(request.filter)
    return told


def _vector(one: Any) -> Json:
    found: Json = {"id": one.id, "values": np.array(one.values, np.float64)}
    if one.HasField("sparse_values"):
        pair = one.sparse_values
        found["sparseValues"] = {"indices": list(pair.indices), "values": list(pair.values)}
    if one.HasField("metadata"):
        found["metadata"] = _object(one.metadata)
        # REST strips nulls before it looks at metadata, gRPC does not.
        rules.refuse(None in found["metadata"].values(), "Metadata value must not be null")
    return found


def _object(struct: Any) -> Json:
    return {key: _value(value) for key, value in struct.fields.items()}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _object(value.struct_value)
    if kind == "list_value":
        return [_value(one) for one in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)


# -- answers --------------------------------------------------------------------------------------------


def _reply(name: str, found: Json) -> Any:
    kinds = messages()
    if name == "Upsert":
        return kinds["UpsertResponse"](upserted_count=found["upsertedCount"])
    if name == "Delete":
        return kinds["DeleteResponse"]()
    if name == "DescribeIndexStats":
        return _stats(found)
    more = (found.get("pagination") or {}).get("next")
    rest = {"pagination": {"next": more}} if more else {}
    if name == "ListNamespaces":
        spaces = [{"name": one["name"], "record_count": int(one["record_count"])} for one in found["namespaces"]]
        return kinds["ListNamespacesResponse"](namespaces=spaces, total_count=found["total_count"], **rest)
    rest |= {"namespace": found["namespace"], "usage": {"read_units": 1}}
    if name == "List":
        return kinds["ListResponse"](vectors=found["vectors"], **rest)
    reply = kinds[f"{name}Response"](**rest)
    for one in found["records"]:
        _put(reply.vectors[one.id], one)
    return reply


def _stats(found: Json) -> Any:
    reply = messages()["DescribeIndexStatsResponse"](
        dimension=found["dimension"],
        total_vector_count=found["totalVectorCount"],
        metric=found["metric"],
        vector_type=found["vectorType"],
    )
    for name, one in found["namespaces"].items():
        reply.namespaces[name].vector_count = one["vectorCount"]
    return reply


def _put(vector: Any, one: Record) -> None:
    vector.id = one.id
    if one.values is not None:
        vector.MergeFromString(_sized(b"\x12", one.values.astype("<f4").tobytes()))
    if one.sparse is not None:
        vector.sparse_values.indices.extend(one.sparse["indices"])
        vector.sparse_values.values.extend(np.asarray(one.sparse["values"]).tolist())
    for key, value in one.metadata.items():
        _set(vector.metadata.fields[key], value)


def _entry(one: Record, packing: str) -> bytes:
    """A record in the answer of Fetch, its numbers packed in another way."""
    vector = messages()["Vector"]()
    _put(vector, one)
    del vector.values[:]
    assert one.values is not None
    numbers = one.values.astype("<f4").tobytes()
    each = [numbers[at : at + 4] for at in range(0, len(numbers), 4)]
    packed = (_sized(b"\x12", part) for part in (b"".join(each[:1]), b"".join(each[1:])))
    values = b"".join(packed if packing == "parts" else (b"\x15" + one for one in each))
    return _sized(b"\x0a", _sized(b"\x0a", one.id.encode()) + _sized(b"\x12", vector.SerializeToString() + values))


def _sized(tag: bytes, data: bytes) -> bytes:
    return tag + _varint(len(data)) + data


def _set(field: Any, value: Any) -> None:
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, float):
        field.number_value = value
    elif isinstance(value, str):
        field.string_value = value
    else:
        field.list_value.SetInParent()
        for one in value:
            field.list_value.values.add().string_value = one


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
