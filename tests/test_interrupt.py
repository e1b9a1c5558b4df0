"""Ctrl-C and SIGTERM in mid-run: exit 130, a word about it, and no half of a file."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands import DEBIAN, VEX, names, vex

SECONDS = 60.0
TEMPORARY = ".vex-part"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """41 MB: reading it a few records at a time takes a while."""
    path = tmp_path_factory.mktemp("large") / "large.vmig.jsonl"
    path.write_bytes(DEBIAN.read_bytes() * 50)
    yield path
    path.unlink()


def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
    def usual_signals() -> None:
        # A test run in the background ignores SIGINT, and a child would inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [VEX, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=usual_signals,
    )


def until(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait, as long as the process runs."""
    end = time.monotonic() + SECONDS
    while not happened():
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.005)


def grown(folder: Path) -> bool:
    """Whether something has been written that has no final name yet."""
    return any(path.is_file() and path.stat().st_size > 0 for path in folder.rglob("*") if hidden(path, folder))


def hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") or TEMPORARY in part for part in path.relative_to(folder).parts)


def interrupted(process: subprocess.Popen[bytes], number: signal.Signals) -> str:
    """Send the signal; what the process said on its way out."""
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 130, err.decode()
    assert out == b""
    assert b"Traceback" not in err
    return err.decode()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("out.vmig.jsonl", signal.SIGINT),
        ("out.vmig.jsonl", signal.SIGTERM),
        ("out.vmig.jsonl.zst", signal.SIGINT),
        ("out.parquet", signal.SIGTERM),
        ("out.arrow", signal.SIGINT),
        ("out/", signal.SIGTERM),
    ],
)
def test_an_interrupted_run_publishes_nothing_and_cleans_up(
    name: str, number: signal.Signals, large: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "target"
    folder.mkdir()
    process = start("convert", large, f"{folder}/{name}", "--batch-size", "64")
    until(lambda: grown(folder), process)
    assert "interrupted" in interrupted(process, number)
    assert names(folder) == set()


def test_what_was_there_before_stays(large: Path, tmp_path: Path) -> None:
    (tmp_path / "out.parquet").write_bytes(b"old")
    process = start("convert", large, tmp_path / "out.parquet", "--batch-size", "64", "--overwrite")
    until(lambda: grown(tmp_path), process)
    interrupted(process, signal.SIGINT)
    assert names(tmp_path) == {"out.parquet"}
    assert (tmp_path / "out.parquet").read_bytes() == b"old"


def test_a_store_keeps_whole_batches_and_the_command_can_be_run_again(tmp_path: Path) -> None:
    source = tmp_path / "in.vmig.jsonl"
    lines = DEBIAN.read_bytes().splitlines()
    with source.open("wb") as file:
        for at in range(30):
            file.writelines(line.replace(b'{"id":"', b'{"id":"%d-' % at, 1) + b"\n" for line in lines)
    database = tmp_path / "out.db"
    process = start("import", "--from", source, "--to", "vektor", "--db", database, "--batch-size", "16")
    until(lambda: database.exists() and database.stat().st_size > 100_000, process)
    assert "again" in interrupted(process, signal.SIGTERM)
    kept = vex("inspect", database, "--json").ok().report["records"]
    assert kept < 30 * len(lines)
    vex("import", "--from", source, "--to", "vektor", "--db", database).ok()
    assert vex("inspect", database, "--json").ok().report["records"] == 30 * len(lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_run_that_waits_for_stdin_ends_too(number: signal.Signals, tmp_path: Path) -> None:
    """Nothing comes, nothing ends, and nobody else closes the pipe."""
    process = start("convert", "-", tmp_path / "out.vmig.jsonl")
    assert process.stdin is not None
    process.stdin.write(DEBIAN.read_bytes())
    process.stdin.flush()
    until(lambda: bool(names(tmp_path)), process)
    time.sleep(0.2)
    process.send_signal(number)
    try:
        assert process.wait(10) == 130
    finally:
        process.kill()
        process.communicate()
    assert names(tmp_path) == set()


def test_a_second_signal_while_cleaning_up_leaves_nothing_either(large: Path, tmp_path: Path) -> None:
    """Impatient users press twice."""
    process = start("convert", large, tmp_path / "out.vmig.jsonl", "--batch-size", "64")
    until(lambda: grown(tmp_path), process)
    process.send_signal(signal.SIGINT)
    interrupted(process, signal.SIGINT)
    assert names(tmp_path) == set()


def test_an_interrupted_inspection_is_130_too() -> None:
    process = start("inspect", "-")
    assert process.stdin is not None
    # More than a pipe holds: when this returns, the records are being read, and the end has not come.
    process.stdin.write(DEBIAN.read_bytes())
    process.stdin.flush()
    assert "interrupted" in interrupted(process, signal.SIGINT)
