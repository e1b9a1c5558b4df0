"""Training on 5,000 pairs from 768 to 1536 dimensions.

How much more is the whole of it (cleaning, learning with a part held out, report and learning curve, learning with all)
than the two decompositions that its size is about? These are numpy's `eigh` of 768 x 768 and thin `svd` of 768 x 1536,
both in float64, in the same process with the same threads.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks._projection import pairs
from benchmarks.data import SEED
from benchmarks.goals import AtMost
from benchmarks.within import Call, Inner, main
from vexarrow.adapt import Projection
from vexarrow.adapt.fit import fit
from vexarrow.adapt.pairs import unit_rows

PAIRS, SOURCE, TARGET = 5_000, 768, 1536
PARTS = "eigh of 768 and svd of 768 x 1536"


def calls() -> Iterator[tuple[int, Mapping[str, Call]]]:
    x, y = pairs(PAIRS, SOURCE, TARGET)
    rng = np.random.default_rng(SEED)
    half = rng.standard_normal((SOURCE, SOURCE))
    square, cross = half @ half.T, rng.standard_normal((SOURCE, TARGET))

    def decompositions() -> None:
        np.linalg.eigh(square)
        np.linalg.svd(cross, full_matrices=False)

    def fitted() -> None:
        fit(unit_rows(x), unit_rows(y))

    yield (
        PAIRS,
        {
            PARTS: decompositions,
            "train": lambda: Projection.train(x, y, source_model="a", target_model="b"),
            "one fit": fitted,
        },
    )


QUESTION = Inner(
    name="projection_train",
    text="Training on 5,000 pairs from 768 to 1536 dimensions, beside two decompositions of that size.",
    calls=calls,
    goals=(AtMost("train", 3, than=PARTS),),
)

if __name__ == "__main__":
    main(QUESTION)
