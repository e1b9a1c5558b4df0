"""The command lines of the stores as they stand in the README and as users of the original tool know them.

Addresses alone are others here, by options or by the environment variables that every store has for them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.commands import DEBIAN, MEMORY, Done, vex
from tests.engines import embedding
from tests.engines.moto import client_environment, moto_server
from tests.places import STORES, Places, content, nearly, pinecone_index
from vexarrow.testing import Fact, Spot


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with Places(tmp_path_factory.mktemp("commands")) as every:
        yield every


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with the files that the commands name."""
    shutil.copy(DEBIAN, tmp_path / "memories.vmig.jsonl")
    shutil.copy(MEMORY, tmp_path / "memory.db")
    monkeypatch.chdir(tmp_path)


def command(line: str, *, key: str | None = None) -> int:
    """Run a command line twice, which must write all that it reads and never show the key; the number of records."""
    done = once(line)
    assert key is None or key not in done.out + done.err
    report = once(f"{line} --json").report  # nothing is doubled
    counts: dict[str, int] = {name: report[name] for name in ("read", "written", "rejected", "skipped")}
    assert counts == {"read": counts["read"], "written": counts["read"], "rejected": 0, "skipped": 0}
    return counts["read"]


def once(line: str) -> Done:
    name, *words = line.split()
    assert name == "vex"
    return vex(*words).ok()


def memories(name: str = "memories.vmig.jsonl") -> list[Fact]:
    return content(Spot(name))


def test_import_into_a_pinecone_index(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    direct = places.addresses("pinecone")
    monkeypatch.setenv("PINECONE_CONTROLLER_HOST", f"http://{direct['control']}")
    key, index = direct["key"], pinecone_index(direct, "my-index", 384, "cosine")
    line = f"vex import --from memories.vmig.jsonl --to pinecone --api-key {key} --index my-index"
    assert command(f"{line} --host http://{index['http']}", key=key) == 160
    nearly(content(STORES["pinecone"].spot(direct, "my-index", {})), memories())


def test_import_into_a_qdrant_collection_elsewhere(places: Places) -> None:
    direct = places.addresses("qdrant")
    line = f"vex import --from memories.vmig.jsonl --to qdrant --url http://{direct['http']}"
    assert command(f"{line} --collection my-collection --api-key {direct['key']}", key=direct["key"]) == 160
    nearly(content(STORES["qdrant"].spot(direct, "my-collection", {})), memories())


@pytest.fixture
def qdrant(places: Places, monkeypatch: pytest.MonkeyPatch) -> str:
    """Host and port of the server that the environment names."""
    direct = places.addresses("qdrant")
    monkeypatch.setenv("QDRANT_URL", f"http://{direct['http']}")
    monkeypatch.setenv("QDRANT_API_KEY", direct["key"])
    return direct["http"]


def test_import_into_a_qdrant_collection_here(places: Places, qdrant: str) -> None:
    assert command("vex import --from memories.vmig.jsonl --to qdrant --collection memories") == 160
    nearly(content(STORES["qdrant"].spot(places.addresses("qdrant"), "memories", {})), memories())


def test_a_dry_run_and_an_inspection_of_a_qdrant_collection(places: Places, qdrant: str) -> None:
    line = "vex import --from memories.vmig.jsonl --to qdrant --collection looked-at"
    assert "would be created: 384 dimensions, metric cosine" in once(f"{line} --dry-run").out
    once(line)
    assert "is there: 160 records, 384 dimensions, metric cosine" in once(f"{line} --dry-run").out
    shown = once(f"vex inspect qdrant://{qdrant}/looked-at").out
    assert f"─ qdrant://{qdrant}/looked-at ─" in shown
    for expected in ("records        : 160", "metric         : cosine", "dimension      : 384 in all records",
                     "namespaces (29)", "qdrant settings", "hnsw_config.m "):  # fmt: skip
        assert expected in shown


def test_migrate_from_vektor_to_qdrant(places: Places, qdrant: str) -> None:
    line = f"vex migrate --from vektor --to qdrant --db ./memory.db --url http://{qdrant} --collection from-vektor"
    found = memories("memory.db")
    assert command(line) == len(found) > 20
    nearly(content(STORES["qdrant"].spot(places.addresses("qdrant"), "from-vektor", {})), found)


def test_migrate_from_qdrant_to_postgresql(places: Places, qdrant: str) -> None:
    command("vex import --from memories.vmig.jsonl --to qdrant --collection a")
    database = f"postgresql://postgres@{places.addresses('pgvector')['tcp']}/postgres"
    assert command(f"vex migrate qdrant://{qdrant}/a {database}#public.b") == 160
    nearly(memories(f"{database}#public.b"), memories())


@pytest.fixture
def _bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An object store with a bucket named "bucket"."""
    import boto3

    with moto_server() as address:
        for name, value in client_environment(address).items():
            monkeypatch.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield


@pytest.mark.s3
@pytest.mark.usefixtures("_bucket")
def test_export_from_chroma_to_an_object_store(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMA_URL", f"http://{places.addresses('chroma')['http']}")
    assert command("vex import --from memories.vmig.jsonl --to chroma --collection notes") == 160
    once("vex export --from chroma --collection notes --output s3://bucket/notes/")
    nearly(memories("s3://bucket/notes/"), memories())


def test_import_into_weaviate_with_new_vectors(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once("vex convert memories.vmig.jsonl memories.parquet")
    direct = places.addresses("weaviate")
    line = "vex import --from memories.parquet --to weaviate --collection Notes --reembed"
    with embedding.embedding_server() as server:
        server.key = embedding.KEY
        environment = {
            "OPENAI_BASE_URL": server.openai,
            "OPENAI_API_KEY": embedding.KEY,
            "WEAVIATE_URL": f"http://{direct['http']}",
            "XDG_CACHE_HOME": str(tmp_path),
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        more = f"--embed-model openai:text-embedding-3-small --grpc-url {direct['grpc']}"
        assert command(f"{line} {more}", key=embedding.KEY) == 160
        assert len(server.texts()) == 160  # the second run found them in the cache
    found = content(STORES["weaviate"].spot(direct, "Notes", {}))
    assert [fact.vector for fact in found] == [new_vector(fact) for fact in found]
    plain = [fact._replace(vector=None, model=None) for fact in memories()]
    assert [fact._replace(vector=None, model=None) for fact in found] == plain


def new_vector(fact: Fact) -> bytes:
    return embedding.vector(fact.text or "", "text-embedding-3-small", 1536).tobytes()
