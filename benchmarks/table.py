"""The committed results as Markdown: `python -m benchmarks.table`; with `--readme` the README's table is made again."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
HEAD = """Medians of five whole processes, rivals in turn, on two shared cores (`benchmarks/results/`); the goals are
those of `benchmarks/README.md`. Where a goal is about processor time, that is what is shown (cpu).

| question | records | vex, s | peak MB | beside it, s | goals |
|---|--:|--:|--:|---|---|"""
WIDE, NARROW_TO_WIDE = ", 1536 dimensions", 5
# What is ours among the contenders of a question; where none of these is, the first one is.
OURS = ("vex", "train", "384 to 1536, into the same memory", "768 to 3072, into the same memory")


def render(answer: dict[str, Any]) -> str:
    """One question's table, and its goals below."""
    first = answer["measured"][0]["name"] if answer["measured"] else ""
    lines = [
        f"## {answer['question']}",
        "",
        answer["text"],
        "",
        f"| records | | wall s, median (min to max) | cpu s | peak MB | wall, times {first} |",
        "|--:|---|--:|--:|--:|--:|",
        *(row(entry) for entry in answer["measured"]),
        "",
        *(verdict(goal) for goal in answer["goals"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def row(entry: dict[str, Any]) -> str:
    """One contender at one number of records."""
    walls, middle = entry["runs"]["wall"], entry["median"]
    wall = f"{median(walls):.2f} ({min(walls):.2f} to {max(walls):.2f})"
    records = f"{entry['records']:,}" if entry["records"] else ""
    ratio = f"{entry['ratio']['median']:.2f}"
    cells = (records, entry["name"], wall, f"{middle['cpu']:.2f}", f"{middle['peak'] / 1e6:.0f}", ratio)
    return f"| {' | '.join(cells)} |"


def verdict(goal: dict[str, Any]) -> str:
    """A goal, reached or not."""
    return f"- **{'reached' if goal['reached'] else 'not reached'}**: {goal['goal']}: {goal['found']}"


def machine(described: dict[str, Any]) -> str:
    """On what it was measured, in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in described["versions"].items())
    memory = described["memory_bytes"] / 2**30
    return (
        f"{described['date']}, {described['processor']}, {described['cores']} cores, {memory:.0f} GiB, "
        f"load {described['load_at_start']:.1f} at the start; {versions}"
    )


def summary(answer: dict[str, Any]) -> Iterator[str]:
    """Rows of the README's table: one a number of records and width of the vectors, goals on the first of a width."""
    for what in ("", WIDE):
        goals = [goal for goal in answer["goals"] if (WIDE in goal["goal"]) == bool(what)]
        field = "cpu" if any("processor time" in goal["goal"] for goal in goals) else "wall"
        verdicts = ", ".join("reached" if goal["reached"] else "not reached" for goal in goals)
        entries = [one for one in answer["measured"] if one["name"].endswith(WIDE) == bool(what)]
        for records in dict.fromkeys(one["records"] for one in entries):
            here = {one["name"].removesuffix(WIDE): one["median"] for one in entries if one["records"] == records}
            ours = here.pop(next((name for name in OURS if name in here), next(iter(here))))
            beside = "; ".join(f"{name} {one[field]:.2f}" for name, one in here.items()) or "-"
            cells = (
                answer["question"] + what,
                f"{records // NARROW_TO_WIDE if what else records:,}" if records else "",
                f"{ours[field]:.2f}" + (" cpu" if field == "cpu" else ""),
                f"{ours['peak'] / 1e6:.0f}",
                beside,
                verdicts,
            )
            yield f"| {' | '.join(cells)} |"
            verdicts = ""


def write_readme() -> None:
    """Put the committed results into the README, in the order in which the questions are asked."""
    from benchmarks.__main__ import QUESTIONS

    answers = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    rows = [row for name in QUESTIONS if name in answers for row in summary(answers[name])]
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text("\n".join([before + BEGIN, HEAD, *rows, END]) + after)


def main() -> None:
    """Print all results, each under the machine it was measured on."""
    if "--readme" in sys.argv:
        write_readme()
        return
    for path in sorted(RESULTS.glob("*.json")):
        answer = json.loads(path.read_text())
        if "measured" not in answer:  # of quality and not of time: docs/projections.md has it
            continue
        print(render(answer))
        print(f"{machine(answer['machine'])}\n")


if __name__ == "__main__":
    main()
