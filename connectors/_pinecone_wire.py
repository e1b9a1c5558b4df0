"""Records as the JSON that Pinecone takes, and its answers as records: vectors are text on the way and float32 at both
ends, and no Python number is made of any."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa

from vexarrow import records
from vexarrow.errors import DataError
from vexarrow.fields import Found
from vexarrow.payload import Payload

from ._pinecone_schema import Index
from ._pinecone_shape import Addressed, Form, read

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPARSE_NAME = "sparse_values"  # of the further column, where no other name was kept
SPARSE_TYPE = pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))])
_NUMPY = orjson.OPT_SERIALIZE_NUMPY
Json = dict[str, Any]


def sparse_name(index: Index) -> str:
    """The further column of an index's sparse vectors, where no other name was kept, without `sparse:`."""
    return (index.sparse if index.documents else None) or SPARSE_NAME


# -- writing --------------------------------------------------------------------------------------------


def sparse_made(
    column: pa.Array | None, make: Callable[[NDArray[np.uint32], NDArray[np.float32]], bytes]
) -> list[bytes | None] | None:
    """What `make` makes of indices and weights of each sparse vector, None where there is none or an empty one, which
    Pinecone refuses."""
    if column is None:
        return None
    found: list[bytes | None] = []
    for value in column:
        indices, weights = (value["indices"].values, value["values"].values) if value.is_valid else (None, None)
        if indices is None or not len(indices):
            found.append(None)
        else:
            found.append(make(np.asarray(indices, dtype=np.uint32), np.asarray(weights, dtype="<f4")))
    return found


def _sparse_text(indices: NDArray[np.uint32], weights: NDArray[np.float32]) -> bytes:
    return orjson.dumps({"indices": indices, "values": weights}, option=_NUMPY)


@dataclass(frozen=True)
class Written:
    """Records as they are sent; `sizes`: bytes of the metadata of each as JSON, at most."""

    texts: Sequence[bytes]
    sizes: Sequence[int]


def written(batch: pa.RecordBatch, to: Addressed, index: Index, column: pa.Array | None) -> Written:
    """Every record as one JSON object, as the API of the index wants it. `column`: the sparse vectors."""
    metadata = [orjson.dumps(one) for one in to.metadata]
    texts = _texts(batch, to.ids, metadata, index, sparse_made(column, _sparse_text))
    return Written(texts, [len(one) for one in metadata])


def _texts(
    batch: pa.RecordBatch,
    names: Sequence[str],
    metadata: Sequence[bytes],
    index: Index,
    sparse: Sequence[bytes | None] | None,
) -> list[bytes]:
    matrix = records.matrix(batch.column("vector"))
    ids = [orjson.dumps(one) for one in names]
    vectors = [orjson.dumps(row, option=_NUMPY) for row in matrix]
    if not index.documents:
        return _vectors(ids, vectors, metadata, sparse)
    name = orjson.dumps(index.dense)
    heads = [b'{"_id":%b,%b:%b' % (one, name, vector) for one, vector in zip(ids, vectors, strict=True)]
    if sparse is not None:
        key = orjson.dumps(index.sparse)
        more = [b"" if text is None else b",%b:%b" % (key, text) for text in sparse]
        heads = [head + one for head, one in zip(heads, more, strict=True)]
    return [b"%b,%b" % (head, fields[1:]) for head, fields in zip(heads, metadata, strict=True)]


def _vectors(
    ids: list[bytes], vectors: list[bytes], metadata: Sequence[bytes], sparse: Sequence[bytes | None] | None
) -> list[bytes]:
    if sparse is None:
        return [
            b'{"id":%b,"values":%b,"metadata":%b}' % (one, vector, fields)
            for one, vector, fields in zip(ids, vectors, metadata, strict=True)
        ]
    more = [b"" if text is None else b',"sparseValues":' + text for text in sparse]
    return [
        b'{"id":%b,"values":%b%b,"metadata":%b}' % (one, vector, pair, fields)
        for one, vector, pair, fields in zip(ids, vectors, more, metadata, strict=True)
    ]


# -- reading --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """The records of an answer by id, and its arrays of numbers: where a record has an array under a vector's key, it
    holds the array's place instead. `more`: the token of the next page."""

    found: Mapping[str, Json]
    arrays: Sequence[NDArray[Any]]
    more: str | None


class Reader:
    """Reads answers of one index."""

    def __init__(self, index: Index, form: Form, found: Found, place: str) -> None:
        self._index = index
        self._form = form
        self._found = found
        self._place = place
        self._length = index.dim if index.sparse is None else None
        self._key = (index.dense or "") if index.documents else "values"
        keys = {"values", "indices", self._key or "values"}
        # No text holds this: a quote inside a text has a backslash before it. A number follows, so that lists of
        # texts stay what they are.
        one = b"|".join(re.escape(orjson.dumps(key)) for key in sorted(keys))
        self._arrays = re.compile(rb"(?:" + one + rb")\s*:\s*(?=\[\s*[-\d])")

    def answer(self, data: bytes) -> Answer:
        """The records of an answer. Raises DataError when it is not what it has to be."""
        try:
            rest, spans, indices = self._cut(data)
            told = orjson.loads(rest)
            found = told.get("documents" if self._index.documents else "vectors") or {}
            more = (told.get("pagination") or {}).get("next") or None
            return Answer(found, _arrays(data, spans, indices, self._length), more)
        except (ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise DataError(f"{self._place}: an answer that cannot be read: {error}") from None

    def _cut(self, data: bytes) -> tuple[bytes, list[tuple[int, int]], set[int]]:
        """The answer with a number for every array of numbers; where these are; and which are indices of sparse
        vectors."""
        search, find = self._arrays.search, data.index
        rest: list[bytes] = []
        spans: list[tuple[int, int]] = []
        indices: set[int] = set()
        at = 0
        while match := search(data, at):
            start = match.end()
            stop = find(b"]", start) + 1
            if match[0].startswith(b'"indices"'):
                indices.add(len(spans))
            rest += (data[at:start], b"%d" % len(spans))
            spans.append((start, stop))
            at = stop
        rest.append(data[at:])
        return b"".join(rest), spans, indices

    def batch(self, ids: Sequence[str], answers: Sequence[Answer], space: str) -> pa.RecordBatch:
        """The records of these ids in their order, those left out that no answer holds."""
        where = {one: answer for answer in answers for one in answer.found}
        present = [one for one in ids if one in where]
        rows = [where[one].found[one] for one in present]
        owners = [where[one].arrays for one in present]
        vector = self._matrix(rows, owners)
        sparse = [self._sparse(row, arrays) for row, arrays in zip(rows, owners, strict=True)]
        payloads = [self._payload(row) for row in rows]
        known = read(present, payloads, space, self._form, self._found)
        more = _sparse_columns(sparse, known.notes, self._index)
        return records.build(known.columns, vector, more=more)

    def _matrix(self, rows: Sequence[Json], owners: Sequence[Sequence[Any]]) -> pa.FixedSizeListArray | None:
        """The dense vectors; None when no row has one."""
        key = self._key
        places: list[Any] = [row.get(key) for row in rows]
        there = [at for at, place in enumerate(places) if place.__class__ is int]
        if not there:
            return None
        found = [owners[at][places[at]] for at in there]
        sizes = set(map(len, found))
        if len(sizes) > 1:
            raise DataError(f"{self._place}: vectors of {min(sizes)} and of {max(sizes)} dimensions")
        given = np.concatenate(found, dtype=np.float32).reshape(len(there), sizes.pop())
        if len(there) == len(rows):
            return records.from_matrix(given)
        matrix = np.zeros((len(rows), given.shape[1]), dtype=np.float32)
        valid = np.zeros(len(rows), dtype=bool)
        matrix[there], valid[there] = given, True
        return records.from_matrix(matrix, valid)

    def _sparse(self, row: Json, arrays: Sequence[Any]) -> tuple[Any, Any] | None:
        """Indices and weights."""
        pair = row.get(self._index.sparse or "") if self._index.documents else row.get("sparseValues")
        if not isinstance(pair, dict) or pair.get("indices").__class__ is not int:
            return None
        return arrays[pair["indices"]], arrays[pair["values"]]

    def _payload(self, row: Json) -> Payload:
        """What is metadata in a record."""
        if not self._index.documents:
            return row.get("metadata") or {}
        vectors = {"_id", "_score", self._index.dense, self._index.sparse}
        return {key: value for key, value in row.items() if key not in vectors}


def _arrays(data: bytes, spans: Sequence[tuple[int, int]], indices: set[int], length: int | None) -> list[NDArray[Any]]:
    """The arrays of numbers: float32, indices uint32. `length`: of every array, None where they differ.

    All but the indices are parsed as one: for each on its own, the calls take longer than the numbers.
    """
    import simdjson

    parse: Any = simdjson.Parser().parse
    others = [span for at, span in enumerate(spans) if at not in indices] if indices else spans
    flat = np.zeros(0, dtype=np.float32)
    if others:
        text = b"[" + b",".join([data[start + 1 : stop - 1] for start, stop in others]) + b"]"
        flat = np.frombuffer(parse(text).as_buffer(of_type="d")).astype(np.float32)
    if length and len(flat) == length * len(spans):
        return list(flat.reshape(len(spans), length))
    ends = np.cumsum([data.count(b",", start, stop) + 1 for start, stop in others]).tolist()
    if others and ends[-1] != len(flat):
        raise ValueError("arrays of other things than numbers")
    known = iter([flat[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)] if others else ())
    return [
        np.frombuffer(parse(data[start:stop]).as_buffer(of_type="d")).astype(np.uint32)
        if at in indices
        else next(known)
        for at, (start, stop) in enumerate(spans)
    ]


def _sparse_columns(
    found: Sequence[tuple[Any, Any] | None], notes: Sequence[Payload], index: Index
) -> dict[str, pa.Array] | None:
    """The column of sparse vectors under the name that was kept, None when there is none."""
    kept = [str(note["sparse"]) if "sparse" in note else None for note in notes]
    plain = sparse_name(index)
    names = [kept[at] or plain for at in range(len(found)) if kept[at] is not None or found[at] is not None]
    columns = {}
    for name in dict.fromkeys(names):
        mine = [
            _pair(pair, empty=kept[at] is not None and bool(notes[at].get("empty_sparse")))
            if (kept[at] or plain) == name
            else None
            for at, pair in enumerate(found)
        ]
        columns[f"sparse:{name}"] = _sparse_array(mine)
    return columns or None


def _pair(pair: tuple[Any, Any] | None, *, empty: bool) -> tuple[Any, Any] | None:
    return (np.zeros(0), np.zeros(0)) if empty else pair


def _sparse_array(pairs: Sequence[tuple[Any, Any] | None]) -> pa.Array:
    valid = np.array([pair is not None for pair in pairs], dtype=bool)
    offsets = np.cumsum([0, *(len(pair[0]) if pair is not None else 0 for pair in pairs)]).astype(np.int32)
    there = [pair for pair in pairs if pair is not None]
    indices = np.concatenate([pair[0] for pair in there]) if there else np.zeros(0)
    weights = np.concatenate([pair[1] for pair in there]) if there else np.zeros(0)
    lists = [
        pa.ListArray.from_arrays(offsets, indices.astype(np.uint32)),
        pa.ListArray.from_arrays(offsets, weights.astype(np.float32)),
    ]
    return pa.StructArray.from_arrays(lists, fields=list(SPARSE_TYPE), mask=pa.array(~valid))
