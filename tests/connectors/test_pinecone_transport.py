"""Over what Pinecone is asked, on the emulator of tests/engines/pinecone.py: gRPC where it answers, else REST."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import orjson
import pyarrow as pa
import pytest

from tests.engines._pinecone_places import DENSE, SPARSE, opened, records_of, spot, store
from tests.engines._pinecone_rules import Refusal
from tests.engines._pinecone_store import Index
from tests.engines.pinecone import KEY, Emulator, pinecone_emulator
from vexarrow import records
from vexarrow.errors import AccessError, MissingDependency, TransientError, UsageError, VexError
from vexarrow.protocols import Description
from vexarrow.testing import Spot, facts, read, samples, write


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with pinecone_emulator() as running:
        yield running


@pytest.fixture
def index(emulator: Emulator) -> Iterator[Index]:
    """A vector index of two dimensions that is there and empty."""
    emulator.over.clear()
    yield emulator.make(f"t-{uuid.uuid4().hex}", DENSE)
    emulator.grpc = True
    emulator.faults.clear()


def round_trip(place: Spot) -> None:
    sample = samples.batch({"id": list("abc"), "text": ["x", None, "y"]}, dim=2)
    assert write(place, sample) == []
    assert facts(read(place), verbatim=False) == facts(sample, verbatim=False)


def said(place: Spot) -> object:
    with opened(place) as source:
        return source.describe().details["transport"]


def test_vectors_go_over_grpc_where_it_answers(emulator: Emulator, index: Index) -> None:
    place = spot(emulator, index.name)
    round_trip(place)
    assert (set(emulator.over), said(place)) == ({"gRPC"}, "grpc")


def test_vectors_go_over_rest_where_grpc_does_not_answer(emulator: Emulator, index: Index) -> None:
    emulator.grpc = False
    place = spot(emulator, index.name)
    round_trip(place)
    assert (set(emulator.over), said(place)) == ({"REST"}, "rest")


def test_an_option_says_over_what(emulator: Emulator, index: Index) -> None:
    round_trip(spot(emulator, index.name, transport="rest"))
    assert set(emulator.over) == {"REST"}
    emulator.over.clear()
    round_trip(spot(emulator, index.name, transport="grpc"))
    assert set(emulator.over) == {"gRPC"}
    emulator.grpc = False
    with pytest.raises(TransientError, match="UNAVAILABLE"):
        records_of(spot(emulator, index.name, transport="grpc", retries="0"))
    with pytest.raises(UsageError, match="auto, grpc or rest"):
        records_of(spot(emulator, index.name, transport="udp"))


def test_a_document_index_is_asked_over_rest(emulator: Emulator) -> None:
    emulator.over.clear()
    place = spot(emulator, f"t-{uuid.uuid4().hex}", target={"api": "documents"})
    round_trip(place)
    assert (set(emulator.over), said(place)) == ({"REST"}, "rest")


def test_without_grpcio_vectors_go_over_rest(emulator: Emulator, index: Index) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "grpc", None)
        round_trip(spot(emulator, index.name))
        assert set(emulator.over) == {"REST"}
        with pytest.raises(MissingDependency, match=r"vexarrow\[pinecone\]"):
            records_of(spot(emulator, index.name, transport="grpc"))


def test_the_host_alone_is_enough_over_grpc(emulator: Emulator, index: Index) -> None:
    """A key for data alone: the control plane says nothing."""
    store(index, ["a", "b"])
    options = {"api-key": KEY, "host": index.host, "controller-host": "http://127.0.0.1:9", "retries": "0"}
    assert len(records_of(Spot("pinecone", options))) == 2
    assert set(emulator.over) == {"gRPC"}


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_the_key_is_in_no_message(emulator: Emulator, index: Index, transport: str) -> None:
    emulator.faults += [Refusal(429, f"too many requests of {KEY}", 0.01)] * 2
    with pytest.raises(TransientError) as caught:
        records_of(spot(emulator, index.name, transport=transport, retries="0"))
    assert "too many requests" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AccessError), (403, AccessError), (429, TransientError), (504, TransientError)]
)
def test_statuses_of_grpc_become_errors(emulator: Emulator, index: Index, status: int, kind: type[VexError]) -> None:
    emulator.faults.append(Refusal(status, "no"))
    with pytest.raises(kind) as caught:
        records_of(spot(emulator, index.name, transport="grpc", retries="0"))
    assert ("check --api-key or PINECONE_API_KEY" in str(caught.value)) == (kind is AccessError)


def test_a_rate_limit_does_not_make_it_rest(emulator: Emulator, index: Index) -> None:
    emulator.faults += [Refusal(429, "slow down", 0.01)] * 2
    round_trip(spot(emulator, index.name))
    assert set(emulator.over) == {"gRPC"}


@pytest.mark.parametrize("packing", ["packed", "parts", "one by one"])
def test_vectors_are_read_however_they_are_packed(emulator: Emulator, index: Index, packing: str) -> None:
    emulator.faces[index.name].packing = packing
    round_trip(spot(emulator, index.name))
    assert set(emulator.over) == {"gRPC"}


def test_sparse_vectors_go_over_grpc(emulator: Emulator) -> None:
    emulator.over.clear()
    pairs = [{"indices": [7, 4_294_967_295, 0, 300], "values": [0.5, 0.1, 1.0, -2.0]}, None]
    plain = samples.batch({"id": ["a", "b"]}, dim=2)
    columns = {name: plain.column(name) for name in records.BASE_NAMES}
    sample = records.build(columns, plain.column("vector"), more={"sparse:words": pa.array(pairs, SPARSE)})
    place = spot(emulator, f"t-{uuid.uuid4().hex}")
    with place.target().sink() as sink:
        sink.prepare(Description(dim=2, metric="dot", vectors={"sparse:words": None}))
        assert list(sink.load(sample)) == []
    assert facts(read(place), verbatim=False) == facts(sample, verbatim=False)
    assert set(emulator.over) == {"gRPC"}


def test_metadata_of_every_length_come_back(emulator: Emulator, index: Index) -> None:
    """Lengths of a text, of its key and of what holds them take one byte or more."""
    metadata = [
        orjson.dumps({"k" * length: "x" * (130 - length % 7), "n" * length: length, "b": ["y" * length, "ä"]}).decode()
        for length in range(1, 135)
    ]
    sample = samples.batch({"id": [f"{row:03}" for row in range(134)], "metadata": metadata}, dim=2)
    place = spot(emulator, index.name)
    assert write(place, sample) == []
    assert facts(read(place), verbatim=False) == facts(sample, verbatim=False)
