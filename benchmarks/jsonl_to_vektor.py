"""JSONL to VEKTOR.

Is it faster than the original tool's import?
"""

from pathlib import Path

from benchmarks.data import Inputs
from benchmarks.goals import Faster
from benchmarks.measure import Contender
from benchmarks.question import VEX, Question, main, npm


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    output = scratch / "out.db"
    command = (VEX, "import", "--from", inputs.jsonl, "--to", "vektor", "--db", output)
    return [Contender("vex", command, output, inputs.records)]


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    output = scratch / "out.db"
    command = ("import", "--from", inputs.jsonl, "--to", "vektor", "--db", output, "--skip-graph", "true")
    return npm(*command, output=output, records=inputs.records)


QUESTION = Question(
    name="jsonl_to_vektor",
    text="JSONL to a new VEKTOR database, without its graph.",
    ours=ours,
    rivals=rivals,
    goals=(Faster("vex", 5, than=("npm vex",)),),
    reads=(".vmig.jsonl",),
    sizes=(100_000,),
)

if __name__ == "__main__":
    main(QUESTION)
