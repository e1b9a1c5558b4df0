"""Local corrections (`vex-adapt train --local 16`) beside the linear map alone: neighbours found, and time.

    python -m benchmarks.embeddings --out .cache/embeddings
    python -m benchmarks.projection_local --embeddings .cache/embeddings

Trained and judged as in `projection_quality`, for each of three seeds: on records and real queries that were not
trained with. `seconds` are of a hundred thousand vectors in memory, the median of five.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.machine import describe
from benchmarks.projection_quality import JUDGED_WITH, METRICS, SEEDS, Model, Task, judge, models
from vexarrow.adapt import Projection
from vexarrow.adapt.fit import Fit, fit
from vexarrow.adapt.local_fit import corrected
from vexarrow.adapt.model import ModelCard

if TYPE_CHECKING:
    from benchmarks.projection_quality import Map

GROUPS = 16
CASES = (
    ("all-MiniLM-L6-v2", "all-mpnet-base-v2", 2000),
    ("all-mpnet-base-v2", "all-MiniLM-L6-v2", 2000),
    ("all-MiniLM-L6-v2", "wordllama-l2-256", 2000),
    ("all-MiniLM-L6-v2", "wordllama-l2-256", 5000),
    ("all-MiniLM-L6-v2-static", "all-MiniLM-L6-v2", 2000),
    ("all-MiniLM-L6-v2-static", "all-MiniLM-L6-v2", 5000),
    ("all-MiniLM-L6-v2", "lsa-words-512", 5000),
    ("multilingual-e5-small-q4", "all-MiniLM-L6-v2", 3000),
)
RESULTS = Path(__file__).parent / "results" / "projection_local.json"
ROWS, RUNS = 100_000, 5


def ask(source: Model, target: Model, size: int, seed: int) -> dict[str, dict[str, float]]:
    """Both maps, trained with `size` pairs."""
    order = np.random.default_rng(seed).permutation(min(len(source.docs), len(target.docs)))
    train, test = order[:size], order[size:][:JUDGED_WITH]
    task = Task(
        source.docs[train], target.docs[train], source.docs[test], target.docs[test], target.queries, source.queries
    )
    fitted = fit(task.x, task.y, seed=seed)
    plain = _linear(fitted, source.name, target.name)
    started = time.process_time()
    local = corrected(plain, fitted, task.x, task.y, GROUPS, seed)
    spent = time.process_time() - started
    found = {"training": {"seconds": spent}}
    for name, one in (("linear", plain), ("local", local)):
        found[name] = judge(task, _exact(one))
        found[name]["megabytes"] = len(one.to_bytes()) / 1e6
    return found


def _linear(fitted: Fit, source: str, target: str) -> Projection:
    weight, bias = fitted.linear.weight.astype(np.float32), fitted.linear.bias.astype(np.float32)
    return Projection(weight, bias, ModelCard(source, weight.shape[0]), ModelCard(target, weight.shape[1]))


def _exact(projection: Projection) -> Map:
    return lambda rows: projection.matrix(rows).astype(np.float64)


def speed(source: int, target: int) -> dict[str, float]:
    """Median seconds of `ROWS` vectors, in turn."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((2000, width)) for width in (source, target))
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    fitted = fit(x, y)
    plain = _linear(fitted, "a", "b")
    each = {"linear": plain, "local": corrected(plain, fitted, x, y, GROUPS, 0)}
    rows = rng.standard_normal((ROWS, source), dtype=np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in each}
    for turn in range(RUNS + 1):
        for name, one in each.items():
            started = time.perf_counter()
            one.matrix(rows)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: round(float(np.median(one)), 4) for name, one in seconds.items()}


def cell(every: dict[str, Model], source: str, target: str, size: int) -> dict[str, object]:
    """A case, as it is printed and written: means over the seeds."""
    asked = [ask(every[source], every[target], size, seed) for seed in SEEDS]
    mean = {
        name: {key: round(float(np.mean([one[name][key] for one in asked])), 4) for key in asked[0][name]}
        for name in asked[0]
    }
    gains = [round(one["local"]["overlap"] - one["linear"]["overlap"], 4) for one in asked]
    shown = "  ".join(
        f"{name} {' '.join(f'{mean[name][key]:.4f}' for key in (*METRICS, 'megabytes'))}"
        for name in ("linear", "local")
    )
    print(f"{source} -> {target} {size:5d}  {shown}  {gains} {mean['training']['seconds']:.1f} s", flush=True)
    return {"pair": f"{source} -> {target}", "pairs": size, "maps": mean, "overlap_gained": gains}


def main() -> None:
    """Ask cases and write them beside those that were asked before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", type=Path, default=Path(".cache/embeddings"))
    parser.add_argument(
        "--cases", type=int, nargs="*", default=range(len(CASES)), help="these, by number (default: all)"
    )
    parser.add_argument("--speed", action="store_true", help="measure the time, too")
    given = parser.parse_args()
    every = {one.name: one for one in models(given.embeddings, sorted({name for case in CASES for name in case[:2]}))}
    result = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"cells": []}
    found = {(one["pair"], one["pairs"]): one for one in result["cells"]}
    for at in given.cases:
        source, target, size = CASES[at]
        found[f"{source} -> {target}", size] = cell(every, source, target, size)
    result |= {"machine": describe(), "seeds": SEEDS, "groups": GROUPS, "cells": list(found.values())}
    if given.speed:
        shapes = ((384, 1536), (768, 1536))
        print(times := {f"{source} to {target}": speed(source, target) for source, target in shapes})
        result["seconds"] = times
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
