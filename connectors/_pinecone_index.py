"""From a location to an index that can be read and written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

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
from vexarrow.location import Location
from vexarrow.metrics import metric
from vexarrow.patience import Requests
from vexarrow.protocols import Description

from ._pinecone_api import Api, Control, Data, Documents, Vectors, is_at, namespaces
from ._pinecone_grpc import Calls, GrpcVectors, NoGrpc
from ._pinecone_schema import DENSE, Index, Json, index_of

CONTROLLER = "https://api.pinecone.io"
METRICS = {"cosine": "cosine", "dot": "dotproduct", "euclidean": "euclidean"}
_REGIONS = {"aws": "us-east-1", "gcp": "us-central1", "azure": "eastus2"}
TRANSPORTS = ("auto", "grpc", "rest")
READY_SECONDS = 300.0
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 2.0


@dataclass(frozen=True)
class Where:
    """What a location says: at least one of `index` and `host` is known. `namespace`: the only one of Pinecone's that
    is meant, None for all; `vector`: the dense field chosen."""

    index: str | None
    host: str | None
    namespace: str | None
    vector: str | None
    place: str

    @classmethod
    def of(cls, location: Location) -> Where:
        """Raises UsageError when nothing names an index. One that the URI names goes before the host of PINECONE_HOST:
        of a migration between two indexes it can be that of one alone."""
        parts = urlsplit(location.target)
        named = unquote(parts.netloc.rpartition("@")[2])
        index = named or location.option("index")
        host = location.option("host")
        if named and host == os.environ.get("PINECONE_HOST"):
            host = None
        path = unquote(parts.path.strip("/"))
        if not index and not host:
            raise UsageError("pinecone: which index? Give --index NAME or --host URL, or set PINECONE_INDEX")
        place = str(location) if location.target else f"pinecone://{index or urlsplit(host or '').netloc or host}"
        space = "" if path == "__default__" else path
        return cls(index or None, host, space if path else None, location.option("vector-name"), place)


@dataclass(frozen=True)
class Wish:
    """What the options say of an index that is made; None: nothing. `api`: "vectors" or "documents"."""

    cloud: str | None = None
    region: str | None = None
    api: str | None = None

    @classmethod
    def of(cls, location: Location) -> Wish:
        """Raises UsageError."""
        api = location.option("api")
        if api not in (None, "vectors", "documents"):
            raise UsageError(f"--api {api}: has to be vectors or documents")
        return cls(location.option("cloud"), location.option("region"), api)


@dataclass(frozen=True)
class Opened:
    """An index and the clients to use it."""

    index: Index
    api: Api
    data: Data
    namespace: str | None
    place: str
    requests: Requests

    def counts(self) -> dict[str, int]:
        """Records by Pinecone namespace."""
        return self.requests.call(lambda: namespaces(self.data))

    def description(self) -> Description:
        """As a target."""
        rows = sum(self.counts().values())
        return Description(dim=self.index.dim, metric=self.index.metric, rows=rows, source_store="pinecone")


class Service:
    """Opens the index of a location and makes it. Clients are closed with it. `transport`: one of TRANSPORTS."""

    def __init__(self, where: Where, key: str, controller: str, requests: Requests, transport: str = "auto") -> None:
        self.where = where
        self.requests = requests
        self._key = key
        self._transport = transport
        self._clients: list[Api | Calls] = []
        self._vectors: dict[str, Data] = {}
        self._control = Control(self._api(controller))

    @classmethod
    @contextmanager
    def at(cls, location: Location) -> Iterator[Service]:
        """The service of a location. Raises UsageError without a key."""
        where, key = Where.of(location), location.option("api-key")
        if not key:
            raise UsageError(f"{where.place}: no API key: give --api-key or set PINECONE_API_KEY")
        if not key.isascii() or not key.isprintable():
            raise UsageError(f"{where.place}: the API key holds characters that no key has")
        transport = location.option("transport") or "auto"
        if transport not in TRANSPORTS:
            raise UsageError(f"--transport {transport}: has to be {', '.join(TRANSPORTS[:-1])} or {TRANSPORTS[-1]}")
        requests = Requests.of(location)
        service = cls(where, key, location.option("controller-host") or CONTROLLER, requests, transport)
        try:
            yield service
        finally:
            requests.close()
            for client in service._clients:
                client.close()

    def _api(self, url: str) -> Api:
        connections = 2 * self.requests.concurrency + 2
        api = Api(url, self._key, timeout=self.requests.timeout, connections=connections)
        self._clients.append(api)
        return api

    def _vectors_at(self, host: str) -> Data:
        """The vectors API of a host: over gRPC as wished, or where it answers."""
        if host not in self._vectors:
            self._vectors[host] = (self._grpc(host) if self._transport != "rest" else None) or Vectors(self._api(host))
        return self._vectors[host]

    def _grpc(self, host: str) -> Data | None:
        """None where gRPC does not answer, and was not asked for in so many words."""
        try:
            calls = Calls(host, self._key, timeout=self.requests.timeout)
            self._clients.append(calls)
            found = GrpcVectors(calls)
            if self._transport == "auto":
                self.requests.call(found.probe)
            return found
        except (MissingDependency, NoGrpc):
            if self._transport == "grpc":
                raise
        except TransientError as error:
            if error.throttled:
                raise
        return None

    def found(self) -> Opened | None:
        """The index, None when there is none. Raises AccessError, TransientError."""
        where = self.where
        try:
            if where.host is None:
                assert where.index is not None  # noqa: S101 - Where sees to it
                index = self._described(where.index)
            else:
                index = self._hosted(where.host)
        except NotFound:
            return None
        return self._opened(index)

    def _described(self, name: str) -> Index:
        answer = self.requests.call(lambda: self._control.describe(name))
        return self._until_ready(index_of(answer, self.where.vector))

    def _hosted(self, host: str) -> Index:
        """The index of a host, described by the control plane, or where a key is for data alone by the data plane."""
        answer = self._told(host)
        if answer is not None:
            return replace(index_of(answer, self.where.vector), host=host)
        told = self.requests.call(self._vectors_at(host).stats)
        legacy = {"name": self.where.index, "host": host, "vector_type": told.get("vectorType")}
        return index_of(legacy | {"dimension": told.get("dimension"), "metric": told.get("metric")})

    def _told(self, host: str) -> Json | None:
        """What the control plane says of the index; None when it knows no such host, or does not answer this key."""
        name = self.where.index
        try:
            if name is None:
                return self.requests.call(lambda: self._control.at(host))
            answer = self.requests.call(lambda: self._control.describe(name))
        except (AccessError, TransientError):
            return None
        if not is_at(answer, host):
            self._check_no_other(name, host)
        return answer

    def _check_no_other(self, name: str, host: str) -> None:
        """Raise UsageError when a host is that of another index than the one named. One that no index of the project
        has is a proxy's, or another way to the same index."""
        try:
            other = self.requests.call(lambda: self._control.at(host))
        except AccessError:
            other = {"name": "which cannot be told"}
        if other is not None:
            raise UsageError(
                f"{self.where.place}: --host (or PINECONE_HOST) {host} is not where the index {name} is, but another "
                f"one, {other.get('name')}; leave out one of the two"
            )

    def _opened(self, index: Index) -> Opened:
        api = self._api(index.host)
        data = Documents(api) if index.documents else self._vectors_at(index.host)
        if index.dim is None and index.dense is not None:
            told = self.requests.call(data.stats)
            index = replace(index, dim=told.get("dimension"), metric=index.metric or metric(told.get("metric")))
        return Opened(index, api, data, self.where.namespace, self.where.place, self.requests)

    def opened(self) -> Opened:
        """The index. Raises NotFound when there is none."""
        found = self.found()
        if found is None:
            raise NotFound(f"{self.where.place}: there is no such index")
        return found

    # -- creating ---------------------------------------------------------------------------------------------------

    def create(self, plan: Description, wish: Wish) -> Opened:
        """Make the index that a plan needs and wait until it is ready. Raises SchemaError, UsageError."""
        name = self.where.index
        if name is None or self.where.host is not None:
            raise NotFound(
                f"{self.where.place}: no such index; one is created with --index NAME and without --host, PINECONE_HOST"
            )
        carried = plan.settings.get("pinecone") or {}
        body = {
            "name": name,
            "schema": {"fields": self._fields(plan, carried, wish)},
            "deployment": _deployment(carried, wish),
        }
        try:
            made = self.requests.call(lambda: self._control.create(body))
        except Refused as error:
            made = self._made_meanwhile(name, plan, error)
        return self._opened(self._until_ready(index_of(made, self.where.vector)))

    def _made_meanwhile(self, name: str, plan: Description, refused: Refused) -> Json:
        """The index that is there after all: the answer to an earlier try was lost, or another run was faster."""
        try:
            made = self.requests.call(lambda: self._control.describe(name))
        except NotFound:
            raise refused from None
        index, wanted = index_of(made, self.where.vector), metric(plan.metric or "cosine") or "cosine"
        if (index.dim, index.metric) != (plan.dim, wanted):
            raise SchemaError(
                f"{self.where.place}: somebody else has just created it with {index.dim} dimensions and the metric "
                f"{index.metric}, and not with {plan.dim} and {wanted}"
            )
        return made

    def _fields(self, plan: Description, carried: Mapping[str, Any], wish: Wish) -> Json:
        """The schema: as wished, else that of the index that the records come from, else one dense vector."""
        place = self.where.place
        if not plan.dim or not 1 <= plan.dim <= 20_000:
            raise SchemaError(f"{place}: Pinecone holds vectors of 1 to 20,000 dimensions, not {plan.dim}")
        named = metric(plan.metric or "cosine") or "cosine"
        if named not in METRICS:
            raise SchemaError(f"{place}: Pinecone has no metric {named}; --metric takes {', '.join(METRICS)}")
        dense = {"type": "dense_vector", "dimension": plan.dim, "metric": METRICS[named]}
        schema = (carried.get("schema") or {}).get("fields") or {}
        kept = {key: one for key, one in schema.items() if _searched(one)}
        vectors = [key for key, one in kept.items() if one["type"] == "dense_vector"]
        if wish.api == "vectors" or (wish.api is None and not vectors):
            return {DENSE: dense}
        if vectors:
            return {key: dense if key in vectors else one for key, one in kept.items()}
        sparse = [name.removeprefix("sparse:") for name in plan.vectors if name.startswith("sparse:")][:1]
        fields: Json = {name: {"type": "sparse_vector"} for name in sparse}
        return {"vector": dense, "text": {"type": "string", "full_text_search": {}}} | fields

    def _until_ready(self, index: Index) -> Index:
        end, pause = time.monotonic() + READY_SECONDS, _FIRST_WAIT
        while not index.ready or not index.host:
            if time.monotonic() > end:
                raise VexError(f"{self.where.place}: the index was not ready after {READY_SECONDS:.0f} s")
            time.sleep(pause)
            pause = min(_LONGEST_WAIT, 2 * pause)
            index = index_of(self._again(index), self.where.vector)
        return index

    def _again(self, index: Index) -> Json:
        return self.requests.call(lambda: self._control.describe(str(index.name)))


def _searched(one: Mapping[str, Any]) -> bool:
    """Whether a field can be declared again: one that is searched, and whose vectors Pinecone does not make."""
    if one.get("embed") or one.get("sparse_embed"):
        return False
    kind = one.get("type")
    return kind in ("dense_vector", "sparse_vector") or (kind == "string" and one.get("full_text_search") is not None)


def _deployment(carried: Mapping[str, Any], wish: Wish) -> Json:
    """Where a new index runs: as the options say, as the index that the records come from, or in AWS us-east-1."""
    before = carried.get("deployment") or {}
    if before.get("deployment_type", "managed") != "managed" or (wish.cloud or before.get("cloud")) != before.get(
        "cloud"
    ):
        before = {}
    cloud = wish.cloud or before.get("cloud") or "aws"
    region = wish.region or before.get("region") or _REGIONS.get(cloud, "us-east-1")
    return {"deployment_type": "managed", "cloud": cloud, "region": region}
