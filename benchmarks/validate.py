"""Validation.

Is it faster than the original tool's, although it checks more?
"""

from pathlib import Path

from benchmarks.data import Inputs
from benchmarks.goals import Faster
from benchmarks.measure import Contender
from benchmarks.question import VEX, Question, main, npm


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    return [Contender("vex", (VEX, "validate", inputs.jsonl))]


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    return npm("validate", inputs.jsonl)


QUESTION = Question(
    name="validate",
    text="Validation of a JSONL file without errors.",
    ours=ours,
    rivals=rivals,
    goals=(Faster("vex", 2.5, than=("npm vex",)),),
    reads=(".vmig.jsonl",),
    sizes=(100_000,),
)

if __name__ == "__main__":
    main(QUESTION)
