"""A stream of batches made to fit one file: one dimension, one kind of ids, the same further columns throughout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vexarrow import records
from vexarrow.protocols import Reject
from vexarrow.sound import unsound, without

from ._spool import Spool

HELD_BYTES = 16 << 20


class Uniform:
    """The first batch decides the kind of ids, the first batch with vectors the dimension, and all batches up to that
    one which further columns there are. Batches before it are held back."""

    def __init__(self, target: str) -> None:
        self._held = Spool(target, memory=HELD_BYTES)
        self._id_type: str | None = None
        self._more: dict[str, pa.DataType] = {}
        self.schema: pa.Schema | None = None

    def accept(self, batch: pa.RecordBatch) -> tuple[Iterable[pa.RecordBatch], list[Reject]]:
        """Batches that are ready to be written, all of one schema, and the rows that do not fit."""
        if self._id_type is None:
            self._id_type = records.id_type(batch.schema)
        refused = unsound(batch)
        if refused:
            ready, rejects = self._accept(without(batch, refused), self._id_type)
            return ready, [*refused, *_moved(rejects, refused)]
        return self._accept(batch, self._id_type)

    def _accept(self, batch: pa.RecordBatch, kind: str) -> tuple[Iterable[pa.RecordBatch], list[Reject]]:
        batch = records.with_id_type(batch, kind)
        if self.schema is None:
            self._more |= {name: batch.schema.field(name).type for name in _further(batch) if name not in self._more}
            if records.dim(batch) == 0:
                self._held.append(batch)
                return [], []
            schema = self._decide(records.dim(batch))
            fitted, rejects = self._fit(batch, schema)
            return self._release(fitted, schema), rejects
        fitted, rejects = self._fit(batch, self.schema)
        return ([fitted] if fitted.num_rows else []), rejects

    def finish(self, dim: int = 0) -> Iterator[pa.RecordBatch]:
        """What is still held back; then no vector came, and `dim` is the dimension of nothing."""
        if self.schema is None:
            yield from self._release(None, self._decide(dim))

    def close(self) -> None:
        """Give back what is held."""
        self._held.close()

    def _decide(self, dim: int) -> pa.Schema:
        more = [pa.field(name, kind) for name, kind in self._more.items()]
        self.schema = records.schema(dim, id_type=self._id_type or "string", more=more)
        return self.schema

    def _release(self, last: pa.RecordBatch | None, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in self._held:
            yield self._fit(batch, schema)[0]
        self._held.close()
        if last is not None and last.num_rows:
            yield last

    def _fit(self, batch: pa.RecordBatch, schema: pa.Schema) -> tuple[pa.RecordBatch, list[Reject]]:
        if batch.schema.equals(schema, check_metadata=True):
            return batch, []
        faults = self._misfits(batch, records.dim(schema))
        kept = batch
        if faults:
            bad = np.zeros(batch.num_rows, dtype=bool)
            bad[list(faults)] = True
            kept = batch.take(pa.array(np.flatnonzero(~bad)))
        arrays = [self._column(kept, field) for field in schema]
        rejects = [Reject(code, message, row=row) for row, (code, message) in sorted(faults.items())]
        return pa.RecordBatch.from_arrays(arrays, schema=schema), rejects

    def _misfits(self, batch: pa.RecordBatch, ours: int) -> dict[int, tuple[str, str]]:
        """Rows that hold a vector of another dimension, or one in a column that the file does not have."""
        faults: dict[int, tuple[str, str]] = {}
        for name in _further(batch):
            if self._more.get(name) != batch.schema.field(name).type:
                there = np.flatnonzero(records.present(batch.column(name)))
                kind = batch.schema.field(name).type
                message = f"{name} ({kind}) came after the columns of the file were decided"
                faults |= {int(row): ("column", message) for row in there}
        dim = records.dim(batch)
        if dim not in (0, ours):
            message = f"the vector has {dim} dimensions and the file {ours}; project it with `vex adapt`"
            there = np.flatnonzero(records.present(batch.column("vector")))
            faults |= {int(row): ("dimension", message) for row in there}
        return faults

    def _column(self, batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
        at = batch.schema.get_field_index(field.name)
        if at >= 0 and batch.schema.field(at).type == field.type:
            return batch.column(at)
        return pa.nulls(batch.num_rows, field.type)


def _further(batch: pa.RecordBatch) -> list[str]:
    return [name for name in batch.schema.names if name.startswith(records.EXTRA_VECTORS)]


def _moved(rejects: Sequence[Reject], refused: Sequence[Reject]) -> list[Reject]:
    """Rejects of a batch that some rows had been taken out of, with the row numbers of the whole batch."""
    moved = []
    for reject in rejects:
        row = reject.row or 0
        for gone in sorted(one.row or 0 for one in refused):
            row += gone <= row
        moved.append(replace(reject, row=row))
    return moved
