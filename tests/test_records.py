"""The canonical batch: its builders, and vectors in and out of Arrow without a copy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from vexarrow import records
from vexarrow.errors import SchemaError
from vexarrow.testing import facts, samples


def address(matrix: np.ndarray) -> int:
    """Where a matrix is in memory."""
    return int(matrix.__array_interface__["data"][0])


@pytest.fixture
def column() -> pa.FixedSizeListArray:
    """Ten vectors of three dimensions, of which the fifth and the last are null."""
    valid = np.ones(10, dtype=bool)
    valid[[4, 9]] = False
    return records.from_matrix(np.arange(30, dtype=np.float32).reshape(10, 3), valid)


# -- the schema -----------------------------------------------------------------------------------------


def test_the_columns_are_those_of_the_design_in_their_order() -> None:
    expected = "id text vector model namespace metadata created_at score source_store modality vex_version extra"
    assert records.schema(3).names == expected.split()


def test_the_types_are_those_of_the_design() -> None:
    schema = records.schema(3)
    assert schema.field("vector").type == pa.list_(pa.float32(), 3)
    assert schema.field("created_at").type == pa.timestamp("us", tz="UTC")
    assert schema.field("score").type == pa.float64()
    assert schema.field("metadata").type == schema.field("extra").type == pa.json_(pa.string())
    assert [field.name for field in schema if not field.nullable] == ["id"]


@pytest.mark.parametrize("kind", ["string", "int", "uuid"])
def test_the_schema_says_what_ids_were(kind: str) -> None:
    assert records.id_type(records.schema(3, id_type=kind)) == kind


def test_an_unknown_kind_of_ids_is_refused() -> None:
    with pytest.raises(SchemaError, match="float"):
        records.schema(3, id_type="float")


def test_a_schema_without_or_with_foreign_metadata_has_text_ids() -> None:
    assert records.id_type(pa.schema([])) == "string"
    assert records.id_type(pa.schema([], metadata={b"vex.id_type": b"nonsense"})) == "string"


def test_further_vectors_come_last() -> None:
    assert records.schema(3, more=[pa.field("vector:title", records.vector_type(2))]).names[-1] == "vector:title"


# -- building -------------------------------------------------------------------------------------------


def test_columns_that_are_left_out_are_null() -> None:
    batch = records.build({"id": ["a", "b"]})
    assert records.dim(batch) == 0
    assert {name: batch.column(name).null_count for name in batch.schema.names if name != "id"} == dict.fromkeys(
        [name for name in batch.schema.names if name != "id"], 2
    )


def test_arrow_arrays_of_other_types_are_cast() -> None:
    columns = {
        "id": pa.array(["a", "b"], pa.large_string()),
        "text": pa.array(["x", None], pa.string_view()),
        "namespace": pa.chunked_array([["n"], [None]]),
        "score": pa.array([1, None], pa.int32()),
        "created_at": pa.array([1, None], pa.timestamp("s", tz="UTC")),
        "metadata": pa.array(["{}", None], pa.large_string()),
    }
    batch = records.build(columns)
    batch.validate(full=True)
    assert batch.schema.types == records.schema(0).types
    assert batch.column("created_at").cast(pa.int64()).to_pylist() == [1_000_000, None]


def test_an_unknown_column_is_refused_by_name() -> None:
    with pytest.raises(SchemaError, match="colour"):
        records.build({"id": ["a"], "colour": ["red"]})


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(SchemaError, match="unequal"):
        records.build({"id": ["a", "b"], "text": ["x"]})


def test_vectors_of_another_number_than_ids_are_refused() -> None:
    with pytest.raises(SchemaError, match="unequal"):
        records.build({"id": ["a", "b"]}, samples.vectors(3))


def test_an_empty_batch_has_the_dimension_and_the_ids_that_were_asked_for() -> None:
    batch = records.empty(7, id_type="int")
    assert (batch.num_rows, records.dim(batch), records.id_type(batch.schema)) == (0, 7, "int")


def test_json_texts_are_stored_as_they_are_even_when_they_are_no_json() -> None:
    texts = ['{"b":1, "a":1.0}', "not json", None, ""]
    assert records.storage(records.json_array(texts)).to_pylist() == texts


def test_plain_shows_json_as_strings_without_a_copy() -> None:
    batch = samples.metadata()
    plain = records.plain(batch)
    assert plain.schema.field("metadata").type == pa.string()
    before, after = batch.column("metadata").storage.buffers()[2], plain.column("metadata").buffers()[2]
    assert before.address == after.address


# -- matrix and its inverse -----------------------------------------------------------------------------


def test_a_matrix_becomes_a_column_and_a_matrix_again_without_a_copy() -> None:
    matrix = samples.vectors(5, 3)
    again = records.matrix(records.from_matrix(matrix))
    assert address(again) == address(matrix)
    assert not again.flags.writeable


@pytest.mark.parametrize(("start", "rows"), [(0, 10), (3, 4), (4, 1), (9, 1), (10, 0), (0, 0)])
def test_a_slice_of_a_column_is_that_part_of_the_matrix(column: pa.Array, start: int, rows: int) -> None:
    whole, part = records.matrix(column), records.matrix(column.slice(start, rows))
    assert part.shape == (rows, 3)
    np.testing.assert_array_equal(part, whole[start : start + rows])


def test_a_slice_of_a_slice_points_into_the_same_memory(column: pa.Array) -> None:
    part = records.matrix(column.slice(2, 7).slice(1, 3))
    assert address(part) == address(records.matrix(column)) + 3 * 3 * 4


def test_null_rows_keep_their_place(column: pa.Array) -> None:
    assert records.matrix(column).shape == (10, 3)
    assert np.flatnonzero(~records.present(column)).tolist() == [4, 9]
    assert np.flatnonzero(~records.present(column.slice(3, 4))).tolist() == [1]


def test_a_column_of_nulls_alone_is_a_matrix_of_as_many_rows() -> None:
    assert records.matrix(records.no_vectors(4, 3)).shape == (4, 3)
    assert records.matrix(records.no_vectors(4)).shape == (4, 0)


def test_chunks_are_put_together_and_a_single_chunk_is_not_copied(column: pa.Array) -> None:
    several = pa.chunked_array([column.slice(0, 3), column.slice(3, 0), column.slice(3)])
    np.testing.assert_array_equal(
        records.matrix(several)[records.present(column)], records.matrix(column)[[0, 1, 2, 3, 5, 6, 7, 8]]
    )
    single = pa.chunked_array([column.slice(2)])
    assert address(records.matrix(single)) == address(records.matrix(column)) + 2 * 3 * 4


def test_no_chunks_at_all_are_an_empty_matrix() -> None:
    assert records.matrix(pa.chunked_array([], type=records.vector_type(3))).shape == (0, 3)


def test_bits_survive_nan_payloads_and_minus_zero_included() -> None:
    bits = np.array([[0x7FC00001, 0xFFFFFFFF, 0x80000000, 0x00000001]], dtype="<u4")
    again = records.matrix(records.from_matrix(bits.view("<f4")))
    np.testing.assert_array_equal(again.view("<u4"), bits)


@pytest.mark.parametrize("make", [np.asfortranarray, lambda matrix: np.repeat(matrix, 2, axis=0)[::2]])
def test_a_matrix_that_is_not_contiguous_is_copied_into_order(make: object) -> None:
    matrix = samples.vectors(5, 3)
    np.testing.assert_array_equal(records.matrix(records.from_matrix(make(matrix))), matrix)  # type: ignore[operator]


def test_any_array_that_is_no_matrix_is_refused() -> None:
    with pytest.raises(SchemaError, match="two dimensions"):
        records.from_matrix(np.zeros(3, dtype=np.float32))


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 3), pa.float32()])
def test_columns_of_other_types_are_no_vectors(kind: pa.DataType) -> None:
    with pytest.raises(SchemaError, match="fixed_size_list<float32>"):
        records.matrix(pa.nulls(2, kind))


def test_a_null_inside_a_vector_is_refused_and_one_below_a_null_row_is_not() -> None:
    child = pa.array([1.0, 2.0, None, 4.0], pa.float32())
    holed = pa.FixedSizeListArray.from_arrays(child, 2)
    with pytest.raises(SchemaError, match="null component"):
        records.matrix(holed)
    assert records.matrix(holed.slice(0, 1)).tolist() == [[1.0, 2.0]]
    covered = pa.FixedSizeListArray.from_arrays(child, 2, mask=pa.array([False, True]))
    assert records.matrix(covered)[0].tolist() == [1.0, 2.0]


def test_a_batch_without_vectors_takes_any_dimension() -> None:
    batch = records.with_dim(samples.without_vectors(), 5)
    assert records.dim(batch) == 5
    assert batch.column("vector").null_count == batch.num_rows
    assert records.with_dim(batch, 5) is batch


def test_a_batch_with_vectors_keeps_its_dimension() -> None:
    with pytest.raises(SchemaError, match="4 dimensions, not 5"):
        records.with_dim(samples.one(), 5)


# -- kinds of ids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [samples.integer_ids, samples.uuid_ids, samples.odd_ids, samples.mixed_ids])
@pytest.mark.parametrize("kind", ["string", "int", "uuid"])
def test_a_batch_in_a_stream_of_another_kind_of_ids_loses_nothing(sample: object, kind: str) -> None:
    before = sample()  # type: ignore[operator]
    after = records.with_id_type(before, kind)
    assert records.id_type(after.schema) == kind
    assert facts(after) == facts(before)


def test_other_members_of_extra_stay_behind_the_id() -> None:
    batch = samples.batch({"id": ["5", "6", "7"], "extra": ['{"k":1.0}', None, "{}"]}, id_type="int")
    after = records.with_id_type(batch, "string")
    assert records.storage(after.column("extra")).to_pylist() == ['{"id":5,"k":1.0}', '{"id":6}', '{"id":7}']


def test_an_id_that_is_marked_already_is_not_marked_again() -> None:
    once = records.with_id_type(samples.integer_ids(), "string")
    assert facts(records.with_id_type(once, "int")) == facts(samples.integer_ids())
