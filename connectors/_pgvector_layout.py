"""How a batch becomes the columns of a COPY into a table of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records
from vexarrow.protocols import Reject

from . import _pgvector_codec as codec
from ._pgvector_create import TYPES
from ._pgvector_json import inexact
from ._pgvector_roles import Roles
from ._pgvector_table import VERBATIM, Column, column_of

if TYPE_CHECKING:
    pass

_SPARSE_DIMENSIONS = 1_000_000_000
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
# As PostgreSQL writes them.
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Columns of text from which U+0000 is taken out; its place is in VERBATIM.
_CLEANED = ("text", "model", "source_store", "modality", "vex_version")
Encode = Callable[[pa.Array], list[Any]]


@dataclass(frozen=True)
class Prepared:
    """A batch as columns of the table: their names, their values, and how these are encoded."""

    names: tuple[str, ...]
    arrays: tuple[pa.Array, ...]
    encoders: tuple[Encode, ...]
    rows: tuple[int, ...] | range  # of the batch that was given

    def __len__(self) -> int:
        return len(self.rows)

    def stream(self, part: range) -> list[Any]:
        """The input of a COPY of some of the rows."""
        pairs = zip(self.encoders, self.arrays, strict=True)
        return codec.stream([encode(array.slice(part.start, len(part))) for encode, array in pairs], len(part))

    def sizes(self) -> list[int]:
        """About how many bytes every row takes."""
        total = np.full(len(self), 16 * len(self.names), np.int64)
        for array in self.arrays:
            if pa.types.is_string(array.type):
                total += pc.binary_length(array).fill_null(0).to_numpy(zero_copy_only=False)
            elif pa.types.is_fixed_size_list(array.type):
                total += 4 * array.type.list_size
            elif pa.types.is_list(array.type):
                total += (
                    pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
                    * 4
                    * array.type.value_type.list_size
                )
        return [int(size) for size in total]


def prepared(
    batch: pa.RecordBatch, roles: Roles, rows: Sequence[int], vector_oid: int
) -> tuple[Prepared, list[Reject]]:
    """A batch for a table of ours, and what the table cannot hold. `rows` are the rows' numbers, for the rejects."""
    rejects = _unfit(batch, roles.id_type)
    metadata = records.storage(batch.column("metadata"))
    lossy, malformed = inexact(metadata)
    rejects |= {row: ("malformed-json", "metadata is not JSON") for row in malformed if row not in rejects}
    rejects |= {row: why for name in _further(batch) if name.startswith("sparse:")
                for row, why in _bad_sparse(batch.column(name), roles.further[name]).items()}  # fmt: skip
    columns = {name: records.storage(batch.column(name)) for name in ("id", *TYPES) if name in batch.schema.names}
    columns[VERBATIM] = _verbatim(columns, lossy)
    if lossy:
        mask = np.zeros(len(batch), np.bool_)
        mask[lossy] = True
        columns["metadata"] = pc.if_else(pa.array(mask), pa.scalar(None, pa.string()), metadata)
    columns |= {name: batch.column(name) for name in _further(batch)}
    kept: Sequence[int] = rows
    if rejects:
        wanted = pa.array([row for row in range(len(batch)) if row not in rejects], pa.int64())
        columns = {name: column.take(wanted) for name, column in columns.items()}
        kept = [rows[row] for row in wanted.to_pylist()]
    found = [Reject(code, message, row=rows[row]) for row, (code, message) in sorted(rejects.items())]
    return _encoded(columns, roles, kept, vector_oid), found


def _encoded(columns: dict[str, pa.Array], roles: Roles, rows: Sequence[int], vector_oid: int) -> Prepared:
    assert roles.vector is not None  # noqa: S101 - the sink has seen to that
    encoders: dict[str, Encode] = {"id": _id_encoder(roles.id_type), "vector": _dense(roles.vector)}
    encoders |= {"metadata": lambda array: codec.texts(array, codec.JSONB), "score": codec.floats}
    encoders["created_at"] = codec.moments
    names = []
    for name in columns:
        kind, _, column = name.partition(":")
        names.append(roles.vector.name if name == "vector" else column or column_of(name))
        if kind == "vector" and column:
            encoders[name] = _dense(roles.further[name])
        elif kind == "sparse":
            dim = roles.further[name].dim or _SPARSE_DIMENSIONS
            encoders[name] = lambda array, dim=dim: codec.sparse(array, dim)  # type: ignore[misc]
        elif kind == "multi":
            encoders[name] = lambda array: codec.multi(array, vector_oid)
    chosen = tuple(encoders.get(name, codec.texts) for name in columns)
    return Prepared(tuple(names), tuple(columns.values()), chosen, tuple(rows))


def _dense(column: Column) -> Encode:
    kind = ">f2" if column.type == "halfvec" else ">f4"
    return lambda array: codec.vectors(array, kind)


def _id_encoder(kind: str) -> Encode:
    if kind == "int":
        return lambda array: codec.fixed(array.cast(pa.int64()).to_numpy(), ">i8")
    if kind == "uuid":
        return _uuids
    return codec.texts


def _uuids(array: pa.Array) -> list[Any]:
    whole = bytes.fromhex("".join(array.to_pylist()).replace("-", ""))
    return codec.fixed(np.frombuffer(whole, "V16"), "V16")


# -- what does not fit ------------------------------------------------------------------------------------------------


def _unfit(batch: pa.RecordBatch, id_type: str) -> dict[int, tuple[str, str]]:
    """Rows whose id or namespace the columns cannot hold."""
    found: dict[int, tuple[str, str]] = {}
    for name in ("id", "namespace"):
        for row in _with_zero(batch.column(name)):
            found[row] = ("zero-byte", f"PostgreSQL holds no U+0000, which is in the {name}")
    ids = batch.column("id")
    if id_type == "int":
        for row, value in enumerate(ids.to_pylist()):
            if not _INTEGER.fullmatch(value) or not -(2**63) <= int(value) < 2**63:
                found[row] = ("id-type", f"the table's ids are integers of 64 bits, not {value[:60]!r}")
    elif id_type == "uuid":
        fine = pc.match_substring_regex(ids, rf"\A{UUID.pattern}\z")
        if not pc.all(fine).as_py():
            for row in np.flatnonzero(~np.asarray(fine)).tolist():
                found[row] = ("id-type", f"the table's ids are UUIDs, not {ids[row].as_py()[:60]!r}")
    return found


def _with_zero(column: pa.Array) -> list[int]:
    """The rows of a column of strings that hold U+0000."""
    _, offsets, data = column.buffers()
    if column.null_count == len(column) or data is None:
        return []
    start, end = (int(np.frombuffer(offsets, np.int32)[column.offset + at]) for at in (0, len(column)))
    if np.frombuffer(data, np.uint8)[start:end].all():
        return []
    rows: list[int] = pc.indices_nonzero(pc.match_substring(column, "\0").fill_null(False)).to_pylist()
    return rows


def _verbatim(columns: dict[str, pa.Array], lossy: list[int]) -> pa.Array:
    """JSON of what the columns cannot hold; takes U+0000 out of the columns."""
    rows = len(columns["id"])
    kept: dict[int, dict[str, str]] = {row: {"metadata": columns["metadata"][row].as_py()} for row in lossy}
    for name in _CLEANED:
        zeros = _with_zero(columns[name])
        if zeros:
            for row in zeros:
                kept.setdefault(row, {})[name] = columns[name][row].as_py()
            columns[name] = pc.replace_substring(columns[name], "\0", "")
    if not kept:
        return pa.nulls(rows, pa.string())
    return pa.array(
        [json.dumps(kept[row], ensure_ascii=False) if row in kept else None for row in range(rows)], pa.string()
    )


def _bad_sparse(column: pa.StructArray, target: Column) -> dict[int, tuple[str, str]]:
    """Rows whose sparse vector sparsevec cannot hold: zeros, indices out of order or beyond its dimension."""
    dim = target.dim or _SPARSE_DIMENSIONS
    found = {}
    for row in range(len(column)):
        value = column[row]
        if value.is_valid:
            indices, values = (np.asarray(value[name].values) for name in ("indices", "values"))
            if (values == 0).any() or (np.diff(indices.astype(np.int64)) <= 0).any() or (indices >= dim).any():
                why = f"sparsevec holds no zeros, ascending indices, and {dim:,} dimensions"
                found[row] = ("sparse", why)
    return found


def _further(batch: pa.RecordBatch) -> list[str]:
    return [name for name in batch.schema.names if name.startswith(records.EXTRA_VECTORS)]
