"""Records as the messages that Pinecone takes over gRPC, and its answers as records: what `_pinecone_wire` does for
JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from vexarrow import records
from vexarrow.errors import DataError
from vexarrow.payload import ANYWHERE, HIDDEN, Payload

from ._arrow_numbers import int64
from ._pinecone_columns import NAMES, Cut, columns, cut
from ._pinecone_entries import entries
from ._pinecone_messages import joined, messages, payload, struct_bytes, vectors_bytes
from ._pinecone_shape import Addressed, Form, Later, addressed, placed, read
from ._pinecone_wire import Answer, Json, Reader, Written, sparse_made
from ._protobuf import from_varints, sized, varints
from ._protobuf_columns import Unusual

if TYPE_CHECKING:
    from numpy.typing import NDArray

# JSON writes a control character as six, and no value takes more than that many times its bytes in a message.
_JSON_TO_MESSAGE = 6
_NOTHING: Json = {}


def _sparse_message(indices: NDArray[np.uint32], weights: NDArray[np.float32]) -> bytes:
    return sized(b"\x0a", varints(indices)) + sized(b"\x12", weights.tobytes())


def packed(
    batch: pa.RecordBatch,
    form: Form,
    fixed: str | None,
    notes: Sequence[Payload | None] | None,
    column: pa.Array | None,
) -> tuple[Addressed, Written]:
    """Every record as a Vector, and where it goes. `fixed` and `notes` are those of `addressed`, `column`: the sparse
    vectors."""
    if notes is None and not form.typed and form.hidden == HIDDEN:
        to, metadata = _by_columns(batch, form, fixed)
    else:
        to = addressed(batch, form, fixed, notes)
        metadata = [struct_bytes(one) for one in to.metadata]
    matrix = np.ascontiguousarray(records.matrix(batch.column("vector")), dtype="<f4")
    sparse = sparse_made(column, _sparse_message)
    found = vectors_bytes(to.ids, matrix.reshape(-1).view(np.uint8).data, metadata, sparse)
    return to, Written(found, [_JSON_TO_MESSAGE * len(one) for one in metadata])


def _by_columns(batch: pa.RecordBatch, form: Form, fixed: str | None) -> tuple[Addressed, list[bytes | memoryview]]:
    """Where records go and their metadata as messages, all at once but for those that need more in `__vex__`."""
    place = placed(batch, fixed)
    known = entries(batch, {*place.encoded, *place.renamed})
    metadata: list[bytes | memoryview] = [*known.structs]
    others = np.flatnonzero(~known.done).tolist()
    if others:
        rest = addressed(batch.take(pa.array(others)), form, fixed, None)
        for row, one in zip(others, rest.metadata, strict=True):
            metadata[row] = struct_bytes(one)
    later = Later(batch.num_rows, lambda: addressed(batch, form, fixed, None).metadata)
    return Addressed(place.ids, place.namespaces, later), metadata


@dataclass(frozen=True)
class _Table(Answer):
    """An answer that was cut into records; `found` knows their ids alone."""

    data: bytes
    cut: Cut


def _slices(
    tables: Sequence[_Table], spans: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], places: Sequence[int]
) -> list[memoryview]:
    """What is at some of the places in answers, given by starts and stops in each; not copied."""
    every: list[memoryview] = []
    for table, (starts, stops) in zip(tables, spans, strict=True):
        view = memoryview(table.data)
        every += [view[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
    return every if len(places) == len(every) and places == list(range(len(every))) else [every[at] for at in places]


def _plain_batch(columns: Sequence[pa.Array], space: str) -> pa.RecordBatch:
    """Plain records of a namespace of Pinecone, without vectors."""
    rows = len(columns[0])
    known = dict(zip(NAMES, columns, strict=True))
    known["namespace"] = pa.repeat(pa.scalar(space or None, pa.string()), rows)
    known["modality"] = pa.repeat(pa.scalar("text"), rows)
    return records.build(known)


class PackedReader(Reader):
    """Reads answers of one index over gRPC: as columns where it can, else record by record."""

    def answer(self, data: bytes) -> Answer:
        """The records of an answer. Raises DataError when it is not what it has to be."""
        if self._index.sparse is None and self._found == ANYWHERE:
            try:
                with self._readable():
                    told = cut(data)
                return _Table(dict.fromkeys(told.ids, _NOTHING), (), told.more, data, told)
            except Unusual:
                pass
        return self._by_records(data)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Raises DataError for what cannot be read."""
        try:
            yield
        except Unusual:
            raise
        except Exception as error:
            from google.protobuf.message import DecodeError  # here, for mostly nothing of protobuf is needed

            if isinstance(error, DecodeError | ValueError | IndexError):
                raise DataError(f"{self._place}: an answer that cannot be read: {error}") from None
            raise

    def _by_records(self, data: bytes) -> Answer:
        arrays: list[NDArray[Any]] = []
        with self._readable():
            told = messages()["Fetched"].FromString(data)
            found = {pair.key: self._row(pair.value, arrays) for pair in told.vectors}
            return Answer(found, arrays, told.pagination.next or None)

    def batch(self, ids: Sequence[str], answers: Sequence[Answer], space: str) -> pa.RecordBatch:
        """See Reader."""
        tables = [one for one in answers if isinstance(one, _Table)]
        if len(tables) == len(answers):
            built = self._built(ids, tables, space)
            if built is not None:
                return built
        by_records = [self._by_records(one.data) if isinstance(one, _Table) else one for one in answers]
        return super().batch(ids, by_records, space)

    def _built(self, ids: Sequence[str], tables: Sequence[_Table], space: str) -> pa.RecordBatch | None:
        """The batch from columns; None when records have to be looked at one by one."""
        rows = {one: at for at, one in enumerate(chain.from_iterable(table.cut.ids for table in tables))}
        places = [rows[one] for one in ids if one in rows]
        if not places:
            return None
        own = [one for one in ids if one in rows]
        structs = _slices(tables, [table.cut.metadata for table in tables], places)
        try:
            with self._readable():
                known = columns(own, structs)
        except Unusual:
            return None
        batch = _plain_batch(known.columns, space)
        others = np.flatnonzero(~known.plain).tolist()
        if others:
            with self._readable():
                payloads = [payload(messages()["Struct"].FromString(structs[at]).fields) for at in others]
            more = read([own[at] for at in others], payloads, space, self._form, self._found)
            if any("sparse" in note for note in more.notes):
                return None
            order = np.cumsum(known.plain) - 1
            order[others] = len(batch) + np.arange(len(others))
            batch = pa.concat_batches([batch, records.build(more.columns)]).take(int64(order))
        vector = self._vectors(_slices(tables, [table.cut.vectors for table in tables], places))
        return batch.set_column(records.VECTOR_AT, pa.field("vector", vector.type), vector)

    def _vectors(self, parts: Sequence[memoryview]) -> pa.FixedSizeListArray:
        """The vectors, copied once."""
        sizes = set(map(len, parts))
        if len(sizes) > 1:
            raise DataError(f"{self._place}: vectors of {min(sizes) // 4} and of {max(sizes) // 4} dimensions")
        return records.from_matrix(np.frombuffer(b"".join(parts), "<f4").reshape(len(parts), -1))

    def _row(self, vector: Any, arrays: list[NDArray[Any]]) -> Json:
        row: Json = {"metadata": payload(vector.metadata.fields)}
        parts = vector.values
        if parts:
            row["values"] = len(arrays)
            arrays.append(np.frombuffer(joined(parts), "<f4"))
        elif self._index.dense is not None and len(one_by_one := _floats(vector)):
            row["values"] = len(arrays)
            arrays.append(one_by_one)
        if self._index.sparse is not None and vector.HasField("sparse"):
            row["sparseValues"] = {"indices": len(arrays), "values": len(arrays) + 1}
            arrays += _pair(vector.sparse)
        return row


def _floats(vector: Any) -> NDArray[np.float32]:
    """The numbers of a vector that were not packed, which a reader has to take as well."""
    return np.array(messages()["Floats"].FromString(vector.SerializeToString()).values, np.float32)


def _pair(sparse: Any) -> list[NDArray[Any]]:
    indices, values = from_varints(joined(sparse.indices)), np.frombuffer(joined(sparse.values), "<f4")
    if not len(indices) or len(indices) != len(values):
        numbers = messages()["SparseNumbers"].FromString(sparse.SerializeToString())
        indices, values = np.array(numbers.indices, np.uint32), np.array(numbers.values, np.float32)
    return [indices, values]
