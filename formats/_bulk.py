"""Many usual lines at once: texts by Arrow's JSON reader, vectors by simdjson, no Python object per value.

Each line is cut at its vector and its metadata, which are replaced by a marker that occurs nowhere else. When what is
left is read by Arrow with just the known keys (each once), with the markers as values of just these two, and the
pieces parse on their own, then the lines are valid and the pieces verbatim. Lines for which that is not so (unknown
keys, other types, anything malformed) are not decided here: `Bulk` returns None and they are looked at one by
one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from vexarrow import records, timestamps

from ._cut import STYLES, UNUSUAL, Cut, Cutter, Unusual

_MARK = os.urandom(16).hex()
MARKER = f'"{_MARK}"'.encode()
_TEXTS = ("text", "model", "namespace", "source_store", "modality", "vex_version")
_TYPES: dict[type, pa.DataType] = {int: pa.int64(), str: pa.string()}


_UNUSUAL = (*UNUSUAL, pa.ArrowException)


class Bulk:
    """Reads lines like the first one it sees. `cut` is used by one thread, and `batch` by one thread."""

    def __init__(self) -> None:
        self._options: pj.ParseOptions | None = None
        self._cutter: Cutter | None = None
        self.style = 0

    def learn(self, line: bytes) -> bool:
        """Take the style and the types of ids and times from a line; False when it is no usual one."""
        try:
            record = orjson.loads(line)
            types = {name: pa.string() for name in (*_TEXTS, "vector", "metadata")}
            types |= {"dims": pa.int64(), "score": pa.float64(), "id": _TYPES[type(record["id"])]}
            types["created_at"] = _TYPES.get(type(record.get("created_at")), pa.string())
        except _UNUSUAL:
            return False
        self.style = next((at for at, style in enumerate(STYLES) if style.vector in line), 0)
        self._cutter = Cutter(MARKER, STYLES[self.style])
        self._options = pj.ParseOptions(explicit_schema=pa.schema(types), unexpected_field_behavior="error")
        return True

    def cut(self, lines: Sequence[bytes]) -> Cut | None:
        """The first half of the work, which needs the interpreter; None when one of the lines is unusual."""
        if self._cutter is None and not self.learn(lines[0]):
            return None
        return self._cutter.cut(lines) if self._cutter else None

    def batch(self, cut: Cut) -> pa.RecordBatch | None:
        """The second half, nearly all of it outside the interpreter, for a thread of its own: the records of the lines,
        None when one of them is unusual."""
        try:
            table = self._read(cut, len(cut.present))
            return _batch(table, _documents(cut.documents), _vector(cut))
        except _UNUSUAL:
            return None

    def _read(self, cut: Cut, rows: int) -> pa.RecordBatch:
        """The rest of the lines as columns. Raises when the markers are not where they belong."""
        # Arrow's process dies of a line that is `null`, and it takes two objects in a line for two records.
        if not cut.rest.startswith(b"{") or cut.rest.count(b"}\n{") + cut.rest.count(b"}\r\n{") != rows - 1:
            raise Unusual("not one object a line")
        cut.rest.decode()  # Arrow does not look whether it is UTF-8
        options = pj.ReadOptions(use_threads=False, block_size=len(cut.rest) + 1)
        table = pj.read_json(pa.BufferReader(cut.rest), read_options=options, parse_options=self._options)
        if table.num_rows != rows:
            raise Unusual("blank lines or comments")
        batch = table.combine_chunks().to_batches()[0]
        pieces = {"vector": int(cut.present.sum()), "metadata": rows - cut.documents.count(None)}
        for name, count in pieces.items():
            marked = pc.equal(batch.column(name), _MARK).fill_null(False).true_count
            if marked != count or marked + batch.column(name).null_count != rows:
                raise Unusual(f"the {name} is elsewhere")
        return batch


def _documents(documents: list[bytes | None]) -> pa.Array:
    """JSON texts as a string array. Raises ValueError for what is not UTF-8."""
    if documents.count(None) == len(documents):
        return pa.nulls(len(documents), pa.string())
    b"".join([document for document in documents if document]).decode()
    return pa.array(documents, type=pa.binary()).view(pa.string())


def _vector(cut: Cut) -> pa.FixedSizeListArray:
    """The vector column. Raises ValueError for an empty vector and for numbers beyond a float32."""
    matrix, present = cut.matrix, cut.present
    if present.any() and not matrix.shape[1]:
        raise Unusual("an empty vector")
    if not np.isfinite(matrix.sum()) and not np.isfinite(matrix).all():
        raise Unusual("a number beyond a float32")
    return records.from_matrix(matrix, present) if matrix.shape[1] else records.no_vectors(len(present))


def _batch(table: pa.RecordBatch, documents: pa.Array, vector: pa.FixedSizeListArray) -> pa.RecordBatch:
    """The canonical batch. Raises ValueError when a record is not all right and has to be looked at by itself."""
    ids = table.column("id")
    kind = "int" if pa.types.is_integer(ids.type) else "string"
    if ids.null_count or not _sound(table, vector):
        raise Unusual("ids, dims, texts or scores")
    texts = {name: table.column(name) for name in _TEXTS}
    texts["modality"] = texts["modality"].fill_null("text")
    columns = {"id": ids.cast(pa.string()), **texts, "metadata": documents, "score": table.column("score")}
    return records.build({**columns, "created_at": _times(table.column("created_at"))}, vector, id_type=kind)


def _sound(table: pa.RecordBatch, vector: pa.FixedSizeListArray) -> bool:
    """Whether ids, dims, texts and scores are those of records."""
    ids, dims, text = table.column("id"), table.column("dims"), table.column("text")
    if pa.types.is_string(ids.type) and not pc.min(pc.binary_length(ids)).as_py():
        return False
    present = vector.is_valid()
    said = pc.if_else(present, pa.scalar(vector.type.list_size, pa.int64()), pa.scalar(None, pa.int64()))
    if dims.null_count < len(dims) and not dims.equals(said):
        return False
    if vector.null_count and not pc.all(pc.or_(present, text.is_valid())).as_py():
        return False
    return bool(np.isfinite(table.column("score").fill_null(0.0).to_numpy()).all())


def _times(column: pa.Array) -> pa.Array:
    """`created_at`. Raises ValueError where it is not exact or not understood."""
    return timestamps.from_texts(column) if pa.types.is_string(column.type) else timestamps.from_seconds(column)
