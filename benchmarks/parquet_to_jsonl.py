"""Parquet to JSONL.

Is it faster than DuckDB's, and no slower than polars', which leaves metadata and time as it finds them?
"""

from pathlib import Path

from benchmarks.data import Inputs
from benchmarks.goals import AtMost, Faster
from benchmarks.measure import Contender
from benchmarks.question import VEX, Question, main, rival


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    output = scratch / "out.vmig.jsonl"
    command = (VEX, "convert", inputs.parquet, output, "--overwrite")
    return [Contender("vex", command, output, inputs.records)]


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    output = scratch / "out.jsonl"
    return [rival("parquet_to_jsonl", name, inputs.parquet, output, inputs.records) for name in ("duckdb", "polars")]


QUESTION = Question(
    name="parquet_to_jsonl",
    text="Parquet to JSONL.",
    ours=ours,
    rivals=rivals,
    goals=(Faster("vex", 2, than=("duckdb",)), AtMost("vex", 1, than="polars")),
    reads=(".parquet",),
    sizes=(100_000,),
)

if __name__ == "__main__":
    main(QUESTION)
