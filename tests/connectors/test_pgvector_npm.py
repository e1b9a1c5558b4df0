"""npm vex 0.8.8 and pgvector: it exports what we loaded, and we export what it loaded."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import test_npm
from tests.commands import DEBIAN, NPM, json_lines, vex
from tests.engines.postgres import postgres
from tests.engines.presence import absent
from tests.test_npm import FOLDER, bits, epoch, npm

tool = test_npm.tool
MEMORIES = NPM / "memories-20.vmig.jsonl"


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
def npm_vex(tool: Path) -> Path:
    """The original tool with the library that it needs for PostgreSQL."""
    if not (FOLDER / "node_modules/pg").exists():
        absent("npm", "pg is not installed beside the tool; `make npm-vex` installs it")
    return tool


@pytest.mark.npm
def test_the_original_tool_exports_what_we_load(server: str, npm_vex: Path, tmp_path: Path) -> None:
    name = f"t_{uuid.uuid4().hex}"
    vex("import", "--from", DEBIAN, "--to", "pgvector", "--url", server, "--table", name).ok()
    its = exported(npm_vex, server, name, tmp_path)
    sent = {one["id"]: one for one in json_lines(DEBIAN)}
    assert {one["id"]: (one["text"], one["namespace"], one["created_at"] / 1000) for one in its} == {
        identity: (one["text"], one["namespace"], epoch(one["created_at"])) for identity, one in sent.items()
    }
    assert bits(its) == bits(list(sent.values()))


@pytest.mark.npm
def test_the_original_tool_exports_what_we_load_into_its_table(server: str, npm_vex: Path, tmp_path: Path) -> None:
    name = f"t_{uuid.uuid4().hex}"
    few, more = json_lines(MEMORIES)[:5], json_lines(MEMORIES)[5:]
    for at, some in enumerate((few, more)):
        (tmp_path / f"{at}.vmig.jsonl").write_text("".join(json.dumps(one) + "\n" for one in some))
    to = ("--to", "pgvector", "--url", server, "--table", name)
    npm(npm_vex, "import", "--from", tmp_path / "0.vmig.jsonl", *to)
    vex("import", "--from", tmp_path / "1.vmig.jsonl", *to).ok()
    its = exported(npm_vex, server, name, tmp_path)
    assert {(one["id"], one["text"], epoch(one["created_at"])) for one in its} == {
        (one["id"], one["text"], epoch(one["created_at"])) for one in json_lines(MEMORIES)
    }
    assert bits(its) == bits(json_lines(MEMORIES))


@pytest.mark.npm
def test_we_export_what_the_original_tool_loads(server: str, npm_vex: Path, tmp_path: Path) -> None:
    name = f"t_{uuid.uuid4().hex}"
    place = ("pgvector", "--url", server, "--table", name)
    npm(npm_vex, "import", "--from", MEMORIES, "--to", *place)
    vex("export", "--from", *place, "--output", tmp_path / "ours.vmig.jsonl").ok()
    ours = json_lines(tmp_path / "ours.vmig.jsonl")
    sent = json_lines(MEMORIES)
    assert {one["id"]: (one["text"], one["namespace"], epoch(one["created_at"])) for one in ours} == {
        one["id"]: (one["text"], one["namespace"], epoch(one["created_at"])) for one in sent
    }
    assert bits(ours) == bits(sent)
    assert {one["source_store"] for one in ours} == {"pgvector"}


def exported(its: Path, server: str, name: str, folder: Path) -> list[dict[str, Any]]:
    """What the original tool exports of a table."""
    npm(its, "export", "--from", "pgvector", "--url", server, "--table", name, "--output", folder / "its.vmig.jsonl")
    return json_lines(folder / "its.vmig.jsonl")
