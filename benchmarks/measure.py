"""How long a command takes, how much processor time and how much memory.

Each command is a whole process, start-up included. The rivals take turns (A B C A B C ...), so that a machine
that slows down slows all of them. What Python compiles in the warm-up is kept, as where a package is installed: a
machine that forbids that would have every start compile again what is not. The memory is the largest peak of the
process and of those that it started and waited for, as Linux counts it.

Linux takes the memory of the process that starts a command as a floor of the command's peak. So nothing heavy
is imported here, and the inputs are made in another process.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """One process: seconds on the clock, seconds of processor (user and system), peak memory in bytes."""

    wall: float
    cpu: float
    peak: int


@dataclass(frozen=True)
class Contender:
    """A command that takes part.

    A `Path` among the arguments is shown by its name alone. `records` is what the file `output` must hold
    afterwards; both are None where there is no output to look at. `before` is a command that is run before each turn
    and is not measured, e.g. one that brings a server to rest.
    """

    name: str
    command: Sequence[str | Path]
    output: Path | None = None
    records: int | None = None
    before: Sequence[str | Path] = ()

    @property
    def shown(self) -> str:
        """The command without the folders of this machine."""
        return " ".join(part.name if isinstance(part, Path) else part for part in self.command)


def measure(command: Sequence[str | Path]) -> Run:
    """Run one process to its end.

    Raises SystemExit with the end of its standard error if it fails.
    """
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        words, environment = list(map(str, command)), os.environ.copy()
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=errors, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{command}: exit {process.returncode}\n{errors.read()[-2000:].decode(errors='replace')}")
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def fresh(folder: Path) -> None:
    """Remove what the last run wrote, and let the disk come to rest."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()


def check(contender: Contender) -> None:
    """A result with records missing is no result."""
    if contender.output is None:
        return
    count = [sys.executable, "-m", "benchmarks.count", str(contender.output)]
    found = int(subprocess.run(count, check=True, capture_output=True, text=True).stdout)
    if found != contender.records:
        raise SystemExit(f"{contender.name}: {found} records written, {contender.records} expected")


def take_turns(contenders: Sequence[Contender], runs: int, scratch: Path) -> dict[str, list[Run]]:
    """Measure each contender `runs` times, after one warm-up whose output is checked."""
    measured: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for turn in range(runs + 1):
        for contender in contenders:
            fresh(scratch)
            if contender.before:
                measure(contender.before)
            run = measure(contender.command)
            if turn:
                measured[contender.name].append(run)
            else:
                check(contender)
            print(f"  {turn or 'warm-up'}  {contender.name}  {run.wall:.2f} s", file=sys.stderr, flush=True)
    shutil.rmtree(scratch, ignore_errors=True)
    return measured
