"""Pinecone's vectors API over gRPC: the service VectorService, at the host and port of REST, with packed vectors.

Calls that time out leave their connection, as one that was cut off without a word never answers again.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from vexarrow.errors import (
    AccessError,
    DataError,
    MissingDependency,
    NotFound,
    Refused,
    TransientError,
    Unsupported,
    UsageError,
    VexError,
)
from vexarrow.http import keyless
from vexarrow.location import HIDDEN, redact

from ._pinecone_api import KEY, MOST_LISTED, VERSION, TooLong, with_scheme
from ._pinecone_messages import namespace_bytes, struct_bytes
from ._pinecone_schema import Json
from ._protobuf import fields, sized, varint

_SERVICE = "VectorService"
_SHOWN = 300
_PROBE_SECONDS = 10.0
_STATS = {2: "dimension", 5: "metric", 6: "vectorType"}  # of DescribeIndexStatsResponse
_TRANSIENT = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED", "INTERNAL", "UNKNOWN", "DATA_LOSS"})
_REFUSED = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION", "ALREADY_EXISTS"})
# Of a message, not of a rate: it would be refused every time.
_OVERSIZED = re.compile(r"larger than max|length too large|message too large|request size", re.I)
# What gRPC says of a host that speaks HTTP/1.1 alone, or whose certificate gRPC's own roots do not know.
_OTHER = re.compile(r"http1\.x|parsing http/2|alpn|certificate|ssl|handshake|content-type", re.I)
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # else channels to one address share a connection
]


class NoGrpc(VexError):
    """What is at a host does not speak gRPC."""


@dataclass(frozen=True)
class _Line:
    """A channel and the calls that were made on it."""

    channel: Any
    methods: dict[str, Callable[..., Any]] = field(default_factory=dict)


class Calls:
    """One host. Thread-safe; TLS where its URL is https; every call ends after `timeout` seconds.

    Raises MissingDependency without grpcio.
    """

    def __init__(self, url: str, key: str, *, timeout: float) -> None:
        parts = urlsplit(with_scheme(url))
        try:
            port = parts.port
        except ValueError:
            raise UsageError(f"{redact(url)}: the port is no number") from None
        name = parts.hostname or ""
        self._secure = parts.scheme == "https"
        self._target = f"{f'[{name}]' if ':' in name else name}:{port or (443 if self._secure else 80)}"
        self._place = redact(with_scheme(url).rstrip("/"))
        self._key = key
        self._metadata = (("api-key", key), ("x-pinecone-api-version", VERSION))
        self._timeout = timeout
        self._lock = threading.Lock()
        self._lines = [_Line(self._channel())]

    def __str__(self) -> str:
        return self._place

    def _channel(self) -> Any:
        try:
            import grpc

            found = find_spec("google.protobuf")  # which only reading needs to load
        except ImportError:
            found = None
        if found is None:
            raise MissingDependency("pinecone over gRPC needs grpcio and protobuf: pip install 'vexarrow[pinecone]'")
        if self._secure:
            return grpc.secure_channel(self._target, grpc.ssl_channel_credentials(), _OPTIONS)
        return grpc.insecure_channel(self._target, _OPTIONS)

    def call(self, name: str, request: bytes, seconds: float | None = None) -> bytes:
        """The answer to one try of a call, within `seconds` if that is less. Raises AccessError, NotFound, NoGrpc,
        Refused, TransientError, VexError."""
        import grpc

        seconds = min(self._timeout, seconds or self._timeout)
        line = self._lines[-1]
        method = line.methods.get(name) or line.methods.setdefault(
            name, line.channel.unary_unary(f"/{_SERVICE}/{name}")
        )
        try:
            answer: bytes = method(request, timeout=seconds, metadata=self._metadata)
            return answer
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._leave(line)
            raise self._translated(error, name, seconds) from None

    def _leave(self, line: _Line) -> None:
        """Make the next call on a new connection. What other threads wait for on the old one may still come."""
        with self._lock:
            if line is self._lines[-1]:
                self._lines.append(_Line(self._channel()))

    def _translated(self, error: Any, name: str, seconds: float) -> VexError:
        code, said = error.code().name, error.details() or ""
        text = f"{self}: {name}: {code}: {said.replace(self._key, HIDDEN)[:_SHOWN]}"
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            return AccessError(keyless(f"{self}: the server refused the credentials ({code})", KEY))
        if code == "NOT_FOUND":
            return NotFound(text)
        if code == "UNIMPLEMENTED":
            return NoGrpc(text)
        if code in _REFUSED or (code == "RESOURCE_EXHAUSTED" and _OVERSIZED.search(said)):
            return Refused(text)
        if code == "DEADLINE_EXCEEDED":
            text = f"{self}: {name}: no answer within {seconds:g} s"
        if code in _TRANSIENT or code == "RESOURCE_EXHAUSTED":
            return TransientError(text, _pushback(error), throttled=code == "RESOURCE_EXHAUSTED")
        return VexError(text)

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.channel.close()


def _pushback(error: Any) -> float | None:
    """Seconds that the server asks to wait."""
    for key, value in error.trailing_metadata() or ():
        unit = {"grpc-retry-pushback-ms": 0.001, "retry-after": 1.0}.get(key)
        if unit is not None and str(value).replace(".", "", 1).isdecimal():
            return float(value) * unit
    return None


class GrpcVectors:
    """The vectors API of `_pinecone_api.Data` by gRPC. Records are those of `_pinecone_messages.vector_bytes`, answers
    messages."""

    packed = True
    number_bytes = 4

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def listed(
        self, namespace: str, prefix: str, token: str | None, limit: int = MOST_LISTED
    ) -> tuple[list[str], str | None]:
        """See Data."""
        asked = {b"\x0a": prefix, b"\x1a": token, b"\x22": namespace}
        request = b"\x10" + varint(limit)
        request += b"".join(sized(tag, value.encode()) for tag, value in asked.items() if value)
        answer = self._calls.call("List", request)
        ids, rest = _ids(answer)
        found, token = self._items("List", answer[rest:])
        return ids + [_of(one).get(1, b"").decode() for one in found], token or None

    def fetched(self, namespace: str, ids: Sequence[str]) -> bytes:
        """See Data."""
        request = b"".join([sized(b"\x0a", one.encode()) for one in ids]) + namespace_bytes(namespace)
        return self._long("Fetch", request)

    def matched(self, namespace: str, conditions: Json, limit: int) -> bytes:
        """See Data."""
        space = sized(b"\x0a", namespace.encode()) if namespace else b""
        request = space + sized(b"\x12", struct_bytes(conditions)) + b"\x18" + varint(limit)
        return self._long("FetchByMetadata", request)

    def _long(self, call: str, request: bytes) -> bytes:
        try:
            return self._calls.call(call, request)
        except Refused as error:
            if _OVERSIZED.search(str(error)):
                raise TooLong(str(error)) from None
            raise

    def upsert(self, namespace: str, records: Sequence[bytes]) -> None:
        """See Data."""
        self._calls.call("Upsert", b"".join([*records, namespace_bytes(namespace)]))

    def ids_at_once(self, ids: Sequence[str], most: int) -> int:
        """See Data."""
        return min(most, len(ids))

    def probe(self) -> None:
        """See whether the host speaks gRPC. Raises NoGrpc, AccessError, TransientError, VexError."""
        try:
            self._calls.call("DescribeIndexStats", b"", _PROBE_SECONDS)
        except TransientError as error:
            raise (NoGrpc(str(error)) if _OTHER.search(str(error)) else error) from None

    def stats(self) -> Json:
        """See Data."""
        told: Json = {"dimension": None, "metric": None, "vectorType": None, "namespaces": {}}
        for number, value in self._fields("DescribeIndexStats", self._calls.call("DescribeIndexStats", b"")):
            if number == 1:
                entry = _of(value)
                count = _of(entry.get(2, b"")).get(1, 0)
                told["namespaces"][entry.get(1, b"").decode()] = {"vectorCount": count}
            elif number in _STATS:
                told[_STATS[number]] = value.decode() if isinstance(value, bytes) else value
        return told

    def spaces(self, token: str) -> tuple[dict[str, int], str]:
        """See Data."""
        request = (sized(b"\x0a", token.encode()) if token else b"") + b"\x10" + varint(100)
        try:
            found, following = self._items("ListNamespaces", self._calls.call("ListNamespaces", request))
        except NoGrpc as error:
            raise Unsupported(str(error)) from None
        spaces = [_of(one) for one in found]
        return {one.get(1, b"").decode(): one.get(2, 0) for one in spaces}, following

    # -- small answers --------------------------------------------------------------------------------------

    def _fields(self, call: str, answer: bytes) -> list[tuple[int, Any]]:
        try:
            return list(fields(answer))
        except ValueError as error:
            raise DataError(f"{self._calls}: {call}: an answer that cannot be read: {error}") from None

    def _items(self, call: str, answer: bytes) -> tuple[list[bytes], str]:
        """The items of an answer that comes in pages, and the token of the next one: its first two fields."""
        told = self._fields(call, answer)
        token = next((_of(value).get(1, b"") for number, value in told if number == 2), b"")
        return [value for number, value in told if number == 1], token.decode()


def _of(message: bytes) -> dict[int, Any]:
    """The fields of a message by number; of one that is there twice the last counts. Raises DataError."""
    try:
        return dict(fields(message))
    except ValueError as error:
        raise DataError(f"an answer of Pinecone that cannot be read: {error}") from None


def _ids(answer: bytes) -> tuple[list[str], int]:
    """The first ids of an answer to List, while they are ASCII and short as nearly all are; and where the rest is."""
    ids: list[str] = []
    at, end = 0, len(answer)
    text = answer.decode("latin-1")
    while at + 4 <= end and answer[at] == 0x0A == answer[at + 2]:
        size = answer[at + 3]
        stop = at + 4 + size
        if size >= 0x7E or answer[at + 1] != size + 2 or stop > end or not (one := text[at + 4 : stop]).isascii():
            break
        ids.append(one)
        at = stop
    return ids, at
