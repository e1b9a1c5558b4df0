"""Parquet to Parquet, with and without a namespace filter.

Does the filter save the work that it makes unnecessary? The namespaces are chosen so that about 5 % of the
records remain. They are scattered over the file, as in a store that was filled over time: every row group
holds some.
"""

from collections import Counter
from pathlib import Path

from benchmarks.data import Inputs, Record, read_sample
from benchmarks.goals import Faster
from benchmarks.measure import Contender
from benchmarks.question import VEX, Question, main

PART = 0.05


def chosen(sample: list[Record]) -> list[str]:
    """The namespaces, largest first, that fit into PART of the sample together."""
    left, names = PART * len(sample), []
    for name, count in Counter(row["namespace"] for row in sample if row["namespace"]).most_common():
        if count <= left:
            names.append(name)
            left -= count
    return names


def kept(sample: list[Record], names: list[str], records: int) -> int:
    """How many of `records` records have one of these namespaces."""
    whole, rest = divmod(records, len(sample))
    hits = [row["namespace"] in names for row in sample]
    return whole * sum(hits) + sum(hits[:rest])


def ours(inputs: Inputs, scratch: Path) -> list[Contender]:
    sample, output = read_sample(inputs.sample), scratch / "out.parquet"
    names = chosen(sample)
    convert = (VEX, "convert", inputs.parquet, output, "--overwrite")
    wanted = [part for name in names for part in ("--namespace", name)]
    return [
        Contender("vex, filtered", (*convert, *wanted), output, kept(sample, names, inputs.records)),
        Contender("vex, everything", convert, output, inputs.records),
    ]


QUESTION = Question(
    name="namespace_filter",
    text="Parquet to Parquet, with a namespace filter that keeps 5 % of the records and without.",
    ours=ours,
    goals=(Faster("vex, filtered", 3, than=("vex, everything",)),),
    reads=(".parquet",),
)

if __name__ == "__main__":
    main(QUESTION)
