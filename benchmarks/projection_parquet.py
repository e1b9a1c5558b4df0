"""Parquet to Parquet with a projection from 384 to 1536 dimensions.

Do reading, arithmetic and writing overlap? Two contenders are the parts by themselves. "projection alone" maps as many
vectors as there are records, in memory and in pages as large as those of the run, by a thread a core, and keeps no
result. "write alone" writes as many records with 1536 dimensions, which are in memory, through the same engine to the
same kind of file. "without projection" reads and writes what vex reads and writes and exchanges the vectors for ones
that are ready: what would be left if arithmetic cost nothing.
"""

from pathlib import Path

from benchmarks._projection import made, part
from benchmarks.data import Inputs
from benchmarks.goals import PeakBelow, Rate
from benchmarks.measure import Contender
from benchmarks.question import VEX, Question, main


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    output = scratch / "out.parquet"
    command = (VEX, "adapt", "--projection", made(inputs), inputs.parquet, output)
    return [Contender("vex", command, output, inputs.records)]


def parts(inputs: Inputs, scratch: Path) -> list[Contender]:
    output = scratch / "out.parquet"
    return [
        part("project", "projection alone", inputs.parquet, None, inputs),
        part("write", "write alone", inputs.parquet, output, inputs),
        part("copy", "without projection", inputs.parquet, output, inputs),
    ]


QUESTION = Question(
    name="projection_parquet",
    text="Parquet to Parquet, projected from 384 to 1536 dimensions, beside the parts of the run by themselves.",
    ours=ours,
    rivals=parts,
    goals=(
        Rate("vex", 0.8, of=("projection alone", "write alone")),
        PeakBelow("vex", 600),
    ),
    reads=(".parquet",),
    sizes=(1_000_000,),
    rivals_up_to=1_000_000,
)

if __name__ == "__main__":
    main(QUESTION)
