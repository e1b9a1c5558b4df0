"""Canonical batches to their text form: a line of the interchange specification for every record."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records, sound, timestamps
from vexarrow.jsontext import members
from vexarrow.protocols import Reject

_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_INTEGER = r"\A-?(0|[1-9][0-9]*)\z"
_ESCAPED = r'["\\\x00-\x1f]'
_VERBATIM = ('{"id":', '{"created_at":', '{"dims":')
_TEXT = pa.large_string()


def lines(batch: pa.RecordBatch) -> tuple[list[bytes], list[Reject]]:
    """One line with its LF for every record, keys in the order of the specification, vectors as shortest float32 text.

    Records that JSON cannot hold (see `sound`) are rejects instead.
    """
    rejects = unfit(batch)
    return b"".join(encode(sound.without(batch, rejects))).splitlines(keepends=True), rejects


def unfit(batch: pa.RecordBatch) -> list[Reject]:
    """The records that JSON cannot hold (see `sound`)."""
    bad = {reject.row: reject for reject in (*sound.malformed(batch), *sound.unsound(batch))}
    return [bad[row] for row in sorted(bad, key=lambda row: row or 0)]


def encode(batch: pa.RecordBatch) -> list[bytes]:
    """Pieces that are, one after the other, one line with its LF for every record; JSON has to be able to hold all."""
    rows = batch.num_rows
    pieces = [b""] * (3 * rows)
    pieces[0::3] = _before(batch)
    pieces[1::3] = _vectors(batch.column("vector"))
    pieces[2::3] = _after(batch)
    extras = records.storage(batch.column("extra"))
    for at, extra in enumerate(extras.to_pylist() if extras.null_count < rows else ()):
        if extra is not None and extra != "{}":
            pieces[3 * at : 3 * at + 3] = _with_extra(b"".join(pieces[3 * at : 3 * at + 3]), extra), b"", b""
    return pieces


def _vectors(column: pa.FixedSizeListArray) -> list[bytes]:
    encoded = [orjson.dumps(vector, option=_NUMPY) for vector in records.matrix(column)]
    for row in np.flatnonzero(~records.present(column)).tolist():
        encoded[row] = b"null"
    return encoded


# The rest of the lines is put together column by column, by Arrow.


def _before(batch: pa.RecordBatch) -> list[bytes]:
    """What comes before each vector."""
    return _joined(batch.num_rows, {"id": _ids(batch), "text": _quoted(batch.column("text")), "vector": _constant("")})


def _after(batch: pa.RecordBatch) -> list[bytes]:
    """What comes after each vector."""
    vectors, scores = batch.column("vector"), batch.column("score")
    length = pa.scalar(str(records.dim(batch)), _TEXT)
    times = pa.array(timestamps.texts(batch.column("created_at")), type=_TEXT)
    members = {
        "model": _repeated(batch.column("model")),
        "dims": pc.if_else(vectors.is_valid(), length, _constant("null")) if vectors.null_count else length,
        "namespace": _repeated(batch.column("namespace")),
        "metadata": _documents(batch.column("metadata")),
        "created_at": _bare_quoted(times).fill_null(_constant("null")),
        "source_store": _repeated(batch.column("source_store")),
        "modality": _repeated(batch.column("modality").fill_null("text")),
        "score": _constant("null") if scores.null_count == len(scores) else _dumped(scores),
        "vex_version": _repeated(batch.column("vex_version").fill_null(records.VMIG_VERSION)),
    }
    return _joined(batch.num_rows, members, ",", "}\n")


def _joined(rows: int, members: dict[str, Any], start: str = "{", end: str = "") -> list[bytes]:
    """Members of objects with `start` before and `end` after them. Raises ArrowInvalid for text that is not UTF-8."""
    parts: list[Any] = []
    text = start
    for key, value in members.items():
        text += f'"{key}":'
        if isinstance(value, pa.Scalar):
            text += value.as_py() + ","
        else:
            parts += [pa.scalar(text, _TEXT), value]
            text = ","
    text = text[:-1] + end
    if not parts:
        return [text.encode()] * rows
    joined = pc.binary_join_element_wise(*parts, pa.scalar(text, _TEXT), _constant(""))
    joined.validate(full=True)
    encoded: list[bytes] = joined.view(pa.large_binary()).to_pylist()
    return encoded


@cache
def _constant(text: str) -> pa.Scalar:
    return pa.scalar(text, _TEXT)


def _quoted(column: pa.Array) -> pa.Array | pa.Scalar:
    """Texts as JSON strings."""
    if column.null_count == len(column):
        return _constant("null")
    column = column.cast(_TEXT)
    quoted = _bare_quoted(column)
    odd = pc.match_substring_regex(column, _ESCAPED).fill_null(False)
    if odd.true_count:
        quoted = pc.replace_with_mask(quoted, odd, _dumped(column.filter(odd)))
    return quoted.fill_null(_constant("null"))


def _bare_quoted(column: pa.Array) -> pa.Array:
    """Texts that need no escapes between quotes."""
    return pc.binary_join_element_wise(_constant('"'), column, _constant('"'), _constant(""))


def _repeated(column: pa.Array) -> pa.Array | pa.Scalar:
    """Texts of which many are the same as JSON strings."""
    if column.null_count == len(column):
        return _constant("null")
    known = column.dictionary_encode()
    if len(known.dictionary) == 1 and not column.null_count:
        return _quoted(known.dictionary)[0]
    return _quoted(known.dictionary).take(known.indices).fill_null(_constant("null"))


def _dumped(column: pa.Array) -> pa.Array:
    return pa.array([orjson.dumps(value).decode() for value in column.to_pylist()], type=_TEXT)


def _documents(column: pa.Array) -> pa.Array | pa.Scalar:
    """JSON texts as they are, each on one line."""
    texts = records.storage(column).cast(_TEXT)
    if texts.null_count == len(texts):
        return _constant("null")
    if pc.any(pc.match_substring_regex(texts, "[\\r\\n]")).as_py():
        # Outside of strings a line break is white space, and within them JSON has none.
        texts = pc.replace_substring_regex(texts, "[\\r\\n]", " ")
    return texts.fill_null(_constant("null"))


def _ids(batch: pa.RecordBatch) -> pa.Array:
    ids = batch.column("id").cast(_TEXT)
    if records.id_type(batch.schema) != "int":
        return _quoted(ids)
    # A stray text id in a stream of integers is corrected by its verbatim key in `extra`.
    return pc.if_else(pc.match_substring_regex(ids, _INTEGER), ids, _quoted(ids))


def _with_extra(line: bytes, extra: str) -> bytes:
    """The line with the members of `extra`: those of known keys replace what is there, the others follow at the end."""
    if not extra.startswith(_VERBATIM):
        return line[:-2] + b"," + extra[1:-1].encode() + b"}\n"
    own = {key: (written, value) for key, written, value in members(line.decode())}
    own.update({key: (written, value) for key, written, value in members(extra)})
    return ("{" + ",".join(f"{written}:{value}" for written, value in own.values()) + "}\n").encode()


def line(batch: pa.RecordBatch, row: int) -> bytes:
    """The line of one record, without its LF, whatever it holds, for a rejects file: a vector that JSON cannot hold is
    in the key `vector_base64`, as little-endian float32, and text that is no JSON object in `metadata_text`."""
    one = batch.slice(row, 1)
    encoded, rejects = lines(one)
    if not rejects:
        return encoded[0].rstrip(b"\n")
    text = lines(_bare(one))[0][0].rstrip(b"\n")
    raw = records.matrix(one.column("vector")).astype("<f4").tobytes()
    odd: dict[str, object] = {"vector_base64": base64.b64encode(raw).decode()} if raw else {}
    score = one.column("score")[0].as_py()
    odd |= {"score_text": str(score)} if score is not None else {}
    odd |= {f"{name}_text": _storage(one, name) for name in ("metadata", "extra") if _storage(one, name) is not None}
    return text[:-1] + b"," + orjson.dumps(odd)[1:]


def _storage(batch: pa.RecordBatch, name: str) -> str | None:
    text: str | None = records.storage(batch.column(name))[0].as_py()
    return text


def _bare(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without all that could not be written."""
    for name in ("vector", "score", "metadata", "extra"):
        field = batch.schema.field(name)
        batch = batch.set_column(batch.schema.get_field_index(name), field, pa.nulls(len(batch), field.type))
    return batch
