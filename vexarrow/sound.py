"""What every record has to be before a sink sees it; the engine asks once, so that no sink has to."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records
from vexarrow.jsontext import Malformed, loads_all, members
from vexarrow.protocols import Reject


def unsound(batch: pa.RecordBatch) -> list[Reject]:
    """The rows that are no records, by `row`, each once: vectors or scores that are not finite, and metadata or extra
    that is no JSON object."""
    found: dict[int, Reject] = {}
    for code, message, rows in (
        ("vector-not-finite", "the vector holds NaN or infinity", _not_finite(batch)),
        ("score-type", "the score is NaN or infinite", _bad_scores(batch)),
        ("metadata-type", "metadata is no JSON object", _no_object(batch, "metadata")),
        ("extra-type", "extra is no JSON object", _no_object(batch, "extra")),
    ):
        for row in rows:
            found.setdefault(row, Reject(code, message, row=row))
    return [found[row] for row in sorted(found)]


def without(batch: pa.RecordBatch, refused: list[Reject]) -> pa.RecordBatch:
    """The batch without the rows of the rejects."""
    if not refused:
        return batch
    gone = {reject.row for reject in refused}
    return batch.take(pa.array([row for row in range(batch.num_rows) if row not in gone], type=pa.int64()))


def _not_finite(batch: pa.RecordBatch) -> list[int]:
    column = batch.column("vector")
    matrix = records.matrix(column)
    # A sum is finite unless something in it is not, or it overflows: only then is every row looked at.
    with np.errstate(over="ignore", invalid="ignore"):
        if not matrix.size or np.isfinite(matrix.sum()):
            return []
    rows: list[int] = np.flatnonzero(~np.isfinite(matrix).all(axis=1) & records.present(column)).tolist()
    return rows


def _bad_scores(batch: pa.RecordBatch) -> list[int]:
    column = batch.column("score")
    if column.null_count == len(column):
        return []
    rows: list[int] = np.flatnonzero(~np.isfinite(column.fill_null(0.0).to_numpy())).tolist()
    return rows


def _no_object(batch: pa.RecordBatch, name: str) -> list[int]:
    column = records.storage(batch.column(name))
    if column.null_count == len(column):
        return []
    if pc.starts_with(column, "{").true_count == len(column) - column.null_count:
        return []
    bad = pc.invert(pc.starts_with(pc.utf8_ltrim(column, " \t\r\n"), "{").fill_null(True))
    rows: list[int] = np.flatnonzero(bad.to_numpy(zero_copy_only=False)).tolist()
    return rows


def malformed(batch: pa.RecordBatch) -> list[Reject]:
    """The rows whose metadata or extra starts like an object but is not JSON."""
    found: dict[int, Reject] = {}
    for name in ("metadata", "extra"):
        for row in _malformed(records.storage(batch.column(name))):
            found.setdefault(row, Reject("malformed-json", f"{name} is not JSON", row=row))
    return [found[row] for row in sorted(found)]


def _malformed(column: pa.Array) -> list[int]:
    texts = [] if column.null_count == len(column) else column.to_pylist()
    if loads_all([text for text in texts if text is not None]) is not None:
        return []
    # One of them is not, or holds what orjson does not read: look at each.
    return [row for row, text in enumerate(texts) if text is not None and not _is_json(text)]


def _is_json(text: str) -> bool:
    try:
        members(text)
    except Malformed:
        return False
    return True
