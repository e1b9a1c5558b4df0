"""The projection that is measured, and the parts of a run by themselves: each a process of its own.

The projection is trained from made-up pairs: the source's vectors through a fixed linear map whose directions weigh
differently, so that there is something to learn. It is kept beside the other inputs.
"""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import data
from benchmarks.data import Inputs
from benchmarks.measure import Contender
from benchmarks.question import PYTHON

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from vexarrow.adapt import Projection

SOURCE, TARGET = 384, 1536
MODEL = "made-up-1536"
PAIRS = 2_000
PAGES = 8  # distinct ones; they come again until there are enough records


def location() -> Path:
    """The projection's file, which need not exist yet."""
    return data.work_folder() / f"projection-{data.SEED}-{SOURCE}-{TARGET}.safetensors"


def made(inputs: Inputs) -> Path:
    """The projection's file, trained by a process of its own if it is not there: this one stays small."""
    import subprocess

    path = location()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([PYTHON, "-m", "benchmarks._projection", "make", path, inputs.sample], check=True)
    return path


def part(job: str, name: str, source: Path, output: Path | None, inputs: Inputs) -> Contender:
    """A contender that does a part of what vex does; see the functions below."""
    command = (PYTHON, "-m", "benchmarks._projection", job, source, made(inputs), str(inputs.records))
    return Contender(name, (*command, output) if output else command, output, inputs.records if output else None)


def pairs(count: int, source: int, target: int) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Unit vectors and what a linear map with a little noise makes of them, the same each time."""
    import numpy as np

    rng = np.random.default_rng(data.SEED)
    x = rng.standard_normal((count, source), dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    weights = np.linspace(3, 0.3, source, dtype=np.float32)[:, None]
    turned = np.linalg.qr(rng.standard_normal((source, source)))[0].astype(np.float32)
    y = x @ turned @ (weights * rng.standard_normal((source, target), dtype=np.float32) / np.float32(target**0.5))
    y += 0.1 * rng.standard_normal((count, target), dtype=np.float32) / np.float32(target**0.5)
    return x, y / np.linalg.norm(y, axis=1, keepdims=True)


def make(path: Path, sample: Path) -> None:
    """Train the projection for the model that the sample's records name."""
    from vexarrow.adapt import Projection

    model = data.read_sample(sample)[0]["model"]
    x, y = pairs(PAIRS, SOURCE, TARGET)
    unfinished = path.with_suffix(".part.safetensors")
    Projection.train(x, y, source_model=model, target_model=MODEL).save(str(unfinished), overwrite=True)
    unfinished.rename(path)


def project(source: Path, projection: "Projection", records: int) -> None:
    """All vectors, page by page as a run cuts them, by a thread a core; the results go nowhere."""
    from vexarrow.adapt.blas import cores

    pages = [batch.column("vector") for batch in first_pages(source)]
    with ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(lambda page: len(projection.matrix(page)), again(pages, records)):
            pass


def write(source: Path, projection: "Projection", records: int, output: Path) -> None:
    """Records with vectors of the target, from memory: nothing is read and nothing is computed."""
    import pyarrow as pa

    import vexarrow

    pages = [projection(batch) for batch in first_pages(source)]
    vexarrow.write(pa.RecordBatchReader.from_batches(pages[0].schema, again(pages, records)), str(output))


def copy(source: Path, projection: "Projection", records: int, output: Path) -> None:
    """Read, exchange each page's vectors for ones that are ready, write: a run whose arithmetic costs nothing."""
    import vexarrow

    ready = projection(next(first_pages(source)))
    vexarrow.copy(str(source), str(output), transforms=[Ready(ready)], overwrite=True)


class Ready:
    """A transform that gives every page the vectors and the notes of one that was projected before."""

    def __init__(self, page: "pa.RecordBatch") -> None:
        self._page = page
        self.dim = TARGET

    def bind(self, plan: Any) -> Any:
        """The plan with the target's dimension."""
        return replace(plan, dim=self.dim, model=MODEL)

    def __call__(self, batch: "pa.RecordBatch") -> "pa.RecordBatch":
        for name in ("vector", "model", "extra"):
            column = self._page.column(name).slice(0, batch.num_rows)
            batch = batch.set_column(batch.schema.get_field_index(name), self._page.schema.field(name), column)
        return batch


def first_pages(source: Path) -> "Iterator[pa.RecordBatch]":
    """The first records of a file, in pages as large as those of a run that projects them."""
    import vexarrow
    from vexarrow.engine import page_rows

    rows = page_rows(TARGET)
    return iter(vexarrow.read(str(source), limit=PAGES * rows, batch_rows=rows))


def again(pages: list[Any], records: int) -> Iterator[Any]:
    """The pages over and over, until there were so many records."""
    at = 0
    while records > 0:
        page = pages[at % len(pages)]
        yield page[:records]
        records -= len(page)
        at += 1


JOBS: dict[str, Callable[..., None]] = {"project": project, "write": write, "copy": copy}

if __name__ == "__main__":
    job, first, second, *rest = sys.argv[1:]
    if job == "make":
        make(Path(first), Path(second))
    else:
        from vexarrow.adapt import Projection

        records, *output = rest
        JOBS[job](Path(first), Projection.load(second), int(records), *map(Path, output))
