"""The VEKTOR connector on databases as its tools make them, and as they come in the wild."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vexarrow import plugins, records
from vexarrow.errors import AccessError, DataError, NotFound, SchemaError, Unsupported, UsageError
from vexarrow.location import Location
from vexarrow.protocols import Connector, Description, Page, Partition, Reject, Sink, Source
from vexarrow.selection import Selection

DATA = Path(__file__).parents[1] / "data" / "slipstream-memory.db"

A = """CREATE TABLE memories (
    id TEXT, agent_id TEXT, content TEXT, summary TEXT, importance INT, tags TEXT, namespace TEXT, pinned INT,
    created_at NUM, updated_at NUM, vector BLOB, edge_type TEXT, potential TEXT)"""
B = """CREATE TABLE memories (
    id TEXT PRIMARY KEY, content TEXT, embedding BLOB, metadata TEXT, created_at TEXT, namespace TEXT)"""
C = """CREATE TABLE memories (
    id INTEGER PRIMARY KEY AUTOINCREMENT, agent_id TEXT NOT NULL DEFAULT 'default', content TEXT NOT NULL,
    edge_type TEXT DEFAULT 'semantic', tags TEXT DEFAULT '', importance REAL DEFAULT 1.0, vector BLOB,
    created_at INTEGER DEFAULT (strftime('%s', 'now')), updated_at INTEGER DEFAULT (strftime('%s', 'now')))"""
SCHEMAS = {"A": A, "B": B, "C": C}


def vektor() -> Connector:
    found = plugins.connector("vektor")
    assert found is not None
    return found


def location(path: Path | str, **options: str) -> Location:
    return Location("vektor", str(path), options, store=True)


@contextmanager
def opened(path: Path | str, selection: Selection | None = None, **options: str) -> Iterator[Source]:
    source = vektor().source
    assert source is not None
    with source(location(path, **options), selection or Selection()) as reader:
        yield reader


@contextmanager
def loading(path: Path | str, id_type: str = "string", **options: str) -> Iterator[Sink]:
    sink = vektor().sink
    assert sink is not None
    with sink(location(path, **options)) as writer:
        writer.prepare(Description(id_type=id_type))
        yield writer


def pages(path: Path, rows: int = 100, selection: Selection | None = None) -> list[Page]:
    with opened(path, selection) as source:
        return list(source.extract(source.partitions(1)[0], rows=rows))


def contents(path: Path, rows: int = 100, selection: Selection | None = None) -> list[dict[str, Any]]:
    """Every record as a dictionary, vectors as bytes, sorted by id."""
    found = [record for page in pages(path, rows, selection) for record in listed(page.batch)]
    return sorted(found, key=lambda record: str(record["id"]))


def listed(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    matrix, present = records.matrix(batch.column("vector")), records.present(batch.column("vector"))
    plain = records.plain(batch.drop_columns("vector")).to_pylist()
    kind = records.id_type(batch.schema)
    vectors = [row.tobytes() if there else None for row, there in zip(matrix, present, strict=True)]
    return [record | {"vector": vector, "kind": kind} for record, vector in zip(plain, vectors, strict=True)]


def copy(source: Path, target: Path, **options: str) -> list[Reject]:
    with opened(source) as reader, loading(target, reader.describe().id_type, **options) as writer:
        parts = reader.partitions(1)
        refused = [one for part in parts for page in reader.extract(part, rows=50) for one in writer.load(page.batch)]
        writer.finish()
    return refused


def load(path: Path, *batches: pa.RecordBatch, **options: str) -> list[Reject]:
    with loading(path, records.id_type(batches[0].schema), **options) as writer:
        refused = [reject for batch in batches for reject in writer.load(batch)]
        writer.finish()
    return refused


def batch(ids: Sequence[str], id_type: str = "string", dim: int = 2, **columns: Any) -> pa.RecordBatch:
    vectors = np.arange(len(ids) * dim, dtype=np.float32).reshape(len(ids), dim) if dim else None
    columns = {"text": [f"text of {one}" for one in ids], "modality": ["text"] * len(ids)} | columns
    return records.build({"id": ids, "vex_version": ["1.0.0"] * len(ids), **columns}, vectors, id_type=id_type)


def database(path: Path, *statements: str, rows: Sequence[Mapping[str, Any]] = (), table: str = "memories") -> Path:
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.executescript(statement)
        for row in rows:
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
    return path


def query(path: Path, sql: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql, values).fetchall()


def blob(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def made(path: Path, schema: str) -> Path:
    """A database of that schema with the kinds of rows that are found in it."""
    if schema == "A":
        rows: list[dict[str, Any]] = [
            {"id": "a", "agent_id": "me", "content": "one", "importance": 3, "tags": "x,y", "namespace": "n"},
            {
                "id": "b",
                "agent_id": "me",
                "content": "",
                "importance": 2.5,
                "potential": '["p"]',
                "namespace": "",
                "pinned": 1,
            },
            {
                "id": "c",
                "agent_id": "",
                "content": None,
                "importance": "high",
                "summary": "s\u2028é",
                "edge_type": "semantic",
            },
        ]
        for at, row in enumerate(rows):
            row |= {"vector": blob(at, 0.1), "created_at": (1736937900, 1736937900.25, None)[at], "updated_at": 5}
        return database(path, A, rows=rows)
    if schema == "B":
        rows = [
            {"id": "a", "metadata": '{"tags":["x","y"],"importance":1.0}', "created_at": "2025-01-15T10:45:00.000Z"},
            {"id": "b", "metadata": '{ "b" : 1,"a":{"c":null}}', "created_at": "2025-01-15T10:45:00.123456Z"},
            {"id": "c", "metadata": None, "created_at": None, "namespace": "n"},
        ]
        return database(path, B, rows=[row | {"content": "text", "embedding": blob(1, 2)} for row in rows])
    rows = [
        {"id": 1, "content": "one", "agent_id": "me", "importance": 1, "tags": "x", "created_at": 1736937900},
        {"id": 2**60, "content": "two", "importance": 0.1, "created_at": None, "updated_at": None},
        {"id": -7, "content": "", "created_at": 0},
    ]
    return database(path, C, rows=[row | {"vector": blob(1, 2)} for row in rows])


# -- round trips ------------------------------------------------------------------------------------------------------


def test_the_real_database_comes_back_row_by_row(tmp_path: Path) -> None:
    target = tmp_path / "new.db"
    assert copy(DATA, target) == []
    assert contents(target) == contents(DATA)
    columns = "id, agent_id, content, summary, importance, tags, namespace, pinned, created_at, updated_at, vector"
    sql = f"SELECT {columns}, edge_type, potential, typeof(importance) FROM memories ORDER BY rowid"
    assert query(target, sql) == query(DATA, sql)


def test_nothing_that_the_npm_tool_drops_is_dropped() -> None:
    record = next(record for record in contents(DATA) if record["id"] == "dphys-swapfile")
    metadata = json.loads(record["metadata"])
    assert (metadata["importance"], metadata["agent_id"], record["namespace"]) == (2, "vektor-mcp", "admin")
    assert metadata["tags"] == "implemented-in::shell,interface::commandline,role::program"


@pytest.mark.parametrize("source", SCHEMAS)
@pytest.mark.parametrize("target", [*SCHEMAS, "new"])
def test_records_of_any_schema_survive_in_any_other_and_twice_equals_once(
    tmp_path: Path, source: str, target: str
) -> None:
    origin, place = made(tmp_path / "from.db", source), tmp_path / "to.db"
    if target != "new":
        database(place, SCHEMAS[target])
    for _ in range(2):
        refused = copy(origin, place)
        if target == "C" and source != "C":
            assert [reject.code for reject in refused] == ["id-type"] * 3
        else:
            assert refused == []
            # An integer in a table of text ids is marked in `extra`; otherwise all is the same.
            marked = [
                record | ({"kind": "string", "extra": f'{{"id":{record["id"]}}}'} if record["kind"] == "int" else {})
                for record in contents(origin)
            ]
            assert contents(place) == (contents(origin) if target in (source, "C", "new") else marked)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_rows_come_back_into_an_empty_database_of_their_schema_exactly(tmp_path: Path, schema: str) -> None:
    origin, place = made(tmp_path / "from.db", schema), database(tmp_path / "to.db", SCHEMAS[schema])
    copy(origin, place)
    columns = [name for (name,) in query(origin, "SELECT name FROM pragma_table_info('memories')")]
    sql = f"SELECT {', '.join(f'{c}, typeof({c})' for c in columns)} FROM memories ORDER BY id"
    assert query(place, sql) == query(origin, sql)


def test_integers_and_reals_of_a_column_keep_their_kind(tmp_path: Path) -> None:
    table = "CREATE TABLE memories (id TEXT, content TEXT, vector BLOB, a NUM, b REAL, c, d)"
    row = {"id": "x", "content": "t", "a": 7, "b": 7.0, "c": 7.0, "d": b"\0\xff"}
    origin = database(tmp_path / "a.db", table, rows=[row])
    (record,) = contents(origin)
    assert record["metadata"] == '{"a":7,"b":7.0,"c":7.0,"d":{"$base64":"AP8="}}'
    place = database(tmp_path / "b.db", table)
    assert copy(origin, place) == []
    sql = "SELECT a, typeof(a), b, typeof(b), c, typeof(c), d FROM memories"
    assert query(place, sql) == query(origin, sql) == [(7, "integer", 7.0, "real", 7.0, "real", b"\0\xff")]


def test_a_new_database_has_what_the_npm_tool_looks_for_in_its_columns(tmp_path: Path) -> None:
    metadata = '{"tags":["x","y"],"importance":4,"potential":["p","q"],"other":1.50}'
    when = pa.array([1736937900_000000], pa.int64()).cast(records.TIMESTAMP)
    whole = batch(["a"], namespace=["n"], metadata=[metadata], created_at=when, model=["m"], score=[0.5])
    assert load(tmp_path / "new.db", whole) == []
    sql = "SELECT id, content, namespace, agent_id, tags, importance, potential, created_at, vector FROM memories"
    row = ("a", "text of a", "n", "vektor-mcp", "x,y", 4, '["p","q"]', 1736937900, blob(0, 1))
    assert query(tmp_path / "new.db", sql) == [row]
    (record,) = contents(tmp_path / "new.db")
    assert (record["metadata"], record["model"], record["score"]) == (metadata, "m", 0.5)


def test_agent_id_fills_the_column_and_not_the_record(tmp_path: Path) -> None:
    load(tmp_path / "new.db", batch(["a"]), batch(["b"], metadata=['{"agent_id":"own"}']), **{"agent-id": "mine"})
    assert query(tmp_path / "new.db", "SELECT agent_id FROM memories ORDER BY id") == [("mine",), ("own",)]
    assert [record["metadata"] for record in contents(tmp_path / "new.db")] == [None, '{"agent_id":"own"}']


def test_a_column_that_vektor_changed_after_loading_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    load(path, batch(["a"], metadata=['{"tags":["x"],"n":1.50,"importance":1}']))
    database(path, "UPDATE memories SET tags = 'x,y', importance = NULL, pinned = 1")
    assert contents(path)[0]["metadata"] == '{"tags":"x,y","n":1.50,"pinned":1}'


def test_a_column_beside_somebody_elses_metadata_is_kept_too(tmp_path: Path) -> None:
    table = "CREATE TABLE memories (id TEXT, content TEXT, vector BLOB, metadata TEXT, tags TEXT, importance INT)"
    row = {"id": "a", "content": "t", "metadata": '{"tags": ["b"]}', "tags": "other", "importance": 3}
    (record,) = contents(database(tmp_path / "a.db", table, rows=[row]))
    assert record["metadata"] == '{"tags": ["b"],"importance":3}'
    assert record["extra"] == '{"vektor":{"tags":"other"}}'
    copy(tmp_path / "a.db", tmp_path / "b.db")
    assert contents(tmp_path / "b.db") == [record]


@pytest.mark.parametrize("text", ["not json", "[1, 2]", "null", '{"a": NaN}', '"x"'])
def test_a_metadata_column_that_is_no_object_is_kept_as_a_member(tmp_path: Path, text: str) -> None:
    path = database(tmp_path / "a.db", B, rows=[{"id": "a", "content": "t", "metadata": text}])
    kept = json.loads(contents(path)[0]["metadata"])
    valid = text in ("[1, 2]", "null", '"x"')
    assert kept == {"metadata": json.loads(text) if valid else text}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["tags", "importance", "agent_id", "potential", "pinned", "updated_at", "_vex", "other"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=st.lists(st.none() | st.dictionaries(NAMES | st.text(), JSON, max_size=5), min_size=1, max_size=8))
@pytest.mark.parametrize("schema", ["new", "A", "C"])
def test_any_metadata_comes_back_letter_by_letter(
    tmp_path_factory: pytest.TempPathFactory, schema: str, documents: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("any") / "m.db"
    if schema != "new":
        database(path, SCHEMAS[schema])
    texts = [None if one is None else json.dumps(one, ensure_ascii=bool(at % 2)) for at, one in enumerate(documents)]
    texts = [text if text is None or text.isascii() or _utf8(text) else json.dumps(json.loads(text)) for text in texts]
    sample = batch([str(at) for at in range(len(texts))], "int", metadata=texts)
    assert load(path, sample) == []
    assert [record["metadata"] for record in contents(path)] == texts


def _utf8(text: str) -> bool:
    return not any(0xD800 <= ord(letter) < 0xE000 for letter in text)


# -- upserts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", SCHEMAS)
def test_an_upsert_replaces_a_record_and_keeps_its_row(tmp_path: Path, schema: str) -> None:
    path = made(tmp_path / "m.db", schema)
    identity = "1" if schema == "C" else "a"
    before = query(path, "SELECT rowid FROM memories WHERE id = ?", identity)
    kind = "int" if schema == "C" else "string"
    assert load(path, batch([identity, "99"], kind, metadata=['{"importance":5}', None])) == []
    assert query(path, "SELECT rowid FROM memories WHERE id = ?", identity) == before
    assert query(path, "SELECT count(*) FROM memories") == [(4,)]
    record = next(record for record in contents(path) if record["id"] == identity)
    assert (record["text"], record["metadata"]) == (f"text of {identity}", '{"importance":5}')


def test_columns_of_others_keep_their_values_unless_a_record_mentions_them(tmp_path: Path) -> None:
    path = database(tmp_path / "m.db", A, "ALTER TABLE memories ADD COLUMN hits INT NOT NULL DEFAULT 0")
    database(path, rows=[{"id": "a", "hits": 4}, {"id": "b", "hits": 5}])
    assert load(path, batch(["a", "b", "c"], metadata=[None, '{"hits":6}', None])) == []
    assert query(path, "SELECT hits FROM memories ORDER BY id") == [(4,), (6,), (0,)]
    assert [record["metadata"] for record in contents(path)] == ['{"hits":4}', '{"hits":6}', None]


def test_the_table_of_somebody_else_gains_metadata_only_when_a_record_needs_it(tmp_path: Path) -> None:
    path = made(tmp_path / "m.db", "A")
    load(path, batch(["a"], metadata=['{"agent_id":"me"}']))
    assert query(path, "SELECT sql FROM sqlite_master") == [(A,)]
    load(path, batch(["a"], metadata=['{"agent_id":"me","more":1}']))
    assert query(path, "SELECT name FROM pragma_table_info('memories')")[-1] == ("metadata",)
    assert query(path, "SELECT count(*) FROM sqlite_master") == [(1,)]


@pytest.mark.parametrize("schema", ["A", "B", "new"])
def test_the_second_record_of_an_id_in_one_run_is_a_reject(tmp_path: Path, schema: str) -> None:
    path = tmp_path / "m.db"
    if schema != "new":
        database(path, SCHEMAS[schema])
    refused = load(path, batch(["a", "b", "a"]), batch(["c", "b"]))
    assert [(reject.code, reject.id, reject.row) for reject in refused] == [
        ("duplicate-id", "a", 2),
        ("duplicate-id", "b", 1),
    ]
    assert [record["id"] for record in contents(path)] == ["a", "b", "c"]
    assert load(path, batch(["a", "b", "c"])) == []


def test_a_row_that_another_process_adds_between_batches_is_updated(tmp_path: Path) -> None:
    path = made(tmp_path / "m.db", "A")
    with loading(path) as sink:
        sink.load(batch(["x"]))
        database(path, rows=[{"id": "y", "content": "theirs"}])
        assert sink.load(batch(["y", "z"])) == []
    assert query(path, "SELECT id, content FROM memories WHERE id IN ('x', 'y', 'z') ORDER BY rowid") == [
        ("x", "text of x"), ("y", "text of y"), ("z", "text of z"),
    ]  # fmt: skip


def test_a_record_that_a_constraint_refuses_is_a_reject_and_the_others_are_written(tmp_path: Path) -> None:
    path = database(tmp_path / "m.db", A, "CREATE UNIQUE INDEX one ON memories (content)")
    refused = load(path, batch(["a", "b", "c"], text=["same", "same", "other"]))
    assert [(reject.code, reject.row) for reject in refused] == [("constraint", 1)]
    assert [record["id"] for record in contents(path)] == ["a", "c"]


def test_null_text_and_namespace_survive_where_the_table_has_no_place_for_them(tmp_path: Path) -> None:
    path = database(tmp_path / "m.db", C)
    sample = batch(["1", "2", "3"], "int", text=[None, "", "t"], namespace=[None, "", "n"])
    assert load(path, sample) == []
    assert [(record["text"], record["namespace"]) for record in contents(path)] == [(None, None), ("", ""), ("t", "n")]


# -- ids --------------------------------------------------------------------------------------------------------------


def test_integer_ids_stay_integers_in_a_new_database(tmp_path: Path) -> None:
    ids = ["5", "-1", "9223372036854775807"]
    assert load(tmp_path / "m.db", batch(ids, "int")) == []
    assert query(tmp_path / "m.db", "SELECT typeof(id), count(*) FROM memories GROUP BY 1") == [("integer", 3)]
    assert [(record["id"], record["kind"]) for record in contents(tmp_path / "m.db")] == [
        (i, "int") for i in sorted(ids)
    ]


def test_a_text_id_that_looks_like_an_integer_stays_text_in_a_table_of_integers(tmp_path: Path) -> None:
    path = database(tmp_path / "m.db", C)
    refused = load(path, batch(["5", "05", "x"]))
    assert [(reject.code, reject.id) for reject in refused] == [("id-type", "05"), ("id-type", "x")]
    (record,) = contents(path)
    assert (record["id"], record["kind"], record["extra"]) == ("5", "int", '{"id":"5"}')


def test_ids_of_several_types_in_one_column_are_told_apart(tmp_path: Path) -> None:
    table = "CREATE TABLE memories (id, content TEXT, vector BLOB)"
    rows: list[dict[str, Any]] = [{"id": one, "content": "t"} for one in (5, "a", 7.0, None, 1.5, b"x", "")]
    path = database(tmp_path / "a.db", table, rows=rows)
    (page,) = pages(path)
    found = [(record["id"], record["extra"]) for record in listed(page.batch)]
    assert found == [("5", '{"id":5}'), ("a", None), ("7", '{"id":7}')]
    assert [reject.code for reject in page.rejects] == ["missing-id", "id-type", "id-type", "missing-id"]
    copy(path, database(tmp_path / "b.db", table))
    assert query(tmp_path / "b.db", "SELECT id, typeof(id) FROM memories") == [
        (5, "integer"), ("a", "text"), (7, "integer"),
    ]  # fmt: skip


def test_a_column_of_any_type_that_holds_only_integers_is_one_of_integers(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "CREATE TABLE memories (id, vector)", rows=[{"id": 1}, {"id": 2}])
    with opened(path) as source:
        assert source.describe().id_type == "int"
    database(path, rows=[{"id": "a"}])
    with opened(path) as source:
        assert source.describe().id_type == "string"


# -- vectors ----------------------------------------------------------------------------------------------------------


def test_blobs_of_odd_lengths_and_endless_numbers_are_rejects_with_their_row(tmp_path: Path) -> None:
    vectors: dict[str, Any] = {
        "none": None,
        "0": b"",
        "3": b"abc",
        "6": b"abcdef",
        "4": blob(0.5),
        "nan": blob(1, float("nan")),
    }
    vectors |= {"text": "[1,2]", "inf": blob(float("inf")), "good": blob(2)}
    rows = [{"id": name, "content": "t", "tags": "x", "vector": vector} for name, vector in vectors.items()]
    (page,) = pages(database(tmp_path / "m.db", A, rows=rows))
    assert {record["id"]: record["vector"] for record in listed(page.batch)} == {
        "none": None, "0": None, "4": blob(0.5), "good": blob(2),
    }  # fmt: skip
    codes = {reject.id: reject.code for reject in page.rejects}
    blobs, endless = (
        dict.fromkeys(("3", "6", "text"), "vector-blob"),
        dict.fromkeys(("inf", "nan"), "vector-not-finite"),
    )
    assert codes == blobs | endless
    line = json.loads(next(reject.record or b"" for reject in page.rejects if reject.id == "3"))
    assert (line["id"], line["vector"], line["metadata"]) == ("3", "base64:YWJj", {"tags": "x"})


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
def test_reading_resumes_after_every_page_also_between_dimensions(tmp_path: Path, rows: int) -> None:
    sizes = [2, 3, 0, 2, 5, 3, 3, 0, 2, 2, 5, 1]
    made = [{"id": f"{at:02}", "content": "t", "vector": blob(*[at] * n) or None} for at, n in enumerate(sizes)]
    path = database(tmp_path / "m.db", A, rows=made)
    with opened(path) as source:
        part = source.partitions(1)[0]
        whole = list(source.extract(part, rows=rows))
        assert sum(page.batch.num_rows for page in whole) == len(sizes)
        assert all(page.batch.num_rows <= rows for page in whole)
        for at, page in enumerate(whole):
            rest = list(source.extract(part, rows=rows, after=page.cursor))
            assert [one.cursor for one in rest] == [one.cursor for one in whole[at + 1 :]]
            assert all(one.batch.equals(other.batch) for one, other in zip(rest, whole[at + 1 :], strict=True))
    assert sorted(record["id"] for page in whole for record in listed(page.batch)) == [row["id"] for row in made]


def test_partitions_hold_every_record_once(tmp_path: Path) -> None:
    with opened(DATA) as source:
        parts = source.partitions(4)
        found = [one for part in parts for page in source.extract(part, rows=99) for one in listed(page.batch)]
    assert len(parts) == 4
    assert sorted(found, key=lambda record: str(record["id"])) == contents(DATA)


def test_vectors_of_a_vec0_table_are_read_without_its_extension(tmp_path: Path) -> None:
    rows = [{"id": name, "content": "t"} for name in "abc"] + [{"id": "d", "embedding": blob(9, 9)}]
    path = database(tmp_path / "m.db", B, rows=rows)
    database(
        path,
        "CREATE TABLE memories_vec_rowids (rowid INTEGER PRIMARY KEY, id, chunk_id INTEGER, chunk_offset INTEGER)",
        "CREATE TABLE memories_vec_vector_chunks00 (rowid PRIMARY KEY, vectors BLOB NOT NULL)",
        "INSERT INTO memories_vec_rowids VALUES (1, NULL, 1, 0), (3, NULL, 2, 1)",
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES ('table', 'memories_vec', 'memories_vec', 0, "
        "'CREATE VIRTUAL TABLE memories_vec USING vec0(embedding FLOAT[2])')",
    )
    chunks = [{"rowid": 1, "vectors": blob(1, 2, 0, 0)}, {"rowid": 2, "vectors": blob(0, 0, 3, 4)}]
    database(path, rows=chunks, table="memories_vec_vector_chunks00")
    assert [record["vector"] for record in contents(path)] == [blob(1, 2), None, blob(3, 4), blob(9, 9)]


# -- times and odd text -----------------------------------------------------------------------------------------------


def test_times_are_read_as_seconds_milliseconds_or_text_and_garbage_is_a_reject(tmp_path: Path) -> None:
    times = [1736937900, 1736937900.25, 1736937900250, "2025-01-15T10:45:00.25Z", "2025-01-15 10:45:00", "1736937900"]
    rows = [{"id": str(at), "content": "t", "created_at": one} for at, one in enumerate([*times, "yesterday"])]
    table = "CREATE TABLE memories (id TEXT, content TEXT, vector BLOB, created_at)"
    (page,) = pages(database(tmp_path / "m.db", table, rows=rows))
    fine = [str(record["created_at"]).replace("+00:00", "")[11:] for record in listed(page.batch)]
    assert fine == ["10:45:00", "10:45:00.250000", "10:45:00.250000", "10:45:00.250000", "10:45:00", "10:45:00"]
    assert [(reject.code, reject.id) for reject in page.rejects] == [("created-at", "6")]


@pytest.mark.parametrize("kind", ["seconds", "milliseconds", "text"])
def test_times_are_written_as_the_table_has_them(tmp_path: Path, kind: str) -> None:
    known = {"seconds": 1736937900, "milliseconds": 1736937900250, "text": "2025-01-15T10:45:00.250Z"}[kind]
    path = database(tmp_path / "m.db", A, rows=[{"id": "a", "content": "t", "created_at": known}])
    when = pa.array([1736937900_250000], pa.int64()).cast(records.TIMESTAMP)
    load(path, batch(["b"], created_at=when))
    expected = 1736937900.25 if kind == "seconds" else known
    assert query(path, "SELECT created_at FROM memories WHERE id = 'b'") == [(expected,)]


def test_text_that_is_not_utf8_is_a_reject_and_its_neighbours_are_read(tmp_path: Path) -> None:
    path = made(tmp_path / "m.db", "A")
    database(path, "UPDATE memories SET content = CAST(x'ff61' AS TEXT) WHERE id = 'b'")
    (page,) = pages(path)
    assert [record["id"] for record in listed(page.batch)] == ["a", "c"]
    assert [(reject.code, reject.id) for reject in page.rejects] == [("not-utf8", "b")]
    assert json.loads(page.rejects[0].record or b"")["text"] == "base64:/2E="


# -- selections -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [(("n",), "a"), (("",), "b"), ((None,), "c"), (("n", None), "ac"), (("none",), ""), ((), ""), (None, "abc")],
)
def test_namespaces_are_selected_in_sql_null_and_empty_apart(
    tmp_path: Path, wanted: tuple[str | None, ...] | None, ids: str
) -> None:
    found = contents(made(tmp_path / "m.db", "A"), selection=Selection(namespaces=wanted))
    assert "".join(record["id"] for record in found) == ids


def test_describe_counts_namespaces_and_says_what_the_table_is(tmp_path: Path) -> None:
    with opened(DATA) as source:
        known = source.describe()
    assert (known.dim, known.rows, known.id_type, len(known.namespaces)) == (384, 122, "string", 31)
    assert known.details["schema"] == "A"
    assert known.details["journal_mode"] == "delete"
    with opened(made(tmp_path / "c.db", "C")) as source:
        assert (source.describe().id_type, source.describe().details["schema"]) == ("int", "C")


# -- other tables, triggers, full-text indexes ------------------------------------------------------------------------

FTS = "CREATE VIRTUAL TABLE memories_fts USING fts5(content, content='memories', content_rowid='rowid');"
INSERTED = "CREATE TRIGGER memories_fts_insert AFTER INSERT ON memories BEGIN INSERT INTO memories_fts(rowid, content) "
UPDATED = """CREATE TRIGGER memories_fts_update AFTER UPDATE ON memories BEGIN
    INSERT INTO memories_fts(memories_fts, rowid, content) VALUES ('delete', old.rowid, old.content);
    INSERT INTO memories_fts(rowid, content) VALUES (new.rowid, new.content); END;"""


def matches(path: Path, word: str) -> list[int]:
    rows = query(path, "SELECT rowid FROM memories_fts WHERE memories_fts MATCH ? ORDER BY 1", word)
    return [rowid for (rowid,) in rows]


@pytest.mark.parametrize("updates", [True, False])
@pytest.mark.parametrize("schema", ["A", "B", "C"])
@pytest.mark.parametrize("own", [True, False])
def test_a_full_text_index_follows_every_upsert(tmp_path: Path, schema: str, updates: bool, own: bool) -> None:
    fts = "CREATE VIRTUAL TABLE memories_fts USING fts5(content);" if own else FTS
    update = "CREATE TRIGGER u AFTER UPDATE ON memories BEGIN UPDATE memories_fts SET content = new.content "
    update += "WHERE rowid = old.rowid; END;"
    path = database(
        tmp_path / "m.db", SCHEMAS[schema], fts, INSERTED + "VALUES (new.rowid, new.content); END;",
        (update if own else UPDATED) if updates else "",
    )  # fmt: skip
    load(path, batch(["1", "2"], "int", text=["apple", "pear"]))
    load(path, batch(["2", "3"], "int", text=["plum", "apple"]))
    assert (matches(path, "apple"), matches(path, "pear"), matches(path, "plum")) == ([1, 3], [], [2])
    database(path, "INSERT INTO memories_fts(memories_fts) VALUES ('integrity-check')")


def test_a_trigger_that_indexes_by_id_lets_text_ids_pass_and_is_there_afterwards(tmp_path: Path) -> None:
    trigger = INSERTED + "VALUES (new.id, new.content); END"
    path = database(tmp_path / "m.db", A, FTS, trigger)
    before = query(path, "SELECT name, sql FROM sqlite_master ORDER BY 1")
    whole = batch(["a", "7", "b"], text=["apple", "apple", "pear"], metadata=['{"agent_id":"x"}'] * 3)
    assert load(path, whole) == []
    assert (matches(path, "apple"), matches(path, "pear")) == ([7], [])
    assert query(path, "SELECT name, sql FROM sqlite_master ORDER BY 1") == before
    assert [record["id"] for record in contents(path)] == ["7", "a", "b"]


def test_other_tables_are_not_touched(tmp_path: Path) -> None:
    edges = """CREATE TABLE memory_edges (id INTEGER PRIMARY KEY, source_id INTEGER, target_id INTEGER);
        INSERT INTO memory_edges VALUES (1, 1, 2); CREATE INDEX e ON memory_edges (source_id);
        CREATE TABLE graph_edges (id TEXT PRIMARY KEY, source_id TEXT); INSERT INTO graph_edges VALUES ('x', '1');"""
    path = database(made(tmp_path / "m.db", "C"), edges)
    load(path, batch(["1", "5"], "int"), **{"skip-graph": "true"})
    assert query(path, "SELECT * FROM memory_edges") == [(1, 1, 2)]
    assert query(path, "SELECT * FROM graph_edges") == [("x", "1")]
    names = query(path, "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1")
    assert [name for (name,) in names] == ["e", "graph_edges", "memories", "memory_edges"]


# -- transactions, other processes, errors ----------------------------------------------------------------------------


def test_reading_goes_on_in_its_snapshot_while_another_process_writes(tmp_path: Path) -> None:
    path = database(tmp_path / "m.db", "PRAGMA journal_mode = WAL", A)
    database(path, rows=[{"id": f"{at:02}", "content": "old", "vector": blob(at)} for at in range(20)])
    with closing(sqlite3.connect(path)) as writer, opened(path) as source:
        found = []
        for page in source.extract(source.partitions(1)[0], rows=5):
            found += listed(page.batch)
            with writer:
                writer.execute("UPDATE memories SET content = 'new'")
                writer.execute("INSERT INTO memories (id, content) VALUES ('more', 'new')")
    assert [(record["id"], record["text"]) for record in found] == [(f"{at:02}", "old") for at in range(20)]


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_reading_leaves_no_file_behind(tmp_path: Path, mode: str) -> None:
    path = database(made(tmp_path / "m.db", "A"), f"PRAGMA journal_mode = {mode}")
    before = path.read_bytes()
    contents(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_batch_that_fails_leaves_nothing_of_itself(tmp_path: Path) -> None:
    path = made(tmp_path / "m.db", "A")
    database(path, "CREATE TRIGGER t BEFORE INSERT ON memories WHEN new.id = 'z' BEGIN SELECT no_such(); END")
    before = contents(path)
    with loading(path) as sink:
        with pytest.raises(Exception, match="no such function"):
            sink.load(batch(["x", "y", "z"]))
        database(path, "DROP TRIGGER t")
        assert sink.load(batch(["x", "y", "z"])) == []
    assert len(contents(path)) == len(before) + 3


def test_a_run_that_fails_before_its_first_batch_leaves_no_new_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "new.db")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "new.db", batch(["a"]))
    assert [record["id"] for record in contents(tmp_path / "new.db")] == ["a"]


def interrupted(path: Path, *batches: pa.RecordBatch) -> None:
    with loading(path) as sink:
        for one in batches:
            sink.load(one)
        raise KeyboardInterrupt


def test_no_record_at_all_makes_an_empty_database(tmp_path: Path) -> None:
    with loading(tmp_path / "new.db") as sink:
        sink.finish()
    assert contents(tmp_path / "new.db") == []


def test_a_database_that_another_process_has_locked_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = made(tmp_path / "m.db", "A")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        message = r"m\.db: is locked by another process \(waited 0\.1 s"
        with pytest.raises(AccessError, match=message), opened(path, timeout="0.1"):
            pass
        with pytest.raises(AccessError, match="is locked"), loading(path, timeout="0.1"):
            pass


def test_what_is_no_database_is_refused_clearly(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is not a database at all")
    (tmp_path / "cut.db").write_bytes(DATA.read_bytes()[:5000])
    for name in ("text.db", "cut.db"):
        with pytest.raises(DataError, match="SQLite database"):
            contents(tmp_path / name)
    with pytest.raises(DataError, match="not a SQLite database"), loading(tmp_path / "text.db"):
        pass
    with pytest.raises(UsageError, match="is a directory"), opened(tmp_path):
        pass
    with pytest.raises(NotFound, match=r"gone\.db: no such file"), opened(tmp_path / "gone.db"):
        pass
    assert not (tmp_path / "gone.db").exists()
    with pytest.raises(AccessError, match="no directory"), loading(tmp_path / "no" / "new.db"):
        pass


def test_a_database_without_memories_is_refused_by_the_source_and_completed_by_the_sink(tmp_path: Path) -> None:
    path = database(tmp_path / "m.db", "CREATE TABLE notes (id TEXT, vector BLOB); CREATE TABLE other (x)")
    with pytest.raises(NotFound, match="no table memories; its tables are: notes, other"), opened(path):
        pass
    with opened(path, table="notes") as source:
        assert source.describe().rows == 0
    load(path, batch(["a"]))
    assert [record["id"] for record in contents(path)] == ["a"]


def test_tables_that_cannot_be_paged_are_refused(tmp_path: Path) -> None:
    view = database(tmp_path / "v.db", A.replace("memories", "m"), "CREATE VIEW memories AS SELECT * FROM m")
    bare = database(tmp_path / "w.db", "CREATE TABLE memories (id TEXT PRIMARY KEY, vector BLOB) WITHOUT ROWID")
    with pytest.raises(Unsupported, match="is a view"), opened(view):
        pass
    with pytest.raises(Unsupported, match="WITHOUT ROWID"), opened(bare):
        pass
    with (
        pytest.raises(SchemaError, match="no column id"),
        opened(database(tmp_path / "x.db", "CREATE TABLE memories (a)")),
    ):
        pass


@pytest.mark.parametrize("side", ["source", "sink"])
def test_a_missing_path_names_the_option_and_the_variables(side: str) -> None:
    variables = "VEKTOR_DB" if side == "source" else "VEKTOR_DB_PATH or VEKTOR_DB"
    with pytest.raises(UsageError, match=f"--db PATH or set {variables}"):
        (opened("") if side == "source" else loading("")).__enter__()


def test_a_path_may_be_given_as_an_option_or_a_uri(tmp_path: Path) -> None:
    path = tmp_path / "with space & more.db"
    shutil.copy(DATA, path)
    uri = "vektor://" + str(path).replace(" ", "%20") + "?table=memories"
    for target, options in (("", {"db": str(path)}), (uri, {})):
        with opened(target, None, **options) as source:
            assert source.describe().rows == 122


def test_a_cursor_or_partition_of_somebody_else_is_refused() -> None:
    with opened(DATA) as source:
        for part, after in ((Partition("all"), "12,x"), (Partition("all"), "1,2"), (Partition("files"), None)):
            with pytest.raises(UsageError, match=r"is no (cursor|partition)"):
                next(source.extract(part, rows=10, after=after))
