"""One Qdrant server by gRPC: where it is, requests with retries, errors translated once, the key never shown.

Of `qdrant-client` the generated messages alone are used, and imported without its package, whose import takes more than
a second: they are modules of their own that need grpcio and protobuf, nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from vexarrow.errors import (
    AccessError,
    MissingDependency,
    NotFound,
    Refused,
    TransientError,
    Unsupported,
    UsageError,
    VexError,
)
from vexarrow.location import HIDDEN, Location, is_loopback, redact
from vexarrow.patience import Requests

_MISSING = "qdrant needs qdrant-client: pip install 'vexarrow[qdrant]'"
_PRIVATE = "vexarrow_qdrant_grpc"
_MODULES = ("collections", "points", "qdrant", "qdrant_common", "json_with_int")
_TRANSIENT = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNKNOWN"})
_BROKEN = frozenset({"CANCELLED", "DATA_LOSS"})
_REFUSED = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION", "ALREADY_EXISTS"})
_UNCONNECTED = "failed to connect"  # grpc's words where it has no connection, and waits for its next try
_OVERSIZED = "split your request"  # larger than the limit of a minute: it would be refused every time
_SHOWN = 300
# Channels to one address share a connection unless they are told not to.
_OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)
# A server compresses every answer for a client that takes gzip, as grpcio does unless it is told not to. That is most
# of a server's work when records are read, and vectors become a tenth or a fifth smaller by it.
_UNCOMPRESSED = ("grpc.compression_enabled_algorithms_bitset", 1)
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    _OWN_CONNECTION,
    _UNCOMPRESSED,
]
_CHECK = "; check --api-key or QDRANT_API_KEY"
_PORT = 6333
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@cache
def stubs() -> Any:
    """The generated messages by module, and grpc. Raises MissingDependency."""
    try:
        found = importlib.util.find_spec("qdrant_client")
        if found is None or not found.submodule_search_locations:
            raise MissingDependency(_MISSING)
        package = types.ModuleType(_PRIVATE)
        package.__path__ = [f"{folder}/grpc" for folder in found.submodule_search_locations]
        sys.modules.setdefault(_PRIVATE, package)
        modules = {name: importlib.import_module(f"{_PRIVATE}.{name}_pb2") for name in _MODULES}
        return types.SimpleNamespace(grpc=importlib.import_module("grpc"), **modules)
    except ImportError as error:
        raise MissingDependency(_MISSING) from error


@dataclass(frozen=True)
class Address:
    """A collection and where it is; `port` is that of gRPC."""

    host: str
    port: int
    tls: bool
    collection: str
    key: str | None = field(repr=False)
    place: str


def address(location: Location) -> Address:
    """What a location means. Raises UsageError."""
    target = location.target
    parts = urlsplit(target or location.option("url") or "")
    collection = location.option("collection") or ""
    if target:
        collection = unquote(parts.path.strip("/")) or collection
    elif parts.path.strip("/"):
        raise UsageError(f"--url {redact(parts.geturl())}: gRPC takes no path; give host and port alone")
    if not parts.hostname or parts.scheme not in ("http", "https", "qdrant"):
        raise UsageError(
            "qdrant: --url looks like http://localhost:6333, a URI like qdrant://localhost:6333/collection"
        )
    if not collection:
        raise UsageError("qdrant: which collection? Give --collection NAME or set QDRANT_COLLECTION")
    key = location.option("api-key")
    safe = parts.scheme == "https" or (parts.scheme == "qdrant" and bool(key) and not is_loopback(parts.hostname))
    tls = _boolean(location, "https", default=safe)
    shown = str(location) if target else f"qdrant collection {collection} at {redact(parts.geturl())}"
    return Address(parts.hostname, _port(location, parts), tls, collection, key, shown)


def _port(location: Location, parts: Any) -> int:
    text = location.option("grpc-port")
    try:
        number = int(text) if text is not None else (parts.port or _PORT) + 1
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise UsageError(f"qdrant: {text or redact(parts.geturl())}: that is no port")
    return number


def _boolean(location: Location, name: str, *, default: bool) -> bool:
    text = location.option(name)
    if text is None:
        return default
    if text.lower() not in _BOOLEANS:
        raise UsageError(f"--{name} {text}: true or false")
    return _BOOLEANS[text.lower()]


def creates(location: Location) -> bool:
    """Whether a missing collection is made (--auto-create)."""
    return _boolean(location, "auto-create", default=True)


@dataclass(frozen=True)
class _Line:
    """A channel and its methods."""

    channel: Any
    methods: dict[str, Any] = field(default_factory=dict)


class _Sent(NamedTuple):
    """A request on its way."""

    answer: Any
    line: _Line

    def cancel(self) -> None:
        """Not wait for the answer any more."""
        self.answer.cancel()


class Client:
    """A server and one collection. Thread-safe; every request ends after `requests.timeout` seconds."""

    def __init__(self, at: Address, requests: Requests) -> None:
        self.at = at
        self.requests = requests
        self.pb = stubs()
        self._metadata = (("api-key", at.key),) if at.key else ()
        self._lock = threading.Lock()
        self._lines = [_Line(self._channel())]

    def _channel(self) -> Any:
        at, grpc = self.at, self.pb.grpc
        name = f"[{at.host}]:{at.port}" if ":" in at.host else f"{at.host}:{at.port}"
        if at.tls:
            return grpc.secure_channel(name, grpc.ssl_channel_credentials(), _CHANNEL)
        return grpc.insecure_channel(name, _CHANNEL)

    def _leave(self, line: _Line, error: Any) -> None:
        """Make the next request on a connection of its own: one that was cut off without a word never answers again,
        and one that could not be made is tried again at times of grpc's, not when we try again.
        What other threads wait for on a connection that was cut off may still come."""
        unconnected = _UNCONNECTED in (error.details() or "")
        if not unconnected and error.code().name != "DEADLINE_EXCEEDED":
            return
        with self._lock:
            if line is not self._lines[-1]:
                return
            if unconnected:
                self._lines[-1] = _Line(self._channel())
            else:
                self._lines.append(_Line(self._channel()))
        if unconnected:
            line.channel.close()

    def call(self, method: str, request: Any, answer: Any = None) -> Any:
        """The answer of one method ("Points/Upsert") to a message or its bytes, with retries; as bytes where `answer`,
        its class, is not given. Raises as the module says."""
        return self.requests.call(lambda: self.once(method, request, answer))

    def once(self, method: str, request: Any, answer: Any = None) -> Any:
        """The same without retries."""
        return self.result(self.begin(method, request, answer))

    def begin(self, method: str, request: Any, answer: Any = None) -> _Sent:
        """Send a request; its answer is waited for by `result`."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        while True:
            line = self._lines[-1]
            try:
                return self._sent(line, method, data, answer)
            except ValueError:  # the channel is closed
                if line is self._lines[-1]:
                    raise

    def _sent(self, line: _Line, method: str, data: bytes, answer: Any) -> _Sent:
        known = line.methods.get(method)
        if known is None:
            read: Callable[[bytes], Any] | None = answer.FromString if answer is not None else None
            known = line.channel.unary_unary(f"/qdrant.{method}", response_deserializer=read)
            line.methods[method] = known
        return _Sent(known.future(data, timeout=self.requests.timeout, metadata=self._metadata), line)

    def result(self, sent: _Sent) -> Any:
        """The answer to a request that was sent."""
        try:
            return sent.answer.result()
        except self.pb.grpc.RpcError as error:
            self._leave(sent.line, error)
            raise self._translated(error) from None
        except self.pb.grpc.FutureCancelledError:
            raise TransientError(f"{self.at.place}: the request was cancelled") from None

    def _translated(self, error: Any) -> VexError:
        code, text = error.code().name, error.details() or ""
        if self.at.key:
            text = text.replace(self.at.key, HIDDEN)
        text = text[:_SHOWN]  # only now: a cut could leave half of the key
        if code == "UNAVAILABLE":
            how = f"{self.at.host}:{self.at.port}, {'with' if self.at.tls else 'without'} TLS"
            text = f"{text} (gRPC is looked for at {how}; --grpc-port and --https say otherwise)"
        text = f"{self.at.place}: {text or code}"
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):  # the latter is the answer of strict mode, too
            return AccessError(f"{text} ({code}){_CHECK if code == 'UNAUTHENTICATED' else ''}")
        if code == "NOT_FOUND":
            return NotFound(text)
        if code in _REFUSED or _OVERSIZED in text:
            return Refused(text)
        if code in _TRANSIENT or code in _BROKEN:
            throttled = code == "RESOURCE_EXHAUSTED"
            return TransientError(text, _retry_after(error.trailing_metadata()), throttled=throttled)
        return Unsupported(f"{text} ({code})") if code == "UNIMPLEMENTED" else VexError(f"{text} ({code})")

    # -- the few requests that source and sink share ----------------------------------------------------------------

    def info(self, wanted: Callable[[Any], None] = lambda info: None) -> Any:
        """The CollectionInfo, asked for again while `wanted` raises TransientError. Raises NotFound."""
        pb = self.pb.collections
        request = pb.GetCollectionInfoRequest(collection_name=self.at.collection)

        def ask() -> Any:
            info = self.once("Collections/Get", request, pb.GetCollectionInfoResponse).result
            wanted(info)
            return info

        return self.requests.call(ask)

    def count(self, where: Any = None) -> int:
        """The exact number of points that match a Filter."""
        pb = self.pb.points
        request = pb.CountPoints(collection_name=self.at.collection, exact=True, filter=where)
        return int(self.call("Points/Count", request, pb.CountResponse).result.count)

    def version(self) -> tuple[int, int]:
        """Major and minor version of the server."""
        pb = self.pb.qdrant
        text = self.call("Qdrant/HealthCheck", pb.HealthCheckRequest(), pb.HealthCheckReply).version
        found = re.match(r"v?(\d+)\.(\d+)", text)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def close(self) -> None:
        """End all connections, and requests that wait for another try."""
        self.requests.close()
        for line in self._lines:
            line.channel.close()


def _retry_after(metadata: Any) -> float | None:
    """Seconds that a server asks to wait."""
    for key, value in list(metadata or ()):
        unit = {"retry-after": 1.0, "grpc-retry-pushback-ms": 0.001}.get(key)
        if unit is not None and str(value).isdecimal():
            return float(value) * unit
    return None
