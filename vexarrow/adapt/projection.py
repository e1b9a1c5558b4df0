"""A trained projection: the map, what is known of it, and its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt import blas, kernel, weights_file
from vexarrow.adapt.local import Corrected, Local
from vexarrow.adapt.model import ModelCard
from vexarrow.adapt.pairs import matrix_of
from vexarrow.errors import DataError, SchemaError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from vexarrow.adapt.report import Report

    Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Familiarity:
    """How the training vectors lay: `mean` [d_in] and `whitening` [d_in, d_in] of unit vectors.

    The leverage of x is 1 / `count` + |(x - mean) whitening|^2; 99 % of the training vectors stay below `limit`.
    """

    mean: Matrix
    whitening: Matrix
    count: int
    limit: float

    def leverage(self, unit: Matrix) -> Matrix:
        """Of unit rows [n, d_in], n numbers."""
        along = (unit - self.mean) @ self.whitening
        leverage: Matrix = np.einsum("ij,ij->i", along, along) + np.float32(1 / self.count)
        return leverage


@dataclass(frozen=True)
class Projection:
    """The map y = unit(unit(x) W + b) from the vectors of one model into the space of another, with `local` corrections
    if there are any.

    `weight` is [d_in, d_out] and `bias` [d_out], float32. `header` holds all else that its file says (JSON-like): how
    it was trained, on what, the report and the verdict. Approximate always: see `report`.
    """

    weight: Matrix
    bias: Matrix
    source: ModelCard
    target: ModelCard
    familiarity: Familiarity | None = None
    target_mean: Matrix | None = None
    header: Mapping[str, Any] = field(default_factory=dict)
    local: Local | None = None

    def __post_init__(self) -> None:
        shape = (self.source.dim, self.target.dim)
        if self.weight.shape != shape or self.bias.shape != shape[1:]:
            raise DataError(
                f"the header speaks of {shape[0]} to {shape[1]} dimensions, the weights are "
                f"{self.weight.shape} and the bias is {self.bias.shape}"
            )
        if not (np.isfinite(self.weight).all() and np.isfinite(self.bias).all()):
            raise DataError("the weights hold NaN or infinity")
        if self.local is not None:
            self.local.check(*shape)

    @classmethod
    def train(cls, source: Any, target: Any, prior: Projection | None = None, **wishes: Any) -> Projection:
        """Train on pairs of vectors; see `vexarrow.adapt.training.train` for all that can be wished.

        >>> projection = Projection.train(minilm, static, source_model="all-MiniLM-L6-v2", target_model="static")
        >>> projection.report.overlap.value > projection.report.source_overlap.value
        True
        """
        from vexarrow.adapt.training import train

        return train(source, target, prior, **wishes)

    @classmethod
    def load(cls, location: str, *, source: str | None = None, target: str | None = None) -> Projection:
        """Read the file of a projection: ours (.safetensors), the original tool's (.json) or a plain matrix (.npy,
        .npz), from a path or an fsspec URL. `source` and `target` name the models of a plain matrix, which does not say
        them; other files do. Raises NotFound, AccessError and DataError, and UsageError for a matrix without names.

        >>> Projection.load("minilm-to-static.safetensors").target.name
        'static'
        """
        from vexarrow.adapt.loading import load

        return load(location, source=source, target=target)

    def save(self, location: str, *, half: bool = False, overwrite: bool = False) -> None:
        """Write the file, whole or not at all; the same projection gives the same bytes. `half`: in float16, half the
        size, with the same neighbours. Raises UsageError where there is a file already, unless `overwrite`.

        >>> projection.save("minilm-to-static.safetensors", overwrite=True)
        """
        from vexarrow.adapt.loading import write

        write(location, self.to_bytes(half=half), overwrite=overwrite)

    def to_bytes(self, *, half: bool = False) -> bytes:
        """The bytes of its file."""
        kind = np.float16 if half else np.float32
        tensors: dict[str, NDArray[np.floating[Any]]]
        tensors = {name: tensor.astype(kind, copy=False) for name, tensor in self._tensors().items()}
        known: dict[str, Any] = {"source": self.source.to_json(), "target": self.target.to_json()}
        if self.familiarity is not None:
            known["familiarity"] = {"count": self.familiarity.count, "limit": self.familiarity.limit}
        return weights_file.dumps(tensors, {**self.header, **known})

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Projection:
        """The projection of a file's bytes. Raises DataError, which names the file by `name`."""
        tensors, header = weights_file.loads(data, name)
        try:
            made = cls._of(tensors, header)
            made.report  # noqa: B018 - read now, while the name of the file is known
        except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
            said = error if isinstance(error, DataError) else "its header is not complete"
            raise DataError(f"{name}: {said}; {weights_file.AGAIN}") from error
        return made

    @classmethod
    def _of(cls, tensors: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> Projection:
        single = {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}
        source, target = ModelCard.from_json(header["source"]), ModelCard.from_json(header["target"])
        familiarity = None
        if "whitening" in single:
            said, mean, whitening = header["familiarity"], single["source_mean"], single["whitening"]
            if mean.shape != (source.dim,) or whitening.shape[:-1] != (source.dim,):
                raise DataError("the header and the shapes of its tensors contradict each other")
            familiarity = Familiarity(mean, whitening, int(said["count"]), float(said["limit"]))
        return cls(
            single["weight"],
            single["bias"],
            source,
            target,
            familiarity,
            single.get("target_mean"),
            dict(header),
            Local.of(single),
        )

    def _tensors(self) -> dict[str, Matrix]:
        tensors = {"weight": self.weight, "bias": self.bias}
        if self.target_mean is not None:
            tensors["target_mean"] = self.target_mean
        if self.familiarity is not None:
            tensors |= {"source_mean": self.familiarity.mean, "whitening": self.familiarity.whitening}
        return tensors | self._corrections()

    def _corrections(self) -> dict[str, Matrix]:
        return {} if self.local is None else self.local.tensors()

    @cached_property
    def checksum(self) -> str:
        """Of weight, bias and local corrections, as "sha256:...": what records that it projected carry."""
        return weights_file.checksum({"weight": self.weight, "bias": self.bias, **self._corrections()})

    @cached_property
    def _corrected(self) -> Corrected | None:
        return None if self.local is None else Corrected(self.local, self.weight, self.bias)

    @cached_property
    def report(self) -> Report | None:
        """What was measured on pairs that the training did not see; None for a file that does not say."""
        from vexarrow.adapt.report import Report

        said = self.header.get("report")
        return None if said is None else Report.from_json(said)

    def matrix(self, vectors: Any) -> Matrix:
        """[n, d_in] to [n, d_out] float32, rows of length 1. `vectors`: a numpy array, an Arrow vector column (not
        copied) or a record batch. Raises SchemaError for other dimensions and DataError for a row without a direction.

        >>> projection.matrix(minilm).dtype
        dtype('float32')
        """
        rows = self._rows(vectors)
        scales = np.empty(len(rows), np.float32)
        if self._corrected is not None:
            made = self._corrected.project(rows, scales)
        else:
            made = kernel.project(rows, self.weight, self.bias, scales=scales)
        bad = np.flatnonzero(~np.isfinite(scales) | (scales == 0))
        if len(bad):
            raise DataError(
                f"{len(bad):,} of {len(rows):,} vectors have no direction (zero, not finite, or numbers too large or "
                f"small), the first is row {bad[0]}"
            )
        return made

    def leverage(self, vectors: Any) -> Matrix | None:
        """How far each row lies from what was trained on, n numbers; None where the file does not say."""
        if self.familiarity is None:
            return None
        rows = self._rows(vectors)
        with blas.single_threaded():  # a few rows of each page, beside threads that have more to do
            return self.familiarity.leverage(rows * kernel.inverse_lengths(rows)[:, None])

    @property
    def leverage_limit(self) -> float | None:
        """The leverage that 99 % of the training vectors stay below."""
        return None if self.familiarity is None else self.familiarity.limit

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A record batch of the source model's records with vectors, model and note of the target's; null vectors stay
        null. Raises SchemaError for a record of another model or of none: `Adapting` rejects those one by one.

        >>> projection(batch).column("model")[0].as_py()
        'static'
        """
        from vexarrow.adapt.adapting import project_batch

        return project_batch(batch, self)

    def _rows(self, vectors: Any) -> Matrix:
        rows = matrix_of(vectors)
        if rows.shape[1] != self.source.dim:
            raise SchemaError(
                f"{self.source.name} has vectors of {self.source.dim} dimensions, these have {rows.shape[1]}"
            )
        return rows

    def with_header(self, **changed: Any) -> Projection:
        """The same map with other words in its header."""
        return replace(self, header={**self.header, **changed})


def card(model: str | ModelCard, vectors: Matrix) -> ModelCard:
    """A model's card with the length of its vectors, and whether they are normalised."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    normalised = bool(np.abs(norms - 1).max(initial=0) < 1e-3)
    if isinstance(model, ModelCard):
        if model.dim != vectors.shape[1]:
            raise SchemaError(
                f"{model.name} is said to have {model.dim} dimensions, its vectors have {vectors.shape[1]}"
            )
        return replace(model, normalised=normalised)
    return ModelCard(model, vectors.shape[1], normalised=normalised)
