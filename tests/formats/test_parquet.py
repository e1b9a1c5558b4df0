"""Parquet: our files in other tools, other tools' files in ours, directories, selections, faults."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vexarrow import plugins, records
from vexarrow.errors import DataError, NotFound, SchemaError, UsageError
from vexarrow.location import Location
from vexarrow.protocols import Description, Format, Page, Reject
from vexarrow.selection import Selection
from vexarrow.testing import facts

EVERYTHING = Selection()


def parquet() -> Format:
    found = plugins.format_named("parquet")
    assert found is not None
    return found


def save(
    target: Path | str, *batches: pa.RecordBatch, overwrite: bool = False, metric: str | None = None, **options: str
) -> list[Reject]:
    place = Location("parquet", str(target), {k.replace("_", "-"): v for k, v in options.items()}, overwrite=overwrite)
    opener = parquet().open_writer
    assert opener is not None
    with opener(place) as sink:
        sink.prepare(Description(metric=metric))
        rejects = [reject for batch in batches for reject in sink.load(batch)]
        sink.finish()
    return rejects


def load(
    target: Path | str, selection: Selection = EVERYTHING, *, rows: int = 1000, wanted: int = 1, **options: str
) -> list[Page]:
    place = Location("parquet", str(target), {k.replace("_", "-"): v for k, v in options.items()})
    opener = parquet().open_reader
    assert opener is not None
    with opener(place, selection) as source:
        return [page for part in source.partitions(wanted) for page in source.extract(part, rows=rows)]


def described(target: Path, **options: str) -> Description:
    opener = parquet().open_reader
    assert opener is not None
    place = Location("parquet", str(target), {k.replace("_", "-"): v for k, v in options.items()})
    with opener(place, EVERYTHING) as source:
        return source.describe()


def rows_of(pages: Sequence[Page]) -> list[dict[str, Any]]:
    return [row for page in pages for row in records.plain(page.batch).drop_columns("vector").to_pylist()]


def vectors_of(pages: Sequence[Page]) -> list[list[float]]:
    return [vector for page in pages for vector in page.batch.column("vector").to_pylist()]


def metadata_of(pages: Sequence[Page]) -> list[Any]:
    texts = [row["metadata"] for row in rows_of(pages)]
    return [None if text is None else json.loads(text) for text in texts]


def asked(query: str) -> list[Any]:
    """The rows that DuckDB finds."""
    return duckdb.connect().execute(query).fetchall()


def codes_of(pages: Sequence[Page]) -> list[tuple[str, str | None]]:
    return [(reject.code, reject.id) for page in pages for reject in page.rejects]


def counted(pages: Sequence[Page]) -> int:
    return sum(page.batch.num_rows + page.skipped + len(page.rejects) for page in pages)


def many(rows: int, dim: int = 4, **columns: Any) -> pa.RecordBatch:
    matrix = np.random.default_rng(0).standard_normal((rows, dim)).astype(np.float32)
    return records.build({"id": [f"id{row}" for row in range(rows)], **columns}, matrix)


def foreign(path: Path, columns: Mapping[str, Any], **how: Any) -> Path:
    pq.write_table(pa.table(dict(columns)), path, **how)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


PAIR = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32()))


# -- our files elsewhere ----------------------------------------------------------------------------------------------


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    batch = records.build(
        {
            "id": ["a", "b", "c"],
            "text": ["x", None, ""],
            "model": ["m", "m", "m"],
            "namespace": ["n", None, ""],
            "metadata": ['{"k":1}', None, '{"k":2.0}'],
            "created_at": [datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC), None, None],
        },
        np.array([[1, -0.0], [1e-45, 2], [3, 4]], dtype=np.float32),
    )
    save(tmp_path / "ours.parquet", batch, metric="cosine")
    return tmp_path / "ours.parquet"


def test_duckdb_reads_metadata_as_json_and_times_with_a_zone(ours: Path) -> None:
    kinds = {name: kind for name, kind, *_ in asked(f"describe select * from '{ours}'")}
    assert kinds["metadata"] == "JSON"
    assert kinds["created_at"] == "TIMESTAMP WITH TIME ZONE"
    found = asked(f"select id, metadata->>'k', vector[2] from '{ours}' order by id")
    assert found == [("a", "1", -0.0), ("b", None, 2.0), ("c", "2.0", 4.0)]


def test_polars_reads_metadata_as_text_and_vectors_as_arrays(ours: Path) -> None:
    frame = pl.read_parquet(ours)
    assert frame.schema["metadata"] == pl.String
    assert frame.schema["vector"] == pl.Array(pl.Float32, 2)
    assert frame["namespace"].to_list() == ["n", None, ""]
    assert pl.scan_parquet(ours).filter(pl.col("id") == "c").collect()["vector"].to_list() == [[3.0, 4.0]]


def test_pandas_reads_texts_and_vectors(ours: Path) -> None:
    frame = pd.read_parquet(ours)
    assert frame["metadata"].tolist()[0] == '{"k":1}'
    assert np.stack(frame["vector"].to_list()).dtype == np.float32


def test_pyarrow_reads_fixed_size_lists_and_what_the_footer_says(ours: Path) -> None:
    schema = pq.read_schema(ours)
    assert schema.field("vector").type == pa.list_(pa.float32(), 2)
    said = schema.metadata
    assert said[b"vex.id_type"] == b"string"
    assert said[b"vex.metric"] == b"cosine"
    assert said[b"vex.model"] == b"m"
    assert b"vex.source" not in said
    assert said[b"vex.version"]


def test_statistics_are_kept_for_columns_that_are_searched_and_not_for_vectors(ours: Path) -> None:
    group = pq.ParquetFile(ours).metadata.row_group(0)
    by_path = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert by_path["namespace"].statistics.max == "n"
    assert not by_path["vector.list.element"].is_stats_set
    assert not by_path["metadata"].is_stats_set
    assert by_path["vector.list.element"].compression == "ZSTD"


def test_what_the_footer_says_comes_back(ours: Path) -> None:
    found = described(ours)
    assert (found.dim, found.rows, found.metric, found.model, found.source_store) == (2, 3, "cosine", "m", None)


@pytest.mark.parametrize("codec", ["zstd", "snappy", "lz4", "none"])
def test_every_compression_gives_the_same_records(tmp_path: Path, codec: str) -> None:
    batch = many(50, namespace=["x" if row % 5 else "y" for row in range(50)])
    save(tmp_path / "a.parquet", batch, compression=codec)
    assert facts([page.batch for page in load(tmp_path / "a.parquet")]) == facts([batch])
    picked = load(tmp_path / "a.parquet", Selection(namespaces=("y",)))
    assert facts([page.batch for page in picked]) == facts([batch.take(pa.array(range(0, 50, 5)))])


def test_row_groups_are_cut_by_bytes(tmp_path: Path) -> None:
    save(tmp_path / "a.parquet", many(40_000, 512))
    meta = pq.ParquetFile(tmp_path / "a.parquet").metadata
    sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
    assert sum(sizes) == 40_000
    assert max(sizes) <= 17_000


def test_an_unknown_option_value_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    for name, value in (("compression", "zip"), ("metadata", "struct"), ("partition-by", "text")):
        with pytest.raises(UsageError, match=f"--{name}"):
            save(tmp_path / "a.parquet", many(1), overwrite=False, metric=None, **{name: value})
    assert names(tmp_path) == []


# -- dimensions and ids -----------------------------------------------------------------------------------------------


def test_the_first_vector_decides_the_dimension_and_earlier_records_wait(tmp_path: Path) -> None:
    without = records.build({"id": ["n1", "n2"]})
    rejects = save(tmp_path / "a.parquet", without, many(2, 3), many(2, 5), records.build({"id": ["n3"]}))
    assert [(reject.code, reject.row) for reject in rejects] == [("dimension", 0), ("dimension", 1)]
    assert "vex adapt" in rejects[0].message
    pages = load(tmp_path / "a.parquet")
    assert [row["id"] for row in rows_of(pages)] == ["n1", "n2", "id0", "id1", "n3"]
    assert described(tmp_path / "a.parquet").dim == 3


def test_a_record_without_a_vector_is_kept_though_others_of_its_batch_have_a_wrong_dimension(tmp_path: Path) -> None:
    vector = records.from_matrix(np.ones((2, 5), np.float32), np.array([True, False]))
    rejects = save(tmp_path / "a.parquet", many(1, 3), records.build({"id": ["wrong", "bare"]}, vector))
    assert [reject.row for reject in rejects] == [0]
    assert [row["id"] for row in rows_of(load(tmp_path / "a.parquet"))] == ["id0", "bare"]


def test_rows_that_are_refused_have_their_numbers_in_the_batch_that_was_given(tmp_path: Path) -> None:
    matrix = np.ones((3, 5), np.float32)
    matrix[0, 1] = np.nan
    rejects = save(tmp_path / "a.parquet", many(1, 3), records.build({"id": ["0", "1", "2"]}, matrix))
    found = sorted((reject.row, reject.code) for reject in rejects)
    assert found == [(0, "vector-not-finite"), (1, "dimension"), (2, "dimension")]


def test_only_records_without_vectors_make_a_file_without_a_dimension(tmp_path: Path) -> None:
    save(tmp_path / "a.parquet", records.build({"id": ["a"]}))
    pages = load(tmp_path / "a.parquet")
    assert records.dim(pages[0].batch) == 0
    assert pl.read_parquet(tmp_path / "a.parquet")["vector"].to_list() == [None]


def test_integer_ids_after_text_ids_keep_what_they_were(tmp_path: Path) -> None:
    other = records.build({"id": ["7"]}, np.ones((1, 4), np.float32), id_type="int")
    save(tmp_path / "a.parquet", many(1), other)
    assert rows_of(load(tmp_path / "a.parquet"))[1]["extra"] == '{"id":7}'


def test_a_further_vector_that_comes_late_is_refused_and_an_absent_one_is_null(tmp_path: Path) -> None:
    title = records.from_matrix(np.ones((1, 2), np.float32))
    first = records.build({"id": ["a"]}, np.ones((1, 4), np.float32), more={"vector:title": title})
    late = records.build({"id": ["c"]}, np.ones((1, 4), np.float32), more={"vector:other": title})
    rejects = save(tmp_path / "a.parquet", first, many(1), late)
    assert [(reject.code, reject.row) for reject in rejects] == [("column", 0)]
    found = pa.Table.from_batches([page.batch for page in load(tmp_path / "a.parquet")])
    assert found.column("vector:title").to_pylist() == [[1.0, 1.0], None]


# -- metadata in columns ----------------------------------------------------------------------------------------------

SPREAD = [
    '{"n":1,"x":1.5,"s":"a","b":true,"deep":{"l":[1,2]}}',
    '{"n":2,"x":2,"s":null,"mix":1}',
    None,
    "{}",
    '{"mix":"two","text":"taken","Text":"too","":0,"n":9223372036854775808}',
    '{"n":3,"n":4}',
    '{ "late" : "key", "float": 1.0, "quote\\"d": "\\u00e9\\ud83d\\ude00" }',
    '{"deep":[{"a":12345678901234567890123}]}',
]


@pytest.fixture
def spread(tmp_path: Path) -> Path:
    batches = [
        records.build({"id": [str(row)], "metadata": [text]}, np.ones((1, 2), np.float32))
        for row, text in enumerate(SPREAD)
    ]
    save(tmp_path / "spread.parquet", *batches, metadata="columns")
    return tmp_path / "spread.parquet"


def test_keys_become_typed_columns_with_names_of_their_own(spread: Path) -> None:
    schema = pq.read_schema(spread)
    kinds = {name: str(schema.field(name).type) for name in schema.names[12:]}
    assert kinds == {
        "n": "double",
        "x": "double",
        "s": "string",
        "b": "bool",
        "deep": "string",
        "mix": "string",
        "metadata.text": "string",
        "metadata.metadata.Text": "string",
        "metadata.": "int64",
        "late": "string",
        "float": "double",
        'quote"d': "string",
    }


def test_columns_are_put_together_to_the_same_metadata(spread: Path) -> None:
    found = [row["metadata"] for row in rows_of(load(spread))]
    assert [json.loads(text) if text else text for text in found] == [json.loads(t) if t else t for t in SPREAD]
    assert found[5] == SPREAD[5]
    assert found[3] == "{}"


def test_other_tools_query_the_columns(spread: Path) -> None:
    found = asked(f"select id, deep->'l'->>1 from '{spread}' where x = 1.5")
    assert found == [("0", "2")]
    assert pl.read_parquet(spread)["late"].to_list().count("key") == 1


def test_a_key_that_only_the_last_record_has_is_a_column_of_all(tmp_path: Path) -> None:
    batches = [many(3000, metadata=['{"a":1}'] * 3000), many(1, metadata=['{"z":true}'])]
    save(tmp_path / "a.parquet", *batches, metadata="columns")
    assert metadata_of(load(tmp_path / "a.parquet"))[-1] == {"z": True}
    assert pq.read_table(tmp_path / "a.parquet", columns=["z"]).column(0).null_count == 3000


def test_integers_are_exact_in_columns(tmp_path: Path) -> None:
    texts = [json.dumps({"i": value}) for value in (-(2**63), 2**63 - 1, 2**53 + 1, 0)]
    save(tmp_path / "a.parquet", many(4, metadata=texts), metadata="columns")
    assert [m["i"] for m in metadata_of(load(tmp_path / "a.parquet"))] == [-(2**63), 2**63 - 1, 2**53 + 1, 0]
    assert pq.read_schema(tmp_path / "a.parquet").field("i").type == pa.int64()


# -- directories ------------------------------------------------------------------------------------------------------

NAMES = ["plain", None, "", "a/b c=%", "123", "ü", "__HIVE_DEFAULT_PARTITION__", "x" * 300, "..", "*?["]


@pytest.fixture
def hive(tmp_path: Path) -> Path:
    save(tmp_path / "hive", many(20, namespace=NAMES * 2), partition_by="namespace")
    return tmp_path / "hive"


def test_a_partitioned_directory_has_a_folder_for_each_namespace(hive: Path) -> None:
    folders = {path.name for path in hive.iterdir()}
    assert {"namespace=plain", "namespace=", "namespace=a%2Fb%20c%3D%25"} < folders
    assert "namespace=__HIVE_DEFAULT_PARTITION__" in folders
    assert len(folders) == len(NAMES)
    assert all(names(hive / name) == ["part-00000.parquet"] for name in folders)


def test_a_partitioned_directory_gives_every_namespace_back(hive: Path) -> None:
    found = {(row["id"], row["namespace"]) for row in rows_of(load(hive))}
    assert found == {(f"id{row}", NAMES[row % 10]) for row in range(20)}


def test_duckdb_and_polars_read_a_partitioned_directory(hive: Path) -> None:
    query = f"select id, namespace from read_parquet('{hive}/**/*.parquet', hive_partitioning = false)"
    expected = {(f"id{row}", NAMES[row % 10]) for row in range(20)}
    assert set(asked(query)) == expected
    assert set(pl.read_parquet(f"{hive}/", hive_partitioning=False).select("id", "namespace").rows()) == expected


def test_other_tools_see_null_and_empty_apart_in_folders(tmp_path: Path) -> None:
    names = [None, "", "a b", "12"]
    save(tmp_path / "h", many(4, namespace=names), partition_by="namespace")
    query = f"select namespace from read_parquet('{tmp_path}/h/**/*.parquet', hive_partitioning = true)"
    assert {row[0] for row in asked(query)} == set(names)
    assert set(pl.read_parquet(f"{tmp_path}/h/")["namespace"].to_list()) == set(names)
    assert len(pd.read_parquet(tmp_path / "h", partitioning=None)) == 4


def test_many_namespaces_make_one_file_each_and_keep_their_order(tmp_path: Path) -> None:
    names = [f"n{row * 7919 % 300}" for row in range(3000)]
    batch = many(3000, namespace=names)
    save(tmp_path / "h", *(batch.slice(at, 100) for at in range(0, 3000, 100)), partition_by="namespace")
    files = sorted((tmp_path / "h").rglob("*.parquet"))
    assert len(files) == 300
    found = pa.Table.from_batches([page.batch for page in load(tmp_path / "h")])
    order = found.column("id").to_pylist()
    assert sorted(order, key=lambda key: int(key[2:])) == [f"id{row}" for row in range(3000)]
    for name in ("n0", "n299"):
        kept = [key for key, of in zip(order, found.column("namespace").to_pylist(), strict=True) if of == name]
        assert kept == [f"id{row}" for row in range(3000) if names[row] == name]
    by_id = dict(zip(order, found.column("vector").to_pylist(), strict=True))
    assert by_id["id2999"] == batch.column("vector")[2999].as_py()


def test_several_columns_make_folders_in_folders(tmp_path: Path) -> None:
    batch = many(4, namespace=["a", "a", None, "b"], model=["m", None, "m", "m"])
    save(tmp_path / "h", batch, partition_by="namespace,model")
    assert (tmp_path / "h/namespace=a/model=m/part-00000.parquet").is_file()
    found = {(row["id"], row["namespace"], row["model"]) for row in rows_of(load(tmp_path / "h"))}
    assert found == {("id0", "a", "m"), ("id1", "a", None), ("id2", None, "m"), ("id3", "b", "m")}


def test_a_target_with_a_slash_is_a_directory_of_parts(tmp_path: Path) -> None:
    save(f"{tmp_path}/out/", many(3))
    assert names(tmp_path / "out") == ["part-00000.parquet"]
    assert len(rows_of(load(f"{tmp_path}/out/*.parquet"))) == 3


def test_a_directory_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        save(f"{tmp_path}/", many(3))
    assert names(tmp_path) == ["notes.txt"]


def test_overwriting_a_directory_removes_old_parts_and_nothing_else(hive: Path) -> None:
    (hive / "namespace=plain" / "notes.txt").write_text("mine")
    save(hive, many(2, namespace=["new", "ü"]), partition_by="namespace", overwrite=True)
    files = {str(path.relative_to(hive)) for path in hive.rglob("*") if path.is_file()}
    assert files == {
        "namespace=new/part-00000.parquet",
        "namespace=%C3%BC/part-00000.parquet",
        "namespace=plain/notes.txt",
    }
    assert {row["id"] for row in rows_of(load(hive))} == {"id0", "id1"}


def test_overwriting_refuses_to_mix_with_parquet_of_others(tmp_path: Path) -> None:
    foreign(tmp_path / "mine.parquet", {"id": ["a", "b"], "vector": PAIR})
    with pytest.raises(UsageError, match=r"mine\.parquet"):
        save(f"{tmp_path}/", many(3), overwrite=True)
    assert names(tmp_path) == ["mine.parquet"]


def test_a_failed_run_leaves_the_directory_as_it_was(hive: Path) -> None:
    before = sorted(str(path) for path in hive.rglob("*"))
    opener = parquet().open_writer
    assert opener is not None
    place = Location("parquet", str(hive), {"partition-by": "namespace"}, overwrite=True)
    with pytest.raises(RuntimeError), opener(place) as sink:  # noqa: PT012 - the exception has to pass the context
        sink.prepare(Description())
        sink.load(many(5, namespace=["new"] * 5))
        raise RuntimeError
    assert sorted(str(path) for path in hive.rglob("*")) == before


def test_a_move_that_fails_puts_the_old_files_back(tmp_path: Path) -> None:
    save(tmp_path / "h", many(2, namespace=["a", "b"]), partition_by="namespace")
    # A file where a folder has to be made stops the move half-way.
    (tmp_path / "h" / "namespace=c").write_text("in the way")
    with pytest.raises(Exception, match="namespace=c"):
        save(tmp_path / "h", many(3, namespace=["a", "b", "c"]), partition_by="namespace", overwrite=True)
    assert names(tmp_path / "h") == ["namespace=a", "namespace=b", "namespace=c"]
    (tmp_path / "h" / "namespace=c").unlink()
    assert sorted(row["id"] for row in rows_of(load(tmp_path / "h"))) == ["id0", "id1"]


def test_a_directory_without_data_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "_SUCCESS").write_text("")
    with pytest.raises(NotFound):
        load(tmp_path)


def test_remote_directories_are_uploaded_whole() -> None:
    target = f"memory://{uuid.uuid4().hex}/out"
    save(target + "/", many(4, namespace=["a", None, "", "a"]), partition_by="namespace")
    found = {(row["id"], row["namespace"]) for row in rows_of(load(target + "/"))}
    assert found == {("id0", "a"), ("id1", None), ("id2", ""), ("id3", "a")}
    save(target + "/", many(1, namespace=["z"]), partition_by="namespace", overwrite=True)
    assert [row["namespace"] for row in rows_of(load(target + "/"))] == ["z"]


def test_a_remote_file_is_read_in_ranges() -> None:
    target = f"memory://{uuid.uuid4().hex}.parquet"
    batch = many(300, namespace=["a" if row % 10 else "b" for row in range(300)])
    save(target, batch)
    assert facts([page.batch for page in load(target)]) == facts([batch])
    picked = load(target, Selection(namespaces=("b",)))
    assert facts([page.batch for page in picked]) == facts([batch.take(pa.array(range(0, 300, 10)))])


# -- selections and pages ---------------------------------------------------------------------------------------------


def grouped(path: Path, batch: pa.RecordBatch, size: int) -> Path:
    """A file of ours with small row groups, in which a selection can skip some."""
    save(path, batch)
    whole = pq.ParquetFile(path)
    pq.write_table(whole.read(), path, row_group_size=size, use_dictionary=False, compression="zstd")
    return path


@pytest.mark.parametrize("wanted", [("a",), (None,), ("",), ("", None), ("z",), ("a", "b", "")])
@pytest.mark.parametrize("clustered", [True, False], ids=["clustered", "mixed"])
def test_namespaces_are_selected_and_all_rows_are_counted(
    tmp_path: Path, wanted: tuple[str | None, ...], clustered: bool
) -> None:
    names: list[str | None] = ["a", "b", None, ""]
    of = [names[row // 50] if clustered else names[row % 4] for row in range(200)]
    path = grouped(tmp_path / "a.parquet", many(200, namespace=of), 25)
    pages = load(path, Selection(namespaces=wanted), rows=10)
    assert [row["id"] for row in rows_of(pages)] == [f"id{row}" for row in range(200) if of[row] in wanted]
    assert counted(pages) == 200
    assert vectors_of(pages) == [
        vector for vector, name in zip(many(200).column("vector").to_pylist(), of, strict=True) if name in wanted
    ]


def test_row_groups_that_statistics_exclude_are_not_read(tmp_path: Path) -> None:
    of = ["a" if row < 100 else "b" for row in range(200)]
    path = grouped(tmp_path / "a.parquet", many(200, namespace=of), 100)
    first = pq.ParquetFile(path).metadata.row_group(0).column(0)
    raw = bytearray(path.read_bytes())
    start = first.data_page_offset
    raw[start : start + first.total_compressed_size] = b"\xff" * first.total_compressed_size
    path.write_bytes(raw)
    assert len(rows_of(load(path, Selection(namespaces=("b",))))) == 100
    with pytest.raises(DataError):
        load(path)


def test_vectors_are_not_read_where_no_record_is_wanted(tmp_path: Path) -> None:
    save(tmp_path / "a.parquet", many(200))
    path = tmp_path / "a.parquet"
    group = pq.ParquetFile(path).metadata.row_group(0)
    vector = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema.startswith("vector"))
    raw = bytearray(path.read_bytes())
    raw[vector.data_page_offset : vector.data_page_offset + 200] = b"\xff" * 200
    path.write_bytes(raw)
    pages = load(path, Selection(where="id = 'nobody'"))
    assert (rows_of(pages), counted(pages)) == ([], 200)
    with pytest.raises(DataError):
        load(path, Selection(where="id = 'id7'"))


@pytest.mark.parametrize("where", ["dims = 4 and id < 'id2'", "vector[1] > 0", "id in ('id1', 'id77')"])
def test_conditions_give_the_same_records_as_reading_all(tmp_path: Path, where: str) -> None:
    path = grouped(tmp_path / "a.parquet", many(200), 60)
    condition = Selection(where=where).mask(many(200))
    assert condition is not None
    pages = load(path, Selection(where=where), rows=7)
    assert facts([page.batch for page in pages]) == facts([many(200).take(pa.array(np.flatnonzero(condition)))])
    assert counted(pages) == 200
    assert max(page.batch.num_rows for page in pages) <= 7


@pytest.mark.parametrize("nulls", [False, True], ids=["all vectors", "some null"])
@pytest.mark.parametrize("dim", [1, 384, 300_000])
def test_single_vectors_are_picked_from_pages_bit_by_bit(tmp_path: Path, dim: int, nulls: bool) -> None:
    rows = 6 if dim > 1000 else 3000
    matrix = np.random.default_rng(3).standard_normal((rows, dim)).astype(np.float32)
    valid = np.arange(rows) % 3 != 1 if nulls else None
    batch = records.build({"id": [str(row) for row in range(rows)]}, records.from_matrix(matrix, valid))
    save(tmp_path / "a.parquet", batch)
    chosen = [row for row in range(rows) if row % 11 == 4 or row in (0, rows - 1)]
    listed = ",".join(f"'{row}'" for row in chosen)
    pages = load(tmp_path / "a.parquet", Selection(where=f"id in ({listed})"))
    assert facts([page.batch for page in pages]) == facts([batch.take(pa.array(chosen))])


@pytest.mark.parametrize("selection", [EVERYTHING, Selection(namespaces=("a",)), Selection(where="vector[1] > 0")])
def test_reading_goes_on_after_every_page(tmp_path: Path, selection: Selection) -> None:
    """Mixed dimensions, rejects and row groups that are skipped among them."""
    rows = 60
    vectors = [None if row % 13 == 5 else [float(row)] * (2 + row % 2) for row in range(rows)]
    vectors[7] = []
    columns = {
        "id": [str(row) for row in range(rows)],
        "vector": pa.array(vectors, pa.list_(pa.float64())),
        "namespace": ["b" if 20 <= row < 40 else "ab"[row % 2] for row in range(rows)],
    }
    path = foreign(tmp_path / "f.parquet", columns, row_group_size=20)
    opener = parquet().open_reader
    assert opener is not None
    with opener(Location("parquet", str(path)), selection) as source:
        (part,) = source.partitions(1)
        whole = list(source.extract(part, rows=3))
        for number, page in enumerate(whole):
            rest = list(source.extract(part, rows=3, after=page.cursor))
            assert [(p.cursor, p.skipped, len(p.rejects)) for p in rest] == [
                (p.cursor, p.skipped, len(p.rejects)) for p in whole[number + 1 :]
            ]
            assert all(a.batch.equals(b.batch) for a, b in zip(rest, whole[number + 1 :], strict=True))
    assert counted(whole) == rows


def test_a_large_file_is_divided_by_row_groups(tmp_path: Path) -> None:
    path = grouped(tmp_path / "a.parquet", many(100), 10)
    opener = parquet().open_reader
    assert opener is not None
    with opener(Location("parquet", str(path)), EVERYTHING) as source:
        parts = source.partitions(4)
        assert [part.rows for part in parts] == [20, 30, 20, 30]
        found = [row["id"] for part in parts for row in rows_of(list(source.extract(part, rows=100)))]
    assert found == [f"id{row}" for row in range(100)]


# -- foreign files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float64()),
        pa.list_(pa.float32()),
        pa.list_(pa.float16()),
        pa.large_list(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float16(), 2),
        pa.list_(pa.float32(), 2),
        pa.list_(pa.float64(), 2),
    ],
    ids=str,
)
def test_every_kind_of_float_list_is_a_vector(tmp_path: Path, kind: pa.DataType) -> None:
    values = [[1.5, -0.0], None, [0.1, 2.0]]
    path = foreign(tmp_path / "f.parquet", {"id": ["a", "b", "c"], "v": pa.array(values, kind)})
    pages = load(path)
    expected = pa.array(values, kind).cast(pa.list_(pa.float32(), 2) if kind != pa.list_(pa.float32(), 2) else kind)
    assert vectors_of(pages) == expected.to_pylist()
    assert described(path).dim == 2


def test_raw_bytes_are_vectors_when_they_are_chosen(tmp_path: Path) -> None:
    good = np.array([1.0, 2.0], "<f4").tobytes()
    path = foreign(tmp_path / "f.parquet", {"id": ["a", "b", "c"], "blob": [good, b"123", good]})
    with pytest.raises(SchemaError, match="vector-column"):
        load(path)
    pages = load(path, vector_column="blob")
    assert vectors_of(pages) == [[1.0, 2.0], [1.0, 2.0]]
    assert codes_of(pages) == [("vector-bytes", "b")]


def test_integer_lists_are_vectors_when_they_are_chosen(tmp_path: Path) -> None:
    path = foreign(tmp_path / "f.parquet", {"id": ["a"], "q": pa.array([[1, -128]], pa.list_(pa.int8()))})
    assert vectors_of(load(path, vector_column="q")) == [[1.0, -128.0]]


def test_vectors_of_different_lengths_come_in_batches_of_one_dimension(tmp_path: Path) -> None:
    values = [[1.0], [1.0, 2.0], None, [3.0], [3.0, 4.0]]
    path = foreign(tmp_path / "f.parquet", {"id": list("abcde"), "vector": pa.array(values, pa.list_(pa.float64()))})
    pages = load(path)
    assert [records.dim(page.batch) for page in pages] == [1, 2]
    assert [page.batch.column("id").to_pylist() for page in pages] == [["a", "c", "d"], ["b", "e"]]


@pytest.mark.parametrize(
    ("value", "code", "written"),
    [
        ([1.0, 1e300], "vector-overflow", "1e+300"),
        ([1.0, float("nan")], "vector-not-finite", "NaN"),
        ([float("-inf"), 1.0], "vector-not-finite", "-Infinity"),
        ([1.0, None], "vector-null", "null"),
    ],
)
@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float64()), pa.list_(pa.float64(), 2), pa.large_list(pa.float64())], ids=str
)
def test_a_vector_that_cannot_be_read_is_a_reject_with_all_of_its_record(
    tmp_path: Path, value: list[float | None], code: str, written: str, kind: pa.DataType
) -> None:
    vectors = pa.array([[1.0, 2.0], value, [3.0, 4.0]], kind)
    path = foreign(
        tmp_path / "f.parquet", {"id": [1, 2, 3], "vector": vectors, "text": ["x", "y", "z"], "k": list("abc")}
    )
    pages = load(path)
    assert [row["id"] for row in rows_of(pages)] == ["1", "3"]
    (reject,) = [reject for page in pages for reject in page.rejects]
    assert (reject.code, reject.id, reject.file) == (code, "2", str(path))
    assert "row 2" in reject.message
    assert reject.record is not None
    assert reject.record.startswith(b'{"id":2,"text":"y","vector":[')
    assert written.encode() in reject.record
    assert b'"metadata":{"k":"b"}' in reject.record


def test_an_empty_vector_is_a_reject(tmp_path: Path) -> None:
    vectors = pa.array([[], [1.0]], pa.list_(pa.float64()))
    pages = load(foreign(tmp_path / "f.parquet", {"id": ["a", "b"], "vector": vectors}))
    assert codes_of(pages) == [("empty-vector", "a")]
    assert b'"vector":[]' in (pages[0].rejects[0].record or b"")
    assert vectors_of(pages) == [[1.0]]


def test_double_is_rounded_to_the_nearest_float32(tmp_path: Path) -> None:
    vectors = pa.array([[0.1, 3.4028235e38, 1e-46]], pa.list_(pa.float64()))
    path = foreign(tmp_path / "f.parquet", {"id": ["a"], "vector": vectors})
    assert vectors_of(load(path)) == [[float(np.float32(0.1)), float(np.finfo(np.float32).max), 0.0]]


def test_a_null_id_is_a_reject(tmp_path: Path) -> None:
    path = foreign(tmp_path / "f.parquet", {"id": ["a", None], "vector": PAIR})
    pages = load(path)
    assert [row["id"] for row in rows_of(pages)] == ["a"]
    assert codes_of(pages) == [("missing-id", None)]
    assert pages[0].rejects[0].record is not None
    assert pages[0].rejects[0].record.startswith(b'{"id":null,')


def test_without_a_vector_column_the_error_names_the_columns(tmp_path: Path) -> None:
    path = foreign(tmp_path / "f.parquet", {"id": ["a"], "tags": [["x"]]})
    with pytest.raises(SchemaError, match=r"no column holds vectors.*id \(string\), tags"):
        load(path)


def test_several_vector_columns_have_to_be_chosen_from(tmp_path: Path) -> None:
    path = foreign(tmp_path / "f.parquet", {"id": ["a", "b"], "title_vector": PAIR, "content_vector": PAIR})
    with pytest.raises(SchemaError, match="title_vector, content_vector; --vector-column"):
        load(path)
    (page,) = load(path, vector_column="content_vector")
    assert page.batch.schema.names[-1] == "vector:title_vector"
    assert page.batch.column("vector:title_vector").to_pylist() == PAIR.to_pylist()


def test_a_column_of_a_well_known_name_is_preferred(tmp_path: Path) -> None:
    path = foreign(tmp_path / "f.parquet", {"id": ["a", "b"], "prices": PAIR, "embedding": PAIR})
    pages = load(path)
    assert metadata_of(pages) == [{"prices": [1.0, 2.0]}, {"prices": [3.0, 4.0]}]


def test_without_ids_the_error_names_the_option(tmp_path: Path) -> None:
    path = foreign(tmp_path / "f.parquet", {"name": ["a", "b"], "vector": PAIR})
    with pytest.raises(SchemaError, match="--id-column"):
        load(path)
    assert [row["id"] for row in rows_of(load(path, id_column="name"))] == ["a", "b"]
    with pytest.raises(SchemaError, match="no such column"):
        load(path, id_column="nobody")


def test_integer_and_uuid_ids_are_known_as_such(tmp_path: Path) -> None:
    number = foreign(tmp_path / "i.parquet", {"_id": pa.array([2**64 - 1, 0], pa.uint64()), "vector": PAIR})
    assert described(number).id_type == "int"
    assert [row["id"] for row in rows_of(load(number))] == ["18446744073709551615", "0"]
    one = uuid.UUID("12345678-1234-5678-1234-567812345678")
    other = foreign(tmp_path / "u.parquet", {"id": pa.array([one.bytes, None], pa.uuid()), "vector": PAIR})
    assert described(other).id_type == "uuid"
    assert [row["id"] for row in rows_of(load(other))] == [str(one)]


def test_texts_are_found_by_name_or_option(tmp_path: Path) -> None:
    path = foreign(
        tmp_path / "f.parquet", {"id": ["a", "b"], "vector": PAIR, "document": ["x", "y"], "note": ["n", "m"]}
    )
    assert [row["text"] for row in rows_of(load(path))] == ["x", "y"]
    pages = load(path, text_column="note")
    assert [row["text"] for row in rows_of(pages)] == ["n", "m"]
    assert metadata_of(pages) == [{"document": "x"}, {"document": "y"}]


def test_other_columns_become_typed_members_of_the_metadata(tmp_path: Path) -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 600000)  # noqa: DTZ001 - a column without a zone is tested
    columns = {
        "id": ["a", "b"],
        "vector": PAIR,
        "int": pa.array([2**63 - 1, None], pa.int64()),
        "unsigned": pa.array([2**64 - 1, 0], pa.uint64()),
        "double": [0.1, 1.0],
        "single": pa.array([0.1, 2.0], pa.float32()),
        "nan": [float("nan"), float("inf")],
        "flag": [True, None],
        "words": ['say "hi"\n\\', "ünï😀"],
        "many": pa.array([["x", None], []], pa.list_(pa.string())),
        "deep": [{"a": 1, "b": [{"c": "d"}]}, {"a": None, "b": None}],
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        "price": pa.array([decimal.Decimal("1.50"), None]),
        "raw": pa.array([b"\x00\xff", None]),
        "when": pa.array([moment, None], pa.timestamp("us", "Europe/Berlin")),
        "naive": pa.array([moment, None], pa.timestamp("ms")),
        "day": pa.array([moment.date(), None]),
        "kind": pa.array(["p", "q"]).dictionary_encode(),
        "nothing": pa.nulls(2),
    }
    first, second = metadata_of(load(foreign(tmp_path / "f.parquet", columns)))
    assert first == {
        "int": 2**63 - 1,
        "unsigned": 2**64 - 1,
        "double": 0.1,
        "single": 0.1,
        "flag": True,
        "words": 'say "hi"\n\\',
        "many": ["x", None],
        "deep": {"a": 1, "b": [{"c": "d"}]},
        "map": {"k": 1},
        "price": "1.50",
        "raw": "AP8=",
        "when": "2026-01-02T03:04:05.600000Z",
        "naive": "2026-01-02T03:04:05.600",
        "day": "2026-01-02",
        "kind": "p",
    }
    assert second["nan"] == "Infinity"
    assert set(second) == {"unsigned", "double", "single", "nan", "words", "many", "deep", "kind"}
    assert isinstance(second["double"], float)


def test_columns_with_the_name_and_type_of_a_field_are_that_field(tmp_path: Path) -> None:
    columns = {
        "id": ["a", "b"],
        "vector": PAIR,
        "model": ["m", None],
        "namespace": pa.array(["n", ""]).dictionary_encode(),
        "score": pa.array([1, 2], pa.int32()),
        "created_at": pa.array([1_700_000_000, 1_700_000_000_123], pa.int64()),
        "modality": pa.array([1, 2]),
    }
    pages = load(foreign(tmp_path / "f.parquet", columns))
    first, second = rows_of(pages)
    assert (first["model"], second["namespace"], second["score"]) == ("m", "", 2.0)
    assert first["created_at"].isoformat() == "2023-11-14T22:13:20+00:00"
    assert second["created_at"].isoformat() == "2023-11-14T22:13:20.123000+00:00"
    assert [row["modality"] for row in (first, second)] == ["text", "text"]
    assert metadata_of(pages) == [{"modality": 1}, {"modality": 2}]


def test_times_that_a_timestamp_cannot_hold_stay_verbatim(tmp_path: Path) -> None:
    texts = foreign(tmp_path / "t.parquet", {"id": ["a", "b"], "vector": PAIR, "created_at": ["2026-01-02", "soon"]})
    first, second = rows_of(load(texts))
    assert first["created_at"].isoformat() == "2026-01-02T00:00:00+00:00"
    assert (second["created_at"], second["extra"]) == (None, '{"created_at":"soon"}')
    nanos = pa.array([1_700_000_000_000_000_001, 1_700_000_000_000_000_000], pa.timestamp("ns"))
    fine = foreign(tmp_path / "n.parquet", {"id": ["a", "b"], "vector": PAIR, "created_at": nanos})
    first, second = rows_of(load(fine))
    assert first["extra"] == '{"created_at":"2023-11-14T22:13:20.000000001"}'
    assert second["extra"] is None


def test_dims_that_lie_are_kept_and_true_ones_need_not_be(tmp_path: Path) -> None:
    path = foreign(tmp_path / "f.parquet", {"id": ["a", "b"], "vector": PAIR, "dims": [2, 7]})
    assert [row["extra"] for row in rows_of(load(path))] == [None, '{"dims":7}']


def test_a_metadata_column_joins_the_other_columns(tmp_path: Path) -> None:
    columns = {
        "id": ["a", "b", "c", "d"],
        "vector": pa.array([[1.0]] * 4, pa.list_(pa.float32())),
        "metadata": ['{"k": 1.0, "year": 1}', "no json", None, "{}"],
        "year": [2, 3, 4, 5],
    }
    pages = load(foreign(tmp_path / "f.parquet", columns))
    assert rows_of(pages)[0]["metadata"] == '{"k": 1.0, "year": 1,"column.year":2}'
    assert metadata_of(pages)[1:] == [{"metadata": "no json", "year": 3}, {"year": 4}, {"year": 5}]


def test_a_struct_named_metadata_is_the_metadata(tmp_path: Path) -> None:
    columns = {"id": ["a", "b"], "vector": PAIR, "metadata": pa.array([{"k": 1}, None])}
    assert metadata_of(load(foreign(tmp_path / "f.parquet", columns))) == [{"k": 1}, None]


def test_names_with_dots_are_columns_like_others(tmp_path: Path) -> None:
    columns = {"id": ["a", "b"], "vector": PAIR, "a.b": [1, 2], "a": pa.array([{"b": 3}, {"b": 4}])}
    assert metadata_of(load(foreign(tmp_path / "f.parquet", columns))) == [
        {"a.b": 1, "a": {"b": 3}},
        {"a.b": 2, "a": {"b": 4}},
    ]


def test_hive_folders_of_others_give_namespaces_and_metadata(tmp_path: Path) -> None:
    for folder in ("namespace=a%2Fb/year=2020", "namespace=__HIVE_DEFAULT_PARTITION__/year=2021", "namespace=/year=x"):
        (tmp_path / folder).mkdir(parents=True)
        foreign(tmp_path / folder / "0.parquet", {"id": [folder, folder + "2"], "vector": PAIR})
    pages = load(tmp_path)
    found = {(row["namespace"], row["metadata"]) for row in rows_of(pages)}
    assert found == {("a/b", '{"year":"2020"}'), (None, '{"year":"2021"}'), ("", '{"year":"x"}')}
    for wanted in ("a/b", None, ""):
        chosen = load(tmp_path, Selection(namespaces=(wanted,)))
        assert [row["namespace"] for row in rows_of(chosen)] == [wanted, wanted]
        assert counted(chosen) == 6


def test_files_of_pandas_polars_and_duckdb_are_read(tmp_path: Path) -> None:
    pd.DataFrame({"id": [1, 2], "embedding": [[1.0, 2.0], [3.0, 4.0]], "n": [1, 2]}).to_parquet(tmp_path / "pd.parquet")
    frame = pl.DataFrame(
        {"id": ["a", "b"], "v": [[1.0, 2.0], [3.0, 4.0]]}, schema={"id": pl.String, "v": pl.Array(pl.Float64, 2)}
    )
    frame.write_parquet(tmp_path / "pl.parquet")
    duckdb.sql(
        f"copy (select uuid() as id, [1.5, 2.5]::float[2] as v, {{'a': 1}} as s, '{{\"j\":1}}'::json as metadata) "
        f"to '{tmp_path}/duck.parquet' (format parquet)"
    )
    assert vectors_of(load(tmp_path / "pd.parquet")) == [[1.0, 2.0], [3.0, 4.0]]
    assert vectors_of(load(tmp_path / "pl.parquet")) == [[1.0, 2.0], [3.0, 4.0]]
    pages = load(tmp_path / "duck.parquet")
    assert vectors_of(pages) == [[1.5, 2.5]]
    assert metadata_of(pages) == [{"j": 1, "s": {"a": 1}}]
    assert described(tmp_path / "duck.parquet").id_type == "uuid"


def test_our_records_survive_duckdb(ours: Path, tmp_path: Path) -> None:
    duckdb.sql(f"copy (from '{ours}') to '{tmp_path}/again.parquet' (format parquet)")
    assert facts([p.batch for p in load(tmp_path / "again.parquet")]) == facts([p.batch for p in load(ours)])


# -- faults -----------------------------------------------------------------------------------------------------------


def test_a_file_without_records_has_none(tmp_path: Path) -> None:
    path = foreign(tmp_path / "f.parquet", {"id": pa.array([], pa.string()), "vector": PAIR.slice(0, 0)})
    assert rows_of(load(path)) == []
    assert described(path).rows == 0


@pytest.mark.parametrize("cut", [0, 3, 100, -20, -4])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, cut: int) -> None:
    save(tmp_path / "a.parquet", many(100))
    raw = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(raw[:cut])
    with pytest.raises(DataError, match=r"a\.parquet"):
        load(tmp_path / "a.parquet")


@pytest.mark.parametrize("selection", [EVERYTHING, Selection(where="id < 'id2'")])
def test_corrupt_pages_are_an_error_that_names_the_file(tmp_path: Path, selection: Selection) -> None:
    save(tmp_path / "a.parquet", many(1000, 64))
    raw = bytearray((tmp_path / "a.parquet").read_bytes())
    group = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0)
    vector = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema.startswith("vector"))
    start = vector.data_page_offset
    raw[start + 60 : start + 5000] = bytes(4940)
    (tmp_path / "a.parquet").write_bytes(raw)
    with pytest.raises(DataError, match=r"a\.parquet"):
        load(tmp_path / "a.parquet", selection)


def test_the_standard_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="footer"):
        load("-")
