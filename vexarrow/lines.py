"""Canonical batches to their text form: a line of the interchange specification for every record."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records, sound, timestamps
from vexarrow.jsontext import members
from vexarrow.protocols import Reject

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)").fullmatch
_VERBATIM = ('{"id":', '{"created_at":', '{"dims":')


def lines(batch: pa.RecordBatch) -> tuple[list[bytes], list[Reject]]:
    """One line with its LF for every record, keys in the order of the specification, vectors as shortest float32 text.

    Records that JSON cannot hold (see `sound`) are rejects instead.
    """
    rejects = unfit(batch)
    return encode(sound.without(batch, rejects)), rejects


def unfit(batch: pa.RecordBatch) -> list[Reject]:
    """The records that JSON cannot hold (see `sound`)."""
    bad = {reject.row: reject for reject in (*sound.malformed(batch), *sound.unsound(batch))}
    return [bad[row] for row in sorted(bad, key=lambda row: row or 0)]


def encode(batch: pa.RecordBatch) -> list[bytes]:
    """One line with its LF for every record, all of which JSON has to be able to hold."""
    extras = records.storage(batch.column("extra"))
    encoded = [orjson.dumps(record, option=_OPTIONS) for record in _documents(batch)]
    if extras.null_count < len(extras):
        for at, extra in enumerate(extras.to_pylist()):
            if extra is not None and extra != "{}":
                encoded[at] = _with_extra(encoded[at], extra)
    return encoded


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
            "modality": "text" if modality is None else modality,
            "score": score,
            "vex_version": records.VMIG_VERSION if version is None else version,
        }


def _plain(batch: pa.RecordBatch, name: str) -> Sequence[Any]:
    column = batch.column(name)
    values: list[Any] = [None] * len(column) if column.null_count == len(column) else column.to_pylist()
    return values


def _json(batch: pa.RecordBatch, name: str) -> Sequence[Any]:
    column = records.storage(batch.column(name))
    if column.null_count == len(column):
        return [None] * len(column)
    if pc.any(pc.match_substring_regex(column, "[\\r\\n]")).as_py():
        # Outside of strings a line break is white space, and within them JSON has none.
        column = pc.replace_substring_regex(column, "[\\r\\n]", " ")
    return [None if text is None else orjson.Fragment(text) for text in column.to_pylist()]


def _ids(batch: pa.RecordBatch) -> Sequence[Any]:
    ids: list[str] = batch.column("id").to_pylist()
    if records.id_type(batch.schema) != "int":
        return ids
    # A stray text id in a stream of integers is corrected by its verbatim key in `extra`.
    whole = [_INTEGER(identity) for identity in ids]
    return [orjson.Fragment(identity) if ok else identity for identity, ok in zip(ids, whole, strict=True)]


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
