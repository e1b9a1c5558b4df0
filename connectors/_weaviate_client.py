"""One Weaviate server: the schema over REST, records over gRPC, errors of both translated here."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from vexarrow.errors import (
    AccessError,
    MissingDependency,
    NotFound,
    Refused,
    SchemaError,
    TransientError,
    UsageError,
    VexError,
)
from vexarrow.http import Http, keyless
from vexarrow.location import HIDDEN, Location, is_loopback, is_url
from vexarrow.patience import Requests

from ._weaviate_wire import Call, messages, stub

GRPC_PORT = 50051
_SHOWN = 300  # characters of what a server says
_KEY = "--api-key or WEAVIATE_API_KEY"
_CLOUD = (".weaviate.network", ".weaviate.cloud")
_CLASS = re.compile(r"[A-Z][_0-9A-Za-z]{0,254}")
TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Messages of a server that is busy, starting, stopping or cannot reach its own nodes: another try may succeed.
_PASSING = re.compile(
    r"deadline exceeded|timeout|timed out|unavailable|connection (refused|reset)|broken pipe|no such host|"
    r"shutting down|shutdown|not (yet )?ready|read-?only|not enough memory|memory pressure|too many requests|"
    r"leader not found|no leader|rate limit|try again|context canceled|\b(429|502|503|504)\b",
    re.I,
)
_DENIED = re.compile(r"^extract auth:|\bunauthorized\b|\bforbidden\b", re.I)
# What is said of an object that the key may not write. The words of a record may be in such a message, so it is narrow.
_FORBIDDEN = re.compile(r"^(\w+: )?authorization, forbidden action:", re.I)
TOO_LARGE = re.compile(r"larger than max|maximum results|message too large", re.I)


@dataclass(frozen=True)
class Address:
    """Where a server and its class are. `url` is that of REST, `grpc` is "host:port"."""

    url: str
    grpc: str
    secure: bool
    collection: str

    @classmethod
    def of(cls, location: Location) -> Address:
        """As a location says, in its URI or its options. Raises UsageError."""
        target = location.target
        if target and is_url(target):
            url, name = _from_uri(location)
        else:
            url, name = location.option("url") or "http://localhost:8080", target or location.option("collection") or ""
        parts = _checked(url)
        grpc, secure = _grpc(location, parts.hostname or "", parts.scheme == "https")
        return cls(url.rstrip("/"), grpc, secure, class_name(name))


def _from_uri(location: Location) -> tuple[str, str]:
    """The address and the class of weaviate://host:port/Class."""
    parts = urlsplit(location.target)
    path = unquote(parts.path).strip("/")
    if parts.username or parts.password:
        raise UsageError(f"{location}: Weaviate takes no user and password; --api-key gives a key")
    try:
        port = parts.port
    except ValueError:
        raise UsageError(f"{location}: the port is no number") from None
    host = parts.hostname or "localhost"
    said = (location.option("tls") or "").lower()
    # A key never goes in the clear over a network, unless somebody says so.
    secure = port == 443 or host.endswith(_CLOUD) or (bool(location.option("api-key")) and not is_loopback(host))
    secure = said not in ("false", "0", "no") if said else secure
    bracketed = f"[{host}]" if ":" in host else host
    address = f"https://{bracketed}:{port or 443}" if secure else f"http://{bracketed}:{port or 8080}"
    return address, path or location.option("collection") or ""


def _checked(url: str) -> Any:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url.split('@')[-1]}: the address of a Weaviate server looks like https://host:port")
    return parts


def _grpc(location: Location, host: str, secure: bool) -> tuple[str, bool]:
    """host:port of gRPC and whether it is encrypted: the options, else what Weaviate Cloud and images have."""
    given, port = location.option("grpc-url"), location.option("grpc-port")
    if given is not None:
        parts = urlsplit(given if is_url(given) else f"//{given}", scheme="https" if secure else "http")
        secure = parts.scheme in ("https", "grpcs")
        host, said = parts.hostname or host, parts.port or (443 if secure else GRPC_PORT)
    else:
        if port is not None and not (port.isdecimal() and 0 < int(port) < 65_536):
            raise UsageError(f"--grpc-port {port}: not a port")
        said = int(port) if port else GRPC_PORT
        if port is None and secure and host.endswith(_CLOUD):
            host, said = _cloud(host), 443
    return (f"[{host}]:{said}" if ":" in host else f"{host}:{said}"), secure


def _cloud(host: str) -> str:
    """The gRPC host beside a REST host of Weaviate Cloud, as its official client finds it."""
    if host.endswith(".weaviate.network"):
        name, _, domain = host.partition(".")
        return f"{name}.grpc.{domain}"
    return f"grpc-{host}"


def class_name(name: str) -> str:
    """The name as Weaviate has it, its first letter a capital. Raises UsageError for one that it does not take."""
    if not name:
        raise UsageError("weaviate: which collection? Give --collection NAME or set WEAVIATE_CLASS")
    capital = name[0].upper() + name[1:]
    if not _CLASS.fullmatch(capital):
        raise UsageError(f"{name!r} is no name of a Weaviate collection: letters, digits and _ alone, a letter first")
    return capital


@dataclass(frozen=True)
class _Line:
    """A gRPC channel and the calls that were made on it."""

    channel: Any
    stubs: dict[str, Callable[..., Any]] = field(default_factory=dict)


class Client:
    """A class on a server. Thread-safe. `place` names it in messages. Raises UsageError, MissingDependency."""

    def __init__(self, location: Location) -> None:
        self.place = str(location)
        self.address = Address.of(location)
        self.requests = Requests.of(location)
        key = location.option("api-key")
        self._secrets = [key] if key else []
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._http = Http(
            self.address.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=self.requests.timeout,
            connections=max(self.requests.concurrency, 4),
            key=_KEY,
        )
        self._lines = [_Line(_channel(self.address))]
        self._lock = threading.Lock()
        self._class: str | None = None

    @property
    def collection(self) -> str:
        """The name of the class; of an alias, as soon as its schema was seen, that of the class behind it."""
        return self._class or self.address.collection

    # -- REST ---------------------------------------------------------------------------------------------

    def schema(self) -> dict[str, Any] | None:
        """The class as the server describes it, None when there is none. Raises AccessError, TransientError."""
        try:
            found: dict[str, Any] = self.rest("GET", f"/v1/schema/{quote(self.collection)}")
        except NotFound:
            return None
        # An alias stands for its class in this request and in those of gRPC, but not where a schema is changed.
        self._class = str(found["class"])
        return found

    def rest(self, method: str, path: str, body: object = None) -> Any:
        """The answer of the REST API, tried again where that may help."""
        return self.requests.call(lambda: self._http.json(method, path, body))

    def change(self, method: str, path: str, body: object) -> Any:
        """The same for changes of the schema. Raises SchemaError with what the server says."""
        try:
            return self.rest(method, path, body)
        except Refused as error:
            raise SchemaError(f"{self.place}: {error}") from None

    def tenants(self) -> list[tuple[str, str]]:
        """Name and state of every tenant, sorted by name."""
        listed = self.rest("GET", f"/v1/schema/{quote(self.collection)}/tenants") or []
        return sorted((one["name"], one.get("activityStatus") or "HOT") for one in listed)

    # -- gRPC ---------------------------------------------------------------------------------------------

    def call(self, name: Call, request: Any) -> Any:
        """One try of a gRPC call. Raises AccessError, NotFound, TransientError, Refused, VexError."""
        import grpc

        line = self._lines[-1]
        method = line.stubs.get(name) or line.stubs.setdefault(name, stub(line.channel, name))
        try:
            return method(request, timeout=self.requests.timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._leave(line)
            raise self._translated(error, name) from None

    def _leave(self, line: _Line) -> None:
        """Make the next call on a connection of its own: one that was cut off without a word never answers again.
        What other threads wait for on the old one may still come."""
        with self._lock:
            if line is self._lines[-1]:
                self._lines.append(_Line(_channel(self.address)))

    def _translated(self, error: Any, name: str) -> VexError:
        import grpc

        code, said = error.code(), self.hidden(error.details() or "")
        text = f"{self.place}: {name}: {code.name}: {said}"
        # Weaviate 1.39 says UNKNOWN where gRPC has codes of its own, and "unauthorized" in its message.
        if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED) or _DENIED.search(said):
            return AccessError(keyless(f"{self.place}: the server refused the credentials ({code.name})", _KEY))
        if TOO_LARGE.search(said):
            return Refused(text)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return TransientError(text, _pushback(error), throttled=True)
        codes = grpc.StatusCode
        if code in (codes.UNAVAILABLE, codes.DEADLINE_EXCEEDED, codes.ABORTED, codes.CANCELLED):
            return TransientError(self._unreachable(text, said), _pushback(error))
        if passing(said):
            return TransientError(text, _pushback(error))
        return Refused(text)

    def _unreachable(self, text: str, said: str) -> str:
        """What to say when there is no gRPC where REST is."""
        if "failed to connect" in said.lower() or "dns resolution failed" in said.lower():
            return f"{self.place}: no gRPC answers at {self.address.grpc} (--grpc-port or --grpc-url says where it is)"
        return text

    def hidden(self, text: str) -> str:
        """What a server said, fit for messages: without the key, and of some length."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text[:_SHOWN]

    def close(self) -> None:
        """Close all connections."""
        self.requests.close()
        self._http.close()
        for line in self._lines:
            line.channel.close()


def _channel(address: Address) -> Any:
    """A channel, which connects when it is used. Raises MissingDependency."""
    try:
        import grpc

        messages()
    except ImportError:
        raise MissingDependency("weaviate needs grpcio and protobuf: pip install 'vexarrow[weaviate]'") from None
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),  # else channels to one address share a connection
    ]
    if address.secure:
        return grpc.secure_channel(address.grpc, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(address.grpc, options)


def passing(message: str) -> bool:
    """Whether an error of one record may be gone at the next try."""
    return bool(_PASSING.search(message))


def forbidden(message: str) -> bool:
    """Whether an error of one record is about the key and not about the record."""
    return bool(_FORBIDDEN.match(message))


def _pushback(error: Any) -> float | None:
    """Seconds that the server asks to wait."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-retry-pushback-ms" and value.isdecimal():
            return int(value) / 1000
    return None
