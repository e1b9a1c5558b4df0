"""Parquet to Weaviate.

Is it less work for our process than for one that uses the official client?
"""

from pathlib import Path

from benchmarks import _weaviate
from benchmarks._weaviate import LittleWork
from benchmarks.data import Inputs
from benchmarks.measure import Contender
from benchmarks.question import Question, main


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    files = _weaviate.inputs_of(inputs)
    return [_weaviate.load(f"vex{what}", path, f"Ours{path.stem}") for what, path in files.items()]


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    files = _weaviate.inputs_of(inputs)
    return [_weaviate.official("load", f"weaviate{what}", path, f"Theirs{path.stem}") for what, path in files.items()]


QUESTION = Question(
    name="weaviate_load",
    text="Parquet to a collection of an emulator of Weaviate; also a fifth of the records with 1536 dimensions.",
    ours=ours,
    rivals=rivals,
    goals=(
        LittleWork("vex", 1 / 3, than=("weaviate",)),
        LittleWork("vex, 1536 dimensions", 1 / 3, than=("weaviate, 1536 dimensions",)),
    ),
    reads=(".parquet",),
    sizes=(100_000,),
)

if __name__ == "__main__":
    with _weaviate.emulator():
        main(QUESTION)
