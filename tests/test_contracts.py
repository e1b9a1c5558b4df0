"""The contract suites of `vexarrow.testing`, run over every format and connector of ours."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vexarrow import plugins, records
from vexarrow.protocols import Page, Reject
from vexarrow.selection import Selection
from vexarrow.testing import ConnectorContract, FormatContract, Spot, facts, pages, read, samples, write
from vexarrow.testing.contract import resumed_everywhere


class TestJsonl(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.vmig.jsonl")


class TestJsonlGzip(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.vmig.jsonl.gz")


class TestJsonlZstd(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.vmig.jsonl.zst")


class TestParquet(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.parquet")


class TestParquetDirectory(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records/")


class TestParquetByNamespace(FormatContract):
    ordered = False

    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records/", target_options={"partition-by": "namespace"})


class TestParquetColumns(FormatContract):
    verbatim = False

    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.parquet", target_options={"metadata": "columns"})


class TestArrow(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.arrow")


class TestArrowStream(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.arrows")


class TestFeather(FormatContract):
    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/records.feather")


class TestVektor(ConnectorContract):
    """A database that is not there yet."""

    def place(self, folder: Path) -> Spot:
        return Spot(f"{folder}/memory.db")


SCHEMA_A = """
    CREATE TABLE memories (id TEXT, agent_id TEXT, content TEXT, summary TEXT, importance INT, tags TEXT,
        namespace TEXT, pinned INT, created_at NUM, updated_at NUM, vector BLOB, edge_type TEXT, potential TEXT);
    CREATE VIRTUAL TABLE memories_fts USING fts5(content, content='memories', content_rowid='rowid');
    CREATE TRIGGER memories_fts_insert AFTER INSERT ON memories BEGIN
        INSERT INTO memories_fts(rowid, content) VALUES (new.rowid, new.content);
    END"""
SCHEMA_B = """
    CREATE TABLE memories (id TEXT PRIMARY KEY, content TEXT, embedding BLOB, metadata TEXT, created_at TEXT,
        namespace TEXT)"""
SCHEMA_C = """
    CREATE TABLE memories (id INTEGER PRIMARY KEY AUTOINCREMENT, agent_id TEXT NOT NULL DEFAULT 'default',
        content TEXT NOT NULL, edge_type TEXT DEFAULT 'semantic', tags TEXT DEFAULT '', importance REAL DEFAULT 1.0,
        vector BLOB, created_at INTEGER, updated_at INTEGER)"""


class Existing(ConnectorContract):
    """A database that another tool has made."""

    schema: str

    def place(self, folder: Path) -> Spot:
        with closing(sqlite3.connect(folder / "memory.db")) as db:
            db.executescript(self.schema)
        return Spot(f"{folder}/memory.db")

    def nowhere(self, folder: Path) -> Spot:
        return Spot(f"{folder}/memory.db")


class TestVektorA(Existing):
    schema = SCHEMA_A


class TestVektorB(Existing):
    schema = SCHEMA_B


class TestVektorC(Existing):
    """Only integers fit its ids."""

    schema = SCHEMA_C

    def fit(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return with_integer_ids(batch)


def with_integer_ids(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same records with integers for ids that are none: equal ids become equal integers."""
    ids = [fact.id if fact.id.lstrip("-").isdecimal() else str(zlib.crc32(fact.id.encode())) for fact in facts(batch)]
    extras = [fact.extra for fact in facts(batch)]
    changed = {"id": pa.array(ids, pa.string()), "extra": records.json_array(extras)}
    columns = {name: changed.get(name, batch.column(name)) for name in records.BASE_NAMES}
    more = {name: batch.column(name) for name in batch.schema.names if name.startswith(records.EXTRA_VECTORS)}
    return records.build(columns, batch.column("vector"), id_type="int", more=more)


def test_without_pytest_the_suites_say_what_to_install() -> None:
    script = "import sys; sys.modules['pytest'] = None; import vexarrow.testing"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "MissingDependency: vexarrow.testing needs pytest: pip install 'vexarrow[testing]'" in done.stderr


def test_every_plugin_of_ours_is_under_contract() -> None:
    covered = {name.removeprefix("Test").lower() for name in globals() if name.startswith("Test")}
    folder = Path(__file__).parent / "connectors"
    covered |= {
        path.stem.removeprefix("test_")
        for path in folder.glob("test_*.py")
        if "(ConnectorContract)" in path.read_text()
    }
    known = [*plugins.formats(), *plugins.connectors()]
    assert [name for name in known if name not in covered] == []


@pytest.fixture
def small_groups(tmp_path: Path) -> Spot:
    """A Parquet file of ours, rewritten in row groups of seven records each."""
    spot = Spot(f"{tmp_path}/records.parquet")
    write(spot, samples.many(100))
    pq.write_table(pq.read_table(spot.text), spot.text, row_group_size=7)
    return spot


def test_a_parquet_file_of_many_row_groups_is_split_and_resumed_between_them(small_groups: Spot) -> None:
    with small_groups.source().source(Selection()) as source:
        parts = source.partitions(4)
        found = [page.batch for part in parts for page in resumed_everywhere(source, part, 5)]
    assert len(parts) == 4
    assert facts(found) == facts(samples.many(100))


@pytest.mark.parametrize("where", [None, "metadata->>'n' >= 60 and dims = 8"])
def test_reading_a_part_of_a_parquet_file_goes_on_after_any_cursor(small_groups: Spot, where: str | None) -> None:
    selection = Selection(namespaces=("a", None), where=where)
    with small_groups.source().source(selection) as source:
        (part,) = source.partitions(1)
        found = resumed_everywhere(source, part, 6)
    assert sum(page.batch.num_rows + page.skipped for page in found) == 100
    assert facts(page.batch for page in found) == facts(read(small_groups, selection=selection))
    numbers = [int(fact.id.strip('"')[3:]) for fact in facts(page.batch for page in found)]
    assert numbers == [at for at in range(60 if where else 0, 100) if at % 5 in (0, 4)]


def test_a_page_is_read_without_those_before_it(tmp_path: Path) -> None:
    """Every cursor leads to the right line after blank lines, comments and lines that are no records."""
    noise = ["\ufeff# comment", "", '{"id":1}', '{"id":"a","text":"x"}\r', "", '{"id":2,"vector":[1,2]}', "not json"]
    noise.append('{"id":3,"vector":[1]}')
    (tmp_path / "noise.vmig.jsonl").write_text("\n".join(noise), encoding="utf-8", newline="")
    with Spot(f"{tmp_path}/noise.vmig.jsonl").source().source(Selection()) as source:
        (part,) = source.partitions(1)
        for rows in (1, 2, 3, 100):
            whole = pages(source, part, rows, readable=False)
            lines = [line for page in whole for line in page.lines or ()]
            assert (sorted(lines), sum(len(page.rejects) for page in whole)) == ([4, 6, 8], 2)
            for at, page in enumerate(whole):
                rest = pages(source, part, rows, page.cursor, readable=False)
                assert list(map(seen, rest)) == list(map(seen, whole[at + 1 :]))


def seen(page: Page) -> tuple[list[int], Sequence[Reject]]:
    """What a page says of the lines that it was made of."""
    return list(page.lines or ()), page.rejects
