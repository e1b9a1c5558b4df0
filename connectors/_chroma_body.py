"""The bodies of requests and answers: vectors go as base64 of their bytes, and come back as JSON numbers that are
parsed into a buffer. None of them becomes Python floats."""

from __future__ import annotations

import binascii
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import simdjson

from vexarrow.errors import DataError

from ._chroma_store import Raw, Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BETWEEN = np.frombuffer(b'","', dtype=np.uint8)
_VECTORS = b'"embeddings":[['
_AFTER = b']],"documents":'  # as today's servers write it: found faster, from the end
_PARSERS = threading.local()


def encoded(rows: Rows, *, base64: bool) -> bytes:
    """The body of an upsert."""
    vectors = texts(rows.matrix) if base64 else orjson.dumps(rows.matrix, option=orjson.OPT_SERIALIZE_NUMPY)
    rest = {"documents": rows.documents, "metadatas": rows.metadatas, "uris": rows.uris}
    return b"".join((b'{"ids":', orjson.dumps(rows.ids), b',"embeddings":', vectors, b",", orjson.dumps(rest)[1:]))


def texts(matrix: NDArray[np.float32]) -> bytes:
    """A JSON array with the base64 of each row's bytes, little-endian; all rows are encoded at once."""
    rows, length = matrix.shape[0], 4 * matrix.shape[1]
    if not rows or not length:
        return b"[" + b",".join([b'""'] * rows) + b"]"
    data = np.ascontiguousarray(matrix, dtype="<f4").view(np.uint8).reshape(rows, length)
    missing = -length % 3
    if missing:  # base64 takes three bytes at a time: fill up every row, then say so by "="
        data = np.concatenate((data, np.zeros((rows, missing), dtype=np.uint8)), axis=1)
    text = np.frombuffer(binascii.b2a_base64(data.data, newline=False), dtype=np.uint8).reshape(rows, -1)
    out = np.empty((rows, text.shape[1] + 3), dtype=np.uint8)
    out[:, :-3] = text
    out[:, -3:] = _BETWEEN
    if missing:
        out[:, -3 - missing : -3] = ord("=")
    return b'["' + out.tobytes()[:-2] + b"]"


def decoded(answer: bytes, place: str) -> Raw:
    """The records of an answer to `get`. Raises DataError when it is none."""
    start = answer.find(_VECTORS) + len(_VECTORS) - 2
    stop = (answer.rfind(_AFTER, start) + 1 or answer.find(b"]]", start) + 1) + 1
    try:
        if start < len(_VECTORS) - 2 or stop < 2:
            # No record has a vector, or the server writes JSON with white space.
            found = orjson.loads(answer)
            matrix, bad = _matrix(orjson.dumps(found.get("embeddings") or []), len(found["ids"]))
        else:
            # A quote in a string is escaped, so the mark cannot be a part of an id or of a text.
            found = orjson.loads(b"".join((answer[:start], b"null", answer[stop:])))
            matrix, bad = _matrix(answer[start:stop], len(found["ids"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, RuntimeError):
        raise DataError(f"{place}: the answer of the server is not what Chroma answers") from None
    nothing: Sequence[Any] = [None] * len(found["ids"])
    return Raw(
        found["ids"],
        matrix,
        found.get("documents") or nothing,
        found.get("metadatas") or nothing,
        found.get("uris"),
        bad,
    )


def _matrix(text: bytes, rows: int) -> tuple[NDArray[np.float32], list[int]]:
    """The numbers of an array of arrays, and the rows that hold something else, which are zeros."""
    if not rows:
        return np.zeros((0, 0), dtype=np.float32), []
    vectors = _parser().parse(text)
    try:
        flat = np.frombuffer(vectors.as_buffer(of_type="d"), dtype=np.float64)
    except (TypeError, ValueError):
        return _row_by_row(orjson.loads(text))
    if flat.size % rows:
        raise ValueError("vectors of several lengths")
    with np.errstate(over="ignore"):
        return flat.reshape(rows, -1).astype(np.float32), []


def _parser() -> Any:
    """A parser of this thread: a new one takes as long to get its memory as to parse."""
    found: Any = getattr(_PARSERS, "parser", None)
    if found is None:
        found = _PARSERS.parser = simdjson.Parser()
    return found


def _row_by_row(vectors: Sequence[Sequence[Any] | None]) -> tuple[NDArray[np.float32], list[int]]:
    """For answers with null among the numbers, which is how NaN and infinity are written."""
    dim = max((len(one) for one in vectors if one), default=0)
    matrix = np.zeros((len(vectors), dim), dtype=np.float32)
    bad = [row for row, one in enumerate(vectors) if not one or len(one) != dim or None in one]
    for row in sorted(set(range(len(vectors))) - set(bad)):
        matrix[row] = vectors[row]
    return matrix, bad
