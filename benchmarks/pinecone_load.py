"""Parquet to Pinecone.

Is it less work for our process than for one that uses the official client?
"""

from pathlib import Path

from benchmarks import _pinecone
from benchmarks._pinecone import LittleWork
from benchmarks.data import Inputs
from benchmarks.measure import Contender
from benchmarks.question import Question, main


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    files = _pinecone.inputs_of(inputs)
    return [_pinecone.load(f"vex{what}", path, f"ours-{path.stem}") for what, path in files.items()]


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    files = _pinecone.inputs_of(inputs)
    return [
        _pinecone.official(f"load{job}", f"pinecone{how}{what}", path, f"theirs{job}-{path.stem}")
        for what, path in files.items()
        for job, how in (("", ""), ("-grpc", " over gRPC"))
    ]


QUESTION = Question(
    name="pinecone_load",
    text="Parquet to an index of an emulator of Pinecone; also a fifth of the records with 1536 dimensions.",
    ours=ours,
    rivals=rivals,
    goals=(
        LittleWork("vex", 1 / 3, than=("pinecone",)),
        LittleWork("vex, 1536 dimensions", 1 / 3, than=("pinecone, 1536 dimensions",)),
    ),
    reads=(".parquet",),
    sizes=(100_000,),
)

if __name__ == "__main__":
    with _pinecone.emulator():
        main(QUESTION)
