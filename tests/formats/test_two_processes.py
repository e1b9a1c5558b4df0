"""Files that are large enough to be shared with a second process."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vexarrow

ROWS, DIM = 70_000, 384
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole numbers as vectors, which are short as text; some records without a vector, and one without an id."""
    rng = np.random.default_rng(7)
    values = pa.array(rng.integers(0, 9, ROWS * DIM).astype(np.float32))
    missing = np.arange(ROWS) % 1000 == 999
    metadata = [f'{{"row":{row},"half":{row / 2}}}' for row in range(ROWS)]
    ids = [f"id-{row}" if row != ROWS // 2 else None for row in range(ROWS)]
    table = pa.table(
        {
            "id": pa.array(ids),
            "text": pa.array([f"text {row}" for row in range(ROWS)]),
            "vector": pa.FixedSizeListArray.from_arrays(values, DIM, mask=pa.array(missing)),
            "metadata": pa.array(metadata),
        }
    )
    path = tmp_path_factory.mktemp("large") / "large.parquet"
    pq.write_table(table, path)
    return path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that are started."""
    found: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return found


def modules(processes: list[subprocess.Popen[bytes]]) -> list[str]:
    return [str(one.args[2]).rpartition(".")[2] for one in processes if isinstance(one.args, list)]


def check(report: vexarrow.Report, target: Path) -> None:
    """All but one arrived, and what lies there is what the report says."""
    assert (report.counts.written, report.counts.rejected) == (ROWS - 1, 1)
    found = vexarrow.inspect(str(target)).to_json()
    assert found["records"] == ROWS - 1
    assert found["content_digest"] == report.content_digest


def test_lines_are_made_and_read_by_two_processes(
    large: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    """Both ways, with one digest."""
    out = tmp_path / "out.vmig.jsonl"
    report = vexarrow.copy(str(large), str(out))
    assert modules(started) == ["_encoder"]
    check(report, out)
    assert modules(started) == ["_encoder", "_companion"]  # of the inspection
    assert all(one.poll() is not None for one in started)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_second_process_that_dies_costs_time_alone(
    large: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]], seconds: float
) -> None:
    """Before it is asked for anything, or while it works."""

    def kill() -> None:
        deadline = time.monotonic() + 30
        while not started and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(seconds)
        started[0].kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    out = tmp_path / "out.vmig.jsonl"
    report = vexarrow.copy(str(large), str(out))
    killer.join()
    check(report, out)
