"""Records as the messages that Pinecone takes over gRPC, and its answers as records: what `_pinecone_wire` does for
JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow import records
from vexarrow.errors import DataError

from ._pinecone_messages import joined, messages, payload, struct_bytes, vectors_bytes
from ._pinecone_shape import Addressed
from ._pinecone_wire import Answer, Json, Reader, Written, sparse_made
from ._protobuf import from_varints, sized, varints

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

# JSON writes a control character as six, and no value takes more than that many times its bytes in a message.
_JSON_TO_MESSAGE = 6


def _sparse_message(indices: NDArray[np.uint32], weights: NDArray[np.float32]) -> bytes:
    return sized(b"\x0a", varints(indices)) + sized(b"\x12", weights.tobytes())


def packed(batch: pa.RecordBatch, to: Addressed, column: pa.Array | None) -> Written:
    """Every record as a Vector. `column`: the sparse vectors."""
    matrix = np.ascontiguousarray(records.matrix(batch.column("vector")), dtype="<f4")
    metadata = [struct_bytes(one) for one in to.metadata]
    sparse = sparse_made(column, _sparse_message)
    found = vectors_bytes(to.ids, matrix.reshape(-1).view(np.uint8).data, metadata, sparse)
    return Written(found, [_JSON_TO_MESSAGE * len(one) for one in metadata])


class PackedReader(Reader):
    """Reads answers of one index over gRPC."""

    def answer(self, data: bytes) -> Answer:
        """The records of an answer. Raises DataError when it is not what it has to be."""
        from google.protobuf.message import DecodeError

        arrays: list[NDArray[Any]] = []
        try:
            told = messages()["Fetched"].FromString(data)
            found = {pair.key: self._row(pair.value, arrays) for pair in told.vectors}
            return Answer(found, arrays, told.pagination.next or None)
        except (DecodeError, ValueError, IndexError) as error:
            raise DataError(f"{self._place}: an answer that cannot be read: {error}") from None

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
