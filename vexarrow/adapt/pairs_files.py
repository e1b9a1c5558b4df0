"""Pairs from a file of lines `{"source": [...], "target": [...]}`, each of one text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt.pairs import Pairs
from vexarrow.adapt.vector_lines import Shape, read, texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROLE, HELD_OUT, TRAIN = "vex_role", "held-out", "train"
SHAPE = Shape(("source", "target"), (), ("id", ROLE), '{"source": [0.1, ...], "target": [0.2, ...]}')


@dataclass(frozen=True)
class Given:
    """Pairs as they were given. `held_out`: which of them are for the report alone (see `vexarrow.adapt.sample`), None
    where nothing says so. `models`: the names that the records give to their models, source and target, None where they
    give none or several. `notes`: what a user should know of the reading."""

    pairs: Pairs
    held_out: NDArray[np.bool_] | None = None
    models: tuple[str | None, str | None] = (None, None)
    notes: tuple[str, ...] = field(default=())


def read_pairs(location: str) -> Given:
    """Pairs of a path, a URL or stdin ("-"), compressed or not. `id` and `vex_role` on a line are optional. Raises
    NotFound, AccessError, and DataError and SchemaError with the number of the line."""
    lines = read(location, SHAPE)
    ids = texts(lines.values["id"])
    return Given(Pairs(lines.vectors["source"], lines.vectors["target"], ids), marked(lines.values[ROLE]))


def marked(roles: list[Any]) -> NDArray[np.bool_] | None:
    """Which pairs are held out, None where no role says so."""
    mask = np.fromiter((role == HELD_OUT for role in roles), bool, len(roles))
    return mask if mask.any() else None
