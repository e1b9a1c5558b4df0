"""The emulator of Pinecone is one that the official client, unmodified, takes for the service."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from tests.engines._pinecone_rules import Json, Refusal
from tests.engines.pinecone import KEY, Emulator, pinecone_emulator

pinecone: Any = pytest.importorskip("pinecone")


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with pinecone_emulator() as running:
        yield running


class Official:
    """The official client, with the clients of indexes that it has opened."""

    def __init__(self, client: Any, stack: ExitStack, *, grpc: bool = False) -> None:
        self._client = client
        self._stack = stack
        self.grpc = grpc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def index(self, name: str) -> Any:
        return self._stack.enter_context(self._client.index(name=name, grpc=self.grpc))


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Any]:
    with ExitStack() as stack:
        yield Official(stack.enter_context(pinecone.Pinecone(api_key=KEY, host=emulator.url)), stack)


@pytest.fixture(params=["REST", "gRPC"])
def vectors_client(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The client over REST, and over gRPC, which it has for the vectors API. It says afterwards that it was."""
    emulator.over.clear()
    with ExitStack() as stack:
        made = pinecone.Pinecone(api_key=KEY, host=emulator.url, grpc_scheme="http")
        yield Official(stack.enter_context(made), stack, grpc=request.param == "gRPC")
    assert set(emulator.over) == {request.param}


def named() -> str:
    return f"t-{uuid.uuid4().hex}"


def created(client: Any, metric: str = "cosine", dimension: int = 2) -> Any:
    name = named()
    spec = pinecone.ServerlessSpec(cloud="aws", region="us-east-1")
    client.create_index(name=name, dimension=dimension, metric=metric, spec=spec)
    return client.index(name=name)


def with_schema(client: Any) -> Any:
    name = named()
    fields: Json = {
        "embedding": {"type": "dense_vector", "dimension": 2, "metric": "cosine"},
        "title": {"type": "string", "full_text_search": {}},
        "words": {"type": "sparse_vector"},
    }
    client.indexes.create(name=name, schema={"fields": fields})
    return client.index(name=name)


def test_indexes_are_created_described_listed_and_deleted(client: Any) -> None:
    name = named()
    client.create_index(
        name=name, dimension=3, metric="dotproduct", spec=pinecone.ServerlessSpec(cloud="aws", region="us-east-1")
    )
    described = client.describe_index(name)
    assert (described.dimension, described.metric, described.status.ready) == (3, "dotproduct", True)
    assert name in [one.name for one in client.list_indexes()]
    with pytest.raises(pinecone.errors.exceptions.ConflictError):
        client.create_index(
            name=name, dimension=3, metric="cosine", spec=pinecone.ServerlessSpec(cloud="aws", region="us-east-1")
        )
    client.delete_index(name, timeout=-1)
    with pytest.raises(pinecone.errors.exceptions.NotFoundError):
        client.describe_index(name)


def test_vectors_are_upserted_listed_fetched_and_deleted(vectors_client: Any) -> None:
    client = vectors_client
    index = created(client, "dotproduct")
    sparse = {"indices": [1, 5], "values": [0.5, 0.25]}
    records = [{"id": f"a{row}", "values": [row + 1.0, 0.1], "metadata": {"n": row, "t": ["x"]}} for row in range(150)]
    records[0]["sparse_values"] = sparse
    assert index.upsert(vectors=records, namespace="space", batch_size=60, show_progress=False).upserted_count == 150
    assert index.upsert(vectors=[("d", [1.0, 2.0])]).upserted_count == 1
    stats = index.describe_index_stats()
    assert (stats.dimension, stats.total_vector_count, stats.namespaces["space"].vector_count) == (2, 151, 150)
    listed = [item.id for page in index.list(namespace="space", prefix="a1", limit=50) for item in page]
    assert listed == sorted(f"a{row}" for row in range(150) if str(row).startswith("1"))
    found = index.fetch(ids=["a0", "a7", "none"], namespace="space").vectors
    assert (sorted(found), found["a7"].metadata) == (["a0", "a7"], {"n": 7.0, "t": ["x"]})
    assert found["a7"].values == pytest.approx([8.0, 0.1])
    assert found["a0"].sparse_values.indices == [1, 5]
    assert [one.name for page in index.list_namespaces() for one in page] == ["__default__", "space"]
    index.delete(ids=["a0"], namespace="space")
    assert index.describe_index_stats().total_vector_count == 150


def test_vectors_are_fetched_by_metadata_page_by_page(vectors_client: Any) -> None:
    client = vectors_client
    index = created(client)
    index.upsert(
        vectors=[
            {"id": str(row), "values": [1.0, 1.0], "metadata": {"n": row, "odd": row % 2 == 1}} for row in range(50)
        ]
    )
    found: list[str] = []
    token = None
    while True:
        page = index.fetch_by_metadata(
            filter={"odd": {"$eq": True}, "n": {"$gte": 10}}, limit=7, pagination_token=token
        )
        found += page.vectors
        token = page.pagination.next if page.pagination else None
        if token is None:
            break
    assert sorted(found, key=int) == [str(row) for row in range(11, 50, 2)]


def test_documents_are_upserted_listed_fetched_and_deleted(client: Any) -> None:
    index = with_schema(client)
    documents = [{"_id": f"d{row:03}", "embedding": [1.0, row], "title": f"t {row}", "n": row} for row in range(120)]
    documents[0]["words"] = {"indices": [3], "values": [1.5]}
    assert (
        index.documents.batch_upsert(namespace="s", documents=documents, show_progress=False).successful_item_count
        == 120
    )
    assert [one.id for one in index.documents.list(namespace="s", prefix="d00")] == [f"d{row:03}" for row in range(10)]
    assert len(list(index.documents.list(namespace="s"))) == 120
    found = index.documents.fetch(namespace="s", ids=["d000", "d007"]).documents
    assert (found["d007"].title, found["d007"].n, found["d007"].embedding) == ("t 7", 7.0, [1.0, 7.0])
    assert found["d000"].words == {"indices": [3], "values": [1.5]}
    some = index.documents.fetch(namespace="s", filter={"n": {"$lt": 3}}, limit=2)
    assert (len(some.documents), some.pagination.next is not None) == (2, True)
    index.documents.delete(namespace="s", ids=["d000"])
    assert len(list(index.documents.list(namespace="s"))) == 119


REFUSED: dict[str, tuple[Any, str]] = {
    "empty id": ({"id": "", "values": [1, 1]}, "1 to 512"),
    "long id": ({"id": "x" * 513, "values": [1, 1]}, "1 to 512"),
    "wrong dimension": ({"id": "a", "values": [1.0]}, "does not match the dimension"),
    "zeros": ({"id": "a", "values": [0.0, 0.0]}, "non-zero"),
    "nested metadata": ({"id": "a", "values": [1, 1], "metadata": {"a": {"b": 1}}}, "list of strings"),
    "list of numbers": ({"id": "a", "values": [1, 1], "metadata": {"a": [1]}}, "list of strings"),
    "dollar": ({"id": "a", "values": [1, 1], "metadata": {"$a": 1}}, "field name"),
    "too much": ({"id": "a", "values": [1, 1], "metadata": {"a": "x" * 41_000}}, "40960"),
    "sparse": ({"id": "a", "values": [1, 1], "sparse_values": {"indices": [1], "values": [1.0]}}, "sparse"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_bad_record_fails_its_whole_request(emulator: Emulator, what: str) -> None:
    """Asked without the client, which refuses some of it itself."""
    from vexarrow.errors import Refused
    from vexarrow.http import Http

    bad, message = REFUSED[what]
    index = emulator.make(named(), {"_values": {"type": "dense_vector", "dimension": 2, "metric": "cosine"}})
    http = Http(index.host, headers={"Api-Key": KEY, "X-Pinecone-Api-Version": "2026-07"})
    with pytest.raises(Refused, match=message):
        http.json("POST", "/vectors/upsert", {"vectors": [{"id": "good", "values": [1, 1]}, bad]})
    assert not index.spaces
    http.close()


def test_limits_of_requests_are_enforced(vectors_client: Any) -> None:
    errors = pinecone.errors.exceptions
    kind = errors.PineconeError if vectors_client.grpc else errors.PayloadTooLargeError
    wide = created(vectors_client, dimension=500)
    row = np.full(500, 0.123456789).tolist()
    with pytest.raises(kind, match="2000000 bytes"):
        wide.upsert(vectors=[(str(one), row, {"text": "x" * 300}) for one in range(900)])
    with pytest.raises(errors.ApiError, match="exceeds the limit of 1000"):
        created(vectors_client).upsert(vectors=[(str(one), [1.0, 1.0]) for one in range(1001)])


def test_each_index_is_served_by_one_api_alone(client: Any) -> None:
    with pytest.raises(pinecone.errors.exceptions.ApiError, match="documents API"):
        with_schema(client).upsert(vectors=[("a", [1.0, 1.0])])
    with pytest.raises(pinecone.errors.exceptions.ApiError, match="vectors API"):
        created(client).documents.upsert(namespace="s", documents=[{"_id": "a"}])


def test_a_wrong_key_is_what_the_client_expects(emulator: Emulator) -> None:
    with (
        pinecone.Pinecone(api_key="wrong-key", host=emulator.url) as stranger,
        pytest.raises(pinecone.errors.exceptions.UnauthorizedError),
    ):
        stranger.describe_index("x")


def test_injected_faults_are_what_the_client_expects(emulator: Emulator, vectors_client: Any) -> None:
    index = created(vectors_client)
    emulator.faults += [Refusal(429, "slow down", 0.01), Refusal(503, "later")]
    assert index.upsert(vectors=[("a", [1.0, 1.0])]).upserted_count == 1
    assert emulator.faults == []


def test_nulls_vanish_and_numbers_are_floats(vectors_client: Any) -> None:
    client = vectors_client
    index = created(client)
    index.upsert(vectors=[{"id": "a", "values": [1.0, 0.1], "metadata": {"n": 3, "gone": None}}])
    assert repr(index.fetch(ids=["a"]).vectors["a"].metadata) == "{'n': 3.0}"
