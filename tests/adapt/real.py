"""Real pairs: what WordLlama (128 dimensions) and all-MiniLM-L6-v2 (384) say of 340 descriptions of Debian packages.

The first 240 are of libraries for programmers, the other 100 of games.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.commands import DATA

CODE = 240
SOURCE, TARGET = "wordllama-l2-128", "all-MiniLM-L6-v2"

Matrix = NDArray[np.float32]


class Real(NamedTuple):
    source: Matrix
    target: Matrix
    ids: list[str]


@cache
def _all() -> Real:
    with np.load(DATA / "pairs.npz") as held:
        source, target = held["wordllama"].astype(np.float32), held["minilm"].astype(np.float32)
        return Real(source, target, held["package"].tolist())


def code() -> Real:
    """Pairs of one subject, enough for a projection that passes."""
    source, target, ids = _all()
    return Real(source[:CODE].copy(), target[:CODE].copy(), ids[:CODE])


def games() -> Real:
    """Pairs of another subject."""
    source, target, ids = _all()
    return Real(source[CODE:].copy(), target[CODE:].copy(), ids[CODE:])


def line(**members: Any) -> str:
    """A line of JSON; vectors are written with all digits that a float32 has."""
    said = {
        key: [float(str(one)) for one in value] if isinstance(value, np.ndarray) else value
        for key, value in members.items()
    }
    return json.dumps(said) + "\n"


def write_pairs(path: Path, source: Iterable[Any], target: Iterable[Any], ids: Sequence[str] | None = None) -> Path:
    """A file of pairs."""
    rows = list(zip(source, target, strict=True))
    named = [{} if ids is None else {"id": one} for one in (ids or rows)]
    path.write_text("".join(line(source=x, target=y, **name) for (x, y), name in zip(rows, named, strict=True)))
    return path


def write_records(path: Path, ids: Sequence[str], vectors: Iterable[Any], **more: Any) -> Path:
    """A file of records."""
    path.write_text(
        "".join(line(id=one, text=f"about {one}", vector=row, **more) for one, row in zip(ids, vectors, strict=True))
    )
    return path
