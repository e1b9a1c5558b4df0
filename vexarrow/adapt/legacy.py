"""Projections in the files of others: the original tool's JSON, and plain matrices of numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vexarrow.errors import Unsupported

if TYPE_CHECKING:
    from vexarrow.adapt.projection import Projection


def from_json(data: bytes, name: str) -> Projection:
    """The original's `{from, to, d_source, d_target, pairs, eval_cos, trained, W}`."""
    raise Unsupported(f"{name}: not yet")


def from_numpy(data: bytes, name: str) -> Projection:
    """A matrix [d_in, d_out], or an .npz with `weight` and `bias`."""
    raise Unsupported(f"{name}: not yet")
