"""Vector columns of any Arrow type as float32 matrices, one a dimension, by arithmetic on offsets: no Python floats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]

_DTYPES = {
    pa.float16(): "<f2",
    pa.float32(): "<f4",
    pa.float64(): "<f8",
    pa.int8(): "i1",
    pa.uint8(): "u1",
    pa.int16(): "<i2",
    pa.uint16(): "<u2",
    pa.int32(): "<i4",
    pa.int64(): "<i8",
}


class Piece(NamedTuple):
    """Rows that share a dimension: their positions in the column, an (n, d) float32 matrix, and which of them have a
    vector (None for all). The matrix of rows that have none is undefined."""

    rows: Rows
    matrix: NDArray[np.float32]
    valid: NDArray[np.bool_] | None


class Fault(NamedTuple):
    """A row whose vector cannot be read."""

    row: int
    code: str
    message: str


@dataclass(frozen=True)
class _Lists:
    """A list column as numpy: row i is `flat[starts[i] : starts[i] + lengths[i]]`, `unit` elements a component."""

    flat: NDArray[Any]
    starts: Rows
    lengths: Rows
    valid: NDArray[np.bool_]
    holes: NDArray[np.bool_] | None
    unit: int = 1


def is_float_list(kind: pa.DataType) -> bool:
    """True for a (large, fixed-size) list of float16, float32 or float64."""
    return _is_list(kind) and pa.types.is_floating(kind.value_type)


def is_readable(kind: pa.DataType) -> bool:
    """True for what `pieces` reads: lists of numbers, and binary that holds little-endian float32."""
    return (_is_list(kind) and kind.value_type in _DTYPES) or _is_bytes(kind)


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def length_of(column: pa.Array) -> int | None:
    """The dimension of the first vector in a column, None when it holds none."""
    lists = _lists(column)
    full = np.flatnonzero(lists.valid & (lists.lengths > 0))
    return int(lists.lengths[full[0]]) // lists.unit if len(full) else None


def pieces(column: pa.Array, keep: Rows | None = None) -> tuple[list[Piece], list[Fault]]:
    """The rows `keep` (None for all) of a vector column by dimension, and the rows that cannot be read.

    Pieces come in the order in which their dimensions first occur; rows without a vector are in the first one. A column
    without nulls and of one dimension is not copied when it holds float32.
    """
    lists = _lists(column)
    rows = np.arange(len(column), dtype=np.int64) if keep is None else keep
    faults: list[Fault] = []
    rows = _without(rows, _malformed(lists, rows), faults)
    if pa.types.is_fixed_size_list(column.type):
        groups = [(column.type.list_size, rows)] if len(rows) else []
    else:
        groups = _by_dimension(lists, rows)
    found = []
    for dim, members in groups:
        piece = _piece(lists, members, dim, faults)
        if len(piece.rows):
            found.append(piece)
    return found, sorted(faults)


def _without(rows: Rows, bad: list[Fault], faults: list[Fault]) -> Rows:
    if not bad:
        return rows
    faults.extend(bad)
    return rows[~np.isin(rows, [fault.row for fault in bad])]


def _malformed(lists: _Lists, rows: Rows) -> list[Fault]:
    """Empty vectors, nulls within a vector, and bytes that are no whole number of float32."""
    valid, lengths = lists.valid[rows], lists.lengths[rows]
    faults = [Fault(int(row), "empty-vector", "the vector is empty") for row in rows[valid & (lengths == 0)]]
    if lists.holes is not None:
        inside = rows[valid & lists.holes[rows]]
        faults += [Fault(int(row), "vector-null", "the vector holds a null component") for row in inside]
    if lists.unit > 1:
        for row in rows[valid & (lengths % lists.unit != 0)]:
            size = int(lists.lengths[row])
            faults.append(Fault(int(row), "vector-bytes", f"{size} bytes are no whole number of float32"))
    return faults


def _by_dimension(lists: _Lists, rows: Rows) -> list[tuple[int, Rows]]:
    """(dimension, its rows) in order of first occurrence; rows without a vector join the first."""
    dims = np.where(lists.valid[rows], lists.lengths[rows] // lists.unit, -1)
    known, first = np.unique(dims, return_index=True)
    order = [int(known[i]) for i in np.argsort(first) if known[i] >= 0]
    if not order:
        return [(0, rows)] if len(rows) else []
    dims[dims < 0] = order[0]
    return [(dim, rows[dims == dim]) for dim in order]


def _piece(lists: _Lists, rows: Rows, dim: int, faults: list[Fault]) -> Piece:
    valid = lists.valid[rows]
    raw = _gather(lists, rows, valid, dim)
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = raw if raw.dtype == np.float32 else raw.astype(np.float32)
        # A sum is finite only if every part is, and costs a fifth of looking at each.
        clean = bool(np.isfinite(matrix.sum(dtype=np.float32)))
    bad = [] if clean else _not_finite(raw, matrix, rows, valid)
    if bad:
        faults.extend(bad)
        good = ~np.isin(rows, [fault.row for fault in bad])
        rows, matrix, valid = rows[good], matrix[good], valid[good]
    return Piece(rows, matrix, None if valid.all() else valid)


def _not_finite(raw: Any, matrix: Any, rows: Rows, valid: NDArray[np.bool_]) -> list[Fault]:
    faults = []
    for at in np.flatnonzero(valid & ~np.isfinite(matrix).all(axis=1)):
        if np.isfinite(raw[at]).all():
            worst = raw[at][np.argmax(np.abs(raw[at]))]
            faults.append(Fault(int(rows[at]), "vector-overflow", f"{worst!s} does not fit a float32"))
        else:
            faults.append(Fault(int(rows[at]), "vector-not-finite", "the vector holds NaN or infinity"))
    return faults


def _gather(lists: _Lists, rows: Rows, valid: NDArray[np.bool_], dim: int) -> NDArray[Any]:
    """The rows as a (n, dim) matrix; a view of the column where they lie one after the other."""
    width = dim * lists.unit
    starts = lists.starts[rows]
    if not len(rows) or not width:
        return np.zeros((len(rows), dim), dtype=np.float32)
    regular = (np.diff(starts) == width).all() and starts[0] + len(rows) * width <= len(lists.flat)
    if regular and (valid.all() or (lists.lengths[rows] == width).all()):
        taken = lists.flat[starts[0] : starts[0] + len(rows) * width].reshape(len(rows), width)
    else:
        taken = np.zeros((len(rows), width), dtype=lists.flat.dtype)
        if valid.any():
            taken[valid] = np.lib.stride_tricks.sliding_window_view(lists.flat, width)[starts[valid]]
    return np.require(taken.view("<f4"), requirements=["A", "C"]) if lists.unit > 1 else taken


def _lists(column: pa.Array) -> _Lists:
    kind = column.type
    valid = np.asarray(column.is_valid())
    if _is_bytes(kind):
        return _byte_lists(column, valid)
    if pa.types.is_fixed_size_list(kind):
        starts = (column.offset + np.arange(len(column), dtype=np.int64)) * kind.list_size
        lengths = np.full(len(column), kind.list_size, dtype=np.int64)
    else:
        offsets = column.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
        starts, lengths = offsets[:-1], np.diff(offsets)
    child = column.values
    return _Lists(_numpy(child), starts, lengths, valid, _holes(child, starts, lengths))


def _numpy(child: pa.Array) -> NDArray[Any]:
    """The values of a numeric array, undefined where null, without a copy."""
    dtype = np.dtype(_DTYPES[child.type])
    data = child.buffers()[1]
    if data is None or not len(child):
        return np.zeros(len(child), dtype=dtype)
    return np.frombuffer(data, dtype=dtype, count=len(child), offset=child.offset * dtype.itemsize)


def _holes(child: pa.Array, starts: Rows, lengths: Rows) -> NDArray[np.bool_] | None:
    """Which lists hold a null component; None when none does."""
    if not child.null_count:
        return None
    nulls = np.concatenate([[0], np.cumsum(np.asarray(child.is_null()), dtype=np.int64)])
    holes: NDArray[np.bool_] = nulls[starts + lengths] > nulls[starts]
    return holes if holes.any() else None


def _byte_lists(column: pa.Array, valid: NDArray[np.bool_]) -> _Lists:
    """Binary values as lists of bytes, four a component."""
    rows = len(column)
    if pa.types.is_fixed_size_binary(column.type):
        width = column.type.byte_width
        starts = (column.offset + np.arange(rows, dtype=np.int64)) * width
        lengths, data = np.full(rows, width, dtype=np.int64), column.buffers()[1]
    else:
        wide = "<i8" if pa.types.is_large_binary(column.type) else "<i4"
        bounds = np.frombuffer(column.buffers()[1], dtype=wide)[column.offset : column.offset + rows + 1]
        starts, lengths = bounds[:-1].astype(np.int64), np.diff(bounds).astype(np.int64)
        data = column.buffers()[2]
    flat = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)
    return _Lists(flat, starts, lengths, valid, None, unit=4)


def text_of(column: pa.Array, row: int) -> str:
    """One vector as JSON text for a reject file; NaN, Infinity and null stand as they are, to be mended by hand."""
    lists = _lists(column)
    if not lists.valid[row]:
        return "null"
    values = lists.flat[lists.starts[row] : lists.starts[row] + lists.lengths[row]]
    if lists.unit > 1:
        values = np.frombuffer(values.tobytes()[: len(values) // 4 * 4], dtype="<f4")
    if not len(values):
        return "[]"
    words = values.astype(str)
    words[words == "nan"] = "NaN"
    words = np.char.replace(words, "inf", "Infinity")
    if lists.holes is not None and lists.holes[row]:
        start = int(lists.starts[row])
        gaps = np.asarray(column.values.slice(start, len(values)).is_null())
        words = np.where(gaps, "null", words)
    return "[" + ",".join(words) + "]"
