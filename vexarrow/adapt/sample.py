"""Which texts are worth embedding with the target model: medoids of the vectors at hand, and a hold-out by chance.

One pass over the place, with a bounded number of records in memory however many there are. Medoids stand for whole
groups of records, so few of them teach more than as many by chance; the hold-out is by chance, for only such numbers
tell what to expect of all the others. No record is in both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vexarrow.adapt.pairs_files import HELD_OUT, ROLE, TRAIN
from vexarrow.errors import DataError, SchemaError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from vexarrow.adapt.joined import Origin

    Matrix = NDArray[np.float32]
    Rows = NDArray[np.intp]

MOST_ROWS = 50_000
STEPS, BATCH_ROWS, FEWEST_STARTS = 25, 8192, 2000
COLUMNS = ("id", "text", "model", "namespace")


@dataclass(frozen=True)
class Drawn:
    """Records drawn by chance, all of them where there are few. `columns`: those of `COLUMNS`, a value each; `vectors`
    are as they are stored. `rows`: how many there were; `passed_over`: how many of these could not be drawn, for they
    have no vector, one of zeros, or no text."""

    columns: dict[str, NDArray[np.object_]]
    vectors: Matrix
    rows: int
    passed_over: int

    def __len__(self) -> int:
        return len(self.vectors)

    def chosen(self, rows: Rows, roles: Sequence[str]) -> pa.RecordBatch:
        """These records, each with its role in `extra`."""
        from vexarrow import records

        columns: dict[str, object] = {name: self.columns[name][rows].tolist() for name in COLUMNS}
        columns["extra"] = [json.dumps({ROLE: role}) for role in roles]
        return records.build(columns, self.vectors[rows])


def sample(origin: Origin, pairs: int, held_out: int, seed: int = 0) -> tuple[pa.RecordBatch, Drawn]:
    """`pairs` medoids and `held_out` records by chance, in a batch, each with its role under `vex_role` in `extra`.

    The same records, numbers and seed give the same result. Raises SchemaError when there are too few records with text
    and vector, and what reading the place raises.
    """
    drawn = draw(origin, max(MOST_ROWS, 4 * (pairs + held_out)), seed)
    if len(drawn) < pairs + held_out:
        raise SchemaError(
            f"{pairs + held_out:,} records are asked for ({pairs:,} to train with, {held_out:,} held out), and only "
            f"{len(drawn):,} of {drawn.rows:,} have text and a vector; ask for less with --pairs or --held-out"
        )
    order = np.random.default_rng(seed).permutation(len(drawn))
    kept, others = np.sort(order[:held_out]), np.sort(order[held_out:])
    middle = others[medoids(_unit(drawn.vectors[others]), pairs, seed)]
    rows = np.concatenate([middle, kept])
    return drawn.chosen(rows, [TRAIN] * len(middle) + [HELD_OUT] * len(kept)), drawn


def draw(origin: Origin, most: int, seed: int, *, texts: bool = True) -> Drawn:
    """At most `most` records by chance, in the order of the place. `texts`: only records that have one. Raises
    DataError when none is left."""
    reservoir = _Reservoir(most, seed, texts=texts)
    from vexarrow.adapt.joined import batches

    for batch in batches(origin):
        reservoir.add(batch)
    return reservoir.drawn(str(origin.location))


class _Reservoir:
    """Keeps the records with the smallest of numbers drawn for each."""

    def __init__(self, most: int, seed: int, *, texts: bool) -> None:
        self._most, self._texts = most, texts
        self._random = np.random.default_rng(seed)
        self._limit = 1.0
        self._keys: list[NDArray[np.float64]] = []
        self._vectors: list[Matrix] = []
        self._columns: dict[str, list[NDArray[np.object_]]] = {name: [] for name in COLUMNS}
        self._held = self._rows = self._usable = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """One more batch of the place."""
        from vexarrow import records

        keys = self._random.random(batch.num_rows)
        vectors = records.matrix(batch.column("vector"))
        good = records.present(batch.column("vector")) & np.isfinite(vectors).all(1) & vectors.any(1)
        if self._texts:
            good &= np.array([bool(text) for text in batch.column("text").to_pylist()], bool)
        self._rows += batch.num_rows
        self._usable += int(good.sum())
        rows = np.flatnonzero(good & (keys < self._limit))
        self._keys.append(keys[rows])
        self._vectors.append(vectors[rows])
        for name, kept in self._columns.items():
            kept.append(np.array(batch.column(name).to_pylist(), object)[rows])
        self._held += len(rows)
        if self._held > 2 * self._most:
            self._shrink()

    def _shrink(self) -> None:
        keys, vectors = np.concatenate(self._keys), np.concatenate(self._vectors)
        if len(keys) > self._most:
            kept = np.sort(np.argpartition(keys, self._most)[: self._most])
            self._limit = float(keys[kept].max())
        else:
            kept = np.arange(len(keys))
        self._keys, self._vectors = [keys[kept]], [vectors[kept]]
        self._columns = {name: [np.concatenate(parts)[kept]] for name, parts in self._columns.items()}
        self._held = len(kept)

    def drawn(self, name: str) -> Drawn:
        """What was kept."""
        if not self._usable:
            what = "text and a vector" if self._texts else "a vector"
            raise DataError(f"{name}: none of its {self._rows:,} records has {what}")
        self._shrink()
        columns = {name: parts[0] for name, parts in self._columns.items()}
        return Drawn(columns, self._vectors[0], self._rows, self._rows - self._usable)


def medoids(unit: Matrix, count: int, seed: int = 0) -> Rows:
    """`count` different rows of unit vectors [n, d], each the nearest to the middle of its group, by k-means in small
    batches; n is at least `count`. The same for the same seed."""
    random = np.random.default_rng(seed)
    return _nearest_rows(unit, middles(unit, count, random), random)


def middles(unit: Matrix, count: int, random: np.random.Generator) -> Matrix:
    """The middles of `count` groups of unit vectors [n, d], rows of length 1; n is at least `count`."""
    centres = _spread(unit, count, random)
    seen = np.zeros(count)
    size = min(len(unit), max(BATCH_ROWS, 4 * count))
    for _ in range(STEPS):
        rows = np.arange(len(unit)) if size == len(unit) else np.sort(random.choice(len(unit), size, replace=False))
        _step(centres, seen, unit[rows], forget=size == len(unit))
    return centres


def _spread(unit: Matrix, count: int, random: np.random.Generator) -> Matrix:
    """Rows to start from, each by chance in proportion to its squared distance from those before it (k-means++)."""
    size = min(len(unit), max(FEWEST_STARTS, 4 * count))
    rows = unit[np.sort(random.choice(len(unit), size, replace=False))]
    chosen = [int(random.integers(size))]
    far = 1 - rows @ rows[chosen[0]]
    for _ in range(count - 1):
        weights = np.maximum(far, 0).astype(np.float64).cumsum()
        # Where all that is left lies on a start already, any row is as good.
        at = int(np.searchsorted(weights, random.random() * weights[-1], "right")) if weights[-1] > 0 else 0
        chosen.append(min(at, size - 1))
        far = np.minimum(far, 1 - rows @ rows[chosen[-1]])
    return rows[chosen]


def _step(centres: Matrix, seen: NDArray[np.float64], rows: Matrix, *, forget: bool) -> None:
    """Move the centres to the means of the rows near them; `forget` what earlier steps saw, as k-means on all rows
    does. A centre without rows goes to one that is served worst."""
    near, similar = _assigned(rows, centres)
    counts = np.bincount(near, minlength=len(centres))
    order = np.argsort(near, kind="stable")
    starts = np.flatnonzero(np.diff(near[order], prepend=-1))
    some = near[order][starts]
    if forget:
        seen[:] = 0
    weights = (counts / np.maximum(seen + counts, 1))[some, None].astype(np.float32)
    means = np.add.reduceat(rows[order], starts, axis=0) / counts[some, None].astype(np.float32)
    centres[some] += weights * (means - centres[some])
    seen += counts
    empty = np.flatnonzero(seen == 0)
    centres[empty] = rows[np.argsort(similar, kind="stable")[: len(empty)]]
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)


def _assigned(rows: Matrix, centres: Matrix) -> tuple[Rows, Matrix]:
    """The nearest centre of each row, and how near it is."""
    near, similar = np.empty(len(rows), np.intp), np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BATCH_ROWS):
        block = rows[start : start + BATCH_ROWS] @ centres.T
        best = block.argmax(1)
        near[start : start + len(block)] = best
        similar[start : start + len(block)] = block[np.arange(len(block)), best]
    return near, similar


def _nearest_rows(unit: Matrix, centres: Matrix, random: np.random.Generator) -> Rows:
    """The row nearest to each centre among those it is nearest to; rows by chance for centres that have none."""
    near, similar = _assigned(unit, centres)
    order = np.lexsort((-similar, near))
    firsts = order[np.flatnonzero(np.diff(near[order], prepend=-1))]
    others = np.setdiff1d(np.arange(len(unit)), firsts)
    more = random.choice(others, len(centres) - len(firsts), replace=False)
    return np.sort(np.concatenate([firsts, more]))


def _unit(rows: Matrix) -> Matrix:
    unit: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
