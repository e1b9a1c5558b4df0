"""Vectors of objects, from their bytes to columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vexarrow import records
from vexarrow.errors import SchemaError

from ._weaviate_schema import Layout


class Vectors:
    """The vectors of some objects, as bytes until they are a matrix."""

    def __init__(self, results: Sequence[Any], main: str, layout: Layout, dims: Mapping[str, int]) -> None:
        self._dims = dims
        metas = [one.metadata for one in results]
        named = [{one.name: one for one in meta.vectors} for meta in metas] if layout.vectors else []
        plain = [meta.vector_bytes for meta in metas] if layout.unnamed else []
        self._main = [_bytes(one, main) for one in named] if main else plain
        self._further: dict[str, list[bytes]] = {}
        if main and any(plain):
            self._further["vector:unnamed"] = plain
        for name, multi in sorted(layout.vectors.items()):
            if name != main:
                column = f"multi:{name}" if multi else f"vector:{name}"
                self._further[column] = [_bytes(one, name) for one in named]

    def by_dimension(self) -> list[tuple[int, list[int] | None]]:
        """Each dimension with its rows, None for all; those without a vector are with the first."""
        lengths = [len(data) // 4 for data in self._main]
        dims = sorted(set(lengths) - {0})
        if len(dims) < 2:
            return [(dims[0] if dims else 0, None)]
        first = {dims[0], 0}
        return [
            (dim, [row for row, length in enumerate(lengths) if length == dim or (dim == dims[0] and length in first)])
            for dim in dims
        ]

    def matrix(self, dim: int, at: Sequence[int] | None) -> pa.FixedSizeListArray:
        """The vectors of these rows."""
        return _matrix([self._main[row] for row in at] if at is not None else self._main, dim)

    def further(self, at: Sequence[int] | None) -> dict[str, pa.Array]:
        """The further vector columns of these rows."""
        found = {}
        for name, every in self._further.items():
            data = every if at is None else [every[row] for row in at]
            dim = _dim(data, multi=name.startswith("multi:")) or self._dims.get(name, 0)
            found[name] = _multi(data, dim) if name.startswith("multi:") else _matrix(data, dim)
        return found


def _bytes(vectors: Mapping[str, Any], name: str) -> bytes:
    found = vectors.get(name)
    data: bytes = b"" if found is None else found.vector_bytes
    return data


def _dim(data: Sequence[bytes], *, multi: bool = False) -> int:
    first = next((one for one in data if one), b"")
    return int.from_bytes(first[:2], "little") if multi else len(first) // 4


def _matrix(data: Sequence[bytes], dim: int) -> pa.FixedSizeListArray:
    """Vectors as a column: all of one length, or empty for null. Raises SchemaError for others."""
    if not dim:
        return records.no_vectors(len(data))
    valid = np.array([bool(one) for one in data])
    filler = bytes(4 * dim)
    if set(map(len, data)) - {0, 4 * dim}:
        raise SchemaError("further vectors of several dimensions have one name")
    flat = np.frombuffer(b"".join([one or filler for one in data]), "<f4")
    return records.from_matrix(flat.reshape(len(data), dim), valid)


def _multi(data: Sequence[bytes], dim: int) -> pa.Array:
    """Multi-vectors: two bytes of dimension, then the vectors one after the other; empty for null."""
    counts = [(len(one) - 2) // (4 * dim) if one and dim else 0 for one in data]
    flat = np.frombuffer(b"".join([one[2:] for one in data]), "<f4").reshape(sum(counts), dim)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    missing = pa.array([not one for one in data])
    return pa.ListArray.from_arrays(offsets, records.from_matrix(flat), mask=missing)
