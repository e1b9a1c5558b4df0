"""VEKTOR to JSONL.

Is it faster than the original tool's export, in little memory whatever the size?
"""

from pathlib import Path

from benchmarks.data import Inputs
from benchmarks.goals import Faster, PeakBelow
from benchmarks.measure import Contender
from benchmarks.question import VEX, Question, main, npm


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    output = scratch / "out.vmig.jsonl"
    command = (VEX, "export", "--from", "vektor", "--db", inputs.vektor, "--output", output, "--overwrite")
    return [Contender("vex", command, output, inputs.records)]


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    output = scratch / "out.vmig.jsonl"
    command = ("export", "--from", "vektor", "--db", inputs.vektor, "--output", output)
    return npm(*command, output=output, records=inputs.records)


QUESTION = Question(
    name="vektor_to_jsonl",
    text="VEKTOR database (schema A) to JSONL.",
    ours=ours,
    rivals=rivals,
    goals=(Faster("vex", 6, than=("npm vex",)), PeakBelow("vex", 300)),
    reads=(".db",),
)

if __name__ == "__main__":
    main(QUESTION)
