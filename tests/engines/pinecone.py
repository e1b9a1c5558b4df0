"""An emulator of Pinecone on 127.0.0.1: control plane, vectors API (REST and gRPC), documents API and imports, version
2026-07.

It enforces what the documentation says and answers as it says, so that the official client passes against it
unmodified; it is not Pinecone. `VEX_TEST_PINECONE_API_KEY` (and `VEX_TEST_PINECONE_URL` for another control plane) run
a round trip on the real service, too.

`python -m tests.engines.pinecone [PORT]` runs it until it is ended; the key is KEY.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from tests.engines import _pinecone_imports as imports
from tests.engines import _pinecone_rules as rules
from tests.engines import _pinecone_store as store
from tests.engines._pinecone_grpc import PREFACE, Face, relay
from tests.engines._pinecone_rules import Json, Refusal, refuse
from tests.engines._pinecone_store import Index

KEY = "pcsk_emulator-key-0123456789"
VERSION = "2026-07"
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 413: 11, 429: 8, 500: 13, 503: 14}


class Emulator:
    """A project of Pinecone. `url` is its control plane; every index has a port of its own, for REST and for gRPC.

    `faces`: the gRPC servers by the names of their indexes. `grpc`: whether indexes speak gRPC; `over`: how many
    requests came over "REST" and "gRPC", in `asked` alike.
    `faults`: refusals that the next requests to indexes get, in this order. `asked`: what was asked of indexes, as
    "METHOD /path". `broken`: paths that contain one of these get 503. `lost`: what is answered with 503 though the work
    was done, once each, as "METHOD /path"; `unheard`: the same before the work. `import_environment`: where S3 is, in
    the names of its variables; `import_error`: what imports fail with.
    """

    def __init__(self, port: int = 0) -> None:
        self.indexes: dict[str, Index] = {}
        self.faults: list[Refusal] = []
        self.asked: list[str] = []
        self.over: Counter[str] = Counter()
        self.grpc = True
        self.broken: list[str] = []
        self.lost: list[str] = []
        self.unheard: list[str] = []
        self.longest_url = rules.MOST_URL
        self.key = KEY
        self.import_environment: dict[str, str] = {}
        self.import_error: str | None = None
        self.closing = threading.Event()
        self._servers: list[ThreadingHTTPServer] = []
        self.faces: dict[str, Face] = {}
        self.url = self._serve(lambda *asked: control(self, *asked), port)

    def _serve(self, answer: Callable[[str, str, Json, bytes], Any], port: int = 0, face: Face | None = None) -> str:
        server = _Server(("127.0.0.1", port), _handler(self, answer, face))
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    def create(self, body: Json) -> Index:
        """Make an index."""
        name = rules.index_name(body.get("name"))
        refuse(name in self.indexes, f"Resource {name} already exists", 409)
        deployment = body.get("deployment") or {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}
        index = Index(name, rules.schema_of(body), deployment)
        face = Face(lambda *asked: called(self, index, *asked))
        self.faces[name] = face
        index.host = self._serve(lambda *asked: data(self, index, *asked), face=face)
        self.indexes[name] = index
        return index

    def make(self, name: str, fields: Json) -> Index:
        """Make an index that is ready."""
        index = self.create({"name": name, "schema": {"fields": fields}})
        index.unready = 0
        return index

    def close(self) -> None:
        """End all servers."""
        self.closing.set()
        for face in self.faces.values():
            face.close()
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go away."""


def _handler(
    emulator: Emulator, answer: Callable[[str, str, Json, bytes], Any], face: Face | None
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else 40 ms a request

        def handle(self) -> None:
            """A connection of HTTP/2 is gRPC's, every other one is of HTTP/1.1."""
            if face is not None and emulator.grpc and self._first() == PREFACE:
                relay(self.connection, face.port(), emulator.closing)
            else:
                super().handle()

        def _first(self) -> bytes:
            return bytes(self.connection.recv(len(PREFACE), socket.MSG_PEEK))

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            try:
                _authorised(emulator, self.headers.get("Api-Key"), self.headers.get("X-Pinecone-Api-Version"))
                refuse(len(self.path) > emulator.longest_url, "URI too long", 414)
                _once(emulator.unheard, f"{self.command} {parts.path}")
                found = answer(self.command, parts.path, parse_qs(parts.query, keep_blank_values=True), body)
                status, headers = 200, {}
                _once(emulator.lost, f"{self.command} {parts.path}")
            except Refusal as error:
                status, found = error.status, _error(error)
                headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
            self._send(
                201 if status == 200 and parts.path == "/indexes" and self.command == "POST" else status, found, headers
            )

        do_GET = do_POST = do_DELETE = do_PATCH = _any  # noqa: N815 - the names that http.server calls

        def _send(self, status: int, found: Any, headers: dict[str, str]) -> None:
            text = orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY)
            head = [f"HTTP/1.1 {status} -", "Content-Type: application/json", f"Content-Length: {len(text)}"]
            head += [f"{name}: {value}" for name, value in headers.items()]
            self.wfile.write("\r\n".join([*head, "", ""]).encode() + text)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


def _authorised(emulator: Emulator, key: str | None, version: str | None) -> None:
    refuse(key != emulator.key, "Invalid API Key", 401)
    refuse(version != VERSION, "Unsupported API version")


def _once(failing: list[str], asked: str) -> None:
    if asked in failing:
        failing.remove(asked)
        raise Refusal(503, "The service is unavailable", 0.01)


def _error(error: Refusal) -> Json:
    return {"code": _CODES.get(error.status, 2), "message": error.message, "details": []}


# -- the control plane ----------------------------------------------------------------------------------


def control(emulator: Emulator, method: str, path: str, query: Json, body: bytes) -> Any:
    """Indexes: create, list, describe, delete."""
    name = unquote(path.removeprefix("/indexes").strip("/"))
    refuse(not path.startswith("/indexes"), f"{path} not found", 404)
    if not name:
        if method == "POST":
            return emulator.create(orjson.loads(body)).described()
        return {"indexes": [one.described() for one in emulator.indexes.values()]}
    refuse(name not in emulator.indexes, f"Resource {name} not found", 404)
    if method == "DELETE":
        del emulator.indexes[name]
        return {}
    refuse(method != "GET", "method not allowed", 405)
    return emulator.indexes[name].described()


# -- the data plane -------------------------------------------------------------------------------------


def called(emulator: Emulator, index: Index, asked: str, told: Json, size: int, headers: Mapping[str, str]) -> Json:
    """One call over gRPC, as REST would ask it. The answer has the records themselves under `records`."""
    _authorised(emulator, headers.get("api-key"), headers.get("x-pinecone-api-version"))
    _once(emulator.unheard, asked)
    _counted(emulator, "gRPC", asked)
    too_large = f"Error, message length too large: found {size} bytes, the limit is: {rules.MOST_BYTES} bytes"
    refuse(size > rules.MOST_BYTES, too_large, 413)
    found = _either(index, asked, told)
    _once(emulator.lost, asked)
    return found


def data(emulator: Emulator, index: Index, method: str, path: str, query: Json, body: bytes) -> Any:
    """One request to an index over REST."""
    _counted(emulator, "REST", f"{method} {path}")
    refuse(len(body) > rules.MOST_BYTES, f"Request size {len(body)} exceeds the limit of {rules.MOST_BYTES} bytes", 413)
    told = _told(method, query, body)
    if path.startswith("/bulk/imports"):
        return imports.answer(emulator, index, method, unquote(path.removeprefix("/bulk/imports").strip("/")), told)
    if "/documents/" in path:
        refuse(not index.schema.documents, "This index is served by the vectors API")
        _, _, name, _, verb = path.split("/")
        refuse(not unquote(name).strip(), "namespace must not be empty")
        return _documents(index, unquote(name), verb, told)
    found = _either(index, f"{method} {path}", told)
    if "records" in found:
        found["vectors"] = {one.id: store.as_vector(one) for one in found.pop("records")}
    return found


def _counted(emulator: Emulator, over: str, asked: str) -> None:
    """Note a request; raise what is planned for it."""
    emulator.asked.append(asked)
    emulator.over[over] += 1
    if emulator.faults:
        raise emulator.faults.pop(0)
    refuse(any(one in asked for one in emulator.broken), "The service is unavailable", 503)


def _either(index: Index, asked: str, told: Json) -> Json:
    """What REST and gRPC both do."""
    if asked == "POST /describe_index_stats":
        return index.stats()
    if asked == "GET /namespaces":
        limit = int(told.get("limit", 100))
        refuse(not 1 <= limit <= 100, "limit must be 1 to 100")
        return index.namespaces(limit, told.get("paginationToken"))
    refuse(index.schema.documents, "This index is served by the documents API")
    return _vectors(index, asked, told)


def _told(method: str, query: Json, body: bytes) -> Json:
    if method != "POST":
        return {key: values if key == "ids" else values[0] for key, values in query.items()}
    try:
        told = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"Invalid JSON: {error}") from None
    refuse(not isinstance(told, dict), "the body must be an object")
    return dict(told)


def _vectors(index: Index, asked: str, told: Json) -> Json:
    space = told.get("namespace", "")
    rules.namespace(space)
    if asked == "POST /vectors/upsert":
        found = store.vectors(index, told)
        index.write(space, found)
        return {"upsertedCount": len(found)}
    if asked == "GET /vectors/list":
        limit = int(told["limit"]) if "limit" in told else None
        ids, more = index.listed(space, told.get("prefix", ""), limit, told.get("paginationToken"))
        answer: Json = {"vectors": [{"id": one} for one in ids], "namespace": space, "usage": {"readUnits": 1}}
        return answer | ({"pagination": {"next": more}} if more else {})
    if asked == "GET /vectors/fetch":
        records = index.fetched(space, told.get("ids", []))
        return {"records": records, "namespace": space, "usage": {"readUnits": 1}}
    if asked == "POST /vectors/fetch_by_metadata":
        records, more = index.matched(
            space,
            told.get("filter"),
            told.get("limit"),
            told.get("paginationToken"),
            partial(_size, index),
        )
        answer = {"records": records, "namespace": space, "usage": {"readUnits": 1}}
        return answer | ({"pagination": {"next": more}} if more else {})
    if asked == "POST /vectors/delete":
        gone = set(told.get("ids", ()))
        index.delete(space, lambda one: bool(told.get("deleteAll")) or one.id in gone)
        return {}
    raise Refusal(404, f"{asked} not found")


def _documents(index: Index, space: str, verb: str, told: Json) -> Json:
    name = rules.namespace(space)
    shown = {"namespace": space, "usage": {"read_units": 1}}
    if verb == "upsert":
        found = store.documents(index, told)
        index.write(name, found)
        return {"upserted_count": len(found)}
    if verb == "list":
        ids, more = index.listed(name, told.get("prefix") or "", told.get("limit"), told.get("pagination_token"))
        return {"documents": [{"_id": one} for one in ids], **shown, **({"pagination": {"next": more}} if more else {})}
    if verb == "fetch":
        asked, conditions, token = told.get("ids"), told.get("filter"), told.get("pagination_token")
        refuse(bool(asked) == (conditions is not None), "exactly one of ids and filter is required")
        after: str | None = None
        if asked:
            records = index.fetched(name, asked)
        else:
            records, after = index.matched(name, conditions, told.get("limit"), token, partial(_size, index))
        answer = {"documents": {one.id: store.as_document(one, index.schema) for one in records}, **shown}
        return answer | ({"pagination": {"next": after}} if after else {})
    if verb == "delete":
        gone = set(told.get("ids") or ())
        return {"matched_records": index.delete(name, lambda one: bool(told.get("delete_all")) or one.id in gone)}
    raise Refusal(404, f"{verb} not found")


def _size(index: Index, one: rules.Record) -> int:
    """Bytes of a record in an answer."""
    return store.size_of(store.as_document(one, index.schema) if index.schema.documents else store.as_vector(one))


@contextmanager
def pinecone_emulator(port: int = 0) -> Iterator[Emulator]:
    """A running emulator without indexes."""
    emulator = Emulator(port)
    try:
        yield emulator
    finally:
        emulator.close()


def real() -> tuple[str, str] | None:
    """The control plane and the key of the real service, None where the environment names none."""
    key = os.environ.get("VEX_TEST_PINECONE_API_KEY")
    return (os.environ.get("VEX_TEST_PINECONE_URL", "https://api.pinecone.io"), key) if key else None


if __name__ == "__main__":
    with pinecone_emulator(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as running:
        sys.stdout.write(f"{running.url}\n")
        sys.stdout.flush()
        threading.Event().wait()
