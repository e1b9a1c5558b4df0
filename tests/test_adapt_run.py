"""`vex-adapt INPUT OUTPUT` and `--adapt`, between places of every kind."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vexarrow
from tests.commands import DEBIAN, MEMORY, VEX, Done, json_lines, names, vex
from tests.places import Places
from tests.projections import DIM_IN, DIM_OUT, SOURCE, TARGET, projection, records, vectors, write
from vexarrow import records as record_batches

PROJECTION = "my.safetensors"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with records and a projection, and no others at hand."""
    monkeypatch.setenv("VEX_PROJECTIONS", str(tmp_path / "projections"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("VEX_REGISTRY", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copy(DEBIAN, "memories.vmig.jsonl")
    projection().save(PROJECTION)
    return tmp_path / "here"


@pytest.fixture
def at_hand(tmp_path: Path) -> Path:
    """The projection is where projections are looked for."""
    (tmp_path / "projections").mkdir()
    projection().save(str(tmp_path / "projections" / PROJECTION))
    return tmp_path / "projections"


def adapt(*arguments: str | Path, stdin: bytes = b"") -> Done:
    """`vex adapt`, which is `vex-adapt`."""
    return vex("adapt", *arguments, stdin=stdin)


def found(place: str) -> dict[str, tuple[str | None, Any]]:
    """Model and vector of every record, by id."""
    table = vexarrow.read(place).read_all()
    matrix = record_batches.matrix(table.column("vector"))
    keys, models = table.column("id").to_pylist(), table.column("model").to_pylist()
    return {key: (model, row) for key, model, row in zip(keys, models, matrix, strict=True)}


def check(place: str, ids: list[str] | None = None) -> None:
    """All real records are there, or those of these ids, in the target's space."""
    there = found(place)
    wanted = [row for row in records() if ids is None or row["id"] in ids]
    assert set(there) == {row["id"] for row in wanted}
    expected = projection().matrix(vectors(wanted))
    assert np.allclose(np.array([there[row["id"]][1] for row in wanted]), expected, atol=1e-6)
    assert {model for model, _ in there.values()} == {TARGET}


def mixed(path: str) -> list[dict[str, Any]]:
    """Records of every kind; of ten the first two can be projected, and the third is native."""
    rows = [dict(row) for row in records()[:10]]
    native = projection().matrix(vectors(rows)).tolist()
    rows[2].update(model=TARGET, vector=native[2], dims=DIM_OUT)
    rows[3].update(model="other")
    rows[4].update(model=None)
    rows[5].update(vector=None, dims=None)
    rows[6].update(vector=[0.0] * DIM_IN)
    rows[7].update(vector=rows[7]["vector"][:100], dims=100)
    rows[8].update(model="")
    rows[9].update(model=TARGET)
    write(Path(path), rows)
    return rows


CODES = {"no-projection": 1, "no-model": 2, "no-vector": 1, "zero-vector": 1, "dimension": 2}


# -- between files -------------------------------------------------------------------------------------------------


def test_the_output_is_named_after_the_input(here: Path) -> None:
    done = adapt("--projection", PROJECTION, "memories.vmig.jsonl").ok()
    check("memories.adapted.vmig.jsonl")
    assert "written       : 160" in done.out
    assert "memories.adapted.vmig.meta.json" in names(here)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("a.vmig.jsonl.zst", "a.adapted.vmig.jsonl.zst"),
        ("a.b.parquet", "a.b.adapted.parquet"),
        ("deep/a.vmig", "deep/a.adapted.vmig"),
        ("a.arrow", "a.adapted.arrow"),
    ],
)
def test_the_output_has_the_endings_of_the_input(source: str, target: str) -> None:
    Path("deep").mkdir()
    vex("convert", "memories.vmig.jsonl", source).ok()
    adapt("--projection", PROJECTION, source).ok()
    check(target)


@pytest.mark.parametrize("source", ["parts/", "*.vmig.jsonl", "pgvector", "postgresql://localhost/db"])
def test_a_place_that_is_no_file_needs_an_output(source: str) -> None:
    done = adapt("--projection", PROJECTION, source)
    assert done.code == 2
    assert "needs a name: vex-adapt ... INPUT OUTPUT" in done.err


def test_parquet_to_parquet() -> None:
    vex("convert", "memories.vmig.jsonl", "in.parquet").ok()
    adapt("--projection", PROJECTION, "in.parquet", "out.parquet").ok()
    check("out.parquet")
    shown = vex("inspect", "out.parquet", "--json").ok().report
    assert shown["dims"] == {str(DIM_OUT): 160}


def test_everything_but_vector_model_dims_and_the_note_stays_as_it_was() -> None:
    adapt("--projection", PROJECTION, "memories.vmig.jsonl", "out.vmig.jsonl").ok()
    for old, new in zip(json_lines(DEBIAN), json_lines(Path("out.vmig.jsonl")), strict=True):
        assert (new.pop("model"), new.pop("dims"), len(new.pop("vector"))) == (TARGET, DIM_OUT, DIM_OUT)
        assert new.pop("adapted") == {"from": SOURCE, "projection": projection().checksum, "dims": DIM_IN}
        assert new == {key: value for key, value in old.items() if key not in ("model", "dims", "vector")}


def test_standard_streams() -> None:
    done = adapt("--projection", PROJECTION, "-", stdin=DEBIAN.read_bytes()).ok()
    Path("out.vmig.jsonl").write_bytes(done.raw)
    check("out.vmig.jsonl")


def test_by_the_names_of_the_models(at_hand: Path) -> None:
    adapt("--from", SOURCE, "--to", TARGET, "memories.vmig.jsonl", "out.vmig.jsonl").ok()
    check("out.vmig.jsonl")
    adapt("--to", TARGET, "memories.vmig.jsonl", "unsaid.vmig.jsonl").ok()
    check("unsaid.vmig.jsonl")


def test_twice_equals_once() -> None:
    adapt("--projection", PROJECTION, "memories.vmig.jsonl", "one.vmig.jsonl").ok()
    done = adapt("--projection", PROJECTION, "one.vmig.jsonl", "two.vmig.jsonl", "--json").ok()
    assert done.report["projection"]["passed"] == 160
    assert Path("one.vmig.jsonl").read_bytes() == Path("two.vmig.jsonl").read_bytes()


def test_the_content_digest_is_another_one() -> None:
    kept = vex("convert", "memories.vmig.jsonl", "same.vmig.jsonl", "--json").ok().report["content_digest"]
    done = adapt("--projection", PROJECTION, "memories.vmig.jsonl", "--json").ok()
    assert done.report["content_digest"] not in (None, kept)
    again = vex("inspect", "memories.adapted.vmig.jsonl", "--json").ok().report
    assert again["content_digest"] == done.report["content_digest"]


def test_a_selection_and_a_limit_hold() -> None:
    done = adapt("--projection", PROJECTION, "memories.vmig.jsonl", "o.parquet", "--namespace", "games", "--json").ok()
    games = [row["id"] for row in records() if row["namespace"] == "games"]
    check("o.parquet", games)
    assert (done.report["read"], done.report["written"]) == (160, len(games))
    adapt("--projection", PROJECTION, "memories.vmig.jsonl", "five.parquet", "--limit", "5").ok()
    check("five.parquet", [row["id"] for row in records()[:5]])


# -- what cannot be projected --------------------------------------------------------------------------------------


def test_models_mix_and_the_counts_balance() -> None:
    rows = mixed("in.vmig.jsonl")
    done = adapt("--projection", PROJECTION, "in.vmig.jsonl", "out.vmig.jsonl", "--json").ok()
    report = done.report
    assert (report["read"], report["written"], report["rejected"], report["codes"]) == (10, 3, 7, CODES)
    assert (report["projection"]["projected"], report["projection"]["passed"]) == (2, 1)
    assert [row["id"] for row in json_lines(Path("out.vmig.jsonl"))] == [row["id"] for row in rows[:3]]
    assert json_lines(Path("out.vmig.jsonl"))[2].get("adapted") is None
    assert f"vex-adapt train --from other --to {TARGET}" in done.err


def test_rejects_can_be_mended_and_projected_from_their_file() -> None:
    rows = mixed("in.vmig.jsonl")
    done = adapt("--projection", PROJECTION, "in.vmig.jsonl", "out.vmig.jsonl", "--json").ok()
    file = done.report["rejects_file"]
    rejected = {one["id"]: one for one in json_lines(Path(file))}
    assert set(rejected) == {row["id"] for row in rows[3:]}
    for row in rows[3:]:
        assert rejected[row["id"]]["record"]["model"] == row["model"]
        if row["vector"]:
            assert np.allclose(rejected[row["id"]]["record"]["vector"], row["vector"])
    again = adapt("--projection", PROJECTION, "--from", SOURCE, file, "more.vmig.jsonl", "--json").ok()
    assert (again.report["written"], again.report["codes"]["dimension"]) == (2, 2)
    check("more.vmig.jsonl", [rows[4]["id"], rows[8]["id"]])


def test_records_that_name_no_model_are_of_the_one_that_is_said() -> None:
    write(Path("in.vmig.jsonl"), [{**row, "model": None} for row in records()])
    done = adapt("--projection", PROJECTION, "in.vmig.jsonl", "out.vmig.jsonl")
    assert done.code == 2
    assert "--from MODEL" in done.err
    assert not Path("out.vmig.jsonl").exists()
    adapt("--projection", PROJECTION, "--from", SOURCE, "in.vmig.jsonl", "out.vmig.jsonl").ok()
    check("out.vmig.jsonl")


def test_strict_leaves_nothing(here: Path) -> None:
    mixed("in.vmig.jsonl")
    before = names(here)
    assert adapt("--projection", PROJECTION, "in.vmig.jsonl", "out.vmig.jsonl", "--strict").code == 1
    assert names(here) - before == {"out.vmig.jsonl.rejects.jsonl"}


def test_a_projection_that_was_refused_needs_force() -> None:
    verdict = {"refused": [{"code": "source", "message": "stay on the source model"}]}
    projection().with_header(verdict=verdict).save("bad.safetensors")
    done = adapt("--projection", "bad.safetensors", "memories.vmig.jsonl", "out.vmig.jsonl")
    assert done.code == 1
    assert "stay on the source model" in done.err
    assert not Path("out.vmig.jsonl").exists()
    done = adapt("--projection", "bad.safetensors", "memories.vmig.jsonl", "out.vmig.jsonl", "--force").ok()
    assert "was refused, and used all the same" in done.err
    words = ("convert", "memories.vmig.jsonl", "two.vmig.jsonl", "--adapt", "bad.safetensors")
    assert vex(*words).code == 1
    vex(*words, "--force-adapt").ok()
    check("two.vmig.jsonl")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("memories.vmig.jsonl", "o.parquet"), "where to?"),
        (("--to", "target", "memories.vmig.jsonl", "o.parquet"), "vex-adapt train --from all-MiniLM-L6-v2 --to target"),
        (("--projection", "missing.safetensors", "memories.vmig.jsonl"), "missing.safetensors"),
        (("--projection", "memories.vmig.jsonl", "memories.vmig.jsonl"), "a projection is a file that ends in"),
        (("--to", "elsewhere", "--projection", PROJECTION, "memories.vmig.jsonl"), f"leads to {TARGET}"),
        (("--projection", PROJECTION, "missing.vmig.jsonl", "o.parquet"), "missing.vmig.jsonl"),
    ],
)
def test_a_mistake_is_named_before_anything_is_written(here: Path, words: tuple[str, ...], said: str) -> None:
    before = names(here)
    done = adapt(*words)
    assert done.code in (1, 2)
    assert said in done.err
    assert "Traceback" not in done.err
    assert names(here) == before


# -- other commands ------------------------------------------------------------------------------------------------


def test_convert_projects_with_a_file_or_the_name_of_a_model(at_hand: Path) -> None:
    vex("convert", "memories.vmig.jsonl", "a.parquet", "--adapt", PROJECTION).ok()
    check("a.parquet")
    vex("convert", "memories.vmig.jsonl", "b.parquet", "--adapt", TARGET).ok()
    check("b.parquet")


def test_options_that_go_nowhere_are_mistakes() -> None:
    words = ("convert", "memories.vmig.jsonl", "o.parquet")
    assert "does nothing without --adapt" in vex(*words, "--adapt-from", SOURCE).err
    assert "does nothing without --adapt" in vex(*words, "--force-adapt").err
    done = vex(*words, "--adapt", PROJECTION, "--reembed", "--embed-model", "openai:x")
    assert (done.code, "contradict" in done.err) == (2, True)


def test_a_vektor_database_through_a_file_and_back() -> None:
    words = ("import", "--from", "memories.vmig.jsonl", "--to", "vektor", "--db", "new.db", "--adapt", PROJECTION)
    vex(*words).ok()
    vex("export", "--from", "vektor", "--db", "new.db", "--output", "back.vmig.jsonl").ok()
    check("back.vmig.jsonl")
    words = ("export", "--from", "vektor", "--db", str(MEMORY), "--output", "other.vmig.jsonl", "--adapt", PROJECTION)
    unsaid = vex(*words)
    assert (unsaid.code, "--adapt-from MODEL" in unsaid.err) == (2, True), "these memories name no model"
    report = vex(*words, "--adapt-from", SOURCE, "--json").ok().report
    assert report["projection"]["projected"] == report["written"] > 0


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with Places(tmp_path_factory.mktemp("places")) as every:
        yield every


def named(side: str, options: Mapping[str, str]) -> list[str]:
    """Options of one side, for a command line."""
    return [f"--{side}-{name}={value}" for name, value in options.items()]


@pytest.mark.parametrize("kind", ["pgvector", "chroma", "qdrant"])
def test_from_store_to_store(places: Places, kind: str) -> None:
    left, right = places.fresh(kind), places.fresh(kind)
    vexarrow.copy("memories.vmig.jsonl", left.text, target_options=left.target_options)
    said = [*named("from", left.source_options), *named("to", right.target_options)]
    for out in ("once.parquet", "twice.parquet"):
        report = vex("migrate", left.text, right.text, *said, "--adapt", PROJECTION, "--json").ok().report
        assert (report["written"], report["projection"]["projected"]) == (160, 160)
        vexarrow.copy(right.text, out, source_options=right.source_options)
        check(out)


@pytest.mark.parametrize("kind", ["pgvector", "chroma"])
def test_a_target_of_another_dimension_is_refused_before_anything_is_sent(places: Places, kind: str) -> None:
    store = places.fresh(kind)
    vexarrow.copy("memories.vmig.jsonl", store.text, target_options=store.target_options)
    words = ("migrate", "memories.vmig.jsonl", store.text, *named("to", store.target_options))
    done = vex(*words, "--adapt", PROJECTION)
    assert done.code == 1
    assert "holds vectors of 384 dimensions, those to come have 128" in done.err
    assert not list(Path().glob("*.rejects.jsonl"))


# -- what is said --------------------------------------------------------------------------------------------------


def test_a_run_ends_with_what_has_to_be_known() -> None:
    done = adapt("--projection", PROJECTION, "memories.vmig.jsonl").ok()
    for words in ("an approximation; expect", "tuned again", "do not mix", "keep the source vectors"):
        assert done.err.count(words) == 1
    quiet = adapt("--projection", PROJECTION, "memories.vmig.jsonl", "--overwrite", "--quiet").ok()
    assert quiet.err == ""


def test_the_report_as_json() -> None:
    report = adapt("--projection", PROJECTION, "memories.vmig.jsonl", "--json").ok().report
    (model,) = report["projection"].pop("models")
    assert report["projection"] == {
        "target": TARGET, "dimension": DIM_OUT, "projected": 160, "passed": 0, "refused": []
    }  # fmt: skip
    assert (model["model"], model["records"], model["projection"]) == (SOURCE, 160, projection().checksum)
    assert 0 < model["neighbours_that_differ"] < 1
    assert 0 <= model["unfamiliar"] < 0.2


def test_every_reject_is_explained_and_none_is_to_be_imported_as_it_is() -> None:
    mixed("in.vmig.jsonl")
    done = adapt("--projection", PROJECTION, "in.vmig.jsonl", "out.vmig.jsonl").ok()
    for code, count in CODES.items():
        said = [line for line in done.err.splitlines() if f"records were rejected ({code}): " in line]
        assert sum(int(line.removeprefix("vex: warning: ").split()[0]) for line in said) == count, code
    assert "of another dimension than out.vmig.jsonl" not in done.err  # it was projected, which is what that advises
    assert "mend out.vmig.jsonl.rejects.jsonl and project it" in done.err


def test_dry_run_foresees_the_counts_and_writes_nothing(here: Path) -> None:
    mixed("in.vmig.jsonl")
    before = names(here)
    done = adapt("--projection", PROJECTION, "in.vmig.jsonl", "out.vmig.jsonl", "--dry-run").ok()
    assert f"project  2 records from {SOURCE} to {TARGET}" in done.out
    assert f"pass     1 records that are vectors of {TARGET} already" in done.out
    assert "reject   1 records (no-projection)" in done.out
    assert "nothing was written" in done.out
    found = adapt("--projection", PROJECTION, "in.vmig.jsonl", "out.vmig.jsonl", "--dry-run", "--json").ok().report
    assert found["dimension"] == DIM_OUT
    assert (found["projection"]["projected"], found["projection"]["passed"]) == (2, 1)
    refused: dict[str, int] = {}
    for one in found["projection"]["refused"]:
        refused[one["code"]] = refused.get(one["code"], 0) + one["records"]
    assert refused == CODES
    assert names(here) == before


def test_the_help_shows_the_command_without_a_name() -> None:
    shown = adapt("--help").ok().out
    assert "[OPTIONS] INPUT [OUTPUT]" in shown
    assert "run " not in shown.partition("Commands:")[2].partition("Examples:")[0]
    assert "--projection FILE" in adapt("--from", "a", "--help").ok().out


def test_the_examples_of_the_help_run(here: Path, at_hand: Path) -> None:
    renamed = projection(target="text-embedding-3-small")
    renamed.save(str(at_hand / "small.safetensors"))
    vex("convert", "memories.vmig.jsonl", "memories.parquet").ok()
    shown = adapt("--to", "x", "--help").ok().out.partition("Examples:")[2]
    lines = [shlex.split(line) for line in shown.splitlines() if line.strip()]
    assert len(lines) == 3
    for line in lines:
        if "pgvector" not in line:
            adapt(*line[1:], "--overwrite").ok()


# -- ends in between -----------------------------------------------------------------------------------------------


def test_a_run_that_is_killed_leaves_nothing(here: Path) -> None:
    """The input is a pipe that goes on: the run is in its middle, as its progress tells."""
    before = names(here)
    command: list[str | Path] = [VEX.with_name("vex-adapt"), "--projection", PROJECTION, "-", "out.parquet"]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdin is not None
    data = DEBIAN.read_bytes()
    while not any("vex-part" in name for name in names(here)):
        assert running.poll() is None
        running.stdin.write(data)
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert names(here) == before
