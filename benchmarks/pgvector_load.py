"""Parquet to a new table of PostgreSQL.

How much slower is it than one binary COPY of a buffer that is ready, how much faster than psycopg's upserts, and how
much memory does it take?
"""

from pathlib import Path

from benchmarks import _pgvector
from benchmarks.data import Inputs
from benchmarks.goals import AtMost, PeakBelow
from benchmarks.measure import Contender
from benchmarks.question import Question, main

WHATS = ("", ", 1536 dimensions")


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    if inputs.records > 100_000:
        return [_pgvector.command("vex import", inputs.parquet)]
    files = _pgvector.inputs_of(inputs)
    return [
        *(_pgvector.load(f"vex{what}", path) for what, path in files.items()),
        _pgvector.command("vex import", inputs.parquet),
    ]


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    files = _pgvector.inputs_of(inputs)
    ways = {"executemany": "text", "executemany, pgvector's adapter": "adapter"}
    return [
        *(_pgvector.copy(f"one COPY{what}", path) for what, path in files.items()),
        *(_pgvector.upsert(f"{name}{what}", path, way) for name, way in ways.items() for what, path in files.items()),
    ]


QUESTION = Question(
    name="pgvector_load",
    text="Parquet to a new table of PostgreSQL without an index of vectors; also a fifth of the records with 1536 "
    "dimensions. One COPY sends a buffer that is ready. All but `vex import` do it three times over, and executemany "
    "with a fifth of the records.",
    ours=ours,
    rivals=rivals,
    goals=(
        *(AtMost(f"vex{what}", 1 / 0.8, than=f"one COPY{what}") for what in WHATS),
        *(_pgvector.Rate(f"vex{what}", 10, than=f"executemany{what}") for what in WHATS),
        PeakBelow("vex import", 400),
    ),
    reads=(".parquet",),
)

if __name__ == "__main__":
    with _pgvector.server():
        main(QUESTION)
