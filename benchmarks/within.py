"""Questions about arithmetic: contenders are calls that take turns within one process, with the same libraries and
threads, and not commands."""

import argparse
import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import data, machine
from benchmarks.goals import Goal, Measured
from benchmarks.measure import Run
from benchmarks.question import RESULTS, entries
from benchmarks.table import render

Call = Callable[[], object]


@dataclass(frozen=True)
class Inner:
    """One comparison. `calls` gives, for each size, the calls by name; the first one is what the others are shown
    against. Data that they need is made there, before the clock runs."""

    name: str
    text: str
    calls: Callable[[], Iterable[tuple[int, Mapping[str, Call]]]]
    goals: Sequence[Goal]


def timed(call: Call) -> Run:
    """One call. Its peak is that of the process so far."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    spent = time.perf_counter() - wall, time.process_time() - cpu
    return Run(*spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def take_turns(calls: Mapping[str, Call], runs: int) -> dict[str, list[Run]]:
    """Each call `runs` times, after one that does not count."""
    measured: dict[str, list[Run]] = {name: [] for name in calls}
    for turn in range(runs + 1):
        for name, call in calls.items():
            run = timed(call)
            if turn:
                measured[name].append(run)
            print(f"  {turn or 'warm-up'}  {name}  {run.wall:.3f} s", file=sys.stderr, flush=True)
    return measured


def main(inner: Inner) -> None:
    """Ask one question, print the answer and write it down."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{inner.name}", description=inner.text)
    parser.add_argument("--runs", type=int, default=5, help="after one warm-up")
    runs = parser.parse_known_args()[0].runs  # others are for the questions about commands
    before = machine.describe()
    measured: Measured = {size: take_turns(calls, runs) for size, calls in inner.calls()}
    shown = {size: dict.fromkeys(by_name, "") for size, by_name in measured.items()}
    answer = {
        "question": inner.name,
        "text": inner.text,
        "machine": before,
        "sample": {"seed": data.SEED},
        "measured": list(entries(measured, shown)),
        "goals": [verdict._asdict() for goal in inner.goals for verdict in goal.judge(measured)],
    }
    print(render(answer))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{inner.name}.json").write_text(json.dumps(answer, indent=2) + "\n")
