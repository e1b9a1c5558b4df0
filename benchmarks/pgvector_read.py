"""A table of PostgreSQL to Arrow record batches, in memory.

How much slower is it than one binary COPY that is drained to nothing?
"""

from pathlib import Path

from benchmarks import _pgvector
from benchmarks.data import Inputs
from benchmarks.goals import AtMost
from benchmarks.measure import Contender
from benchmarks.question import Question, main

WHATS = ("", ", 1536 dimensions")


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    return [_pgvector.drain(f"vex{what}", path) for what, path in _pgvector.inputs_of(inputs).items()]


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    return [_pgvector.out(f"one COPY{what}", path) for what, path in _pgvector.inputs_of(inputs).items()]


QUESTION = Question(
    name="pgvector_read",
    text="A table of PostgreSQL to record batches in memory, three times over; also a fifth of the records with 1536 "
    "dimensions. One COPY is drained to nothing.",
    ours=ours,
    rivals=rivals,
    goals=tuple(AtMost(f"vex{what}", 1 / 0.8, than=f"one COPY{what}") for what in WHATS),
    reads=(".parquet",),
    sizes=(100_000,),
)

if __name__ == "__main__":
    with _pgvector.server():
        main(QUESTION)
