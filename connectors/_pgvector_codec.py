"""The binary format of COPY: Arrow columns to its bytes, without a loop over rows. `_pgvector_decode` is the way back.

A row is the number of its fields (int16), then for each its length (int32, -1 for null) and its bytes, all big-endian
(https://www.postgresql.org/docs/current/sql-copy.html). Writing makes for every column an array of length prefixes and
an array of contents, and lets Arrow join them row by row: the data buffer of the result is the stream.

pgvector's own types on the wire: vector is int16 dimension, int16 0, float32s; halfvec the same with float16; sparsevec
is int32 dimension, int32 n, int32 0, n int32 indices from 0, n float32s (vector_send and so on in pgvector's source).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEADER = SIGNATURE + bytes(8)
TRAILER = b"\xff\xff"
JSONB = b"\x01"  # the version that every jsonb starts with
EPOCH = 946_684_800_000_000  # 2000-01-01, from which PostgreSQL counts microseconds
_NULL = b"\xff\xff\xff\xff"
_NOTHING = pa.scalar(b"", pa.binary())
Piece = Any  # an Arrow array or scalar of binary


# -- writing ----------------------------------------------------------------------------------------------------------


def stream(columns: Sequence[Sequence[Piece]], rows: int) -> list[Any]:
    """The buffers of a whole COPY input, from the pieces of every column."""
    if not rows:
        return [HEADER, TRAILER]
    head = pa.scalar(len(columns).to_bytes(2, "big"), pa.binary())
    pieces = _merged([head, *(piece for column in columns for piece in column)])
    if not any(isinstance(piece, pa.Array) for piece in pieces):
        pieces.append(pa.array([b""] * rows, pa.binary()))
    joined = pc.binary_join_element_wise(*pieces, _NOTHING, null_handling="replace", null_replacement="")
    return [HEADER, body(joined), TRAILER]


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Constant neighbours become one: every piece costs time in every row."""
    merged: list[Piece] = []
    for piece in pieces:
        if merged and isinstance(piece, pa.Scalar) and isinstance(merged[-1], pa.Scalar):
            merged[-1] = pa.scalar(merged[-1].as_py() + piece.as_py(), pa.binary())
        else:
            merged.append(piece)
    return merged


def texts(column: pa.Array, lead: bytes = b"") -> list[Piece]:
    """The pieces of a column of strings or bytes; `lead` comes before every value that is not null."""
    rows = len(column)
    if column.null_count == rows:
        return [pa.scalar(_NULL, pa.binary())]
    if (
        rows > 1
        and not column.null_count
        and column[0] == column[rows - 1]
        and pc.all(pc.equal(column, column[0])).as_py()
    ):
        value = column[0].as_py()
        value = lead + (value.encode() if isinstance(value, str) else value)
        return [pa.scalar(len(value).to_bytes(4, "big") + value, pa.binary())]
    lengths = pc.binary_length(column).fill_null(-1 - len(lead)).to_numpy(zero_copy_only=False)
    return [_prefixes(lengths.astype(np.int32) + len(lead), lead), column.cast(pa.binary())]


def _prefixes(lengths: NDArray[np.int32], lead: bytes) -> pa.Array:
    width = 4 + len(lead)
    whole = np.empty((len(lengths), width), np.uint8)
    whole[:, :4] = lengths.astype(">i4").view(np.uint8).reshape(-1, 4)
    whole[:, 4:] = np.frombuffer(lead, np.uint8)
    return _cut(whole, lengths >= 0)


def _cut(whole: NDArray[np.uint8], present: NDArray[np.bool_] | None) -> pa.Array:
    """Rows of bytes as a binary array; of rows that are not present only the length remains."""
    rows, width = whole.shape
    if present is None or present.all():
        return _binary(np.arange(rows + 1, dtype=np.int64) * width, whole)
    kept = np.ones(whole.shape, np.bool_)
    kept[~present, 4:] = False
    ends = np.concatenate([[0], np.cumsum(np.where(present, width, 4))])
    return _binary(ends, whole[kept])


def _binary(offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def fixed(values: NDArray[Any], kind: str, present: NDArray[np.bool_] | None = None) -> list[Piece]:
    """The pieces of numbers, of which `kind` is the big-endian numpy type."""
    if present is not None and not present.any():
        return [pa.scalar(_NULL, pa.binary())]
    size = np.dtype(kind).itemsize
    whole = np.empty((len(values), 4 + size), np.uint8)
    whole[:, :4] = np.frombuffer(size.to_bytes(4, "big"), np.uint8)
    whole[:, 4:] = values.astype(kind).view(np.uint8).reshape(-1, size)
    if present is not None:
        whole[~present, :4] = 0xFF
    return [_cut(whole, present)]


def floats(column: pa.Array) -> list[Piece]:
    """float64 as float8."""
    present = records.present(column)
    return fixed(column.fill_null(0.0).to_numpy(zero_copy_only=False), ">f8", present)


def moments(column: pa.Array) -> list[Piece]:
    """Timestamps in microseconds as timestamptz."""
    present = records.present(column)
    return fixed(column.cast(pa.int64()).fill_null(0).to_numpy() - EPOCH, ">i8", present)


def vectors(column: pa.FixedSizeListArray, kind: str = ">f4") -> list[Piece]:
    """A vector column as vector, or as halfvec with the kind ">f2"."""
    present = records.present(column)
    dim = column.type.list_size
    if not dim or not present.any():
        return [pa.scalar(_NULL, pa.binary())]
    size = np.dtype(kind).itemsize * dim
    whole = np.empty((len(column), 8 + size), np.uint8)
    head = (4 + size).to_bytes(4, "big") + dim.to_bytes(2, "big") + bytes(2)
    whole[:, :8] = np.frombuffer(head, np.uint8)
    with np.errstate(over="ignore"):  # beyond float16: the server refuses infinity
        whole[:, 8:].view(kind)[:] = records.matrix(column)
    if not present.all():
        whole[~present, :4] = 0xFF
    return [_cut(whole, present)]


def sparse(column: pa.StructArray, dim: int) -> list[Piece]:
    """A sparse column as sparsevec of `dim` dimensions; indices have to be ascending."""
    present = records.present(column)
    indices, values = (column.field(name) for name in ("indices", "values"))
    indices, values = (pc.if_else(column.is_valid(), part, pa.scalar(None, part.type)) for part in (indices, values))
    counts = pc.list_value_length(indices).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    head = np.empty((len(column), 4), ">i4")
    head[:, 0] = np.where(present, 12 + 8 * counts, -1)
    head[:, 1], head[:, 2], head[:, 3] = dim, counts, 0
    ends = 4 * np.concatenate([[0], np.cumsum(counts)])
    bodies = [
        _binary(ends, part.flatten().to_numpy(zero_copy_only=False).astype(kind).view(np.uint8))
        for part, kind in ((indices, ">u4"), (values, ">f4"))
    ]
    return [_cut(head.view(np.uint8), present), *bodies]


def multi(column: pa.ListArray, oid: int) -> list[Piece]:
    """Lists of vectors as an array of vector, whose type has the number `oid`."""
    present = records.present(column)
    dim = column.type.value_type.list_size
    counts = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    head = np.zeros((len(column), 6), ">i4")
    head[:, 0] = np.where(present, np.where(counts > 0, 20 + counts * (8 + 4 * dim), 12), -1)
    head[:, 1], head[:, 2], head[:, 3] = counts > 0, 0, oid
    head[:, 4], head[:, 5] = counts, 1
    widths = np.where(present, np.where(counts > 0, 24, 16), 4)
    kept = np.arange(24) < widths[:, None]
    heads = _binary(np.concatenate([[0], np.cumsum(widths)]), head.view(np.uint8)[kept])
    whole = np.empty((int(counts.sum()), 8 + 4 * dim), np.uint8)
    whole[:, :8] = np.frombuffer((4 + 4 * dim).to_bytes(4, "big") + dim.to_bytes(2, "big") + bytes(2), np.uint8)
    whole[:, 8:].view(">f4")[:] = records.matrix(column.flatten())
    return [heads, _binary(np.concatenate([[0], np.cumsum(counts)]) * (8 + 4 * dim), whole)]


def body(taken: pa.Array) -> memoryview:
    """All bytes of an array that was taken whole."""
    _, offsets, data = taken.buffers()
    if data is None or not len(taken):
        return memoryview(b"")
    start, end = (int(np.frombuffer(offsets, np.int32)[taken.offset + at]) for at in (0, len(taken)))
    return memoryview(data)[start:end]
