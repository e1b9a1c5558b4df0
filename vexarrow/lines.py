"""Canonical batches to their text form: a line of the interchange specification for every record."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from vexarrow import records, timestamps
from vexarrow.jsontext import members
from vexarrow.protocols import Reject

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
_VERBATIM = ('{"id":', '{"created_at":', '{"dims":')


def lines(batch: pa.RecordBatch) -> tuple[list[bytes], list[Reject]]:
    """One line with its LF for every record, keys in the order of the specification, vectors as shortest float32 text.

    Records that JSON cannot hold (a vector or score that is not finite) are rejects instead.
    """
    rejects = _not_finite(batch)
    if rejects:
        bad = {reject.row for reject in rejects}
        batch = batch.take(pa.array([row for row in range(batch.num_rows) if row not in bad], type=pa.int64()))
    extras = records.storage(batch.column("extra"))
    encoded = [orjson.dumps(record, option=_OPTIONS) for record in _documents(batch)]
    if extras.null_count < len(extras):
        for at, extra in enumerate(extras.to_pylist()):
            if extra is not None and extra != "{}":
                encoded[at] = _with_extra(encoded[at], extra)
    return encoded, rejects


def _documents(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    column = batch.column("vector")
    vectors: Sequence[Any] = list(records.matrix(column)) if records.dim(batch) else [None] * batch.num_rows
    for row in np.flatnonzero(~records.present(column)).tolist():
        vectors[row] = None  # type: ignore[index]
    dims = records.dim(batch)
    texts = [_plain(batch, name) for name in ("text", "model", "namespace", "source_store", "modality", "vex_version")]
    for identity, vector, document, created, score, (text, model, namespace, store, modality, version) in zip(
        _ids(batch),
        vectors,
        _json(batch, "metadata"),
        timestamps.texts(batch.column("created_at")),
        _plain(batch, "score"),
        zip(*texts, strict=True),
        strict=True,
    ):
        yield {
            "id": identity,
            "text": text,
            "vector": vector,
            "model": model,
            "dims": None if vector is None else dims,
            "namespace": namespace,
            "metadata": document,
            "created_at": created,
            "source_store": store,
            "modality": modality or "text",
            "score": score,
            "vex_version": version or records.VMIG_VERSION,
        }


def _plain(batch: pa.RecordBatch, name: str) -> Sequence[Any]:
    column = batch.column(name)
    values: list[Any] = [None] * len(column) if column.null_count == len(column) else column.to_pylist()
    return values


def _json(batch: pa.RecordBatch, name: str) -> Sequence[Any]:
    column = records.storage(batch.column(name))
    if column.null_count == len(column):
        return [None] * len(column)
    return [None if text is None else orjson.Fragment(text) for text in column.to_pylist()]


def _ids(batch: pa.RecordBatch) -> Sequence[Any]:
    ids: list[str] = batch.column("id").to_pylist()
    if records.id_type(batch.schema) != "int":
        return ids
    # A stray text id in a stream of integers is corrected by its verbatim key in `extra`.
    whole = [identity.removeprefix("-").isdecimal() for identity in ids]
    return [orjson.Fragment(identity) if ok else identity for identity, ok in zip(ids, whole, strict=True)]


def _with_extra(line: bytes, extra: str) -> bytes:
    """The line with the members of `extra`: those of known keys replace what is there, the others follow at the end."""
    if not extra.startswith(_VERBATIM):
        return line[:-2] + b"," + extra[1:-1].encode() + b"}\n"
    own = {key: (written, value) for key, written, value in members(line.decode())}
    own.update({key: (written, value) for key, written, value in members(extra)})
    return ("{" + ",".join(f"{written}:{value}" for written, value in own.values()) + "}\n").encode()


def _not_finite(batch: pa.RecordBatch) -> list[Reject]:
    rejects = []
    column = batch.column("vector")
    matrix = records.matrix(column)
    if matrix.size and not np.isfinite(matrix).all():
        bad = ~np.isfinite(matrix).all(axis=1) & records.present(column)
        message = "the vector holds NaN or infinity, which JSON cannot hold"
        rejects = [Reject("vector-not-finite", message, row=row) for row in np.flatnonzero(bad).tolist()]
    scores = np.asarray(batch.column("score").fill_null(0.0))
    if not np.isfinite(scores).all():
        message = "the score is NaN or infinite, which JSON cannot hold"
        rows = set(np.flatnonzero(~np.isfinite(scores)).tolist()) - {reject.row for reject in rejects}
        rejects += [Reject("score-type", message, row=row) for row in sorted(rows)]
    return rejects


def line(batch: pa.RecordBatch, row: int) -> bytes:
    """The line of one record, without its LF, whatever it holds: a vector that JSON cannot hold is in the key
    `vector_base64`, as little-endian float32."""
    one = batch.slice(row, 1)
    encoded, rejects = lines(one)
    if not rejects:
        return encoded[0].rstrip(b"\n")
    raw = records.matrix(one.column("vector")).astype("<f4").tobytes()
    at = {name: one.schema.get_field_index(name) for name in ("vector", "score")}
    bare = one.set_column(at["vector"], one.schema.field("vector"), records.no_vectors(1, records.dim(one)))
    bare = bare.set_column(at["score"], one.schema.field("score"), pa.nulls(1, pa.float64()))
    text = lines(bare)[0][0].rstrip(b"\n")
    return text[:-1] + b',"vector_base64":"' + base64.b64encode(raw) + b'"}'
