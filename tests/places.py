"""A fresh place of every kind; each store is on a test engine of its own, which starts when it is first needed.

    with Places(folder) as places:
        spot = places.fresh("chroma")

A store is reached by one or several addresses, each host:port under the name of what is spoken there: "http", "grpc" or
"tcp" for anything else. Tests put a proxy in front of one and name a place by the address of the proxy.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.engines.chroma import chroma_server
from tests.engines.pinecone import KEY as PINECONE_KEY
from tests.engines.pinecone import VERSION as PINECONE_VERSION
from tests.engines.pinecone import pinecone_emulator
from tests.engines.postgres import postgres
from tests.engines.qdrant import qdrant_server
from tests.engines.weaviate import weaviate_server
from vexarrow.engine import Plan, run
from vexarrow.http import Http
from vexarrow.report import Report
from vexarrow.testing import Fact, Spot, facts, read

Addresses = Mapping[str, str]  # "key" among them is no address, where there is one
Options = Mapping[str, str]


DIM = 8


def anything(fact: Fact) -> bool:
    """Holds every record."""
    return True


def with_vector(fact: Fact) -> bool:
    """Holds records that have a vector."""
    return fact.vector is not None


@dataclass(frozen=True)
class File:
    """A file by its suffix. `holds`: whether it can hold a record at all."""

    suffix: str
    holds: Callable[[Fact], bool] = anything


@dataclass(frozen=True)
class Store:
    """A store and its engine.

    `spot`: a place by a name of letters and digits, with options for both sides. `holds`: whether it can hold a record
    at all. `ways`: the addresses that its data go to, each with a kind of proxy that can stand there. `made`: where a
    new place of a name is, which may have to be made for that, empty, for vectors of `DIM` and the metric "dot".
    """

    start: Callable[[], AbstractContextManager[Addresses]]
    spot: Callable[[Addresses, str, Options], Spot]
    ways: tuple[tuple[str, str], ...]
    holds: Callable[[Fact], bool] = with_vector
    made: Callable[[Addresses, str], Addresses] = lambda addresses, name: addresses


class Places:
    """Fresh places; all engines end with the context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._session = uuid.uuid4().hex[:6]  # a real server may have seen other sessions
        self._started: dict[str, Addresses | BaseException] = {}
        self._engines = ExitStack()

    def __enter__(self) -> Places:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engines.close()

    def name(self) -> str:
        """A name that no place has yet."""
        return f"fresh{self._session}n{next(self._numbers)}"

    def copied(self, source: Spot, target: Spot, *, rows: int | None = None, metric: str = "dot") -> Report:
        """A run of the engine from one place to another. With "dot" every store gives vectors back bit by bit."""
        rejects = f"{self._folder}/{self.name()}.rejects.jsonl"
        return run(Plan(source.source(), target.target(), rejects_path=rejects, rows=rows, metric=metric))

    def fresh(self, kind: str) -> Spot:
        """A place that does not exist yet."""
        found = PLACES[kind]
        if isinstance(found, File):
            return Spot(f"{self._folder}/{self.name()}{found.suffix}")
        return found.spot(self.addresses(kind), self.name(), {})

    def addresses(self, kind: str) -> Addresses:
        """Where the engine of a store listens. Skips, or fails, when it cannot be started, now and every time."""
        if kind not in self._started:
            try:
                self._started[kind] = self._engines.enter_context(STORES[kind].start())
            except (pytest.skip.Exception, pytest.fail.Exception) as absent:
                self._started[kind] = absent
        found = self._started[kind]
        if isinstance(found, BaseException):
            raise found
        return found


def content(spot: Spot) -> list[Fact]:
    """All records of a place, by id. JSON is compared by its value."""
    return by_id(facts(read(spot), verbatim=False))


def by_id(found: list[Fact]) -> list[Fact]:
    """Sorted."""
    return sorted(found, key=lambda fact: fact.id)


def nearly(found: list[Fact], expected: list[Fact]) -> None:
    """Assert that records are equal, vectors but for what rounding to float32 does when lengths become 1 and back."""
    assert [fact._replace(vector=None) for fact in found] == [fact._replace(vector=None) for fact in expected]
    for one, other in zip(found, expected, strict=True):
        before, after = (np.frombuffer(fact.vector or b"", "<f4") for fact in (other, one))
        np.testing.assert_allclose(after, before, rtol=0, atol=4e-7 * float(np.abs(before).max(initial=0)))


def host(address: str) -> str:
    """Host and port of a URL or of an address that is nothing else."""
    return address.rpartition("//")[2].rstrip("/")


@contextmanager
def _chroma() -> Iterator[Addresses]:
    with chroma_server() as url:
        yield {"http": host(url)}


def _chroma_spot(addresses: Addresses, name: str, options: Options) -> Spot:
    return Spot(f"chroma://{addresses['http']}/{name}", options, options)


@contextmanager
def _pgvector() -> Iterator[Addresses]:
    with postgres() as url:
        yield {"tcp": urlsplit(url).netloc.rpartition("@")[2]}


def _pgvector_spot(addresses: Addresses, name: str, options: Options) -> Spot:
    return Spot(f"postgresql://postgres@{addresses['tcp']}/postgres#public.{name}", options, options)


@contextmanager
def _pinecone() -> Iterator[Addresses]:
    with pinecone_emulator() as emulator:
        yield {"control": host(emulator.url), "key": PINECONE_KEY}


def _pinecone_spot(addresses: Addresses, name: str, options: Options) -> Spot:
    """An index speaks both at one address; of two the one that is another than the index's own counts."""
    urls = {}
    if "http" in addresses:
        grpc = addresses["grpc"] != addresses["index"]
        urls["host"] = f"http://{addresses['grpc' if grpc else 'http']}"
        urls |= {"transport": "grpc"} if grpc else {}
    urls["controller-host"] = f"http://{addresses['control']}"
    every = {"index": name, "api-key": PINECONE_KEY, **urls, **options}
    return Spot("pinecone", every, every)


def pinecone_index(addresses: Addresses, name: str, dim: int = DIM, metric: str = "dotproduct") -> Addresses:
    """The addresses with that of a new index."""
    headers = {"Api-Key": PINECONE_KEY, "X-Pinecone-Api-Version": PINECONE_VERSION}
    dense = {"type": "dense_vector", "dimension": dim, "metric": metric}
    where = {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}
    with closing(Http(f"http://{addresses['control']}", headers=headers)) as control:
        control.json("POST", "/indexes", {"name": name, "schema": {"fields": {"_values": dense}}, "deployment": where})
        while not (index := control.json("GET", f"/indexes/{name}"))["status"]["ready"]:
            pass
    return {**addresses, **dict.fromkeys(("index", "http", "grpc"), host(index["host"]))}


@contextmanager
def _qdrant() -> Iterator[Addresses]:
    with qdrant_server() as server:
        yield {"http": host(server.url), "grpc": f"127.0.0.1:{server.port + 1}", "key": server.key or ""}


def _qdrant_spot(addresses: Addresses, name: str, options: Options) -> Spot:
    every = {"grpc-port": addresses["grpc"].rpartition(":")[2], "api-key": addresses["key"], **options}
    return Spot(f"qdrant://{addresses['http']}/{name}", every, every)


@contextmanager
def _weaviate() -> Iterator[Addresses]:
    with weaviate_server() as server:
        yield {"http": host(server.url), "grpc": f"{urlsplit(server.url).hostname}:{server.grpc_port}"}


def _weaviate_spot(addresses: Addresses, name: str, options: Options) -> Spot:
    every = {"grpc-url": addresses["grpc"], **options}
    return Spot(f"weaviate://{addresses['http']}/{name}", every, every)


STORES: Mapping[str, Store] = {
    "qdrant": Store(_qdrant, _qdrant_spot, (("grpc", "grpc"), ("grpc", "tcp")), anything),
    "pinecone": Store(
        _pinecone, _pinecone_spot, (("http", "http"), ("grpc", "grpc"), ("http", "tcp")), made=pinecone_index
    ),
    "pgvector": Store(_pgvector, _pgvector_spot, (("tcp", "tcp"),), anything),
    "weaviate": Store(_weaviate, _weaviate_spot, (("grpc", "grpc"), ("grpc", "tcp"), ("http", "http")), anything),
    "chroma": Store(_chroma, _chroma_spot, (("http", "http"), ("http", "tcp"))),
}
PLACES: Mapping[str, File | Store] = {
    "vektor": File(".db"),
    "jsonl": File(".vmig.jsonl"),
    "parquet": File(".parquet"),
    **STORES,
}
