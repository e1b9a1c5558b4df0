"""JSONL to JSONL with a projection from 384 to 1536 dimensions.

Is the projection nearly free beside reading and writing JSON? "without projection" reads the same records and writes as
many of the same length, in one run of the same engine, with vectors that are ready.
"""

from pathlib import Path

from benchmarks._projection import made, part
from benchmarks.data import Inputs
from benchmarks.goals import AtMost
from benchmarks.measure import Contender
from benchmarks.question import VEX, Question, main


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    output = scratch / "out.vmig.jsonl"
    command = (VEX, "adapt", "--projection", made(inputs), inputs.jsonl, output)
    return [Contender("vex", command, output, inputs.records)]


def parts(inputs: Inputs, scratch: Path) -> list[Contender]:
    return [part("copy", "without projection", inputs.jsonl, scratch / "out.vmig.jsonl", inputs)]


QUESTION = Question(
    name="projection_jsonl",
    text="JSONL to JSONL, projected from 384 to 1536 dimensions, beside the same run with vectors that are ready.",
    ours=ours,
    rivals=parts,
    goals=(AtMost("vex", 1.2, than="without projection"),),
    reads=(".vmig.jsonl",),
    sizes=(100_000,),
)

if __name__ == "__main__":
    main(QUESTION)
