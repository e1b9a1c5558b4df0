"""`created_at` in and out."""

from __future__ import annotations

import pyarrow as pa
import pytest

from vexarrow import timestamps
from vexarrow.records import TIMESTAMP

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01", SECOND),
        ("1970-01-01 00:00:01.5", SECOND * 3 // 2),
        (" 1970-01-01T00:00:01Z ", SECOND),
        ("2023-11-14T22:13:20.123456Z", 1_700_000_000_123_456),
        ("20231114T221320Z", 1_700_000_000 * SECOND),
        ("0001-01-01T00:00:00Z", timestamps.FIRST),
        ("9999-12-31T23:59:59.999999Z", timestamps.LAST),
    ],
)
def test_iso_8601_becomes_microseconds_and_is_utc_without_an_offset(text: str, expected: int) -> None:
    assert timestamps.microseconds(text) == (expected, True)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, 0),
        (-1, -SECOND),
        (1_700_000_000, 1_700_000_000 * SECOND),
        (10**11 - 1, (10**11 - 1) * SECOND),
        (10**11, 10**11 * 1000),
        (1_700_000_000_123, 1_700_000_000_123_000),
        (10**14 - 1, (10**14 - 1) * 1000),
        (10**14, 10**14),
        (1_700_000_000_123_456, 1_700_000_000_123_456),
        (1_700_000_000.5, 1_700_000_000_500_000),
        (1_700_000_000_123.0, 1_700_000_000_123_000),
    ],
)
def test_numbers_are_seconds_milliseconds_or_microseconds_by_their_size(number: float, expected: int) -> None:
    assert timestamps.microseconds(number) == (expected, True)


@pytest.mark.parametrize(
    "value", ["2023-11-14T22:13:20.1234567Z", "2023-11-14T22:13:20,123456789Z", 1.0000001, 1_700_000_000_123_456.5]
)
def test_what_is_finer_than_a_microsecond_is_cut_and_said_to_be(value: str | float) -> None:
    assert timestamps.microseconds(value)[1] is False


def test_zeros_beyond_the_microsecond_are_not_finer() -> None:
    assert timestamps.microseconds("1970-01-01T00:00:00.000001000Z") == (1, True)


@pytest.mark.parametrize(
    "value",
    [
        *("", "yesterday", "2023-13-01", "2023-02-30T00:00:00Z", "1700000000", "0000-01-01T00:00:00Z"),
        *(True, False, float("nan"), float("inf"), 10**17, -(10**17), 1e300, -(10**11) + 1, None, [], {}),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
    ],
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="created_at"):
        timestamps.microseconds(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        ["1970-01-01T00:00:00Z", None, "2023-11-14T22:13:20.123Z"],
        [0, None, 1_700_000_000, -1],
        [None, None],
        [],
    ],
)
def test_many_alike_values_are_what_each_of_them_is(values: list[object]) -> None:
    expected = [None if value is None else timestamps.microseconds(value)[0] for value in values]  # type: ignore[arg-type]
    array = timestamps.array(values)
    assert array.type == TIMESTAMP
    assert array.cast(pa.int64()).to_pylist() == expected


@pytest.mark.parametrize(
    "values",
    [
        [0, "1970-01-01T00:00:00Z"],
        [0, 1_700_000_000_123],
        [0.5],
        [True],
        ["1970-01-01T00:00:00.1234567Z"],
        ["yesterday"],
        [10**30],
        [[]],
    ],
)
def test_values_that_are_not_alike_or_not_exact_are_left_to_the_slow_way(values: list[object]) -> None:
    with pytest.raises(ValueError, match=r"not alike|milliseconds"):
        timestamps.array(values)


@pytest.mark.parametrize("text", ["1970-01-01T00:00:01", "1970-01-01", "1970-01-01 00:00:01", "0001-01-01T00:00:00Z"])
def test_the_fast_way_never_differs_from_the_slow_one(text: str) -> None:
    try:
        fast = timestamps.array([text]).cast(pa.int64()).to_pylist()
    except ValueError:
        return
    assert fast == [timestamps.microseconds(text)[0]]


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_123_000, "2023-11-14T22:13:20.123Z"),
        (1_700_000_000_123_456, "2023-11-14T22:13:20.123456Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (timestamps.FIRST, "0001-01-01T00:00:00.000Z"),
        (timestamps.LAST, "9999-12-31T23:59:59.999999Z"),
        (None, None),
    ],
)
def test_text_has_milliseconds_as_in_javascript_and_microseconds_where_there_are_any(
    moment: int | None, text: str | None
) -> None:
    assert timestamps.texts(pa.array([moment], pa.int64()).cast(TIMESTAMP)) == [text]


def test_texts_of_a_slice_are_those_of_its_rows() -> None:
    column = pa.array([0, None, 1, 1000], pa.int64()).cast(TIMESTAMP)
    assert timestamps.texts(column.slice(1, 2)) == [None, "1970-01-01T00:00:00.000001Z"]
