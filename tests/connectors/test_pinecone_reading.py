"""Reading Pinecone, on the emulator of tests/engines/pinecone.py."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.engines._pinecone_places import DENSE, ids_of, opened, records_of, spot, store
from tests.engines._pinecone_rules import MOST_URL, Json
from tests.engines._pinecone_store import Index
from tests.engines.pinecone import Emulator, pinecone_emulator
from vexarrow.engine import Plan, run
from vexarrow.protocols import Partition, Source
from vexarrow.selection import Selection
from vexarrow.testing import Spot, samples, write

DOCUMENTS: Json = {"embedding": {"type": "dense_vector", "dimension": 2, "metric": "cosine"}}


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


def test_a_namespace_of_our_records_that_fits_one_answer_is_read_by_one_request(
    emulator: Emulator, index: Index
) -> None:
    place = spot(emulator, index.name)
    write(place, samples.batch({"id": list("abc")}, dim=2))
    emulator.asked.clear()
    assert [row["id"] for row in records_of(place)] == ["a", "b", "c"]
    before = {"GET /namespaces", "POST /describe_index_stats"}
    assert [one for one in emulator.asked if one not in before] == ["POST /vectors/fetch_by_metadata"]


def test_a_record_of_another_tool_in_it_is_not_lost(emulator: Emulator, index: Index) -> None:
    place = spot(emulator, index.name)
    write(place, samples.batch({"id": list("abc")}, dim=2))
    store(index, ["ab"])
    assert [row["id"] for row in records_of(place)] == ["a", "ab", "b", "c"]
    assert "GET /vectors/fetch" in emulator.asked


ODD = ["\x01", " ", "!", "a", "a\x01", "a\x7f", "aa", "ab", "a" * 511, "a" * 512, "b", "~", "~~", "\x7f", "\x7f\x7f"]


@pytest.mark.parametrize("expired", [False, True])
def test_reading_goes_on_after_any_page_with_and_without_its_token(
    emulator: Emulator, index: Index, expired: bool
) -> None:
    """A token that is not taken any more is made up for by prefixes."""
    ids = sorted({*ODD, *(f"id-{row:04}" for row in range(330)), *(f"{row * 7919:08x}" for row in range(150))})
    store(index, ids)
    with opened(spot(emulator, index.name, concurrency="8")) as source:
        (part,) = source.partitions(1)
        whole = list(source.extract(part, rows=23))
        assert ids_of(whole) == ids
        for at in (0, 1, 4, 7, len(whole) - 2, len(whole) - 1):
            rest = resumed(source, part, whole[at].cursor, expired)
            assert rest == ids_of(whole[at + 1 :])


def resumed(source: Source, part: Partition, cursor: str, expired: bool) -> list[str]:
    """The ids after a cursor; with `expired` its token is one that the server does not take."""
    last, prefix, token = orjson.loads(cursor)
    after = orjson.dumps([last, prefix, "expired" if expired else token]).decode()
    return ids_of(source.extract(part, rows=23, after=after))


@pytest.mark.parametrize("form", ["id-{:07}", "{:08x}", "doc{}#1", "{}"])
def test_a_large_namespace_is_split_into_ranges_that_hold_every_record_once(
    emulator: Emulator, index: Index, form: str
) -> None:
    ids = sorted({form.format(row * 2654435761 % 2**32 if "x" in form else row) for row in range(10_500)})
    store(index, ids, "large")
    store(index, ["x"], "small")
    with opened(spot(emulator, index.name, concurrency="8")) as source:
        parts = source.partitions(8)
        assert parts == source.partitions(8)
        found = [ids_of(source.extract(part, rows=3000)) for part in parts]
    assert len(parts) >= 4
    assert max(map(len, found)) < 0.6 * len(ids)
    assert sorted(one for some in found for one in some) == sorted([*ids, "x"])


@pytest.mark.parametrize("fields", [DENSE, DOCUMENTS])
def test_ids_that_are_listed_and_not_answered_are_asked_for_again_and_then_rejected(
    emulator: Emulator, fields: Json
) -> None:
    index = emulator.make(f"t-{uuid.uuid4().hex}", fields)
    store(index, ["a", "b", "c", "d", "e"], "space")
    index.late |= {"b": 1, "c": 2, "e": 2}
    with opened(spot(emulator, index.name)) as source:
        (part,) = source.partitions(1)
        found = list(source.extract(part, rows=2))
    assert [ids_of([page]) for page in found] == [["a", "b"], ["d"], []]
    assert [(one.code, one.id) for page in found for one in page.rejects] == [("missing", "c"), ("missing", "e")]
    assert "the namespace space" in found[1].rejects[0].message


def test_a_record_that_is_listed_and_not_there_is_counted_as_a_reject(
    emulator: Emulator, index: Index, tmp_path: Path
) -> None:
    store(index, ["a", "b", "c"])
    index.late["b"] = 1_000
    plan = Plan(spot(emulator, index.name).source(), Spot(str(tmp_path / "x.vmig.jsonl")).target())
    report = run(plan)
    assert (report.counts.read, report.counts.written, report.counts.rejected) == (3, 2, 1)
    assert dict(report.codes) == {"missing": 1}


def test_a_sparse_field_has_its_column_on_every_page(emulator: Emulator) -> None:
    index = emulator.make(f"t-{uuid.uuid4().hex}", {**DOCUMENTS, "words": {"type": "sparse_vector"}})
    store(index, [f"{row:03}" for row in range(150)])
    index.spaces[""]["149"].sparse = {"indices": [3], "values": [0.5]}
    with opened(spot(emulator, index.name)) as source:
        assert list(source.describe().vectors) == ["sparse:words"]
        (part,) = source.partitions(1)
        batches = [page.batch for page in source.extract(part, rows=100)]
    assert [batch.column("sparse:words").null_count for batch in batches] == [100, 49]


def test_sparse_vectors_of_a_later_namespace_have_their_column_on_every_page(emulator: Emulator) -> None:
    fields = {"_values": {**DENSE["_values"], "metric": "dotproduct"}}
    index = emulator.make(f"t-{uuid.uuid4().hex}", fields)
    store(index, ["x"], "a")
    store(index, ["y"], "b")
    with opened(spot(emulator, index.name)) as source:
        assert not source.describe().vectors
    index.spaces["b"]["y"].sparse = {"indices": [3], "values": [0.5]}
    with opened(spot(emulator, index.name)) as source:
        assert list(source.describe().vectors) == ["sparse:sparse_values"]
        batches = [page.batch for part in source.partitions(2) for page in source.extract(part, rows=10)]
    assert sorted(batch.column("sparse:sparse_values").null_count for batch in batches) == [0, 1]


def test_an_id_that_is_a_number_is_written_as_one(emulator: Emulator, index: Index) -> None:
    for name, value in {"a": 5.0, "b": 2.5, "c": True, "d": ["x"], "e": "5.0"}.items():
        store(index, [name], "n", key=value)
    store(index, ["f"], "n")
    place = spot(emulator, index.name)
    options = {**place.source_options, "id-field": "key"}
    assert [row["id"] for row in records_of(Spot("pinecone", options))] == ["2.5", "5", "5.0", "c", "d", "f"]


def test_an_address_that_is_too_long_is_made_shorter(emulator: Emulator, index: Index) -> None:
    ids = [f"{row:0300}" for row in range(60)]
    store(index, ids)
    emulator.longest_url = 2000
    assert [row["id"] for row in records_of(spot(emulator, index.name))] == ids


def test_numbers_that_are_whole_are_integers_in_records_of_other_tools(emulator: Emulator, index: Index) -> None:
    store(index, ["a"], "n", year=2020.0, half=0.5, tags=["x"], on=True, chunk_text="words")
    (row,) = records_of(spot(emulator, index.name))
    assert (row["text"], row["namespace"], row["source_store"]) == ("words", "n", "pinecone")
    assert orjson.loads(row["metadata"]) == {"year": 2020, "half": 0.5, "tags": ["x"], "on": True}
    assert "2020.0" not in row["metadata"]


def test_records_of_the_original_tool_are_read_as_it_means_them(emulator: Emulator, index: Index) -> None:
    store(index, ["a"], text="t", namespace="mine", model="", created_at="2024-01-01T00:00:00Z", extra="kept")
    store(index, ["b"], text="", namespace="", model="m", created_at="")
    store(index, ["c"], "given", text="t", namespace="another", model="m", created_at="")
    a, b, c = records_of(spot(emulator, index.name))
    assert (a["namespace"], a["text"], a["created_at"].year, "model" in a) == ("mine", "t", 2024, False)
    assert orjson.loads(a["metadata"]) == {"extra": "kept"}
    assert not {"namespace", "text", "created_at", "metadata"} & set(b)
    assert (c["namespace"], orjson.loads(c["metadata"])) == ("given", {"namespace": "another"})
    mine = records_of(spot(emulator, index.name), Selection(namespaces=("mine",)))
    assert [row["id"] for row in mine] == ["a"]


def test_options_say_where_the_fields_of_other_tools_are(emulator: Emulator, index: Index) -> None:
    store(index, ["a"], "space", body="words", tenant="t1", key="k-1", n=1.0)
    place = spot(emulator, index.name)
    options = {**place.source_options, "text-field": "body", "namespace-field": "tenant", "id-field": "key"}
    (row,) = records_of(Spot("pinecone", options))
    assert (row["text"], row["namespace"], row["id"]) == ("words", "t1", "k-1")


def test_a_location_may_name_one_namespace(emulator: Emulator, index: Index) -> None:
    place = spot(emulator, index.name)
    rows = samples.batch({"id": list("abc"), "namespace": ["x", None, ""]}, dim=2)
    here = Spot(f"pinecone://{index.name}/only", without(place, "index"), without(place, "index"))
    assert write(here, rows) == []
    assert set(index.spaces) == {"only"}
    assert [row.get("namespace") for row in records_of(here)] == ["x", None, ""]
    assert records_of(Spot(f"pinecone://{index.name}/__default__", without(place, "index"))) == []


def without(place: Spot, name: str) -> dict[str, str]:
    return {key: value for key, value in place.source_options.items() if key != name}
