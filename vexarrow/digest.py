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

from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records
from vexarrow.jsontext import Malformed, canonical, canonical_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREFIX = "sum-sha256:"
SIZE = 32
_BLOCK = 1 << 14
_RAW = pa.large_binary()


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

    def to_bytes(self) -> bytes:
        """The sum as `SIZE` bytes, for another process, which adds it with `add_bytes`."""
        return self._sum.to_bytes(SIZE, "little")

    def add_bytes(self, raw: bytes | memoryview, records: int) -> None:
        """Add so many records by what `to_bytes` of their digest gave."""
        self._sum = (self._sum + int.from_bytes(raw, "little")) & ((1 << 256) - 1)
        self.records += records

    def hexdigest(self) -> str:
        """The digest so far, as `sum-sha256:` and 64 hexadecimal digits."""
        return f"{PREFIX}{self._sum:064x}"


def record_bytes(batch: pa.RecordBatch) -> Iterator[memoryview]:
    """The byte string of every record, as step 1 of the definition says."""
    if not batch.num_rows:
        return iter(())
    columns = [
        _net(batch.column("id")),
        _net(batch.column("text")),
        *_vectors(batch.column("vector")),
        _net(batch.column("model")),
        _net(batch.column("namespace")),
        _net(_documents(batch.column("metadata"))),
        _net(batch.column("created_at").cast(pa.int64()).cast(pa.string())),
        _net(_scores(batch.column("score"))),
        _net(batch.column("modality").fill_null("text")),
        _net(_documents(_without_id_marks(batch.column("extra")))),
    ]
    names = sorted(name for name in batch.schema.names if name.startswith(records.EXTRA_VECTORS))
    columns.extend(pa.array(_further(name, batch.column(name)), type=_RAW) for name in names)
    # All in one buffer by Arrow, so that Python has nothing to do for a record but to ask for its hash.
    whole = pc.binary_join_element_wise(*columns, _constant(b""))
    _, offsets, data = whole.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64, count=len(whole) + 1).tolist()
    view = memoryview(data)
    return (view[start:end] for start, end in pairwise(bounds))


@cache
def _constant(raw: bytes) -> pa.Scalar:
    return pa.scalar(raw, _RAW)


def _net(column: pa.Array) -> pa.Array | pa.Scalar:
    """Each value as a netstring without its comma, null as "-"; one value for all where it is the same."""
    if column.null_count == len(column):
        return _constant(b"-")
    raw = column.cast(_RAW)
    sizes = pc.binary_length(raw).cast(pa.string()).cast(_RAW)
    return pc.binary_join_element_wise(sizes, raw, _constant(b":")).fill_null(_constant(b"-"))


def _documents(column: pa.Array) -> pa.Array:
    """JSON texts in their canonical form, text that is no JSON as it is."""
    column = records.storage(column)
    if column.null_count == len(column):
        return column
    texts = column.to_pylist()
    given = [text for text in texts if text is not None]
    each = iter(canonical_all(given) or map(_canonical, given))
    return pa.array([None if text is None else next(each) for text in texts], type=_RAW)


def _canonical(text: str) -> bytes:
    try:
        return canonical(text)
    except Malformed:
        return text.encode()


def _without_id_marks(extra: pa.Array) -> pa.Array:
    """`extra` without what only tells whether an id was an integer."""
    column = records.storage(extra)
    if column.null_count == len(column) or not pc.any(pc.starts_with(column, '{"id":')).as_py():
        return column
    return pa.array([records.without_id_mark(text)[0] for text in column.to_pylist()], type=pa.string())


def _scores(column: pa.Array) -> pa.Array:
    values = column.fill_null(0.0).to_numpy().reshape(-1, 1)
    return pc.if_else(column.is_valid(), _rows(values.astype("<f8", copy=False)), pa.scalar(None, _RAW))


def _vectors(column: pa.FixedSizeListArray) -> tuple[pa.Array | pa.Scalar, pa.Array | pa.Scalar]:
    """What stands before the bytes of each vector, and these bytes."""
    matrix = records.matrix(column)
    if not matrix.shape[1] or column.null_count == len(column):
        return _constant(b"-"), _constant(b"")
    head, values = pa.scalar(b"%d:" % (4 * matrix.shape[1]), _RAW), _rows(matrix.astype("<f4", copy=False))
    if not column.null_count:
        return head, values
    present = column.is_valid()
    return pc.if_else(present, head, _constant(b"-")), pc.if_else(present, values, _constant(b""))


def _rows(matrix: NDArray[Any]) -> pa.Array:
    """The bytes of every row, without a copy."""
    matrix = np.ascontiguousarray(matrix)
    ends = np.arange(len(matrix) + 1, dtype=np.int64) * (matrix.itemsize * matrix.shape[1])
    return pa.Array.from_buffers(_RAW, len(matrix), [None, pa.py_buffer(ends), pa.py_buffer(matrix)])


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
