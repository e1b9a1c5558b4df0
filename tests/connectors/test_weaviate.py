"""Weaviate: on a real server where VEX_TEST_WEAVIATE_URL names one, else on our emulator; faults on the emulator."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import grpc
import numpy as np
import pyarrow as pa
import pytest

import vexarrow
from tests.commands import json_lines, vex
from tests.engines.proxy import HTTP_FAULTS, Script, http_proxy
from tests.engines.weaviate import Emulator, Weaviate, weaviate_emulator, weaviate_server
from vexarrow import records
from vexarrow.engine import Plan, run
from vexarrow.errors import (
    AccessError,
    NotFound,
    SchemaError,
    TransientError,
    Unsupported,
    UsageError,
    VexError,
)
from vexarrow.ids import to_uuid
from vexarrow.location import Location
from vexarrow.protocols import Description
from vexarrow.selection import Selection
from vexarrow.testing import ConnectorContract, Spot, facts, pages, read, samples, write
from vexarrow.testing.connector_contract import second_version
from vexarrow.testing.contract import in_any_order, resumed_everywhere

# The official client warns of its own dependencies while it is imported, and when a test of it fails.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:weaviate"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib"),
    pytest.mark.filterwarnings("ignore:.*Protobuf gencode version.*:UserWarning"),
]
NPM = Path(os.environ.get("VEX_NPM_DIR") or Path(__file__).parents[2] / ".cache" / "npm-vex").resolve()
KEY = "a-key-that-nobody-may-see"
UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
NO_INDEX: dict[str, Any] = {"vectorizer": "none", "vectorIndexConfig": {"skip": True}}  # takes any dimension
NPM_CLASS = {
    "vectorizer": "none",
    "vectorIndexConfig": {"distance": "cosine"},
    "properties": [
        {"name": name, "dataType": ["text"]} for name in ("text", "model", "namespace", "created_at", "metadata")
    ],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Weaviate]:
    with weaviate_server() as found:
        yield found


@pytest.fixture(scope="module")
def faulty() -> Iterator[Weaviate]:
    """An emulator, for what a real server does not do on demand."""
    with weaviate_emulator() as found:
        yield found


@pytest.fixture
def emulator(faulty: Weaviate) -> Iterator[Emulator]:
    assert faulty.emulator is not None
    yield faulty.emulator
    faulty.emulator.faults.calls.clear()
    faulty.emulator.faults.objects.clear()
    faulty.emulator.faults.shards.clear()
    faulty.emulator.faults.seen.clear()


@pytest.fixture
def name(server: Weaviate) -> Iterator[str]:
    """A class that is not there, and will be gone."""
    yield from fresh(server)


def fresh(server: Weaviate) -> Iterator[str]:
    made = f"Test{uuid.uuid4().hex[:12]}"
    yield made
    rest(server, "DELETE", f"/v1/schema/{made}")


def rest(server: Weaviate, method: str, path: str, body: object = None) -> Any:
    """The answer of the server's REST API."""
    headers = {"Content-Type": "application/json"}
    if server.key:
        headers["Authorization"] = f"Bearer {server.key}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, headers, method=method)  # noqa: S310 - http here
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        text = answer.read()
    return json.loads(text) if text else None


def internal(name: str) -> Any:
    """One of the connector's own modules."""
    return importlib.import_module(f"vexarrow.connectors._weaviate_{name}")


def key_of(server: Weaviate) -> list[str]:
    """The key as an option; a server without keys refuses one."""
    return ["--api-key", server.key] if server.key else []


def create(server: Weaviate, name: str, **body: object) -> None:
    rest(server, "POST", "/v1/schema", {"class": name, **body})


def insert(server: Weaviate, name: str, *objects: dict[str, Any]) -> None:
    """Objects as another tool writes them, over REST."""
    answer = rest(server, "POST", "/v1/batch/objects", {"objects": [{"class": name, **one} for one in objects]})
    assert [one["result"].get("errors") for one in answer] == [None] * len(objects)


def spot(server: Weaviate, name: str, source: str = "", **target: str) -> Spot:
    key = {"api-key": server.key} if server.key else {}
    given = {key.replace("_", "-"): value for key, value in target.items()}
    asked = dict(pair.split("=", 1) for pair in source.split()) if source else {}
    return Spot(server.uri(name), source_options={**key, **asked}, target_options={**key, **given})


def found(spot: Spot, **how: Any) -> list[Any]:
    return in_any_order(facts(read(spot, **how), verbatim=False))


def expected(*batches: pa.RecordBatch) -> list[Any]:
    return in_any_order(facts(batches, verbatim=False))


def objects(server: Weaviate, name: str) -> dict[str, dict[str, Any]]:
    """What npm vex sees of a class: five properties and the vector, by id."""
    query = f"{{Get{{{name}(limit:1000){{_additional{{id vector}}text model namespace created_at metadata}}}}}}"
    answer = rest(server, "POST", "/v1/graphql", {"query": query})
    return {one["_additional"]["id"]: one for one in answer["data"]["Get"][name]}


# -- the contract --------------------------------------------------------------------------------------------------


class InWeaviate(ConnectorContract):
    """Classes that are not there yet."""

    options: ClassVar[dict[str, str]] = {}
    schema: ClassVar[dict[str, Any] | None] = None

    @pytest.fixture(autouse=True)
    def _somewhere(self, server: Weaviate) -> Iterator[None]:
        self.server = server
        for self.collection in fresh(server):
            yield

    def place(self, folder: Path) -> Spot:
        if self.schema is not None:
            create(self.server, self.collection, **self.schema)
        return spot(self.server, self.collection, **self.options)

    def nowhere(self, folder: Path) -> Spot:
        return spot(self.server, self.collection)


class TestWeaviate(InWeaviate):
    pass


class TestWeaviateWithTenants(InWeaviate):
    """A tenant for every namespace, so that an id is another record in every namespace."""

    options: ClassVar[dict[str, str]] = {"namespace_as": "tenant"}

    def test_a_record_that_is_loaded_again_is_replaced_as_a_whole(
        self, spot: Spot, hundred: Any, capabilities: Any
    ) -> None:
        changed = in_namespaces_of(second_version())
        write(spot, changed)
        ids = {fact.id for fact in self.expected(changed)}
        kept = [fact for fact in hundred if fact.id not in ids]
        assert in_any_order(self.found(spot)) == in_any_order(kept + self.expected(changed))

    def test_an_id_that_comes_twice_in_a_run_is_rejected_or_the_last_one_counts(
        self, spot: Spot, capabilities: Any
    ) -> None:
        first, last = samples.many(3), in_namespaces_of(second_version()).slice(0, 3)
        assert write(spot, pa.Table.from_batches([first, last]).combine_chunks().to_batches()[0]) == []
        assert self.found(spot) == self.expected(last)


def in_namespaces_of(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same records in the namespaces that `samples.many` has for them."""
    at = batch.schema.get_field_index("namespace")
    changed: pa.RecordBatch = batch.set_column(at, batch.schema.field(at), samples.many(batch.num_rows)["namespace"])
    return changed


class TestAClassOfNpmVex(InWeaviate):
    """Prepared for our records, it holds them as well as a class of ours."""

    schema = NPM_CLASS


# -- the wire ------------------------------------------------------------------------------------------------------


def test_our_messages_have_the_fields_of_the_official_client() -> None:
    from google.protobuf.descriptor import FieldDescriptor
    from weaviate.proto.v1 import aggregate_pb2, base_pb2, batch_pb2, properties_pb2, search_get_pb2

    official: dict[str, Any] = {}
    for module in (aggregate_pb2, base_pb2, batch_pb2, properties_pb2, search_get_pb2):
        official |= dict(module.DESCRIPTOR.message_types_by_name)
    nested = {
        "BatchError": official["BatchObjectsReply"].nested_types_by_name["BatchError"],
        "Single": official["AggregateReply"].nested_types_by_name["Single"],
        "Entry": official["Properties"].nested_types_by_name["FieldsEntry"],
    }
    whole = {FieldDescriptor.TYPE_ENUM: FieldDescriptor.TYPE_INT32}
    for name, made in internal("wire").messages().items():
        theirs = nested.get(name) or official[name]
        for field in made.DESCRIPTOR.fields:
            other = theirs.fields_by_name[field.name]
            assert field.number == other.number, f"{name}.{field.name}"
            assert field.type == whole.get(other.type, other.type), f"{name}.{field.name}"
            assert field.is_repeated == other.is_repeated, f"{name}.{field.name}"


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 2_097_152])
def test_objects_put_together_as_bytes_are_what_the_official_client_would_send(length: int) -> None:
    from weaviate.proto.v1 import base_pb2, batch_pb2

    wire, key, text = internal("wire"), str(uuid.UUID(int=5)), "é" * (length // 2) + "x" * (length % 2)
    vectors = wire.vector_bytes("", b"\x00" * 8, 1) + wire.vector_bytes("toks", b"\x02" * 10, 2)
    made = wire.object_bytes(
        key, wire.text_bytes(wire.key_bytes("text"), text), wire.home_bytes("Notes", "mine"), vectors
    )
    request = batch_pb2.BatchObjectsRequest.FromString(made + made)
    theirs = batch_pb2.BatchObject(uuid=key, collection="Notes", tenant="mine", vector_bytes=b"\x00" * 8)
    theirs.properties.non_ref_properties["text"] = text
    theirs.vectors.append(base_pb2.Vectors(name="toks", vector_bytes=b"\x02" * 10, type="VECTOR_TYPE_MULTI_FP32"))
    assert list(request.objects) == [theirs, theirs]


# -- addresses and options -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "options", "url", "grpc_at", "secure"),
    [
        ("weaviate://h:8080/notes", {"grpc-port": "5"}, "http://h:8080", "h:5", False),
        ("weaviate://h/notes", {}, "http://h:8080", "h:50051", False),
        ("weaviate://h:443/notes", {}, "https://h:443", "h:50051", True),
        ("weaviate://h:9/notes", {"tls": "true", "grpc-url": "g:7"}, "https://h:9", "g:7", True),
        ("", {"url": "https://h:9/", "collection": "notes"}, "https://h:9", "h:50051", True),
        ("", {"url": "http://h:9", "collection": "Notes", "grpc-url": "grpcs://g"}, "http://h:9", "g:443", True),
        ("weaviate://x.weaviate.cloud/notes", {}, "https://x.weaviate.cloud:443", "grpc-x.weaviate.cloud:443", True),
        (
            "",
            {"url": "https://x.weaviate.network", "collection": "notes"},
            "https://x.weaviate.network",
            "x.grpc.weaviate.network:443",
            True,
        ),
        ("weaviate://[::1]:8080/notes", {}, "http://[::1]:8080", "[::1]:50051", False),
    ],
)  # fmt: skip
def test_an_address_says_where_rest_and_grpc_are(
    target: str, options: dict[str, str], url: str, grpc_at: str, secure: bool
) -> None:
    address = internal("client").Address
    assert address.of(Location("weaviate", target, options)) == address(url, grpc_at, secure, "Notes")


@pytest.mark.parametrize(
    ("target", "tls", "url", "secure"),
    [
        ("weaviate://h/Notes", None, "https://h:443", True),
        ("weaviate://h:8080/Notes", None, "https://h:8080", True),
        ("weaviate://h:8080/Notes", "false", "http://h:8080", False),
        ("weaviate://10.0.0.1:8080/Notes", "true", "https://10.0.0.1:8080", True),
        ("weaviate://10.0.0.1:8080/Notes", None, "https://10.0.0.1:8080", True),
        ("weaviate://localhost:8080/Notes", None, "http://localhost:8080", False),
        ("weaviate://a.localhost/Notes", None, "http://a.localhost:8080", False),
        ("weaviate://127.0.0.9:8080/Notes", None, "http://127.0.0.9:8080", False),
        ("weaviate://[::1]:8080/Notes", None, "http://[::1]:8080", False),
        ("weaviate://[::1]:8080/Notes", "true", "https://[::1]:8080", True),
        ("weaviate://localhost.evil.org:8080/Notes", None, "https://localhost.evil.org:8080", True),
    ],
)
def test_a_key_goes_to_other_machines_with_tls_unless_that_is_forbidden(
    target: str, tls: str | None, url: str, secure: bool
) -> None:
    options = {"api-key": KEY, **({"tls": tls} if tls else {})}
    address = internal("client").Address.of(Location("weaviate", target, options))
    assert (address.url, address.secure) == (url, secure)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("weaviate", {}, "which collection"),
        ("weaviate", {"collection": "no name"}, "no name of a Weaviate collection"),
        ("weaviate", {"collection": "A", "url": "localhost:8080"}, "looks like https://host:port"),
        ("weaviate://u:p@h/A", {}, "no user and password"),
        ("weaviate://h/A?grpc_port=x", {}, "--grpc-port x"),
        ("weaviate://h:x/A", {}, "port"),
        ("weaviate://h/A", {"id-scheme": "dns"}, "--id-scheme dns"),
        ("weaviate://h/A", {"namespace-as": "class"}, "--namespace-as class"),
        ("weaviate://h/A", {"tenant": "a b"}, "--tenant a b"),
    ],
)
def test_what_is_no_address_or_option_is_said_in_a_sentence(text: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as error, Spot(text, target_options=options).target().sink():
        pass
    assert "u:p" not in str(error.value)


def test_the_options_of_npm_vex_work_as_they_do_there(server: Weaviate, name: str, tmp_path: Path) -> None:
    source = tmp_path / "in.vmig.jsonl"
    source.write_text('{"id":"a","text":"x","vector":[1,2]}\n{"id":"b","text":"y","vector":[3,4]}\n')
    lower = name[0].lower() + name[1:]
    where = [
        "--url",
        server.url,
        "--class",
        lower,
        "--grpc-port",
        str(server.grpc_port),
        *key_of(server),
    ]
    vex("import", "--from", source, "--to", "weaviate", *where, "--auto-create", "true").ok()
    vex("export", "--from", "weaviate", *where, "--output", tmp_path / "out.vmig.jsonl").ok()
    assert sorted(one["id"] for one in json_lines(tmp_path / "out.vmig.jsonl")) == ["a", "b"]


# -- creating and describing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "distance"),
    [(None, "cosine"), ("dot", "dot"), ("euclidean", "l2-squared"), ("manhattan", "manhattan"), ("hamming", "hamming")],
)
def test_a_class_is_created_with_the_metric_of_the_source(
    server: Weaviate, name: str, metric: str | None, distance: str
) -> None:
    with spot(server, name).target().sink() as sink:
        made = sink.prepare(Description(dim=3, metric=metric))
    schema = rest(server, "GET", f"/v1/schema/{name}")
    assert (schema["vectorizer"], schema["vectorIndexConfig"]["distance"]) == ("none", distance)
    assert made.metric == (metric or "cosine")


def test_a_metric_that_weaviate_lacks_is_refused_before_anything_is_created(server: Weaviate, name: str) -> None:
    with spot(server, name).target().sink() as sink, pytest.raises(SchemaError, match="jaccard"):
        sink.prepare(Description(dim=3, metric="jaccard"))
    assert name not in {one["class"] for one in rest(server, "GET", "/v1/schema")["classes"]}


def test_asking_what_is_there_creates_nothing(server: Weaviate, name: str) -> None:
    with spot(server, name).target().sink() as sink:
        assert sink.existing() is None  # type: ignore[attr-defined]
    assert name not in {one["class"] for one in rest(server, "GET", "/v1/schema")["classes"]}


def test_a_missing_class_is_not_created_where_that_is_forbidden(server: Weaviate, name: str, tmp_path: Path) -> None:
    with spot(server, name, auto_create="false").target().sink() as sink, pytest.raises(NotFound, match="auto-create"):
        sink.prepare(Description(dim=3))
    source = tmp_path / "in.vmig.jsonl"
    source.write_text('{"id":"a","text":"x","vector":[1,2]}\n')
    done = vex("import", "--from", source, "--to", server.uri(name), "--no-create")
    assert done.code == 1
    assert "--no-create" in done.err


def test_another_metric_than_that_of_the_source_is_an_error_unless_allowed(
    server: Weaviate, name: str, tmp_path: Path
) -> None:
    other = f"{name}B"
    write(spot(server, name), samples.many(3))
    create(server, other, vectorizer="none", vectorIndexConfig={"distance": "l2-squared"})
    try:
        with pytest.raises(SchemaError, match="--allow-metric-change"):
            vexarrow.copy(server.uri(name), server.uri(other))
        assert vex("migrate", server.uri(name), server.uri(other), "--allow-metric-change").code == 0
        assert found(spot(server, other)) == found(spot(server, name))
    finally:
        rest(server, "DELETE", f"/v1/schema/{other}")


def test_index_parameters_are_carried_over_to_another_class(server: Weaviate, name: str) -> None:
    other = f"{name}B"
    index = {"distance": "dot", "efConstruction": 77, "maxConnections": 12}
    create(server, name, vectorizer="none", vectorIndexType="hnsw", vectorIndexConfig=index)
    insert(server, name, {"id": str(uuid.UUID(int=4)), "vector": [1, 2, 3]})
    try:
        vexarrow.copy(server.uri(name), server.uri(other))
        made = rest(server, "GET", f"/v1/schema/{other}")["vectorIndexConfig"]
        assert {key: made[key] for key in index} == index
    finally:
        rest(server, "DELETE", f"/v1/schema/{other}")


def test_the_description_tells_dimension_metric_count_and_index(server: Weaviate, name: str) -> None:
    write(spot(server, name), samples.many(40))
    with spot(server, name).source().source(Selection()) as source:
        said = source.describe()
    assert (said.dim, said.metric, said.rows, said.source_store) == (8, "cosine", 40, "weaviate")
    assert said.details["index"] == "hnsw"
    assert "vectorIndexConfig" in said.settings["weaviate"]
    assert "cosine" in vex("inspect", server.uri(name), "--json").out or said.metric == "cosine"


def test_the_target_says_what_it_holds(server: Weaviate, name: str) -> None:
    write(spot(server, name), samples.many(40))
    with spot(server, name).target().sink() as sink:
        there = sink.existing()  # type: ignore[attr-defined]
    assert (there.dim, there.metric, there.rows) == (8, "cosine", 40)


# -- ids -----------------------------------------------------------------------------------------------------------


def test_ids_are_the_uuids_that_other_tools_make(server: Weaviate, name: str) -> None:
    write(spot(server, name), samples.many(3))
    assert set(objects(server, name)) == {str(uuid.uuid5(uuid.NAMESPACE_URL, f"id-{row:07}")) for row in range(3)}


def test_ids_are_those_of_weaviates_helper_where_that_is_asked_for(server: Weaviate, name: str) -> None:
    from weaviate.util import generate_uuid5

    write(spot(server, name, id_scheme="weaviate"), samples.many(3))
    assert set(objects(server, name)) == {str(generate_uuid5(f"id-{row:07}")) for row in range(3)}
    assert found(spot(server, name)) == expected(samples.many(3))


def test_ids_that_were_integers_are_integers_again(server: Weaviate, name: str) -> None:
    write(spot(server, name), samples.integer_ids())
    batches = read(spot(server, name))
    assert {records.id_type(batch.schema) for batch in batches} == {"int"}
    assert in_any_order(facts(batches, verbatim=False)) == expected(samples.integer_ids())


def test_other_ids_among_integers_stay_what_they_are(server: Weaviate, name: str) -> None:
    write(spot(server, name), samples.integer_ids())
    others = samples.odd_ids().slice(1)  # but "1", which is the UUID of 1
    write(spot(server, name), others)
    assert found(spot(server, name)) == expected(samples.integer_ids(), others)


def test_uuids_in_other_spellings_come_back_as_they_were(server: Weaviate, name: str) -> None:
    plain = "0123abcd-89ab-4def-8123-456789abcdef"
    sample = samples.batch({"id": [plain.upper(), "{" + plain[:-1] + "0}", plain[:-1].replace("-", "") + "1"]})
    write(spot(server, name), sample)
    assert set(objects(server, name)) == {plain, plain[:-1] + "0", plain[:-1] + "1"}
    assert found(spot(server, name)) == expected(sample)


def test_different_ids_of_one_uuid_in_a_batch_are_rejected_but_the_first(server: Weaviate, name: str) -> None:
    plain = "0123abcd-89ab-4def-8123-456789abcdef"
    sample = samples.batch({"id": [plain, "b", plain.upper(), "b"]})
    assert write(spot(server, name), sample) == [("id-collision", plain.upper())]
    assert found(spot(server, name)) == expected(sample.take(pa.array([0, 3])))


def test_an_empty_id_is_a_reject(server: Weaviate, name: str) -> None:
    assert write(spot(server, name), samples.batch({"id": ["a", "", "b"]})) == [("missing-id", "")]
    assert [fact.id for fact in found(spot(server, name))] == ['"a"', '"b"']


def test_the_first_and_the_last_uuid_are_read_too(server: Weaviate, name: str) -> None:
    ends = [str(uuid.UUID(int=at)) for at in (0, 1, 2**127, 2**128 - 1)]
    write(spot(server, name), samples.batch({"id": ends}, id_type="uuid"))
    for wanted in (1, 2, 4, 7):
        assert sorted(json.loads(fact.id) for fact in found(spot(server, name), wanted=wanted)) == ends


# -- records -------------------------------------------------------------------------------------------------------


def test_metadata_is_kept_letter_by_letter(server: Weaviate, name: str) -> None:
    write(spot(server, name), samples.metadata())
    kept = {fact.id: fact.metadata for fact in facts(read(spot(server, name)))}
    assert kept == {fact.id: fact.metadata for fact in facts(samples.metadata())}


def test_source_store_and_version_are_kept(server: Weaviate, name: str) -> None:
    write(spot(server, name), samples.origins())
    assert in_any_order(facts(read(spot(server, name)))) == in_any_order(facts(samples.origins()))


def test_huge_metadata_and_texts_are_held(server: Weaviate, name: str) -> None:
    wide = json.dumps({f"key {at}": "value é" * 9 for at in range(20_000)})
    sample = samples.batch({"metadata": [wide, None], "text": ["x" * 3_000_000, "y"]})
    assert write(spot(server, name), sample) == []
    assert found(spot(server, name)) == expected(sample)


def test_cosine_keeps_the_length_of_vectors(server: Weaviate, name: str) -> None:
    write(spot(server, name), samples.batch({"id": ["a"]}, vector=np.array([[3.0, 4.0, 100.0]], np.float32)))
    assert found(spot(server, name))[0].vector == np.array([3, 4, 100], "<f4").tobytes()


def test_vectors_of_another_dimension_are_rejected_with_a_count(server: Weaviate, name: str, tmp_path: Path) -> None:
    write(spot(server, name), samples.many(5, dim=3))
    source = tmp_path / "in.vmig.jsonl"
    lines = [{"id": f"n{at}", "text": "x", "vector": [1.0] * (3 if at % 2 else 4)} for at in range(6)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = vexarrow.copy(str(source), server.uri(name), rejects=str(tmp_path / "rejects.jsonl"))
    assert (report.counts.written, report.codes) == (3, {"dimension": 3})


def test_what_the_server_refuses_is_a_reject_and_all_else_is_written(server: Weaviate, name: str) -> None:
    write(spot(server, name), samples.many(5, dim=3))
    with spot(server, name).target().sink() as sink:
        sink.prepare(Description(dim=3))
        rejects = sink.load(samples.many(20, dim=4).slice(10))
        assert sink.load(samples.many(30, dim=3).slice(20)) == []
    assert [(one.code, one.row) for one in rejects] == [("refused", row) for row in range(10)]
    assert "length 4" in rejects[0].message
    assert len(found(spot(server, name))) == 15


def test_several_writers_at_once_end_with_all_records(server: Weaviate, name: str) -> None:
    batches = [samples.many(400).slice(at, 200) for at in (0, 50, 100, 150, 200)]
    write(spot(server, name), batches[0].slice(0, 1))
    with ThreadPoolExecutor(5) as threads:
        assert list(threads.map(lambda batch: write(spot(server, name), batch), batches)) == [[]] * 5
    assert found(spot(server, name)) == expected(samples.many(400))


def test_a_class_of_other_properties_gets_those_that_it_lacks(server: Weaviate, name: str) -> None:
    """A `created_at` that is a date holds ours; a `metadata` that is an object does not, and is kept elsewhere."""
    nested = [{"name": "x", "dataType": ["int"]}]
    create(
        server,
        name,
        vectorizer="none",
        properties=[
            {"name": "created_at", "dataType": ["date"]},
            {"name": "metadata", "dataType": ["object"], "nestedProperties": nested},
            {"name": "title", "dataType": ["text"]},
        ],
    )
    foreign = {"id": str(uuid.UUID(int=9)), "vector": [1.0] * 8, "properties": {"title": "t", "metadata": {"x": 5}}}
    insert(server, name, foreign)
    write(spot(server, name), samples.many(20))
    known = found(spot(server, name))
    ours = [fact for fact in known if fact.id != json.dumps(foreign["id"])]
    assert ours == expected(samples.many(20))
    assert next(json.loads(fact.metadata) for fact in known if fact not in ours) == {"title": "t", "metadata": {"x": 5}}


# -- named vectors -------------------------------------------------------------------------------------------------


def named(rows: int = 3) -> pa.RecordBatch:
    """Records with a second vector and a multi-vector, each null in one row."""
    whole = samples.further_vectors()
    return whole.select([name for name in whole.schema.names if not name.startswith("sparse:")]).slice(0, rows)


def test_named_vectors_and_multi_vectors_come_back_bit_by_bit(server: Weaviate, name: str) -> None:
    assert write(spot(server, name), named()) == []
    assert found(spot(server, name)) == expected(named())
    with spot(server, name).source().source(Selection()) as source:
        assert dict(source.describe().vectors) == {"multi:tokens": 2, "vector:title": 2}


def test_named_vectors_have_one_type_on_every_page(server: Weaviate, name: str) -> None:
    write(spot(server, name), named())
    assert len({str(batch.schema) for batch in read(spot(server, name), rows=1)}) == 1


def test_sparse_vectors_are_refused(server: Weaviate, name: str) -> None:
    with pytest.raises(Unsupported, match="sparse"):
        write(spot(server, name), samples.further_vectors())


def test_a_vector_is_chosen_by_its_name(server: Weaviate, name: str) -> None:
    config = {one: {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"} for one in ("b", "a", "c")}
    create(server, name, vectorConfig=config)
    one = str(uuid.UUID(int=3))
    insert(server, name, {"id": one, "vectors": {"a": [1, 2], "b": [3, 4, 5]}})
    first, chosen = found(spot(server, name)), found(spot(server, name, "vector-name=b"))
    assert first[0].vector == np.array([1, 2], "<f4").tobytes()
    assert chosen[0].vector == np.array([3, 4, 5], "<f4").tobytes()
    assert [column for column, _ in chosen[0].further] == ["vector:a"]
    with pytest.raises(UsageError, match=r"there are (b, a|a, b), c"):
        read(spot(server, name, "vector-name=nope"))


def test_a_class_with_names_for_all_its_vectors_is_copied_as_it_is(server: Weaviate, name: str) -> None:
    other = f"{name}B"
    config = {one: {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"} for one in ("main", "title")}
    config["main"] = {**config["main"], "vectorIndexConfig": {"distance": "dot"}}
    create(server, name, vectorConfig=config)
    insert(server, name, {"id": str(uuid.UUID(int=3)), "vectors": {"main": [1, 2], "title": [3, 4, 5]}})
    try:
        vexarrow.copy(server.uri(name), server.uri(other))
        made = rest(server, "GET", f"/v1/schema/{other}")["vectorConfig"]
        assert {key: one["vectorIndexConfig"]["distance"] for key, one in made.items()} == {
            "main": "dot",
            "title": "cosine",
        }
        assert found(spot(server, other)) == found(spot(server, name))
    finally:
        rest(server, "DELETE", f"/v1/schema/{other}")


def test_names_that_weaviate_does_not_take_are_refused(server: Weaviate, name: str) -> None:
    sample = named()
    at = sample.schema.get_field_index("vector:title")
    changed = sample.rename_columns(["vector:a-b" if row == at else one for row, one in enumerate(sample.schema.names)])
    with pytest.raises(SchemaError, match="a-b"):
        write(spot(server, name), changed.replace_schema_metadata(sample.schema.metadata))


# -- tenants -------------------------------------------------------------------------------------------------------


def tenants(server: Weaviate, name: str) -> set[str]:
    return {one["name"] for one in rest(server, "GET", f"/v1/schema/{name}/tenants")}


def test_namespaces_are_tenants_where_that_is_asked_for(server: Weaviate, name: str) -> None:
    write(spot(server, name, namespace_as="tenant"), samples.many(50))
    assert {"a", "b", "c", "ns-none"} < tenants(server, name)
    assert len(tenants(server, name)) == 5
    assert found(spot(server, name)) == expected(samples.many(50))


def test_a_namespace_reads_its_tenant_alone(faulty: Weaviate, emulator: Emulator) -> None:
    name = next(fresh(faulty))
    write(spot(faulty, name, namespace_as="tenant"), samples.many(50))
    emulator.faults.seen.clear()
    batches = read(spot(faulty, name), selection=Selection(namespaces=("b", None)))
    assert sum(batch.num_rows for batch in batches) == 20
    assert {one.tenant for call, one in emulator.faults.seen if call == "Search"} == {"b", "ns-none"}


def test_the_server_finds_the_records_of_a_namespace(faulty: Weaviate, emulator: Emulator) -> None:
    name = next(fresh(faulty))
    write(spot(faulty, name), samples.many(200))
    with spot(faulty, name).source().source(Selection(namespaces=("b", "c"))) as source:
        next(iter(source.extract(source.partitions(1)[0], rows=30)))  # which looks at the dimensions first
        emulator.faults.seen.clear()
        batches = [page.batch for part in source.partitions(3) for page in resumed_everywhere(source, part, 30)]
    asked = [request for call, request in emulator.faults.seen if call == "Search"]
    assert all(request.HasField("filters") for request in asked)
    wanted = [fact for fact in expected(samples.many(200)) if fact.namespace in ("b", "c")]
    assert in_any_order(facts(batches, verbatim=False)) == wanted


@pytest.mark.parametrize("namespace", [" b", "", None, "b\n"])
def test_namespaces_that_an_index_may_confuse_are_chosen_after_reading(
    server: Weaviate, name: str, namespace: str | None
) -> None:
    names = pa.array(["b", "b ", " b", "B", "", None, "b\n", namespace])
    write(spot(server, name), samples.batch({"namespace": names}))
    kept = found(spot(server, name), selection=Selection(namespaces=(namespace,)))
    assert [fact.namespace for fact in kept] == [namespace] * 2


def test_tenants_of_others_are_namespaces(server: Weaviate, name: str) -> None:
    create(
        server,
        name,
        vectorizer="none",
        multiTenancyConfig={"enabled": True},
        properties=[{"name": "text", "dataType": ["text"]}],
    )
    rest(server, "POST", f"/v1/schema/{name}/tenants", [{"name": "left"}, {"name": "right"}])
    for at, tenant in enumerate(("left", "right", "right")):
        insert(
            server,
            name,
            {"id": str(uuid.UUID(int=at + 1)), "tenant": tenant, "vector": [1, at], "properties": {"text": f"t{at}"}},
        )
    assert [(fact.text, fact.namespace) for fact in found(spot(server, name))] == [
        ("t0", "left"),
        ("t1", "right"),
        ("t2", "right"),
    ]
    assert [fact.text for fact in found(spot(server, name), selection=Selection(namespaces=("left",)))] == ["t0"]
    assert [fact.text for fact in found(spot(server, name, "tenant=right"))] == ["t1", "t2"]


def with_tenants(server: Weaviate, name: str, states: dict[str, str], **tenancy: bool) -> None:
    """A class with a record in each of these tenants, which then are in these states."""
    text = [{"name": "text", "dataType": ["text"]}]
    create(server, name, vectorizer="none", multiTenancyConfig={"enabled": True, **tenancy}, properties=text)
    rest(server, "POST", f"/v1/schema/{name}/tenants", [{"name": one} for one in states])
    for at, one in enumerate(states):
        body = {"id": str(uuid.UUID(int=at + 1)), "tenant": one, "vector": [1, 2], "properties": {"text": f"in {one}"}}
        insert(server, name, body)
    changed = [{"name": one, "activityStatus": state} for one, state in states.items() if state != "HOT"]
    rest(server, "PUT", f"/v1/schema/{name}/tenants", changed)


def states(server: Weaviate, name: str) -> dict[str, str]:
    """What each tenant is, in the older words."""
    older = {"ACTIVE": "HOT", "INACTIVE": "COLD"}
    listed = rest(server, "GET", f"/v1/schema/{name}/tenants")
    return {one["name"]: older.get(one["activityStatus"], one["activityStatus"]) for one in listed}


def test_tenants_that_are_not_active_are_an_error_unless_others_were_chosen(
    server: Weaviate, name: str, tmp_path: Path
) -> None:
    with_tenants(server, name, {"left": "HOT", "right": "COLD", "second": "COLD"})
    out = tmp_path / "out.vmig.jsonl"
    for attempt in (
        lambda: read(spot(server, name)),
        lambda: vexarrow.copy(server.uri(name), str(out)),
        lambda: read(spot(server, name), selection=Selection(namespaces=("left", "right", "second"))),
    ):
        with pytest.raises(AccessError, match="tenant right is COLD, and 1 more are not active: activate"):
            attempt()
    assert not out.exists()
    with pytest.raises(AccessError, match="tenant second is COLD: activate"):
        read(spot(server, name, "tenant=second"))
    with pytest.raises(NotFound, match="no tenant other"):
        read(spot(server, name, "tenant=other"))
    assert [fact.text for fact in found(spot(server, name, "tenant=left"))] == ["in left"]
    assert [fact.text for fact in found(spot(server, name), selection=Selection(namespaces=("left",)))] == ["in left"]


def test_a_target_tells_of_its_active_tenants_alone(server: Weaviate, name: str) -> None:
    with_tenants(server, name, {"left": "HOT", "right": "COLD"})
    with spot(server, name).target().sink() as sink:
        there = sink.existing()  # type: ignore[attr-defined]
    assert (there.dim, there.rows, there.details["inactive_tenants"]) == (2, None, ["right"])


@pytest.mark.parametrize("state", ["HOT", "COLD"])
def test_nothing_but_reading_activates_tenants(server: Weaviate, name: str, tmp_path: Path, state: str) -> None:
    before = {"left": state, "right": "COLD"}
    with_tenants(server, name, before, autoTenantActivation=True)
    source, out = tmp_path / "in.vmig.jsonl", tmp_path / "out.vmig.jsonl"
    source.write_text('{"id":"a","text":"x","vector":[1,2]}\n')
    vex("import", "--from", source, "--to", server.uri(name), *key_of(server), "--dry-run").ok()
    vex("export", "--from", server.uri(name), *key_of(server), "--output", out, "--dry-run").ok()
    with spot(server, name).target().sink() as sink:
        sink.prepare(Description(dim=2))
    assert states(server, name) == before
    vex("export", "--from", server.uri(name), *key_of(server), "--output", out).ok()
    assert sorted(one["text"] for one in json_lines(out)) == ["in left", "in right"]


def test_an_id_in_two_tenants_is_two_records_and_in_a_property_one(server: Weaviate, name: str, tmp_path: Path) -> None:
    source, other = tmp_path / "in.vmig.jsonl", f"{name}B"
    lines = [{"id": "a", "text": "x", "vector": [1, 2], "namespace": one} for one in ("left", "right")]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with_tenants(server, other, {"left": "HOT"}, autoTenantCreation=True)
    try:
        assert not warnings_of(source, spot(server, name, namespace_as="tenant"))
        assert not warnings_of(source, spot(server, other))
        (warning,) = warnings_of(source, spot(server, other, tenant="mine"))
        assert "1 records had the id of an earlier one" in warning
    finally:
        rest(server, "DELETE", f"/v1/schema/{other}")
    rest(server, "DELETE", f"/v1/schema/{name}")
    (warning,) = warnings_of(source, spot(server, name))
    assert "1 records had the id of an earlier one" in warning


def warnings_of(source: Path, target: Spot) -> Sequence[str]:
    """What a run warns of that loads a file."""
    return run(Plan(Spot(str(source)).source(), target.target())).warnings


def test_one_tenant_alone_is_written_and_keeps_its_namespaces(server: Weaviate, name: str) -> None:
    write(spot(server, name, tenant="mine"), samples.many(20))
    write(spot(server, name, tenant="yours"), samples.many(10))
    assert tenants(server, name) == {"mine", "yours"}
    assert found(spot(server, name, "tenant=mine")) == expected(samples.many(20))
    assert found(spot(server, name)) == expected(samples.many(20), samples.many(10))
    chosen = found(spot(server, name), selection=Selection(namespaces=("a",)))
    assert len(chosen) == 6


def test_a_class_without_tenants_has_none(server: Weaviate, name: str) -> None:
    create(server, name, vectorizer="none")
    for option in ({"tenant": "a"}, {"namespace_as": "tenant"}):
        with spot(server, name, **option).target().sink() as sink, pytest.raises(SchemaError, match="no tenants"):
            sink.prepare(Description(dim=3))
    with pytest.raises(UsageError, match="no tenants"):
        read(spot(server, name, "tenant=a"))


@pytest.mark.parametrize("wanted", [1, 3, 4, 12])
def test_partitions_of_tenants_hold_every_record_once(server: Weaviate, name: str, wanted: int) -> None:
    write(spot(server, name, namespace_as="tenant"), samples.many(60))
    with spot(server, name).source().source(Selection()) as source:
        parts = source.partitions(wanted)
        batches = [page.batch for part in parts for page in resumed_everywhere(source, part, 4)]
    assert len(parts) >= wanted
    assert in_any_order(facts(batches, verbatim=False)) == expected(samples.many(60))


# -- reading in parts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [1, 4])
@pytest.mark.parametrize("rows", [1, 7, 100])
def test_reading_goes_on_after_every_page_of_every_partition(
    server: Weaviate, name: str, wanted: int, rows: int
) -> None:
    write(spot(server, name), samples.many(40))
    with spot(server, name).source().source(Selection()) as source:
        parts = source.partitions(wanted)
        batches = [page.batch for part in parts for page in resumed_everywhere(source, part, rows)]
    assert len(parts) == wanted
    assert in_any_order(facts(batches, verbatim=False)) == expected(samples.many(40))


def test_reading_goes_on_between_the_dimensions_of_a_page(server: Weaviate, name: str) -> None:
    """An index that is not built takes vectors of several lengths."""
    create(server, name, **NO_INDEX)
    for at in range(12):
        vector = {} if at % 4 == 3 else {"vector": [1.0] * (2 + at % 4)}
        insert(server, name, {"id": str(uuid.UUID(int=at + 1)), **vector})
    with spot(server, name).source().source(Selection()) as source:
        (part,) = source.partitions(1)
        for rows in (1, 3, 5, 100):
            whole = resumed_everywhere(source, part, rows)
            assert sum(page.batch.num_rows for page in whole) == 12
            assert sum(page.batch.column("vector").null_count for page in whole) == 3


def several_dimensions(server: Weaviate, name: str, numbers: Sequence[int]) -> None:
    """Objects of vectors of 2, 3 and 4 dimensions in turn."""
    for at in numbers:
        insert(server, name, {"id": str(uuid.UUID(int=at)), "vector": [1.0] * (2 + at % 3)})


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_reading_goes_on_in_smaller_pages_between_the_dimensions_of_a_page(
    server: Weaviate, name: str, rows: int
) -> None:
    create(server, name, **NO_INDEX)
    several_dimensions(server, name, range(10, 130, 10))
    with spot(server, name).source().source(Selection()) as source:
        (part,) = source.partitions(1)
        first, second, _ = pages(source, part, 100)
        several_dimensions(server, name, range(11, 80, 9))  # meanwhile
        known = set(first.batch.column("id").to_pylist())
        for page in (first, second):
            known |= set(page.batch.column("id").to_pylist())
            rest_of_it = source.extract(part, rows=rows, after=page.cursor)
            ids = known | {one for more in rest_of_it for one in more.batch.column("id").to_pylist()}
            assert {str(uuid.UUID(int=at)) for at in range(10, 130, 10)} <= ids


def test_reading_goes_on_where_the_rest_of_a_page_was_deleted(server: Weaviate, name: str) -> None:
    create(server, name, **NO_INDEX)
    several_dimensions(server, name, range(1, 7))
    with spot(server, name).source().source(Selection()) as source:
        (part,) = source.partitions(1)
        first = next(iter(source.extract(part, rows=6)))
        for at in range(1, 7):
            rest(server, "DELETE", f"/v1/objects/{name}/{uuid.UUID(int=at)}")
        several_dimensions(server, name, [9])
        (last,) = source.extract(part, rows=6, after=first.cursor)
    assert last.batch.column("id").to_pylist() == [str(uuid.UUID(int=9))]


@pytest.mark.parametrize("cursor", ["", "x", "/", "/abc", "/00000000-0000-0000-0000-000000000001/5", "a/b/c/d/e"])
def test_what_is_no_cursor_or_partition_is_refused(server: Weaviate, name: str, cursor: str) -> None:
    write(spot(server, name), samples.many(2))
    with spot(server, name).source().source(Selection()) as source:
        (part,) = source.partitions(1)
        with pytest.raises(UsageError, match="no cursor"):
            list(source.extract(part, rows=5, after=cursor))
        with pytest.raises(UsageError, match="no partition"):
            list(source.extract(part._replace(key=cursor), rows=5))


def test_pages_larger_than_the_server_allows_are_read_in_smaller_ones(server: Weaviate, name: str) -> None:
    write(spot(server, name), samples.many(30))
    with spot(server, name).source().source(Selection()) as source:
        source._limit = 20_000  # type: ignore[attr-defined] # as on a server that allows fewer than most
        (part,) = source.partitions(1)
        assert sum(page.batch.num_rows for page in pages(source, part, 15_000)) == 30


# -- foreign classes -----------------------------------------------------------------------------------------------


def test_every_type_of_property_becomes_metadata(server: Weaviate, name: str) -> None:
    kinds = {
        "number": 1.5, "int": 7, "boolean": True, "date": "2023-11-14T22:13:20.5Z", "uuid": str(uuid.UUID(int=7)),
        "geoCoordinates": {"latitude": 52.3, "longitude": 4.9}, "blob": "aGk=", "text": "t", "text[]": ["a", "é"],
        "number[]": [1, 2.5], "int[]": [1, 2], "boolean[]": [True, False], "date[]": ["2023-11-14T22:13:20Z"],
        "uuid[]": [str(uuid.UUID(int=9))],
    }  # fmt: skip
    inside = [{"name": "x", "dataType": ["number"]}, {"name": "y", "dataType": ["text[]"]}]
    properties: list[dict[str, Any]] = [{"name": f"p{at}", "dataType": [kind]} for at, kind in enumerate(kinds)]
    properties += [
        {"name": "o", "dataType": ["object"], "nestedProperties": inside},
        {"name": "os", "dataType": ["object[]"], "nestedProperties": inside},
        {"name": "ref", "dataType": [name]},
        {"name": "phone", "dataType": ["phoneNumber"]},
    ]
    create(server, name, vectorizer="none", properties=properties)
    first, second = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
    whole: dict[str, Any] = {f"p{at}": value for at, value in enumerate(kinds.values())}
    whole |= {
        "o": {"x": 1.5, "y": ["q"]},
        "os": [{"x": 2.5}],
        "ref": [{"beacon": f"weaviate://localhost/{name}/{second}"}],
    }
    phone = {"input": "020 1234567", "defaultCountry": "NL"}  # a server adds what it makes of it
    insert(server, name, {"id": second, "vector": [1, 2]})
    insert(server, name, {"id": first, "vector": [1, 2], "properties": {**whole, "phone": phone}})
    whole_facts = facts(read(spot(server, name)))
    assert {fact.source_store for fact in whole_facts} == {"weaviate"}
    known = {fact.id: fact.metadata for fact in whole_facts}
    kept = json.loads(known[json.dumps(first)] or "")
    assert kept.pop("phone").items() >= phone.items()
    assert kept == {**whole, "ref": [f"weaviate://localhost/{name}/{second}"]}
    assert known[json.dumps(second)] is None


def test_the_text_is_found_where_other_tools_have_it(server: Weaviate, name: str) -> None:
    """LangChain's and LlamaIndex's classes; ids stay UUIDs."""
    create(server, name, vectorizer="none")
    node = json.dumps({"id_": "n", "text": "from the node", "metadata": {}})
    insert(
        server,
        name,
        {"id": str(uuid.UUID(int=1)), "vector": [1, 2], "properties": {"content": "c", "source": "s", "page": 3}},
        {"id": str(uuid.UUID(int=2)), "vector": [1, 2], "properties": {"_node_content": node, "doc_id": "d"}},
    )
    first, second = found(spot(server, name))
    assert (first.text, json.loads(first.metadata)) == ("c", {"source": "s", "page": 3})
    assert (second.text, json.loads(second.metadata)) == ("from the node", {"_node_content": node, "doc_id": "d"})
    assert first.id == f'"{uuid.UUID(int=1)}"'


def test_options_say_where_the_fields_are(server: Weaviate, name: str) -> None:
    create(server, name, vectorizer="none")
    properties = {"body": "the text", "key": "k1", "space": "s", "more": '{"a":1}', "b": True}
    insert(server, name, {"id": str(uuid.UUID(int=1)), "vector": [1, 2], "properties": properties})
    asked = "text-field=body id-field=key namespace-field=space metadata-field=more"
    (fact,) = found(spot(server, name, asked))
    assert (fact.id, fact.text, fact.namespace) == ('"k1"', "the text", "s")
    assert json.loads(fact.metadata) == {"a": 1, "b": True, "key": "k1"}


def test_objects_of_no_fixed_shape_are_read_as_a_whole(server: Weaviate, name: str) -> None:
    """The properties that a server has found inside of them are those that we ask for."""
    create(server, name, vectorizer="none")
    held = [{"o": {"a": 1, "b": [True], "c": {"d": "x"}}}, {"o": {"e": "later"}, "os": [{"q": 1}, {"r": "s"}]}]
    for at, one in enumerate(held, 1):
        insert(server, name, {"id": str(uuid.UUID(int=at)), "vector": [1, 2], "properties": one})
    known = {fact.id: json.loads(fact.metadata or "") for fact in facts(read(spot(server, name)))}
    assert [known[key] for key in sorted(known)] == held


def test_metadata_of_npm_vex_is_verbatim_and_its_empty_texts_are_null(server: Weaviate, name: str) -> None:
    create(server, name, **NPM_CLASS)
    texts = {"text": "t", "model": "", "namespace": "", "created_at": "2024-01-01T00:00:00.000Z"}
    insert(
        server,
        name,
        {"id": str(uuid.UUID(int=1)), "vector": [1, 2], "properties": {**texts, "metadata": '{"b": 1.0,"a":[1]}'}},
        {
            "id": str(uuid.UUID(int=2)),
            "vector": [1, 2],
            "properties": {**texts, "created_at": "yesterday", "metadata": ""},
        },
        {"id": str(uuid.UUID(int=3)), "vector": [1, 2], "properties": {**texts, "metadata": "no JSON"}},
    )
    first, second, third = sorted(facts(read(spot(server, name))), key=lambda fact: fact.id)
    assert (first.metadata, first.model, first.namespace) == ('{"b": 1.0,"a":[1]}', None, None)
    assert first.created_at == 1_704_067_200_000_000
    assert (second.created_at, second.metadata) == (None, '{"created_at":"yesterday"}')
    assert third.metadata == '{"metadata":"no JSON"}'


def test_metadata_and_further_properties_are_put_together(server: Weaviate, name: str) -> None:
    create(server, name, **NPM_CLASS)
    one = {"id": str(uuid.UUID(int=1)), "vector": [1, 2], "properties": {"metadata": '{"a":1.0}', "rank": 2}}
    two = {"id": str(uuid.UUID(int=2)), "vector": [1, 2], "properties": {"metadata": '{"rank":1}', "rank": 2}}
    insert(server, name, one, two)
    first, second = sorted(facts(read(spot(server, name))), key=lambda fact: fact.id)
    assert first.metadata == '{"a":1.0,"rank":2.0}'
    assert json.loads(second.metadata or "") == {"metadata": '{"rank":1}', "rank": 2.0}


# -- access and errors ---------------------------------------------------------------------------------------------


def test_a_bad_key_is_an_access_error_that_does_not_show_it() -> None:
    with weaviate_emulator(key=KEY) as locked:
        for key in ("a-wrong-key", None):
            options = {"api-key": key} if key else {}
            with pytest.raises(
                AccessError, match=r"refused the credentials .*; check --api-key or WEAVIATE_API_KEY"
            ) as error:
                read(Spot(locked.uri("Notes"), source_options=options))
            assert "wrong" not in str(error.value)
        name = next(fresh(locked))
        write(spot(locked, name), samples.many(3))
        assert found(spot(locked, name)) == expected(samples.many(3))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, f"no such key {KEY}"),
        (grpc.StatusCode.PERMISSION_DENIED, "forbidden"),
        (grpc.StatusCode.UNKNOWN, "extract auth: unauthorized: invalid api key"),
    ],
)
def test_a_key_that_grpc_refuses_is_an_access_error_too(code: grpc.StatusCode, said: str) -> None:
    with weaviate_emulator(key=KEY) as locked:
        assert locked.emulator is not None
        locked.emulator.faults.calls["BatchObjects"] = [(code, said, None)]
        with pytest.raises(AccessError) as error:
            write(spot(locked, next(fresh(locked))), samples.many(3))
    assert KEY not in str(error.value)


def test_a_key_for_a_server_without_keys_is_an_access_error(faulty: Weaviate) -> None:
    with pytest.raises(AccessError):
        read(Spot(faulty.uri("Notes"), source_options={"api-key": KEY}))


def test_the_key_comes_from_the_environment_or_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with weaviate_emulator(key=KEY) as locked:
        name = next(fresh(locked))
        monkeypatch.setenv("WEAVIATE_API_KEY", KEY)
        write(Spot(locked.uri(name)), samples.many(3))
        monkeypatch.delenv("WEAVIATE_API_KEY")
        monkeypatch.setenv("MY_KEY", KEY)
        place = Spot(locked.uri(name, "&api_key=${MY_KEY}"))
        assert found(place) == expected(samples.many(3))
        assert KEY not in str(place.source())


@pytest.mark.parametrize("library", ["grpc", "google.protobuf"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(library: str) -> None:
    script = f"import sys; sys.modules[{library!r}] = None; import vexarrow; vexarrow.copy('weaviate://h/A', 'x.arrow')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "MissingDependency: weaviate needs grpcio and protobuf: pip install 'vexarrow[weaviate]'" in done.stderr


def test_a_missing_class_is_not_found(server: Weaviate, name: str) -> None:
    with pytest.raises(NotFound, match=f"no collection {name}"):
        read(spot(server, name))


def test_a_server_that_is_not_there_is_a_transient_error() -> None:
    nobody = {"retries": "0"}
    with pytest.raises(TransientError, match="nothing listens"):
        read(Spot("weaviate://127.0.0.1:9/Notes", source_options=nobody))


def test_grpc_that_is_not_there_is_named_with_the_option_that_says_where(server: Weaviate, name: str) -> None:
    write(spot(server, name), samples.many(3))
    wrong = server.uri(name).replace(f"grpc_port={server.grpc_port}", "grpc_port=9")
    with pytest.raises(TransientError, match="--grpc-port"):
        read(Spot(wrong, source_options={"retries": "0", **({"api-key": server.key} if server.key else {})}))


def test_what_was_created_is_there_when_the_answer_was_lost(faulty: Weaviate, emulator: Emulator) -> None:
    """Of a class, its tenants and the properties that it lacked."""
    name, other = next(fresh(faulty)), next(fresh(faulty))
    whole = [{"name": one, "dataType": ["text"]} for one in ("text", "model", "namespace", "metadata", "source_store")]
    create(faulty, other, vectorizer="none", properties=whole)
    lost = Script([HTTP_FAULTS["503 after the work"]], every=1, in_a_row=1)
    with http_proxy(faulty.url, lost) as address:
        proxied = replace(faulty, url=address)
        assert write(spot(proxied, name, namespace_as="tenant"), samples.many(30)) == []
        assert write(spot(proxied, other), samples.many(30)) == []
    assert 2 * lost.injected.total() == lost.requests
    assert found(spot(faulty, name)) == found(spot(faulty, other)) == expected(samples.many(30))


def test_a_class_that_another_run_created_meanwhile_is_checked_like_one_that_was_there(
    server: Weaviate, name: str
) -> None:
    create(server, name, vectorizer="none", vectorIndexConfig={"distance": "dot"})
    with spot(server, name).target().sink() as sink:
        made = sink._created(Description(dim=3, metric="dot"))  # type: ignore[attr-defined] # as if it came first
        assert made["class"] == name
        with pytest.raises(SchemaError, match="meanwhile, with the metric dot"):
            sink._created(Description(dim=3))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "code",
    [
        UNAVAILABLE,
        EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    ],
)
def test_requests_that_fail_for_a_passing_reason_are_tried_again(
    faulty: Weaviate, emulator: Emulator, code: grpc.StatusCode
) -> None:
    name = next(fresh(faulty))
    emulator.faults.calls["BatchObjects"] = [(code, "for the moment", 1), None, (code, "once more", 1)]
    write(spot(faulty, name), samples.many(300))
    emulator.faults.calls["Search"] = [(code, "for the moment", 1), None, (code, "once more", 1)]
    assert found(spot(faulty, name), rows=50) == expected(samples.many(300))


def test_requests_are_tried_as_often_as_asked_and_no_more(faulty: Weaviate, emulator: Emulator) -> None:
    emulator.faults.calls["BatchObjects"] = [(UNAVAILABLE, "down", 1)] * 9
    with pytest.raises(TransientError, match="UNAVAILABLE: down"):
        write(spot(faulty, next(fresh(faulty)), retries="2", concurrency="1"), samples.many(3))
    assert len(emulator.faults.calls["BatchObjects"]) == 6


def test_a_request_is_sent_again_until_no_object_of_it_fails_for_a_passing_reason(
    faulty: Weaviate, emulator: Emulator
) -> None:
    name = next(fresh(faulty))
    key = to_uuid("id-0000005")
    emulator.faults.objects[key] = ["put object: shard is read-only for now: not enough memory"] * 2
    assert write(spot(faulty, name), samples.many(50)) == []
    assert found(spot(faulty, name)) == expected(samples.many(50))
    sent = [len(request.objects) for call, request in emulator.faults.seen if call == "BatchObjects"]
    assert sent == [50, 50, 50]


@pytest.mark.parametrize(
    "said", ["store is read-only due to: the disk is full", "load shard: something that we do not know"]
)
def test_objects_that_a_shard_did_not_take_are_not_lost_although_the_answer_names_the_first_alone(
    faulty: Weaviate, emulator: Emulator, said: str
) -> None:
    name = next(fresh(faulty))
    emulator.faults.shards[name] = [said]
    assert write(spot(faulty, name), samples.many(50)) == []
    assert found(spot(faulty, name)) == expected(samples.many(50))


def test_a_shard_that_is_read_only_is_a_transient_error(server: Weaviate, name: str) -> None:
    write(spot(server, name), samples.many(3))
    (shard,) = rest(server, "GET", f"/v1/schema/{name}/shards")
    where = f"/v1/schema/{name}/shards/{shard['name']}"
    rest(server, "PUT", where, {"status": "READONLY"})
    with pytest.raises(TransientError, match="store is read-only"):
        write(spot(server, name, retries="0"), samples.many(50))
    assert len(found(spot(server, name))) == 3
    rest(server, "PUT", where, {"status": "READY"})
    assert write(spot(server, name), samples.many(50)) == []
    assert found(spot(server, name)) == expected(samples.many(50))


def test_a_key_that_may_read_alone_is_an_access_error_and_no_reject(faulty: Weaviate, emulator: Emulator) -> None:
    said = "adminlist: authorization, forbidden action: user 'reader' has insufficient permissions to U [data]"
    emulator.faults.objects[to_uuid("id-0000005")] = [said]
    with pytest.raises(AccessError, match="the key may not write: adminlist"):
        write(spot(faulty, next(fresh(faulty))), samples.many(50))


def test_the_first_look_at_a_class_asks_for_no_properties_and_for_fewer_objects_when_they_are_too_large(
    faulty: Weaviate, emulator: Emulator
) -> None:
    name = next(fresh(faulty))
    write(spot(faulty, name), samples.many(30))
    too_large = (EXHAUSTED, "grpc: trying to send message larger than max (606107 vs. 300000)", None)
    emulator.faults.calls["Search"] = [too_large] * 2
    emulator.faults.seen.clear()
    with spot(faulty, name).source().source(Selection()) as source:
        assert source.describe().dim == 8
    looks = [request for call, request in emulator.faults.seen if call == "Search"]
    assert [one.limit for one in looks] == [25, 5, 1]
    assert not any(one.properties.non_ref_properties for one in looks)


def test_an_alias_is_read_and_written_as_the_class_that_it_stands_for(server: Weaviate, name: str) -> None:
    other = f"{name}Alias"
    create(server, name, vectorizer="none")
    rest(server, "POST", "/v1/aliases", {"alias": other, "class": name})
    try:
        assert write(spot(server, other), samples.many(20)) == []
        assert found(spot(server, other)) == found(spot(server, name)) == expected(samples.many(20))
    finally:
        rest(server, "DELETE", f"/v1/aliases/{other}")


def test_single_objects_that_are_refused_are_rejects_and_not_sent_again(faulty: Weaviate, emulator: Emulator) -> None:
    name = next(fresh(faulty))
    emulator.faults.objects[to_uuid("id-0000005")] = ["invalid text property 'timeout'"] * 2
    assert write(spot(faulty, name), samples.many(50)) == [("refused", "id-0000005")]
    assert len(found(spot(faulty, name))) == 49


@pytest.mark.parametrize("said", ["invalid text property", "not enough memory for"])
def test_what_is_said_of_single_objects_is_cut_and_shows_no_key(said: str) -> None:
    with weaviate_emulator(key=KEY) as locked:
        assert locked.emulator is not None
        locked.emulator.faults.objects[to_uuid("id-0000005")] = [f"{said} {KEY} {'x' * 9000}"] * 3
        place = spot(locked, next(fresh(locked)), retries="0")
        with place.target().sink() as sink:
            sink.prepare(Description(dim=8))
            try:
                (reject,) = sink.load(samples.many(10))
                message = reject.message
            except TransientError as error:
                message = str(error)
    assert said in message
    assert KEY not in message
    assert len(message) < 500


def test_a_refused_request_is_split_until_the_record_at_fault_is_known(faulty: Weaviate, emulator: Emulator) -> None:
    name = next(fresh(faulty))
    too_large = (EXHAUSTED, "grpc: received message larger than max (200 vs. 100)", None)
    emulator.faults.calls["BatchObjects"] = [too_large] * 64  # 64 records, 32, ... and then the very first
    assert write(spot(faulty, name, concurrency="1"), samples.many(64)) == [("refused", "id-0000000")]
    assert found(spot(faulty, name)) == expected(samples.many(64).slice(1))


def test_a_page_too_large_for_a_message_is_read_in_halves(faulty: Weaviate, emulator: Emulator) -> None:
    name = next(fresh(faulty))
    write(spot(faulty, name), samples.many(64))
    with spot(faulty, name).source().source(Selection()) as source:
        emulator.faults.calls["Search"] = [(EXHAUSTED, "trying to send message larger than max", None)] * 2
        (part,) = source.partitions(1)
        sizes = [page.batch.num_rows for page in pages(source, part, 64)]
    assert sizes == [16, 16, 16, 16]


def test_an_error_that_lasts_is_not_tried_again(faulty: Weaviate, emulator: Emulator) -> None:
    name = next(fresh(faulty))
    write(spot(faulty, name), samples.many(3))
    with spot(faulty, name).source().source(Selection()) as source:
        emulator.faults.calls["Search"] = [(grpc.StatusCode.UNKNOWN, "explorer: something is broken", None)] * 2
        (part,) = source.partitions(1)
        with pytest.raises(VexError, match="something is broken"):
            list(source.extract(part, rows=5))
    assert len(emulator.faults.calls["Search"]) == 1


# -- other tools ---------------------------------------------------------------------------------------------------


@pytest.fixture
def official(server: Weaviate) -> Iterator[Any]:
    """The official client, unmodified."""
    import weaviate

    port = int(server.url.rsplit(":", 1)[1])
    key = weaviate.auth.Auth.api_key(server.key) if server.key else None
    client = weaviate.connect_to_custom(
        "127.0.0.1", port, False, "127.0.0.1", server.grpc_port, False, auth_credentials=key
    )
    yield client
    client.close()


def test_the_official_client_reads_what_we_wrote(server: Weaviate, name: str, official: Any) -> None:
    write(spot(server, name), samples.many(150))
    rows = list(official.collections.get(name).iterator(include_vector=True))
    wanted = {to_uuid(json.loads(fact.id)): fact for fact in facts(samples.many(150))}
    assert {str(row.uuid) for row in rows} == set(wanted)
    for row in rows:
        fact = wanted[str(row.uuid)]
        assert np.array(row.vector["default"], "<f4").tobytes() == fact.vector
        assert (row.properties["text"], row.properties["metadata"]) == (fact.text, fact.metadata)
    assert official.collections.get(name).aggregate.over_all().total_count == 150


def test_we_read_what_the_official_client_wrote(server: Weaviate, name: str, official: Any) -> None:
    from weaviate.classes.config import Configure, DataType, Property

    properties = [Property(name="text", data_type=DataType.TEXT), Property(name="n", data_type=DataType.INT)]
    made = official.collections.create(name, vector_config=Configure.Vectors.self_provided(), properties=properties)
    vectors = samples.vectors(250, 8)
    with made.batch.fixed_size(100) as batch:
        for row in range(250):
            batch.add_object({"text": f"text {row}", "n": row}, vector=vectors[row], uuid=uuid.UUID(int=row + 1))
    assert made.batch.failed_objects == []
    for row, fact in enumerate(sorted(found(spot(server, name)), key=lambda fact: fact.id)):
        assert (fact.id, fact.vector) == (f'"{uuid.UUID(int=row + 1)}"', vectors[row].tobytes())
        assert (fact.text, fact.metadata) == (f"text {row}", f'{{"n":{row}}}')


def test_we_write_into_a_class_of_the_official_client(server: Weaviate, name: str, official: Any) -> None:
    from weaviate.classes.config import Configure

    official.collections.create(name, vector_config=Configure.Vectors.self_provided())
    write(spot(server, name), samples.many(50))
    assert found(spot(server, name)) == expected(samples.many(50))
    assert set(next(iter(official.collections.get(name).iterator(include_vector=True))).vector) == {"default"}


def test_the_official_client_has_tenants_named_vectors_and_filters(server: Weaviate, name: str, official: Any) -> None:
    """What the emulator does for it, a real server does as well."""
    from weaviate.classes.config import Configure
    from weaviate.classes.data import DataObject
    from weaviate.classes.query import Filter
    from weaviate.classes.tenants import Tenant

    made = official.collections.create(
        name,
        multi_tenancy_config=Configure.multi_tenancy(enabled=True),
        vector_config=[
            Configure.Vectors.self_provided(name="title"),
            Configure.MultiVectors.self_provided(name="toks"),
        ],
    )
    made.tenants.create([Tenant(name="a"), Tenant(name="b")])
    assert set(made.tenants.get()) == {"a", "b"}
    mine = made.with_tenant("a")
    vector: Any = {"title": [1, 2], "toks": [[1, 2], [3, 4]]}
    done = mine.data.insert_many(
        [DataObject({"s": "first", "o": {"x": 1}, "ts": ["q"]}, vector=vector), DataObject({"s": "second"})]
    )
    assert not done.has_errors
    row = next(one for one in mine.iterator(include_vector=True) if one.properties["s"] == "first")
    assert (row.vector["title"], row.vector["toks"]) == ([1, 2], [[1, 2], [3, 4]])
    assert row.properties["ts"] == ["q"]
    assert mine.query.fetch_object_by_id(row.uuid).properties["s"] == "first"
    assert mine.data.delete_many(where=Filter.by_property("s").equal("second")).matches == 1
    assert [len(list(made.with_tenant(tenant).iterator())) for tenant in ("a", "b")] == [1, 0]
    (fact,) = found(spot(server, name))
    assert (fact.namespace, [column for column, _ in fact.further]) == ("a", ["multi:toks"])


def test_the_server_keeps_its_limits_and_words(server: Weaviate, name: str, official: Any) -> None:
    from weaviate.exceptions import UnexpectedStatusCodeError, WeaviateQueryError

    create(server, name, vectorizer="none", properties=[{"name": "text", "dataType": ["text"]}])
    made = official.collections.get(name)
    with pytest.raises(WeaviateQueryError, match="QUERY_MAXIMUM_RESULTS '10000'"):
        made.query.fetch_objects(limit=10_001)
    with pytest.raises(WeaviateQueryError, match="could not find class Nowhere"):
        official.collections.get("Nowhere").query.fetch_objects(limit=1)
    made.data.insert({"text": "x"}, vector=[1, 2, 3])
    done = made.data.insert_many(
        [_object({"text": "y"}, [1, 2]), _object({"text": 5}, [1, 2, 3]), _object({}, [4, 5, 6])]
    )
    assert sorted(done.errors) == [0, 1]
    assert "vector with length 2. Existing nodes have vectors with length 3" in done.errors[0].message
    assert "invalid text property 'text'" in done.errors[1].message
    with pytest.raises(UnexpectedStatusCodeError, match="already exists"):
        official.collections.create(name)
    with pytest.raises(UnexpectedStatusCodeError, match=r"multi-tenancy is not enabled"):
        made.tenants.create("a")


def _object(properties: dict[str, Any], vector: Sequence[float]) -> Any:
    from weaviate.classes.data import DataObject

    return DataObject(properties, vector=vector)


@pytest.fixture
def npm() -> Any:
    """Runs the original tool. Where it is absent the test is skipped, or fails when `VEX_REQUIRE` names "npm"."""
    tool = NPM / "node_modules" / ".bin" / "vex"
    if not tool.exists() or shutil.which("node") is None:
        required = {"npm", "all"} & set(os.environ.get("VEX_REQUIRE", "").split(","))
        (pytest.fail if required else pytest.skip)(f"npm: there is no {tool}, or no node")

    def run(*arguments: str | Path) -> None:
        done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.mark.npm
def test_npm_vex_exports_what_we_loaded(server: Weaviate, name: str, npm: Any, tmp_path: Path) -> None:
    write(spot(server, name), samples.many(150))
    out = tmp_path / "out.vmig.jsonl"
    npm(
        "export",
        "--from",
        "weaviate",
        "--url",
        server.url,
        "--collection",
        name,
        "--output",
        out,
        *key_of(server),
    )
    its = {one["id"]: one for one in json_lines(out)}
    ours = {to_uuid(json.loads(fact.id)): fact for fact in facts(samples.many(150))}
    assert its.keys() == ours.keys()
    for key, fact in ours.items():
        assert np.array(its[key]["vector"], "<f4").tobytes() == fact.vector
        assert (its[key]["text"], its[key]["model"]) == (fact.text, fact.model)
        assert its[key]["metadata"] == json.loads(fact.metadata or "null")
        assert its[key]["namespace"] == (fact.namespace or None)


@pytest.mark.npm
def test_we_export_what_npm_vex_loaded(server: Weaviate, name: str, npm: Any, tmp_path: Path) -> None:
    source, out = tmp_path / "in.vmig.jsonl", tmp_path / "out.vmig.jsonl"
    ids = samples.batch({"id": [str(uuid.UUID(int=7 * row + 1)) for row in range(150)]}).column("id")
    many = samples.many(150)
    sample = many.set_column(0, many.schema.field(0), ids)
    write(Spot(str(source)), sample)
    npm(
        "import",
        "--from",
        source,
        "--to",
        "weaviate",
        "--url",
        server.url,
        "--collection",
        name,
        *key_of(server),
    )
    vexarrow.copy(server.uri(name), str(out))
    sent, back = ({one["id"]: one for one in json_lines(path)} for path in (source, out))
    assert back.keys() == sent.keys()
    for key, one in sent.items():
        for field in ("text", "vector", "model", "metadata", "created_at"):
            assert back[key][field] == one[field], field
        assert back[key]["namespace"] == (one["namespace"] or None)


def test_a_run_by_several_readers_moves_every_record_once(server: Weaviate, name: str, tmp_path: Path) -> None:
    other, before = f"{name}B", threading.active_count()
    write(spot(server, name), samples.many(3000))
    try:
        report = vexarrow.copy(server.uri(name), server.uri(other))
        assert (report.counts.read, report.counts.written) == (3000, 3000)
        assert found(spot(server, other)) == expected(samples.many(3000))
    finally:
        rest(server, "DELETE", f"/v1/schema/{other}")
    assert threading.active_count() <= before + 20  # idle handlers of the emulator's connections
