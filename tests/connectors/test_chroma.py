"""Chroma: the contract on its real server and on local folders, and what is special about it."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import urllib3

from tests.commands import json_lines, vex
from tests.engines.chroma import chroma_server
from tests.engines.proxy import HTTP_FAULTS, Fault, Script, http_proxy
from vexarrow import records
from vexarrow.errors import AccessError, DataError, NotFound, SchemaError, TransientError, UsageError, VexError
from vexarrow.fields import Found
from vexarrow.location import Location
from vexarrow.protocols import Description, Target
from vexarrow.selection import Selection
from vexarrow.testing import ConnectorContract, Fact, Spot, facts, pages, read, samples, write
from vexarrow.testing.contract import in_any_order, resumed_everywhere

_NUMBERS = itertools.count()
POOL = urllib3.PoolManager()
DATABASE = "/api/v2/tenants/default_tenant/databases/default_database"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server."""
    with chroma_server() as address:
        yield address
        POOL.clear()


def fresh() -> str:
    """The name of a collection that nobody has used."""
    return f"vex-test-{os.getpid()}-{next(_NUMBERS):05}"


def private(module: str) -> Any:
    """A module of the connector itself, for what no server that can be started here does."""
    return importlib.import_module(f"vexarrow.connectors.{module}")


def made(spot: Spot, metric: str = "euclidean") -> Spot:
    """The spot with an empty collection of a metric; all but cosine are exact."""
    with spot.target().sink() as sink:
        sink.prepare(Description(metric=metric))
        sink.finish()
    return spot


def at(server: str, collection: str, **options: str) -> Spot:
    """A collection of a server, as `--url` and `--collection` name it."""
    given = {"url": server, "collection": collection, **options}
    ours = {name: value for name, value in given.items() if not name.endswith("-field")}
    return Spot("chroma", given, ours)


class TestServer(ConnectorContract):
    """A collection on a server."""

    @pytest.fixture(autouse=True)
    def _server(self, server: str) -> None:
        self.address = server.replace("http://", "chroma://")

    def place(self, folder: Path) -> Spot:
        return Spot(f"{self.address}/{fresh()}")


class TestFolder(ConnectorContract):
    """A collection in a local folder."""

    def place(self, folder: Path) -> Spot:
        return Spot(f"chroma://{folder}/chroma?collection=notes")


# -- the server as others see it ------------------------------------------------------------------------------------


class Raw:
    """A collection by the API alone: what other tools write, and what they find."""

    def __init__(self, server: str, name: str, **how: Any) -> None:
        self.server = server
        self.name = name
        body = {"name": name, "get_or_create": True, "configuration": {"hnsw": {"space": "l2"}}, **how}
        self.found = self.ask("POST", f"{DATABASE}/collections", body)
        self.path = f"{DATABASE}/collections/{self.found['id']}"

    def ask(self, method: str, path: str, body: object = None) -> Any:
        answer = POOL.request(method, self.server + path, json=body)
        assert answer.status < 300, answer.data
        return answer.json()

    def upsert(self, ids: Sequence[str], **columns: Any) -> None:
        given = {"embeddings": [[1.0, float(row), 0.5] for row in range(len(ids))], **columns}
        self.ask(
            "POST", f"{self.path}/upsert", {"ids": ids, "metadatas": None, "documents": None, "uris": None} | given
        )

    def get(self, **how: Any) -> Any:
        include = ["embeddings", "documents", "metadatas", "uris"]
        return self.ask("POST", f"{self.path}/get", {"include": include, "limit": 100, **how})

    def delete(self, ids: Sequence[str]) -> None:
        self.ask("POST", f"{self.path}/delete", {"ids": ids})


def names(server: str) -> set[str]:
    """All collections of the default database."""
    return {one["name"] for one in POOL.request("GET", f"{server}{DATABASE}/collections").json()}


def written(spot: Spot, columns: Mapping[str, Any], **how: Any) -> pa.RecordBatch:
    """A sample that was loaded without a reject."""
    batch = samples.batch(columns, **how)
    assert write(spot, batch) == []
    return batch


def loose(batches: pa.RecordBatch | Sequence[pa.RecordBatch]) -> list[Fact]:
    """Records by value, in any order."""
    return in_any_order(facts(batches, verbatim=False))


def metadata(spot: Spot) -> list[Any]:
    """The metadata of all records."""
    texts = [text for batch in read(spot) for text in records.storage(batch.column("metadata")).to_pylist()]
    return [None if text is None else json.loads(text) for text in texts]


def test_others_find_texts_metadata_and_filters_where_chroma_has_them(server: str) -> None:
    name = fresh()
    line = {"text": ["Grüße"], "namespace": ["n"], "model": ["m"], "metadata": ['{"k":1,"f":0.5,"b":true,"s":"x"}']}
    written(made(at(server, name)), {**line, "id": ["ü/1"], "score": [0.25]}, dim=3)
    found = Raw(server, name).get(where={"$and": [{"namespace": "n"}, {"k": {"$gte": 1}}, {"b": True}]})
    assert (found["ids"], found["documents"]) == (["ü/1"], ["Grüße"])
    hidden = json.loads(found["metadatas"][0].pop("__vex__"))
    assert found["metadatas"] == [{"namespace": "n", "model": "m", "k": 1, "f": 0.5, "b": True, "s": "x"}]
    assert hidden == {"score": 0.25, "source_store": "samples"}


def test_the_official_client_reads_what_we_wrote_and_we_read_what_it_wrote(server: str) -> None:
    chromadb = pytest.importorskip("chromadb")
    ours, theirs = fresh(), fresh()
    batch = written(made(at(server, ours)), {"text": ["a", None, "c"], "metadata": ['{"k":1}', None, "{}"]}, dim=5)
    host, port = server.removeprefix("http://").split(":")
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    with ExitStack() as stack:
        client = stack.enter_context(chromadb.HttpClient(host, int(port), settings=settings))
        for api in (client._server, client._admin_client._server):
            stack.enter_context(closing(api._session))  # its own close leaves connections open
        found = client.get_collection(ours, embedding_function=None).get(include=["embeddings", "documents"])
        assert np.array_equal(found["embeddings"].astype(np.float32), records.matrix(batch.column("vector")))
        assert found["documents"] == ["a", None, "c"]
        made_there = client.create_collection(
            theirs, embedding_function=None, configuration={"hnsw": {"space": "ip"}}, metadata={"owner": "me"}
        )
        matrix = records.matrix(batch.column("vector"))
        made_there.add(ids=["1", "2", "3"], embeddings=matrix, documents=["x", "y", "z"], metadatas=[{"a": [1, 2]}] * 3)
    (back,) = read(at(server, theirs))
    assert np.array_equal(records.matrix(back.column("vector")), matrix)
    assert metadata(at(server, theirs)) == [{"a": [1, 2]}] * 3
    with at(server, theirs).source().source(Selection()) as source:
        assert (source.describe().metric, source.describe().dim) == ("dot", 5)


# -- creation and discovery -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "space"), [(None, "cosine"), ("cosine", "cosine"), ("dot", "ip"), ("euclidean", "l2")]
)
def test_a_new_collection_has_the_metric_of_the_source(server: str, metric: str | None, space: str) -> None:
    name = fresh()
    with at(server, name).target().sink() as sink:
        assert sink.prepare(Description(dim=7, metric=metric)).dim == 7
    assert Raw(server, name).found["configuration_json"]["hnsw"]["space"] == space


def test_a_metric_that_chroma_does_not_have_is_refused_before_anything_is_made(server: str) -> None:
    name = fresh()
    with at(server, name).target().sink() as sink, pytest.raises(SchemaError, match="--metric"):
        sink.prepare(Description(dim=7, metric="manhattan"))
    assert name not in names(server)


@pytest.mark.parametrize("dim", [1, 5, 384])
def test_cosine_gives_the_very_vectors_back_although_the_server_does_not(server: str, dim: int) -> None:
    name = fresh()
    spot = at(server, name)
    matrix = samples.vectors(64, dim) * np.float32(3)
    matrix[:4] = np.array([[0.0], [1e-38], [-3e38], [1e-45]], np.float32)
    batch = written(spot, {"id": [f"{row}" for row in range(64)]}, vector=matrix)
    assert loose(read(spot)) == loose(batch)
    given = Raw(server, name).get()["embeddings"]
    assert [row for row in range(64) if given[row] != matrix[row].tolist()] != []
    with spot.source().source(Selection()) as source:
        assert source.describe().metric == "cosine"


def test_a_vector_that_another_tool_has_changed_is_not_corrected(server: str) -> None:
    name = fresh()
    written(at(server, name), {"id": ["a", "b"]}, dim=3)
    raw = Raw(server, name)
    raw.ask("POST", f"{raw.path}/update", {"ids": ["a", "b"], "embeddings": [[0.1, 0.2, 0.3], [3.0, 2.0, 1.0]]})
    (batch,) = read(at(server, name))
    assert np.array_equal(records.matrix(batch.column("vector")), np.array(raw.get()["embeddings"], np.float32))


def test_index_parameters_and_metadata_go_from_collection_to_collection(server: str) -> None:
    first, second = fresh(), fresh()
    tuned = {"hnsw": {"space": "ip", "max_neighbors": 24, "ef_construction": 150, "ef_search": 70}}
    Raw(server, first, configuration=tuned, metadata={"owner": "me", "hnsw:space": "ip"}).upsert(["a"])
    vex("migrate", "chroma", "chroma", "--from-url", server, "--to-url", server, *_both(first, second)).ok()
    found = Raw(server, second).found
    assert {key: found["configuration_json"]["hnsw"][key] for key in tuned["hnsw"]} == tuned["hnsw"]
    assert found["metadata"] == {"owner": "me"}


@pytest.mark.parametrize("where", ["server", "folder"])
def test_of_an_index_of_the_cloud_the_common_parameters_are_carried_over(
    server: str, tmp_path: Path, where: str
) -> None:
    spot = at(server, fresh()) if where == "server" else Spot(f"chroma://{tmp_path}/c?collection=notes")
    spann = {"space": "l2", "max_neighbors": 40, "ef_search": 77, "split_threshold": 60, "search_nprobe": 64}
    plan = Description(dim=3, metric="dot", settings={"chroma": {"configuration": {"hnsw": None, "spann": spann}}})
    with spot.target().sink() as sink:
        sink.prepare(plan)
    with spot.source().source(Selection()) as source:
        found = source.describe().settings["chroma"]["configuration"]
    assert isinstance(found, dict)
    assert {"space": "ip", "max_neighbors": 40, "ef_search": 77}.items() <= found["hnsw"].items()


def test_an_existing_collection_takes_records_of_a_metric_that_chroma_does_not_have(server: str) -> None:
    spot = made(at(server, fresh()))
    with spot.target().sink() as sink:
        assert sink.prepare(Description(dim=3, metric="manhattan")).metric == "euclidean"


def _both(first: str, second: str) -> list[str]:
    return ["--from-collection", first, "--to-collection", second]


def test_an_existing_collection_of_another_metric_is_refused_unless_allowed(server: str) -> None:
    first, second = fresh(), fresh()
    Raw(server, first).upsert(["a"])
    Raw(server, second, configuration={"hnsw": {"space": "cosine"}})
    command = ["migrate", "chroma", "chroma", "--from-url", server, "--to-url", server, *_both(first, second)]
    refused = vex(*command)
    assert refused.code == 1
    assert "--allow-metric-change" in refused.err
    assert Raw(server, second).get()["ids"] == []
    vex(*command, "--allow-metric-change").ok()
    assert Raw(server, second).get()["ids"] == ["a"]


def test_a_missing_collection_is_named_with_those_that_there_are(server: str) -> None:
    known = Raw(server, fresh()).name
    with pytest.raises(NotFound, match="there is no collection nothing-here; there are ") as caught:
        read(at(server, "nothing-here"))
    assert known in str(caught.value) or len(names(server)) > 20


def test_a_missing_database_is_not_found_on_either_side(server: str) -> None:
    spot = at(server, fresh(), database="no-such-database")
    with pytest.raises(NotFound):
        read(spot)
    with pytest.raises(NotFound, match="no-such-database"):
        write(spot, samples.many(2))


def test_a_dry_run_and_no_create_make_nothing(server: str, tmp_path: Path) -> None:
    lines = tmp_path / "in.vmig.jsonl"
    write(Spot(str(lines)), samples.many(3))
    name, folder = fresh(), tmp_path / "chroma"
    there = ["--to", "chroma", "--url", server, "--collection", name]
    shown = vex("import", "--from", lines, *there, "--dry-run").ok().out
    assert "would be created" in shown
    assert "__vex__" in shown
    assert vex("import", "--from", lines, *there, "--no-create").code == 1
    assert name not in names(server)
    vex("import", "--from", lines, "--to", "chroma", "--path", folder, "--collection", name, "--dry-run").ok()
    assert not folder.exists()


def test_a_folder_without_a_database_is_not_found_and_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read(Spot(f"chroma://{tmp_path}?collection=notes"))
    assert list(tmp_path.iterdir()) == []


def test_dimension_metric_count_and_index_are_known_without_reading(server: str) -> None:
    spot = made(at(server, fresh()))
    write(spot, samples.many(30, dim=6))
    with spot.source().source(Selection()) as source:
        said = source.describe()
    assert (said.dim, said.metric, said.rows) == (6, "euclidean", 30)
    hnsw = {"space": "l2", "ef_construction": 100, "ef_search": 100, "max_neighbors": 16}
    configuration = said.settings["chroma"]["configuration"]
    assert isinstance(configuration, dict)
    assert hnsw.items() <= configuration["hnsw"].items()
    with spot.target().sink() as sink:
        assert isinstance(sink, Target)
        found = sink.existing()
    assert found is not None
    assert (found.dim, found.metric, found.rows) == (6, "euclidean", 30)


def test_the_kind_of_ids_is_kept_by_a_new_collection_and_by_an_old_one(server: str) -> None:
    for spot in (at(server, fresh()), made(at(server, fresh()))):
        write(spot, samples.integer_ids())
        write(spot, samples.batch({"id": ["text"]}))
        found = [fact.id for fact in facts(read(spot))]
        assert sorted(found) == sorted([*(fact.id for fact in facts(samples.integer_ids())), '"text"'])


# -- what metadata holds --------------------------------------------------------------------------------------------


def test_numbers_that_the_server_would_round_come_back_as_they_were(server: str) -> None:
    rng = np.random.default_rng(3)
    numbers = [float(one) for one in rng.integers(0, 2**64, 400, dtype=np.uint64).view(np.float64) if np.isfinite(one)]
    numbers += [123456789.123456789, 5e-324, -0.0, 1e22, 1e23, 0.1, 2**53 + 0.0]
    whole = [2**63 - 1, -(2**63), 2**63, 2**53 + 1]
    spot = made(at(server, fresh()))
    written(spot, {"metadata": [json.dumps({"f": number, "i": whole[row % 4]}) for row, number in enumerate(numbers)]})
    found = metadata(spot)
    assert [one["f"].hex() for one in found] == [number.hex() for number in numbers]
    assert [one["i"] for one in found] == [whole[row % 4] for row in range(len(numbers))]


@pytest.mark.parametrize(
    "key", ["", "#type", "$in", "chroma:document", "chroma:x", "__vex__", "__id__", "é\0", "k" * 9000]
)
def test_any_key_comes_back(server: str, key: str) -> None:
    spot = made(at(server, fresh()))
    written(spot, {"metadata": [json.dumps({key: 1, "other": 2})]})
    assert metadata(spot) == [{key: 1, "other": 2}]


def test_thousands_of_keys_and_megabytes_of_text_come_back(server: str) -> None:
    spot = made(at(server, fresh()))
    many = {f"key{row}": row for row in range(8000)}
    batch = written(
        spot, {"text": ["x" * 3_000_000, "b"], "metadata": [json.dumps(many), '{"long":"%s"}' % ("é" * 10**6)]}
    )
    assert loose(read(spot)) == loose(batch)


def test_text_and_the_lack_of_it_are_told_apart_whatever_the_metadata_says(server: str) -> None:
    spot = made(at(server, fresh()))
    keys = ["text", "document", "content", "page_content", "chunk_text", "_node_content"]
    columns = {"text": [text for _ in keys for text in (None, "", "t")], "source_store": [None] * 18}
    batch = written(spot, {**columns, "metadata": [f'{{"{key}":"m"}}' for key in keys for _ in range(3)]})
    assert [fact._replace(source_store=None) for fact in facts(read(spot))] == facts(batch)


def test_many_members_and_long_keys_fit_the_limits_of_the_cloud() -> None:
    """There is no cloud to test against."""
    shape = private("_chroma_shape")
    given = {**{f"key{row}": row for row in range(60)}, "long" * 20: "x"}
    batch = samples.batch({"metadata": [json.dumps(given)], "namespace": ["n"], "model": ["m"]})
    packed = shape.Packed(batch, 32, 36)
    (kept,) = packed.metadatas
    assert len(kept) == 32
    assert max(len(key.encode()) for key in kept) <= 36
    columns = shape.unpacked(packed.documents, packed.metadatas, packed.uris, Found())
    assert json.loads(columns["metadata"][0]) == given


def test_the_uri_of_a_record_is_a_member_of_extra_and_the_other_way_round(server: str) -> None:
    name = fresh()
    spot = made(at(server, name))
    written(spot, {"id": ["a"], "extra": ['{"uri":"s3://x/y","k":1}']}, dim=3)
    raw = Raw(server, name)
    raw.upsert(["b"], uris=["http://z"])
    assert raw.get()["uris"] == ["s3://x/y", "http://z"]
    assert [fact.extra for fact in facts(read(spot), verbatim=False)] == [
        '{"k":1,"uri":"s3://x/y"}',
        '{"uri":"http://z"}',
    ]


# -- replacing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["server", "folder"])
def test_nothing_of_a_replaced_record_is_left(server: str, tmp_path: Path, where: str) -> None:
    spot = made(at(server, fresh()) if where == "server" else Spot(f"chroma://{tmp_path}/c?collection=notes"))
    full = {
        "text": ["old"] * 2,
        "namespace": ["n"] * 2,
        "model": ["m"] * 2,
        "extra": ['{"uri":"u"}'] * 2,
        "score": [1.0] * 2,
    }
    written(spot, {**full, "metadata": ['{"a":1,"b":{"c":2}}'] * 2})
    batch = written(spot, {"text": [None, ""], "metadata": [None, '{"a":"other kind"}'], "source_store": [None] * 2})
    assert loose(read(spot)) == loose(batch)


def test_lists_documents_and_uris_of_others_go_when_a_record_is_replaced(server: str) -> None:
    name = fresh()
    raw = Raw(server, name)
    old = {"tags": ["a", "b"], "numbers": [1, 2], "kind": "x"}
    raw.upsert(["1", "2"], documents=["d", "d"], uris=["u", "u"], metadatas=[old, old])
    batch = written(at(server, name), {"id": ["1", "2"], "text": [None, "t"], "metadata": ['{"kind":5}', None]}, dim=3)
    assert loose(read(at(server, name))) == loose(batch)
    assert [sorted(one) for one in raw.get()["metadatas"]] == [["__vex__", "kind"], ["__vex__"]]


def test_lists_that_a_deleted_collection_left_behind_do_not_turn_up_in_our_records(server: str) -> None:
    """Chroma 1.5.9 gives the lists of deleted records to whatever gets their row numbers next."""
    left = Raw(server, fresh())
    left.upsert(["1", "2", "3"], metadatas=[{"tags": ["left", "over"]}] * 3)
    left.ask("DELETE", f"{DATABASE}/collections/{left.name}")
    name = fresh()
    batch = written(made(at(server, name)), {"text": ["a", "b", "c"]}, dim=3)
    assert loose(read(at(server, name))) == loose(batch)


def test_writers_at_the_same_time_leave_every_record_whole(server: str) -> None:
    spot = made(at(server, fresh()))
    versions = [
        samples.batch({"id": ids, "text": [f"{n}"] * 40, "metadata": [f'{{"v{n}":{n}}}'] * 40})
        for n, ids in enumerate([[f"id-{row}" for row in range(40)]] * 2 + [[f"other-{row}" for row in range(40)]])
    ]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda batch: write(spot, batch), versions)) == [[], [], []]
    write(spot, versions[1])
    assert loose(read(spot)) == loose(versions[1:])


# -- refusals -------------------------------------------------------------------------------------------------------


def test_of_a_batch_that_is_refused_only_the_records_at_fault_are_rejected(server: str) -> None:
    spot = made(at(server, fresh()))
    sample = samples.batch({"id": ["a", "", "b", "c", "d", "e"], "text": list("abcdef")})
    assert write(spot, sample) == [("refused", "")]
    assert loose(read(spot)) == loose(sample.take([0, 2, 3, 4, 5]))


def test_vectors_of_another_dimension_are_rejected_and_the_summary_says_what_to_do(server: str, tmp_path: Path) -> None:
    name = fresh()
    Raw(server, name).upsert(["a"])
    path = tmp_path / "in.vmig.jsonl"
    write(Spot(str(path)), [samples.batch({"id": ["x"]}, dim=3), samples.batch({"id": ["y"]}, dim=4)])
    there = ["--to", "chroma", "--url", server, "--collection", name, "--rejects", f"{tmp_path}/rejects.jsonl"]
    done = vex("import", "--from", path, *there, "--allow-metric-change")
    assert "vex adapt" in done.ok().err + done.out
    assert Raw(server, name).get()["ids"] == ["a", "x"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_an_access_error_that_does_not_show_it(server: str, status: int) -> None:
    script = Script([Fault("denied", "status", status)], every=1, in_a_row=100)
    with http_proxy(server, script) as address, pytest.raises(AccessError) as caught:
        read(at(address, "notes", **{"api-key": "ck-very-secret"}))
    assert "ck-very-secret" not in str(caught.value)
    assert "check --api-key or CHROMA_API_KEY" in str(caught.value)


def test_a_server_without_version_2_of_the_api_is_told_from_a_missing_collection(server: str) -> None:
    script = Script([Fault("old", "status", 404)], every=1, in_a_row=100)
    with http_proxy(server, script) as address, pytest.raises(VexError, match="version 2") as caught:
        read(at(address, "notes"))
    assert not isinstance(caught.value, NotFound)


def test_where_nobody_listens_the_error_is_transient_and_names_the_address() -> None:
    with pytest.raises(TransientError, match="nothing listens there"):
        read(Spot("chroma://127.0.0.1:9/notes?retries=0"))


def test_without_the_library_a_folder_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").touch()
    script = f"""if True:
        import sys
        sys.modules["chromadb"] = None
        from vexarrow.cli import main
        main(["inspect", "chroma://{tmp_path}?collection=notes"])
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "pip install 'vexarrow[chroma]'" in done.stderr


def test_a_folder_that_holds_something_else_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").write_bytes(b"not a database" * 100)
    with pytest.raises(DataError):
        read(Spot(f"chroma://{tmp_path}?collection=notes"))


@pytest.mark.parametrize(
    "text",
    [
        "chroma",
        "chroma://localhost",
        "chroma://localhost/a/b",
        "chroma://localhost/a/b/c/d",
        "chroma://localhost/no",
        "chroma://localhost/no%2Fslash",
        "chroma://localhost/..%2F..%2Fetc",
        "chroma://localhost:notaport/notes",
        "chroma://key@localhost/notes",
        "chroma:///",
        "chroma://localhost/notes?namespace-as=tenant",
        "chroma://localhost/notes?concurrency=0",
    ],
)
def test_what_is_no_address_is_a_usage_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHROMA_COLLECTION", raising=False)
    with pytest.raises(UsageError):
        read(Spot(text))


# -- reading --------------------------------------------------------------------------------------------------------


def test_reading_goes_on_after_any_cursor_of_any_partition(server: str) -> None:
    spot = made(at(server, fresh()))
    sample = samples.many(1100)
    write(spot, sample)
    with spot.source().source(Selection()) as source:
        parts = source.partitions(4)
        assert [part.rows for part in parts] == [275] * 4
        found = [page.batch for part in parts for page in resumed_everywhere(source, part, 100)]
    assert facts(found, verbatim=False) == facts(sample, verbatim=False)


@pytest.mark.parametrize("namespaces", [None, ("a", "b")])
def test_a_page_of_wide_vectors_takes_several_requests(server: str, namespaces: tuple[str, ...] | None) -> None:
    spot = made(at(server, fresh()))
    sample = samples.many(600, dim=1600)
    write(spot, sample)
    found = read(spot, rows=1000, selection=Selection(namespaces=namespaces))
    wanted = [fact for fact in facts(sample, verbatim=False) if namespaces is None or fact.namespace in namespaces]
    assert [len(batch) for batch in found] == [len(wanted)]
    assert facts(found, verbatim=False) == wanted


def test_records_come_in_the_order_in_which_they_were_written_first(server: str) -> None:
    spot = made(at(server, fresh()))
    sample = samples.many(20)
    write(spot, [sample.take(list(range(19, -1, -1))), sample])
    assert [fact.id for fact in facts(read(spot))] == [fact.id for fact in facts(sample)][::-1]


def test_reading_fails_when_records_are_deleted_meanwhile(server: str) -> None:
    name = fresh()
    raw = Raw(server, name)
    raw.upsert([f"{row}" for row in range(10)])
    with at(server, name).source().source(Selection()) as source:
        (part,) = source.partitions(1)
        raw.delete(["3"])
        with pytest.raises(DataError, match="deleted meanwhile"):
            pages(source, part, 4)


def test_a_read_of_chosen_namespaces_fails_when_records_are_deleted_meanwhile(server: str) -> None:
    name = fresh()
    raw = Raw(server, name)
    raw.upsert([f"{row}" for row in range(10)], metadatas=[{"namespace": "n"}] * 10)
    with at(server, name).source().source(Selection(namespaces=("n",))) as source:
        (part,) = source.partitions(1)
        every = source.extract(part, rows=4)
        cursor = next(every).cursor
        raw.delete(["9"])  # not read yet, so that nothing is passed over
        assert [fact.id for page in every for fact in facts(page.batch)] == [f'"{row}"' for row in range(4, 9)]
        every = source.extract(part, rows=4)
        next(every)
        raw.delete(["1"])
        raw.upsert(["new"], metadatas=[{"namespace": "n"}])
        with pytest.raises(DataError, match="deleted meanwhile"):
            list(every)
        with pytest.raises(DataError, match="deleted meanwhile"):
            list(source.extract(part, rows=4, after=cursor))


def test_a_read_of_chosen_namespaces_goes_on_after_any_cursor(server: str) -> None:
    name = fresh()
    Raw(server, name).upsert([f"{row}:ü" for row in range(10)], metadatas=[{"namespace": "n"}] * 10)
    with at(server, name).source().source(Selection(namespaces=("n",))) as source:
        (part,) = source.partitions(1)
        found = [page.batch for page in resumed_everywhere(source, part, 3)]
    assert [fact.id for fact in facts(found)] == [f'"{row}:ü"' for row in range(10)]


def test_the_server_filters_namespaces_unless_the_missing_one_is_wanted(server: str) -> None:
    spot = made(at(server, fresh()))
    write(spot, samples.many(100))
    for wanted, skipped in ((("a",), 0), (("a", ""), 0), (("a", None), 60)):
        with spot.source().source(Selection(namespaces=wanted)) as source:
            found = [page for part in source.partitions(4) for page in pages(source, part, 30)]
        assert {fact.namespace for page in found for fact in facts(page.batch)} == set(wanted)
        assert sum(page.skipped for page in found) == skipped


def test_answers_with_null_among_the_numbers_cost_the_records_at_fault_alone() -> None:
    """No server of today can be brought to say it."""
    decoded = private("_chroma_body").decoded
    answer = b'{"ids":["a","b","c","d"],"embeddings":[[1.0,2.5],[null,1.0],[0.1,-0.0],null],"documents":null}'
    for text in (answer, answer.replace(b",", b", ")):
        raw = decoded(text, "place")
        assert raw.bad == [1, 3]
        assert raw.matrix[[0, 2]].tobytes() == np.array([[1, 2.5], [0.1, -0.0]], np.float32).tobytes()
    with pytest.raises(DataError):
        decoded(b'{"ids":["a"],"embeddings":[[1.0', "place")


def test_ids_and_texts_that_look_like_the_answer_itself_come_back(server: str) -> None:
    spot = made(at(server, fresh()))
    odd = ['"embeddings":[[1.0]],"documents":', ']],"documents":', "\\", '","ids":["']
    batch = written(spot, {"id": odd, "text": odd, "metadata": [json.dumps({"embeddings": one}) for one in odd]})
    assert loose(read(spot)) == loose(batch)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5])
def test_vectors_are_the_same_by_base64_and_by_numbers(server: str, dim: int) -> None:
    """Servers that do not speak base64 are rare by now."""
    encoded, rows_of = private("_chroma_body").encoded, private("_chroma_store").Rows
    raw = Raw(server, fresh())
    matrix = samples.vectors(3, dim)
    for base64 in (True, False):
        ids = [f"{base64}{row}" for row in range(3)]
        body = encoded(rows_of(ids, matrix, ["a", None, "c"], [None, {"k": 1}, None], None), base64=base64)
        assert POOL.request("POST", f"{server}{raw.path}/upsert", body=body).status == 200
        assert np.array_equal(np.array(raw.get(ids=ids)["embeddings"], np.float32), matrix)


# -- collections of others ------------------------------------------------------------------------------------------


def test_what_langchain_wrote_is_text_and_metadata(server: str) -> None:
    name = fresh()
    Raw(server, name).upsert(
        ["a", "b"], documents=["page one", "page two"], metadatas=[{"source": "x.pdf", "page": 1}, None]
    )
    (one, two) = facts(read(at(server, name)), verbatim=False)
    assert (one.text, one.metadata, one.namespace, one.created_at) == (
        "page one",
        '{"page":1,"source":"x.pdf"}',
        None,
        None,
    )
    assert (two.text, two.metadata) == ("page two", None)


def test_what_llamaindex_wrote_keeps_its_node_and_takes_the_text_from_it_without_a_document(server: str) -> None:
    name, node = fresh(), json.dumps({"id_": "a", "text": "from the node", "class_name": "TextNode"})
    meta = {"_node_content": node, "_node_type": "TextNode", "document_id": "d"}
    Raw(server, name).upsert(["a", "b"], documents=["the text", None], metadatas=[meta, meta])
    assert [fact.text for fact in facts(read(at(server, name)))] == ["the text", "from the node"]
    assert metadata(at(server, name)) == [meta, meta]


def test_what_the_original_tool_wrote_is_read_by_its_conventions(server: str) -> None:
    name = fresh()
    full = {"namespace": "n", "model": "m", "created_at": "2024-05-06T07:08:09.000Z", "tags": "a,b", "importance": 3}
    none = {"namespace": "", "model": "", "created_at": ""}
    Raw(server, name).upsert(["1", "2"], documents=["text", ""], metadatas=[full, none])
    one, two = facts(read(at(server, name)), verbatim=False)
    assert (one.text, one.namespace, one.model, one.created_at) == ("text", "n", "m", 1714979289000000)
    assert one.metadata == '{"importance":3,"tags":"a,b"}'
    assert two[1:2] + two[3:7] == (None, None, None, None, None)


def test_options_say_where_the_fields_of_foreign_records_are(server: str) -> None:
    name = fresh()
    meta = {"body": "the body", "tenant": "t1", "key": "k-1", "n": 1}
    Raw(server, name).upsert(
        ["1", "2"], documents=["doc", None], metadatas=[meta, {**meta, "tenant": "t2", "key": "k-2"}]
    )
    fields = {"text-field": "body", "namespace-field": "tenant", "id-field": "key"}
    spot = at(server, name, **fields)
    one, two = facts(read(spot), verbatim=False)
    assert (one.id, one.text, one.namespace, two.id, two.namespace) == ('"k-1"', "the body", "t1", '"k-2"', "t2")
    assert json.loads(one.metadata or "")["document"] == "doc"
    assert [fact.id for fact in facts(read(spot, selection=Selection(namespaces=("t2",))))] == ['"k-2"']


# -- a collection for every namespace -------------------------------------------------------------------------------


@pytest.fixture
def database(server: str) -> str:
    """A database in which nothing else is."""
    name = fresh()
    answer = POOL.request("POST", f"{server}/api/v2/tenants/default_tenant/databases", json={"name": name})
    assert answer.status == 200
    return name


def test_every_namespace_can_have_its_collection(server: str, database: str) -> None:
    spaces = [None, "", "default", "a b/c", "Ω", "none", "7", "notes"]
    batch = samples.batch({"namespace": spaces, "metadata": [None, '{"namespace":"inner"}'] * 4})
    spot = at(server, "notes", database=database, **{"namespace-as": "collection"})
    assert write(spot, batch) == []
    found = POOL.request("GET", f"{server}/api/v2/tenants/default_tenant/databases/{database}/collections").json()
    assert len(found) == 8
    assert {"notes", "default", "none"} < {one["name"] for one in found}
    near = [fact._replace(vector=None) for fact in loose(batch)]
    assert [fact._replace(vector=None) for fact in loose(read(spot))] == near
    some = Selection(namespaces=("Ω", None))
    assert {fact.namespace for fact in facts(read(spot, selection=some))} == {"Ω", None}


def test_collections_of_others_are_namespaces_when_asked_for(server: str, database: str) -> None:
    spot = at(server, "plain", database=database, **{"namespace-as": "collection"})
    write(spot, samples.batch({"text": ["without"]}, dim=3))
    base = f"{server}/api/v2/tenants/default_tenant/databases/{database}/collections"
    made_there = POOL.request("POST", base, json={"name": "their-notes"}).json()
    body = {"ids": ["1"], "embeddings": [[1.0, 2.0, 3.0]], "metadatas": [{"namespace": "inner"}]}
    assert POOL.request("POST", f"{base}/{made_there['id']}/upsert", json=body).status == 200
    found = {fact.namespace: fact.metadata for fact in facts(read(spot))}
    assert found == {None: None, "their-notes": '{"namespace":"inner"}'}


def test_without_a_collection_for_them_records_without_namespace_are_rejected(server: str, database: str) -> None:
    given = {"url": server, "database": database, "namespace-as": "collection"}
    spot = Spot("chroma", given, given)
    sample = samples.batch({"namespace": ["one", None]})
    assert write(spot, sample) == [("no-namespace", "id-0001")]
    assert [fact.namespace for fact in facts(read(spot))] == ["one"]


def by_collection(server: str, database: str, *more: str) -> list[str]:
    """A database as the target of a command, with a collection for every namespace."""
    return ["--to", "chroma", "--url", server, "--database", database, "--namespace-as", "collection", *more]


def in_database(server: str, database: str, name: str, space: str) -> None:
    """Make a collection of a database."""
    base = f"{server}/api/v2/tenants/default_tenant/databases/{database}/collections"
    body = {"name": name, "configuration": {"hnsw": {"space": space}}}
    assert POOL.request("POST", base, json=body).status == 200


def test_no_create_takes_a_database_that_has_collections(server: str, database: str, tmp_path: Path) -> None:
    lines = tmp_path / "in.vmig.jsonl"
    write(Spot(str(lines)), samples.batch({"namespace": ["one"]}))
    command = ["import", "--from", str(lines), *by_collection(server, database, "--no-create", "--metric", "dot")]
    assert "--no-create" in vex(*command).err
    in_database(server, database, "one", "ip")
    vex(*command).ok()


def test_collections_of_another_metric_are_refused_unless_allowed(server: str, database: str, tmp_path: Path) -> None:
    lines = tmp_path / "in.vmig.jsonl"
    write(Spot(str(lines)), samples.batch({"namespace": ["one"]}))
    command = ["import", "--from", str(lines), *by_collection(server, database, "--metric", "dot")]
    in_database(server, database, "one", "l2")
    refused = vex(*command)
    assert (refused.code, "--allow-metric-change" in refused.err) == (1, True)
    vex(*command, "--allow-metric-change").ok()


def test_a_single_collection_of_another_metric_among_others_is_refused(
    server: str, database: str, tmp_path: Path
) -> None:
    lines = tmp_path / "in.vmig.jsonl"
    write(Spot(str(lines)), samples.batch({"namespace": ["one"]}))
    in_database(server, database, "one", "l2")
    in_database(server, database, "two", "ip")
    refused = vex("import", "--from", lines, *by_collection(server, database, "--metric", "dot"))
    assert (refused.code, "the collection one has the metric euclidean, not dot" in refused.err) == (1, True)


@pytest.mark.parametrize(("way", "replaced"), [("metadata", 1), ("collection", 0)])
def test_one_id_in_two_namespaces_is_two_records_where_each_has_its_collection(
    server: str, database: str, tmp_path: Path, way: str, replaced: int
) -> None:
    lines, name = tmp_path / "in.vmig.jsonl", fresh()
    write(Spot(str(lines)), samples.batch({"id": ["a", "a"], "namespace": ["one", "two"]}))
    there = ["--to", "chroma", "--url", server, "--database", database, "--collection", name, "--namespace-as", way]
    report = vex("import", "--from", lines, *there, "--json").ok().report
    assert (report["read"], report["written"]) == (2, 2)
    assert sum("had the id of an earlier one" in warning for warning in report["warnings"]) == replaced
    spot = at(server, name, database=database, **{"namespace-as": way})
    assert len(facts(read(spot))) == 2 - replaced


def test_records_without_a_collection_do_not_count_those_of_their_id_as_replaced(
    server: str, database: str, tmp_path: Path
) -> None:
    lines, rejects = tmp_path / "in.vmig.jsonl", tmp_path / "rejects.jsonl"
    write(Spot(str(lines)), samples.batch({"id": ["a", "a"], "namespace": ["one", None]}))
    report = (
        vex("import", "--from", lines, *by_collection(server, database, "--json"), "--rejects", rejects).ok().report
    )
    assert (report["read"], report["written"], report["rejected"]) == (2, 1, 1)
    assert [line["code"] for line in json_lines(rejects)] == ["no-namespace"]


def test_every_record_of_another_dimension_is_rejected_once_though_ids_come_again(
    server: str, database: str, tmp_path: Path
) -> None:
    lines, rejects = tmp_path / "in.vmig.jsonl", tmp_path / "rejects.jsonl"
    spot = at(server, fresh(), database=database, **{"namespace-as": "collection"})
    written(spot, {"namespace": ["one"]}, dim=3)
    again = samples.batch({"id": ["a", "a", "b"], "namespace": ["one", "one", "two"]}, dim=4)
    write(Spot(str(lines)), again)
    report = (
        vex("import", "--from", lines, *by_collection(server, database, "--json"), "--rejects", rejects).ok().report
    )
    assert (report["read"], report["written"], report["rejected"]) == (3, 1, 2)
    assert [(line["id"], line["line"]) for line in json_lines(rejects)] == [("a", 1), ("a", 2)]


# -- folders of an older version ------------------------------------------------------------------------------------


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A folder as Chroma left it before the last of its migrations, with 3 records in the collection notes."""
    folder = tmp_path / "older"
    tuned = {"space": "ip", "ef_construction": 100, "ef_search": 100, "max_neighbors": 16, "num_threads": 2}
    tuned |= {"resize_factor": 1.2, "batch_size": 100, "sync_threshold": 1000}
    written(made(Spot(f"chroma://{folder}?collection=notes"), "dot"), {"id": ["a", "b", "c"]}, dim=5)
    with closing(sqlite3.connect(folder / "chroma.sqlite3")) as database, database:
        database.execute("DELETE FROM migrations WHERE dir = 'sysdb' AND version = 10")
        database.execute(
            "UPDATE collections SET config_json_str = ?",
            (json.dumps({"vector_index": {"hnsw": tuned}, "embedding_function": None}),),
        )
        database.execute("ALTER TABLE collections DROP COLUMN schema_str")
    return folder


def test_a_dry_run_leaves_a_folder_of_an_older_version_as_it_is(older: Path, tmp_path: Path) -> None:
    lines, file = tmp_path / "in.vmig.jsonl", older / "chroma.sqlite3"
    write(Spot(str(lines)), samples.batch({"id": ["d"]}, dim=5))
    before = file.read_bytes()
    there = ["--to", "chroma", "--path", str(older), "--collection", "notes"]
    shown = vex("import", "--from", lines, *there, "--dry-run", "--json").ok().report
    assert [shown[f"target_{name}"] for name in ("records", "dimension", "metric")] == [3, 5, "dot"]
    assert file.read_bytes() == before
    vex("import", "--from", lines, *there).ok()
    assert file.read_bytes() != before
    assert len(facts(read(Spot(f"chroma://{older}?collection=notes")))) == 4


def test_a_folder_of_an_older_version_is_described_as_it_is(older: Path) -> None:
    before = (older / "chroma.sqlite3").read_bytes()
    with Spot(f"chroma://{older}?collection=notes").source().source(Selection()) as source:
        said = source.describe()
        assert (said.rows, said.dim, said.metric) == (3, 5, "dot")
        assert (older / "chroma.sqlite3").read_bytes() == before
        assert sum(part.rows or 0 for part in source.partitions(1)) == 3
    assert (older / "chroma.sqlite3").read_bytes() != before


def test_an_error_of_the_library_about_its_limits_is_ours(tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").write_bytes(b"not a database" * 100)
    address = private("_chroma_address").Address(
        "here", None, tmp_path, "default_tenant", "default_database", "a", None
    )
    with closing(private("_chroma_local").Folder(address)) as folder, pytest.raises(DataError):
        folder.limits()


# -- keys and TLS ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("chroma://notes.example/notes", "http://notes.example:8000"),
        ("chroma://notes.example/notes?api-key=k", "https://notes.example:443"),
        ("chroma://:k@notes.example:8000/notes", "https://notes.example:8000"),
        ("chroma://:k@notes.example:8000/notes?tls=false", "http://notes.example:8000"),
        ("chroma://:k@localhost/notes", "http://localhost:8000"),
        ("chroma://:k@127.0.0.2:81/notes", "http://127.0.0.2:81"),
        ("chroma://:k@[::1]/notes", "http://[::1]:8000"),
        ("chroma://:k@api.trychroma.com/notes?tls=false", "https://api.trychroma.com:443"),
        ("chroma://notes.example/notes?tls=true", "https://notes.example:443"),
    ],
)
def test_a_key_leaves_this_machine_by_tls_alone_unless_told_otherwise(
    text: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHROMA_API_KEY", raising=False)
    assert private("_chroma_address").address(Spot(text).source().location).url == url


# -- things that go wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HTTP_FAULTS)
def test_what_goes_wrong_on_the_way_costs_no_record(server: str, name: str, tmp_path: Path) -> None:
    collection = made(at(server, fresh())).target_options["collection"]
    sample = samples.many(200)
    source, target = Script([HTTP_FAULTS[name]], every=4, most=2), Script([HTTP_FAULTS[name]], every=4, most=1)
    with http_proxy(server, target) as address:
        assert write(at(address, collection, timeout="2"), [sample.slice(0, 100), sample.slice(100)]) == []
    with http_proxy(server, source) as address:
        found = read(at(address, collection, timeout="2"), rows=50)
    assert target.injected[name]
    assert source.injected[name]
    assert facts(found, verbatim=False) == facts(sample, verbatim=False)


def test_the_command_line_exports_what_it_imported(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, name = tmp_path / "in.vmig.jsonl", fresh()
    sample = samples.many(300)
    write(Spot(str(lines)), sample)
    monkeypatch.setenv("CHROMA_URL", server)
    monkeypatch.setenv("CHROMA_COLLECTION", name)
    report = vex("import", "--from", lines, "--to", "chroma", "--metric", "dot", "--json").ok().report
    assert (report["read"], report["written"], report["rejected"]) == (300, 300, 0)
    vex("export", "--from", "chroma", "--collection", name, "--output", f"{tmp_path}/notes/").ok()
    assert loose(read(Spot(f"{tmp_path}/notes/"))) == loose(sample)
    vex("export", "--from", "chroma", "--namespace", "b", "--output", tmp_path / "b.vmig.jsonl").ok()
    assert len([line for line in json_lines(tmp_path / "b.vmig.jsonl") if line["namespace"] == "b"]) == 60


def test_a_location_shows_no_key() -> None:
    spot = Spot("chroma://:ck-secret@localhost:1/notes?api_key=ck-other&retries=0")
    with pytest.raises(TransientError) as caught:
        read(spot)
    assert "ck-" not in f"{caught.value} {spot.source()}"
    assert isinstance(spot.source().location, Location)
