"""JSONL to Parquet.

Is it faster than with the tools for it, in little memory whatever the size?
"""

from pathlib import Path

from benchmarks.data import Inputs
from benchmarks.goals import Faster, PeakBelow, SteadyPeak
from benchmarks.measure import Contender
from benchmarks.question import VEX, Question, main, rival

NAMED = ("polars", "duckdb", "pyarrow")
# DuckDB with smaller row groups than its own choice, to see how much is in that: measured, not part of the goal.
RIVALS = (*NAMED, "tuned duckdb")


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    output = scratch / "out.parquet"
    command = (VEX, "convert", inputs.jsonl, output, "--overwrite")
    return [Contender("vex", command, output, inputs.records)]


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    output = scratch / "out.parquet"
    return [rival("jsonl_to_parquet", name, inputs.jsonl, output, inputs.records) for name in RIVALS]


QUESTION = Question(
    name="jsonl_to_parquet",
    text="JSONL to Parquet, compressed with zstd.",
    ours=ours,
    rivals=rivals,
    goals=(
        Faster("vex", 1.3, than=NAMED),
        PeakBelow("vex", 350),
        SteadyPeak("vex", 0.15),
    ),
    reads=(".vmig.jsonl",),
)

if __name__ == "__main__":
    main(QUESTION)
