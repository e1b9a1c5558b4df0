"""Pinecone, on the emulator of tests/engines/pinecone.py."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.commands import vex
from tests.engines._pinecone_places import DENSE, records_of, spot, store
from tests.engines._pinecone_rules import MOST_URL, Refusal
from tests.engines._pinecone_store import Index
from tests.engines.pinecone import KEY, VERSION, Emulator, pinecone_emulator, real
from vexarrow.errors import AccessError, NotFound, SchemaError, TransientError, UsageError
from vexarrow.http import Http
from vexarrow.protocols import Capabilities, Description, Target
from vexarrow.testing import ConnectorContract, Fact, Spot, facts, read, samples, write
from vexarrow.testing.contract import in_any_order


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


class TestPineconeEmulatorOfVectorsOverRest(TestPineconeEmulatorOfVectors):
    options: ClassVar[dict[str, str]] = {"transport": "rest"}

    def place(self, folder: Path) -> Spot:
        options = {"api-key": KEY, "controller-host": self.url, "index": f"t-{uuid.uuid4().hex}"} | self.options
        return Spot("pinecone", options, options)


class TestPineconeEmulatorOfDocuments(Emulated):
    options: ClassVar[dict[str, str]] = {"api": "documents"}


@pytest.fixture
def index(emulator: Emulator) -> Iterator[Index]:
    """A vector index of two dimensions that is there and empty."""
    yield emulator.make(f"t-{uuid.uuid4().hex}", DENSE)
    emulator.asked.clear()
    emulator.faults.clear()
    emulator.broken.clear()
    emulator.longest_url = MOST_URL


# -- what goes wrong ------------------------------------------------------------------------------------


def test_a_key_that_is_refused_is_an_access_error_that_does_not_show_it(emulator: Emulator, index: Index) -> None:
    place = spot(emulator, index.name, api_key="pcsk_wrong-and-secret")
    for act in (lambda: read(place), lambda: write(place, samples.many(1))):
        with pytest.raises(AccessError) as caught:
            act()
        assert "pcsk_wrong" not in str(caught.value)
        assert "check --api-key or PINECONE_API_KEY" in str(caught.value)


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


def test_another_dimension_is_rejected_and_a_metric_that_is_not_known_an_error(
    emulator: Emulator, index: Index
) -> None:
    refused = write(spot(emulator, index.name), samples.many(3))
    assert refused == [("dimension", f"id-000000{row}") for row in range(3)]
    with pytest.raises(SchemaError, match="manhattan"), spot(emulator, "t-new").target().sink() as sink:
        sink.prepare(Description(dim=2, metric="manhattan"))
    assert not index.spaces


def test_the_host_of_an_index_is_enough_and_so_is_a_key_for_data_alone(emulator: Emulator, index: Index) -> None:
    place = spot(emulator, index.name)
    write(place, samples.batch({"id": list("abc")}, dim=2))
    for controller in (emulator.url, "http://127.0.0.1:9"):
        options = {"api-key": KEY, "host": index.host, "controller-host": controller, "retries": "0"}
        assert len(records_of(Spot("pinecone", options))) == 3


def test_a_host_of_another_index_than_the_one_named_is_refused(emulator: Emulator, index: Index) -> None:
    other = emulator.make(f"t-{uuid.uuid4().hex}", DENSE)
    place = spot(emulator, index.name, host=other.host.upper().replace("HTTP://", "http://"))
    for act in (lambda: records_of(place), lambda: write(place, samples.batch({"id": ["a"]}, dim=2))):
        with pytest.raises(UsageError, match=f"{index.name} is, but another one, {other.name}"):
            act()
    assert not index.spaces
    assert not other.spaces
    assert write(spot(emulator, index.name, host=f"{index.host}/"), samples.batch({"id": ["a"]}, dim=2)) == []
    assert set(index.spaces[""]) == {"a"}


def test_an_index_of_the_uri_goes_before_the_host_of_the_environment(emulator: Emulator, index: Index) -> None:
    other = emulator.make(f"t-{uuid.uuid4().hex}", DENSE)
    store(index, ["a", "b"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINECONE_API_KEY", KEY)
        patch.setenv("PINECONE_CONTROLLER_HOST", emulator.url)
        patch.setenv("PINECONE_HOST", index.host)
        vex("migrate", f"pinecone://{index.name}", f"pinecone://{other.name}").ok()
        assert vex("import", "--from", f"pinecone://{index.name}", "--to", "pinecone", "--index", other.name).code == 2
    assert set(other.spaces[""]) == {"a", "b"}


def test_a_host_where_nothing_is_found_makes_no_index(emulator: Emulator, index: Index) -> None:
    name = f"t-{uuid.uuid4().hex}"
    with pytest.raises(NotFound, match="without --host"):
        write(spot(emulator, name, host=index.host), samples.batch({"id": ["a"]}, dim=2))
    assert name not in emulator.indexes


def test_an_index_is_made_once_though_the_answer_is_lost(emulator: Emulator) -> None:
    name = f"t-{uuid.uuid4().hex}"
    emulator.lost.append("POST /indexes")
    assert write(spot(emulator, name), samples.batch({"id": ["a"]}, dim=2)) == []
    assert (emulator.lost, set(emulator.indexes[name].spaces[""])) == ([], {"a"})


@pytest.mark.parametrize(("dimension", "metric"), [(2, "euclidean"), (3, "cosine")])
def test_an_index_that_another_run_makes_meanwhile_has_to_be_like_the_one_wanted(
    emulator: Emulator, dimension: int, metric: str
) -> None:
    name = f"t-{uuid.uuid4().hex}"
    with spot(emulator, name).target().sink() as sink:
        assert isinstance(sink, Target)
        assert sink.existing() is None
        emulator.make(name, {"_values": {**DENSE["_values"], "dimension": dimension, "metric": metric}})
        with pytest.raises(SchemaError, match=f"{dimension} dimensions and the metric {metric}"):
            sink.prepare(Description(dim=2))


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


# -- the real service -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(real() is None, reason="VEX_TEST_PINECONE_API_KEY names no real service")
@pytest.mark.parametrize("api", ["vectors", "documents"])
def test_the_real_service_gives_back_what_it_was_given(api: str) -> None:
    url, key = real() or ("", "")
    given = {"api-key": key, "controller-host": url, "index": f"vex-test-{uuid.uuid4().hex[:12]}"}
    place = Spot("pinecone", given, {**given, "api": api})
    sample = samples.many(300)
    http = Http(url, headers={"Api-Key": key, "X-Pinecone-Api-Version": VERSION})
    try:
        assert write(place, sample) == []
        end = time.monotonic() + 180  # what was written is seen later
        while sum(map(len, read(place))) < 300 and time.monotonic() < end:
            time.sleep(3)
        assert in_any_order(facts(read(place), verbatim=False)) == in_any_order(facts(sample, verbatim=False))
    finally:
        http.send("DELETE", f"/indexes/{given['index']}")
        http.close()
