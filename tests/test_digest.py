"""`content_digest`: computed here a second time, by its published definition alone."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vexarrow import records
from vexarrow.digest import ContentDigest
from vexarrow.testing import samples

EMPTY = "sum-sha256:" + "0" * 64


def digest(*batches: pa.RecordBatch) -> str:
    whole = ContentDigest()
    for batch in batches:
        whole.update(batch)
    return whole.hexdigest()


# -- the definition, followed literally -----------------------------------------------------------------

FIRST = (
    b"1:a" + b"5:hello"
    + b"8:" + struct.pack("<2f", 1.0, -0.5)
    + b"6:MiniLM" + b"0:" + b'15:{"a":1,"b":1.0}' + b"16:1700000000123456"
    + b"8:" + struct.pack("<d", 0.25)
    + b"5:image" + b"9:" + b'{"x":[1]}'
)  # fmt: skip
SECOND = (
    b"2:42" + b"-" + b"8:" + struct.pack("<2f", -0.0, 2.0**-149) + b"-" + b"-" + b"-" + b"-" + b"-" + b"4:text" + b"-"
)
THIRD = b"5:\xf0\x9f\x98\x80c" + b"2:\xc3\xa9" + b"-" + b"-" + b"3:n:s" + b"2:{}" + b"2:-1" + b"-" + b"4:text" + b"-"


def by_definition(*byte_strings: bytes) -> str:
    total = sum(int.from_bytes(sha256(one).digest(), "little") for one in byte_strings)
    return f"sum-sha256:{total % 2**256:064x}"


def three() -> pa.RecordBatch:
    """The records of FIRST, SECOND and THIRD."""
    columns = {
        "id": ["a", "42", "😀c"],
        "text": ["hello", None, "é"],
        "model": ["MiniLM", None, None],
        "namespace": ["", None, "n:s"],
        "metadata": [' {"b": 1.0, "a": 1}', None, "{ }"],
        "created_at": pa.array([1_700_000_000_123_456, None, -1], pa.int64()).cast(records.TIMESTAMP),
        "score": [0.25, None, None],
        "source_store": ["anything", None, "else"],
        "modality": ["image", "text", None],
        "vex_version": ["1.0.0", None, "2"],
        "extra": ['{"x": [1]}', None, None],
    }
    matrix = np.array([[1.0, -0.5], [-0.0, 2.0**-149], [7.0, 7.0]], dtype=np.float32)
    return records.build(columns, records.from_matrix(matrix, np.array([True, True, False])))


def test_the_digest_is_what_its_definition_says() -> None:
    assert digest(three()) == by_definition(FIRST, SECOND, THIRD)


@pytest.mark.parametrize(("row", "expected"), [(0, FIRST), (1, SECOND), (2, THIRD)])
def test_the_digest_of_each_record_is_what_its_definition_says(row: int, expected: bytes) -> None:
    assert digest(three().slice(row, 1)) == by_definition(expected)


def test_further_vectors_are_added_by_name_with_their_values() -> None:
    batch = samples.further_vectors().slice(0, 1)
    dense = batch.column("vector:title")[0].values
    plain = b"7:id-0000" + b"1:a" + b"16:" + batch.column("vector")[0].values.to_numpy().tobytes()
    plain += b"-" * 5 + b"4:text" + b"-"
    sparse = b"12:sparse:words" + b"16:" + struct.pack("<2I2f", 1, 70, 0.5, 2.0)
    title = b"12:vector:title" + b"8:" + dense.to_numpy().tobytes()
    assert digest(batch) == by_definition(plain + sparse + title)


def test_a_multi_vector_is_all_its_floats_in_order() -> None:
    batch = samples.further_vectors().slice(1, 1)
    plain = b"7:id-0001" + b"1:b" + b"16:" + batch.column("vector")[0].values.to_numpy().tobytes()
    plain += b"-" * 5 + b"4:text" + b"-"
    multi = b"12:multi:tokens" + b"16:" + struct.pack("<4f", 1.0, 2.0, 3.0, 4.0)
    assert digest(batch) == by_definition(plain + multi)


def test_no_records_have_the_sum_zero() -> None:
    assert digest() == digest(records.empty(3)) == EMPTY


# -- what it does not see, and what it sees -------------------------------------------------------------


@pytest.mark.parametrize("name", samples.EVERY)
def test_order_and_batches_make_no_difference(name: str) -> None:
    batch = samples.EVERY[name]()
    backwards = [batch.slice(row, 1) for row in reversed(range(batch.num_rows))]
    assert digest(batch) == digest(*backwards)


def test_digests_of_parts_add_up_to_that_of_the_whole() -> None:
    batch, whole, rest = samples.many(50), ContentDigest(), ContentDigest()
    whole.update(batch.slice(0, 20))
    rest.update(batch.slice(20))
    whole.add(rest)
    assert (whole.records, whole.hexdigest()) == (50, digest(batch))


def test_a_duplicate_counts() -> None:
    batch = samples.many(3)
    assert len({digest(batch), digest(batch, batch), digest(batch, batch, batch), EMPTY}) == 4


@pytest.mark.parametrize("kind", ["string", "int", "uuid"])
def test_what_ids_were_makes_no_difference(kind: str) -> None:
    batch = samples.integer_ids()
    assert digest(records.with_id_type(batch, kind)) == digest(batch)


def test_origin_makes_no_difference_and_a_null_modality_is_text() -> None:
    plain = {"id": ["a"], "text": ["x"]}
    assert digest(records.build(plain)) == digest(
        records.build(plain | {"source_store": ["s"], "vex_version": ["1"], "modality": ["text"]})
    )


def test_white_space_and_the_order_of_keys_make_no_difference() -> None:
    one, two = ({"id": ["a"], "metadata": [text]} for text in ('{"a":1,"b":[1,2]}', ' {"b":[ 1, 2],\n"a":1}'))
    assert digest(records.build(one)) == digest(records.build(two))


def test_a_column_of_nulls_of_any_dimension_is_no_vector() -> None:
    assert digest(records.with_dim(samples.without_vectors(), 9)) == digest(samples.without_vectors())


CHANGES: dict[str, dict[str, Any]] = {
    "another id": {"id": ["b"]},
    "another text": {"text": ["hello "]},
    "null instead of an empty text": {"text": [None]},
    "another model": {"model": ["m2"]},
    "null instead of an empty namespace": {"namespace": [None]},
    "a namespace in place of a model": {"namespace": ["m"], "model": [""]},
    "1 instead of 1.0": {"metadata": ['{"a":1}']},
    "no metadata": {"metadata": [None]},
    "empty metadata": {"metadata": ["{}"]},
    "a microsecond": {"created_at": pa.array([1], pa.int64()).cast(records.TIMESTAMP)},
    "no time": {"created_at": [None]},
    "minus zero as score": {"score": [-0.0]},
    "no score": {"score": [None]},
    "another modality": {"modality": ["image"]},
    "an extra key": {"extra": ['{"k":2}']},
    "no extra": {"extra": [None]},
}
BASE: dict[str, Any] = {
    "id": ["a"],
    "text": [""],
    "model": ["m"],
    "namespace": [""],
    "metadata": ['{"a":1.0}'],
    "created_at": pa.array([0], pa.int64()).cast(records.TIMESTAMP),
    "score": [0.0],
    "modality": ["text"],
    "extra": ['{"k":1}'],
}
VECTOR = np.array([[0.0, 1.0]], dtype=np.float32)


@pytest.mark.parametrize("change", CHANGES)
def test_any_single_change_changes_it(change: str) -> None:
    assert digest(records.build(BASE | CHANGES[change], VECTOR)) != digest(records.build(BASE, VECTOR))


@pytest.mark.parametrize("vector", [None, VECTOR * -1, np.nextafter(VECTOR, np.float32(2)), VECTOR[:, :1]])
def test_another_vector_by_a_single_bit_or_none_changes_it(vector: np.ndarray | None) -> None:
    assert digest(records.build(BASE, vector)) != digest(records.build(BASE, VECTOR))
