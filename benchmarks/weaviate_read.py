"""Weaviate to Parquet.

Is it less work for our process than for one that uses the official client?
"""

import subprocess
from pathlib import Path

from benchmarks import _weaviate
from benchmarks._weaviate import LittleWork
from benchmarks.data import Inputs
from benchmarks.measure import Contender
from benchmarks.question import Question, main

NARROW_TO_WIDE = 5


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    contenders = []
    for what, path in _weaviate.inputs_of(inputs).items():
        loading = _weaviate.load("", path, f"Read{path.stem}").command
        subprocess.run(list(map(str, loading)), check=True, capture_output=True)
        records = inputs.records // (NARROW_TO_WIDE if what else 1)
        contenders.append(_weaviate.read(f"vex{what}", scratch / "out.parquet", f"Read{path.stem}", records))
    return contenders


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    contenders = []
    for what, path in _weaviate.inputs_of(inputs).items():
        loading = _weaviate.official("load", "", path, f"Theirs{path.stem}").command
        subprocess.run(list(map(str, loading)), check=True, capture_output=True)
        records = inputs.records // (NARROW_TO_WIDE if what else 1)
        output = scratch / "out.parquet"
        contenders.append(_weaviate.official("read", f"weaviate{what}", output, f"Theirs{path.stem}", records))
    return contenders


QUESTION = Question(
    name="weaviate_read",
    text="A collection of an emulator of Weaviate to Parquet; also a fifth of the records with 1536 dimensions.",
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
