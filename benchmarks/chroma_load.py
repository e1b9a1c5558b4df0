"""Parquet to Chroma.

Is it no slower than the official client with the largest batch that the server takes?
"""

from pathlib import Path

from benchmarks import _chroma
from benchmarks.data import Inputs
from benchmarks.goals import AtMost
from benchmarks.measure import Contender
from benchmarks.question import Question, main


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    files = _chroma.inputs_of(inputs)
    return [_chroma.load(f"vex{what}", path, f"ours-{path.stem}") for what, path in files.items()]


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    files = _chroma.inputs_of(inputs)
    return [_chroma.client_load(f"chromadb{what}", path, f"theirs-{path.stem}") for what, path in files.items()]


QUESTION = Question(
    name="chroma_load",
    text="Parquet to a new collection of a Chroma server; also a fifth of the records with 1536 dimensions.",
    ours=ours,
    rivals=rivals,
    goals=(
        AtMost("vex", 1.0, than="chromadb"),
        AtMost("vex, 1536 dimensions", 1.0, than="chromadb, 1536 dimensions"),
    ),
    reads=(".parquet",),
    sizes=(100_000,),
)

if __name__ == "__main__":
    with _chroma.server():
        main(QUESTION)
