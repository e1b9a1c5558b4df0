"""The Python API: the verbs of the command line, and the examples of its documentation."""

from __future__ import annotations

import doctest
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import vexarrow
import vexarrow.api
from tests.commands import DEBIAN, MEMORY, json_lines, lines, names, vex
from vexarrow import records
from vexarrow.errors import DataError, NotFound, SchemaError, TooManyRejects, UsageError
from vexarrow.protocols import Description


@pytest.mark.parametrize("module", [vexarrow, vexarrow.api], ids=lambda module: module.__name__)
def test_the_examples_of_the_documentation_run(module: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(DEBIAN, tmp_path / "memories.vmig.jsonl")
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)  # type: ignore[arg-type] # its name is
    assert found.attempted > 0
    assert not found.failed


@pytest.mark.parametrize("name", ["copy", "inspect", "read", "validate", "write"])
def test_every_verb_is_exported_documented_and_has_an_example(name: str) -> None:
    assert name in vexarrow.__all__
    verb: Callable[..., object] = getattr(vexarrow, name)
    assert ">>> " in (verb.__doc__ or "")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        vexarrow.nothing_of_the_kind  # noqa: B018 - the access is the test


# -- copy ----------------------------------------------------------------------------------------------------------


def test_copy_reports_what_it_did(tmp_path: Path) -> None:
    report = vexarrow.copy(str(DEBIAN), str(tmp_path / "out.vmig.jsonl"), namespaces=["games", "perl"], limit=20)
    assert isinstance(report, vexarrow.Report)
    assert report.counts.written == len(lines(tmp_path / "out.vmig.jsonl")) == 20
    assert report.counts.read == report.counts.written + report.counts.skipped + report.counts.rejected
    assert (report.source, report.target) == (str(DEBIAN), str(tmp_path / "out.vmig.jsonl"))
    assert report.sidecar == str(tmp_path / "out.vmig.meta.json")
    assert report.duration > 0


def test_copy_selects_as_the_command_line_does(tmp_path: Path) -> None:
    where = "metadata->>'importance' >= 3"
    vexarrow.copy(str(DEBIAN), str(tmp_path / "a.vmig.jsonl"), namespaces=["libs"], where=where)
    vex("convert", DEBIAN, tmp_path / "b.vmig.jsonl", "--namespace", "libs", "--where", where).ok()
    assert (tmp_path / "a.vmig.jsonl").read_bytes() == (tmp_path / "b.vmig.jsonl").read_bytes()
    assert (tmp_path / "a.vmig.jsonl").stat().st_size > 0


def test_copy_takes_options_of_both_sides_by_name(tmp_path: Path) -> None:
    vexarrow.copy("vektor", str(tmp_path / "a.vmig.jsonl"), source_options={"db": str(MEMORY)})
    vexarrow.copy(str(tmp_path / "a.vmig.jsonl"), "vektor", target_options={"db": str(tmp_path / "b.db")})
    vexarrow.copy(str(tmp_path / "b.db"), str(tmp_path / "b.vmig.jsonl"))
    digests = [vexarrow.inspect(str(tmp_path / f"{name}.vmig.jsonl")).to_json()["content_digest"] for name in "ab"]
    assert digests[0] == digests[1]


def test_the_size_of_a_batch_changes_nothing(tmp_path: Path) -> None:
    for rows in (1, 7, 160, 5000):
        vexarrow.copy(str(DEBIAN), str(tmp_path / f"{rows}.vmig.jsonl"), batch_rows=rows)
    found = {(tmp_path / f"{rows}.vmig.jsonl").read_bytes() for rows in (1, 7, 160, 5000)}
    assert len(found) == 1


class Doubled:
    """A transform that doubles every vector."""

    def bind(self, plan: Description) -> Description:
        if plan.dim != 384:
            raise SchemaError("384 dimensions are wanted")
        return plan

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        column = records.from_matrix(records.matrix(batch.column("vector")) * np.float32(2))
        changed: pa.RecordBatch = batch.set_column(batch.schema.get_field_index("vector"), "vector", column)
        return changed


def test_a_transform_changes_what_is_written(tmp_path: Path) -> None:
    vexarrow.copy(str(DEBIAN), str(tmp_path / "out.vmig.jsonl"), transforms=[Doubled()])
    want = np.array([one["vector"] for one in json_lines(DEBIAN)], np.float32) * np.float32(2)
    got = np.array([one["vector"] for one in json_lines(tmp_path / "out.vmig.jsonl")], np.float32)
    assert got.tobytes() == want.tobytes()


def test_a_transform_that_refuses_does_so_before_the_target_is_made(tmp_path: Path) -> None:
    (tmp_path / "in.vmig.jsonl").write_text('{"id":"1","text":"x","vector":[1,2]}\n')
    with pytest.raises(SchemaError, match="384"):
        vexarrow.copy(str(tmp_path / "in.vmig.jsonl"), str(tmp_path / "out.db"), transforms=[Doubled()])
    assert names(tmp_path) == {"in.vmig.jsonl"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"source": "nothing.vmig.jsonl"}, NotFound),
        ({"source": ""}, UsageError),
        ({"target": ""}, UsageError),
        ({"limit": -1}, UsageError),
        ({"where": "this is no SQL"}, UsageError),
        ({"source_format": "xml"}, UsageError),
        ({"metric": "nothing"}, UsageError),
        ({"rate": 0.0}, UsageError),
        ({"target_options": {"nothing": "1"}}, UsageError),
        ({"source_options": {"db": "1"}}, UsageError),
        ({"target": "http://127.0.0.1:1/x.parquet"}, vexarrow.VexError),
    ],
)
def test_what_cannot_be_done_is_a_vex_error_and_makes_nothing(
    arguments: dict[str, object], error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    usual: dict[str, object] = {"source": str(DEBIAN), "target": "out.parquet"}
    with pytest.raises(error):
        vexarrow.copy(**{**usual, **arguments})  # type: ignore[arg-type] # wrong on purpose
    assert names(tmp_path) == set()


# -- read ----------------------------------------------------------------------------------------------------------


def test_read_streams_canonical_batches() -> None:
    reader = vexarrow.read(str(DEBIAN), batch_rows=50)
    assert reader.schema.names[:4] == ["id", "text", "vector", "model"]
    batches = list(reader)
    assert sum(batch.num_rows for batch in batches) == 160
    assert max(batch.num_rows for batch in batches) <= 50
    want = np.array([one["vector"] for one in json_lines(DEBIAN)], np.float32)
    got = np.concatenate([records.matrix(batch.column("vector")) for batch in batches])
    assert got.tobytes() == want.tobytes()


def test_what_read_gives_goes_into_other_tools() -> None:
    assert vexarrow.read(str(DEBIAN)).read_all().num_rows == 160
    frame = pl.DataFrame(vexarrow.read(str(DEBIAN), namespaces=["games"]).read_all())
    assert frame["vector"].dtype == pl.Array(pl.Float32, 384)
    assert frame.height == 12
    with duckdb.connect() as connection:
        connection.register("memories", vexarrow.read(str(DEBIAN)))
        assert connection.execute("SELECT count(*) FROM memories WHERE namespace = 'games'").fetchall() == [(12,)]


def test_read_selects_and_counts_to_the_limit() -> None:
    found = vexarrow.read(str(DEBIAN), namespaces=["libs"], where="text ilike '%library%'", limit=5).read_all()
    assert found.num_rows == 5
    assert set(found.column("namespace").to_pylist()) == {"libs"}
    assert vexarrow.read(str(DEBIAN), limit=0).read_all().num_rows == 0


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        ('{"id":"1","vector":[1,2]}\n[]\n', DataError, "2: the line is an array"),
        ('{"id":"1","vector":[1,2]}\n{"id":"2","vector":[1,2,3]}\n', SchemaError, "3 dimensions, not 2"),
    ],
)
def test_read_raises_where_a_stream_of_one_schema_cannot_go_on(
    body: str, error: type[Exception], says: str, tmp_path: Path
) -> None:
    (tmp_path / "in.vmig.jsonl").write_text(body)
    with pytest.raises(error, match=says):
        vexarrow.read(str(tmp_path / "in.vmig.jsonl"), batch_rows=1).read_all()


def test_read_finds_the_dimension_where_the_first_records_have_no_vector(tmp_path: Path) -> None:
    body = [f'{{"id":"{at}","text":"x"}}' for at in range(20)] + ['{"id":"last","vector":[1,2,3]}']
    (tmp_path / "in.vmig.jsonl").write_text("\n".join(body))
    table = vexarrow.read(str(tmp_path / "in.vmig.jsonl"), batch_rows=4).read_all()
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 3)
    assert table.column("vector").null_count == 20
    assert table.column("id").to_pylist()[-1] == "last"


def test_read_of_no_records_has_a_schema(tmp_path: Path) -> None:
    (tmp_path / "in.vmig.jsonl").write_text("# nothing\n")
    table = vexarrow.read(str(tmp_path / "in.vmig.jsonl")).read_all()
    assert table.num_rows == 0
    assert table.schema.names[:3] == ["id", "text", "vector"]


def test_a_reader_that_is_dropped_halfway_lets_go_of_its_file(tmp_path: Path) -> None:
    shutil.copy(DEBIAN, tmp_path / "in.vmig.jsonl")
    reader = vexarrow.read(str(tmp_path / "in.vmig.jsonl"), batch_rows=10)
    assert reader.read_next_batch().num_rows <= 10
    reader.close()
    del reader
    held = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and "in.vmig.jsonl" in target(link)]
    assert held == []


def target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # the descriptor of the listing itself
        return ""


def test_reading_a_missing_place_raises_at_once() -> None:
    with pytest.raises(NotFound):
        vexarrow.read("nothing.parquet")


# -- write ---------------------------------------------------------------------------------------------------------


def test_what_was_read_can_be_written(tmp_path: Path) -> None:
    vexarrow.write(vexarrow.read(str(DEBIAN)), str(tmp_path / "a.vmig.jsonl"))
    vexarrow.copy(str(DEBIAN), str(tmp_path / "b.vmig.jsonl"))
    assert (tmp_path / "a.vmig.jsonl").read_bytes() == (tmp_path / "b.vmig.jsonl").read_bytes()


# -- inspect and validate ------------------------------------------------------------------------------------------


def test_inspect_counts_what_is_there() -> None:
    found = vexarrow.inspect(str(DEBIAN)).to_json()
    every = json_lines(DEBIAN)
    assert found["records"] == len(every)
    assert found["size"] == DEBIAN.stat().st_size


def test_inspect_is_the_same_for_every_format(tmp_path: Path) -> None:
    places = [DEBIAN, *(tmp_path / f"x.{suffix}" for suffix in ("parquet", "arrow", "arrows", "vmig.jsonl.zst"))]
    for place in places[1:]:
        vexarrow.copy(str(DEBIAN), str(place))
    found = [vexarrow.inspect(str(place)).to_json() for place in places]
    for one in found:
        for key in ("name", "size", "bytes_per_record", "declared"):
            one.pop(key)
    assert all(one == found[0] for one in found)


def test_validate_tells_good_from_bad(tmp_path: Path) -> None:
    assert vexarrow.validate(str(DEBIAN)).ok
    (tmp_path / "in.vmig.jsonl").write_text('{"id":"1"}\n{"id":"2","text":"a"}\n{"id":"2","text":"a"}\n')
    found = vexarrow.validate(str(tmp_path / "in.vmig.jsonl"))
    assert not found.ok
    errors = {(one.line, one.rule) for one in found.findings if one.severity == "error"}
    assert {(1, "empty-record"), (3, "duplicate-id")} <= errors


def test_strict_raises_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "in.vmig.jsonl").write_text('{"id":"1","text":"a"}\n{"id":"2"}\n')
    with pytest.raises(TooManyRejects, match="line 2"):
        vexarrow.copy(str(tmp_path / "in.vmig.jsonl"), str(tmp_path / "out.arrow"), strict=True)
