"""Start-up.

Does `vex --help` come at once, beside a Python that imports click and nothing else?
"""

from pathlib import Path

from benchmarks.data import Inputs
from benchmarks.goals import AtMost
from benchmarks.measure import Contender
from benchmarks.question import PYTHON, VEX, Question, main


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    return [Contender("vex --help", (VEX, "--help"))]


def rivals(inputs: Inputs, scratch: Path) -> list[Contender]:
    return [Contender("import click", (PYTHON, "-c", "import click"))]


QUESTION = Question(
    name="help_time",
    text="Start-up: `vex --help` beside `python -c 'import click'`.",
    ours=ours,
    rivals=rivals,
    goals=(AtMost("vex --help", 2.5, than="import click"),),
    sizes=(0,),
)

if __name__ == "__main__":
    main(QUESTION)
