"""How a question is asked, answered and written down: what the files with one question each share."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import data, machine
from benchmarks.goals import Goal, Measured
from benchmarks.measure import Contender, Run, take_turns
from benchmarks.table import render

RESULTS = Path(__file__).parent / "results"
NPM = Path(os.environ.get("VEX_NPM_DIR") or data.ROOT / ".cache/npm-vex") / "node_modules/.bin/vex"
PYTHON = Path(sys.executable)
VEX = PYTHON.with_name("vex")
Shown = Mapping[int, Mapping[str, str]]  # commands by number of records, then by contender


def nobody(inputs: data.Inputs, scratch: Path) -> list[Contender]:
    """No rivals: the question compares vex with itself."""
    return []


@dataclass(frozen=True)
class Question:
    """One comparison.

    `ours` and `rivals` make the commands from the inputs and the folder that outputs go to; rivals take part
    up to `rivals_up_to` records. `reads` are the suffixes of the inputs that are needed.
    """

    name: str
    text: str
    ours: Callable[[data.Inputs, Path], list[Contender]]
    goals: Sequence[Goal]
    reads: Sequence[str] = ()
    rivals: Callable[[data.Inputs, Path], list[Contender]] = nobody
    sizes: Sequence[int] = (100_000, 1_000_000)
    rivals_up_to: int = 100_000


def rival(job: str, name: str, source: Path, output: Path, records: int) -> Contender:
    """One of benchmarks/rivals.py."""
    return Contender(name, (PYTHON, "-m", "benchmarks.rivals", job, name, source, output), output, records)


def npm(*arguments: str | Path, output: Path | None = None, records: int | None = None) -> list[Contender]:
    """The original tool, if it is installed."""
    if not NPM.exists():
        print("npm vex is not measured: see benchmarks/README.md for how to install it", file=sys.stderr)
        return []
    return [Contender("npm vex", (NPM, *arguments), output, records)]


def options(question: Question, given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{question.name}", description=question.text)
    parser.add_argument("--records", type=int, action="append", help="repeatable; the goals are for the default")
    parser.add_argument("--runs", type=int, default=5, help="after one warm-up")
    parser.add_argument("--sample", type=Path, help="default: the largest .vmig.jsonl in tests/data")
    parser.add_argument("--rivals-only", action="store_true", help="without vex; nothing is written down")
    return parser.parse_args(given)


def prepare(question: Question, inputs: data.Inputs) -> None:
    """Make the inputs in a process of its own, so that this one stays small."""
    if question.reads:
        only = [part for suffix in question.reads for part in ("--only", suffix)]
        made = ["--records", str(inputs.records), "--sample", str(inputs.sample), *only]
        subprocess.run([PYTHON, "-m", "benchmarks.data", *made], check=True)


def compiled() -> None:
    """Compile the package as pip does when it installs one: an editable install leaves that to the first import, and
    some environments forbid to keep what that compiles."""
    script = (
        "import compileall, importlib.util as util\n"
        "for name in ('vexarrow', 'vexarrow.connectors', 'vexarrow.formats'):\n"
        "    for folder in util.find_spec(name).submodule_search_locations:\n"
        "        compileall.compile_dir(folder, quiet=1)"
    )
    subprocess.run([PYTHON, "-c", script], check=True)


def ask(question: Question, sample: Path, args: argparse.Namespace) -> tuple[Measured, Shown]:
    """Measure at every size; also the command of each contender, as it is shown."""
    measured: dict[int, dict[str, list[Run]]] = {}
    shown: dict[int, dict[str, str]] = {}
    scratch = data.work_folder() / "out"
    for records in args.records or question.sizes:
        inputs = data.inputs(sample, records)
        contenders = [] if args.rivals_only else question.ours(inputs, scratch)
        if records <= question.rivals_up_to:
            contenders += question.rivals(inputs, scratch)
        if not contenders:
            continue
        print(f"{question.name}, {records:,} records", file=sys.stderr)
        prepare(question, inputs)
        measured[records] = take_turns(contenders, args.runs, scratch)
        shown[records] = {contender.name: contender.shown for contender in contenders}
    return measured, shown


def entries(measured: Measured, shown: Shown) -> Iterator[dict[str, Any]]:
    """One object a contender and size, with every run; `ratio` is wall time over the first contender's."""
    for records, by_name in measured.items():
        first = next(iter(by_name.values()), [])
        for name, runs in by_name.items():
            raw = {field: [getattr(run, field) for run in runs] for field in Run._fields}
            middle = {field: median(values) for field, values in raw.items()}
            turns = [run.wall / base.wall for run, base in zip(runs, first, strict=True)]
            ratio = {"median": middle["wall"] / median(base.wall for base in first), "turns": turns}
            entry = {"records": records, "name": name, "command": shown[records][name], "runs": raw}
            yield entry | {"median": middle, "ratio": ratio}


def main(question: Question, given: Sequence[str] | None = None) -> None:
    """Ask one question, print the answer and write it down."""
    args = options(question, given)
    if not args.rivals_only and not VEX.exists():
        raise SystemExit("vex is not installed beside this Python: pip install -e .")
    sample = data.find_sample(args.sample)
    before = machine.describe()
    compiled()
    measured, shown = ask(question, sample, args)
    answer = {
        "question": question.name,
        "text": question.text,
        "machine": before,
        "sample": {"sha256_starts": data.digest(sample), "dimension": data.DIMENSION, "seed": data.SEED},
        "measured": list(entries(measured, shown)),
        "goals": [verdict._asdict() for goal in question.goals for verdict in goal.judge(measured)],
    }
    print(render(answer))
    if not args.rivals_only:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{question.name}.json").write_text(json.dumps(answer, indent=2) + "\n")
