"""A projection of real vectors for tests, and records to project."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.commands import DATA, DEBIAN, json_lines
from vexarrow.adapt import Projection

SOURCE, TARGET = "all-MiniLM-L6-v2", "wordllama-l2-128"
DIM_IN, DIM_OUT = 384, 128


def pairs() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors of 270 texts by two real models."""
    with np.load(DATA / "minilm-wordllama.npz") as found:
        return found["source"].astype(np.float32), found["target"].astype(np.float32)


@cache
def projection(source: str = SOURCE, target: str = TARGET) -> Projection:
    """Trained on these pairs."""
    return Projection.train(*pairs(), source_model=source, target_model=target)


@cache
def records() -> tuple[dict[str, Any], ...]:
    """160 real records with vectors of the source's model."""
    return tuple(json_lines(DEBIAN))


def vectors(rows: list[dict[str, Any]] | tuple[dict[str, Any], ...]) -> NDArray[np.float32]:
    """Those of records, as a matrix."""
    return np.array([row["vector"] for row in rows], np.float32)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Records as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
