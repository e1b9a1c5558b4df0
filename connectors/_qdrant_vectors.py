"""Vectors on the wire: `Vectors` messages of points, made from and read into Arrow columns without a Python float.

Vectors  one 1 (Vector) | named 2 (map<string, Vector> 1)
Vector   dense 101 (data 1) | sparse 102 (values 1, indices 2) | multi 103 (dense 1, ...); older servers: data 1, ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vexarrow import records

from . import _qdrant_exact as exact
from ._protobuf import from_varints, sized, varint, varints
from ._qdrant_schema import DENSE, SPARSE, Space
from ._qdrant_views import views

SPARSE_TYPE = pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))])
_POINT = b"\x22"  # field `vectors` of PointStruct
_NO_VECTOR = b"\x22\x02\x12\x00"
_DENSE, _SPARSE, _MULTI = b"\xaa\x06", b"\xb2\x06", b"\xba\x06"
_DATA = b"\x0a"

Bodies = list[bytes | None]
Texts = list[dict[str, str]]


# -- writing --------------------------------------------------------------------------------------------


def encoded(columns: Mapping[str, pa.Array], spaces: Sequence[Space], rows: int) -> tuple[list[bytes], list[Any]]:
    """The field `vectors` of every point, and what to keep of vectors that the collection would change, by the name of
    the vector there. `columns` are the vector columns of the record batch that have a space."""
    kept: list[dict[str, exact.Kept]] = [{} for _ in range(rows)]
    named = [(space, columns[space.column]) for space in spaces if space.column in columns]
    if len(named) == 1 and named[0][0].kind == DENSE and not named[0][0].name:
        return _unnamed(*named[0], kept), kept
    entries: list[list[bytes]] = [[] for _ in range(rows)]
    for space, column in named:
        name = sized(b"\x0a", space.name.encode())
        for row, body in enumerate(_bodies(space, column, kept)):
            if body is not None:
                entries[row].append(sized(b"\x0a", name + sized(b"\x12", body)))
    return [sized(_POINT, sized(b"\x12", b"".join(one))) for one in entries], kept


def _unnamed(space: Space, column: pa.Array, kept: list[dict[str, exact.Kept]]) -> list[bytes]:
    matrix, there = _matrix(space, column, kept)
    size = 4 * matrix.shape[1]
    head = b""
    for tag in (_DATA, _DENSE, _DATA, _POINT):
        head = tag + varint(size + len(head)) + head
    raw = matrix.tobytes()
    if there.all():
        return [head + raw[at : at + size] for at in range(0, len(raw), size)] if size else [_NO_VECTOR] * len(there)
    return [head + raw[row * size : (row + 1) * size] if is_there else _NO_VECTOR for row, is_there in enumerate(there)]


def _matrix(
    space: Space, column: pa.Array, kept: list[dict[str, exact.Kept]]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    matrix, there = records.matrix(column), records.present(column)
    if space.cosine and matrix.size:
        if not there.all():
            matrix = np.where(there[:, None], matrix, np.float32(0))
        matrix, changed = exact.at_length_one(matrix, space.datatype)
        for row, one in changed.items():
            kept[row][space.name] = one
    return np.ascontiguousarray(matrix, "<f4"), there


def _bodies(space: Space, column: pa.Array, kept: list[dict[str, exact.Kept]]) -> Bodies:
    """`Vector` messages, None for null."""
    if space.kind == DENSE:
        matrix, there = _matrix(space, column, kept)
        return [_dense(row.tobytes()) if is_there else None for row, is_there in zip(matrix, there, strict=True)]
    return _sparse(column) if space.kind == SPARSE else _multi(space, column, kept)


def _dense(data: bytes) -> bytes:
    return sized(_DENSE, sized(_DATA, data))


def _multi(space: Space, column: pa.Array, kept: list[dict[str, exact.Kept]]) -> Bodies:
    out: Bodies = []
    for row, there in enumerate(records.present(column)):
        matrix = records.matrix(column[row].values) if there else None
        if matrix is None:
            out.append(None)
            continue
        if space.cosine and matrix.size:
            sent, changed = exact.at_length_one(matrix, space.datatype)
            if changed:
                tied = exact.tie(sent, space.datatype)
                kept[row][space.name] = exact.Kept(0.0, exact.verbatim(matrix, tied))
            matrix = sent
        parts = [sized(_DATA, sized(_DATA, one.astype("<f4").tobytes())) for one in matrix]
        out.append(sized(_MULTI, b"".join(parts)))
    return out


def _sparse(column: pa.Array) -> Bodies:
    out: Bodies = []
    indices, values = column.field("indices"), column.field("values")
    for row, there in enumerate(records.present(column)):
        if not there:
            out.append(None)
            continue
        where, data = _floats(indices[row].values, "<u4"), _floats(values[row].values, "<f4")
        body = sized(_DATA, data.tobytes()) + sized(b"\x12", varints(where)) if data.size else b""
        out.append(sized(_SPARSE, body))
    return out


def _floats(values: pa.Array | None, kind: str) -> NDArray[Any]:
    return np.asarray(values if values is not None else (), dtype=kind)


# -- reading --------------------------------------------------------------------------------------------


def decoded(raws: Sequence[bytes], spaces: Sequence[Space], kept: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    """The vector columns of a page, from the field `vectors` of its points and what was kept beside them."""
    if len(spaces) == 1 and spaces[0].kind == DENSE and not spaces[0].name:
        matrix = _uniform(raws, spaces[0].dim or 0)
        if matrix is not None:
            texts = [one.get(spaces[0].name) for one in kept]
            return {spaces[0].column: records.from_matrix(exact.restore(matrix, texts))}
    found = [_by_name(raw) for raw in raws]
    return {space.column: _READERS[space.kind](space, [one.get(space.name) for one in found], kept) for space in spaces}


def _uniform(raws: Sequence[bytes], dim: int) -> NDArray[np.float32] | None:
    """The vectors of a page where each point has one, and all are written alike; None for any other page."""
    size, length = 4 * dim, len(raws[0]) if raws else 0
    if not dim or length <= size or any(len(raw) != length for raw in raws):
        return None
    first = _by_name(raws[0]).get("")
    if first is None or _dense_data(first) != raws[0][-size:]:
        return None
    table = np.frombuffer(b"".join(raws), np.uint8).reshape(len(raws), length)
    heads = table[:, : length - size]
    if not (heads == heads[0]).all():
        return None
    return np.ascontiguousarray(table[:, length - size :]).view("<f4")


def _by_name(raw: bytes) -> Mapping[str, Any]:
    """`views().Vector` messages by the name of their vector, "" for the one without a name."""
    if not raw:
        return {}
    vectors = views().Vectors.FromString(raw)
    if vectors.HasField("one"):
        return {"": vectors.one}
    return dict(vectors.named.vectors.items())


def _dense_data(vector: Any) -> bytes:
    data: bytes = vector.dense.data if vector.HasField("dense") else vector.data
    return data


def _read_dense(space: Space, found: list[Any], kept: Sequence[Mapping[str, Any]]) -> pa.Array:
    size = 4 * (space.dim or 0)
    data = [_dense_data(vector) if vector is not None else b"" for vector in found]
    valid = np.array([len(one) == size and size > 0 for one in data], bool)
    if not valid.any():
        return records.no_vectors(len(found), space.dim or 0)
    blank = bytes(size)
    raw = b"".join(one if is_there else blank for one, is_there in zip(data, valid, strict=True))
    matrix = np.frombuffer(raw, "<f4").reshape(len(found), space.dim or 0)
    texts = [one.get(space.name) if is_there else None for one, is_there in zip(kept, valid, strict=True)]
    return records.from_matrix(exact.restore(matrix, texts), valid)


def _read_multi(space: Space, found: list[Any], kept: Sequence[Mapping[str, Any]]) -> pa.Array:
    dim = space.dim or 1
    offsets, data, mask = [0], [], []
    for vector, texts in zip(found, kept, strict=True):
        raw = b"" if vector is None else _multi_data(vector)
        data.append(exact.restored(raw, texts.get(space.name)))
        mask.append(vector is None)
        offsets.append(offsets[-1] + len(raw) // (4 * dim))
    matrix = np.frombuffer(b"".join(data), "<f4").reshape(-1, dim)
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), records.from_matrix(matrix), mask=pa.array(mask, pa.bool_())
    )


def _multi_data(vector: Any) -> bytes:
    return b"".join(one.data for one in vector.multi.vectors) if vector.HasField("multi") else bytes(vector.data)


def _read_sparse(space: Space, found: list[Any], kept: Sequence[Mapping[str, Any]]) -> pa.Array:
    indices, values, mask = [], [], []
    for vector in found:
        data = b"" if vector is None else vector.sparse.values if vector.HasField("sparse") else vector.data
        where = b"" if vector is None else vector.sparse.indices if vector.HasField("sparse") else vector.indices.data
        values.append(np.frombuffer(data, "<f4"))
        indices.append(from_varints(where))
        mask.append(vector is None)
    columns = [_lists(indices, pa.uint32()), _lists(values, pa.float32())]
    return pa.StructArray.from_arrays(columns, fields=list(SPARSE_TYPE), mask=pa.array(mask, pa.bool_()))


def _lists(arrays: list[NDArray[Any]], kind: pa.DataType) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in arrays])]).astype(np.int32)
    flat = np.concatenate(arrays) if arrays else np.empty(0)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.astype(kind.to_pandas_dtype()), kind))


_READERS: dict[str, Callable[[Space, list[Any], Sequence[Mapping[str, Any]]], pa.Array]] = {
    DENSE: _read_dense,
    SPARSE: _read_sparse,
    "multi": _read_multi,
}
