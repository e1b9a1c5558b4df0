"""The record batch that everything travels in, and the only place that touches Arrow buffers of vectors.

A canonical batch has the columns of `BASE_FIELDS` in this order, `vector` after `text`, then any further vectors as
`vector:<name>`, `sparse:<name>` or `multi:<name>`. All rows of a batch share one dimension d; d = 0 means that no row
of the batch has a vector. What ids were before they travelled as text is in the schema metadata (`id_type`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from vexarrow.errors import SchemaError, Unsupported

if TYPE_CHECKING:
    from numpy.typing import NDArray

VMIG_VERSION = "1.0.0"
ID_TYPES = ("string", "int", "uuid")
ID_TYPE_KEY = b"vex.id_type"
JSON = pa.json_(pa.string())
TIMESTAMP = pa.timestamp("us", tz="UTC")

BASE_FIELDS: tuple[pa.Field, ...] = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("text", pa.string()),
    pa.field("model", pa.string()),
    pa.field("namespace", pa.string()),
    pa.field("metadata", JSON),
    pa.field("created_at", TIMESTAMP),
    pa.field("score", pa.float64()),
    pa.field("source_store", pa.string()),
    pa.field("modality", pa.string()),
    pa.field("vex_version", pa.string()),
    pa.field("extra", JSON),
)
BASE_NAMES = tuple(field.name for field in BASE_FIELDS)
VECTOR_AT = 2
EXTRA_VECTORS = ("vector:", "sparse:", "multi:")


def vector_type(dim: int) -> pa.DataType:
    """fixed_size_list<float32>[dim]."""
    return pa.list_(pa.float32(), dim)


def schema(dim: int, *, id_type: str = "string", more: Sequence[pa.Field] = ()) -> pa.Schema:
    """The canonical schema for vectors of length `dim`, with further vector fields `more` at its end."""
    if id_type not in ID_TYPES:
        raise SchemaError(f"id type {id_type!r} is not one of {', '.join(ID_TYPES)}")
    fields = list(BASE_FIELDS)
    fields.insert(VECTOR_AT, pa.field("vector", vector_type(dim)))
    return pa.schema([*fields, *more], metadata={ID_TYPE_KEY: id_type.encode()})


def id_type(of: pa.Schema) -> str:
    """What the ids were before they became text: one of ID_TYPES."""
    value = (of.metadata or {}).get(ID_TYPE_KEY, b"string").decode()
    return value if value in ID_TYPES else "string"


def dim(batch: pa.RecordBatch | pa.Schema) -> int:
    """The length of the vectors of the `vector` column; 0 when no row has one."""
    of = batch if isinstance(batch, pa.Schema) else batch.schema
    return int(of.field("vector").type.list_size)


def build(
    columns: Mapping[str, Any],
    vector: pa.FixedSizeListArray | NDArray[np.float32] | None = None,
    *,
    id_type: str = "string",
    more: Mapping[str, pa.Array] | None = None,
) -> pa.RecordBatch:
    """Make a canonical batch of n rows.

    `columns`: base columns by name, as Arrow arrays or Python sequences; the ones left out are null. `vector`: an
    Arrow array, an (n, d) float32 matrix, or None. Raises SchemaError for an unknown column or unequal lengths.
    """
    unknown = set(columns) - set(BASE_NAMES)
    if unknown:
        raise SchemaError(f"unknown columns: {', '.join(sorted(unknown))}")
    rows = len(columns["id"])
    arrays = [_column(columns.get(field.name), field, rows) for field in BASE_FIELDS]
    if vector is None:
        column = no_vectors(rows)
    else:
        column = from_matrix(vector) if isinstance(vector, np.ndarray) else vector
    arrays.insert(VECTOR_AT, column)
    fields = [pa.field(name, array.type) for name, array in (more or {}).items()]
    arrays.extend((more or {}).values())
    if any(len(array) != rows for array in arrays):
        raise SchemaError(f"columns of unequal length: {[len(array) for array in arrays]}")
    return pa.RecordBatch.from_arrays(arrays, schema=schema(column.type.list_size, id_type=id_type, more=fields))


def _column(values: Any, field: pa.Field, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, field.type)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if not isinstance(values, pa.Array):
        return json_array(values) if field.type == JSON else pa.array(values, type=field.type)
    if field.type == JSON:
        return values if values.type == JSON else json_array(values)
    return values if values.type == field.type else values.cast(field.type)


def json_array(texts: Any) -> pa.Array:
    """JSON texts (a sequence of str or None, or a string array) as an arrow.json array; nothing is parsed."""
    storage = texts if isinstance(texts, pa.Array) else pa.array(texts, type=pa.string())
    if storage.type != pa.string():
        storage = storage.cast(pa.string())
    return pa.ExtensionArray.from_storage(JSON, storage)


def storage(column: pa.Array) -> pa.Array:
    """The plain string array below an arrow.json column; other arrays as they are."""
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its JSON columns as plain strings, for engines that do not know arrow.json. Zero-copy."""
    names = batch.schema.names
    arrays = [storage(batch.column(i)) for i in range(len(names))]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def empty(dim: int = 0, *, id_type: str = "string") -> pa.RecordBatch:
    """A canonical batch without rows."""
    return pa.RecordBatch.from_pylist([], schema=schema(dim, id_type=id_type))


# -- vectors --------------------------------------------------------------------------------------------


def matrix(column: pa.FixedSizeListArray | pa.ChunkedArray) -> NDArray[np.float32]:
    """The (n, d) float32 matrix below a vector column, read-only and without a copy.

    Rows that are null are there too, with undefined content: see `present`. A ChunkedArray of one chunk is not copied
    either; of more it is concatenated first. Raises SchemaError for another type or for nulls inside a vector.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if not (pa.types.is_fixed_size_list(column.type) and column.type.value_type == pa.float32()):
        raise SchemaError(f"vectors have to be fixed_size_list<float32>, not {column.type}")
    length = column.type.list_size
    # .values ignores the slice's offset and .flatten() drops null rows: take the child and slice it ourselves.
    child = column.values.slice(column.offset * length, len(column) * length)
    if child.null_count and _null_inside(column, child, length):
        raise SchemaError("a vector holds a null component")
    data = child.buffers()[1]
    if data is None or not len(child):
        return np.zeros((len(column), length), dtype=np.float32)
    flat = np.frombuffer(data, dtype=np.float32, count=len(child), offset=4 * child.offset)
    flat.flags.writeable = False
    return flat.reshape(len(column), length)


def _null_inside(column: pa.FixedSizeListArray, child: pa.Array, length: int) -> bool:
    holes = ~child.is_valid().to_numpy(zero_copy_only=False).reshape(len(column), length).all(axis=1)
    return bool((holes & present(column)).any())


def present(column: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """Which rows have a value, as n booleans."""
    mask: NDArray[np.bool_] = np.asarray(column.is_valid())
    return mask


def from_matrix(values: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> pa.FixedSizeListArray:
    """The inverse of `matrix`: an (n, d) matrix as a vector column; not copied when contiguous float32.

    Rows where `valid` is False become null.
    """
    if values.ndim != 2:
        raise SchemaError(f"a matrix of vectors has two dimensions, not {values.ndim}")
    rows, length = values.shape
    data = np.ascontiguousarray(values, dtype=np.float32)
    child = pa.Array.from_buffers(pa.float32(), rows * length, [None, pa.py_buffer(data)])
    bitmap, nulls = None, 0
    if valid is not None and not valid.all():
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
        nulls = int(rows - valid.sum())
    return pa.FixedSizeListArray.from_buffers(vector_type(length), rows, [bitmap], null_count=nulls, children=[child])


def no_vectors(rows: int, dim: int = 0) -> pa.FixedSizeListArray:
    """A vector column of `rows` nulls."""
    return pa.nulls(rows, vector_type(dim))


def with_dim(batch: pa.RecordBatch, length: int) -> pa.RecordBatch:
    """A batch without any vector (d = 0) as one of dimension `length`; a batch of that dimension unchanged.

    Raises SchemaError when the batch holds vectors of another dimension.
    """
    if dim(batch) == length:
        return batch
    if dim(batch) != 0:
        raise SchemaError(f"vectors have {dim(batch)} dimensions, not {length}")
    at = batch.schema.get_field_index("vector")
    nulls = no_vectors(batch.num_rows, length)
    changed: pa.RecordBatch = batch.set_column(at, pa.field("vector", nulls.type), nulls)
    return changed


def first_vector_only(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without its further vector columns."""
    kept: pa.RecordBatch = batch.select([n for n in batch.schema.names if not n.startswith(EXTRA_VECTORS)])
    return kept


def refuse_further(batch: pa.RecordBatch, place: str) -> None:
    """Raise Unsupported when the batch has further vector columns, for a place that can hold one vector a record."""
    further = [name for name in batch.schema.names if name.startswith(EXTRA_VECTORS)]
    if further:
        names = ", ".join(further)
        raise Unsupported(f"{place} holds one vector a record and no {names}; --drop-vectors leaves these out")


# -- ids ------------------------------------------------------------------------------------------------


def with_id_type(batch: pa.RecordBatch, kind: str) -> pa.RecordBatch:
    """The same records in a stream whose ids are of `kind`; nothing is lost when kinds are mixed.

    A record whose id is of another kind carries its JSON form in `extra` under "id" (see `Verbatim keys` in the format
    documentation); an integer id in a text stream becomes `"id": 5` there.
    """
    was = id_type(batch.schema)
    if was == kind or not batch.num_rows:
        return batch.replace_schema_metadata({**(batch.schema.metadata or {}), ID_TYPE_KEY: kind.encode()})
    ids = batch.column("id").to_pylist()
    extras = storage(batch.column("extra")).to_pylist()
    marked = [_marked(key, extra, was, kind) for key, extra in zip(ids, extras, strict=True)]
    at = batch.schema.get_field_index("extra")
    changed = batch.set_column(at, batch.schema.field(at), json_array(marked))
    return changed.replace_schema_metadata({**(batch.schema.metadata or {}), ID_TYPE_KEY: kind.encode()})


def without_id_mark(extra: str | None) -> tuple[str | None, str | None]:
    """`extra` without a verbatim "id" as its first key, None if nothing else is left; and that id as it is written."""
    if extra is None or not extra.startswith('{"id":'):
        return extra, None
    from vexarrow.jsontext import members

    (_, _, mark), *rest = members(extra)
    return "{" + ",".join(f"{key}:{value}" for _, key, value in rest) + "}" if rest else None, mark


def _marked(key: str, extra: str | None, was: str, kind: str) -> str | None:
    """`extra` with the id in its JSON form as first key where that is not what the ids of its stream are."""
    bare, mark = without_id_mark(extra)
    if mark is None:
        mark = key if was == "int" else json.dumps(key, ensure_ascii=False)
    if mark.startswith('"') == (kind != "int"):
        return bare
    return f'{{"id":{mark}' + ("," + bare[1:] if bare is not None and bare != "{}" else "}")
