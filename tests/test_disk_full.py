"""A disk that is full: the message says so, and nothing is left under the final name.

A small tmpfs, mounted in a user namespace of its own, or as root. Where neither is allowed, the limit of a process
on the size of its files stands in: the same failing write, with another errno.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.commands import DEBIAN, VEX, Done

SIZE = 256 << 10
NAMESPACES = (["unshare", "--user", "--map-root-user", "--mount"], ["unshare", "--mount"])


@cache
def namespace() -> list[str] | None:
    """The command that may mount a file system for itself alone; None where there is none."""
    if shutil.which("unshare") is None:
        return None
    for command in NAMESPACES:
        test = [*command, "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
        if subprocess.run(test, capture_output=True, check=False).returncode == 0:
            return command
    return None


def on_a_full_disk(folder: Path, arguments: Sequence[str | Path]) -> tuple[Done, list[str]]:
    """Run `vex` where `folder` holds `SIZE` bytes and no more; what it said, and what it left there."""
    command = namespace()
    if command is None:
        pytest.skip("no right to mount a small tmpfs, see the test with RLIMIT_FSIZE")
    script = f'mount -t tmpfs -o size={SIZE} tmpfs "$0" && "$@"; code=$?; find "$0" -type f >&3; exit $code'
    listing = folder.parent / "left"
    with listing.open("wb") as left:
        os.set_inheritable(left.fileno(), True)
        # The shell gets the list's file as descriptor 3.
        done = subprocess.run(
            [*command, "bash", "-c", f"exec 3>&{left.fileno()}; {script}", folder, VEX, *arguments],
            capture_output=True,
            check=False,
            pass_fds=[left.fileno()],
        )
    found = [str(Path(name).relative_to(folder)) for name in listing.read_text().splitlines()]
    return Done(done.returncode, done.stdout, done.stderr.decode()), found


CASES: dict[str, list[str | Path]] = {
    "out.vmig.jsonl": ["convert", DEBIAN],
    "out.vmig.jsonl.gz": ["convert", DEBIAN],
    "out.vmig.jsonl.zst": ["convert", DEBIAN],
    "out.arrow": ["convert", DEBIAN],
    "out.parquet": ["convert", DEBIAN, "--compression", "none"],
    "out/": ["convert", DEBIAN, "--compression", "none"],
    "new.db": ["import", "--from", DEBIAN, "--to"],
}


@pytest.mark.parametrize("name", CASES)
def test_no_space_left(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    command, source, *options = CASES[name]
    given = [command, source, *options] if command == "import" else [command, source]
    more = [] if command == "import" else options
    done, left = on_a_full_disk(folder, [*given, f"{folder}/{name}", *more])
    assert (done.code, done.out) == (1, "")
    assert "no space left" in done.err
    assert name.rstrip("/") in done.err
    assert len(done.err.splitlines()) == 1, done.err
    kept = {"new.db"} if name == "new.db" else set()
    assert set(left) <= kept, "a store may keep the batches that it acknowledged, a file nothing"


def test_no_space_left_for_the_rejects(tmp_path: Path) -> None:
    """A reject that cannot be written down would be a record lost."""
    source, folder = tmp_path / "bad.vmig.jsonl", tmp_path / "full"
    source.write_bytes(DEBIAN.read_bytes().replace(b'"dims":384', b'"dims":385'))
    folder.mkdir()
    done, _ = on_a_full_disk(folder, ["convert", source, tmp_path / "out.parquet", "--rejects", folder / "r.jsonl"])
    assert (done.code, done.out) == (1, "")
    assert "no space left" in done.err
    assert not (tmp_path / "out.parquet").exists()


LIMITED = """if True:
    import resource, signal, sys
    from vexarrow.cli import main
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    main(sys.argv[1:])
"""


@pytest.mark.parametrize("name", ["out.vmig.jsonl", "out.vmig.jsonl.zst", "out.parquet", "out.arrow", "new.db"])
def test_a_file_that_may_not_grow(name: str, tmp_path: Path) -> None:
    """A quota in place of a full disk; runs everywhere."""
    command, source, *options = CASES[name]
    given = [*options] if command == "import" else []
    more = [] if command == "import" else options
    line = [sys.executable, "-c", LIMITED, command, source, *given, tmp_path / name, *more]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert name in done.stderr
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= ({"new.db"} if name == "new.db" else set())
