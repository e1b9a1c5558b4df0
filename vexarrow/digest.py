"""`content_digest`: one number for a set of records, whatever their order, batches and file format.

Definition, version 1, exact enough to be computed by somebody else:

1. A record becomes a byte string: its fields in the order id, text, vector, model, namespace, metadata, created_at,
   score, modality, extra, each as a netstring without the closing comma: the length in bytes in decimal, ":", the
   bytes; a null field is "-". Then, for every further vector column in which the record is not null, sorted by column
   name: the name and the value, as netstrings.
2. The bytes of a field: text in UTF-8; vectors as little-endian float32, bit for bit; metadata and extra in canonical
   JSON (see `jsontext.canonical`), text that is no JSON as it is; created_at as the decimal number of microseconds
   since 1970 UTC; score as a little-endian float64. A null modality counts as "text". The value of a sparse vector is
   its indices as little-endian uint32 followed by its values as float32; of a multi-vector all its float32 in order.
3. The SHA-256 of every record's byte string, as a little-endian integer, is added up modulo 2^256. The digest is
   "sum-sha256:" and the sum in 64 hexadecimal digits, most significant first.

Not part of it: source_store and vex_version (they tell where a copy came from), dims (it follows from the vector), and
whether an id was an integer or text. A sum, unlike XOR, sees a record that occurs twice. It detects accidents; against
somebody who forges records on purpose use `file_sha256` and a signature.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records
from vexarrow.jsontext import Malformed, canonical

PREFIX = "sum-sha256:"
_BLOCK = 1 << 14
_REPEATED = ("model", "namespace", "modality")


class ContentDigest:
    """Adds up records batch after batch. Two digests add: `a.add(b)` is the digest of both sets together."""

    def __init__(self) -> None:
        self.records = 0
        self._sum = 0

    def update(self, batch: pa.RecordBatch) -> None:
        """Count every record of a canonical batch."""
        digests = b"".join([sha256(record).digest() for record in record_bytes(batch)])
        limbs = np.frombuffer(digests, dtype="<u4").reshape(-1, 8)
        for start in range(0, len(limbs), _BLOCK):
            columns = limbs[start : start + _BLOCK].sum(axis=0, dtype=np.uint64).tolist()
            self._sum += sum(int(limb) << (32 * place) for place, limb in enumerate(columns))
        self._sum &= (1 << 256) - 1
        self.records += batch.num_rows

    def add(self, other: ContentDigest) -> None:
        """Add the records of another digest."""
        self._sum = (self._sum + other._sum) & ((1 << 256) - 1)
        self.records += other.records

    def hexdigest(self) -> str:
        """The digest so far, as `sum-sha256:` and 64 hexadecimal digits."""
        return f"{PREFIX}{self._sum:064x}"


def record_bytes(batch: pa.RecordBatch) -> Iterator[bytes]:
    """The byte string of every record, as step 1 of the definition says."""
    columns = [
        _texts(batch, "id"),
        _texts(batch, "text"),
        _vectors(batch.column("vector")),
        _texts(batch, "model"),
        _texts(batch, "namespace"),
        _documents(batch, "metadata"),
        _times(batch),
        _scores(batch),
        _texts(batch, "modality", "text"),
        _documents(_without_id_marks(batch), "extra"),
    ]
    names = sorted(name for name in batch.schema.names if name.startswith(records.EXTRA_VECTORS))
    columns.extend(_further(name, batch.column(name)) for name in names)
    return map(b"".join, zip(*columns, strict=True))


def _net(values: Iterable[bytes | None]) -> list[bytes]:
    return [b"-" if raw is None else b"%d:%b" % (len(raw), raw) for raw in values]


def _texts(batch: pa.RecordBatch, name: str, default: str | None = None) -> Sequence[bytes]:
    column = batch.column(name)
    if default is not None and column.null_count:
        column = column.fill_null(default)
    if column.null_count == len(column):
        return [b"-"] * len(column)
    values = column.cast(pa.string()).view(pa.binary()).to_pylist()
    if name in _REPEATED:
        known = dict(zip(distinct := list(set(values)), _net(distinct), strict=True))
        return [known[value] for value in values]
    return _net(values)


def _documents(batch: pa.RecordBatch, name: str) -> Sequence[bytes]:
    column = records.storage(batch.column(name))
    if column.null_count == len(column):
        return [b"-"] * len(column)
    return _net([None if text is None else _canonical(text) for text in column.to_pylist()])


def _without_id_marks(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with what only tells whether an id was an integer taken out of `extra`."""
    column = records.storage(batch.column("extra"))
    if column.null_count == len(column) or not pc.any(pc.starts_with(column, '{"id":')).as_py():
        return batch
    bare = [records.without_id_mark(text)[0] for text in column.to_pylist()]
    at = batch.schema.get_field_index("extra")
    return batch.set_column(at, batch.schema.field(at), records.json_array(bare))


def _canonical(text: str) -> bytes:
    try:
        return canonical(text)
    except Malformed:
        return text.encode()


def _times(batch: pa.RecordBatch) -> Sequence[bytes]:
    column = batch.column("created_at").cast(pa.int64())
    return _net([None if value is None else b"%d" % value for value in column.to_pylist()])


def _scores(batch: pa.RecordBatch) -> Sequence[bytes]:
    values = batch.column("score").to_pylist()
    return [b"-" if value is None else b"8:" + struct.pack("<d", value) for value in values]


def _vectors(column: pa.FixedSizeListArray) -> list[bytes]:
    matrix = records.matrix(column)
    size = 4 * matrix.shape[1]
    head = b"%d:" % size
    raw = memoryview(matrix.astype("<f4", copy=False).tobytes())
    out = [head + raw[at : at + size] for at in range(0, size * len(matrix), size)] if size else [b"-"] * len(column)
    for row in np.flatnonzero(~records.present(column)).tolist():
        out[row] = b"-"
    return out


def _further(name: str, column: pa.Array) -> list[bytes]:
    raw = name.encode()
    head = b"%d:%b" % (len(raw), raw)
    return [b"" if not one.is_valid else head + _netted(_bits(one)) for one in column]


def _netted(raw: bytes) -> bytes:
    return b"%d:%b" % (len(raw), raw)


def _bits(value: Any) -> bytes:
    """A vector, a sparse vector or a multi-vector as its bytes."""
    if isinstance(value, pa.StructScalar):
        indices, values = value["indices"].values, value["values"].values
        return np.asarray(indices).astype("<u4").tobytes() + np.asarray(values).astype("<f4").tobytes()
    array = value.values
    while not pa.types.is_floating(array.type):
        array = array.flatten()
    raw: bytes = np.asarray(array).astype("<f4").tobytes()
    return raw
