"""Which records are wanted: namespaces, a condition in SQL, a limit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from vexarrow.where import Condition


@dataclass(frozen=True)
class Selection:
    """The wish of a run. Sources apply what they can; the engine applies all of it again to what they deliver.

    `namespaces`: the wanted ones, None among them for records without a namespace; None for the whole field means all.
    `where`: DuckDB SQL over the record's columns. `limit`: records at most, after the other two.
    """

    namespaces: tuple[str | None, ...] | None = None
    where: str | None = None
    limit: int | None = None

    @property
    def filters(self) -> bool:
        """True when some records may not be wanted, the limit apart."""
        return self.namespaces is not None or self.where is not None

    @cached_property
    def condition(self) -> Condition | None:
        """The compiled `where`. Raises UsageError when it cannot be understood."""
        from vexarrow.where import Condition

        return Condition(self.where) if self.where is not None else None

    @property
    def needs_vectors(self) -> bool:
        """True when the selection cannot be decided without the vector columns."""
        return self.condition is not None and self.condition.needs_vectors

    def mask(self, batch: pa.RecordBatch) -> NDArray[np.bool_] | None:
        """Which rows of a batch are wanted, None for all. Vector columns may be absent unless `needs_vectors`."""
        if not self.filters:
            return None
        import numpy as np

        wanted = np.ones(batch.num_rows, dtype=bool)
        if self.namespaces is not None:
            wanted &= self.namespace_mask(batch.column("namespace"))
        if self.condition is not None and wanted.any():
            wanted &= self.condition.mask(batch)
        return None if wanted.all() else wanted

    def namespace_mask(self, column: pa.Array) -> NDArray[np.bool_]:
        """Which rows are of a wanted namespace."""
        import pyarrow as pa
        import pyarrow.compute as pc

        values = pa.array(self.namespaces or (), type=pa.string())
        # is_in matches null to null when null is in the value set, which is just what is meant.
        mask: NDArray[np.bool_] = np_bool(pc.is_in(column.cast(pa.string()), value_set=values))
        return mask


def np_bool(array: pa.Array) -> NDArray[np.bool_]:
    """A boolean Arrow array without nulls as numpy booleans."""
    import numpy as np

    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=bool)
