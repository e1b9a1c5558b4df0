"""Shorter vectors of one model: the first components, at length 1. Exact for models trained for it (Matryoshka)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt.kernel import inverse_lengths
from vexarrow.adapt.model import ModelCard
from vexarrow.adapt.pairs import matrix_of
from vexarrow.errors import SchemaError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Truncation:
    """The first `dim` components of the source's vectors. What OpenAI's `dimensions` does, to 0.99999994 in cosine."""

    source: ModelCard
    dim: int

    def __post_init__(self) -> None:
        if not 0 < self.dim <= self.source.dim:
            raise SchemaError(f"{self.source.name} has {self.source.dim} dimensions, {self.dim} cannot be kept of them")

    @property
    def target(self) -> ModelCard:
        """The same model, shorter."""
        return replace(self.source, dim=self.dim, normalised=True)

    @property
    def checksum(self) -> str:
        """Of the model's name and the two lengths: there are no weights."""
        said = f"truncate {self.source.name} {self.source.dim} {self.dim}"
        return f"sha256:{sha256(said.encode()).hexdigest()}"

    @property
    def leverage_limit(self) -> None:
        """Nothing was trained."""

    def leverage(self, vectors: Any) -> None:
        """Nothing was trained."""

    def matrix(self, vectors: Any) -> NDArray[np.float32]:
        """[n, d] to [n, dim], rows of length 1; a row of zeros stays one."""
        rows = matrix_of(vectors)
        if rows.shape[1] != self.source.dim:
            raise SchemaError(f"{self.source.name} has vectors of {self.source.dim} dimensions, not {rows.shape[1]}")
        short = rows[:, : self.dim].astype(np.float32, order="C", copy=True)
        short *= inverse_lengths(short)[:, None]
        return short
