"""Qdrant to nothing.

Is reading all records with their vectors faster than by the official client's `scroll`?
"""

import subprocess
from pathlib import Path

from benchmarks import _qdrant
from benchmarks.data import Inputs
from benchmarks.goals import Faster
from benchmarks.measure import Contender
from benchmarks.question import Question, main


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    contenders = []
    for what, path in _qdrant.inputs_of(inputs).items():
        _qdrant.drop(f"{_qdrant.READ}{path.stem}")
        loading = _qdrant.load("", path, f"{_qdrant.READ}{path.stem}").command
        subprocess.run(list(map(str, loading)), check=True, capture_output=True)
        contenders.append(_qdrant.drain(f"vex{what}", f"{_qdrant.READ}{path.stem}"))
    return contenders


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    files = _qdrant.inputs_of(inputs)
    return [_qdrant.scroll(f"scroll{what}", f"{_qdrant.READ}{path.stem}") for what, path in files.items()]


QUESTION = Question(
    name="qdrant_read",
    text="A collection of Qdrant, read to nothing; also a fifth of the records with 1536 dimensions.",
    ours=ours,
    rivals=rivals,
    goals=(
        Faster("vex", 5, than=("scroll",)),
        Faster("vex, 1536 dimensions", 5, than=("scroll, 1536 dimensions",)),
    ),
    reads=(".parquet",),
    sizes=(100_000,),
)

if __name__ == "__main__":
    with _qdrant.server():
        main(QUESTION)
