"""The pgvector connector against real servers: PostgreSQL 18 and 16 with pgvector 0.8, and 16 with pgvector 0.6."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from tests.engines.postgres import postgres
from vexarrow import copy, records
from vexarrow.errors import AccessError, NotFound, SchemaError, TransientError, Unsupported, UsageError
from vexarrow.places import resolve
from vexarrow.protocols import Description, Page
from vexarrow.selection import Selection
from vexarrow.testing import ConnectorContract, Spot, facts, pages, read, samples
from vexarrow.testing.contract import resumed_everywhere
from vexarrow.testing.facts import Fact

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server: PostgreSQL 18 with pgvector 0.8, or what VEX_TEST_PGVECTOR_URL names."""
    given = os.environ.get("VEX_TEST_PGVECTOR_URL")
    if given:
        yield given
    else:
        with postgres("18") as url:
            yield url


@pytest.fixture(scope="module")
def sixteen() -> Iterator[str]:
    with postgres("16") as url:
        yield url


@pytest.fixture(scope="module")
def old() -> Iterator[str]:
    with postgres("old") as url:
        yield url


def run(server: str, *statements: str) -> None:
    with psycopg.connect(server, autocommit=True) as db:
        for statement in statements:
            db.execute(statement.encode())


def query(server: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(server, autocommit=True) as db:
        return db.execute(sql.encode()).fetchall()


def fresh(server: str) -> str:
    """The name of a table that is not there yet."""
    name = f"vex_test_{os.getpid()}_{next(_NUMBERS)}"
    run(server, "CREATE EXTENSION IF NOT EXISTS vector", f"DROP TABLE IF EXISTS {name}")
    return name


def made(server: str, columns: str, *rows: str) -> tuple[str, str]:
    """The URI and the name of a table of those columns and rows."""
    name = fresh(server)
    run(server, f"CREATE TABLE {name} ({columns})", *(f"INSERT INTO {name} VALUES ({row})" for row in rows))
    return f"{server}#{name}", name


def listed(uri: str, rows: int = 1000, **options: Any) -> list[dict[str, Any]]:
    """The records as dicts, metadata and extra parsed."""
    batches = read(Spot(uri, source_options=named(options)), rows=rows)
    plain = [record for batch in batches for record in records.plain(batch).to_pylist()]
    return [{**one, **{key: json.loads(one[key]) for key in ("metadata", "extra") if one[key]}} for one in plain]


def named(options: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in options.items()}


def load(uri: str, *batches: pa.RecordBatch, plan: Description | None = None, **options: Any) -> list[tuple[str, int]]:
    """Load; returns code and row of the rejects."""
    refused = []
    first = batches[0]
    with resolve(uri, named(options), side="sink").sink() as sink:
        sink.prepare(plan or Description(dim=records.dim(first) or None, id_type=records.id_type(first.schema)))
        for batch in batches:
            refused += [(reject.code, reject.row) for reject in sink.load(batch)]
        sink.finish()
    return refused  # type: ignore[return-value]


def in_order(found: Sequence[Fact]) -> list[Fact]:
    return sorted(found, key=repr)


def by_value(*batches: pa.RecordBatch) -> list[Fact]:
    return in_order(facts(batches, verbatim=False))


# -- the contract -----------------------------------------------------------------------------------------------------


class Contract(ConnectorContract):
    url: str

    def place(self, folder: Path) -> Spot:
        return Spot(f"{self.url}#{fresh(self.url)}")


class TestPgvector(Contract):
    """A table of ours that is not there yet."""

    @pytest.fixture(autouse=True)
    def _server(self, server: str) -> None:
        type(self).url = server


NPM = """id TEXT PRIMARY KEY, content TEXT, namespace TEXT DEFAULT 'default', importance FLOAT DEFAULT 0.6, tags TEXT,
    entities TEXT, potential TEXT, created_at BIGINT, source TEXT, metadata JSONB, vector vector({dim})"""


class TestNpmTable(Contract):
    """A table as npm vex 0.8.8 makes it; its dimension is left open, for the samples have several."""

    def place(self, folder: Path) -> Spot:
        uri, _ = made(self.url, NPM.replace("({dim})", ""))
        return Spot(uri)

    def nowhere(self, folder: Path) -> Spot:
        return Spot(f"{self.url}#{fresh(self.url)}")

    def fit(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch

    @pytest.fixture(autouse=True)
    def _server(self, server: str) -> None:
        type(self).url = server


class TestOld(Contract):
    """pgvector 0.6, which has no sparsevec."""

    @pytest.fixture(autouse=True)
    def _server(self, old: str) -> None:
        type(self).url = old


# -- the order of reading ---------------------------------------------------------------------------------------------

KEYS = {
    "text": ("id text PRIMARY KEY, v vector(2)", "'id ' || n, '[1,2]'", {}),
    "a locale's order": ('id text COLLATE "C" PRIMARY KEY, v vector(2)', "chr(64 + n) || 'é', '[1,2]'", {}),
    "bigint": ("id bigint PRIMARY KEY, v vector(2)", "n * 7 - 60, '[1,2]'", {}),
    "uuid": ("id uuid PRIMARY KEY, v vector(2)", "md5(n::text)::uuid, '[1,2]'", {}),
    "two columns": (
        "a text, b int, name text, v vector(2), PRIMARY KEY (a, b)",
        "'a' || n % 3, n, 'n' || n, '[1,2]'",
        {"id_field": "name"},
    ),
    "another unique key": ("id text, k bigint NOT NULL UNIQUE, v vector(2)", "'id ' || n, -n, '[1,2]'", {}),
    "no key at all": ("id text, v vector(2)", "'id ' || n % 20, '[1,2]'", {}),
}


@pytest.mark.parametrize("kind", KEYS)
def test_every_row_is_read_once_and_reading_goes_on_after_every_page(server: str, kind: str) -> None:
    columns, values, options = KEYS[kind]
    uri, name = made(server, columns)
    run(server, f"INSERT INTO {name} SELECT {values} FROM generate_series(1, 40) n")
    place = resolve(uri, named(options), side="source")
    with place.source(Selection()) as source:
        whole = facts(page.batch for part in source.partitions(1) for page in pages(source, part))
        parts = source.partitions(4)
        split = facts(page.batch for part in parts for page in resumed_everywhere(source, part, 3))
    assert len(whole) == 40
    assert in_order(split) == in_order(whole)
    assert len(parts) == (1 if kind == "no key at all" else 4)


def test_a_large_table_is_split_by_a_sample_and_holds_every_row(server: str) -> None:
    uri, name = made(server, "id text PRIMARY KEY, v vector(3), filler text")
    rows = "SELECT md5(n::text), '[1,2,3]', repeat('x', 1500) FROM generate_series(1, 4000) n"
    run(server, f"ALTER TABLE {name} ALTER filler SET STORAGE PLAIN", f"INSERT INTO {name} {rows}")
    with resolve(uri, side="source").source(Selection()) as source:
        parts = source.partitions(4)
        assert source.partitions(4) == parts
        sizes = [sum(page.batch.num_rows for page in source.extract(part, rows=1000)) for part in parts]
    assert sum(sizes) == 4000
    assert min(sizes) > 500


def test_a_table_without_a_key_is_split_by_its_blocks(server: str) -> None:
    uri, name = made(server, "id text, v vector(3), filler text")
    rows = "SELECT n::text, '[1,2,3]', repeat(md5(n::text), 60) FROM generate_series(1, 200) n"
    run(server, f"ALTER TABLE {name} ALTER filler SET STORAGE PLAIN", f"INSERT INTO {name} {rows}")
    with resolve(uri, side="source").source(Selection()) as source:
        parts = source.partitions(4)
        ids = [
            one
            for part in parts
            for page in resumed_everywhere(source, part, 30)
            for one in page.batch["id"].to_pylist()
        ]
    assert len(parts) == 4
    assert sorted(ids, key=int) == [str(number) for number in range(1, 201)]


def test_a_partitioned_table_is_split_by_a_sample_as_well(server: str) -> None:
    uri, name = made(server, "id text PRIMARY KEY, v vector(3), filler text) PARTITION BY HASH (id")
    run(
        server,
        *(f"CREATE TABLE {name}_{at} PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER {at})" for at in (0, 1)),
        f"ALTER TABLE {name} ALTER filler SET STORAGE PLAIN",
        *(f"ALTER TABLE {name}_{at} ALTER filler SET STORAGE PLAIN" for at in (0, 1)),
        f"INSERT INTO {name} SELECT md5(n::text), '[1,2,3]', repeat('x', 1500) FROM generate_series(1, 4000) n",
    )
    whole = query(server, f"SELECT max(id) FROM (SELECT id FROM {name} ORDER BY id LIMIT 2000) AS half")
    with resolve(uri, side="source").source(Selection()) as source:
        parts = source.partitions(2)
        sizes = [sum(page.batch.num_rows for page in source.extract(part, rows=1000)) for part in parts]
    assert sum(sizes) == 4000
    assert min(sizes) > 1000
    assert json.loads(parts[0].key)[1] != [whole[0][0]], "all keys were sorted"


REPEATED = {
    "a view of repeated ids": "SELECT n / 2 AS id, '[1]'::vector(1) AS v FROM generate_series(1, 9) n",
    "a view with nulls": "SELECT nullif(n, 4) AS id, '[1]'::vector(1) AS v FROM generate_series(1, 9) n",
}


@pytest.mark.parametrize("kind", REPEATED)
def test_a_view_whose_ids_say_no_place_is_read_whole_and_not_resumed(server: str, kind: str) -> None:
    name = fresh(server)
    run(server, f"CREATE VIEW {name} AS {REPEATED[kind]}")
    with resolve(f"{server}#{name}", side="source").source(Selection()) as source:
        (part,) = source.partitions(4)
        found = list(source.extract(part, rows=2))
        assert sum(page.batch.num_rows + len(page.rejects) for page in found) == 9
        with pytest.raises(Unsupported, match=f"the ids of {name} are not unique, or null; begin again"):
            next(iter(source.extract(part, rows=2, after=found[1].cursor)))


def test_a_view_of_unique_ids_is_resumed_after_every_page(server: str) -> None:
    name = fresh(server)
    run(server, f"CREATE VIEW {name} AS SELECT n AS id, '[1]'::vector(1) AS v FROM generate_series(1, 9) n")
    with resolve(f"{server}#{name}", side="source").source(Selection()) as source:
        found = resumed_everywhere(source, source.partitions(4)[0], 2)
    assert [value for page in found for value in page.batch["id"].to_pylist()] == [str(at) for at in range(1, 10)]


def test_a_foreign_table_is_one_range_and_is_not_asked_for_its_keys(server: str) -> None:
    name = fresh(server)
    run(
        server,
        f"CREATE FOREIGN DATA WRAPPER {name}_far",  # without a handler: asking it anything is an error
        f"CREATE SERVER {name}_far FOREIGN DATA WRAPPER {name}_far",
        f"CREATE FOREIGN TABLE {name} (id int, v vector(1)) SERVER {name}_far",
    )
    with resolve(f"{server}#{name}", side="source").source(Selection()) as source:
        assert [part.key for part in source.partitions(4)] == ["[null, null]"]


def test_a_partitioned_table_without_a_key_is_read_whole_and_not_resumed(server: str) -> None:
    uri, name = made(server, "id int, v vector(1)) PARTITION BY HASH (id")
    run(
        server,
        *(f"CREATE TABLE {name}_{at} PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER {at})" for at in (0, 1)),
        f"INSERT INTO {name} SELECT n, '[1]' FROM generate_series(1, 20) n",
    )
    with resolve(uri, side="source").source(Selection()) as source:
        parts = source.partitions(2)
        found = [list(source.extract(part, rows=3)) for part in parts]
        ids = [value for pages in found for page in pages for value in page.batch["id"].to_pylist()]
        assert sorted(ids, key=int) == [str(at) for at in range(1, 21)]
        with pytest.raises(Unsupported, match="partitioned and has no unique key; begin again"):
            next(iter(source.extract(parts[0], rows=3, after=found[0][0].cursor)))


def test_all_readers_see_the_table_as_it_was_when_it_was_opened(server: str) -> None:
    uri, name = made(server, "id int PRIMARY KEY, v vector(1), note text")
    run(server, f"INSERT INTO {name} SELECT n, '[1]', 'old' FROM generate_series(1, 50) n")
    with resolve(uri, side="source").source(Selection()) as source:
        parts = source.partitions(3)
        run(
            server,
            f"UPDATE {name} SET note = 'new'",
            f"DELETE FROM {name} WHERE id < 20",
            f"INSERT INTO {name} VALUES (99, '[1]', 'new')",
        )
        found = [
            record
            for part in parts
            for page in source.extract(part, rows=7)
            for record in page.batch["metadata"].to_pylist()
        ]
    assert found == ['{"note":"old"}'] * 50


def test_vectors_of_several_dimensions_come_in_batches_of_each(server: str) -> None:
    rows = [
        f"{at}, {vector}"
        for at, vector in enumerate(["'[1,2]'", "'[3,4]'", "NULL", "'[5]'", "'[6]'", "'[7,8]'", "NULL"])
    ]
    uri, _ = made(server, "id int PRIMARY KEY, v vector", *rows)
    with resolve(uri, side="source").source(Selection()) as source:
        (part,) = source.partitions(1)
        for size in (1, 2, 3, 100):
            found = resumed_everywhere(source, part, size)
            vectors = [vector for page in found for vector in page.batch["vector"].to_pylist()]
            assert vectors == [[1, 2], [3, 4], None, [5], [6], [7, 8], None]
    assert [page.batch.num_rows for page in found] == [3, 2, 2]


def test_a_cursor_or_partition_of_somebody_else_is_refused(server: str) -> None:
    uri, _ = made(server, "id int PRIMARY KEY, v vector(1)")
    with resolve(uri, side="source").source(Selection()) as source:
        (part,) = source.partitions(1)
        for wrong in (part._replace(key="all"), part._replace(key="[1]")):
            with pytest.raises(UsageError, match="is no partition"):
                next(iter(source.extract(wrong, rows=1)))
        with pytest.raises(UsageError, match="is no cursor"):
            next(iter(source.extract(part, rows=1, after="12,x")))


@pytest.mark.parametrize("index", ["hnsw", "none"])
def test_the_namespaces_of_a_larger_table_are_known_where_they_are_indexed(server: str, index: str) -> None:
    uri = f"{server}#{(name := fresh(server))}"
    load(uri, samples.many(1), index=index)
    values = "n::text, repeat(md5(n::text), 60), CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'n' || n % 4 END"
    run(
        server,
        f"ALTER TABLE {name} ALTER content SET STORAGE PLAIN",
        f"INSERT INTO {name} (id, content, namespace) SELECT {values} FROM generate_series(1, 4400) n",
    )
    with resolve(uri, side="source").source(Selection()) as source:
        known = source.describe()
    assert known.rows == 4401
    assert list(known.namespaces) == (["", "a", "n2", "n3", None] if index == "hnsw" else [])


# -- tables of other tools --------------------------------------------------------------------------------------------


def test_every_other_column_is_metadata_of_its_type(server: str) -> None:
    uri, _ = made(
        server,
        """id bigint PRIMARY KEY, body text, embedding vector(2), small int2, whole int4, large int8, real4 float4,
        real8 float8, exact numeric, yes bool, doc json, docb jsonb, words text[], numbers int[], moment timestamptz,
        local timestamp, day date, key uuid, raw bytea, word varchar(10), span interval, address inet, nothing text""",
        """5, 'a text', '[1,2]', 1, 2, 9223372036854775807, 0.1, 1e300, 123456789012345678901234567890.10, true,
        '{"b": 1,  "a": [1.0, null]}', '{"b": 1.50}', '{a,NULL,"b c"}', '{1,2}', '2025-01-15 10:45:00.25+02',
        '2025-01-15 10:45:00', '2025-01-15', '00000000-0000-0000-0000-00000000000A', '\\x00ff', 'é"\\', '1 day 2 hours',
        '10.0.0.1', NULL""",
    )
    (record,) = listed(uri, text_field="body")
    assert (record["id"], record["text"], record["vector"]) == ("5", "a text", [1, 2])
    assert record["source_store"] == "pgvector"
    batch = read(Spot(uri, source_options={"text-field": "body"}))[0]
    assert records.id_type(batch.schema) == "int"
    assert '"exact":123456789012345678901234567890.10' in records.storage(batch["metadata"])[0].as_py()
    del record["metadata"]["exact"]
    assert record["metadata"] == {
        "small": 1, "whole": 2, "large": 9223372036854775807, "real4": 0.1, "real8": 1e300, "yes": True,
        "doc": {"b": 1, "a": [1.0, None]}, "docb": {"b": 1.5}, "words": ["a", None, "b c"], "numbers": [1, 2],
        "moment": "2025-01-15T08:45:00.25+00:00", "local": "2025-01-15T10:45:00", "day": "2025-01-15",
        "key": "00000000-0000-0000-0000-00000000000a", "raw": "AP8=", "word": 'é"\\', "span": "P1DT2H",
        "address": "10.0.0.1",
    }  # fmt: skip


def test_long_bytes_come_as_base64_on_one_line(server: str) -> None:
    uri, _ = made(server, "id int PRIMARY KEY, v vector(1), raw bytea", "1, '[1]', decode(repeat('00', 300), 'hex')")
    assert listed(uri)[0]["metadata"] == {"raw": "A" * 400}


def test_more_columns_than_a_function_has_arguments_are_read(server: str) -> None:
    names = [f"c{at}" for at in range(150)]
    uri, _ = made(
        server,
        "id int PRIMARY KEY, v vector(1), " + ", ".join(f"{name} int" for name in names),
        "1, '[1]'" + ", 7" * 150,
    )
    assert listed(uri)[0]["metadata"] == dict.fromkeys(names, 7)


def test_halfvec_and_sparsevec_and_further_vectors_are_read(server: str) -> None:
    uri, _ = made(
        server,
        "id int PRIMARY KEY, title vector(1), embedding halfvec(3), words sparsevec(9), tokens vector(2)[]",
        "1, '[7]', '[1,-0.5,65504]', '{1:0.5,9:2}/9', ARRAY['[1,2]','[3,4]']::vector[]",
        "2, NULL, '[0,0.333,1e-5]', NULL, NULL",
    )
    with resolve(uri, side="source").source(Selection()) as source:
        known = source.describe()
        batch = pages(source, source.partitions(1)[0])[0].batch
    assert (known.dim, known.vectors) == (3, {"vector:title": 1, "sparse:words": 9, "multi:tokens": 2})
    halves = np.array([[1, -0.5, 65504], [0, 0.333, 1e-5]], np.float16).astype(np.float32)
    assert (records.matrix(batch["vector"]) == halves).all()
    assert batch["vector:title"].to_pylist() == [[7], None]
    assert batch["sparse:words"].to_pylist() == [{"indices": [0, 8], "values": [0.5, 2]}, None]
    assert batch["multi:tokens"].to_pylist() == [[[1, 2], [3, 4]], None]


def test_a_table_of_sparse_vectors_alone_is_read(server: str) -> None:
    uri, _ = made(server, "id int PRIMARY KEY, words sparsevec(9)", "1, '{2:1}/9'")
    batch = read(Spot(uri))[0]
    assert records.dim(batch) == 0
    assert batch["sparse:words"].to_pylist() == [{"indices": [1], "values": [1]}]


def test_the_option_chooses_among_several_vectors(server: str) -> None:
    uri, _ = made(server, "id int PRIMARY KEY, a vector(1), b vector(2)", "1, '[1]', '[2,3]'")
    assert listed(uri)[0]["vector"] == [1]
    assert listed(uri, vector_column="b")[0]["vector"] == [2, 3]
    assert listed(uri, vector_column="b")[0]["vector:a"] == [1]
    with pytest.raises(SchemaError, match=r"--vector-column c: is no column of dense vectors \(a, b\)"):
        listed(uri, vector_column="c")


def test_tables_of_langchain_and_llamaindex_are_read(server: str) -> None:
    langchain, _ = made(
        server, "id varchar PRIMARY KEY, collection_id uuid, embedding vector(2), document varchar, cmetadata jsonb",
        """'x', '00000000-0000-0000-0000-000000000001', '[1,2]', 'a page', '{"page": 3}'""",
    )  # fmt: skip
    (record,) = listed(langchain)
    assert (record["id"], record["text"]) == ("x", "a page")
    assert record["metadata"] == {"page": 3, "collection_id": "00000000-0000-0000-0000-000000000001"}
    newer, _ = made(
        server, "langchain_id uuid PRIMARY KEY, content text NOT NULL, embedding vector(2), langchain_metadata json",
        """'00000000-0000-0000-0000-000000000001', 'a page', '[1,2]', '{"page": 3}'""",
    )  # fmt: skip
    (record,) = listed(newer)
    assert (record["text"], record["metadata"]) == ("a page", {"page": 3})
    llama, _ = made(
        server, "id bigserial PRIMARY KEY, text varchar NOT NULL, metadata_ json, node_id varchar, embedding vector(2)",
        """1, 'a node', '{"file": "a.txt",  "file": "b.txt"}', 'n-1', '[1,2]'""",
    )  # fmt: skip
    raw = read(Spot(llama))[0]
    assert raw["text"].to_pylist() == ["a node"]
    assert records.storage(raw["metadata"]).to_pylist() == ['{"file": "a.txt",  "file": "b.txt","node_id":"n-1"}']


def test_columns_that_say_something_else_than_the_metadata_are_kept_in_extra(server: str) -> None:
    uri, _ = made(
        server, "id int PRIMARY KEY, v vector(1), metadata jsonb, tags text, level int, state text",
        """1, '[1]', '{"tags": ["a", "b"], "level": 3.0, "state": "open"}', 'a,b', 3, 'closed'""",
    )  # fmt: skip
    (record,) = listed(uri)
    assert record["metadata"] == {"tags": ["a", "b"], "level": 3.0, "state": "open"}
    assert record["extra"] == {"pgvector": {"state": "closed"}}


@pytest.mark.parametrize(
    ("kind", "value", "micros"),
    [
        ("timestamptz", "'2025-01-15 10:45:00.25+00'", 1736937900_250000),
        ("timestamp", "'2025-01-15 10:45:00.25'", 1736937900_250000),
        ("date", "'2025-01-15'", 1736899200_000000),
        ("bigint", "1736937900", 1736937900_000000),
        ("bigint", "1736937900250", 1736937900_250000),
        ("float8", "1736937900.25", 1736937900_250000),
        ("text", "'2025-01-15T10:45:00.25Z'", 1736937900_250000),
        ("text", "''", None),
    ],
)
def test_times_of_every_kind_are_understood(server: str, kind: str, value: str, micros: int | None) -> None:
    uri, _ = made(server, f"id int PRIMARY KEY, v vector(1), created_at {kind}", f"1, '[1]', {value}")
    assert read(Spot(uri))[0]["created_at"].cast(pa.int64()).to_pylist() == [micros]


@pytest.mark.parametrize(
    ("kind", "bad", "said"),
    [
        ("timestamptz", "infinity", "infinity"),
        ("timestamptz", "-infinity", "-infinity"),
        ("timestamp", "20000-01-01", "20000-01-01T00:00:00.000000"),
        ("text", "soon", "soon"),
    ],
)
def test_a_time_that_no_record_can_have_is_a_reject_with_its_record_and_its_neighbours_are_read(
    server: str, kind: str, bad: str, said: str
) -> None:
    uri, _ = made(
        server,
        f"id int PRIMARY KEY, v vector(1), created_at {kind}, content text, level int, doc jsonb",
        "1, '[1]', '2025-01-15', 'a', 1, NULL",
        f"""2, '[2]', '{bad}', 'b', 7, '{{"k": [1]}}'""",
        "3, '[3]', NULL, 'c', 3, NULL",
    )
    with resolve(uri, side="source").source(Selection()) as source:
        (page,) = pages(source, source.partitions(1)[0], readable=False)
    assert page.batch["id"].to_pylist() == ["1", "3"]
    (reject,) = page.rejects
    assert (reject.code, reject.id) == ("created-at", "2")
    record = json.loads(reject.record or "")
    assert (record["created_at"], record["text"], record["vector"]) == (said, "b", [2.0])
    assert record["metadata"] == {"level": 7, "doc": {"k": [1]}}


def test_rows_without_an_id_are_rejects(server: str) -> None:
    uri, _ = made(server, "name text, v vector(1)", "'a', '[1]'", "NULL, '[2]'", "'b', '[3]'")
    with resolve(uri, {"id-field": "name"}, side="source").source(Selection()) as source:
        (page,) = pages(source, source.partitions(1)[0], readable=False)
    assert page.batch["id"].to_pylist() == ["a", "b"]
    assert [reject.code for reject in page.rejects] == ["no-id"]
    assert json.loads(page.rejects[0].record or "") == {"vector": [2.0], "vex_version": "1.0.0"}


def test_metadata_deeper_than_a_record_can_be_are_text_in_a_reject(server: str) -> None:
    deep = '{"k": ' + "[" * 260 + "]" * 260 + "}"
    uri, _ = made(server, "name text, v vector(1), metadata jsonb", f"NULL, '[1]', '{deep}'", "'a', '[1]', NULL")
    with resolve(uri, {"id-field": "name"}, side="source").source(Selection()) as source:
        (page,) = pages(source, source.partitions(1)[0], readable=False)
    (reject,) = page.rejects
    assert json.loads(reject.record or "")["metadata"] == deep


def test_text_that_is_not_utf8_is_a_reject_and_its_neighbours_are_read(server: str) -> None:
    name = f"vex_ascii_{os.getpid()}"
    run(server, f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    other = server.rpartition("/")[0] + f"/{name}"
    run(other, "CREATE EXTENSION vector", "CREATE TABLE t (id text PRIMARY KEY, text text, v vector(1))")
    with psycopg.connect(other, autocommit=True) as db:
        for key, value in (("a", "66"), ("b", "ff"), ("c", "c3a9")):
            db.execute(
                f"INSERT INTO t VALUES ('{key}', convert_from('\\x{value}'::bytea, 'SQL_ASCII'), '[1]')".encode()
            )
    with resolve(f"{other}#t", side="source").source(Selection()) as source:
        (page,) = pages(source, source.partitions(1)[0], readable=False)
    assert page.batch["text"].to_pylist() == ["f", "é"]
    assert [(reject.code, reject.id) for reject in page.rejects] == [("not-utf8", "b")]
    assert json.loads(page.rejects[0].record or "") == {
        "id": "b",
        "text": "\ufffd",
        "vector": [1.0],
        "vex_version": "1.0.0",
    }


def test_views_and_partitioned_tables_are_read(server: str) -> None:
    uri, name = made(server, "id int, v vector(1), region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region")
    run(
        server, f"CREATE TABLE {name}_a PARTITION OF {name} FOR VALUES IN ('a')",
        f"CREATE TABLE {name}_b PARTITION OF {name} FOR VALUES IN ('b')",
        f"INSERT INTO {name} SELECT n, '[1]', CASE n % 2 WHEN 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 30) n",
        f"CREATE VIEW {name}_view AS SELECT id, v FROM {name} WHERE id > 10",
    )  # fmt: skip
    with resolve(uri, side="source").source(Selection()) as source:
        parts = source.partitions(3)
        found = [
            one
            for part in parts
            for page in resumed_everywhere(source, part, 4)
            for one in page.batch["id"].to_pylist()
        ]
    assert sorted(map(int, found)) == list(range(1, 31))
    assert [record["id"] for record in listed(f"{uri}_view", rows=6)] == [str(number) for number in range(11, 31)]


def test_the_only_table_with_vectors_is_found_and_of_several_one_has_to_be_named(server: str) -> None:
    name = f"vex_only_{os.getpid()}"
    run(server, f"CREATE DATABASE {name}")
    other = server.rpartition("/")[0] + f"/{name}"
    run(
        other,
        "CREATE EXTENSION vector",
        "CREATE SCHEMA deep",
        "CREATE TABLE deep.notes (id int PRIMARY KEY, v vector(1))",
    )
    run(other, "INSERT INTO deep.notes VALUES (1, '[1]')")
    assert [record["id"] for record in listed(other)] == ["1"]
    run(other, "CREATE TABLE more (id int PRIMARY KEY, v vector(1))")
    with pytest.raises(NotFound, match=r"no table vex_vectors; tables with vectors are deep\.notes, public\.more"):
        listed(other)
    run(
        other,
        "CREATE TABLE vex_memories (id int PRIMARY KEY, v vector(1))",
        "INSERT INTO vex_memories VALUES (2, '[1]')",
    )
    assert [record["id"] for record in listed(other)] == ["2"]


def test_names_that_have_to_be_quoted_are(server: str) -> None:
    schema = f'we.ird"{os.getpid()}'
    quoted = schema.replace('"', '""')
    run(server, f'CREATE SCHEMA "{quoted}"')
    uri = f"{server}?vector-column=Vec%20%22tor#" + f'"{quoted}"."Ta ble;--"'.replace('"', "%22").replace(" ", "%20")
    sample = samples.names()
    assert load(uri, sample) == []
    assert by_value(*read(Spot(uri))) == by_value(sample)
    assert query(server, f"""SELECT count(*) FROM "{quoted}"."Ta ble;--" WHERE "Vec ""tor" IS NOT NULL""") == [(8,)]


# -- loading ----------------------------------------------------------------------------------------------------------


def types_of(server: str, name: str) -> dict[str, str]:
    """The columns of a table with their types."""
    sql = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attnum > 0 AND attrelid = "
    return dict(query(server, f"{sql}'{name}'::regclass"))


def test_a_new_table_has_columns_that_sql_can_work_with(server: str) -> None:
    name = fresh(server)
    sample = samples.many(20, dim=3)
    assert load(f"{server}#{name}", sample, plan=Description(dim=3, metric="euclidean")) == []
    found = f"SELECT count(*) FROM {name} WHERE metadata->>'kind' = 'odd' AND namespace = 'b' AND model LIKE 'all%'"
    assert query(server, found) == [(2,)]
    one = f"(SELECT vector FROM {name} WHERE content = 'record 7 of 20')"
    assert query(server, f"SELECT id FROM {name} ORDER BY vector <-> {one} LIMIT 1") == [("id-0000007",)]
    known = types_of(server, name)
    assert (known["vector"], known["metadata"], known["created_at"]) == (
        "vector(3)",
        "jsonb",
        "timestamp with time zone",
    )


@pytest.mark.parametrize(("kind", "column"), [("int", "bigint"), ("uuid", "uuid"), ("string", "text")])
def test_ids_get_a_column_of_their_type_and_others_are_rejected(server: str, kind: str, column: str) -> None:
    name = fresh(server)
    sample = samples.uuid_ids() if kind == "uuid" else samples.integer_ids()
    sample = sample if kind != "string" else samples.odd_ids()
    others = samples.batch({"id": ["007", "9223372036854775808", "x"]})
    assert load(f"{server}#{name}", sample, plan=Description(dim=4, id_type=kind)) == []
    refused = load(f"{server}#{name}", others, plan=Description(dim=4, id_type=kind))
    assert refused == ([] if kind == "string" else [("id-type", 0), ("id-type", 1), ("id-type", 2)])
    assert query(server, f"SELECT pg_typeof(id)::text FROM {name} LIMIT 1") == [(column,)]
    back = read(Spot(f"{server}#{name}"))
    assert records.id_type(back[0].schema) == kind
    assert by_value(*back) == (by_value(sample) if kind != "string" else by_value(sample, others))


def test_integers_loaded_into_a_table_of_texts_come_back_as_integers(server: str) -> None:
    name = fresh(server)
    assert load(f"{server}#{name}", samples.odd_ids()) == []
    integers = samples.integer_ids().slice(2)
    assert load(f"{server}#{name}", integers, plan=Description(dim=4, id_type="int")) == []
    assert set(by_value(integers)) <= set(by_value(*read(Spot(f"{server}#{name}"))))


def test_the_last_of_equal_ids_counts_in_a_batch_and_over_batches(server: str) -> None:
    name = fresh(server)
    first = samples.batch({"id": ["a", "b", "a"], "text": ["1", "2", "3"], "namespace": ["x", "y", None]})
    again = samples.batch({"id": ["b", "c"], "text": ["4", "5"]})
    for _ in range(2):
        assert load(f"{server}#{name}", first, again) == []
        assert query(server, f"SELECT id, content, namespace FROM {name} ORDER BY id") == [
            ("a", "3", None),
            ("b", "4", None),
            ("c", "5", None),
        ]


def test_a_table_that_stopped_being_empty_is_upserted_into(server: str) -> None:
    name = fresh(server)
    with resolve(f"{server}#{name}", side="sink").sink() as sink:
        sink.prepare(Description(dim=8))
        run(
            server,
            f"INSERT INTO {name} (id, content, score) "
            "SELECT 'id-' || lpad(n::text, 7, '0'), 'other', 1 FROM generate_series(0, 99, 7) n",
        )
        for at in range(0, 100, 10):
            assert sink.load(samples.many(100).slice(at, 10)) == []
        sink.finish()
    assert by_value(*read(Spot(f"{server}#{name}"))) == by_value(samples.many(100))


def test_several_runs_may_load_the_same_records_at_once(server: str) -> None:
    name = fresh(server)
    batches = [samples.many(1500).slice(at, 300) for at in range(0, 1500, 300)]
    orders = [batches, batches[::-1], batches[2:] + batches[:2]]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda order: load(f"{server}#{name}", *order), orders)) == [[], [], []]
    assert by_value(*read(Spot(f"{server}#{name}"))) == by_value(samples.many(1500))
    indexes = query(server, f"SELECT count(*) FROM pg_indexes WHERE tablename = '{name}' AND indexdef LIKE '%hnsw%'")
    assert indexes == [(1,)]


def test_a_record_that_a_constraint_refuses_is_found_and_all_others_are_loaded(server: str) -> None:
    uri = f"{server}#{(name := fresh(server))}"
    load(uri, samples.many(1))
    run(server, f"ALTER TABLE {name} ADD CHECK (content NOT LIKE '% 5_ of%')", f"DELETE FROM {name}")
    refused = load(uri, samples.many(200))
    assert refused == [("refused", at) for at in range(50, 60)]
    kept = samples.many(200)
    assert by_value(*read(Spot(uri))) == by_value(kept.slice(0, 50), kept.slice(60))


def test_an_id_that_is_too_long_for_an_index_is_rejected(server: str) -> None:
    rng = np.random.default_rng(5)
    long = "".join(map(chr, rng.integers(0x4E00, 0x9FFF, 3000)))
    assert load(f"{server}#{fresh(server)}", samples.batch({"id": ["a", long, "b"]})) == [("refused", 1)]


def test_records_of_another_dimension_are_rejected_and_none_is_trimmed(server: str) -> None:
    uri = f"{server}#{fresh(server)}"
    assert load(uri, samples.batch({"id": ["a"]}, dim=3)) == []
    assert load(uri, samples.batch({"id": ["b"]}, dim=4)) == [("dimension", 0)]


def test_of_records_that_do_not_fit_and_share_an_id_none_is_counted_as_written(server: str, tmp_path: Path) -> None:
    rows = [{"id": "a", "vector": [1, 2]}, *({"id": one, "vector": [1, 2, 3]} for one in ("b", "c", "b", "b"))]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    uri, name = made(server, "id text PRIMARY KEY, v vector(2), metadata jsonb")
    report = copy(str(file), uri, rejects=str(tmp_path / "rejects.jsonl"))
    assert (report.counts.read, report.counts.written, report.counts.rejected) == (5, 1, 4)
    assert query(server, f"SELECT id FROM {name}") == [("a",)]


def test_rows_that_do_not_fit_are_named_whatever_their_ids(server: str) -> None:
    uri, _ = made(server, "id text PRIMARY KEY, v vector(2), metadata jsonb")
    wrong = samples.batch({"id": ["b", "c", "b"]}, dim=3)
    assert load(uri, wrong) == [("dimension", at) for at in range(3)]


def test_a_table_without_a_dimension_gets_that_of_the_first_vectors(server: str) -> None:
    uri = f"{server}#{fresh(server)}"
    batches = [samples.without_vectors(), samples.batch({"id": ["d"]}, dim=3), samples.batch({"id": ["e"]}, dim=5)]
    assert load(uri, *batches, plan=Description()) == [("dimension", 0)]
    assert resolve_existing(uri).dim == 3


def resolve_existing(uri: str, **options: str) -> Description:
    with resolve(uri, named(options), side="sink").sink() as sink:
        found = sink.existing()  # type: ignore[attr-defined]
    assert isinstance(found, Description)
    return found


def test_what_jsonb_would_change_comes_back_verbatim_unless_it_was_changed_by_sql(server: str) -> None:
    changed = ['{"a":1e5}', '{"a":-0.0}', '{"a":1,"a":2}', '{"a":"\\u0000"}', '{"a":"\\ud800"}']
    texts = [*changed, '{"h":"3e4","day":"2025-01-05"}', '{"a":1.5e-7}', "{bad", "[1,2]"]
    name = fresh(server)
    sample = samples.batch({"metadata": texts})
    assert load(f"{server}#{name}", sample) == [("malformed-json", 7)]
    back = records.storage(
        pa.Table.from_batches(read(Spot(f"{server}#{name}"))).sort_by("id").combine_chunks()["metadata"].chunk(0)
    )
    assert back.to_pylist() == [*texts[:6], '{"a":0.00000015}', "[1,2]"]
    assert query(server, f"SELECT count(*) FROM {name} WHERE metadata IS NULL") == [(5,)]
    run(server, f"""UPDATE {name} SET metadata = '{{"new":1}}'""")
    assert {json.dumps(record["metadata"]) for record in listed(f"{server}#{name}")} == {'{"new": 1}'}


def test_spaces_in_metadata_are_taken_out_between_members_alone(server: str) -> None:
    uri = f"{server}#{fresh(server)}"
    texts = ['{"a b": "x: y, z", "q\\"": "\\\\", "n": [1, 2]}', '{"\\\\\\"": " ,: "}', None, '{"e": "\\\\"}']
    load(uri, samples.batch({"metadata": texts}))
    found = [text for batch in read(Spot(uri)) for text in records.storage(batch["metadata"]).to_pylist()]
    assert found == ['{"n":[1,2],"q\\"":"\\\\","a b":"x: y, z"}', '{"\\\\\\"":" ,: "}', None, '{"e":"\\\\"}']


def test_zero_bytes_in_texts_come_back_and_in_ids_and_namespaces_are_rejected(server: str) -> None:
    uri = f"{server}#{(name := fresh(server))}"
    columns = {
        "id": ["a", "b\0", "c"],
        "text": ["x\0y", "z", "\0"],
        "namespace": [None, None, "n\0"],
        "model": ["m\0", "m", "m"],
    }
    assert load(uri, samples.batch(columns)) == [("zero-byte", 1), ("zero-byte", 2)]
    assert query(server, f"SELECT content, model FROM {name}") == [("xy", "m")]
    assert [(record["text"], record["model"]) for record in listed(uri)] == [("x\0y", "m\0")]


def test_further_vectors_get_columns_of_their_own(server: str) -> None:
    uri = f"{server}#{(name := fresh(server))}"
    sample = samples.further_vectors()
    plan = Description(dim=4, vectors={"vector:title": 2, "sparse:words": 100, "multi:tokens": 2})
    assert load(uri, samples.batch({"id": ["plain"]}), sample, plan=plan) == []
    types = types_of(server, name)
    assert [types[column] for column in ("title", "tokens", "words")] == ["vector(2)", "vector(2)[]", "sparsevec(100)"]
    again = facts(read(Spot(uri)), verbatim=False)
    assert in_order([fact for fact in again if fact.id != '"plain"']) == by_value(sample)


def test_sparse_vectors_that_sparsevec_cannot_hold_are_rejected(server: str) -> None:
    words = [
        {"indices": [1, 2], "values": [1.0, 0.0]},
        {"indices": [5, 2], "values": [1.0, 2.0]},
        {"indices": [1], "values": [2.0]},
    ]
    kind = pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))])
    plain = samples.batch({"id": ["a", "b", "c"]})
    columns = {name: plain.column(name) for name in records.BASE_NAMES}
    sample = records.build(columns, plain.column("vector"), more={"sparse:w": pa.array(words, kind)})
    assert load(f"{server}#{fresh(server)}", sample) == [("sparse", 0), ("sparse", 1)]


def test_pgvector_without_sparsevec_refuses_sparse_vectors(old: str) -> None:
    with pytest.raises(Unsupported, match=r"which pgvector has since 0\.7"):
        load(f"{old}#{fresh(old)}", samples.further_vectors())


def test_halfvec_is_refused_unless_losses_are_allowed(server: str) -> None:
    uri, _ = made(server, "id text PRIMARY KEY, embedding halfvec(4), metadata jsonb")
    sample = samples.batch({"id": ["a"], "metadata": ['{"n":1}']})
    with pytest.raises(SchemaError, match="embedding is halfvec, which rounds every number; --allow-lossy allows it"):
        load(uri, sample)
    assert load(uri, sample, allow_lossy="true") == []
    halves = records.matrix(sample["vector"]).astype(np.float16).astype(np.float32)
    assert (records.matrix(read(Spot(uri))[0]["vector"]) == halves).all()


# -- indexes ----------------------------------------------------------------------------------------------------------


def indexed(server: str, name: str) -> str:
    rows = query(server, f"SELECT indexdef FROM pg_indexes WHERE tablename = '{name}' AND indexdef ~ 'hnsw|ivfflat'")
    return " ".join(text.partition(" USING ")[2] for (text,) in rows)


@pytest.mark.parametrize(
    ("metric", "opclass"),
    [
        (None, "vector_cosine_ops"),
        ("dot", "vector_ip_ops"),
        ("euclidean", "vector_l2_ops"),
        ("manhattan", "vector_l1_ops"),
    ],
)
def test_a_new_table_is_indexed_in_its_metric_at_the_end(server: str, metric: str | None, opclass: str) -> None:
    uri = f"{server}#{(name := fresh(server))}"
    with resolve(uri, side="sink").sink() as sink:
        sink.prepare(Description(dim=8, metric=metric))
        sink.load(samples.many(10))
        assert indexed(server, name) == ""
        assert resolve_existing(uri).metric == (metric or "cosine")
        sink.finish()
    assert indexed(server, name) == f"hnsw (vector {opclass})"
    assert resolve_existing(uri).metric == (metric or "cosine")


def test_a_metric_that_pgvector_does_not_have_is_refused_before_anything_is_made(server: str) -> None:
    uri = f"{server}#{(name := fresh(server))}"
    with pytest.raises(SchemaError, match="pgvector has no metric jaccard for vectors"):
        load(uri, samples.many(1), plan=Description(dim=8, metric="jaccard"))
    assert query(server, f"SELECT to_regclass('{name}')") == [(None,)]


def test_parameters_of_an_index_are_carried_over(server: str) -> None:
    uri, name = made(server, "id int PRIMARY KEY, v vector(3)", "1, '[1,2,3]'")
    run(server, f"CREATE INDEX ON {name} USING hnsw (v vector_ip_ops) WITH (m = 7, ef_construction = 33)")
    with resolve(uri, side="source").source(Selection()) as source:
        known = source.describe()
    assert known.metric == "dot"
    assert known.settings == {
        "pgvector": {"type": "vector", "index": "hnsw", "opclass": "vector_ip_ops", "m": 7, "ef_construction": 33}
    }
    target = fresh(server)
    load(f"{server}#{target}", samples.batch({"id": ["a"]}, dim=3), plan=replace(known, id_type="string"))
    assert indexed(server, target) == "hnsw (vector vector_ip_ops) WITH (m='7', ef_construction='33')"


WAYS: list[dict[str, Any]] = [{"index": "ivfflat"}, {"no_index": "true"}, {"index": "none"}]


def test_the_options_choose_the_index_or_none(server: str) -> None:
    names = [fresh(server) for _ in range(3)]
    for name, options in zip(names, WAYS, strict=True):
        load(f"{server}#{name}", samples.many(10), **options)
    assert indexed(server, names[0]) == "ivfflat (vector vector_cosine_ops) WITH (lists='1')"
    assert (indexed(server, names[1]), indexed(server, names[2])) == ("", "")
    with pytest.raises(UsageError, match="--index flat: has to be one of hnsw, ivfflat, none"):
        load(f"{server}#{names[0]}", samples.many(1), index="flat")


def test_vectors_too_long_for_an_index_are_indexed_as_halfvec_or_not_at_all(server: str) -> None:
    wide, wider = fresh(server), fresh(server)
    load(f"{server}#{wide}", samples.batch({"id": ["a"]}, dim=3000))
    load(f"{server}#{wider}", samples.batch({"id": ["a"]}, dim=5000))
    assert indexed(server, wide) == "hnsw (((vector)::halfvec(3000)) halfvec_cosine_ops)"
    assert indexed(server, wider) == ""
    with resolve(f"{server}#{wide}", side="source").source(Selection()) as source:
        assert source.describe().metric == "cosine"


def test_a_run_that_was_interrupted_leaves_the_index_to_the_next_one(server: str) -> None:
    uri = f"{server}#{(name := fresh(server))}"
    with resolve(uri, side="sink").sink() as sink:
        sink.prepare(Description(dim=8))
        sink.load(samples.many(10))
    assert indexed(server, name) == ""
    load(uri, samples.many(20))
    assert indexed(server, name) == "hnsw (vector vector_cosine_ops)"
    run(server, f"DROP INDEX {name}_vector_idx")
    load(uri, samples.many(20))
    assert indexed(server, name) == "", "who drops an index later does not get it back"


def test_asking_what_is_there_changes_nothing(server: str) -> None:
    name = fresh(server)
    with resolve(f"{server}#{name}", side="sink").sink() as sink:
        assert sink.existing() is None  # type: ignore[attr-defined]
    assert query(server, f"SELECT to_regclass('{name}')") == [(None,)]
    load(f"{server}#{name}", samples.many(10))
    found = resolve_existing(f"{server}#{name}")
    assert (found.dim, found.rows, found.metric) == (8, 10, "cosine")


# -- into tables of other tools ---------------------------------------------------------------------------------------


def npm_table(server: str, *rows: str) -> tuple[str, str]:
    uri, name = made(server, NPM.format(dim=4))
    run(server, *(f"INSERT INTO {name} VALUES ({row})" for row in rows))
    return uri, name


def test_what_npm_vex_has_written_is_read_without_loss(server: str) -> None:
    uri, _ = npm_table(
        server,
        """'a', 'a text', 'notes', 3, 'x,y', 'Ada', 'p1|||p2', 1736937900, 'vex',
            '{"tags": ["x", "y"], "importance": 3, "deep": {"a": [1]}}', '[1,2,3,4]'""",
        """'b', '', 'default', 0.6, '', NULL, NULL, NULL, 'vex', '{}', NULL""",
    )
    first, second = listed(uri)
    assert (first["text"], first["namespace"], first["vector"]) == ("a text", "notes", [1, 2, 3, 4])
    assert first["created_at"].timestamp() == 1736937900
    assert first["metadata"] == {
        "tags": ["x", "y"], "importance": 3, "deep": {"a": [1]}, "entities": "Ada", "potential": "p1|||p2",
        "source": "vex",
    }  # fmt: skip
    assert first["extra"] is None
    assert (second["text"], second["vector"], second["metadata"]) == (
        None,
        None,
        {"importance": 0.6, "tags": "", "source": "vex"},
    )


def test_records_go_into_the_columns_of_npm_vex_as_it_would_write_them(server: str) -> None:
    uri, name = npm_table(server)
    columns = {
        "id": ["a", "b"], "namespace": ["n", None],
        "metadata": ['{"importance":4,"tags":["x","y"],"deep":{"k":[1.0,null]}}', None],
        "created_at": pa.array([1736937900_000000, 1736937900_250000], pa.int64()).cast(records.TIMESTAMP),
        "score": [0.25, None],
    }  # fmt: skip
    sample = samples.batch(columns)
    for _ in range(2):
        assert load(uri, sample) == []
    written = "id, content, namespace, importance, tags, created_at, metadata->>'deep'"
    assert query(server, f"SELECT {written} FROM {name} ORDER BY 1") == [
        ("a", "text 0", "n", 4.0, "x,y", 1736937900, '{"k": [1.0, null]}'),
        ("b", "text 1", None, None, None, 1736937900, None),
    ]
    assert by_value(*read(Spot(uri))) == by_value(sample)


def test_an_upsert_into_a_table_of_another_tool_replaces_a_row_as_a_whole(server: str) -> None:
    uri, name = made(
        server,
        "id text PRIMARY KEY, v vector(4), metadata jsonb, level int DEFAULT 9, "
        "made text GENERATED ALWAYS AS (id || '!') STORED",
        """'a', '[1,2,3,4]', '{"old": 1}', 5""",
    )
    assert load(uri, samples.batch({"id": ["a"], "text": [None], "metadata": ['{"new":2}']})) == []
    assert query(server, f"SELECT metadata->>'old', metadata->>'new', level, made FROM {name}") == [
        (None, "2", None, "a!")
    ]


def test_without_a_unique_id_rows_of_the_same_id_are_replaced_as_well(server: str) -> None:
    uri, name = made(
        server,
        "id int, v vector(4), metadata jsonb",
        "1, '[0,0,0,0]', NULL",
        "1, '[0,0,0,0]', NULL",
        "2, '[0,0,0,0]', NULL",
    )
    assert load(uri, samples.batch({"id": ["1", "3"]}, id_type="int")) == []
    assert query(server, f"SELECT id, v::text <> '[0,0,0,0]' FROM {name} ORDER BY 1") == [
        (1, True),
        (2, False),
        (3, True),
    ]


@pytest.mark.parametrize(
    "kind", ["bigserial", "bigint GENERATED ALWAYS AS IDENTITY", "int GENERATED BY DEFAULT AS IDENTITY"]
)
@pytest.mark.parametrize("metadata", ["metadata jsonb", "text text"])
def test_rows_that_are_replaced_keep_a_primary_key_that_is_not_their_id(server: str, kind: str, metadata: str) -> None:
    uri, name = made(server, f"pk {kind} PRIMARY KEY, name text NOT NULL UNIQUE, v vector(4), {metadata}")
    run(
        server,
        f"INSERT INTO {name} (name, v) SELECT 'n' || n, '[0,0,0,0]' FROM generate_series(1, 3) n",
        f"CREATE TABLE {name}_other (pk bigint REFERENCES {name})",
        f"INSERT INTO {name}_other SELECT pk FROM {name}",
    )
    for _ in range(2):
        assert load(uri, samples.batch({"id": ["n2", "n3", "n4"]}), id_field="name") == []
    found = dict(query(server, f"SELECT name, pk FROM {name}"))
    assert {key: found[key] for key in ("n1", "n2", "n3")} == {"n1": 1, "n2": 2, "n3": 3}
    assert found["n4"] > 3
    assert query(server, f"SELECT count(*) FROM {name} WHERE v::text <> '[0,0,0,0]'") == [(3,)]


def test_a_primary_key_of_text_that_is_not_the_id_is_kept(server: str) -> None:
    uri, name = made(server, "pk text PRIMARY KEY, name text NOT NULL UNIQUE, v vector(4), metadata jsonb")
    run(server, f"INSERT INTO {name} VALUES ('p', 'a', '[0,0,0,0]'), ('q', 'b', '[0,0,0,0]')")
    sample = samples.batch({"id": ["a", "b", "c"]})
    assert load(uri, sample, id_field="name") == [("refused", 2)]
    assert query(server, f"SELECT pk, name FROM {name} ORDER BY 1") == [("p", "a"), ("q", "b")]
    back = read(Spot(uri, source_options={"id-field": "name"}))
    assert by_value(*back) == by_value(sample.slice(0, 2))


def test_uuids_that_the_server_would_spell_otherwise_are_rejected(server: str) -> None:
    uri, name = made(server, "id uuid PRIMARY KEY, v vector(4), metadata jsonb")
    plain = "550e8400-e29b-41d4-a716-446655440000"
    ids = [plain, plain.upper(), "{" + plain + "}", plain.replace("-", ""), plain + "\n"]
    assert load(uri, samples.batch({"id": ids})) == [("no-place", at) for at in range(1, 5)]
    assert query(server, f"SELECT id::text FROM {name}") == [(plain,)]


def test_ids_that_are_one_to_the_server_alone_do_not_end_a_run(server: str) -> None:
    uri, name = made(server, "id numeric PRIMARY KEY, v vector(4), metadata jsonb")
    assert load(uri, samples.batch({"id": ["1", "2", "1.0", "3"]})) == []
    assert query(server, f"SELECT id::int FROM {name} ORDER BY 1") == [(1,), (2,), (3,)]


def test_a_table_without_a_json_column_takes_what_its_columns_hold_exactly(server: str) -> None:
    uri, _ = made(
        server,
        "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text, v vector(4), level int, note text, yes bool, "
        "part float8, doc json",
    )
    fine = '{"level":3,"note":"n","yes":true,"part":0.5,"doc":{"a":[1]}}'
    texts = [fine, None, '{"level":3.5}', '{"other":1}', '{"note":["a"]}', '{"part":1.0}', '{"level":null}', "{}"]
    sample = samples.batch({"id": list("12345678"), "metadata": texts}, id_type="int")
    assert load(uri, sample) == [("no-place", row) for row in (2, 3, 4, 5, 6, 7)]
    assert by_value(*read(Spot(uri))) == by_value(sample.slice(0, 2))
    assert load(uri, samples.batch({"id": ["9"], "score": [0.5]}, id_type="int")) == [("no-place", 0)]


def test_columns_that_take_no_null_get_their_default_and_the_record_comes_back_as_it_was(server: str) -> None:
    uri, name = made(
        server,
        "id text PRIMARY KEY, text text NOT NULL, namespace text NOT NULL, v vector(4), level int NOT NULL DEFAULT 7, "
        "kind text NOT NULL, metadata jsonb NOT NULL",
    )
    sample = samples.batch(
        {
            "id": ["a", "b", "c"],
            "text": [None, "", "t"],
            "namespace": [None, "", "n"],
            "metadata": [None, '{"level":1,"kind":"k"}', "{}"],
        }
    )
    assert load(uri, sample) == []
    assert query(server, f"SELECT text, namespace, level, kind FROM {name} ORDER BY id") == [
        ("", "", 7, ""),
        ("", "", 1, "k"),
        ("t", "n", 7, ""),
    ]
    assert by_value(*read(Spot(uri))) == by_value(sample)
    assert [
        r["id"] for r in (one for batch in read(Spot(uri), selection=Selection((None,))) for one in batch.to_pylist())
    ] == ["a"]


def test_records_of_a_table_go_into_a_table_of_the_same_columns(server: str) -> None:
    columns = "id uuid PRIMARY KEY, body text, v vector(2), title vector(1), n numeric, at timestamptz, words text[]"
    columns += ", data jsonb"
    uri, _ = made(
        server,
        columns,
        "'00000000-0000-0000-0000-00000000000a', 'b', '[1,2]', '[3]', 1.50, '2025-01-15 10:45+00', NULL, '{\"a\": 1}'",
    )
    target, _ = made(server, columns)
    options = {"text-field": "body"}
    batch = read(Spot(uri, source_options=options))[0]
    assert (
        load(target, batch, plan=Description(dim=2, id_type="uuid", vectors={"vector:title": 1}), text_field="body")
        == []
    )
    assert by_value(*read(Spot(target, source_options=options))) == by_value(batch)


def test_types_of_other_schemas_and_domains_are_written(server: str) -> None:
    schema = f"vex_types_{os.getpid()}"
    run(
        server, f"CREATE SCHEMA {schema}", f"CREATE TYPE {schema}.mood AS ENUM ('sad', 'ok')",
        f"CREATE DOMAIN {schema}.small AS int CHECK (VALUE < 10)",
    )  # fmt: skip
    uri, name = made(
        server, f"id int PRIMARY KEY, v vector(4), mood {schema}.mood, small {schema}.small, short varchar(2)"
    )
    texts = ['{"mood":"ok","small":3,"short":"ab"}', '{"mood":"fine"}', '{"small":10}', '{"short":"abc"}']
    sample = samples.batch({"id": list("1234"), "text": [None] * 4, "metadata": texts}, id_type="int")
    assert load(uri, sample) == [("refused", 1), ("refused", 2), ("refused", 3)]
    assert query(server, f"SELECT mood::text, small, short FROM {name}") == [("ok", 3, "ab")]
    assert by_value(*read(Spot(uri))) == by_value(sample.slice(0, 1))


def test_tables_that_records_cannot_go_into_are_refused(server: str) -> None:
    _, plain = made(server, "id int PRIMARY KEY, t text")
    _, sparse = made(server, "id int PRIMARY KEY, v sparsevec(3)")
    _, foreign = made(server, "id text PRIMARY KEY, v vector(4), metadata jsonb")
    _, no_id = made(server, "a int, v vector(4)")
    run(server, f"CREATE VIEW {foreign}_view AS SELECT * FROM {foreign}")
    for name, error, message in (
        (plain, SchemaError, "has no vector column"),
        (sparse, SchemaError, "no column of dense vectors"),
        (f"{foreign}_view", Unsupported, "into tables only"),
        (no_id, SchemaError, "no column can be the id; --id-field names one of a, v"),
    ):
        with pytest.raises(error, match=message):
            load(f"{server}#{name}", samples.batch({"id": ["1"]}))
    with pytest.raises(Unsupported, match="no columns for vector:title, sparse:words, multi:tokens; --drop-vectors"):
        load(f"{server}#{foreign}", samples.further_vectors())


# -- addresses, errors ------------------------------------------------------------------------------------------------


def test_a_place_may_be_named_in_every_way(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = fresh(server)
    load(f"{server}#{name}", samples.many(3))
    rest = server.partition("://")[2]
    ways = [
        (f"postgres://{rest}#public.{name}", {}),
        (f"pgvector://{rest}?application_name=a&table={name}", {}),
        (f"postgresql://{rest}?table={name}&timeout=5", {}),
        ("pgvector", {"url": server, "table": name}),
        ("postgres", {"pg-url": server, "table": f"public.{name}"}),
    ]
    for text, options in ways:
        assert len(facts(read(Spot(text, source_options=options)))) == 3
    monkeypatch.setenv("DATABASE_URL", server)
    assert len(facts(read(Spot("pgvector", source_options={"table": name})))) == 3
    monkeypatch.setenv("PGVECTOR_URL", "postgresql://127.0.0.1:1/nowhere")
    assert len(facts(read(Spot(f"{server}#{name}")))) == 3
    monkeypatch.delenv("PGVECTOR_URL")
    monkeypatch.delenv("DATABASE_URL")
    host, port = rest.rpartition("@")[2].partition("/")[0].split(":")
    for key, value in {"PGHOST": host, "PGPORT": port, "PGUSER": "postgres", "PGDATABASE": "postgres"}.items():
        monkeypatch.setenv(key, value)
    assert len(facts(read(Spot("pgvector", source_options={"table": name})))) == 3


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("postgresql://h/d#a", {"table": "b"}, "the URI names the table a, --table names b"),
        ("postgresql://h/d#a.b.c", {}, "has to be table or schema.table"),
        ("postgresql://h/d#a.", {}, "has to be table or schema.table"),
        ("postgresql://u:1%secret@h/d", {}, "is malformed"),
        ("postgresql://u:a/secret@h/d", {}, "has to be written %2F"),
        ("postgresql://u:a#secret@h/d", {}, "has to be written %2F"),
        ("postgresql://u:a#secret@h/d", {"table": "b"}, "has to be written %2F"),
        ("pgvector", {"url": "postgresql://u:a/secret@h/d#t"}, "has to be written %2F"),
        ("pgvector", {"url": "postgresql://u:a#secret@h/d"}, "has to be written %2F"),
        ("pgvector", {"url": "postgresql://u:a?secret@h/d"}, "has to be written %2F"),
        ("pgvector", {"url": "postgresql://u:a@secret#b@h/d"}, "has to be written %2F"),
        ("pgvector", {"url": "postgresql://u:[secret@h/d"}, "malformed|has to be written|cannot be"),
        ("pgvector", {"url": "host=h password=secret://x port=y"}, "cannot be reached"),
        ("postgresql://u:secret@h:x/d", {}, "cannot be reached: failed to resolve host"),
        ("pgvector", {"url": "mysql://u:secret@h/d"}, "a database is postgresql://…, not mysql://…"),
    ],
)
def test_what_names_no_table_is_refused_without_showing_the_password(
    text: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises((UsageError, AccessError, TransientError), match=message) as caught:
        read(Spot(text, source_options={**options, "retries": "0"}))
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    with postgres("18", password="s3cr3t/ä") as url:  # noqa: S106 - of a server for tests
        yield url.replace("s3cr3t/ä", "s3cr3t%2F%C3%A4")


def test_a_wrong_password_is_an_access_error_that_shows_none(locked: str) -> None:
    with pytest.raises(NotFound):
        listed(locked)
    given: dict[str, Any] = {"password": "wr0ng"}
    for uri, options in ((locked.replace("s3cr3t", "wr0ng"), {}), (locked, given)):
        with pytest.raises(AccessError, match="the login was refused: password authentication failed") as caught:
            listed(uri, **options)
        assert "wr0ng" not in str(caught.value)
    with pytest.raises(AccessError, match="asks for a password"):
        listed(locked.replace(":s3cr3t%2F%C3%A4", ""))


def test_what_is_not_there_is_named(server: str) -> None:
    with pytest.raises(NotFound, match='database "no_such" does not exist'):
        listed(server.rpartition("/")[0] + "/no_such")
    with pytest.raises(NotFound, match="there is no table no_such"):
        listed(f"{server}#no_such")
    with pytest.raises(NotFound, match='schema "no_such" does not exist'):
        load(f"{server}#no_such.t", samples.many(1))
    with pytest.raises(TransientError, match="cannot be reached: "):
        listed("postgresql://127.0.0.1:1/d", retries="0")


def test_what_a_user_may_not_do_is_an_access_error(server: str) -> None:
    name = fresh(server)
    load(f"{server}#{name}", samples.many(1))
    run(server, f"CREATE USER {name} PASSWORD 'x'")
    other = server.replace("postgres@", f"{name}:x@")
    with pytest.raises(AccessError, match=f"permission denied for table {name}"):
        listed(f"{other}#{name}")
    with pytest.raises(AccessError, match="permission denied"):
        load(f"{other}#{name}", samples.many(1))
    run(server, f"GRANT SELECT ON {name} TO {name}")
    assert len(listed(f"{other}#{name}")) == 1


def test_a_database_without_pgvector_gets_it_or_says_who_can_install_it(server: str) -> None:
    name = fresh(server)
    run(server, f"CREATE USER {name}", f"CREATE DATABASE {name}", f"GRANT ALL ON DATABASE {name} TO {name}")
    other = server.rpartition("/")[0] + f"/{name}"
    run(other, f"GRANT ALL ON SCHEMA public TO {name}")
    run(other, "CREATE SCHEMA tools", "CREATE EXTENSION vector SCHEMA tools")
    assert load(other, samples.many(3)) == []
    assert query(other, "SELECT count(*) FROM vex_vectors") == [(3,)]


@pytest.mark.parametrize(
    ("uri", "options", "environment", "expected"),
    [
        ("postgresql://db.example/x", {}, {}, "verify-full"),
        ("postgresql://db.example/x", {"sslmode": "require"}, {}, "require"),
        ("postgresql://db.example/x?sslmode=disable", {}, {}, None),
        ("postgresql://db.example/x", {}, {"PGSSLMODE": "prefer"}, None),
        ("postgresql:///x", {}, {"PGHOST": "db.example"}, "verify-full"),
        ("postgresql://localhost/x", {}, {}, None),
        ("postgresql:///x?host=/run/postgresql", {}, {}, None),
        ("postgresql://127.0.0.1,db.example/x", {}, {}, "verify-full"),
    ],
)
def test_servers_elsewhere_have_to_show_a_certificate_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
    uri: str,
    options: dict[str, Any],
    environment: dict[str, str],
    expected: str | None,
) -> None:
    seen: dict[str, Any] = {}

    def connect(conninfo: str, **given: Any) -> None:
        seen.update(given, conninfo=conninfo)
        raise psycopg.OperationalError("not tried")

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(psycopg, "connect", connect)
    with pytest.raises(TransientError, match="not tried"):
        listed(uri, retries="0", **options)
    assert seen.get("sslmode") == (expected if "sslmode=disable" not in uri else "disable")
    assert ("sslrootcert" in seen) == (expected == "verify-full")


# -- connections that break -------------------------------------------------------------------------------------------


def test_reading_and_loading_go_on_when_connections_are_ended(server: str) -> None:
    uri = f"{server}#{(name := fresh(server))}"
    end = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query ~ 'COPY' AND pid <> pg_backend_pid()"
    )
    stop = threading.Event()

    def disturb() -> None:
        while not stop.wait(0.15):
            query(server, end)

    sample = samples.many(4000, dim=256)
    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        assert load(uri, *(sample.slice(at, 500) for at in range(0, 4000, 500)), retries="10") == []
    finally:
        stop.set()
        disturber.join()
    assert query(server, f"SELECT count(*), count(DISTINCT id) FROM {name}") == [(4000, 4000)]
    place = resolve(uri, {"retries": "10"}, side="source")
    found: list[Page] = []
    with place.source(Selection()) as source:
        for page in source.extract(source.partitions(1)[0], rows=500):
            found.append(page)
            query(server, end)
    assert by_value(*(page.batch for page in found)) == by_value(sample)


def test_a_server_that_does_not_answer_is_given_up_after_the_time_out(server: str) -> None:
    name = fresh(server)
    load(f"{server}#{name}", samples.many(1))
    with psycopg.connect(server) as db:
        db.execute(f"LOCK TABLE {name}".encode())
        with pytest.raises(TransientError, match=r"no answer within 0\.3 s"):
            load(f"{server}#{name}", samples.many(2), timeout="0.3", retries="0")
        with pytest.raises(TransientError, match=r"no answer within 0\.3 s"):
            listed(f"{server}#{name}", timeout="0.3", retries="0")


def test_a_server_that_has_gone_is_noticed_where_there_is_no_time_out(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    _, table = made(server, "id int PRIMARY KEY, v vector(1)")
    found: list[psycopg.Connection[Any]] = []
    connect = psycopg.connect

    def noted(*info: Any, **given: Any) -> psycopg.Connection[Any]:
        found.append(connect(*info, **given))
        return found[-1]

    monkeypatch.setattr(psycopg, "connect", noted)

    def alive(place: str, **options: str) -> list[int]:
        with (
            resolve(place, {**named(options), "table": table}, side="source").source(Selection()),
            socket.socket(fileno=os.dup(found[-1].fileno())) as wire,
        ):
            return [wire.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]

    assert alive(server) == [30, 10, 6, 90_000]
    assert alive(f"{server}?keepalives_idle=7") == [7, 10, 6, 90_000]
    assert alive("pgvector", url=f"{server}?keepalives_count=3", tcp_user_timeout="0") == [30, 10, 3, 0]


def test_sixteen_holds_the_same(sixteen: str) -> None:
    for make in (*samples.EVERY.values(), samples.further_vectors):
        uri = f"{sixteen}#{fresh(sixteen)}"
        assert load(uri, make()) == []
        assert by_value(*read(Spot(uri), rows=2, wanted=3)) == by_value(make())


def test_a_row_that_is_there_bit_for_bit_is_not_written_again(server: str) -> None:
    """Its vector would go into the index again, which is slow."""
    for uri, name in (
        (f"{server}#{(own := fresh(server))}", own),
        made(server, "id text PRIMARY KEY, content text, v vector(8), metadata json"),
    ):
        before = records.build(
            {"id": ["same", "zero", "json"], "text": ["t"] * 3, "metadata": ['{"a":1}'] * 3},
            np.zeros((3, 8), np.float32),
        )
        sign = np.zeros((3, 8), np.float32)
        sign[1, 3] = -0.0
        after = records.build(
            {"id": ["same", "zero", "json"], "text": ["t"] * 3, "metadata": ['{"a":1}', '{"a":1}', '{"a":1.0}']}, sign
        )
        assert load(uri, before) == []
        first = dict(query(server, f"SELECT id, xmin::text FROM {name}"))
        assert load(uri, after) == []
        second = dict(query(server, f"SELECT id, xmin::text FROM {name}"))
        assert {one for one in first if first[one] != second[one]} == {"zero", "json"}
        found = {fact.id: fact for fact in facts(read(Spot(uri)))}
        assert found['"zero"'].vector == sign[1].tobytes()
        assert "1.0" in (found['"json"'].metadata or "")
