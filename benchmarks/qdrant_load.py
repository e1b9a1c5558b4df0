"""Parquet to Qdrant.

Is it no slower than the fastest way of the official client, `upload_collection` with numpy over gRPC?
"""

from pathlib import Path

from benchmarks import _qdrant
from benchmarks.data import Inputs
from benchmarks.goals import Faster
from benchmarks.measure import Contender
from benchmarks.question import Question, main

WAYS = (1, 2, 4)
WHEN = ("now", "later")  # when search indexes are built


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    files = _qdrant.inputs_of(inputs)
    return [_qdrant.load(f"vex{what}", path, f"{_qdrant.LOADED}ours-{path.stem}") for what, path in files.items()]


def client(ways: int, when: str) -> str:
    return f"upload_collection, parallel={ways}" + (", indexed later" if when == "later" else "")


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    return [
        _qdrant.client_load(client(ways, when) + what, path, f"{_qdrant.LOADED}theirs-{path.stem}", ways, when)
        for what, path in _qdrant.inputs_of(inputs).items()
        for ways in WAYS
        for when in WHEN
    ]


QUESTION = Question(
    name="qdrant_load",
    text="Parquet to a new collection of Qdrant; also a fifth of the records with 1536 dimensions.",
    ours=ours,
    rivals=rivals,
    goals=tuple(
        Faster(f"vex{what}", 1, than=tuple(client(ways, when) + what for ways in WAYS for when in WHEN))
        for what in ("", ", 1536 dimensions")
    ),
    reads=(".parquet",),
    sizes=(100_000,),
)

if __name__ == "__main__":
    with _qdrant.server():
        main(QUESTION)
