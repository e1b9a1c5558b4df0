"""Batches of any Arrow schema as canonical ones, in two steps, so that vectors are read only for wanted records.

`light` makes a canonical batch without vectors of all the other columns; a selection can be decided on it. `finish`
adds the vectors of the rows that are wanted, one batch a dimension, and says which records cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa

from vexarrow import records
from vexarrow.jsontext import loads_all
from vexarrow.lines import line
from vexarrow.protocols import Reject

from . import _members, _times, _vectors
from ._roles import PLAIN_FIELDS, Member, Roles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]

NAMES = ("text", *PLAIN_FIELDS)


@dataclass(frozen=True)
class Light:
    """A canonical batch without vectors; `missing` are the rows without an id (their id is "" meanwhile), `dims` what
    a column of that name says, `places` where the rows were in the source batch (None: where they are)."""

    batch: pa.RecordBatch
    missing: NDArray[np.bool_] | None
    dims: pa.Array | None
    places: Rows | None = None

    def take(self, rows: Rows) -> Light:
        """Some of the rows."""
        chosen = pa.array(rows)
        missing = None if self.missing is None else self.missing[rows]
        dims = None if self.dims is None else self.dims.take(chosen)
        return Light(self.batch.take(chosen), missing, dims, rows if self.places is None else self.places[rows])


def light(source: pa.RecordBatch, roles: Roles, constants: Mapping[str, str | None]) -> Light:
    """Everything but the vectors. `constants` are values that all rows share, by column (hive folders); those that no
    record field takes become metadata. A column of the batch goes before a constant."""
    rows = source.num_rows
    ids, missing = _ids(source.column(roles.id))
    columns: dict[str, Any] = {"id": ids}
    marks: dict[int, dict[str, str]] = {}
    for name, column in roles.fields.items():
        if name in NAMES:
            columns[name] = source.column(column).cast(pa.string())
        elif name == "score":
            columns[name] = source.column(column).cast(pa.float64(), safe=False)
        elif name == "created_at":
            columns[name], odd = _times.read(source.column(column))
            marks |= {row: {"created_at": text} for row, text in odd.items()}
    members = list(roles.members)
    for name, value in constants.items():
        column = pa.nulls(rows, pa.string()) if value is None else pa.repeat(value, rows)
        if name in NAMES and name not in columns:
            columns[name] = column
        elif name not in source.schema.names:
            source = source.append_column(name, column)
            members.append(Member(name, name))
    if not roles.own and "modality" not in columns:
        columns["modality"] = pa.repeat("text", rows)
    columns["metadata"] = _metadata(source, roles, members)
    columns["extra"] = _extra(source, roles, marks)
    batch = records.build(columns, id_type=roles.id_type)
    dims = source.column(roles.fields["dims"]) if "dims" in roles.fields else None
    return Light(batch, missing, dims)


def _ids(column: pa.Array) -> tuple[pa.Array, NDArray[np.bool_] | None]:
    if column.type == pa.uuid():
        column = pa.array([str(value) if value else None for value in column.to_pylist()], type=pa.string())
    column = column.cast(pa.string())
    if not column.null_count:
        return column, None
    return column.fill_null(""), np.asarray(column.is_null())


# -- JSON columns --------------------------------------------------------------------------------------------


def _metadata(source: pa.RecordBatch, roles: Roles, members: Sequence[Member]) -> pa.Array:
    """The metadata column, if there is one, together with the columns that are members of it."""
    more = _members.objects(source, members)
    if "metadata" not in roles.fields:
        return more
    base, stray = _json_texts(source.column(roles.fields["metadata"]), trusted=roles.own)
    if stray is not None:
        more = _merged(stray, more)
    if roles.spread:
        # The column holds the few records that columns cannot hold exactly, whole.
        return base.fill_null(more) if base.null_count else base
    return _merged(base, more)


def _json_texts(column: pa.Array, *, trusted: bool) -> tuple[pa.Array, pa.Array | None]:
    """A column as JSON texts, and, as members of that name, those of its texts that are no JSON object."""
    if column.type == records.JSON:
        return records.storage(column), None
    if pa.types.is_struct(column.type) or pa.types.is_map(column.type):
        batch = pa.record_batch([column], names=["metadata"])
        wrapped = _members.objects(batch, [Member("metadata", "")]).to_pylist()
        return pa.array([None if text is None else text[4:-1] for text in wrapped], type=pa.string()), None
    texts = column.cast(pa.string())
    if trusted:
        return texts, None
    values = texts.to_pylist()
    known = loads_all([text for text in values if text is not None])
    if known is not None and all(value.__class__ is dict for value in known):
        return texts, None
    good = [text is None or _is_object(text) for text in values]
    base = [text if ok else None for text, ok in zip(values, good, strict=True)]
    stray = [None if ok else orjson.dumps({"metadata": text}).decode() for text, ok in zip(values, good, strict=True)]
    return pa.array(base, type=pa.string()), pa.array(stray, type=pa.string())


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _merged(base: pa.Array, more: pa.Array) -> pa.Array:
    """Two columns of JSON objects as one; what is in `base` stays as it is."""
    if more.null_count == len(more):
        return base
    if base.null_count == len(base):
        return more
    pairs = zip(base.to_pylist(), more.to_pylist(), strict=True)
    return pa.array([_joined(first, second) for first, second in pairs], type=pa.string())


def _joined(first: str | None, second: str | None) -> str | None:
    """Members of `second` that `first` has with another value are named `column.<key>`."""
    if first is None or second is None:
        return second if first is None else first
    known = orjson.loads(first)
    if not isinstance(known, dict):
        return first
    parts = []
    for key, value in json.loads(second, parse_float=_Number, parse_int=_Number).items():
        if key in known and known[key] == orjson.loads(_dumped(value)):
            continue
        parts.append(f"{json.dumps(f'column.{key}' if key in known else key, ensure_ascii=False)}:{_dumped(value)}")
    body = first.rstrip()[:-1]
    return body + ("," if known and parts else "") + ",".join(parts) + "}"


class _Number(str):
    """The text of a JSON number, so that it is written as it was read."""


def _dumped(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_dumped(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_dumped(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _extra(source: pa.RecordBatch, roles: Roles, marks: Mapping[int, Mapping[str, str]]) -> pa.Array | None:
    """The extra column with verbatim originals of values that their columns cannot hold (`marks`, JSON by row)."""
    column = None
    if "extra" in roles.fields:
        column, _ = _json_texts(source.column(roles.fields["extra"]), trusted=roles.own)
    if not marks:
        return column
    texts = column.to_pylist() if column is not None else [None] * source.num_rows
    return pa.array([marked(text, marks.get(row, {})) for row, text in enumerate(texts)], type=pa.string())


def marked(extra: str | None, marks: Mapping[str, str]) -> str | None:
    """An `extra` text with further members, given as JSON texts, in front."""
    if not marks:
        return extra
    front = ",".join(f"{json.dumps(key)}:{value}" for key, value in marks.items())
    return "{" + front + ("," + extra[1:] if extra is not None and extra != "{}" else "}")


# -- vectors -------------------------------------------------------------------------------------------------


def finish(
    page: Light, heavy: pa.RecordBatch, roles: Roles, keep: Rows | None, *, first: Callable[[], int], file: str
) -> tuple[list[pa.RecordBatch], list[Reject]]:
    """Canonical batches of the rows `keep` (None for all), one a dimension, and the records that cannot be read.

    `first` gives the number in the file of the first row, for messages; it is asked only when there is one.
    """
    rejects = []
    if page.missing is not None:
        rows = np.arange(len(page.missing)) if keep is None else keep
        lost = rows[page.missing[rows]].tolist()
        rejects += [_reject(page, heavy, roles, row, "missing-id", "the id is null", first, file) for row in lost]
        keep = rows[~page.missing[rows]]
    found, faults = _vectors.pieces(heavy.column(roles.vector), keep)
    further, wrong = _further(heavy, roles)
    for row, code, message in faults:
        rejects.append(_reject(page, heavy, roles, row, code, message, first, file))
    batches = []
    for piece in found:
        good = piece
        if wrong:
            good, bad = _split(piece, wrong)
            rejects += [_reject(page, heavy, roles, row, *wrong[row], first, file) for row in bad]
        if len(good.rows):
            batches.append(_batch(page, good, further, roles))
    return batches, rejects


def _batch(page: Light, piece: _vectors.Piece, further: Mapping[str, pa.Array], roles: Roles) -> pa.RecordBatch:
    base, rows = page.batch, None
    if len(piece.rows) != base.num_rows:
        rows = pa.array(piece.rows)
        base = base.take(rows)
    columns = {name: base.column(name) for name in records.BASE_NAMES}
    if page.dims is not None:
        columns["extra"] = _with_dims(columns["extra"], page.dims if rows is None else page.dims.take(rows), piece)
    vector = records.from_matrix(piece.matrix, piece.valid)
    more = {name: column if rows is None else column.take(rows) for name, column in further.items()}
    return records.build(columns, vector, id_type=roles.id_type, more=more)


def _with_dims(extra: pa.Array, said: pa.Array, piece: _vectors.Piece) -> pa.Array:
    """`extra` with the number that a `dims` column gives where it is not the length of the vector."""
    true = np.full(len(piece.rows), piece.matrix.shape[1])
    if piece.valid is not None:
        true[~piece.valid] = -1
    lies = np.flatnonzero(np.asarray(said.fill_null(0).to_numpy(zero_copy_only=False)) != true)
    known = np.asarray(said.is_valid())
    if not known[lies].any():
        return extra
    texts = records.storage(extra).to_pylist()
    for row in lies[known[lies]]:
        texts[row] = marked(texts[row], {"dims": str(said[int(row)].as_py())})
    return pa.array(texts, type=pa.string())


def _further(heavy: pa.RecordBatch, roles: Roles) -> tuple[dict[str, pa.Array], dict[int, tuple[str, str]]]:
    """Further vector columns, float lists as float32, and the rows whose further vectors cannot be read."""
    columns: dict[str, pa.Array] = {}
    wrong: dict[int, tuple[str, str]] = {}
    for source, name in roles.vectors.items():
        column = heavy.column(source)
        if _vectors.is_float_list(column.type):
            column, bad = _as_float32(column)
            wrong |= {row: (code, f"{name}: {message}") for row, code, message in bad}
        columns[name] = column
    return columns, wrong


def _as_float32(column: pa.Array) -> tuple[pa.Array, list[_vectors.Fault]]:
    faults = [fault for fault in _vectors.pieces(column)[1] if fault.code != "empty-vector"]
    fixed = pa.types.is_fixed_size_list(column.type)
    kind = pa.list_(pa.float32(), column.type.list_size) if fixed else pa.list_(pa.float32())
    return column.cast(kind, safe=False), faults


def _split(piece: _vectors.Piece, wrong: Mapping[int, object]) -> tuple[_vectors.Piece, list[int]]:
    bad = np.isin(piece.rows, list(wrong))
    valid = None if piece.valid is None else piece.valid[~bad]
    return _vectors.Piece(piece.rows[~bad], piece.matrix[~bad], valid), [int(row) for row in piece.rows[bad]]


# -- rejects -------------------------------------------------------------------------------------------------


def _reject(
    page: Light,
    heavy: pa.RecordBatch,
    roles: Roles,
    row: int,
    code: str,
    message: str,
    first: Callable[[], int],
    file: str,
) -> Reject:
    lost = page.missing is not None and bool(page.missing[row])
    key = None if lost else page.batch.column("id")[row].as_py()
    record = _record(page.batch, row, lost, _vectors.text_of(heavy.column(roles.vector), row))
    place = row if page.places is None else int(page.places[row])
    return Reject(code, f"row {first() + place + 1}: {message}", id=key, record=record, file=file)


def _record(batch: pa.RecordBatch, row: int, lost: bool, vector: str) -> bytes:
    """The record as one `.vmig.jsonl` line, its faulty vector as it stands; further vectors are not in it."""
    # Quotes within strings are escaped, so that the first match is the key.
    text = line(batch, row).replace(b'"vector":null', b'"vector":' + vector.encode(), 1)
    return text.replace(b'"id":""', b'"id":null', 1) if lost else text
