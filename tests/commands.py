"""`vex` as tests run it: in this process, which is fast, or as one of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vexarrow.cli import main

DATA = Path(__file__).parent / "data"
DEBIAN = DATA / "debian.vmig.jsonl"
MEMORY = DATA / "slipstream-memory.db"
NPM = DATA / "npm"
VEX = Path(sysconfig.get_path("scripts"), "vex")


@dataclass(frozen=True)
class Done:
    """What a command left behind. `raw` is stdout as bytes."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def report(self) -> Any:
        """The one JSON object that `--json` prints."""
        return json.loads(self.out)

    def ok(self) -> Done:
        assert self.code == 0, self.err
        return self


def vex(*arguments: str | Path, stdin: bytes = b"") -> Done:
    """Run a command line in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    before, given = signal.getsignal(signal.SIGTERM), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    code: object = None
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main([str(argument) for argument in arguments])
    except SystemExit as left:
        code = left.code
    finally:
        sys.stdin = given
        signal.signal(signal.SIGTERM, before)
    out.flush()
    assert isinstance(code, int), f"vex leaves with an exit code, not {code!r}"
    return Done(code, _bytes(out), _bytes(err).decode())


def _bytes(stream: io.TextIOWrapper) -> bytes:
    below = stream.buffer
    assert isinstance(below, io.BytesIO)
    return below.getvalue()


def process(
    *arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Done:
    """Run a command line as a process of its own."""
    done = subprocess.run(
        [VEX, *arguments], input=stdin, capture_output=True, check=False, cwd=cwd, env={**os.environ, **(env or {})}
    )
    return Done(done.returncode, done.stdout, done.stderr.decode())


def lines(path: Path) -> list[bytes]:
    """The lines of a text file, without their LF."""
    return path.read_bytes().splitlines()


def json_lines(path: Path) -> list[Any]:
    """The JSON values of a file of lines."""
    return [json.loads(line) for line in lines(path)]


def names(folder: Path) -> set[str]:
    """All that is in a folder, hidden names too."""
    return {path.name for path in folder.iterdir()}
