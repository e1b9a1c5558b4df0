"""The quality of projections between real embedding models, beside other linear maps trained with the same pairs.

    python -m benchmarks.embeddings --out .cache/embeddings
    python -m benchmarks.projection_quality --embeddings .cache/embeddings

Every two models are a pair, both ways. For each of three seeds some records are drawn to train with, and 1,500 others
to judge with. Beside `vexarrow` stand ridge with the leave-one-out penalty and Procrustes, both centred; isotrieve
(`pip install isotrieve==0.4.0`; the best of its settings by what is judged); and the source vectors as they are. Judged
is: `overlap`, the share of a record's 10 native neighbours among the 10 under the projection; `queries`, the
same with native vectors asking projected ones; `recall`, of the 10 records that real queries find natively, those they
find among the projected; `cosine`.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.machine import describe
from vexarrow.adapt.axes import Axes, unit
from vexarrow.adapt.blend import USUAL, Chosen
from vexarrow.adapt.fit import fit
from vexarrow.adapt.neighbours import nearest, shared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Map = Callable[[Matrix], Matrix]

SEEDS = (0, 1, 2)
SIZES = (100, 400, 1600)
JUDGED_WITH, TEN = 1500, 10
METRICS = ("overlap", "queries", "recall", "cosine")
RESULTS = Path(__file__).parent / "results" / "projection_quality.json"


class Model(NamedTuple):
    """Unit vectors of the same texts and queries by one model."""

    name: str
    docs: Matrix
    queries: Matrix


class Task(NamedTuple):
    """Pairs to train with, and what is judged with: source and native vectors, queries by both models."""

    x: Matrix
    y: Matrix
    source: Matrix
    native: Matrix
    queries: Matrix
    source_queries: Matrix


def ridge(x: Matrix, y: Matrix) -> Map:
    """Centred ridge with the penalty of the best leave-one-out cosine."""
    penalty = fit(x, y, chosen=Chosen(USUAL, 0.0)).penalty
    mean_x, mean_y = x.mean(0), y.mean(0)
    axes = Axes.of(x - mean_x)
    cross = axes.vectors.T @ ((x - mean_x).T @ (y - mean_y))
    weight = axes.vectors @ (cross / (axes.values + penalty * axes.unit)[:, None])
    return lambda rows: (rows - mean_x) @ weight + mean_y


def procrustes(x: Matrix, y: Matrix) -> Map:
    """Centred Procrustes with the scale of least squares."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    left, values, right = np.linalg.svd((x - mean_x).T @ (y - mean_y), full_matrices=False)
    weight = values.sum() / ((x - mean_x) ** 2).sum() * left @ right
    return lambda rows: (rows - mean_x) @ weight + mean_y


METHODS: dict[str, Callable[[Matrix, Matrix], Map]] = {"ridge": ridge, "procrustes": procrustes}


def isotrieve(x: Matrix, y: Matrix) -> Iterator[Map]:
    """Its linear mappings, those that take these dimensions."""
    try:
        from isotrieve import mapping  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise SystemExit("isotrieve is not installed: pip install isotrieve==0.4.0, or --without-isotrieve") from None
    kinds = [lambda: mapping.RidgeMapping(), lambda: mapping.RidgeMapping(rank=min(128, y.shape[1] - 1))]
    if x.shape[1] == y.shape[1]:
        kinds += [mapping.OrthogonalProcrustesMapping, mapping.ProcrustesDiagMapping]
    for kind in kinds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = kind().fit(x, y)  # type: ignore[no-untyped-call,unused-ignore]
        transform: Map = fitted.transform
        yield transform


def judge(task: Task, mapped: Map) -> dict[str, float]:
    """The metrics of a map."""
    found = unit(np.asarray(mapped(task.source), np.float64)).astype(np.float32)
    native, queries = task.native.astype(np.float32), task.queries.astype(np.float32)
    known, asked = nearest(native, native, TEN, but_self=True), nearest(queries, native, TEN)
    return {
        "overlap": float(shared(nearest(found, found, TEN, but_self=True), known).mean()),
        "queries": float(shared(nearest(native, found, TEN, but_self=True), known).mean()),
        "recall": float(shared(nearest(queries, found, TEN), asked).mean()),
        "cosine": float(np.einsum("ij,ij->i", found, native).mean()),
    }


def stay(task: Task) -> dict[str, float]:
    """The metrics of the source model on its own."""
    source, native = task.source.astype(np.float32), task.native.astype(np.float32)
    queries = task.queries.astype(np.float32)
    known, asked = nearest(native, native, TEN, but_self=True), nearest(queries, native, TEN)
    return {
        "overlap": float(shared(nearest(source, source, TEN, but_self=True), known).mean()),
        "recall": float(shared(nearest(task.source_queries.astype(np.float32), source, TEN), asked).mean()),
    }


def ask(source: Model, target: Model, size: int, seed: int, *, rivals: bool) -> dict[str, dict[str, float]]:
    """Every method, trained with `size` pairs."""
    order = np.random.default_rng(seed).permutation(min(len(source.docs), len(target.docs)))
    train, test = order[:size], order[max(SIZES) :][:JUDGED_WITH]
    task = Task(
        source.docs[train], target.docs[train], source.docs[test], target.docs[test], target.queries, source.queries
    )
    found = {name: judge(task, method(task.x, task.y)) for name, method in METHODS.items()}
    fitted = fit(task.x, task.y)  # as `Projection.train` does
    found["vexarrow"] = {**judge(task, fitted.linear), "loo_cosine": fitted.loo_cosine}
    found["source"] = stay(task)
    if rivals:
        every = [judge(task, mapped) for mapped in isotrieve(task.x, task.y)]
        found["isotrieve"] = max(every, key=lambda one: one["overlap"] + one["recall"])
    return found


def models(folder: Path, wanted: list[str]) -> list[Model]:
    """The models of a folder that `benchmarks.embeddings` made."""
    names = wanted or sorted(path.parent.name for path in folder.glob("*/docs.npy"))
    return [
        Model(name, *(unit(np.load(folder / name / f"{part}.npy").astype(np.float64)) for part in ("docs", "queries")))
        for name in names
    ]


def below(cells: list[dict[str, object]]) -> list[str]:
    """Where a rival's mean is above ours, and by how much."""
    said: list[str] = []
    for cell in cells:
        methods = cell["methods"]
        assert isinstance(methods, dict)
        for rival in ("ridge", "procrustes", "isotrieve"):
            gaps = {
                metric: methods[rival][metric] - methods["vexarrow"][metric]
                for metric in ("overlap", "queries", "recall")
                if rival in methods
            }
            said += [
                f"{cell['pair']} at {cell['pairs']}: {rival} {metric} +{gap:.4f}"
                for metric, gap in gaps.items()
                if gap > 0
            ]
    return said


def main() -> None:
    """Ask all pairs of models, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", type=Path, default=Path(".cache/embeddings"))
    parser.add_argument("--models", nargs="*", default=[], help="only these")
    parser.add_argument("--pair", nargs=2, action="append", help="only this source and target; repeatable")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="pairs to train with")
    parser.add_argument("--without-isotrieve", action="store_true")
    parser.add_argument("--no-result", action="store_true", help="print only")
    given = parser.parse_args()
    every = {one.name: one for one in models(given.embeddings, given.models)}
    cells: list[dict[str, object]] = []
    for source, target in given.pair or permutations(every, 2):
        for size in given.sizes:
            asked = [
                ask(every[source], every[target], size, seed, rivals=not given.without_isotrieve) for seed in SEEDS
            ]
            mean = {
                name: {key: round(float(np.mean([one[name][key] for one in asked])), 4) for key in asked[0][name]}
                for name in asked[0]
            }
            cells.append({"pair": f"{source} -> {target}", "pairs": size, "methods": mean})
            shown = "  ".join(
                f"{name} {' '.join(f'{one.get(key, 0):.3f}' for key in METRICS)}" for name, one in mean.items()
            )
            print(f"{source} -> {target} {size:5d}  {shown}", flush=True)
    lost = below(cells)
    print(f"{len(lost)} of {len(cells) * 9} comparisons are below a rival", *lost, sep="\n")
    if not given.no_result:
        result = {"machine": describe(), "seeds": SEEDS, "judged_with": JUDGED_WITH, "cells": cells, "below": lost}
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
