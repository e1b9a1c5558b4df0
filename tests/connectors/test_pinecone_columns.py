"""Answers over gRPC as columns say what the same answers say record by record, whoever wrote the records."""

from __future__ import annotations

import importlib
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engines._pinecone_messages import messages
from vexarrow.errors import DataError
from vexarrow.fields import Found

INSIDE = "vexarrow.connectors"  # what no caller can see: which way an answer was read
columns: Any = importlib.import_module(f"{INSIDE}._pinecone_columns").columns
struct_bytes: Any = importlib.import_module(f"{INSIDE}._pinecone_messages").struct_bytes
PackedReader: Any = importlib.import_module(f"{INSIDE}._pinecone_packed").PackedReader
Index: Any = importlib.import_module(f"{INSIDE}._pinecone_schema").Index
form_of: Any = importlib.import_module(f"{INSIDE}._pinecone_shape").form_of
sized: Any = importlib.import_module(f"{INSIDE}._protobuf").sized
MOST_FIELDS: int = importlib.import_module(f"{INSIDE}._protobuf_columns").MOST_FIELDS

INDEX = Index(name="i", host="h", dim=2, metric="cosine", dense="values")
READER = PackedReader(INDEX, form_of(INDEX), Found(), "pinecone://i")
VECTOR = b"\x12\x08" + b"\x00\x00\x80\x3f" * 2

TEXTS = st.text(max_size=12) | st.sampled_from(["", '"', "\\", "\x00\x1f\x7f", "ü€\U0001f600", "a\nb", "x" * 200])
NUMBERS = st.sampled_from([0.0, -0.0, 1.5, 1e300, -1e300, 5e-324, 2.0**53, -(2.0**53), 2.0**63, 1e16, 0.1])
NUMBERS |= st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53).map(float)
VALUES: st.SearchStrategy[Any] = TEXTS | NUMBERS | st.booleans() | st.lists(TEXTS, max_size=3) | st.none()
VALUES |= st.dictionaries(TEXTS, TEXTS | NUMBERS, max_size=2)
KEYS = st.sampled_from(["a", "b", "name", 'qu"ote', "namespace", "page_content", "x" * 130, "ключ"]) | st.text(
    max_size=9
)
MOMENTS = st.sampled_from(["2025-01-15T10:23:00.000Z", "2025-01-15T10:23:00.000001Z", "", "2025-01-15", "soon"])
HIDDEN = st.sampled_from(
    [
        "{}",
        '{"floats":["a"]}',
        '{"floats":["a","name"],"metadata":{"b":null}}',
        '{"metadata":{}}',
        '{"metadata":{"a":{"x":[1,2.0]},"text":3}}',
        '{"namespace":"n","extra":"{}"}',
        '{"floats":[1]}',
        '{"floats":"a"}',
        "[]",
        "no JSON",
        '{"empty":["text"]}',
    ]
)


@st.composite
def metadata(draw: st.DrawFn) -> dict[str, Any]:
    """Metadata as we write it, as others do, or as nobody does."""
    found = draw(st.dictionaries(KEYS, VALUES, max_size=6))
    odd = draw(st.integers(0, 9)) == 0
    for key, values in (("text", TEXTS), ("model", TEXTS), ("created_at", MOMENTS), ("__id__", TEXTS)):
        if draw(st.booleans()):
            found[key] = draw(VALUES if odd else values)
    if draw(st.integers(0, 4)):
        found["__vex__"] = draw(VALUES if odd else HIDDEN)
    return found


def pair(key: str, struct: bytes) -> bytes:
    vector: bytes = sized(b"\x0a", key.encode()) + VECTOR + sized(b"\x1a", struct)
    return bytes(sized(b"\x0a", sized(b"\x0a", key.encode()) + sized(b"\x12", vector)))


def answer(*members: dict[str, Any]) -> bytes:
    return b"".join(pair(f"r{row}", struct_bytes(one)) for row, one in enumerate(members))


def by_columns(data: bytes) -> Any:
    try:
        told = READER.answer(data)
        return READER.batch(sorted(told.found), [told], "s") if told.found else told.more
    except DataError:
        return DataError


def by_records(data: bytes) -> Any:
    try:
        told = READER._by_records(data)
        return super(PackedReader, READER).batch(sorted(told.found), [told], "s") if told.found else told.more
    except DataError:
        return DataError


def same(data: bytes) -> bool:
    one, other = by_columns(data), by_records(data)
    return bool(one.equals(other) if isinstance(one, pa.RecordBatch) and other is not DataError else one == other)


@given(st.lists(metadata(), min_size=1, max_size=5))
def test_columns_say_what_records_say(members: list[dict[str, Any]]) -> None:
    assert same(answer(*members))


@given(st.lists(metadata(), min_size=1, max_size=3))
def test_columns_read_what_the_protocol_writes(members: list[dict[str, Any]]) -> None:
    """The order of members and the numbers of an official writer are other than ours."""
    reply = messages()["FetchResponse"]()
    for row, one in enumerate(members):
        reply.vectors[f"r{row}"].values[:] = [1.0, 2.0]
        reply.vectors[f"r{row}"].metadata.update(one)
    reply.namespace, reply.usage.read_units = "s", 300
    assert same(reply.SerializeToString())


WHOLE = answer(
    {"b": "x", "n": 2.0, "t": True, "l": ["a"], "text": "y", "__vex__": '{"floats":["n"]}'},
    {"q": 'a"b', "created_at": "2025-01-15T10:23:00.000Z", "__vex__": "{}", "__id__": "ü", "long": "z" * 150},
    {"foreign": 1.0},
)
WHOLE += sized(b"\x22", sized(b"\x0a", b"next"))


def test_an_answer_that_is_cut_off_anywhere_is_read_alike() -> None:
    assert by_columns(WHOLE).num_rows == 3
    for stop in range(len(WHOLE)):
        assert same(WHOLE[:stop]), stop


@pytest.mark.parametrize("byte", [0x00, 0x01, 0x0A, 0x12, 0x7F, 0x80, 0xFF])
def test_an_answer_with_any_byte_changed_is_read_alike(byte: int) -> None:
    for at in range(len(WHOLE)):
        assert same(WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]), at


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(answer({"a": 1.0}) * 2, id="an id twice"),
        pytest.param(pair("r", struct_bytes({"a": "x"}) + struct_bytes({"a": "y", "__vex__": "{}"})), id="a key twice"),
        pytest.param(pair("r", sized(b"\x0a", b"\x0a\x01a\x12\x00")), id="a value of no kind"),
        pytest.param(pair("r", sized(b"\x0a", b"\x0a\x01a\x12\x03\x1a\x00\x08\x00"[:-1] + b"\x00")), id="two values"),
        pytest.param(pair("r", sized(b"\x0a", b"\x0a\x01a")), id="no value"),
        pytest.param(pair("r", sized(b"\x0a", b"\x12\x02\x20\x01\x0a\x01a")), id="the value first"),
        pytest.param(pair("r", sized(b"\x0a", b"\x0a\x01a\x12\x03\x20\x81\x00")), id="a long boolean"),
        pytest.param(pair("r", sized(b"\x0a", b"\x0a\x01\xff\x12\x02\x20\x01")), id="a key that is no UTF-8"),
        pytest.param(pair("r", struct_bytes({"a": 1.0})) + b"\x9a\x06\x01x", id="an unknown field"),
        pytest.param(pair("r", struct_bytes({"a": 1.0}) + b"\x10\x05"), id="an unknown field of a struct"),
        pytest.param(sized(b"\x0a", sized(b"\x0a", b"r") + sized(b"\x12", VECTOR)), id="no metadata"),
        pytest.param(sized(b"\x0a", sized(b"\x0a", b"r") + sized(b"\x12", VECTOR * 2 + b"\x1a\x00")), id="two parts"),
        pytest.param(answer({"n": float("nan"), "__vex__": "{}"}), id="not a number"),
        pytest.param(WHOLE + pair("w", struct_bytes({"a": "x" * 20_000, "__vex__": "{}"})), id="a long record"),
        pytest.param(WHOLE + pair("w", b""), id="a record of nothing at the end"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x12\x01s", id="no records"),
    ],
)
def test_what_is_unusual_is_read_as_records(data: bytes) -> None:
    assert same(data)


def test_a_record_of_very_many_members_is_read_too() -> None:
    many = {f"k{row}": float(row) for row in range(MOST_FIELDS + 1)}
    assert same(answer({**many, "__vex__": "{}"}, {"a": "b", "__vex__": "{}"}))


def test_records_of_ours_are_read_as_columns() -> None:
    """Else all of the above would pass without a column."""
    ours = [{"a": "x", "n": 1.0, "__vex__": '{"floats":["n"],"metadata":{"z":null}}'}, {"t": True, "__vex__": "{}"}]
    foreign = {"a": "x"}
    found = columns(["r0", "r1", "r2"], [memoryview(struct_bytes(one)) for one in (*ours, foreign)])
    assert found.plain.tolist() == [True, True, False]
    assert found.columns[-1].to_pylist() == ['{"a":"x","n":1.0,"z":null}', '{"t":true}']


def test_records_of_several_answers_come_in_the_order_of_the_ids() -> None:
    told = [READER.answer(pair(one, struct_bytes({"text": one, "__vex__": "{}"}))) for one in ("c", "a", "b")]
    batch = READER.batch(["a", "b", "missing", "c"], told, "")
    assert batch.column("text").to_pylist() == ["a", "b", "c"]
    assert batch.column("namespace").to_pylist() == [None, None, None]


def test_vectors_of_several_sizes_are_an_error_that_says_so() -> None:
    longer = sized(b"\x0a", sized(b"\x0a", b"w") + sized(b"\x12", b"\x12\x04\x00\x00\x80\x3f\x1a\x00"))
    told = [READER.answer(answer({"a": "b"})), READER.answer(longer)]
    with pytest.raises(DataError, match="vectors of 1 and of 2 dimensions"):
        READER.batch(["r0", "w"], told, "s")


@given(st.dictionaries(TEXTS, VALUES, max_size=5).filter(lambda one: all(map(str, one))))
def test_metadata_of_ours_come_back_as_json_writes_them(members: dict[str, Any]) -> None:
    plain = {key: value for key, value in members.items() if value.__class__ in (str, bool)}
    kept = {
        key: value for key, value in plain.items() if key not in ("text", "model", "created_at", "__vex__", "__id__")
    }
    found = columns(["r"], [memoryview(struct_bytes({**kept, "__vex__": "{}"}))])
    told = found.columns[-1].to_pylist()[0]
    assert told == (orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode() if kept else None)
