"""A batch after its projection: the new vectors, the target's model, and the note in `extra` that marks each record.

The note is `"adapted": {"from": <the model that the record named>, "projection": "sha256:...", "dims": <of the vector
before>}`, with `"exact": true` after a cut that the model was made for. All other keys of `extra` stay verbatim, but
for a `dims` of the old vector. Of a record that was projected before, the earlier note stays inside the new one, under
"before".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records
from vexarrow.adapt.kernel import inverse_lengths
from vexarrow.adapt.truncation import Truncation
from vexarrow.jsontext import Malformed, members
from vexarrow.protocols import Reject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vexarrow.adapt.lanes import Lane
    from vexarrow.adapt.model import Adapter

    Rows = NDArray[np.intp]
    Matrix = NDArray[np.float32]

KEY = "adapted"
# Why records are rejected whatever their model, by code.
LOST = {
    "no-vector": "the record has no vector to project",
    "zero-vector": "a vector of zeros has no direction, and nothing to project",
    "vector-not-finite": "the vector holds NaN or infinity, or numbers too large or small",
}
# A note of a cut, and no earlier one inside it.
_EXACT = rf'"{KEY}":\{{[^{{}}]*"exact":true\}}'


def note(model: str, adapter: Adapter) -> str:
    """The member of `extra` that marks records of a model that an adapter projected, as JSON text without braces."""
    said: dict[str, object] = {"from": model, "projection": adapter.checksum, "dims": adapter.source.dim}
    if isinstance(adapter, Truncation):
        said["exact"] = True
    return f'"{KEY}":' + json.dumps(said, ensure_ascii=False, separators=(",", ":"))


class Group(NamedTuple):
    """Rows of a batch that go the same way; `rows` None means all of them."""

    lane: Lane
    rows: Rows | None

    def of(self, matrix: Matrix) -> Matrix:
        """Its rows of the batch's vectors, not copied where they are all."""
        return matrix if self.rows is None else matrix[self.rows]


class Part(NamedTuple):
    """Rows of a batch, None for all of them, with their vectors in the target's space, and the note on them if they
    were projected."""

    rows: Rows | None
    vectors: Matrix
    note: str | None


def names(batch: pa.RecordBatch) -> list[str | None]:
    """The models that its records name."""
    found: list[str | None] = pc.unique(batch.column("model")).to_pylist()
    return found


def by_model(batch: pa.RecordBatch) -> Iterator[tuple[str | None, Rows | None]]:
    """Its records that have a vector, by the model that they name: the rows, None for all of the batch."""
    encoded = batch.column("model").dictionary_encode(null_encoding="encode")
    there, which = records.present(batch.column("vector")), encoded.indices.to_numpy()
    every = encoded.dictionary.to_pylist()
    if len(every) == 1 and there.all():
        yield every[0], None
        return
    for at, name in enumerate(every):
        rows = np.flatnonzero(there & (which == at))
        if len(rows):
            yield name, rows


def with_direction(group: Group, matrix: Matrix) -> tuple[Group, list[Reject]]:
    """The group without rows whose vectors have no direction, and rejects for those."""
    lengths = inverse_lengths(group.of(matrix))
    good = np.isfinite(lengths) & (lengths > 0)
    if good.all():
        return group, []
    rows = np.arange(len(matrix)) if group.rows is None else group.rows
    return group._replace(rows=rows[good]), [_directionless(row, matrix[row]) for row in rows[~good].tolist()]


def _directionless(row: int, vector: Matrix) -> Reject:
    if np.isfinite(vector).all() and not vector.any():
        return Reject("zero-vector", LOST["zero-vector"], row=row)
    return Reject("vector-not-finite", LOST["vector-not-finite"], row=row)


def assembled(batch: pa.RecordBatch, parts: Sequence[Part], dim: int, model: str) -> pa.RecordBatch:
    """The batch with the rows of the parts alone, in their order."""
    if len(parts) == 1 and parts[0].rows is None:
        return with_parts(batch, parts, dim, model)
    chosen = [part.rows for part in parts if part.rows is not None]
    rows = np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.intp)
    moved = [part._replace(rows=np.searchsorted(rows, of)) for part, of in zip(parts, chosen, strict=True)]
    return with_parts(batch.take(pa.array(rows)), moved, dim, model)


def with_parts(batch: pa.RecordBatch, parts: Sequence[Part], dim: int, model: str) -> pa.RecordBatch:
    """The batch with the vectors of the parts. Rows with a note get it and the name of the model; rows of no part have
    no vector then, and keep all else."""
    if len(parts) == 1 and parts[0].rows is None:
        (only,) = parts
        if only.note is None:
            return batch
        notes = pa.repeat(pa.scalar(only.note, pa.string()), batch.num_rows)
        return _changed(batch, records.from_matrix(only.vectors), model, notes)
    vectors, codes = np.zeros((batch.num_rows, dim), np.float32), np.full(batch.num_rows, len(parts))
    for code, part in enumerate(parts):
        vectors[part.rows], codes[part.rows] = part.vectors, code
    notes = pa.array([*(part.note for part in parts), None], pa.string()).take(pa.array(codes))
    return _changed(batch, records.from_matrix(vectors, codes < len(parts)), model, notes)


def _changed(batch: pa.RecordBatch, vectors: pa.FixedSizeListArray, model: str, notes: pa.Array) -> pa.RecordBatch:
    """The batch with these vectors, and the model's name and the note in the rows that have a note."""
    named = pc.if_else(notes.is_valid(), pa.scalar(model, pa.string()), batch.column("model"))
    extra = with_notes(batch.column("extra"), notes)
    for name, column in {"vector": vectors, "model": named, "extra": extra}.items():
        batch = batch.set_column(batch.schema.get_field_index(name), pa.field(name, column.type), column)
    return batch


def with_notes(extra: pa.Array, notes: pa.Array) -> pa.Array:
    """The column `extra` with the notes in it, at the end of each object. What is no object stays, to be rejected."""
    texts = records.storage(extra)
    alone = pc.binary_join_element_wise("{", notes, "}", "")
    if texts.null_count == len(texts):
        return records.json_array(alone)
    merged = pc.if_else(notes.is_valid(), pc.if_else(texts.is_valid(), _appended(texts, notes), alone), texts)
    return records.json_array(_rewritten(texts, notes, merged))


def _appended(texts: pa.Array, notes: pa.Array) -> pa.Array:
    """Objects as text, each with one more member."""
    trimmed = pc.utf8_trim_whitespace(texts)
    whole = pc.and_(pc.starts_with(trimmed, "{"), pc.ends_with(trimmed, "}"))
    open_ended = pc.utf8_rtrim_whitespace(pc.utf8_slice_codeunits(trimmed, 0, -1))
    comma = pc.if_else(pc.equal(open_ended, "{"), "", ",")
    return pc.if_else(whole, pc.binary_join_element_wise(open_ended, comma, notes, "}", ""), texts)


def _rewritten(texts: pa.Array, notes: pa.Array, merged: pa.Array) -> pa.Array:
    """`merged`, with the few objects looked at one by one that have a note or a number of dimensions already."""
    unusual = pc.or_(pc.match_substring(texts, '"dims"'), pc.match_substring(texts, f'"{KEY}"'))
    rows = np.flatnonzero(_mask(unusual) & _mask(notes.is_valid()))
    if not len(rows):
        return merged
    given, said = texts.to_pylist(), notes.to_pylist()
    done = merged.to_pylist()
    for row in rows.tolist():
        done[row] = _one(given[row], said[row])
    return pa.array(done, pa.string())


def _one(text: str, said: str) -> str:
    try:
        found = members(text)
    except Malformed:
        return text  # for the engine to reject
    before = next((value for key, _, value in found if key == KEY), None)
    if before is not None:
        said = f'{said[:-1]},"before":{before}}}'
    kept = [f"{written}:{value}" for key, written, value in found if key not in (KEY, "dims")]
    return "{" + ",".join([*kept, said]) + "}"


def twice(batch: pa.RecordBatch, rows: Rows | None) -> int:
    """How many of these rows seem to have a note already, having been projected before by what is not exact."""
    extra = records.storage(batch.column("extra"))
    if extra.null_count == len(extra):
        return 0
    noted = _mask(pc.match_substring(extra, f'"{KEY}":'))
    if noted.any():
        noted &= ~_mask(pc.match_substring_regex(extra, _EXACT))
    return int((noted if rows is None else noted[rows]).sum())


def _mask(column: pa.Array) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = column.fill_null(False).to_numpy(zero_copy_only=False)
    return found
