"""The original tool, npm vex 0.8.8, beside ours: it reads what we write, and we read what it writes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vexarrow
from tests.commands import DEBIAN, MEMORY, NPM, json_lines, lines, names, vex

FOLDER = Path(os.environ.get("VEX_NPM_DIR") or Path(__file__).parent.parent / ".cache" / "npm-vex").resolve()
TOOL = FOLDER / "node_modules" / ".bin" / "vex"


@pytest.fixture(scope="module")
def tool() -> Path:
    """The original command line. Where it is absent the test is skipped, or fails when `VEX_REQUIRE` names "npm"."""
    if not TOOL.exists() or shutil.which("node") is None:
        required = "npm" in os.environ.get("VEX_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)(f"npm: there is no {TOOL}, or no node; `make npm-vex` installs it")
    return TOOL


def npm(tool: Path, *arguments: str | Path, code: int = 0) -> str:
    """Run the original; what it printed."""
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def bits(records: Sequence[dict[str, Any]]) -> dict[str, bytes | None]:
    """The vectors by id, as float32, bit for bit."""
    return {
        str(one["id"]): None if one["vector"] is None else np.array(one["vector"], np.float32).tobytes()
        for one in records
    }


def epoch(created: str | float | None) -> float | None:
    return datetime.fromisoformat(created).timestamp() if isinstance(created, str) else created


# -- live ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """160 records as our writer writes them."""
    path = tmp_path / "ours.vmig.jsonl"
    vex("convert", DEBIAN, path).ok()
    return path


@pytest.mark.npm
def test_the_tool_is_the_version_that_we_know(tool: Path) -> None:
    assert "0.8.8" in npm(tool, "--version")


@pytest.mark.npm
def test_it_validates_our_file(tool: Path, ours: Path) -> None:
    out = npm(tool, "validate", ours)
    assert "160 records" in out
    assert "All records valid" in out


@pytest.mark.npm
def test_it_validates_our_export_of_its_own_database(tool: Path, tmp_path: Path) -> None:
    """With all that it leaves out itself: tags, importance, agent_id in the metadata, which has to stay flat."""
    path = tmp_path / "x.vmig.jsonl"
    vex("export", "--from", "vektor", "--db", MEMORY, "--output", path).ok()
    assert "All records valid" in npm(tool, "validate", path)
    assert any(one["metadata"]["tags"] for one in json_lines(path))


@pytest.mark.npm
def test_it_finds_the_same_faults(tool: Path, tmp_path: Path) -> None:
    good = json_lines(DEBIAN)[0]
    bad: list[dict[str, object]] = [
        {"id": ""},
        {"vex_version": None},
        {"text": None, "vector": None, "dims": None},
        {"dims": 3},
        {"metadata": {"a": [1]}},
    ]
    path = tmp_path / "bad.vmig.jsonl"
    path.write_text("".join(json.dumps({**good, "id": str(at), **one}) + "\n" for at, one in enumerate(bad)))
    npm(tool, "validate", path, code=1)
    found = vexarrow.validate(str(path))
    assert {one.line for one in found.findings if one.severity == "error"} == {1, 2, 3, 4, 5}


@pytest.mark.npm
def test_it_imports_our_file_and_we_read_its_database(tool: Path, ours: Path, tmp_path: Path) -> None:
    npm(tool, "import", "--from", ours, "--to", "vektor", "--db", tmp_path / "its.db", "--skip-graph", "true")
    vex("export", "--from", "vektor", "--db", tmp_path / "its.db", "--output", tmp_path / "back.vmig.jsonl").ok()
    sent, back = json_lines(ours), json_lines(tmp_path / "back.vmig.jsonl")
    assert bits(back) == bits(sent)
    assert {one["id"]: one["text"] for one in back} == {one["id"]: one["text"] for one in sent}
    assert {one["id"]: epoch(one["created_at"]) for one in back} == {
        one["id"]: epoch(one["created_at"]) for one in sent
    }


@pytest.mark.npm
def test_it_exports_our_database(tool: Path, ours: Path, tmp_path: Path) -> None:
    """All that its export carries is what we put in; metadata, model and the like it drops by itself."""
    vex("import", "--from", ours, "--to", "vektor", "--db", tmp_path / "our.db").ok()
    npm(tool, "export", "--from", "vektor", "--db", tmp_path / "our.db", "--output", tmp_path / "its.vmig.jsonl")
    sent, its = json_lines(ours), json_lines(tmp_path / "its.vmig.jsonl")
    assert bits(its) == bits(sent)
    for key in ("text", "namespace", "dims", "modality"):
        assert {one["id"]: one[key] for one in its} == {one["id"]: one[key] for one in sent}, key
    assert {one["id"]: one["created_at"] for one in its} == {one["id"]: epoch(one["created_at"]) for one in sent}


@pytest.mark.npm
def test_it_exports_the_database_that_we_upserted_into_its_own(tool: Path, tmp_path: Path) -> None:
    shutil.copy(MEMORY, tmp_path / "m.db")
    vex("import", "--from", DEBIAN, "--to", "vektor", "--db", tmp_path / "m.db").ok()
    npm(tool, "export", "--from", "vektor", "--db", tmp_path / "m.db", "--output", tmp_path / "its.vmig.jsonl")
    vex("export", "--from", "vektor", "--db", MEMORY, "--output", tmp_path / "before.vmig.jsonl").ok()
    its = json_lines(tmp_path / "its.vmig.jsonl")
    wanted = bits(json_lines(tmp_path / "before.vmig.jsonl")) | bits(json_lines(DEBIAN))
    assert len(its) == len(wanted)
    assert bits(its) == wanted


@pytest.mark.npm
def test_both_export_the_same_vectors_from_the_same_database(tool: Path, tmp_path: Path) -> None:
    npm(tool, "export", "--from", "vektor", "--db", MEMORY, "--output", tmp_path / "its.vmig.jsonl")
    vex("export", "--from", "vektor", "--db", MEMORY, "--output", tmp_path / "ours.vmig.jsonl").ok()
    its, ours = json_lines(tmp_path / "its.vmig.jsonl"), json_lines(tmp_path / "ours.vmig.jsonl")
    assert bits(ours) == bits(its)
    for key in ("id", "text", "namespace", "source_store"):
        assert sorted(str(one[key]) for one in ours) == sorted(str(one[key]) for one in its)


@pytest.mark.npm
def test_integer_ids_stay_integers_between_the_two(tool: Path, tmp_path: Path) -> None:
    source = tmp_path / "ints.vmig.jsonl"
    source.write_text("".join(json.dumps({**one, "id": at}) + "\n" for at, one in enumerate(json_lines(DEBIAN)[:9])))
    vex("import", "--from", source, "--to", "vektor", "--db", tmp_path / "ints.db").ok()
    npm(tool, "export", "--from", "vektor", "--db", tmp_path / "ints.db", "--output", tmp_path / "its.vmig.jsonl")
    vex("convert", tmp_path / "its.vmig.jsonl", tmp_path / "back.vmig.jsonl").ok()
    assert sorted(one["id"] for one in json_lines(tmp_path / "back.vmig.jsonl")) == list(range(9))


@pytest.mark.npm
def test_its_sidecar_and_ours_have_the_same_checksum(tool: Path, ours: Path, tmp_path: Path) -> None:
    """`migrate --to jsonl` is the one place where it writes a sidecar."""
    shutil.copy(MEMORY, tmp_path / "m.db")
    target = tmp_path / "its.vmig.jsonl"
    npm(tool, "migrate", "--from", "vektor", "--db", tmp_path / "m.db", "--to", "jsonl", "--output", target)
    assert vex("validate", target).code == 0
    body = json.loads((tmp_path / "its.vmig.meta.json").read_text())
    assert body["checksum"] == "sha256:" + hashlib.sha256(target.read_bytes().rstrip(b"\n")).hexdigest()
    assert body.keys() <= json.loads((tmp_path / "ours.vmig.meta.json").read_text()).keys()


# -- files that it wrote -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["memories-20.vmig.jsonl", "roundtrip.vmig.jsonl"])
def test_its_files_are_read_whole_and_bit_equal(name: str, tmp_path: Path) -> None:
    report = vexarrow.copy(str(NPM / name), str(tmp_path / "out.vmig.jsonl"))
    assert (report.counts.read, report.counts.written) == (20, 20)
    its, ours = json_lines(NPM / name), json_lines(tmp_path / "out.vmig.jsonl")
    assert bits(ours) == bits(its)
    for one, other in zip(its, ours, strict=True):
        assert epoch(other.pop("created_at")) == epoch(one.pop("created_at"))
        assert {**other, "vector": None} == {**one, "vector": None}


def test_its_file_is_valid_and_its_sidecar_fits(tmp_path: Path) -> None:
    for name in ("roundtrip.vmig.jsonl", "roundtrip.vmig.meta.json"):
        shutil.copy(NPM / name, tmp_path)
    assert vexarrow.validate(str(tmp_path / "roundtrip.vmig.jsonl")).ok
    assert names(tmp_path) == {"roundtrip.vmig.jsonl", "roundtrip.vmig.meta.json"}


def test_its_database_has_all_that_its_own_export_drops(tmp_path: Path) -> None:
    vexarrow.copy(str(MEMORY), str(tmp_path / "out.vmig.jsonl"))
    ours = {one["id"]: one for one in json_lines(tmp_path / "out.vmig.jsonl")}
    known = {one["id"]: one for one in json_lines(DEBIAN)}
    both = ours.keys() & known.keys()
    assert (len(ours), len(both)) >= (122, 1)
    assert all(one["metadata"]["agent_id"] == "vektor-mcp" for one in ours.values())
    assert all(one["namespace"] is not None for one in ours.values())
    for name in both:
        assert ours[name]["metadata"]["tags"] == (known[name]["metadata"]["tags"] or "")
        assert bits([ours[name]]) == bits([known[name]])


def test_its_file_converts_to_parquet_and_back(tmp_path: Path) -> None:
    source = NPM / "memories-20.vmig.jsonl"
    vexarrow.copy(str(source), str(tmp_path / "a.vmig.jsonl"))
    vexarrow.copy(str(source), str(tmp_path / "x.parquet"))
    vexarrow.copy(str(tmp_path / "x.parquet"), str(tmp_path / "b.vmig.jsonl"))
    assert lines(tmp_path / "a.vmig.jsonl") == lines(tmp_path / "b.vmig.jsonl")
