"""The committed results as Markdown: `python -m benchmarks.table`."""

import json
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"


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


def main() -> None:
    """Print all results, each under the machine it was measured on."""
    for path in sorted(RESULTS.glob("*.json")):
        answer = json.loads(path.read_text())
        print(render(answer))
        print(f"{machine(answer['machine'])}\n")


if __name__ == "__main__":
    main()
