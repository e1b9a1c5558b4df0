"""Pinecone, on the emulator of tests/engines/pinecone.py."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.commands import vex
from tests.engines._pinecone_rules import MOST_URL, Json, Record, Refusal
from tests.engines._pinecone_store import Index
from tests.engines.pinecone import KEY, Emulator, pinecone_emulator
from vexarrow import records
from vexarrow.errors import AccessError, NotFound, SchemaError, TransientError, Unsupported, UsageError
from vexarrow.protocols import Capabilities, Description, Page, Partition, Source
from vexarrow.selection import Selection
from vexarrow.testing import ConnectorContract, Fact, Spot, facts, read, samples, write
from vexarrow.testing.contract import in_any_order
from vexarrow.testing.spots import plan_of

SPARSE = pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))])


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with pinecone_emulator() as running:
        yield running


class Emulated(ConnectorContract):
    """An index that is not there yet. Ids are unique within a namespace, and an index cannot be made before its
    dimension is known, which three promises of other stores do not fit."""

    options: ClassVar[dict[str, str]] = {}

    @pytest.fixture(autouse=True)
    def service(self, emulator: Emulator) -> None:
        self.url = emulator.url

    def place(self, folder: Path) -> Spot:
        options = {"api-key": KEY, "controller-host": self.url, "index": f"t-{uuid.uuid4().hex}"}
        return Spot("pinecone", options, options | self.options)

    def test_no_records_are_written_and_read_as_none(self, spot: Spot) -> None:
        assert write(spot, []) == []
        with pytest.raises(NotFound):
            self.found(spot)

    def test_a_record_that_is_loaded_again_is_replaced_as_a_whole(
        self, spot: Spot, hundred: list[Fact], capabilities: Capabilities
    ) -> None:
        changed = again(samples.many(10))
        write(spot, changed)
        ids = {fact.id for fact in self.expected(changed)}
        kept = [fact for fact in hundred if fact.id not in ids]
        assert self.found(spot) == in_any_order(kept + self.expected(changed))

    def test_an_id_that_comes_twice_in_a_run_is_rejected_or_the_last_one_counts(
        self, spot: Spot, capabilities: Capabilities
    ) -> None:
        both = [samples.many(3), again(samples.many(3))]
        assert write(spot, pa.Table.from_batches(both).combine_chunks().to_batches()[0]) == []
        assert self.found(spot) == self.expected(both[1])

    def test_an_id_in_two_namespaces_is_two_records(self, spot: Spot) -> None:
        both = samples.batch({"id": ["same"] * 3, "namespace": ["a", None, "b"]})
        assert write(spot, both) == []
        assert self.found(spot) == self.expected(both)


def again(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Other records of the same ids and namespaces, with nothing but a text and a vector."""
    columns = {"id": batch.column("id"), "namespace": batch.column("namespace"), "text": ["second"] * len(batch)}
    return samples.batch(columns, vector=samples.vectors(len(batch), 8, seed=8))


class TestPineconeEmulatorOfVectors(Emulated):
    def fit(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pc.less(pc.fill_null(pc.binary_length(batch.column("text")), 0), 40_000))


class TestPineconeEmulatorOfDocuments(Emulated):
    options: ClassVar[dict[str, str]] = {"api": "documents"}


# -- what the tests below are made of -------------------------------------------------------------------


DENSE: Json = {"_values": {"type": "dense_vector", "dimension": 2, "metric": "cosine"}}


@pytest.fixture
def index(emulator: Emulator) -> Iterator[Index]:
    """A vector index of two dimensions that is there and empty."""
    yield emulator.make(f"t-{uuid.uuid4().hex}", DENSE)
    emulator.asked.clear()
    emulator.faults.clear()
    emulator.broken.clear()
    emulator.longest_url = MOST_URL


def spot(emulator: Emulator, name: str, *, target: Mapping[str, str] = {}, **options: str) -> Spot:
    given = {"api-key": KEY, "controller-host": emulator.url, "index": name}
    given |= {key.replace("_", "-"): value for key, value in options.items()}
    return Spot("pinecone", given, {**given, **target})


def store(index: Index, ids: Sequence[str], space: str = "", **metadata: Any) -> None:
    """Records as another tool would have written them."""
    vectors = samples.vectors(len(ids), 2)
    index.write(space, [Record(one, vector, None, dict(metadata)) for one, vector in zip(ids, vectors, strict=True)])


def opened(place: Spot, selection: Selection = Selection()) -> AbstractContextManager[Source]:
    return place.source().source(selection)


def ids_of(found: Iterable[Page]) -> list[str]:
    return [one for page in found for one in page.batch.column("id").to_pylist()]


def records_of(place: Spot, selection: Selection = Selection()) -> list[Json]:
    """Every record as a dictionary, sorted by id, without its vector."""
    found = [records.plain(batch.drop_columns("vector")) for batch in read(place, selection=selection)]
    rows = [
        {key: value for key, value in row.items() if value is not None} for batch in found for row in batch.to_pylist()
    ]
    return sorted(rows, key=lambda row: str(row["id"]))


# -- reading --------------------------------------------------------------------------------------------


def test_a_namespace_of_our_records_that_fits_one_answer_is_read_by_one_request(
    emulator: Emulator, index: Index
) -> None:
    place = spot(emulator, index.name)
    write(place, samples.batch({"id": list("abc")}, dim=2))
    emulator.asked.clear()
    assert [row["id"] for row in records_of(place)] == ["a", "b", "c"]
    assert [one for one in emulator.asked if one != "GET /namespaces"] == ["POST /vectors/fetch_by_metadata"]


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
    ids = sorted({form.format(row * 2654435761 % 2**32 if "x" in form else row) for row in range(20_500)})
    store(index, ids, "large")
    store(index, ["x"], "small")
    with opened(spot(emulator, index.name, concurrency="8")) as source:
        parts = source.partitions(8)
        assert parts == source.partitions(8)
        found = [ids_of(source.extract(part, rows=4000)) for part in parts]
    assert len(parts) >= 4
    assert max(map(len, found)) < 0.6 * len(ids)
    assert sorted(one for some in found for one in some) == sorted([*ids, "x"])


def test_an_address_that_is_too_long_is_made_shorter(emulator: Emulator, index: Index) -> None:
    ids = [f"{row:0300}" for row in range(60)]
    store(index, ids)
    emulator.longest_url = 2000
    assert [row["id"] for row in records_of(spot(emulator, index.name))] == ids


def test_numbers_that_are_whole_are_integers_in_records_of_other_tools(emulator: Emulator, index: Index) -> None:
    store(index, ["a"], "n", year=2020.0, half=0.5, tags=["x"], on=True, chunk_text="words")
    (row,) = records_of(spot(emulator, index.name))
    assert (row["text"], row["namespace"]) == ("words", "n")
    assert orjson.loads(row["metadata"]) == {"year": 2020, "half": 0.5, "tags": ["x"], "on": True}
    assert '"year":2020,' in row["metadata"]


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


# -- writing --------------------------------------------------------------------------------------------


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
    assert write(spot(emulator, wide.name), samples.batch({"id": [f"{row}" for row in range(150)]}, dim=3072)) == []
    assert 3 <= emulator.asked.count("POST /vectors/upsert") <= 5
    assert len(wide.spaces[""]) == 150


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


# -- what goes wrong ------------------------------------------------------------------------------------


def test_a_key_that_is_refused_is_an_access_error_that_does_not_show_it(emulator: Emulator, index: Index) -> None:
    place = spot(emulator, index.name, api_key="pcsk_wrong-and-secret")
    for act in (lambda: read(place), lambda: write(place, samples.many(1))):
        with pytest.raises(AccessError) as caught:
            act()
        assert "pcsk_wrong" not in str(caught.value)


def test_without_a_key_or_an_index_the_message_says_what_to_give(emulator: Emulator) -> None:
    with pytest.raises(UsageError, match="PINECONE_API_KEY"):
        read(Spot("pinecone://x"))
    with pytest.raises(UsageError, match="--index"):
        read(Spot("pinecone", {"api-key": KEY}))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(emulator: Emulator, index: Index, status: int) -> None:
    place = spot(emulator, index.name)
    emulator.faults += [Refusal(status, "later", 0.01) for _ in range(2)]
    assert write(place, samples.batch({"id": list("abc")}, dim=2)) == []
    emulator.faults += [Refusal(status, "later", 0.01) for _ in range(2)]
    assert len(records_of(place)) == 3


def test_what_does_not_pass_is_raised_after_the_tries(emulator: Emulator, index: Index) -> None:
    place = spot(emulator, index.name, retries="1")
    emulator.faults += [Refusal(429, "Request rate limit", 0.01) for _ in range(2)]
    with pytest.raises(TransientError, match="Request rate limit"):
        read(place)


def test_another_dimension_or_metric_is_an_error_before_anything_is_written(emulator: Emulator, index: Index) -> None:
    with pytest.raises(SchemaError, match="2 dimensions, not 8"):
        write(spot(emulator, index.name), samples.many(3))
    with pytest.raises(SchemaError, match="manhattan"), spot(emulator, "t-new").target().sink() as sink:
        sink.prepare(Description(dim=2, metric="manhattan"))
    assert not index.spaces


def test_the_host_of_an_index_is_enough_and_so_is_a_key_for_data_alone(emulator: Emulator, index: Index) -> None:
    place = spot(emulator, index.name)
    write(place, samples.batch({"id": list("abc")}, dim=2))
    for controller in (emulator.url, "http://127.0.0.1:9"):
        options = {"api-key": KEY, "host": index.host, "controller-host": controller, "retries": "0"}
        assert len(records_of(Spot("pinecone", options))) == 3


# -- the command line -----------------------------------------------------------------------------------


def test_the_command_of_the_documentation_works(emulator: Emulator, tmp_path: Path) -> None:
    index = emulator.make(f"t-{uuid.uuid4().hex}", {"_values": {**DENSE["_values"], "dimension": 8}})
    file = tmp_path / "memories.vmig.jsonl"
    write(Spot(str(file)), samples.many(50))
    given = ("--to", "pinecone", "--api-key", KEY, "--index", index.name, "--controller-host", emulator.url)
    done = vex("import", "--from", file, *given, "--host", index.host).ok()
    assert "upserted      : 50" in done.out + done.err
    assert "pinecone summary" in done.out + done.err
    back = tmp_path / "back.vmig.jsonl"
    vex("export", "--from", "pinecone", *given[2:], "--output", back).ok()
    assert in_any_order(facts(read(Spot(str(back))), verbatim=False)) == in_any_order(
        facts(samples.many(50), verbatim=False)
    )
    assert KEY not in done.out + done.err


def test_a_dry_run_and_no_create_make_no_index(emulator: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "memories.vmig.jsonl"
    write(Spot(str(file)), samples.many(5))
    before = set(emulator.indexes)
    given = (
        "--from",
        file,
        "--to",
        "pinecone",
        "--api-key",
        KEY,
        "--index",
        "t-none",
        "--controller-host",
        emulator.url,
    )
    assert "would be created" in vex("import", *given, "--dry-run").ok().out
    assert vex("import", *given, "--no-create").code == 1
    assert set(emulator.indexes) == before


def test_a_metric_that_differs_is_refused_unless_it_is_wanted(emulator: Emulator, index: Index) -> None:
    store(index, ["a", "b"])
    other = emulator.make(f"t-{uuid.uuid4().hex}", {"_values": {**DENSE["_values"], "metric": "euclidean"}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINECONE_API_KEY", KEY)
        patch.setenv("PINECONE_CONTROLLER_HOST", emulator.url)
        places = f"pinecone://{index.name}", f"pinecone://{other.name}"
        assert "--allow-metric-change" in vex("migrate", *places).err
        vex("migrate", *places, "--allow-metric-change").ok()
    assert set(other.spaces[""]) == {"a", "b"}
