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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import simdjson

from vexarrow import records, timestamps

from ._parse import signed_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MARK = os.urandom(16).hex()
_MARKER = f'"{_MARK}"'.encode()
_TEXTS = ("text", "model", "namespace", "source_store", "modality", "vex_version")
_TYPES: dict[type, pa.DataType] = {int: pa.int64(), str: pa.string()}


class Style(NamedTuple):
    """How a file spells what the cuts are made at: compact as JavaScript does, or spaced as Python does."""

    vector: bytes
    metadata: bytes
    after: bytes


STYLES = (
    Style(b'"vector":[', b',"metadata":{', b'},"created_at":'),
    Style(b'"vector": [', b', "metadata": {', b'}, "created_at": '),
)


class _Unusual(ValueError):
    """A line that has to be looked at closely."""


_UNUSUAL = (ValueError, TypeError, KeyError, RuntimeError, pa.ArrowException)


class Cut(NamedTuple):
    """Lines without their vectors and metadata, and these: a row of the matrix and a JSON text for every line that has
    one, as `present` and a document other than None tell."""

    rest: bytes
    matrix: NDArray[np.float32]
    present: NDArray[np.bool_]
    documents: list[bytes | None]


class Bulk:
    """Reads lines like the first one it sees. One of them is used by one thread."""

    def __init__(self) -> None:
        self._simd: Any = simdjson.Parser()
        self._style = STYLES[0]
        self._options: pj.ParseOptions | None = None

    def cut(self, lines: Sequence[bytes]) -> Cut | None:
        """The first half of the work, which needs the interpreter; None when one of the lines is unusual."""
        try:
            if self._options is None:
                self._learn(lines[0])
            with np.errstate(over="ignore"):
                return self._cut(lines)
        except _UNUSUAL:
            return None

    def batch(self, cut: Cut, lines: Sequence[bytes]) -> pa.RecordBatch | None:
        """The second half, nearly all of it outside the interpreter, for a thread of its own: the records of the lines,
        None when one of them is unusual."""
        try:
            table = self._read(cut, len(lines))
            return _batch(table, _documents(cut.documents), _vector(cut, lines))
        except _UNUSUAL:
            return None

    def _learn(self, line: bytes) -> None:
        """Take the style and the types of ids and times from a line. Raises ValueError when it is no usual one."""
        record = orjson.loads(line)
        self._style = next((style for style in STYLES if style.vector in line), STYLES[0])
        types = {name: pa.string() for name in (*_TEXTS, "vector", "metadata")}
        types |= {"dims": pa.int64(), "score": pa.float64(), "id": _TYPES[type(record["id"])]}
        types["created_at"] = _TYPES.get(type(record.get("created_at")), pa.string())
        self._options = pj.ParseOptions(explicit_schema=pa.schema(types), unexpected_field_behavior="error")

    def _cut(self, lines: Sequence[bytes]) -> Cut:
        vector, metadata, after = self._style
        to_vector, to_metadata = len(vector) - 1, len(metadata) - 1
        parse, frombuffer = self._simd.parse, np.frombuffer
        rest: list[bytes] = []
        documents: list[bytes | None] = []
        present = np.zeros(len(lines), dtype=bool)
        matrix = np.zeros((len(lines), 0), dtype=np.float32)
        for row, line in enumerate(lines):
            start = line.find(vector)
            stop = 0
            if start >= 0:
                start += to_vector
                stop = line.find(b"]", start) + 1
                numbers = frombuffer(parse(line[start:stop]).as_buffer(of_type="d"))
                if not matrix.size:
                    matrix = np.zeros((len(lines), len(numbers)), dtype=np.float32)
                if len(numbers) != matrix.shape[1]:
                    raise _Unusual("several dimensions")  # numpy would repeat a single number
                # Straight into the matrix: keeping the buffers of a page costs more than parsing them.
                matrix[row] = numbers
                present[row] = True
                rest += (line[:start], _MARKER)
            at = line.find(metadata, stop)
            if at < 0:
                documents.append(None)
            else:
                at += to_metadata
                end = line.find(after, at) + 1
                document = line[at:end]
                parse(document)
                documents.append(document)
                rest += (line[stop:at], _MARKER)
                stop = end
            rest.append(line[stop:])
        return Cut(b"".join(rest), matrix, present, documents)

    def _read(self, cut: Cut, rows: int) -> pa.RecordBatch:
        """The rest of the lines as columns. Raises when the markers are not where they belong."""
        # Arrow's process dies of a line that is `null`, and it takes two objects in a line for two records.
        if not cut.rest.startswith(b"{") or cut.rest.count(b"}\n{") + cut.rest.count(b"}\r\n{") != rows - 1:
            raise _Unusual("not one object a line")
        cut.rest.decode()  # Arrow does not look whether it is UTF-8
        options = pj.ReadOptions(use_threads=False, block_size=len(cut.rest) + 1)
        table = pj.read_json(pa.BufferReader(cut.rest), read_options=options, parse_options=self._options)
        if table.num_rows != rows:
            raise _Unusual("blank lines or comments")
        batch = table.combine_chunks().to_batches()[0]
        pieces = {"vector": int(cut.present.sum()), "metadata": rows - cut.documents.count(None)}
        for name, count in pieces.items():
            marked = pc.equal(batch.column(name), _MARK).fill_null(False).true_count
            if marked != count or marked + batch.column(name).null_count != rows:
                raise _Unusual(f"the {name} is elsewhere")
        return batch


def _documents(documents: list[bytes | None]) -> pa.Array:
    """JSON texts as a string array. Raises ValueError for what is not UTF-8."""
    if documents.count(None) == len(documents):
        return pa.nulls(len(documents), pa.string())
    b"".join([document for document in documents if document]).decode()
    return pa.array(documents, type=pa.binary()).view(pa.string())


def _vector(cut: Cut, lines: Sequence[bytes]) -> pa.FixedSizeListArray:
    """The vector column. Raises ValueError for an empty vector and for numbers beyond a float32."""
    matrix, present = cut.matrix, cut.present
    if present.any() and not matrix.shape[1]:
        raise _Unusual("an empty vector")
    if not np.isfinite(matrix.sum(dtype=np.float64)) and not np.isfinite(matrix).all():
        raise _Unusual("a number beyond a float32")
    if not matrix.all():
        for row in np.flatnonzero((matrix == 0).any(axis=1) & present).tolist():
            exact = signed_zeros(lines[row])
            if exact is not None:
                matrix[row] = np.frombuffer(exact, dtype=np.float64)
    return records.from_matrix(matrix, present) if matrix.shape[1] else records.no_vectors(len(lines))


def _batch(table: pa.RecordBatch, documents: pa.Array, vector: pa.FixedSizeListArray) -> pa.RecordBatch:
    """The canonical batch. Raises ValueError when a record is not all right and has to be looked at by itself."""
    ids = table.column("id")
    kind = "int" if pa.types.is_integer(ids.type) else "string"
    if ids.null_count or not _sound(table, vector):
        raise _Unusual("ids, dims, texts or scores")
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
