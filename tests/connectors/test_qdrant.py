"""The Qdrant connector on Qdrant's own engine behind emulated gRPC and REST faces, or on a real server."""

from __future__ import annotations

import importlib
import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vexarrow
from tests.commands import DEBIAN, MEMORY, json_lines, vex
from tests.engines.presence import free_port
from tests.engines.qdrant import Server, qdrant_server
from tests.test_npm import bits, npm, tool
from vexarrow import records
from vexarrow.engine import Plan, run
from vexarrow.errors import AccessError, NotFound, SchemaError, TransientError, Unsupported, UsageError, VexError
from vexarrow.location import Location
from vexarrow.patience import Requests
from vexarrow.places import SOURCE, resolve
from vexarrow.protocols import Description, Reject, Sink, Source, Target
from vexarrow.selection import Selection
from vexarrow.testing import ConnectorContract, Spot, facts, pages, read, samples, write
from vexarrow.testing.contract import resumed_everywhere
from vexarrow.testing.spots import plan_of

__all__ = ["tool"]  # a fixture
Batches = Sequence[pa.RecordBatch]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with qdrant_server() as running:
        yield running


@pytest.fixture
def emulated(server: Server) -> Iterator[Server]:
    """Our faces of the engine, which do what a test asks for."""
    if not server.emulated:
        pytest.skip("a real server cannot be told to fail")
    yield server
    server.control(faults=[], version="1.19.0", old_vectors=False)


@pytest.fixture
def name(server: Server) -> Iterator[str]:
    """The name of a collection that is not there yet."""
    chosen = f"t-{uuid.uuid4().hex}"
    yield chosen
    server.rest("DELETE", f"/collections/{chosen}")


def options(server: Server, name: str, **more: str) -> dict[str, str]:
    given = {"url": server.url, "collection": name} | ({"api-key": server.key} if server.key else {})
    return given | {key.replace("_", "-"): value for key, value in more.items()}


def spot(server: Server, name: str, source: Mapping[str, str] | None = None, **target: str) -> Spot:
    return Spot("qdrant", {**options(server, name), **(source or {})}, options(server, name, **target))


def flags(server: Server, name: str, side: str = "") -> list[str]:
    """The options on a command line; `side` is "from-" or "to-"."""
    return [part for key, value in options(server, name).items() for part in (f"--{side}{key}", value)]


@contextmanager
def loading(place: Spot, plan: Description) -> Iterator[Sink]:
    with place.target().sink() as sink:
        sink.prepare(plan)
        yield sink


@contextmanager
def source(place: Spot, selection: Selection | None = None) -> Iterator[Source]:
    with place.source().source(selection or Selection()) as opened:
        yield opened


def info(server: Server, name: str) -> Any:
    return server.rest("GET", f"/collections/{name}")


def points(server: Server, name: str) -> list[Any]:
    wish = {"limit": 10_000, "with_payload": True, "with_vector": True}
    return list(server.rest("POST", f"/collections/{name}/points/scroll", wish)["points"])


def create(server: Server, name: str, **config: Any) -> None:
    server.rest("PUT", f"/collections/{name}", {"vectors": {"size": 2, "distance": "Dot"}} | config)


def put(server: Server, name: str, *rows: dict[str, Any]) -> None:
    given = [{"vector": [1.0, 2.0], "payload": {}} | row for row in rows]
    server.rest("PUT", f"/collections/{name}/points?wait=true", {"points": given})


def bare(found: Batches) -> list[Any]:
    return sorted((fact._replace(source_store=None) for fact in facts(found, verbatim=False)), key=repr)


class TestQdrant(ConnectorContract):
    """A collection that is not there yet, with cosine distance."""

    @pytest.fixture(autouse=True)
    def _running(self, server: Server) -> Iterator[None]:
        self.server, self.collection = server, f"t-{uuid.uuid4().hex}"
        yield
        server.rest("DELETE", f"/collections/{self.collection}")

    def place(self, folder: Path) -> Spot:
        return spot(self.server, self.collection)


# -- ids -----------------------------------------------------------------------------------------------------------


def test_integers_and_uuids_are_ids_natively_and_all_others_are_kept_beside_a_uuid(server: Server, name: str) -> None:
    mixed = samples.mixed_ids()
    write(spot(server, name), [mixed, samples.uuid_ids()])
    found = {one["id"]: one["payload"] for one in points(server, name)}
    assert {0, 1, 9007199254740993, 9223372036854775807} <= set(found)
    assert "__id__" not in found[1]
    assert found[str(uuid.uuid5(uuid.NAMESPACE_URL, "a"))]["__id__"] == "a"
    assert bare(read(spot(server, name))) == bare([mixed, samples.uuid_ids()])


def test_a_text_of_digits_is_another_id_than_the_integer(server: Server, name: str) -> None:
    texts = samples.batch({"id": ["5", "-5"]})
    integers = samples.batch({"id": ["5", "-5", "18446744073709551615", "18446744073709551616"]}, id_type="int")
    write(spot(server, name), texts)
    write(spot(server, name), integers)
    assert bare(read(spot(server, name))) == bare([texts, integers])
    assert sorted(one["id"] for one in points(server, name) if isinstance(one["id"], int)) == [5, 2**64 - 1]


def test_two_spellings_of_one_uuid_in_a_batch_are_not_merged(server: Server, name: str) -> None:
    one = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    assert write(spot(server, name), samples.batch({"id": [one, one.upper(), "x"]})) == [
        ("duplicate-id", one.upper()),
    ]
    assert {fact.id for fact in facts(read(spot(server, name)))} == {f'"{one}"', '"x"'}


def test_a_source_says_what_its_ids_are(server: Server) -> None:
    for sample, kind in (
        (samples.integer_ids(), "int"),
        (samples.uuid_ids(), "uuid"),
        (samples.odd_ids(), "string"),
        (samples.mixed_ids(), "string"),
    ):
        place = f"t-{uuid.uuid4().hex}"
        write(spot(server, place), sample)
        with source(spot(server, place)) as opened:
            assert opened.describe().id_type == kind
        server.rest("DELETE", f"/collections/{place}")


# -- what is kept, and how -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 7, 384, 1536])
def test_vectors_of_a_cosine_collection_come_back_bit_by_bit(server: Server, name: str, dim: int) -> None:
    matrix = samples.vectors(60, dim) * np.logspace(-30, 15, 60, dtype=np.float32)[:, None]
    matrix[:9] /= np.linalg.norm(matrix[:9].astype("f8"), axis=1, keepdims=True)
    matrix[9] = 0
    sample = samples.batch({"id": [f"{row}" for row in range(60)]}, vector=matrix)
    write(spot(server, name), sample)
    assert bare(read(spot(server, name))) == bare([sample])
    held = points(server, name)
    assert sum("__exact__" in one["payload"] for one in held) < 50
    lengths = [np.linalg.norm(one["vector"]) for one in held if "__norm__" in one["payload"]]
    assert np.allclose(lengths, 1)


@pytest.mark.parametrize("dim", [3, 64])
def test_a_vector_that_another_program_has_put_there_is_read_as_it_is(server: Server, name: str, dim: int) -> None:
    """What was kept of the vector before is still in the payload: of 64 components as steps, of 3 huge ones whole."""
    before = samples.vectors(8, dim) * np.float32(3 if dim == 64 else 1e15)
    write(spot(server, name), samples.batch({"id": [str(row) for row in range(8)]}, vector=before))
    unit = np.zeros(dim, "f4")
    unit[1] = 1
    held = points(server, name)
    assert all("__exact__" in one["payload"] for one in held)
    put(server, name, *({**one, "vector": unit.tolist()} for one in held[:4]))
    (batch,) = read(spot(server, name))
    found = dict(zip(batch.column("id").to_pylist(), records.matrix(batch.column("vector")), strict=True))
    changed = {one["payload"]["__id__"] for one in held[:4]}
    assert len(changed) == 4
    for one, vector in found.items():
        assert (vector == (unit if one in changed else before[int(one)])).all()
    assert batch.column("metadata").null_count == 8


def test_a_multi_vector_that_another_program_has_put_there_is_read_as_it_is(server: Server, name: str) -> None:
    kind = pa.list_(records.vector_type(2))
    plain = samples.batch({"text": ["a"]})
    more = {"multi:m": pa.array([[[3.0, 4.0], [0.1, 0.7]]], kind)}
    sample = records.build({one: plain.column(one) for one in records.BASE_NAMES}, plain.column("vector"), more=more)
    with loading(spot(server, name), Description(dim=4, vectors={"multi:m": 2})) as sink:
        sink.load(sample)
        sink.finish()
    (held,) = points(server, name)
    put(server, name, {**held, "vector": {**held["vector"], "m": [[0.0, 1.0], [1.0, 0.0]]}})
    (batch,) = read(spot(server, name))
    assert batch.column("multi:m").to_pylist() == [[[0, 1], [1, 0]]]
    assert batch.column("vector").to_pylist() == plain.column("vector").to_pylist()


def test_a_collection_of_half_floats_keeps_the_lengths_and_one_of_bytes_the_bytes(server: Server, name: str) -> None:
    create(server, name, vectors={"size": 16, "distance": "Cosine", "datatype": "float16"})
    halves = samples.batch({"text": [None] * 20}, vector=samples.vectors(20, 16) * np.float32(5))
    write(spot(server, name), halves)
    (batch,) = read(spot(server, name))
    order = [batch.column("id").to_pylist().index(one) for one in halves.column("id").to_pylist()]
    found, sent = records.matrix(batch.column("vector"))[order], records.matrix(halves.column("vector"))
    assert np.allclose(found, sent, atol=1e-3 * np.abs(sent).max())
    server.rest("DELETE", f"/collections/{name}")
    create(server, name, vectors={"size": 2, "distance": "Cosine", "datatype": "uint8"})
    counts = samples.batch({"text": ["a", "b"]}, vector=np.array([[3, 4], [255, 0]], "f4"))
    write(spot(server, name), counts)
    assert bare(read(spot(server, name))) == bare([counts])


def test_other_distances_keep_vectors_as_they_are(server: Server, name: str) -> None:
    for metric in ("dot", "euclidean", "manhattan"):
        place = spot(server, f"{name}-{metric}")
        with loading(place, Description(dim=4, metric=metric)) as sink:
            sink.load(samples.bits())
            sink.finish()
        assert bare(read(place)) == bare([samples.bits()])
        assert not any("__exact__" in one["payload"] for one in points(server, f"{name}-{metric}"))
        server.rest("DELETE", f"/collections/{name}-{metric}")


def test_floats_that_the_server_rounds_come_back_exactly_and_can_be_filtered_by(server: Server, name: str) -> None:
    values = np.random.default_rng(3).standard_normal(500) * 10.0 ** np.random.default_rng(4).integers(-40, 40, 500)
    texts = [json.dumps({"x": float(value), "deep": [{"y": float(value)}], "ok": 0.25}) for value in values]
    sample = samples.batch({"metadata": texts})
    write(spot(server, name), sample)
    assert bare(read(spot(server, name))) == bare([sample])
    above = {"filter": {"must": [{"key": "x", "range": {"gt": 0.0}}]}, "exact": True}
    assert server.rest("POST", f"/collections/{name}/points/count", above)["count"] == (values > 0).sum()


def test_a_record_of_megabytes_and_one_nested_very_deep_come_back(server: Server, name: str) -> None:
    huge = json.dumps({"list": ["x" * 1000] * 3000, "n": {"m": list(range(1000))}})
    deep = '{"a":' * 60 + "1" + "}" * 60
    sample = samples.batch({"metadata": [huge, deep, "{}"], "text": ["t" * 2_000_000, "", None]})
    assert write(spot(server, name), sample) == []
    assert bare(read(spot(server, name))) == bare([sample])


def test_keys_of_ours_in_the_metadata_of_a_user_come_back(server: Server, name: str) -> None:
    keys = ["__exact__", "__norm__", "__id__", "__id_type__", "__vex__", "text", "namespace", "created_at"]
    sample = samples.batch(
        {"metadata": [json.dumps(dict.fromkeys(keys, value)) for value in (1, "a", {"vector": "x"})]}
    )
    write(spot(server, name), sample)
    assert bare(read(spot(server, name))) == bare([sample])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.text(max_size=6), JSON, max_size=4), min_size=1, max_size=30))
def test_any_metadata_comes_back(server: Server, name: str, documents: list[dict[str, Any]]) -> None:
    texts = [json.dumps(document) for document in documents]
    sample = samples.batch({"metadata": texts})
    assert write(spot(server, name), sample) == []
    found = [one for one in facts(read(spot(server, name)), verbatim=False) if one.id in {f.id for f in facts(sample)}]
    assert sorted(one.metadata or "" for one in found) == sorted(
        one.metadata or "" for one in facts(sample, verbatim=False)
    )


# -- several vectors -----------------------------------------------------------------------------------------------

SEVERAL = Description(dim=4, vectors={"vector:title": 2, "multi:tokens": 2, "sparse:words": None})


def test_named_sparse_and_multi_vectors_come_back(server: Server, name: str) -> None:
    sample = samples.further_vectors()
    with loading(spot(server, name), SEVERAL) as sink:
        assert list(sink.load(sample)) == []
        sink.finish()
    assert bare(read(spot(server, name))) == bare([sample])
    with source(spot(server, name)) as opened:
        described = opened.describe()
    assert described.dim == 4
    assert described.vectors == {"vector:title": 2, "multi:tokens": 2, "sparse:words": None}


def test_dimensions_that_are_not_known_before_are_those_of_the_first_batch(server: Server, name: str) -> None:
    plan = Description(dim=4, vectors=dict.fromkeys(SEVERAL.vectors))
    with loading(spot(server, name), plan) as sink:
        sink.load(samples.further_vectors())
        sink.finish()
    assert bare(read(spot(server, name))) == bare([samples.further_vectors()])


def test_vectors_that_a_collection_has_no_place_for_are_refused(server: Server, name: str) -> None:
    write(spot(server, name), samples.one())
    with pytest.raises(Unsupported, match=r"vector:title.*--drop-vectors"):
        write(spot(server, name), samples.further_vectors())


def test_the_vector_name_chooses_which_vector_is_that_of_a_record(server: Server, name: str) -> None:
    create(server, name, vectors={one: {"size": 2, "distance": "Dot"} for one in ("a", "b")})
    put(server, name, {"id": 1, "vector": {"a": [1.0, 2.0], "b": [3.0, 4.0]}}, {"id": 2, "vector": {"b": [5.0, 6.0]}})
    (first,) = read(spot(server, name))
    assert first.column("vector").to_pylist() == [[1, 2], None]
    assert first.column("vector:b").to_pylist() == [[3, 4], [5, 6]]
    (second,) = read(spot(server, name, {"vector-name": "b"}))
    assert second.column("vector").to_pylist() == [[3, 4], [5, 6]]
    assert second.column("vector:a").to_pylist() == [[1, 2], None]
    with pytest.raises(UsageError, match="'a', 'b'"):
        read(spot(server, name, {"vector-name": "c"}))


def test_vectors_written_under_one_choice_are_read_exactly_under_another(server: Server, name: str) -> None:
    create(server, name, vectors={one: {"size": 2, "distance": "Cosine"} for one in ("a", "b")})
    first, second = np.array([[3, 4], [0, 7.3]], "f4"), np.array([[0, 5.1], [1e20, 1e20]], "f4")
    plain = samples.batch({"text": ["x", "y"]}, vector=first)
    columns = {one: plain.column(one) for one in records.BASE_NAMES}
    sample = records.build(columns, plain.column("vector"), more={"vector:b": records.from_matrix(second)})
    write(spot(server, name, vector_name="a"), sample)
    (batch,) = read(spot(server, name, {"vector-name": "b"}))
    order = [batch.column("text").to_pylist().index(text) for text in ("x", "y")]
    assert (records.matrix(batch.column("vector"))[order] == second).all()
    assert (records.matrix(batch.column("vector:a"))[order] == first).all()
    norms = {one["payload"]["text"]: one["payload"]["__norm__"] for one in points(server, name)}
    assert norms == {"x": pytest.approx(5), "y": pytest.approx(7.3)}


def test_one_vector_is_written_under_the_name_that_is_chosen(server: Server, name: str) -> None:
    place = spot(server, name, vector_name="b")
    write(place, samples.one())
    assert list(info(server, name)["config"]["params"]["vectors"]) == ["b"]
    assert bare(read(place)) == bare([samples.one()])


def test_a_multi_vector_under_cosine_comes_back_bit_by_bit(server: Server, name: str) -> None:
    kind = pa.list_(records.vector_type(3))
    rows = [samples.vectors(5, 3), samples.vectors(2, 3, seed=1), samples.vectors(1, 3, seed=2)]
    more = {"multi:tokens": pa.array([[one.tolist() for one in row] for row in rows], kind)}
    plain = samples.batch({"text": list("abc")})
    columns = {one: plain.column(one) for one in records.BASE_NAMES}
    sample = records.build(columns, plain.column("vector"), more=more)
    with loading(spot(server, name), Description(dim=4, vectors={"multi:tokens": 3})) as sink:
        sink.load(sample)
        sink.finish()
    assert bare(read(spot(server, name))) == bare([sample])


# -- collections and their settings ---------------------------------------------------------------------------------


def test_a_new_collection_keeps_the_records_of_a_namespace_together(server: Server, name: str) -> None:
    write(spot(server, name), samples.many(10))
    params = info(server, name)["payload_schema"]["namespace"]["params"]
    assert params["is_tenant"] is True


def test_settings_are_carried_over_to_a_new_collection(server: Server, name: str) -> None:
    config = {
        "vectors": {"size": 2, "distance": "Euclid", "on_disk": True},
        "hnsw_config": {"m": 24, "ef_construct": 77},
        "quantization_config": {"scalar": {"type": "int8", "quantile": 0.95}},
        "optimizers_config": {"indexing_threshold": 12345},
    }
    create(server, name, **config)
    server.rest("PUT", f"/collections/{name}/index?wait=true", {"field_name": "n", "field_schema": "integer"})
    put(server, name, {"id": 1, "payload": {"n": 1}})
    other = f"{name}-copy"
    report = run(Plan(spot(server, name).source(), spot(server, other).target()))
    copied = info(server, other)["config"]
    server.rest("DELETE", f"/collections/{other}")
    assert report.counts.written == 1
    assert copied["params"]["vectors"] == {"size": 2, "distance": "Euclid", "on_disk": True}
    assert (copied["hnsw_config"]["m"], copied["hnsw_config"]["ef_construct"]) == (24, 77)
    assert copied["quantization_config"]["scalar"]["quantile"] == pytest.approx(0.95)
    assert copied["optimizer_config"]["indexing_threshold"] == 12345


def test_no_search_index_is_built_while_a_new_collection_is_loaded(server: Server, name: str) -> None:
    with loading(spot(server, name), plan_of([samples.one()])) as sink:
        config = info(server, name)["config"]
        assert config["optimizer_config"]["indexing_threshold"] == 0
        before = config["metadata"]["vexarrow_loading"]
        sink.load(samples.one())
        sink.finish()
        config = info(server, name)["config"]
    assert config["optimizer_config"]["indexing_threshold"] == before > 0
    assert not config.get("metadata")


def test_a_run_that_fails_restores_the_threshold(server: Server, name: str) -> None:
    with pytest.raises(ZeroDivisionError), loading(spot(server, name), plan_of([samples.one()])):
        raise ZeroDivisionError
    config = info(server, name)["config"]
    assert config["optimizer_config"]["indexing_threshold"] > 0
    assert not config.get("metadata")


def test_the_next_run_restores_the_threshold_after_one_that_was_killed(server: Server, name: str) -> None:
    write(spot(server, name), samples.one())
    note = {"optimizers_config": {"indexing_threshold": 0}, "metadata": {"vexarrow_loading": 4321}}
    server.rest("PATCH", f"/collections/{name}", note)
    write(spot(server, name), samples.one())
    config = info(server, name)["config"]
    assert config["optimizer_config"]["indexing_threshold"] == 4321
    assert not config.get("metadata")


def test_asking_what_is_there_changes_nothing(server: Server, name: str) -> None:
    with spot(server, name).target().sink() as sink:
        assert isinstance(sink, Target)
        assert sink.existing() is None
    assert name not in {one["name"] for one in server.rest("GET", "/collections")["collections"]}
    write(spot(server, name), samples.many(3))
    with spot(server, name).target().sink() as sink:
        assert isinstance(sink, Target)
        there = sink.existing()
    assert there is not None
    assert (there.dim, there.metric, there.rows) == (8, "cosine", 3)


def test_a_missing_collection_is_not_made_when_that_is_forbidden(server: Server, name: str) -> None:
    with pytest.raises(NotFound, match="auto-create"):
        write(spot(server, name, auto_create="false"), samples.one())
    done = vex("import", "--from", DEBIAN, "--to", "qdrant", *flags(server, name), "--no-create")
    assert done.code == 1
    assert "--no-create" in done.err
    with pytest.raises(NotFound):
        read(spot(server, name))


def test_a_metric_that_differs_is_an_error_unless_it_is_allowed(server: Server, name: str) -> None:
    create(server, name, vectors={"size": 384, "distance": "Euclid"})
    command = ["import", "--from", str(DEBIAN), "--to", "qdrant", *flags(server, name), "--metric", "cosine"]
    done = vex(*command)
    assert (done.code, points(server, name)) == (1, [])
    assert "euclidean" in done.err
    assert vex(*command, "--allow-metric-change").ok().code == 0


def test_python_says_what_a_target_has_to_be_as_the_command_line_does(server: Server, name: str) -> None:
    options = {"url": server.url, "collection": name, **({"api-key": server.key} if server.key else {})}
    with pytest.raises(NotFound, match="--no-create"):
        vexarrow.copy(str(DEBIAN), "qdrant", target_options=options, create=False)
    vexarrow.copy(str(DEBIAN), "qdrant", target_options=options, metric="euclidean", limit=5)
    with resolve("qdrant", options, side="source").source(Selection()) as source:
        assert source.describe().metric == "euclidean"
    with pytest.raises(SchemaError, match="euclidean"):
        vexarrow.copy(str(DEBIAN), "qdrant", target_options=options, metric="dot")
    more = vexarrow.copy(
        str(DEBIAN), "qdrant", target_options=options, metric="dot", allow_metric_change=True, rate=1e6
    )
    assert more.counts.written == 160


def test_a_metric_that_qdrant_does_not_have_is_an_error(server: Server, name: str) -> None:
    with pytest.raises(SchemaError, match="hamming"), loading(spot(server, name), Description(dim=2, metric="hamming")):
        pass


def test_records_of_another_dimension_are_rejected(server: Server, name: str) -> None:
    write(spot(server, name), samples.one())
    assert write(spot(server, name), samples.many(3)) == [("dimension", f"id-{row:07}") for row in range(3)]
    assert len(points(server, name)) == 1


def test_writers_at_the_same_time_share_a_new_collection(server: Server, name: str) -> None:
    parts = [samples.many(400).slice(at, 100) for at in range(0, 400, 100)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda part: write(spot(server, name), part), parts)) == [[]] * 4
    assert bare(read(spot(server, name))) == bare(parts)
    assert info(server, name)["config"]["optimizer_config"]["indexing_threshold"] > 0


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7])
def test_slices_hold_every_record_once_and_are_resumed_anywhere(server: Server, name: str, rows: int) -> None:
    write(spot(server, name), samples.many(50))
    with source(spot(server, name)) as opened:
        parts = opened.partitions(3)
        found = [page.batch for part in parts for page in resumed_everywhere(opened, part, rows)]
    assert [part.key for part in parts] == ["slice 0 of 3", "slice 1 of 3", "slice 2 of 3"]
    assert bare(found) == bare([samples.many(50)])


def test_integers_and_uuids_are_resumed_between_them(server: Server, name: str) -> None:
    write(spot(server, name), [samples.integer_ids(), samples.uuid_ids()])
    with source(spot(server, name)) as opened:
        (part,) = opened.partitions(1)
        assert len(resumed_everywhere(opened, part, 1)) == 10


def test_an_older_server_is_read_by_ranges_of_ids(emulated: Server, name: str) -> None:
    batches = [samples.many(50, dim=4), samples.integer_ids(), samples.uuid_ids()]
    write(spot(emulated, name), batches)
    emulated.control(version="1.15.4")
    with source(spot(emulated, name)) as opened:
        parts = opened.partitions(3)
        found = [page.batch for part in parts for page in resumed_everywhere(opened, part, 4)]
        assert min(sum(page.batch.num_rows for page in pages(opened, part)) for part in parts) > 5
    assert [part.key.split()[:2] for part in parts] == [["uuids", "from"]] * 3
    assert bare(found) == bare(batches)


def test_integers_of_an_older_server_are_read_in_one_part(emulated: Server, name: str) -> None:
    write(spot(emulated, name), samples.many(50, id_type="int"))
    emulated.control(version="1.15.4")
    with source(spot(emulated, name)) as opened:
        assert [part.key for part in opened.partitions(4)] == ["all"]


def test_the_fields_of_an_older_server_are_understood(emulated: Server, name: str) -> None:
    with loading(spot(emulated, name), SEVERAL) as sink:
        sink.load(samples.further_vectors())
        sink.finish()
    emulated.control(version="1.15.4", old_vectors=True)
    assert bare(read(spot(emulated, name))) == bare([samples.further_vectors()])


def test_points_that_are_hidden_until_they_are_optimised_are_not_left_out(emulated: Server, name: str) -> None:
    write(spot(emulated, name), samples.one())
    emulated.control(deferred={name: 7})
    with source(spot(emulated, name, {"retries": "0"})) as opened:
        assert opened.describe().details["deferred_points"] == 7
        with pytest.raises(TransientError, match="7 points"):
            opened.partitions(1)


def test_namespaces_are_filtered_by_the_server(server: Server, name: str) -> None:
    write(spot(server, name), samples.many(100))
    for wanted, rows in ((("a",), 20), (("b", "c"), 40), (("nobody",), 0)):
        selection = Selection(namespaces=wanted)
        with source(spot(server, name), selection) as opened:
            found = [page for part in opened.partitions(2) for page in pages(opened, part)]
        assert sum(page.batch.num_rows for page in found) == rows
        assert sum(page.skipped for page in found) == 0


def test_a_collection_is_described(server: Server, name: str) -> None:
    write(spot(server, name), samples.many(10))
    with source(spot(server, name)) as opened:
        found = opened.describe()
    assert (found.dim, found.metric, found.rows, found.id_type) == (8, "cosine", 10, "string")
    assert set(found.namespaces) == {"a", "b", "c", "", None}
    assert "'m': '16'" in str(found.settings["qdrant"]["hnsw_config"])
    text = vex("inspect", f"qdrant://127.0.0.1:{server.port}/{name}", *flags(server, name)[4:]).ok().out
    assert "records        : 10" in text
    assert "api-key" not in text
    assert server.key is None or server.key not in text


@pytest.mark.parametrize("most", [300, 30])
def test_limits_of_strict_mode_are_kept(server: Server, name: str, most: int) -> None:
    limits = {"enabled": True, "max_query_limit": most, "upsert_max_batchsize": 40}
    create(server, name, vectors={"size": 8, "distance": "Cosine"}, strict_mode_config=limits)
    assert write(spot(server, name), samples.many(500)) == []
    assert bare(read(spot(server, name), rows=1000)) == bare([samples.many(500)])


def test_strict_mode_that_filters_by_indexed_keys_alone_is_no_obstacle(server: Server, name: str) -> None:
    strict = {"enabled": True, "unindexed_filtering_retrieve": False}
    create(server, name, vectors={"size": 8, "distance": "Cosine"}, strict_mode_config=strict)
    write(spot(server, name), samples.many(100))
    found = read(spot(server, name), selection=Selection(namespaces=("a",)))
    assert bare(found) == [one for one in bare([samples.many(100)]) if one.namespace == "a"]
    assert found


def test_one_request_at_a_time_is_enough(server: Server, name: str) -> None:
    place = spot(server, name, {"concurrency": "1"}, concurrency="1")
    write(place, samples.many(200))
    assert bare(read(place, wanted=2)) == bare([samples.many(200)])


# -- other tools ---------------------------------------------------------------------------------------------------

FOREIGN = [
    {"page_content": "t", "metadata": {"source": "a.md", "namespace": "n"}},
    {"_node_content": '{"text": "t"}', "doc_id": "d", "namespace": "n"},
    {"text": "t", "namespace": "n", "model": "", "created_at": "", "tags": "a"},
    {"document": "t", "namespace": "n", "nested": {"list": [1, 2.5, None, {"x": True}]}},
]


@pytest.mark.parametrize("payload", FOREIGN, ids=["LangChain", "LlamaIndex", "npm vex", "FastEmbed"])
def test_records_of_other_tools_are_read(server: Server, name: str, payload: dict[str, Any]) -> None:
    create(server, name)
    put(server, name, {"id": 7, "payload": payload}, {"id": 8, "payload": {"page_content": "other"}})
    (batch,) = read(spot(server, name), selection=Selection(namespaces=("n",)))
    assert batch.column("id").to_pylist() == ["7"]
    assert batch.column("text").to_pylist() == ["t"]
    assert batch.column("model").to_pylist() == [None]
    assert batch.column("source_store").to_pylist() == ["qdrant"]


def test_points_of_qdrant_migration_have_their_own_ids_and_are_replaced_by_ours(server: Server, name: str) -> None:
    create(server, name)
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, "doc-1"))
    put(server, name, {"id": identity, "payload": {"__id__": "doc-1", "document": "theirs", "page": 3}})
    (batch,) = read(spot(server, name))
    found = {one: records.storage(batch.column(one)).to_pylist() for one in ("id", "text", "metadata")}
    assert found == {"id": ["doc-1"], "text": ["theirs"], "metadata": ['{"page":3}']}
    dim = records.dim(batch)
    assert write(spot(server, name), samples.batch({"id": ["doc-1"], "text": ["ours"]}, dim=dim)) == []
    (batch,) = read(spot(server, name))
    assert (batch.column("id").to_pylist(), batch.column("text").to_pylist()) == (["doc-1"], ["ours"])


def test_options_say_where_fields_are(server: Server, name: str) -> None:
    create(server, name)
    put(server, name, {"id": 1, "payload": {"body": "t", "a.b": "n", "key": "k", "more": {"x": 1}}}, {"id": 2})
    where = {"text-field": "body", "namespace-field": "a.b", "id-field": "key", "metadata-field": "more"}
    (batch,) = read(spot(server, name, where), selection=Selection(namespaces=("n",)))
    columns = {one: records.storage(batch.column(one)).to_pylist() for one in ("id", "text", "namespace", "metadata")}
    assert columns["id"] == ["k"]
    assert (columns["text"], columns["namespace"]) == (["t"], ["n"])
    assert json.loads(columns["metadata"][0])["x"] == 1


@pytest.mark.parametrize("grpc", [True, False], ids=["gRPC", "REST"])
@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_official_client_reads_what_we_write_and_writes_what_we_read(server: Server, name: str, grpc: bool) -> None:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(url=server.url, api_key=server.key, prefer_grpc=grpc, grpc_port=server.port + 1, timeout=30)
    sample = samples.batch({"id": [str(row) for row in range(20)]}, id_type="int")
    with loading(spot(server, name), Description(dim=4, metric="dot")) as sink:
        sink.load(sample)
        sink.finish()
    found, following = client.scroll(name, limit=50, with_vectors=True)
    assert following is None
    assert [one.id for one in found] == list(range(20))
    assert [(one.payload or {})["text"] for one in found] == sample.column("text").to_pylist()
    assert (np.array([one.vector for one in found], "f4") == records.matrix(sample.column("vector"))).all()
    assert client.count(name).count == 20
    more = [
        models.PointStruct(id=str(uuid.uuid4()), vector=[1.0, 2, 3, 4], payload={"text": "x", "n": [1, {"a": None}]}),
        models.PointStruct(id=2**64 - 1, vector=[0.5, 2, 3, 4], payload={"text": "y"}),
    ]
    client.upsert(name, more, wait=True)
    client.upload_collection(name, vectors=samples.vectors(30), ids=range(100, 130), wait=True)
    client.close()
    texts = [text for batch in read(spot(server, name)) for text in batch.column("text").to_pylist()]
    assert sorted(map(str, texts)) == sorted([*sample.column("text").to_pylist(), "x", "y", *["None"] * 30])


@pytest.mark.npm
def test_the_original_tool_exports_what_we_load(server: Server, name: str, tool: Path, tmp_path: Path) -> None:
    vex("import", "--from", DEBIAN, "--to", "qdrant", *flags(server, name)).ok()
    npm(tool, "export", "--from", "qdrant", *flags(server, name), "--output", tmp_path / "its.vmig.jsonl")
    vex("export", "--from", "qdrant", *flags(server, name), "--output", tmp_path / "ours.vmig.jsonl").ok()
    sent = {one["id"]: one for one in json_lines(DEBIAN)}
    its = {one["metadata"].get("__id__", one["id"]): one for one in json_lines(tmp_path / "its.vmig.jsonl")}
    assert its.keys() == sent.keys()
    for key in ("text", "namespace", "model"):
        assert {one: record[key] for one, record in its.items()} == {
            one: record[key] or None for one, record in sent.items()
        }
    for one, record in its.items():
        ours, theirs = np.array(sent[one]["vector"]), np.array(record["vector"])
        assert np.allclose(theirs, ours / np.linalg.norm(ours), atol=1e-6)
    assert bits(json_lines(tmp_path / "ours.vmig.jsonl")) == bits(list(sent.values()))


@pytest.mark.npm
def test_we_export_what_the_original_tool_loads(server: Server, name: str, tool: Path, tmp_path: Path) -> None:
    given = [{**one, "id": at} for at, one in enumerate(json_lines(DEBIAN)[:30])]
    (tmp_path / "in.vmig.jsonl").write_text("".join(json.dumps(one) + "\n" for one in given))
    npm(tool, "import", "--from", tmp_path / "in.vmig.jsonl", "--to", "qdrant", *flags(server, name))
    vex("export", "--from", "qdrant", *flags(server, name), "--output", tmp_path / "out.vmig.jsonl").ok()
    found = {one["id"]: one for one in json_lines(tmp_path / "out.vmig.jsonl")}
    assert found.keys() == set(range(30))
    for one in given:
        back = found[one["id"]]
        for key in ("text", "namespace", "model"):
            assert back[key] == (one[key] or None)
        assert (back["metadata"] or {}) == (one["metadata"] or {})
        assert np.allclose(back["vector"], np.array(one["vector"]) / np.linalg.norm(one["vector"]), atol=1e-6)


# -- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INTERNAL", "ABORTED"])
def test_requests_that_fail_for_a_passing_reason_are_tried_again(emulated: Server, name: str, code: str) -> None:
    emulated.fail("Points/Upsert", code, 2, retry_after=0)
    before = emulated.control().get("Points/Upsert", 0)
    assert write(spot(emulated, name), samples.one()) == []
    assert emulated.control()["Points/Upsert"] - before == 3
    emulated.fail("Points/Scroll", code, 2, retry_after=0)
    assert bare(read(spot(emulated, name))) == bare([samples.one()])


def test_a_request_larger_than_the_limit_of_a_minute_is_split(emulated: Server, name: str) -> None:
    said = "Write rate limit exceeded, request larger than rate limiter capacity, please try to split your request"
    write(spot(emulated, name), samples.many(1))
    emulated.fail("Points/Upsert", "RESOURCE_EXHAUSTED", 1, message=said)
    before = emulated.control()["Points/Upsert"]
    assert write(spot(emulated, name, retries="0"), samples.many(50)) == []
    assert emulated.control()["Points/Upsert"] - before == 3
    assert bare(read(spot(emulated, name))) == bare([samples.many(50)])


def test_a_collection_whose_creation_was_not_answered_is_as_it_was_asked_for(emulated: Server, name: str) -> None:
    """The next try is told that it is there already."""
    emulated.fail("Collections/Create", "UNAVAILABLE", 1, retry_after=0, lost=True)
    given = {"qdrant": {"vector_name": "z", "payload_indexes": {"n": {"data_type": "Integer"}}}}
    with loading(spot(emulated, name), Description(dim=2, vectors={"vector:a": 2}, settings=given)) as sink:
        config = info(emulated, name)
        plain = samples.batch({"text": ["t"]}, vector=np.array([[1, 0]], "f4"))
        columns = {one: plain.column(one) for one in records.BASE_NAMES}
        more = {"vector:a": records.from_matrix(np.array([[0, 1]], "f4"))}
        assert list(sink.load(records.build(columns, plain.column("vector"), more=more))) == []
        sink.finish()
    assert config["payload_schema"]["namespace"]["params"]["is_tenant"] is True
    assert config["payload_schema"]["n"]["data_type"] == "integer"
    assert config["config"]["optimizer_config"]["indexing_threshold"] == 0
    assert [one["vector"] for one in points(emulated, name)] == [{"z": [1, 0], "a": [0, 1]}]
    assert info(emulated, name)["config"]["optimizer_config"]["indexing_threshold"] > 0


def test_after_the_last_try_the_error_is_raised(emulated: Server, name: str) -> None:
    write(spot(emulated, name), samples.one())
    emulated.fail("Points/Upsert", "UNAVAILABLE", 9, retry_after=0)
    with pytest.raises(TransientError, match="injected"):
        write(spot(emulated, name, retries="1"), samples.one())


def test_a_page_that_was_asked_for_ahead_is_asked_for_again_when_it_fails(emulated: Server, name: str) -> None:
    write(spot(emulated, name), samples.many(30))
    with source(spot(emulated, name)) as opened:
        (part,) = opened.partitions(1)
        found = []
        for page in opened.extract(part, rows=10):
            found.append(page.batch)
            emulated.fail("Points/Scroll", "UNAVAILABLE", 1, retry_after=0)
    assert bare(found) == bare([samples.many(30)])


def test_of_a_refused_request_all_but_the_records_at_fault_are_loaded(server: Server, name: str) -> None:
    """An index that comes twice in a sparse vector is what the server refuses and we do not look for."""
    plain = samples.many(50)
    rows = [{"indices": [1, 1] if row in (3, 41) else [1, 2], "values": [1.0, 2.0]} for row in range(50)]
    kind = pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))])
    columns = {one: plain.column(one) for one in records.BASE_NAMES}
    sample = records.build(columns, plain.column("vector"), more={"sparse:words": pa.array(rows, kind)})
    with loading(spot(server, name), Description(dim=8, vectors={"sparse:words": None})) as sink:
        refused: Sequence[Reject] = sink.load(sample)
    assert [(one.code, one.row) for one in refused] == [("refused", 3), ("refused", 41)]
    assert len(points(server, name)) == 48


@pytest.mark.parametrize("key", ["wrong-secret-key", ""])
def test_a_wrong_key_is_an_error_that_does_not_show_it(server: Server, name: str, key: str) -> None:
    if not server.key:
        pytest.skip("the server has no key")
    given = options(server, name) | {"api-key": key}
    with pytest.raises(AccessError) as caught:
        read(Spot("qdrant", given, given))
    assert not key or key not in str(caught.value)
    assert "check --api-key or QDRANT_API_KEY" in str(caught.value)
    with pytest.raises(AccessError):
        write(Spot("qdrant", given, given), samples.one())


def test_a_key_at_the_end_of_a_message_that_is_cut_is_not_shown_by_half(emulated: Server, name: str) -> None:
    assert emulated.key
    emulated.fail("Collections/Get", "PERMISSION_DENIED", message="x" * 290 + emulated.key)
    with pytest.raises(AccessError) as caught:
        read(spot(emulated, name))
    assert "xxx" in str(caught.value)
    assert emulated.key[:5] not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "given", "tls"),
    [
        ("qdrant://xyz.cloud.qdrant.io:6333/c", {"api-key": "k"}, True),
        ("qdrant://10.0.0.7/c", {"api-key": "k"}, True),
        ("qdrant://10.0.0.7/c", {"api-key": "k", "https": "false"}, False),
        ("qdrant://10.0.0.7/c", {}, False),
        ("qdrant://127.0.0.1/c", {"api-key": "k"}, False),
        ("qdrant://[::1]:6333/c", {"api-key": "k"}, False),
        ("qdrant://localhost/c", {"api-key": "k"}, False),
        ("qdrant://localhost/c", {"api-key": "k", "https": "true"}, True),
    ],
)
def test_a_key_goes_to_other_machines_by_tls_alone_unless_one_says_so(
    uri: str, given: dict[str, str], tls: bool
) -> None:
    client = importlib.import_module("vexarrow.connectors._qdrant_client")
    assert client.address(Location("qdrant", uri, given)).tls is tls


def test_a_missing_collection_is_named(server: Server, name: str) -> None:
    with pytest.raises(NotFound, match=name):
        read(spot(server, name))


def test_a_server_that_is_not_there_is_an_error_soon() -> None:
    given = {"url": f"http://127.0.0.1:{free_port()}", "collection": "x", "retries": "0", "timeout": "5"}
    with pytest.raises(TransientError):
        read(Spot("qdrant", given, given))


def test_a_server_that_is_back_is_reached_at_the_next_try() -> None:
    """Not when grpc thinks fit, which is some seconds later after a few vain tries."""
    grpc, futures = importlib.import_module("grpc"), importlib.import_module("concurrent.futures")
    # Bound but not listening, it refuses connections and keeps the port free for the server.
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", 0))
    port = reserved.getsockname()[1]
    given = {"url": "http://127.0.0.1:6333", "grpc-port": str(port), "collection": "x"}
    client = importlib.import_module("vexarrow.connectors._qdrant_client")
    opened = client.Client(client.address(Location("qdrant", options=given)), Requests(retries=0))
    for _ in range(4):
        with pytest.raises(TransientError):
            opened.version()
        time.sleep(0.2)
    healthy = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x12\x061.19.0")
    server = grpc.server(futures.ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("qdrant.Qdrant", {"HealthCheck": healthy}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        assert opened.version() == (1, 19)
    finally:
        opened.close()
        server.stop(0).wait()
        reserved.close()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "--collection"),
        ({"collection": "x", "url": "ftp://h"}, "--url"),
        ({"collection": "x", "url": "http://h/path"}, "path"),
        ({"collection": "x", "grpc-port": "0"}, "port"),
        ({"collection": "x", "https": "perhaps"}, "--https"),
    ],
)
def test_options_that_make_no_sense_are_an_error(
    given: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QDRANT_COLLECTION", raising=False)
    with pytest.raises(UsageError, match=message), resolve("qdrant", given, side=SOURCE).source(Selection()):
        pass


def test_a_cursor_or_partition_that_is_not_ours_is_an_error(server: Server, name: str) -> None:
    write(spot(server, name), samples.one())
    with source(spot(server, name)) as opened:
        (part,) = opened.partitions(1)
        with pytest.raises(UsageError, match="cursor"):
            pages(opened, part, after="nonsense")
        with pytest.raises(UsageError, match="partition"):
            pages(opened, part._replace(key="nonsense"))


# -- on the command line --------------------------------------------------------------------------------------------


def test_memories_are_migrated_there_and_exported_again(server: Server, name: str, tmp_path: Path) -> None:
    command = ["migrate", "--from", "vektor", "--to", "qdrant", "--db", str(MEMORY)]
    migrated = vex(*command, *flags(server, name), "--json").ok().report
    exported = tmp_path / "out.vmig.jsonl"
    vex("export", "--from", "qdrant", *flags(server, name), "--output", exported).ok()
    direct = tmp_path / "direct.vmig.jsonl"
    vex("export", "--from", "vektor", "--db", MEMORY, "--output", direct).ok()
    assert migrated["written"] == len(json_lines(direct))
    ours, theirs = ({str(one["id"]): one for one in json_lines(path)} for path in (exported, direct))
    assert ours == theirs


def test_a_uri_says_it_all(server: Server, name: str, tmp_path: Path) -> None:
    key = f"?api_key={server.key}" if server.key else ""
    uri = f"qdrant://127.0.0.1:{server.port}/{name}{key}"
    assert vexarrow.copy(str(DEBIAN), uri).counts.written == 160
    other = f"qdrant://127.0.0.1:{server.port}/{name}-2{key}"
    done = vex("migrate", uri, other)
    server.rest("DELETE", f"/collections/{name}-2")
    assert done.ok().code == 0
    assert server.key is None or server.key not in done.out + done.err


def test_the_whole_of_the_client_library_is_never_imported(server: Server, name: str) -> None:
    write(spot(server, name), samples.one())
    script = (
        "import sys, vexarrow; from vexarrow.places import resolve\n"
        "from vexarrow.selection import Selection\n"
        f"with resolve('qdrant', {options(server, name)!r}, side='source').source(Selection()) as source:\n"
        "    assert [page for part in source.partitions(1) for page in source.extract(part, rows=5)]\n"
        "assert not {'qdrant_client', 'pydantic', 'httpx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert issubclass(NotFound, VexError)
