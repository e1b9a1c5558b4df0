"""The command line: every documented line as written, what goes to stdout and what to stderr, exit codes, secrets."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import DEBIAN, MEMORY, NPM, VEX, json_lines, lines, names, process, vex
from vexarrow import __version__
from vexarrow.cli.commands import cli

RECORDS = 160
MEMORIES = 122
COMMANDS = ("connectors", "convert", "export", "formats", "import", "inspect", "migrate", "validate")
COPYING = ("convert", "export", "import", "migrate")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the documented lines name, and being in it."""
    for name in ("slipstream-memory.db", "memory.db", "a.db"):
        shutil.copy(MEMORY, tmp_path / name)
    for name in ("memories.vmig.jsonl", "in.vmig.jsonl", "new.db.rejects.jsonl"):
        shutil.copy(DEBIAN, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for name in ("VEKTOR_DB", "VEKTOR_DB_PATH", "VEKTOR_AGENT_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(line: str, *more: str) -> Any:
    """A command line as it stands in the documentation, without quotes, in this process; its report."""
    words = line.split()
    assert words[0] == "vex"
    done = vex(*words[1:], *more, "--json").ok()
    assert done.err == ""
    return done.report


# -- the lines of the issue ----------------------------------------------------------------------------------------


def test_export_of_a_database_with_its_sidecar(here: Path) -> None:
    (here / "memories.vmig.jsonl").unlink()
    report = run("vex export --from vektor --db ./slipstream-memory.db --output memories.vmig.jsonl")
    assert (report["read"], report["written"], report["rejected"], report["skipped"]) == (MEMORIES, MEMORIES, 0, 0)
    found = json_lines(here / "memories.vmig.jsonl")
    assert len(found) == MEMORIES
    assert {one["source_store"] for one in found} == {"vektor"}
    assert report["sidecar"] == "memories.vmig.meta.json"


def test_export_of_a_namespace(here: Path) -> None:
    report = run("vex export --from vektor --db ./memory.db --namespace perl --output perl.vmig.jsonl")
    assert report["written"] == 15
    assert report["read"] == 15 + report["skipped"]
    assert {one["namespace"] for one in json_lines(here / "perl.vmig.jsonl")} == {"perl"}


def test_import_into_a_new_database(here: Path) -> None:
    assert run("vex import --from memories.vmig.jsonl --to vektor --db new.db")["written"] == RECORDS
    assert count(here / "new.db") == RECORDS


def test_importing_twice_is_importing_once(here: Path) -> None:
    for _ in range(2):
        run("vex import --from memories.vmig.jsonl --to vektor --db new.db")
    assert count(here / "new.db") == RECORDS


def test_migrate_between_databases(here: Path) -> None:
    assert run("vex migrate --from vektor --db a.db --to vektor --to-db b.db")["written"] == MEMORIES
    for name in ("a", "b"):
        run(f"vex export --from vektor --db {name}.db --output {name}.vmig.jsonl")
    digests = [json.loads((here / f"{name}.vmig.meta.json").read_text())["content_digest"] for name in ("a", "b")]
    assert digests[0] == digests[1]


def test_convert_to_parquet_and_back_packed(here: Path) -> None:
    assert run("vex convert memories.vmig.jsonl memories.parquet")["written"] == RECORDS
    with duckdb.connect() as connection:
        assert connection.execute("SELECT count(*) FROM 'memories.parquet'").fetchall() == [(RECORDS,)]
    assert run("vex convert memories.parquet memories.vmig.jsonl.zst")["written"] == RECORDS
    with pa.input_stream("memories.vmig.jsonl.zst", compression="zstd") as stream:
        assert stream.read() == canonical(here)


def canonical(here: Path) -> bytes:
    """The 160 records as our own writer writes them."""
    vex("convert", "memories.vmig.jsonl", "canonical.vmig.jsonl").ok()
    return (here / "canonical.vmig.jsonl").read_bytes()


def test_convert_into_a_folder_by_namespace(here: Path) -> None:
    assert run("vex convert in.vmig.jsonl out/ --partition-by namespace")["written"] == RECORDS
    assert "namespace=games" in names(here / "out")
    assert vex("inspect", "out/", "--json").ok().report["records"] == RECORDS


def test_convert_with_a_condition_and_a_limit(here: Path) -> None:
    where = "metadata->>'importance' >= 3 and namespace <> 'libs'"
    every = [one for one in json_lines(DEBIAN) if one["metadata"]["importance"] >= 3 and one["namespace"] != "libs"]
    assert 3 < len(every) < RECORDS
    report = vex("convert", "in.vmig.jsonl", "out.parquet", "--where", where, "--limit", "1000", "--json").ok().report
    assert report["written"] == len(every)
    assert pq.read_table("out.parquet").column("id").to_pylist() == [one["id"] for one in every]
    report = vex("convert", "in.vmig.jsonl", "few.parquet", "--where", where, "--limit", "3", "--json").ok().report
    assert report["written"] == 3
    assert report["read"] == report["written"] + report["skipped"]
    assert pq.read_table("few.parquet").column("id").to_pylist() == [one["id"] for one in every[:3]]


def test_a_pipe_of_records_in_and_arrow_out() -> None:
    done = process("convert", "-", "-", "--to-format", "arrow", stdin=DEBIAN.read_bytes()).ok()
    table = pa.ipc.open_stream(done.raw).read_all()
    assert table.num_rows == RECORDS
    want = np.array([one["vector"] for one in json_lines(DEBIAN)], dtype=np.float32)
    got = table.column("vector").combine_chunks().flatten().to_numpy().reshape(RECORDS, 384)
    assert got.tobytes() == want.tobytes()
    assert "160" in done.err, "the summary goes to stderr when stdout carries the records"


@pytest.mark.parametrize("format", ["arrow", "jsonl"])
def test_what_comes_out_of_a_pipe_goes_into_another(format: str) -> None:
    first = process("convert", DEBIAN, "-", "--to-format", format).ok()
    second = process("convert", "-", "-", "--from-format", format, stdin=first.raw).ok()
    assert [json.loads(line)["id"] for line in second.raw.splitlines()] == [one["id"] for one in json_lines(DEBIAN)]


def test_parquet_goes_to_stdout_whole_and_is_refused_on_stdin(here: Path) -> None:
    """Parquet is read from its end, so that a stream of it cannot be read."""
    done = process("convert", "in.vmig.jsonl", "-", "--to-format", "parquet").ok()
    assert pq.read_table(pa.BufferReader(done.raw)).num_rows == RECORDS
    done = vex("convert", "-", "out.vmig.jsonl", "--from-format", "parquet", stdin=done.raw)
    assert done.code in (1, 2)
    assert "stdin" in done.err or "stream" in done.err
    assert "no such file" not in done.err
    assert not (here / "out.vmig.jsonl").exists()


@pytest.mark.parametrize(
    "place", ["memories.vmig.jsonl", "m.parquet", "m.arrow", "m.arrows", "m.vmig.jsonl.gz", "new.db", "out/", "out"]
)
def test_inspect_of_every_kind_of_place(place: str, here: Path) -> None:
    arguments: list[str | Path] = ["import", "--from", DEBIAN, "--to"] if place == "new.db" else ["convert", DEBIAN]
    target = "out/" if place == "out" else place
    if place != "memories.vmig.jsonl":
        vex(*arguments, target).ok()
    report = vex("inspect", place, "--json").ok().report
    assert report["records"] == RECORDS
    done = vex("inspect", place).ok()
    assert "384" in done.out
    assert "libs" in done.out
    assert done.err == ""


def test_validate_of_a_good_and_of_a_bad_file(here: Path) -> None:
    assert vex("validate", "memories.vmig.jsonl").ok().err == ""
    assert vex("validate", "memories.vmig.jsonl", "--json").ok().report["ok"] is True
    with (here / "memories.vmig.jsonl").open("ab") as file:
        file.write(b'{"id":""}\n')
    done = vex("validate", "memories.vmig.jsonl")
    assert (done.code, done.err) == (1, "")
    assert "memories.vmig.jsonl:161: error missing-id" in done.out
    done = vex("validate", "memories.vmig.jsonl", "--json")
    assert (done.code, done.report["ok"]) == (1, False)


def test_validate_sees_a_file_that_is_not_the_one_of_its_sidecar(here: Path) -> None:
    vex("convert", "in.vmig.jsonl", "out.vmig.jsonl").ok()
    assert vex("validate", "out.vmig.jsonl").code == 0
    path = here / "out.vmig.jsonl"
    path.write_bytes(path.read_bytes().replace(b"games", b"gamez", 1))
    done = vex("validate", path)
    assert done.code == 1
    assert "checksum" in done.out


def test_the_lists_and_the_version() -> None:
    assert "vektor" in vex("connectors").ok().out
    assert all(name in vex("formats").ok().out for name in ("jsonl", "parquet", "arrow"))
    assert [one["name"] for one in vex("formats", "--json").ok().report] == ["arrow", "jsonl", "parquet"]
    assert vex("--version").ok().out == f"vex {__version__}\n"
    assert vex("--help").ok().out.startswith("Usage: vex ")


# -- help ----------------------------------------------------------------------------------------------------------


def test_every_command_is_tested_here() -> None:
    # The last has tests of its own.
    assert cli.list_commands(click.Context(cli)) == sorted([*COMMANDS, "adapt"])


def examples(command: str) -> list[str]:
    """The lines at the end of a command's help."""
    shown = vex(command, "--help").ok().out if command else vex("--help").ok().out
    _, _, tail = shown.partition("Examples:")
    assert tail, f"{command}: the help has no examples"
    return [line.strip() for line in tail.splitlines() if line.strip()]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_examples_of_the_help_run(command: str, here: Path) -> None:
    vex("convert", "memories.vmig.jsonl", "memories.parquet").ok()
    vex("convert", "memories.vmig.jsonl", "memories.vmig.jsonl.zst").ok()
    shutil.copy(MEMORY, "b.db")
    path = {**os.environ, "PATH": f"{VEX.parent}:{os.environ['PATH']}"}
    for line in examples(command):
        assert len(line) <= 100, "an example fits into the width of the help"
        if re.search("s3://|qdrant", line):
            continue  # runs in test_s3.py, and with servers in test_store_commands.py
        shutil.rmtree("parts", ignore_errors=True)
        if "inspect parts/" in line:
            vex("convert", "memories.vmig.jsonl", "parts/").ok()
        if not line.startswith(("vex import", "vex migrate", "vex inspect", "vex validate")):
            for output in ("memories.vmig.jsonl", "memories.parquet", "memories.vmig.jsonl.zst"):
                line += " --overwrite" if line.endswith(f" {output}") else ""
        if not set("|>") & set(re.sub(r'".*?"', "", line)):
            vex(*shlex.split(line)[1:]).ok()
            continue
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False, env=path
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_goes_to_stdout_with_h_too(command: str) -> None:
    long, short = vex(command, "--help").ok(), vex(command, "-h").ok()
    assert long.out == short.out
    assert long.out.startswith(f"Usage: vex {command}")
    assert long.err == ""


@pytest.mark.parametrize("command", COPYING)
def test_every_copying_command_takes_the_same_options(command: str) -> None:
    out = vex(command, "--help").out
    for option in ("--namespace", "--null-namespace", "--where", "--limit", "--strict", "--max-rejects", "--overwrite"):
        assert option in out


# -- wrong usage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("vex expotr", "Did you mean 'export'?"),
        ("vex convert in.vmig.jsonl", "Missing argument 'OUTPUT'"),
        ("vex inspect", "Missing argument 'PLACE'"),
        ("vex export --from vektor --db a.db", "Missing option '--output'"),
        ("vex export --from vektor --output x.vmig.jsonl", "--db"),
        ("vex export --from vektr --db a.db --output x.vmig.jsonl", "did you mean 'vektor'?"),
        ("vex import --from a.vmig.jsonl --to elsewhere", "it is no store (chroma, pgvector, pinecone, qdrant, "),
        ("vex convert in.vmig.jsonl x.parquet --namespac a", "did you mean --namespace?"),
        ("vex convert in.vmig.jsonl x.parquet --vector-colum a", "did you mean --vector-column?"),
        ("vex convert in.vmig.jsonl x.parquet --db a.db", "--db"),
        ("vex convert in.vmig.jsonl x.parquet --limit -1", "--limit"),
        ("vex convert in.vmig.jsonl x.parquet --limit many", "--limit"),
        ("vex convert in.vmig.jsonl x.parquet --max-rejects 0", "--max-rejects"),
        ("vex convert in.vmig.jsonl x.parquet --where nonsense", "nonsense"),
        ("vex convert in.vmig.jsonl x.parquet --where )", "--where"),
        ("vex convert in.vmig.jsonl x.parqet", "x.parqet"),
        ("vex convert in.vmig.jsonl x --to-format parqet", "parqet"),
        ("vex convert in.vmig.jsonl ${NOT_SET_ANYWHERE}/x.parquet", "NOT_SET_ANYWHERE"),
        ("vex migrate a.db", "SOURCE"),
        ("vex migrate --from vektor --db a.db --to vektor", "--from-db or --to-db"),
        ("vex migrate --from vektor --from-db a.db --to vektor --to-db a.db", "both the source and the target"),
        ("vex connectors nothing", "vektor"),
        ("vex formats nothing", "parquet"),
        ("vex validate nothing.txt --from-format nothing", "nothing"),
    ],
)
def test_wrong_usage_is_exit_2_says_what_and_does_nothing(line: str, says: str, here: Path) -> None:
    before = names(here)
    done = vex(*line.split()[1:])
    assert (done.code, done.out) == (2, ""), done.err
    assert says in done.err
    assert "unexpected" not in done.err
    assert names(here) == before


def test_an_existing_output_stays_unless_overwrite_says_otherwise(here: Path) -> None:
    for target in ("out.vmig.jsonl", "out.parquet", "out.arrow", "parts/"):
        vex("convert", "in.vmig.jsonl", target, "--limit", "5").ok()
        before = snapshot(here / target)
        done = vex("convert", "in.vmig.jsonl", target)
        assert (done.code, done.out) == (2, ""), target
        assert "--overwrite" in done.err
        assert snapshot(here / target) == before
        assert vex("convert", "in.vmig.jsonl", target, "--overwrite", "--json").ok().report["written"] == RECORDS
        assert vex("inspect", target, "--json").ok().report["records"] == RECORDS


def snapshot(path: Path) -> dict[str, bytes]:
    """Every file of a folder, or a file, with its bytes."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return {str(one): one.read_bytes() for one in files}


def test_a_file_may_replace_itself(here: Path) -> None:
    done = vex("convert", "in.vmig.jsonl", "in.vmig.jsonl", "--overwrite", "--limit", "7")
    assert done.code == 0, done.err
    assert len(lines(here / "in.vmig.jsonl")) == 7


# -- what is selected ----------------------------------------------------------------------------------------------


def selected(*arguments: str) -> list[tuple[str, str | None]]:
    """What a copy with these options keeps."""
    vex("convert", "names.vmig.jsonl", "kept.vmig.jsonl", "--overwrite", *arguments).ok()
    return [(one["id"], one["namespace"]) for one in json_lines(Path("kept.vmig.jsonl"))]


def test_namespaces_are_repeatable_and_null_is_not_empty(here: Path) -> None:
    body = [
        {"id": str(at), "text": "x", "vector": [at], "namespace": name}
        for at, name in enumerate(("a", "", None, "b", "c"))
    ]
    (here / "names.vmig.jsonl").write_text("".join(json.dumps(one) + "\n" for one in body))
    assert selected("--namespace", "a", "--namespace", "b") == [("0", "a"), ("3", "b")]
    assert selected("--namespace", "") == [("1", "")]
    assert selected("--namespace=") == [("1", "")]
    assert selected("--null-namespace") == [("2", None)]
    assert selected("--namespace", "a", "--null-namespace") == [("0", "a"), ("2", None)]
    assert selected("--namespace", "nothing") == []
    assert selected("--where", "namespace is null or id = '4'") == [("2", None), ("4", "c")]
    assert selected("--limit", "0") == []


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "db", "vmig.jsonl.gz"])
def test_a_selection_means_the_same_in_every_source(suffix: str, here: Path) -> None:
    source = f"s.{suffix}"
    vex(*(("import", "--from", DEBIAN, "--to") if suffix == "db" else ("convert", DEBIAN)), source).ok()
    options = (
        "--namespace",
        "libs",
        "--namespace",
        "perl",
        "--where",
        "dims = 384 and text ilike '%library%'",
        "--limit",
        "9",
    )
    kept = [
        one["id"]
        for one in json_lines(DEBIAN)
        if one["namespace"] in ("libs", "perl") and "library" in one["text"].lower()
    ][:9]
    assert len(kept) == 9
    report = vex("migrate", source, "out.vmig.jsonl", *options, "--json").ok().report
    assert [one["id"] for one in json_lines(here / "out.vmig.jsonl")] == kept
    assert report["read"] == report["written"] + report["skipped"]


# -- stdout, stderr, reports ---------------------------------------------------------------------------------------


def test_the_summary_ends_a_run_on_stdout(here: Path) -> None:
    done = vex("import", "--from", "memories.vmig.jsonl", "--to", "vektor", "--db", "new.db").ok()
    shown = done.out.splitlines()
    assert shown[0].startswith("┌─ vektor summary ─")
    assert shown[1:4] == ["│ total records : 160", "│ upserted      : 160", "│ skipped       : 0"]
    assert re.fullmatch(r"│ duration      : \d+\.\ds", shown[4])
    assert shown[5].startswith("└──")
    assert done.err == ""


def test_rejects_are_a_warning_on_stderr_and_counted_on_stdout(here: Path) -> None:
    with (here / "in.vmig.jsonl").open("ab") as file:
        file.write(b"[]\n{}\n")
    done = vex("convert", "in.vmig.jsonl", "out.parquet").ok()
    assert "rejected      : 2 (" in done.out
    assert "out.parquet.rejects.jsonl" in done.err
    report = vex("convert", "in.vmig.jsonl", "again.parquet", "--json", "--rejects", "mine.jsonl").ok().report
    assert (report["read"], report["written"], report["rejected"]) == (162, 160, 2)
    assert report["codes"] == {"not-an-object": 1, "missing-id": 1}
    assert report["rejects_file"] == "mine.jsonl"
    assert len(lines(here / "mine.jsonl")) == 2


def test_the_counts_of_the_partitions_add_up(here: Path) -> None:
    (here / "many").mkdir()
    for at in range(3):
        (here / "many" / f"{at}.vmig.jsonl").write_bytes(b"\n".join(lines(DEBIAN)[at::3]) + b"\n[]\n")
    report = vex("convert", "many", "out.parquet", "--namespace", "libs", "--json").ok().report
    assert len(report["partitions"]) == 3
    for name in ("read", "written", "rejected", "skipped"):
        assert report[name] == sum(one[name] for one in report["partitions"].values())
    assert (report["read"], report["rejected"]) == (RECORDS + 3, 3)
    assert {one["file"] for one in json_lines(here / "out.parquet.rejects.jsonl")} == {
        f"many/{n}.vmig.jsonl" for n in range(3)
    }


def test_an_existing_rejects_file_is_never_overwritten(here: Path) -> None:
    (here / "in.vmig.jsonl").write_bytes(b"[]\n" + DEBIAN.read_bytes())
    for target in ("out.parquet", "out.parquet"):
        vex("convert", "in.vmig.jsonl", target, "--overwrite").ok()
    assert {"out.parquet.rejects.jsonl", "out.parquet.2.rejects.jsonl"} <= names(here)


def test_a_run_in_which_nothing_could_be_read_fails(here: Path) -> None:
    (here / "table.csv").write_bytes(b"id,text\n1,a\n")
    vex("convert", DEBIAN, "out.parquet").ok()
    before = (here / "out.parquet").read_bytes()
    done = vex("convert", "table.csv", "out.parquet", "--from-format", "jsonl", "--overwrite")
    assert done.code == 1
    assert "not one of the 2 records of table.csv could be written" in done.err
    assert (here / "out.parquet").read_bytes() == before


def test_a_selection_that_matches_nothing_is_a_warning(here: Path) -> None:
    done = vex("convert", DEBIAN, "none.parquet", "--namespace", "gmaes").ok()
    assert "no record matches the selection" in done.err


def test_a_file_that_its_sidecar_contradicts_is_a_warning(here: Path) -> None:
    vex("convert", DEBIAN, "cut.vmig.jsonl").ok()
    (here / "cut.vmig.jsonl").write_bytes(b"".join(DEBIAN.read_bytes().splitlines(keepends=True)[:-1]))
    done = vex("convert", "cut.vmig.jsonl", "cut.parquet").ok()
    assert "speaks of 160 records, 159 were read" in done.err


def test_further_vectors_are_left_out_when_asked(here: Path) -> None:
    two = pa.array([[1.0, 2.0]], type=pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"id": ["a"], "vector": two, "embedding": two}), here / "two.parquet")
    refused = vex("convert", "two.parquet", "one.vmig.jsonl")
    assert refused.code == 1
    assert "--drop-vectors" in refused.err
    vex("convert", "two.parquet", "one.vmig.jsonl", "--drop-vectors").ok()
    assert b'"vector":[1.0,2.0]' in (here / "one.vmig.jsonl").read_bytes()
    vex("import", "--from", "two.parquet", "--to", "vektor", "--db", "one.db", "--drop-vectors").ok()


def test_a_page_without_a_sound_record_is_rejected_and_the_run_goes_on(here: Path) -> None:
    """The first page holds nothing that can be written."""
    vectors = pa.array([[1.0]] * 4, type=pa.list_(pa.float32(), 1))
    scores = pa.array([float("nan"), float("nan"), 1.0, 2.0])
    pq.write_table(pa.table({"id": list("abcd"), "vector": vectors, "score": scores}), here / "nan.parquet")
    done = vex("convert", "nan.parquet", "rest.vmig.jsonl", "--batch-size", "2", "--json").ok()
    assert (done.report["written"], done.report["rejected"]) == (2, 2)


def test_a_file_that_only_has_the_name_of_a_sidecar_does_not_fail_a_run(here: Path) -> None:
    (here / "plain.vmig.jsonl").write_bytes(DEBIAN.read_bytes())
    (here / "plain.vmig.meta.json").write_text("mine")
    vex("convert", "plain.vmig.jsonl", "plain.parquet").ok()
    assert (here / "plain.vmig.meta.json").read_text() == "mine"


def test_a_closed_pipe_is_no_noise(here: Path) -> None:
    line = f"{VEX} convert in.vmig.jsonl - | head -c 10"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stdout == '{"id":"0ad'
    assert "error" not in done.stderr.lower()
    assert "Traceback" not in done.stderr


# -- sidecars ------------------------------------------------------------------------------------------------------

NAMES_OF_SIDECARS = {
    "x.vmig.jsonl": "x.vmig.meta.json",
    "x.vmig.jsonl.gz": "x.vmig.jsonl.gz.meta.json",
    "x.vmig.jsonl.zst": "x.vmig.jsonl.zst.meta.json",
    "x.jsonl": "x.jsonl.meta.json",
    "x.ndjson": "x.ndjson.meta.json",
    "x.vmig": "x.vmig.meta.json",
}


@pytest.mark.parametrize(("data", "sidecar"), NAMES_OF_SIDECARS.items(), ids=NAMES_OF_SIDECARS.keys())
def test_the_sidecar_says_what_can_be_computed_by_anybody(data: str, sidecar: str, here: Path) -> None:
    report = run(f"vex convert in.vmig.jsonl {data}")
    assert report["sidecar"] == sidecar
    body = json.loads((here / sidecar).read_text())
    codec = {".gz": "gzip", "zst": "zstd"}.get(data[-3:])
    with pa.input_stream(data, compression=codec) as stream:
        text = stream.read()
    checksum = hashlib.sha256("\n".join(text.decode().splitlines()).encode())
    assert body["checksum"] == f"sha256:{checksum.hexdigest()}"
    assert body["file_sha256"] == hashlib.sha256((here / data).read_bytes()).hexdigest()
    assert (body["record_count"], body["vex_version"], body["source_store"]) == (RECORDS, "1.0.0", None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["exported_at"])
    assert re.fullmatch(r"sum-sha256:[0-9a-f]{64}", body["content_digest"])


def test_the_file_hash_is_what_sha256sum_prints(here: Path) -> None:
    run("vex convert in.vmig.jsonl out.vmig.jsonl")
    printed = subprocess.run(
        ["sha256sum", "out.vmig.jsonl"], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    assert json.loads((here / "out.vmig.meta.json").read_text())["file_sha256"] == printed


def test_an_export_of_nothing_has_a_sidecar_without_a_checksum(here: Path) -> None:
    run("vex convert in.vmig.jsonl out.vmig.jsonl --limit 0")
    body = json.loads((here / "out.vmig.meta.json").read_text())
    assert (body["record_count"], body["checksum"]) == (0, None)
    assert body["file_sha256"] == hashlib.sha256(b"").hexdigest()


def test_an_import_adds_to_the_sidecar_and_loses_nothing(here: Path) -> None:
    run("vex export --from vektor --db a.db --output out.vmig.jsonl")
    path = here / "out.vmig.meta.json"
    before = {**json.loads(path.read_text()), "note": "by hand", "nested": {"b": 1, "a": [1.0, None]}}
    path.write_text(json.dumps(before))
    run("vex import --from out.vmig.jsonl --to vektor --db new.db")
    after = json.loads(path.read_text())
    assert {key: after[key] for key in before} == before
    assert list(after)[: len(before)] == list(before)
    assert "new.db" in after["imported_to"]
    assert after["imported_at"].endswith("Z")


def test_an_import_reads_the_sidecar_of_the_npm_tool_and_adds_to_it(here: Path) -> None:
    for name in ("roundtrip.vmig.jsonl", "roundtrip.vmig.meta.json"):
        shutil.copy(NPM / name, here)
    before = json.loads((here / "roundtrip.vmig.meta.json").read_text())
    assert vex("validate", "roundtrip.vmig.jsonl").code == 0, "its checksum is defined as ours is"
    run("vex import --from roundtrip.vmig.jsonl --to vektor --db new.db")
    after = json.loads((here / "roundtrip.vmig.meta.json").read_text())
    assert {key: after[key] for key in before} == before
    assert "imported_to" in after


def test_a_file_without_a_sidecar_gets_none_by_an_import(here: Path) -> None:
    run("vex import --from in.vmig.jsonl --to vektor --db new.db")
    assert not [name for name in names(here) if name.endswith(".meta.json")]


@pytest.mark.parametrize("data", ["x.vmig.jsonl", "x.jsonl", "x.vmig.jsonl.gz"])
def test_a_sidecar_never_overwrites_another_file(data: str, here: Path) -> None:
    """What has the name of the sidecar and is none stays, and the export is refused before it starts."""
    path = here / NAMES_OF_SIDECARS[data]
    for content in (b"precious", b'{"id":"1"}\n{"id":"2"}\n', b"[]"):
        path.write_bytes(content)
        done = vex("convert", "in.vmig.jsonl", data, "--overwrite")
        assert done.code == 2
        assert path.name in done.err
        assert path.read_bytes() == content
        assert not (here / data).exists()


def test_data_written_under_the_name_of_a_sidecar_is_data(here: Path) -> None:
    """The npm tool destroys such a file."""
    vex("convert", "in.vmig.jsonl", "x.meta.json", "--to-format", "jsonl").ok()
    assert len(lines(here / "x.meta.json")) == RECORDS
    assert (here / "x.meta.json.meta.json").exists()


def test_parquet_and_arrow_have_no_sidecar(here: Path) -> None:
    for name in ("out.parquet", "out.arrow"):
        assert run(f"vex convert in.vmig.jsonl {name}")["sidecar"] is None
    assert not [name for name in names(here) if name.endswith(".meta.json")]


# -- secrets -------------------------------------------------------------------------------------------------------

SECRET = "hunter2"  # noqa: S105 - what must never be seen


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A web server with the test data, on 127.0.0.1."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=DEBIAN.parent)) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{one.server_port}"
        one.shutdown()


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", f"http://user:{SECRET}@SERVER/debian.vmig.jsonl?api_key={SECRET}"],
        ["inspect", f"http://user:{SECRET}@SERVER/debian.vmig.jsonl?token={SECRET}", "--json"],
        ["validate", f"http://SERVER/debian.vmig.jsonl?X-Amz-Signature={SECRET}&x=1"],
        ["validate", f"http://SERVER/debian.vmig.jsonl?X-Amz-Signature={SECRET}&x=1", "--json"],
        ["convert", f"http://SERVER/debian.vmig.jsonl?api_key={SECRET}", "out.parquet"],
        ["convert", f"http://SERVER/debian.vmig.jsonl?api_key={SECRET}", "out.parquet", "--json"],
        ["convert", f"http://SERVER/nothing.vmig.jsonl?api_key={SECRET}", "out.parquet"],
        ["convert", f"http://user:{SECRET}@127.0.0.1:1/debian.vmig.jsonl?api_key={SECRET}", "out.parquet"],
        ["convert", f"http://user:{SECRET}@no.such.host.invalid/x.vmig.jsonl?password={SECRET}", "out.parquet"],
        ["convert", f"s3://key:{SECRET}@bucket/x.vmig.jsonl?secret={SECRET}", "out.parquet", "--nope"],
        ["convert", DEBIAN, f"nosuch://user:{SECRET}@host/x.vmig.jsonl?api-key={SECRET}"],
        ["convert", DEBIAN, f"http://user:{SECRET}@SERVER/x.parquet?apikey={SECRET}"],
        ["convert", DEBIAN, f"memory://user:{SECRET}@host/x.vmig.jsonl", "--json"],
        ["import", "--from", DEBIAN, "--to", f"qdrant://user:{SECRET}@localhost:6333/memories?api_key={SECRET}"],
        ["import", "--from", DEBIAN, "--to", "vektor", "--db", "x.db", "--api-key", SECRET],
        ["import", "--from", DEBIAN, "--to", "vektor", "--db", "x.db", f"--api-key={SECRET}"],
        ["import", "--from", DEBIAN, "--to", f"vektor://x.db?api_key={SECRET}"],
        ["migrate", f"postgres://user:{SECRET}@localhost/db", f"redis://:{SECRET}@localhost"],
    ],
)
def test_a_secret_is_never_shown(arguments: list[str | Path], server: str, here: Path) -> None:
    before = names(here)
    done = vex(*(str(one).replace("SERVER", server) for one in arguments))
    assert SECRET not in done.out + done.err
    assert done.out + done.err
    for name in names(here) - before:
        assert SECRET.encode() not in (here / name).read_bytes(), name


@pytest.mark.parametrize("name", ["x.parquet", "x.vmig.jsonl", "x.arrow"])
def test_a_place_that_cannot_be_written_to_says_so(name: str, server: str, here: Path) -> None:
    done = vex("convert", DEBIAN, f"http://{server}/{name}")
    assert done.code == 1
    assert f"{server}/{name}: this place can be read, and not be written to" in done.err


def test_a_secret_is_not_in_the_rejects_file_nor_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "bad.vmig.jsonl").write_bytes(lines(DEBIAN)[0] + b"\n[]\n")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{one.server_port}/bad.vmig.jsonl?api_key={SECRET}"
        done = vex("convert", url, tmp_path / "out.parquet", "--json").ok()
        one.shutdown()
    assert (done.report["written"], done.report["rejected"]) == (1, 1)
    rejects = (tmp_path / "out.parquet.rejects.jsonl").read_text()
    assert "bad.vmig.jsonl" in rejects
    assert SECRET not in rejects + done.out


def test_a_variable_in_a_location_is_replaced(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE_TO", "folder")
    vex("convert", "in.vmig.jsonl", "${WHERE_TO}/out.parquet").ok()
    assert (here / "folder" / "out.parquet").exists()


def test_the_database_may_come_from_the_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEKTOR_DB", "a.db")
    monkeypatch.setenv("VEKTOR_DB_PATH", "b.db")
    assert vex("export", "--from", "vektor", "--output", "x.vmig.jsonl", "--json").ok().report["written"] == MEMORIES
    vex("import", "--from", "x.vmig.jsonl", "--to", "vektor").ok()
    assert count(here / "b.db") == MEMORIES


def count(database: Path) -> int:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM memories").fetchone()[0])
    finally:
        connection.close()


# -- anything that goes wrong inside -------------------------------------------------------------------------------


def test_an_error_of_ours_is_one_line_on_stderr(here: Path) -> None:
    done = vex("inspect", "nothing.parquet")
    assert (done.code, done.out) == (1, "")
    assert done.err == "vex: error: nothing.parquet: no such file\n"


def test_python_m_vexarrow_is_vex(here: Path) -> None:
    import sys

    done = subprocess.run([sys.executable, "-m", "vexarrow", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"vex {__version__}\n"
