"""Chroma to nothing.

Is reading all records with their vectors less work for our process than for one that uses the official client?
"""

import subprocess
from pathlib import Path

from benchmarks import _chroma
from benchmarks._pinecone import LittleWork
from benchmarks.data import Inputs
from benchmarks.measure import Contender
from benchmarks.question import Question, main


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    contenders = []
    for what, path in _chroma.inputs_of(inputs).items():
        loading = _chroma.load("", path, f"read-{path.stem}").command
        subprocess.run(list(map(str, loading)), check=True, capture_output=True)
        contenders.append(_chroma.drain(f"vex{what}", f"read-{path.stem}"))
    return contenders


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    files = _chroma.inputs_of(inputs)
    return [_chroma.get(f"chromadb{what}", f"read-{path.stem}") for what, path in files.items()]


QUESTION = Question(
    name="chroma_read",
    text="A collection of a Chroma server, read to nothing; also a fifth of the records with 1536 dimensions.",
    ours=ours,
    rivals=rivals,
    goals=(
        LittleWork("vex", 1 / 2, than=("chromadb",)),
        LittleWork("vex, 1536 dimensions", 1 / 2, than=("chromadb, 1536 dimensions",)),
    ),
    reads=(".parquet",),
    sizes=(100_000,),
)

if __name__ == "__main__":
    with _chroma.server():
        main(QUESTION)
