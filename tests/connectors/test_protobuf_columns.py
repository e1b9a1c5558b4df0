"""Many messages read at once are what each of them says on its own."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from numpy.typing import NDArray

_json: Any = importlib.import_module("vexarrow.connectors._json_columns")
_one: Any = importlib.import_module("vexarrow.connectors._protobuf")
_many: Any = importlib.import_module("vexarrow.connectors._protobuf_columns")
fields, sized, varint = _one.fields, _one.sized, _one.varint
inner, numbers, texts, walk = _json.inner, _json.numbers, _many.texts, _many.walk
MOST_FIELDS: int = _many.MOST_FIELDS
Unusual: type[ValueError] = _many.Unusual

FIELD = st.one_of(
    st.builds(lambda number, data: sized(varint(number << 3 | 2), data), st.integers(1, 3000), st.binary(max_size=200)),
    st.builds(lambda number, value: varint(number << 3) + varint(value), st.integers(1, 20), st.integers(0, 2**27)),
    st.builds(
        lambda number, data: varint(number << 3 | 1) + data, st.integers(1, 20), st.binary(min_size=8, max_size=8)
    ),
    st.builds(
        lambda number, data: varint(number << 3 | 5) + data, st.integers(1, 20), st.binary(min_size=4, max_size=4)
    ),
)
MESSAGES = st.lists(st.lists(FIELD, max_size=4).map(b"".join), max_size=6)


def placed(messages: list[bytes]) -> tuple[bytes, NDArray[np.int64], NDArray[np.int64]]:
    bounds = np.cumsum([1, *map(len, messages)])
    return b"\xff" + b"".join(messages) + b"\xff" * 20, bounds[:-1], bounds[1:]


def walked(messages: list[bytes]) -> list[list[tuple[int, bytes]]]:
    data, starts, stops = placed(messages)
    found: list[list[tuple[int, bytes]]] = [[] for _ in messages]
    for step in walk(np.frombuffer(data, np.uint8), starts, stops).steps:
        for owner, number, _, start, stop in zip(*(column.tolist() for column in step), strict=True):
            found[owner].append((number, data[start:stop]))
    return found


@given(MESSAGES)
def test_every_field_is_found_where_it_is(messages: list[bytes]) -> None:
    said = [
        [(number, value if isinstance(value, bytes) else varint(value)) for number, value in fields(one)]
        for one in messages
    ]
    assert walked(messages) == said


@given(MESSAGES, st.data())
def test_a_message_that_is_cut_off_is_unusual_or_what_is_left_of_it(messages: list[bytes], data: st.DataObject) -> None:
    """Never does it take the bytes of the next message for its own."""
    whole = [one for one in messages if one]
    cut = [one[: data.draw(st.integers(0, len(one)))] for one in whole]
    try:
        said = [list(fields(one)) for one in cut]
    except ValueError:
        with pytest.raises(Unusual):
            walked(cut)
    else:
        assert [[number for number, _ in one] for one in walked(cut)] == [[number for number, _ in one] for one in said]


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_bytes_of_any_kind_are_read_or_unusual(messages: list[bytes]) -> None:
    try:
        found = walked(messages)
    except Unusual:
        return
    assert all(len(data) <= len(one) for fields_of, one in zip(found, messages, strict=True) for _, data in fields_of)


def test_messages_outside_of_the_buffer_and_of_very_many_fields_are_unusual() -> None:
    data = np.frombuffer(b"\x08\x01" * (MOST_FIELDS + 1), np.uint8)
    for starts, stops in (([-1], [2]), ([0], [len(data) + 1]), ([2], [1]), ([0], [len(data)])):
        with pytest.raises(Unusual):
            walk(data, np.array(starts), np.array(stops))


def test_texts_are_utf8_and_in_order() -> None:
    assert texts("aübc".encode(), np.array([1, 3, 4]), np.array([3, 3, 5])).to_pylist() == ["ü", "", "c"]
    for starts, stops in (([1], [2]), ([3, 0], [4, 1])):
        with pytest.raises(Unusual):
            texts("aübc".encode(), np.array(starts), np.array(stops))


@given(st.lists(st.text(max_size=8) | st.sampled_from(['"', "\\", "\x7f", "\x1f", ""]), max_size=8))
def test_texts_are_escaped_as_json_has_them(given_texts: list[str]) -> None:
    found, place = inner(pa.array(given_texts, pa.string()))
    assert found.take(pa.array(place)).to_pylist() == [orjson.dumps(one)[1:-1].decode() for one in given_texts]


@given(st.lists(st.tuples(st.floats(-(2.0**62), 2.0**62), st.booleans()), min_size=1, max_size=8))
def test_numbers_are_written_as_json_has_them(pairs: list[tuple[float, bool]]) -> None:
    values, floats = np.array([one for one, _ in pairs]), np.array([kept for _, kept in pairs])
    found, place = numbers(values, floats)
    said = [orjson.dumps(int(one) if one.is_integer() and not kept else one).decode() for one, kept in pairs]
    assert found.take(pa.array(place)).to_pylist() == said
