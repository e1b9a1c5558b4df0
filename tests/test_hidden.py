"""A `__vex__` that somebody else wrote is a member of the metadata like any other, in every store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.engines.pinecone import KEY, VERSION
from tests.places import DIM, STORES, Places, content, pinecone_index
from vexarrow import records
from vexarrow.hidden import KINDS, said
from vexarrow.http import Http
from vexarrow.testing import Spot, samples, write

DEEP = "[" * 300 + "]" * 300
FORGED = (
    '{"floats":[[1]]}',
    '{"floats":[1]}',
    '{"floats":"k"}',
    '{"empty":[{}]}',
    '{"metadata":[]}',
    f'{{"metadata":{{"a":{DEEP}}}}}',
    '{"metadata_text":5}',
    '{"metadata_text":"{"}',
    '{"extra":{"a":1}}',
    '{"extra":"no JSON"}',
    '{"score":"high"}',
    '{"score":true}',
    '{"source_store":5}',
    '{"modality":[]}',
    '{"vex_version":{}}',
    '{"namespace":5}',
    '{"sparse":[1]}',
    '{"created_at":"soon"}',
    '{"text":[1]}',
    '{"columns":"k"}',
    '{"bits":1}',
    '{"unheard":1}',
    "[]",
    "null",
    "5",
    "y",
    "",
)


@pytest.mark.parametrize("text", [*FORGED, None, 5, True, ["{}"], {}])
def test_a_text_that_we_would_not_write_is_not_ours(text: Any) -> None:
    assert said(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"metadata":{"a":{"b":null}},"floats":["k"],"empty":["text","model"]}',
        '{"metadata_text":"{\\"a\\":1e999,\\"b\\":\\"\\\\ud800\\"}","extra":"{\\"x\\":1}","score":1}',
        '{"score":0.5,"source_store":"vektor","modality":"image","vex_version":null}',
    ],
)
def test_a_text_that_we_write_is_ours(text: str) -> None:
    assert said(text) == json.loads(text)
    assert json.loads(text).keys() <= KINDS.keys()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with Places(tmp_path_factory.mktemp("hidden")) as every:
        yield every


VECTOR = [float(at) for at in range(DIM)]
Rows = Sequence[tuple[str, dict[str, Any]]]


def _made(places: Places, kind: str) -> tuple[Spot, str]:
    """A place with one record of ours, and its name."""
    name = places.name()
    addresses = STORES[kind].made(places.addresses(kind), name)
    spot = STORES[kind].spot(addresses, name, {})
    first = records.build({"id": ["ours"], "text": ["t"], "metadata": ['{"k":"x"}']}, samples.vectors(1, DIM))
    assert write(spot, first) == []
    return spot, name


def _qdrant(places: Places, rows: Rows) -> Spot:
    spot, name = _made(places, "qdrant")
    addresses = places.addresses("qdrant")
    points = [{"id": one, "vector": VECTOR, "payload": payload} for one, payload in rows]
    with closing(Http(f"http://{addresses['http']}", headers={"api-key": addresses["key"]})) as server:
        server.json("PUT", f"/collections/{name}/points?wait=true", {"points": points})
    return spot


def _chroma(places: Places, rows: Rows) -> Spot:
    spot, name = _made(places, "chroma")
    path = "/api/v2/tenants/default_tenant/databases/default_database/collections"
    with closing(Http(f"http://{places.addresses('chroma')['http']}")) as server:
        identity = server.json("GET", f"{path}/{name}")["id"]
        body = {"embeddings": [VECTOR] * len(rows), "documents": None, "uris": None}
        ids, metadatas = zip(*rows, strict=True)
        server.json("POST", f"{path}/{identity}/upsert", {"ids": ids, "metadatas": metadatas, **body})
    return spot


def _pgvector(places: Places, rows: Rows) -> Spot:
    name = places.name()
    spot = STORES["pgvector"].spot(places.addresses("pgvector"), name, {})
    url, _, _ = str(spot.source()).partition("#")
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("CREATE EXTENSION IF NOT EXISTS vector")
        server.execute(f"CREATE TABLE {name} (id text PRIMARY KEY, v vector({DIM}), metadata jsonb)")
        for one, payload in rows:
            values = (one, str(VECTOR), json.dumps(payload))
            server.execute(f"INSERT INTO {name} VALUES (%s, %s, %s)", values)
    return spot


def _weaviate(places: Places, rows: Rows) -> Spot:
    spot, name = _made(places, "weaviate")
    name = name[0].upper() + name[1:]
    objects = [
        {"class": name, "id": one, "vector": VECTOR, "properties": {"metadata": '{"k":"x"}', "__vex__": p["__vex__"]}}
        for one, p in rows
    ]
    with closing(Http(f"http://{places.addresses('weaviate')['http']}")) as server:
        server.json("POST", "/v1/batch/objects", {"objects": objects})
    return spot


def _pinecone(transport: str) -> Callable[[Places, Rows], Spot]:
    def filled(places: Places, rows: Rows) -> Spot:
        name = places.name()
        addresses = pinecone_index(places.addresses("pinecone"), name)
        headers = {"Api-Key": KEY, "X-Pinecone-Api-Version": VERSION}
        vectors = [{"id": one, "values": VECTOR, "metadata": payload} for one, payload in rows]
        with closing(Http(f"http://{addresses['index']}", headers=headers)) as server:
            server.json("POST", "/vectors/upsert", {"vectors": vectors})
        return STORES["pinecone"].spot(places.addresses("pinecone"), name, {"transport": transport})

    return filled


FILLED = {
    "qdrant": _qdrant,
    "chroma": _chroma,
    "pgvector": _pgvector,
    "weaviate": _weaviate,
    "pinecone over gRPC": _pinecone("grpc"),
    "pinecone over REST": _pinecone("rest"),
}


@pytest.mark.parametrize("kind", FILLED)
def test_what_is_not_ours_is_metadata(places: Places, kind: str) -> None:
    rows = [(str(UUID(int=at)), {"k": "x", "__vex__": text}) for at, text in enumerate(FORGED)]
    found = {fact.id: fact for fact in content(FILLED[kind](places, rows))}
    kept = [json.loads(found[json.dumps(one)].metadata or "{}") for one, _ in rows]
    assert kept == [payload for _, payload in rows]


@pytest.mark.parametrize("kind", ["qdrant", "chroma", "pinecone over gRPC", "pinecone over REST"])
def test_what_can_be_no_id_is_metadata(places: Places, kind: str) -> None:
    values: list[Any] = [True, ["a"], *([{"a": 1}, []] if kind == "qdrant" else [])]
    rows = [(str(UUID(int=at)), {"__id__": value, "k": "x", "text": "t"}) for at, value in enumerate(values)]
    found = {fact.id: fact for fact in content(FILLED[kind](places, rows))}
    kept = [json.loads(found[json.dumps(one)].metadata or "{}") for one, _ in rows]
    assert kept == [{"__id__": value, "k": "x"} for value in values]
