"""Real queries against a projected corpus: what those will find who search in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt.measures import measure
from vexarrow.adapt.neighbours import nearest
from vexarrow.adapt.pairs import unit_rows
from vexarrow.adapt.report import NEIGHBOURS, Queries
from vexarrow.adapt.vector_lines import Shape, read
from vexarrow.errors import DataError, SchemaError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vexarrow.adapt.model import Adapter
    from vexarrow.adapt.pairs import Pairs

    Matrix = NDArray[np.float32]
    Rows = NDArray[np.intp]

SHAPE = Shape(("target",), ("source",), ("relevant",), '{"source": [...], "target": [...], "relevant": ["id", ...]}')


@dataclass(frozen=True)
class Asked:
    """Queries as both models embedded them. `source` is None where it is not known; `relevant`: for each query the ids
    that answer it, None when nobody says."""

    target: Matrix
    source: Matrix | None = None
    relevant: Sequence[Sequence[str]] | None = None


def read_queries(location: str) -> Asked:
    """Queries from a file of lines (see `SHAPE`). Raises NotFound, AccessError, and DataError and SchemaError with the
    number of the line."""
    lines = read(location, SHAPE)
    labels = lines.values["relevant"]
    if all(label is None for label in labels):
        return Asked(lines.vectors["target"], lines.vectors.get("source"))
    for number, label in zip(lines.numbers, labels, strict=True):
        if not isinstance(label, list) or not label:
            raise DataError(f"{lines.name}, line {number}: 'relevant' is a list of ids, on every line or on none")
    relevant = [[str(one) for one in label] for label in labels]
    return Asked(lines.vectors["target"], lines.vectors.get("source"), relevant)


def ask(adapter: Adapter, asked: Asked, corpus: Pairs) -> Queries:
    """What the queries find in the projected corpus, in the native one, and in the source model's.

    Without labels the 10 that are found among native vectors are the ones to find. Raises SchemaError for labels and a
    corpus without ids, or when no label is in the corpus.
    """
    corpus = _sound(corpus)
    _check(adapter, asked, corpus)
    native, ours = _unit(corpus.target), adapter.matrix(corpus.source)
    ten = min(NEIGHBOURS, len(corpus))
    lost = 0
    if asked.relevant is None:
        relevant: list[Rows] = list(nearest(_unit(asked.target), native, ten))
    else:
        relevant = _rows(asked.relevant, corpus.ids)
        lost = sum(not len(rows) for rows in relevant)
    kept = np.array([at for at, rows in enumerate(relevant) if len(rows)], np.intp)
    if not len(kept):
        raise SchemaError(
            "none of the ids under 'relevant' is among the ids of the pairs; both have to name records alike"
        )
    wanted = [relevant[at] for at in kept]
    first = wanted if asked.relevant is not None else [rows[:1] for rows in wanted]
    query = _unit(asked.target[kept])
    found = _Found.of(query, ours, wanted, first, ten)
    truth = _Found.of(query, native, wanted, first, ten)
    staying = None
    if asked.source is not None:
        staying = _Found.of(_unit(asked.source[kept]), _unit(corpus.source), wanted, first, ten)
    return Queries(
        count=len(kept),
        corpus=len(corpus),
        labelled=asked.relevant is not None,
        recall=measure(found.recall),
        native_recall=float(truth.recall.mean()),
        source_recall=None if staying is None else float(staying.recall.mean()),
        mrr=measure(found.reciprocal),
        native_mrr=float(truth.reciprocal.mean()),
        source_mrr=None if staying is None else float(staying.reciprocal.mean()),
        lost=lost,
    )


@dataclass(frozen=True)
class _Found:
    """For each query: the share of what it should find in the top of what it finds, and one over the first's rank."""

    recall: NDArray[np.float64]
    reciprocal: NDArray[np.float64]

    @classmethod
    def of(cls, queries: Matrix, corpus: Matrix, wanted: list[Rows], first: list[Rows], ten: int) -> _Found:
        top = nearest(queries, corpus, ten)
        recall = [np.isin(rows, top[at]).mean() for at, rows in enumerate(wanted)]
        ranks = [_rank(queries[at], corpus, rows) for at, rows in enumerate(first)]
        return cls(np.array(recall, np.float64), 1 / np.array(ranks, np.float64))


def _rank(query: Matrix, corpus: Matrix, rows: Rows) -> int:
    similar = corpus @ query
    return 1 + int((similar > similar[rows].max()).sum())


def _rows(relevant: Sequence[Sequence[str]], ids: Sequence[str] | None) -> list[Rows]:
    if ids is None:
        raise SchemaError('the queries name relevant records, so the pairs need an "id" on every line')
    at = {one: row for row, one in enumerate(ids)}
    return [np.array(sorted({at[one] for one in names if one in at}), np.intp) for names in relevant]


def _check(adapter: Adapter, asked: Asked, corpus: Pairs) -> None:
    sides: list[tuple[str, Any, int]] = [("target", asked.target, adapter.target.dim)]
    sides += [("source", asked.source, adapter.source.dim)] if asked.source is not None else []
    for side, rows, dim in sides:
        if rows.shape[1] != dim:
            raise SchemaError(f"the {side} vectors of the queries have {rows.shape[1]} dimensions, not {dim}")
        if not rows.any(1).all():
            raise DataError(f"a {side} vector of the queries is all zeros: the query was not embedded")
    if not len(corpus):
        raise SchemaError("there are no pairs to search in")


def _sound(pairs: Pairs) -> Pairs:
    """Those with two directions. Near duplicates stay: any of them may be what is looked for."""
    sides = (pairs.source, pairs.target)
    return pairs[np.flatnonzero(np.all([np.isfinite(rows).all(1) & rows.any(1) for rows in sides], axis=0))]


def _unit(rows: Matrix) -> Matrix:
    return unit_rows(rows).astype(np.float32)
