"""Writing Pinecone, on the emulator of tests/engines/pinecone.py."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from tests.commands import vex
from tests.engines._pinecone_places import DENSE, SPARSE, opened, records_of, spot, store
from tests.engines._pinecone_rules import MOST_URL
from tests.engines._pinecone_store import Index
from tests.engines.pinecone import KEY, Emulator, pinecone_emulator
from vexarrow import copy, records
from vexarrow.errors import Unsupported
from vexarrow.protocols import Description
from vexarrow.selection import Selection
from vexarrow.testing import Spot, facts, read, samples, write
from vexarrow.testing.contract import in_any_order
from vexarrow.testing.spots import plan_of


@pytest.fixture(scope="module", params=["grpc", "rest"])
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """One whose indexes speak gRPC as well, and one where they do not."""
    with pinecone_emulator() as running:
        running.grpc = request.param == "grpc"
        yield running


@pytest.fixture
def index(emulator: Emulator) -> Iterator[Index]:
    """A vector index of two dimensions that is there and empty."""
    yield emulator.make(f"t-{uuid.uuid4().hex}", DENSE)
    emulator.asked.clear()
    emulator.faults.clear()
    emulator.broken.clear()
    emulator.longest_url = MOST_URL


def test_ids_and_namespaces_that_pinecone_does_not_take_are_encoded(emulator: Emulator, index: Index) -> None:
    ids = ["Ünï", "x" * 513, "nul\0", "plain"]
    names = ["Ω", "__default__", "..", " "]
    sample = samples.batch({"id": ids, "namespace": names}, dim=2)
    place = spot(emulator, index.name)
    assert write(place, sample) == []
    assert sorted(index.spaces) == ["%20", "%2E%2E", "%5F_default__", "%CE%A9"]
    (stored,) = index.spaces["%CE%A9"].values()
    assert (stored.id, stored.metadata["__id__"]) == (str(uuid.uuid5(uuid.NAMESPACE_URL, "Ünï")), "Ünï")
    assert in_any_order(facts(read(place), verbatim=False)) == in_any_order(facts(sample, verbatim=False))
    for name in names:
        assert [row["namespace"] for row in records_of(place, Selection(namespaces=(name,)))] == [name]


def test_keys_that_pinecone_does_not_take_are_kept_aside(emulator: Emulator, index: Index) -> None:
    place = spot(emulator, index.name)
    sample = samples.batch(
        {"id": ["a"], "metadata": ['{"$set":1,"":2,"__vex__":3,"__id__":4,"n":{"x":[]},"_ok":5}']}, dim=2
    )
    assert write(place, sample) == []
    assert set(index.spaces[""]["a"].metadata) == {"text", "_ok", "__vex__"}
    assert facts(read(place), verbatim=False) == facts(sample, verbatim=False)


def test_metadata_like_that_of_other_tools_in_another_namespace_comes_back(emulator: Emulator, index: Index) -> None:
    """Such a record has notes that are empty but for its namespace."""
    place = spot(emulator, index.name)
    columns = {"id": ["a"], "text": [None], "namespace": ["Ω"], "metadata": ['{"page_content":"x"}']}
    sample = samples.batch({**columns, "source_store": [None]}, dim=2)
    assert write(place, sample) == []
    assert orjson.loads(index.spaces["%CE%A9"]["a"].metadata["__vex__"]) == {"namespace": "Ω"}
    assert facts(read(place), verbatim=False) == facts(sample, verbatim=False)


def test_a_record_with_too_much_metadata_is_rejected_and_all_others_are_written(
    emulator: Emulator, index: Index
) -> None:
    place = spot(emulator, index.name)
    with place.target().sink() as sink:
        sink.prepare(plan_of([]))
        refused = sink.load(samples.batch({"id": list("abc"), "text": ["x", "x" * 41_000, "x" * 40_000]}, dim=2))
    assert [(one.code, one.row) for one in refused] == [("too-large", 1)]
    assert "40,960" in refused[0].message
    assert set(index.spaces[""]) == {"a", "c"}


def test_records_that_the_server_refuses_are_found_and_all_others_written(emulator: Emulator, index: Index) -> None:
    vectors = samples.vectors(50, 2)
    vectors[[3, 30, 49]] = 0
    sample = samples.batch({"id": [f"{row:02}" for row in range(50)]}, vector=vectors)
    assert write(spot(emulator, index.name), sample) == [("refused", "03"), ("refused", "30"), ("refused", "49")]
    assert len(index.spaces[""]) == 47


def test_requests_hold_at_most_a_thousand_records_and_two_megabytes(emulator: Emulator) -> None:
    wide = emulator.make(f"t-{uuid.uuid4().hex}", {"_values": {**DENSE["_values"], "dimension": 3072}})
    emulator.asked.clear()
    assert write(spot(emulator, wide.name), samples.batch({"id": [f"{row}" for row in range(400)]}, dim=3072)) == []
    assert emulator.asked.count("POST /vectors/upsert") in ({3} if emulator.grpc else range(6, 12))
    assert len(wide.spaces[""]) == 400


@pytest.mark.parametrize("api", ["vectors", "documents"])
def test_sparse_vectors_come_back_under_their_name(emulator: Emulator, api: str) -> None:
    pairs: list[Any] = [{"indices": [7, 4_294_967_295], "values": [0.5, 0.1]}, None, {"indices": [], "values": []}]
    plain = samples.batch({"id": list("abc")}, dim=2)
    columns = {name: plain.column(name) for name in records.BASE_NAMES}
    sample = records.build(columns, plain.column("vector"), more={"sparse:words": pa.array(pairs, SPARSE)})
    place = spot(emulator, f"t-{uuid.uuid4().hex}", target={"api": api})
    with place.target().sink() as sink:
        sink.prepare(Description(dim=2, metric="dot", vectors={"sparse:words": None}))
        assert list(sink.load(sample)) == []
    assert facts(read(place), verbatim=False) == facts(sample, verbatim=False)
    with opened(place) as source:
        assert dict(source.describe().vectors) == {"sparse:words": None}


def test_no_index_is_made_for_further_vectors_that_pinecone_cannot_hold(emulator: Emulator, tmp_path: Path) -> None:
    place, file = spot(emulator, f"t-{uuid.uuid4().hex}"), f"{tmp_path}/three.parquet"
    write(Spot(file), samples.further_vectors())
    before = set(emulator.indexes)
    with pytest.raises(Unsupported, match=r"t-\w+ holds .* no vector:title, multi:tokens; --drop-vectors leaves"):
        copy(file, "pinecone", target_options=place.target_options)
    assert set(emulator.indexes) == before


def test_sparse_vectors_need_an_index_of_the_metric_dotproduct(emulator: Emulator, index: Index) -> None:
    plain = samples.batch({"id": ["a"]}, dim=2)
    columns = {name: plain.column(name) for name in records.BASE_NAMES}
    more = {"sparse:words": pa.array([{"indices": [1], "values": [1.0]}], SPARSE)}
    with pytest.raises(Unsupported, match="--metric dot"):
        write(spot(emulator, index.name), records.build(columns, plain.column("vector"), more=more))


def test_a_schema_decides_what_goes_where(emulator: Emulator) -> None:
    fields = {
        "embedding": {"type": "dense_vector", "dimension": 2, "metric": "euclidean"},
        "title": {"type": "string", "full_text_search": {}},
    }
    index = emulator.make(f"t-{uuid.uuid4().hex}", fields)
    place = spot(emulator, index.name)
    metadata = ['{"_private":1,"embedding":"taken","vex__":2}', '{"title":5}', '{"other":"x"}']
    sample = samples.batch({"id": list("abc"), "text": ["x" * 100_000, "b", None], "metadata": metadata}, dim=2)
    assert write(place, sample) == []
    assert index.spaces[""]["b"].metadata["title"] == "b"
    assert facts(read(place), verbatim=False) == facts(sample, verbatim=False)
    with opened(place) as source:
        said = source.describe()
    assert (said.dim, said.metric, said.details["api"]) == (2, "euclidean", "documents")


def test_the_schema_of_a_document_index_is_carried_to_a_new_one(emulator: Emulator) -> None:
    fields = {
        "embedding": {"type": "dense_vector", "dimension": 2, "metric": "dotproduct"},
        "title": {"type": "string", "full_text_search": {"language": "en"}},
        "words": {"type": "sparse_vector"},
    }
    old = emulator.make(f"t-{uuid.uuid4().hex}", fields)
    old.deployment["region"] = "eu-west-1"
    store(old, ["a"], title="t", n=1.0)
    new = f"t-{uuid.uuid4().hex}"
    key = {"PINECONE_API_KEY": KEY, "PINECONE_CONTROLLER_HOST": emulator.url}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in key.items():
            patch.setenv(name, value)
        vex("migrate", f"pinecone://{old.name}", f"pinecone://{new}").ok()
    made = emulator.indexes[new]
    assert (made.schema.fields, made.deployment["region"]) == (fields, "eu-west-1")
    assert made.spaces[""]["a"].metadata["title"] == "t"


def test_two_writers_at_once_write_everything(emulator: Emulator, index: Index) -> None:
    halves = [samples.batch({"id": [f"{half}-{row}" for row in range(700)]}, dim=2) for half in "ab"]
    with ThreadPoolExecutor(2) as threads:
        refused = list(threads.map(lambda half: write(spot(emulator, index.name), half), halves))
    assert (refused, len(index.spaces[""])) == ([[], []], 1400)
