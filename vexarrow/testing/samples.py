"""Canonical batches for tests, each of which holds what tends to get lost in one respect."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vexarrow import records

DIM = 4
TEXTS = (
    None,
    "",
    " spaces ",
    "two\r\nlines\tand a tab",
    "quotes \" ' and \\ backslashes",
    "Grüße, 世界",
    "astral 😀 and a family 👩‍👩‍👧",
    "line separators \u2028 \u2029 \x85",
    "controls \x01 \x1f \x7f",
    "e\u0301 is not \u00e9",
    "\ufeffmark",
    "null",
)
METADATA = (
    None,
    "{}",
    '{"a":1}',
    '{"a":1.0}',
    '{"a":1e5}',
    '{"b":2,"a":1}',
    '{"a":null,"b":true,"c":false}',
    '{"a":"1","b":""}',
    '{"nested":{"deep":[1,[2,{"x":null}],"three"]}}',
    '{"list":[],"object":{}}',
    '{"big":9223372036854775807,"bigger":9223372036854775808,"biggest":123456789012345678901234567890}',
    '{"low":-9223372036854775808,"exact":9007199254740993,"tiny":5e-324,"long":0.1000000000000000055511151231257827}',
    '{"zero":-0.0,"hundred":1E+2}',
    '{"é":"\\u00e9","tab":"\\t","line":"\\u2028","astral":"😀","slash":"\\/"}',
    '{"":"an empty key"," spaced key ":1,"dotted.key":2,"id":3,"vector":"no","text":"not the text","namespace":7}',
    '{"tags":["a","b"],"importance":3,"agent_id":"me","pinned":false}',
)
MICROSECONDS = (
    None,
    0,
    1,
    -1,
    1_700_000_000_000_000,
    1_700_000_000_123_000,
    1_700_000_000_123_456,
    999_999,
    -62_135_596_800_000_000,
    253_402_300_799_999_999,
)
SCORES = (None, 0.0, -0.0, 1.0, 0.1, 5e-324, 1.7976931348623157e308, -3.0e-7, 12345678.9)
NAMES = (None, "", "default", "a b/c", "x=1&y=%20", "Ω", "null", "7")
EXTRAS = (
    None,
    '{"agent_id":"me"}',
    '{"source":"x","nested":{"a":[1,2.0]},"big":123456789012345678901234567890}',
    '{"ключ":"значение"}',
)
_BITS = np.array(
    [
        *(0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000),
        *(0x3F800001, 0x3DCCCCCD, 0x3EAAAAAB, 0xC0490FDB, 0x4B7FFFFF, 0x4B800001, 0x322BCC77, 0x60AD78EC),
    ],
    dtype="<u4",
)


def batch(columns: Mapping[str, Any], *, dim: int = DIM, id_type: str = "string", vector: Any = ...) -> pa.RecordBatch:
    """A canonical batch in which whatever is not given is ordinary: ids by number, texts, vectors and a version."""
    rows = len(next(iter(columns.values())))
    ordinary: dict[str, Any] = {
        "id": [str(row) if id_type == "int" else f"id-{row:04}" for row in range(rows)],
        "text": [f"text {row}" for row in range(rows)],
        "modality": ["text"] * rows,
        "source_store": ["samples"] * rows,
        "vex_version": [records.VMIG_VERSION] * rows,
    }
    return records.build(ordinary | dict(columns), vectors(rows, dim) if vector is ... else vector, id_type=id_type)


def vectors(rows: int, dim: int = DIM, seed: int = 7) -> Any:
    """An (rows, dim) matrix of float32 that is always the same."""
    return np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)


def texts() -> pa.RecordBatch:
    """Null and "", white space, controls, characters beyond the basic plane, line separators, unnormalised forms."""
    return batch({"text": TEXTS})


def metadata() -> pa.RecordBatch:
    """Objects whose text says more than their value: key order, 1 and 1.0 and 1e5, integers beyond 64 bits, escapes."""
    return batch({"metadata": METADATA})


def bits() -> pa.RecordBatch:
    """Finite float32 at the edges: -0.0, subnormals, the largest, neighbours of 1."""
    return batch({"id": [f"id-{row}" for row in range(4)]}, vector=_BITS.view("<f4").reshape(4, 4))


def moments() -> pa.RecordBatch:
    """Null, the epoch and around it, milliseconds and microseconds, the first and the last moment that there is."""
    return batch({"created_at": pa.array(MICROSECONDS, pa.int64()).cast(records.TIMESTAMP)})


def scores() -> pa.RecordBatch:
    """Finite float64 at the edges."""
    return batch({"score": SCORES})


def names() -> pa.RecordBatch:
    """Models and namespaces: null, "", and what looks like a path, a query or something that is not text."""
    return batch({"namespace": NAMES, "model": NAMES[::-1]})


def extras() -> pa.RecordBatch:
    """Top-level keys that the specification does not know."""
    return batch({"extra": EXTRAS})


def origins() -> pa.RecordBatch:
    """What tells where a record comes from, and modalities."""
    stores, kinds = ["vektor", "qdrant", None], ["text", "image", "audio"]
    return batch({"source_store": stores, "modality": kinds, "vex_version": ["1.0.0", "0.4.0", "1.0.0"]})


def integer_ids() -> pa.RecordBatch:
    """Ids that were integers, among them the largest of 64 bits."""
    return batch({"id": ["0", "1", "-5", "9007199254740993", "9223372036854775807"]}, id_type="int")


def uuid_ids() -> pa.RecordBatch:
    """Ids that were UUIDs."""
    return batch({"id": [str(uuid.UUID(int=7**44 * row)) for row in range(5)]}, id_type="uuid")


def odd_ids() -> pa.RecordBatch:
    """Text ids that look like something else."""
    return batch({"id": ["1", "01", "1.0", "1e5", "null", "true", " 1", "a/b?c#d", "Ünï", "😀", "'\";--", "x" * 200]})


def mixed_ids() -> pa.RecordBatch:
    """Integers in a stream of text ids: the integer is in `extra` verbatim."""
    integers = records.with_id_type(integer_ids(), "string")
    strings = batch({"id": ["a", "1b", "12"], "extra": [None, '{"k":1}', None]})
    return pa.Table.from_batches([strings, integers]).combine_chunks().to_batches()[0]


def wide() -> pa.RecordBatch:
    """Vectors of 3072 dimensions."""
    return batch({"text": ["wide", "wider"]}, dim=3072)


def long() -> pa.RecordBatch:
    """A text of a megabyte among short ones."""
    return batch({"text": ["short", "0123456789abcdé\n" * (1 << 16), "short again"]})


def one() -> pa.RecordBatch:
    """A single record."""
    return batch({"text": ["the only one"]})


def without_vectors() -> pa.RecordBatch:
    """Records with texts alone."""
    return batch({"text": ["a", "b", "c"]}, vector=None)


def some_vectors() -> pa.RecordBatch:
    """Records of which every other one has a vector; the first has none."""
    valid = np.arange(6) % 2 == 1
    return batch({"text": list("abcdef")}, vector=records.from_matrix(vectors(6), valid))


def only_vectors() -> pa.RecordBatch:
    """Records without text."""
    return batch({"text": [None, None, None]})


EVERY: Mapping[str, Callable[[], pa.RecordBatch]] = {
    sample.__name__: sample
    for sample in (
        *(texts, metadata, bits, moments, scores, names, extras, origins),
        *(integer_ids, uuid_ids, odd_ids, mixed_ids, wide, long, one, only_vectors),
    )
}


def mixed_dims() -> list[pa.RecordBatch]:
    """Batches of 3, 5 and again 3 dimensions, with a record without a vector in between."""
    three = batch({"id": ["a", "b", "c"], "text": list("abc")}, dim=3)
    five = batch({"id": ["d", "e"], "text": list("de")}, dim=5)
    again = batch({"id": ["f", "g"], "text": list("fg")}, dim=3)
    return [three, five, batch({"id": ["h"]}, vector=None), again]


def not_finite() -> pa.RecordBatch:
    """NaN and infinity in vectors and scores, between records that are all right."""
    matrix = vectors(6)
    matrix[1, 2], matrix[3, 0] = np.nan, -np.inf
    return batch({"score": [0.5, 0.5, float("nan"), 0.5, 0.5, float("inf")]}, vector=matrix)


def not_objects() -> pa.RecordBatch:
    """Metadata that is JSON and no object, or says a key twice, between objects."""
    return batch({"metadata": ['{"a":1}', "[1,2]", "null", '"text"', "7", '{"a":1,"a":2}', '{"b":2}']})


def zero_bytes() -> pa.RecordBatch:
    """U+0000 in texts, which some stores cannot hold."""
    return batch({"text": ["a", "zero \0 inside", "b"], "namespace": ["x", "y", "zero\0"]})


HARD: Mapping[str, Callable[[], pa.RecordBatch]] = {
    sample.__name__: sample for sample in (not_finite, not_objects, zero_bytes)
}


def further_vectors() -> pa.RecordBatch:
    """Records with a second dense vector, a sparse one and a multi-vector, each null in one row."""
    plain = batch({"text": ["a", "b", "c"]})
    sparse = pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))])
    words: list[Any] = [{"indices": [1, 70], "values": [0.5, 2.0]}, None, {"indices": [], "values": []}]
    more = {
        "vector:title": records.from_matrix(vectors(3, 2), np.array([True, False, True])),
        "sparse:words": pa.array(words, sparse),
        "multi:tokens": pa.array([None, [[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]]], pa.list_(records.vector_type(2))),
    }
    columns = {name: plain.column(name) for name in records.BASE_NAMES}
    return records.build(columns, plain.column("vector"), more=more)


def many(rows: int, *, dim: int = 8, id_type: str = "string") -> pa.RecordBatch:
    """Ordinary records in the namespaces "a", "b", "c", "" and none; every text and vector is another."""
    spaces: Sequence[str | None] = ("a", "b", "c", "", None)
    columns = {
        "id": [f"{row}" if id_type == "int" else f"id-{row:07}" for row in range(rows)],
        "text": [f"record {row} of {rows}" for row in range(rows)],
        "namespace": [spaces[row % 5] for row in range(rows)],
        "model": ["all-MiniLM-L6-v2"] * rows,
        "metadata": [f'{{"n":{row},"kind":"{"odd" if row % 2 else "even"}"}}' for row in range(rows)],
        "created_at": pa.array(np.arange(rows) * 1_000_000, pa.int64()).cast(records.TIMESTAMP),
    }
    return batch(columns, dim=dim, id_type=id_type)
