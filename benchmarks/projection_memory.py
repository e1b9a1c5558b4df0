"""Projection in memory, with bias and normalisation.

How much of the machine's own matrix product is left of it? As many vectors are projected as take as many operations as
the product of two float32 matrices of 4096 x 4096 by numpy, in the same process with the same kernels: the ratio of
times is that of the rates. "into the same memory" leaves out that the system has to hand out fresh memory for results.
How long that takes is the machine's affair: a virtual one that gives free memory back to its host waits for the host
page by page (for these 716 MB 1.7 to 4 s, and 0.1 to 0.4 s where the memory had been freed just before).
"""

from collections.abc import Iterator, Mapping

from benchmarks.data import SEED
from benchmarks.goals import AtMost
from benchmarks.within import Call, Inner, main
from vexarrow.processor import take_wide_kernels

SIDE = 4096
SHAPES = ((384, 1536), (768, 3072))
PEAK = "product of 4096 x 4096"


def calls() -> Iterator[tuple[int, Mapping[str, Call]]]:
    take_wide_kernels()  # as a command that projects does, before numpy is there
    for source, target in SHAPES:
        yield SIDE**3 // (source * target), {PEAK: product(), **projections(source, target)}


def product() -> Call:
    import numpy as np

    left, right = np.random.default_rng(SEED).standard_normal((2, SIDE, SIDE), dtype=np.float32)
    return lambda: left @ right


def projections(source: int, target: int) -> Mapping[str, Call]:
    import numpy as np

    from vexarrow.adapt import Projection, kernel
    from vexarrow.adapt.model import ModelCard

    rng = np.random.default_rng(SEED)
    x = rng.standard_normal((SIDE**3 // (source * target), source), dtype=np.float32)
    weight, bias = (
        rng.standard_normal((source, target), dtype=np.float32),
        rng.standard_normal(target, dtype=np.float32),
    )
    projection = Projection(weight, bias, ModelCard("a", source), ModelCard("b", target))
    out = np.empty((len(x), target), np.float32)
    return {
        f"{source} to {target}": lambda: projection.matrix(x),
        f"{source} to {target}, into the same memory": lambda: kernel.project(x, weight, bias, out=out),
    }


QUESTION = Inner(
    name="projection_memory",
    text="Vectors in memory, projected with bias and normalisation, beside a matrix product of as many operations.",
    calls=calls,
    goals=(
        AtMost("384 to 1536", round(1 / 0.9, 3), than=PEAK),
        AtMost("384 to 1536, into the same memory", round(1 / 0.9, 3), than=PEAK),
    ),
)

if __name__ == "__main__":
    main(QUESTION)
