"""Loading Pinecone by imports: the emulator of tests/engines/pinecone.py reads the files from moto's S3."""

from __future__ import annotations

import tracemalloc
import uuid
from collections.abc import Iterator
from typing import Any

import fsspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.engines.moto import client_environment, moto_server
from tests.engines.pinecone import KEY, Emulator, pinecone_emulator
from vexarrow import records
from vexarrow.errors import SchemaError, UsageError, VexError
from vexarrow.protocols import Description
from vexarrow.testing import Spot, facts, read, samples, write
from vexarrow.testing.contract import in_any_order

pytestmark = pytest.mark.s3

SPARSE = pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))])


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture(scope="module")
def emulator(s3: str) -> Iterator[Emulator]:
    with pinecone_emulator() as running:
        running.import_environment = client_environment(s3)
        yield running


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in client_environment(s3).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    name = f"b-{uuid.uuid4().hex}"
    system().mkdir(name)
    return name


def system() -> Any:
    return fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)


def spot(emulator: Emulator, bucket: str, **options: str) -> Spot:
    given = {"api-key": KEY, "controller-host": emulator.url, "index": f"t-{uuid.uuid4().hex}"}
    return Spot("pinecone", given, {**given, "via": f"s3://{bucket}/staging/", "import-wait": "0.01", **options})


@pytest.mark.parametrize("api", ["vectors", "documents"])
def test_an_import_loads_every_namespace_and_leaves_no_file(emulator: Emulator, bucket: str, api: str) -> None:
    place = spot(emulator, bucket, api=api)
    batches = [samples.many(900).slice(0, 400), samples.many(900).slice(400)]
    assert write(place, batches) == []
    (index,) = [one for one in emulator.indexes.values() if one.name == place.target_options["index"]]
    assert (sorted(index.spaces), index.writes) == (["", "a", "b", "c"], 4)
    expected = in_any_order(facts(batches, verbatim=False))
    assert in_any_order(facts(read(place), verbatim=False)) == expected
    assert system().find(bucket) == []


def test_the_files_have_the_layout_and_the_columns_that_pinecone_asks_for(emulator: Emulator, bucket: str) -> None:
    place = spot(emulator, bucket)
    plain = Spot("pinecone", place.source_options, place.source_options)
    write(plain, samples.batch({"id": ["there"], "namespace": ["x"]}, dim=2))
    with pytest.raises(SchemaError, match=r"x hold records already.*The files are in s3://"):
        write(place, samples.batch({"id": ["a", "b"], "namespace": [None, "x"]}, dim=2))
    names = sorted(system().find(bucket))
    assert [name.split("/")[1:2] + name.split("/")[3:] for name in names] == [
        ["staging", "__default__", "part-00000.parquet"],
        ["staging", "x", "part-00001.parquet"],
    ]
    with system().open(names[0]) as stream:
        table = pq.read_table(pa.BufferReader(stream.read()))
    assert table.schema.equals(
        pa.schema([("id", pa.string()), ("values", pa.list_(pa.float32())), ("metadata", pa.string())])
    )
    assert orjson.loads(table.column("metadata")[0].as_py())["text"] == "text 0"


def test_sparse_vectors_are_imported(emulator: Emulator, bucket: str) -> None:
    pairs: list[Any] = [{"indices": [7, 9], "values": [0.5, 0.1]}, None, {"indices": [], "values": []}]
    plain = samples.batch({"id": list("abc")}, dim=2)
    columns = {name: plain.column(name) for name in records.BASE_NAMES}
    sample = records.build(columns, plain.column("vector"), more={"sparse:words": pa.array(pairs, SPARSE)})
    place = spot(emulator, bucket)
    with place.target().sink() as sink:
        sink.prepare(Description(dim=2, metric="dot"))
        assert list(sink.load(sample)) == []
        sink.finish()
    assert facts(read(place), verbatim=False) == facts(sample, verbatim=False)


def test_what_would_fail_the_import_is_rejected_before(emulator: Emulator, bucket: str) -> None:
    vectors = samples.vectors(5, 2)
    vectors[1] = 0
    columns = {"id": ["a", "b", "c", "d", "a"], "namespace": [None, None, "x/y", "z", None]}
    columns["text"] = ["1", "2", "3", "x" * 50_000, "5"]
    first = samples.batch(columns, vector=vectors)
    place = spot(emulator, bucket)
    again = samples.batch({"id": ["a", "e"]}, dim=2)
    refused = write(place, [first, again])
    assert refused == [("refused", "b"), ("refused", "c"), ("too-large", "d"), ("duplicate-id", "a")]
    assert [fact.id for fact in facts(read(place))] == ['"a"', '"e"']


def test_a_namespace_that_holds_records_is_an_error_before_the_import(emulator: Emulator, bucket: str) -> None:
    place = spot(emulator, bucket)
    write(Spot("pinecone", place.source_options, place.source_options), samples.batch({"id": ["a"]}, dim=2))
    with pytest.raises(SchemaError, match="__default__ hold records already"):
        write(place, samples.batch({"id": ["b"]}, dim=2))
    assert len(system().find(bucket)) == 1
    assert all(not index.imports for index in emulator.indexes.values() if index.name == place.target_options["index"])


def test_ids_that_come_again_are_found_among_many_in_a_few_bytes_each(emulator: Emulator, bucket: str) -> None:
    pages, rows = 40, 500
    place = spot(emulator, bucket)
    with place.target().sink() as sink:
        sink.prepare(Description(dim=2))
        sink.load(samples.batch({"id": ["first"]}, dim=2))
        tracemalloc.start()
        try:
            for page in range(pages):
                ids = [f"{page * rows + row}" for row in range(rows)]
                assert list(sink.load(samples.batch({"id": ids}, dim=2))) == []
            # The vectors, which are collected for a file, take 8 bytes a record.
            assert tracemalloc.get_traced_memory()[0] < 40 * pages * rows
        finally:
            tracemalloc.stop()
        again = samples.batch({"id": ["7", "first", "new", f"{pages * rows - 1}", "7"]}, dim=2)
        assert [(one.code, one.row) for one in sink.load(again)] == [
            ("duplicate-id", row) for row in (1, 3, 4)
        ]  # of one that comes twice in a batch the last one counts
        other = samples.batch({"id": ["7", "new"], "namespace": ["other", None]}, dim=2)
        assert [(one.code, one.row) for one in sink.load(other)] == [("duplicate-id", 1)]


def test_an_import_that_fails_is_an_error_with_its_reason_and_leaves_the_files(emulator: Emulator, bucket: str) -> None:
    emulator.import_error = "the bucket cannot be read"
    with pytest.raises(VexError, match="has the status Failed: the bucket cannot be read"):
        write(spot(emulator, bucket), samples.batch({"id": ["a"]}, dim=2))
    emulator.import_error = None
    assert len(system().find(bucket)) == 1


@pytest.mark.parametrize("lost", [1, 2])
def test_an_import_whose_answer_is_lost_is_not_started_again(emulator: Emulator, bucket: str, lost: int) -> None:
    place = spot(emulator, bucket)
    emulator.lost += ["POST /bulk/imports"] + ["GET /bulk/imports"] * (lost - 1)
    assert write(place, samples.batch({"id": ["a", "b"]}, dim=2)) == []
    index = emulator.indexes[place.target_options["index"]]
    assert (emulator.lost, len(index.imports), set(index.spaces[""])) == ([], 1, {"a", "b"})
    assert system().find(bucket) == []


def test_an_import_that_did_not_begin_is_started_again(emulator: Emulator, bucket: str) -> None:
    place = spot(emulator, bucket)
    with place.target().sink() as sink:
        sink.prepare(Description(dim=2))
        sink.load(samples.batch({"id": ["a"]}, dim=2))
        index = emulator.indexes[place.target_options["index"]]
        job = {"uri": "s3://other/folder", "status": "Completed"}
        index.imports |= {f"{row}": {"id": f"{row}", **job} for row in range(150)}
        emulator.unheard.append("POST /bulk/imports")
        sink.finish()
    assert (emulator.unheard, len(index.imports), set(index.spaces[""])) == ([], 151, {"a"})


def test_a_second_import_of_the_same_folder_does_not_hide_that_the_first_succeeds(
    emulator: Emulator, bucket: str
) -> None:
    """The first one is seen in the list too late, so that another is started, which fails."""
    place = spot(emulator, bucket)
    with place.target().sink() as sink:
        sink.prepare(Description(dim=2))
        sink.load(samples.batch({"id": ["a"]}, dim=2))
        index = emulator.indexes[place.target_options["index"]]
        index.unlisted = 1
        emulator.lost.append("POST /bulk/imports")
        sink.finish()
    statuses = [one["status"] for one in index.imports.values()]
    assert (statuses, set(index.spaces[""])) == (["Completed", "Failed"], {"a"})
    assert system().find(bucket) == []


def test_an_index_elsewhere_cannot_import_from_s3(emulator: Emulator, bucket: str) -> None:
    with pytest.raises(SchemaError, match="gcp"):
        write(spot(emulator, bucket, cloud="gcp"), samples.batch({"id": ["a"]}, dim=2))
    with pytest.raises(UsageError, match="s3://"):
        write(spot(emulator, bucket, via="folder/x"), samples.batch({"id": ["a"]}, dim=2))
