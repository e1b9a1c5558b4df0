"""Arrow IPC: files and streams, memory maps, foreign schemas, faults."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from vexarrow import plugins, records
from vexarrow.errors import DataError, NotFound, SchemaError, UsageError
from vexarrow.location import Location
from vexarrow.protocols import Description, Format, Page, Reject
from vexarrow.selection import Selection
from vexarrow.testing import facts

EVERYTHING = Selection()


def arrow() -> Format:
    found = plugins.format_named("arrow")
    assert found is not None
    return found


def save(target: Path | str, *batches: pa.RecordBatch, **options: str) -> list[Reject]:
    opener = arrow().open_writer
    assert opener is not None
    with opener(Location("arrow", str(target), options)) as sink:
        sink.prepare(Description())
        rejects = [reject for batch in batches for reject in sink.load(batch)]
        sink.finish()
    return rejects


def load(
    target: Path | str, selection: Selection = EVERYTHING, *, rows: int = 1000, wanted: int = 1, **options: str
) -> list[Page]:
    opener = arrow().open_reader
    assert opener is not None
    place = Location("arrow", str(target), {k.replace("_", "-"): v for k, v in options.items()})
    with opener(place, selection) as source:
        return [page for part in source.partitions(wanted) for page in source.extract(part, rows=rows)]


def batches_of(pages: Sequence[Page]) -> list[pa.RecordBatch]:
    return [page.batch for page in pages]


def many(rows: int, dim: int = 4, **columns: Any) -> pa.RecordBatch:
    matrix = np.random.default_rng(0).standard_normal((rows, dim)).astype(np.float32)
    return records.build({"id": [f"id{row}" for row in range(rows)], **columns}, matrix)


def foreign(path: Path, columns: dict[str, Any], *, stream: bool = False, codec: str | None = None) -> Path:
    table = pa.table(columns)
    options = pa.ipc.IpcWriteOptions(compression=codec)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(str(path), table.schema, options=options) as writer:
        writer.write_table(table)
    return path


def test_a_mapped_file_is_not_copied(tmp_path: Path) -> None:
    save(tmp_path / "a.arrow", many(5000, 256))
    before = pa.total_allocated_bytes()
    pages = load(tmp_path / "a.arrow")
    held = pa.total_allocated_bytes() - before
    assert sum(page.batch.column("vector").nbytes for page in pages) > 5_000_000
    assert held < 500_000


@pytest.mark.parametrize("name", ["a.arrow", "a.arrows", "a.feather"])
def test_the_kind_of_a_file_is_told_by_its_bytes(tmp_path: Path, name: str) -> None:
    for stream in (False, True):
        path = foreign(tmp_path / name, {"id": ["a"], "vector": [[1.0, 2.0]]}, stream=stream)
        assert load(path)[0].batch.column("vector").to_pylist() == [[1.0, 2.0]]


@pytest.mark.parametrize("codec", ["zstd", "lz4", "none"])
def test_compressed_files_are_written_and_read(tmp_path: Path, codec: str) -> None:
    for name in ("a.arrow", "a.arrows"):
        save(tmp_path / name, many(100), compression=codec)
        assert facts(batches_of(load(tmp_path / name))) == facts([many(100)])


@pytest.mark.parametrize("name", ["a.arrow.gz", "a.arrows.gz", "a.arrow.zst", "a.arrows.zst"])
def test_files_in_compressed_files_are_written_and_read(tmp_path: Path, name: str) -> None:
    save(tmp_path / name, many(100))
    assert facts(batches_of(load(tmp_path / name))) == facts([many(100)])


def test_feather_files_of_pandas_and_polars_are_read(tmp_path: Path) -> None:
    pd.DataFrame({"key": [1, 2], "emb": [[1.0, 2.0], [3.0, 4.0]], "n": [1, 2]}).to_feather(tmp_path / "pd.feather")
    pl.DataFrame({"id": ["a"], "v": [[1.0, 2.0]], "s": ["x"]}).write_ipc(tmp_path / "pl.arrow")
    (page,) = load(tmp_path / "pd.feather")
    assert page.batch.column("id").to_pylist() == ["1", "2"]
    assert records.id_type(page.batch.schema) == "int"
    assert records.storage(page.batch.column("metadata")).to_pylist() == ['{"n":1}', '{"n":2}']
    (page,) = load(tmp_path / "pl.arrow")
    assert page.batch.column("vector").to_pylist() == [[1.0, 2.0]]
    assert records.storage(page.batch.column("metadata")).to_pylist() == ['{"s":"x"}']


def test_polars_and_pandas_read_our_files(tmp_path: Path) -> None:
    save(tmp_path / "a.arrow", many(3, metadata=['{"k":1}', None, None]))
    frame = pl.read_ipc(tmp_path / "a.arrow")
    assert frame.schema["metadata"] == pl.String
    assert frame["vector"].to_list() == many(3).column("vector").to_pylist()
    assert pd.read_feather(tmp_path / "a.arrow")["metadata"].tolist()[0] == '{"k":1}'


def test_a_foreign_schema_is_read_with_the_same_options_as_parquet(tmp_path: Path) -> None:
    path = foreign(tmp_path / "a.arrow", {"name": ["a", "b"], "v": [[1.0], [2.0]], "w": [[1.0], [2.0]]})
    with pytest.raises(SchemaError, match="--vector-column"):
        load(path)
    with pytest.raises(SchemaError, match="--id-column"):
        load(path, vector_column="v")
    (page,) = load(path, vector_column="v", id_column="name")
    assert page.batch.column("id").to_pylist() == ["a", "b"]


def test_views_and_dictionaries_are_read(tmp_path: Path) -> None:
    columns = {
        "id": pa.array(["a", "b"], pa.string_view()),
        "vector": pa.array([[1.0], [2.0]], pa.large_list(pa.float16())),
        "namespace": pa.array(["n", None]).dictionary_encode(),
        "text": pa.array(["x", "y"], pa.large_string()),
    }
    (page,) = load(foreign(tmp_path / "a.arrow", columns))
    assert page.batch.column("namespace").to_pylist() == ["n", None]
    assert page.batch.schema.field("text").type == pa.string()


@pytest.mark.parametrize("name", ["a.arrow", "a.arrows"])
@pytest.mark.parametrize("selection", [EVERYTHING, Selection(namespaces=("a", None)), Selection(where="vector[1] > 0")])
def test_reading_goes_on_after_every_page(tmp_path: Path, name: str, selection: Selection) -> None:
    batch = many(90, namespace=["a" if row % 3 else None if row % 2 else "b" for row in range(90)])
    save(tmp_path / name, *(batch.slice(at, 35) for at in range(0, 90, 35)))
    opener = arrow().open_reader
    assert opener is not None
    with opener(Location("arrow", str(tmp_path / name)), selection) as source:
        (part,) = source.partitions(1)
        whole = list(source.extract(part, rows=8))
        for number, page in enumerate(whole):
            rest = list(source.extract(part, rows=8, after=page.cursor))
            assert [(p.cursor, p.skipped) for p in rest] == [(p.cursor, p.skipped) for p in whole[number + 1 :]]
            assert facts(batches_of(rest)) == facts(batches_of(whole[number + 1 :]))
    mask = selection.mask(batch)
    expected = batch if mask is None else batch.take(pa.array(np.flatnonzero(mask)))
    assert facts(batches_of(whole)) == facts([expected])
    assert sum(page.batch.num_rows + page.skipped for page in whole) == 90


def test_a_file_is_divided_by_record_batches(tmp_path: Path) -> None:
    save(tmp_path / "a.arrow", *(many(90).slice(at, 10) for at in range(0, 90, 10)))
    opener = arrow().open_reader
    assert opener is not None
    with opener(Location("arrow", str(tmp_path / "a.arrow")), EVERYTHING) as source:
        parts = source.partitions(4)
        assert len(parts) == 4
        found = [page.batch for part in parts for page in source.extract(part, rows=100)]
        assert source.describe().rows == 90
    assert facts(found) == facts([many(90)])


def test_a_reject_names_its_row_in_the_file_in_every_partition(tmp_path: Path) -> None:
    table = pa.table({"id": [str(n) for n in range(6)], "vector": pa.array([[1.0]] * 5 + [[]], pa.list_(pa.float64()))})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    for wanted in (1, 3):
        (reject,) = [one for page in load(tmp_path / "a.arrow", wanted=wanted) for one in page.rejects]
        assert (reject.code, reject.id) == ("empty-vector", "5")
        assert reject.message.startswith("row 6:")


def test_the_first_vector_decides_the_dimension(tmp_path: Path) -> None:
    rejects = save(tmp_path / "a.arrow", records.build({"id": ["n"]}), many(2, 3), many(2, 5))
    assert [(reject.code, reject.row) for reject in rejects] == [("dimension", 0), ("dimension", 1)]
    assert [batch.num_rows for batch in batches_of(load(tmp_path / "a.arrow"))] == [1, 2]
    assert {records.dim(batch) for batch in batches_of(load(tmp_path / "a.arrow"))} == {3}


def test_a_stream_goes_through_stdout_and_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    below = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(below))
    save("-", many(50))
    data = below.getvalue()
    assert pa.ipc.open_stream(data).read_all().num_rows == 50
    for given in (data, _as_file(data)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        assert facts(batches_of(load("-"))) == facts([many(50)])


def _as_file(stream: bytes) -> bytes:
    table = pa.ipc.open_stream(stream).read_all()
    out = io.BytesIO()
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def test_remote_files_are_read_and_written() -> None:
    for target in ("memory://arrow-test/a.arrow", "memory://arrow-test/a.arrows"):
        save(target, many(20))
        assert facts(batches_of(load(target))) == facts([many(20)])


@pytest.mark.parametrize("name", ["a.arrow", "a.arrows"])
@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.9])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, name: str, part: float) -> None:
    save(tmp_path / name, *(many(100).slice(at, 10) for at in range(0, 100, 10)))
    raw = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(raw[: int(len(raw) * part)])
    with pytest.raises(DataError, match=name):
        load(tmp_path / name)


def test_something_else_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.arrow").write_bytes(b"id,text\n1,hello\n" * 100)
    with pytest.raises(DataError, match=r"a\.arrow"):
        load(tmp_path / "a.arrow")
    with pytest.raises(NotFound):
        load(tmp_path / "b.arrow")


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    save(tmp_path / "a.arrow", many(1))
    with pytest.raises(UsageError, match="overwrite"):
        save(tmp_path / "a.arrow", many(2))
    assert len(load(tmp_path / "a.arrow")[0].batch) == 1
