"""Pairs from two places whose records have the same ids: one holds the source model's vectors, one the target's.

The smaller place is kept in memory, the other one is read past it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from vexarrow.adapt.pairs import Pairs
from vexarrow.adapt.pairs_files import ROLE, Given, marked
from vexarrow.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

_SHOWN = 3


@dataclass(frozen=True)
class Origin:
    """A place that vectors are read from, as `vexarrow.read` takes it."""

    location: str
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Side:
    """What was read of a place: a row of `vectors` for each of `ids`; `rows` counts all records, also those that were
    passed over, `without` those among them that have no vector."""

    name: str
    ids: list[str] = field(default_factory=list)
    vectors: list[Matrix] = field(default_factory=list)
    roles: list[Any] = field(default_factory=list)
    models: set[str] = field(default_factory=set)
    examples: list[str] = field(default_factory=list)
    rows: int = 0
    without: int = 0
    again: int = 0

    @property
    def matrix(self) -> Matrix:
        """[n, d], n at least 1."""
        return np.concatenate(self.vectors)

    @property
    def model(self) -> str | None:
        """The one that all records name."""
        return next(iter(self.models)) if len(self.models) == 1 else None


def join(source: Origin, target: Origin) -> Given:
    """The pairs of two places, in the order of their ids: in which order a place gives them does not matter. Records
    without a vector are left out; of records with one id the first counts. Raises SchemaError when no id is on both
    sides, and what reading raises."""
    swapped = _rows(source) < _rows(target)
    held = _read(source if swapped else target, None)
    other = _read(target if swapped else source, dict.fromkeys(held.ids))
    left, right = (held, other) if swapped else (other, held)
    if not other.ids:
        raise SchemaError(_nothing(left, right))
    at = {one: row for row, one in enumerate(held.ids)}
    order = np.array(sorted(range(len(other.ids)), key=other.ids.__getitem__), np.intp)
    ids = [other.ids[row] for row in order]
    rows = np.array([at[one] for one in ids], np.intp)
    first, second = held.matrix[rows], other.matrix[order]
    roles = [held.roles[mine] or other.roles[theirs] for mine, theirs in zip(rows, order, strict=True)]
    x, y = (first, second) if swapped else (second, first)
    return Given(Pairs(x, y, ids), marked(roles), (left.model, right.model), tuple(_notes(left, right, x)))


def _rows(origin: Origin) -> float:
    """How many records a place has; without an end where it does not say, so that the other one is kept."""
    from vexarrow.places import SOURCE, resolve
    from vexarrow.selection import Selection

    with resolve(origin.location, origin.options, side=SOURCE, format=origin.format).source(Selection()) as opened:
        rows = opened.describe().rows
    return float("inf") if rows is None else rows


def _read(origin: Origin, wanted: dict[str, None] | None) -> _Side:
    """The records of a place that have a vector and, where `wanted` is given, one of these ids."""
    from vexarrow.location import redact

    side = _Side(redact(origin.location))
    seen: set[str] = set()
    for batch in batches(origin):
        ids = batch.column("id").to_pylist()
        side.rows += len(ids)
        side.examples += ids[: _SHOWN - len(side.examples)] if len(side.examples) < _SHOWN else []
        _take(side, batch, ids, wanted, seen)
    return side


def batches(origin: Origin) -> Iterator[pa.RecordBatch]:
    """The records of a place, all of one dimension. Raises SchemaError, DataError and what opening it raises."""
    from vexarrow.api import read
    from vexarrow.location import redact

    with read(origin.location, format=origin.format, options=origin.options) as reader:
        try:
            yield from reader
        except SchemaError as error:
            name = redact(origin.location)
            raise SchemaError(
                f"{name}: {error}: vectors of one model are needed here; "
                f"`vex convert {name} one.parquet --where 'dims = N'` picks those of N dimensions"
            ) from error


def _take(side: _Side, batch: pa.RecordBatch, ids: list[str], wanted: dict[str, None] | None, seen: set[str]) -> None:
    from vexarrow import records

    present = records.present(batch.column("vector"))
    rows: list[int] = []
    for row, one in enumerate(ids):
        if not present[row]:
            side.without += 1
        elif one in seen:
            side.again += 1
        elif wanted is None or one in wanted:
            seen.add(one)
            rows.append(row)
    if not rows:
        return
    side.ids += [ids[row] for row in rows]
    side.vectors.append(records.matrix(batch.column("vector"))[rows])
    extras = records.storage(batch.column("extra")).to_pylist()
    models = batch.column("model").to_pylist()
    side.roles += [_role(extras[row]) for row in rows]
    side.models |= {models[row] for row in rows if models[row]}


def _role(extra: str | None) -> Any:
    return orjson.loads(extra).get(ROLE) if extra is not None and ROLE in extra else None


def _nothing(source: _Side, target: _Side) -> str:
    if not source.rows or not target.rows:
        empty = source.name if not source.rows else target.name
        return f"{empty} holds no records, so there are no pairs"
    if source.rows == source.without or target.rows == target.without:
        bare = source if source.rows == source.without else target
        return f"none of the {bare.rows:,} records of {bare.name} has a vector"
    return (
        f"no id is on both sides: {source.name} has {source.rows:,} records ({', '.join(source.examples)}, ...), "
        f"{target.name} has {target.rows:,} ({', '.join(target.examples)}, ...); pairs are records of one id"
    )


def _notes(source: _Side, target: _Side, x: Matrix) -> Iterator[str]:
    pairs = len(x)
    if (source.rows, target.rows) != (pairs, pairs):
        yield (
            f"{pairs:,} ids are on both sides: of {source.rows:,} records of {source.name} and of {target.rows:,} of "
            f"{target.name}"
        )
    for side in (source, target):
        if side.without:
            yield f"{side.without:,} records of {side.name} have no vector"
        if len(side.models) > 1:
            named = sorted(side.models)
            more = ", ..." if len(named) > _SHOWN else ""
            yield (
                f"the records of {side.name} name {len(named)} models ({', '.join(named[:_SHOWN])}{more}), and all of "
                "them were taken: vectors of another model teach nothing; `vex convert ... --where \"model = 'NAME'\"` "
                "picks those of one"
            )
        if side.again:
            yield f"{side.again:,} ids of {side.name} come again; the first of each counts"
