"""Which records of a batch need a new vector, and the batch with the new ones in it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records
from vexarrow.embedding_models import same_model
from vexarrow.jsontext import Malformed, members

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Choice:
    """Tells which records have to be embedded with a model. `unnamed` counts those that keep their vector because it
    fits, although they do not say which model it is from. Thread-safe."""

    def __init__(self, model: str, force: bool = False) -> None:
        self.unnamed = 0
        self._model = model
        self._force = force
        self._lock = threading.Lock()

    def needed(self, batch: pa.RecordBatch, dim: int | None) -> NDArray[np.bool_]:
        """Whether each row does. `dim`: the length of the model's vectors, None when not known: any one fits then."""
        if self._force or (dim is not None and records.dim(batch) != dim):
            return np.ones(batch.num_rows, bool)
        missing, models = ~records.present(batch.column("vector")), batch.column("model")
        names = [name for name in pc.unique(models).to_pylist() if name]
        strange = pa.array([name for name in names if not same_model(name, self._model)], pa.string())
        named = pc.is_in(models, value_set=pa.array(names, pa.string())).to_numpy(zero_copy_only=False)
        with self._lock:
            self.unnamed += int((~missing & ~named).sum())
        wrong: NDArray[np.bool_] = pc.is_in(models, value_set=strange).to_numpy(zero_copy_only=False)
        return missing | wrong

    @property
    def warnings(self) -> list[str]:
        """A sentence on the records that do not say what their vectors are from."""
        if not self.unnamed:
            return []
        return [
            f"{self.unnamed:,} records name no model and kept their vectors, whose length fits; "
            f"--force-reembed embeds them with {self._model} as well"
        ]


def with_vectors(
    batch: pa.RecordBatch, rows: NDArray[np.intp], vectors: NDArray[np.float32], model: str
) -> pa.RecordBatch:
    """The batch with a new vector, the name of its model and no `dims` of its own for these rows.

    All vectors are then as long as the new ones: where the old ones are not, all other rows are without one.
    """
    old, dim = batch.column("vector"), vectors.shape[1]
    matrix, valid = np.zeros((batch.num_rows, dim), np.float32), np.zeros(batch.num_rows, bool)
    if records.dim(batch) == dim:
        matrix[:], valid[:] = records.matrix(old), records.present(old)
    matrix[rows], valid[rows] = vectors, True
    fresh = np.zeros(batch.num_rows, bool)
    fresh[rows] = True
    named = pc.if_else(pa.array(fresh), pa.scalar(model, pa.string()), batch.column("model"))
    batch = _replaced(batch, "vector", records.from_matrix(matrix, valid))
    return _without_dims(_replaced(batch, "model", named), fresh)


def _without_dims(batch: pa.RecordBatch, fresh: NDArray[np.bool_]) -> pa.RecordBatch:
    """The batch without the number in `extra` that a record gave for the vector that it had, or had not."""
    extra = records.storage(batch.column("extra"))
    if extra.null_count == len(extra):
        return batch
    said = pc.match_substring(extra, '"dims"').fill_null(False).to_numpy(zero_copy_only=False) & fresh
    if not said.any():
        return batch
    texts = extra.to_pylist()
    for row in np.flatnonzero(said).tolist():
        texts[row] = _without(texts[row], "dims")
    return _replaced(batch, "extra", records.json_array(texts))


def _without(text: str, name: str) -> str | None:
    try:
        rest = [f"{written}:{value}" for key, written, value in members(text) if key != name]
    except Malformed:
        return text  # for the engine to reject
    return "{" + ",".join(rest) + "}" if rest else None


def _replaced(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    changed: pa.RecordBatch = batch.set_column(batch.schema.get_field_index(name), pa.field(name, column.type), column)
    return changed
