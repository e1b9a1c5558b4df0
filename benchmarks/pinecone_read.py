"""Pinecone to Parquet.

Is it less work for our process than for one that uses the official client, whichever way that reads?
"""

import subprocess
from pathlib import Path

from benchmarks import _pinecone
from benchmarks._pinecone import LittleWork
from benchmarks.data import Inputs
from benchmarks.measure import Contender
from benchmarks.question import VEX, Question, main

JOBS = {
    "match": "fetch_by_metadata",
    "list": "list and fetch",
    "match-grpc": "fetch_by_metadata over gRPC",
    "list-grpc": "list and fetch over gRPC",
}


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    contenders = []
    for what, path in _pinecone.inputs_of(inputs).items():
        index = f"read-{path.stem}"
        subprocess.run(list(map(str, _pinecone.load("", path, index).command)), check=True, capture_output=True)
        output = scratch / "out.parquet"
        command = (VEX, "export", "--from", "pinecone", "--index", index, "--output", output)
        records = inputs.records // (_pinecone.NARROW_TO_WIDE if what else 1)
        contenders.append(Contender(f"vex{what}", command, output, records))
    return contenders


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    contenders = []
    for what, path in _pinecone.inputs_of(inputs).items():
        for job, how in JOBS.items():
            command = _pinecone.official(job, f"pinecone, {how}{what}", scratch / "out.parquet", f"read-{path.stem}")
            contenders.append(command)
    return contenders


def goal(what: str) -> LittleWork:
    return LittleWork(f"vex{what}", 1 / 3, (f"pinecone, fetch_by_metadata{what}", f"pinecone, list and fetch{what}"))


QUESTION = Question(
    name="pinecone_read",
    text="An index of an emulator of Pinecone to Parquet; also a fifth of the records with 1536 dimensions.",
    ours=ours,
    rivals=rivals,
    goals=(goal(""), goal(", 1536 dimensions")),
    reads=(".parquet",),
    sizes=(100_000,),
)

if __name__ == "__main__":
    with _pinecone.emulator():
        main(QUESTION)
