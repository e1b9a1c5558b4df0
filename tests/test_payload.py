"""Records as flat payloads of stores, and back."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vexarrow import records
from vexarrow.ids import ORIGINAL_ID, original, to_uuid
from vexarrow.jsontext import canonical
from vexarrow.payload import HIDDEN, Found, Shape, is_json, original_ids, pack, unpack


def scalar(value: Any) -> bool:
    """What a store holds that has texts, booleans, floats and nothing else."""
    return isinstance(value, (str, bool)) or (isinstance(value, (int, float)) and abs(value) <= 2**53)


ANY = Shape(holds=is_json)
SCALARS = Shape(holds=scalar, whole_floats=True)


def through(batch: pa.RecordBatch, shape: Shape) -> pa.RecordBatch:
    """The batch after a stay in a store of that shape, which turns all numbers into floats where it says so."""
    kept = [orjson.loads(orjson.dumps(payload)) for payload in pack(batch, shape)]
    if shape.whole_floats:
        kept = [{key: float(v) if type(v) is int else v for key, v in one.items()} for one in kept]
    columns = unpack(kept, shape)
    return records.build({"id": batch.column("id"), **columns})


def same(before: pa.RecordBatch, after: pa.RecordBatch) -> None:
    for name in records.BASE_NAMES:
        left, right = (records.storage(one.column(name)).to_pylist() for one in (before, after))
        if name in ("metadata", "extra"):
            left, right = ([None if text is None else canonical(text) for text in side] for side in (left, right))
        elif name == "vex_version":
            left, right = ([value or records.VMIG_VERSION for value in side] for side in (left, right))
        elif name == "modality":
            left, right = ([value or "text" for value in side] for side in (left, right))
        assert left == right, name


METADATA = [
    None,
    "{}",
    '{"a":1,"b":1.0,"c":null,"d":[1,"x",null],"e":{"f":{}},"text":"mine","__id__":"x","__vex__":"y","":0}',
    '{"a":1,"a":2}',
    '{"huge":123456789012345678901234567890,"small":-9223372036854775808,"u":18446744073709551615}',
    '{"lone":"\\ud800"}',
    '{"e":1e400,"z":-0.0,"big":1e22,"frac":0.1}',
    '{"created_at":"never","namespace":5,"model":true}',
    '{"content":"x"}',
    '{"page_content":"b","metadata":{"k":1}}',
]


@pytest.mark.parametrize("shape", [ANY, SCALARS], ids=["any JSON", "scalars"])
def test_every_field_comes_back(shape: Shape) -> None:
    rows = len(METADATA)
    batch = records.build(
        {
            "id": [str(row) for row in range(rows)],
            "text": ["", None, "x", "ä\0", "{}", "\n", "t", None, None, "t"],
            "model": ["", None, "m", "m", None, "", "x", "y", None, None],
            "namespace": [None, "", "n", "n", None, "", "x", "y", None, None],
            "metadata": METADATA,
            "created_at": pa.array([None, 0, 1, -1, 1_700_000_000_123_456, None, 5, 6, None, None]).cast(
                records.TIMESTAMP
            ),
            "score": [None, 0.0, 1.5, -1.0, 5e-324, None, 1.0, 2.0, None, None],
            "source_store": ["vektor", None, "", "a", "b", "c", None, None, None, None],
            "modality": ["text", "image", None, "", "text", "text", "audio", "text", "text", "text"],
            "vex_version": ["1.0.0", "0.9", None, "", "1.0.0", "1.0.0", "2", "3", "1.0.0", None],
            "extra": [None, "{}", '{"x":1}', '{"id":5}', None, None, '{"dims":3}', '{"y":[{}]}', None, None],
        }
    )
    same(batch, through(batch, shape))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=6), JSON, max_size=4), min_size=1, max_size=4), st.booleans())
def test_any_metadata_comes_back(documents: list[dict[str, Any]], scalars: bool) -> None:
    import json

    texts = [json.dumps(document) for document in documents]
    batch = records.build({"id": [str(row) for row in range(len(texts))], "metadata": texts})
    same(batch, through(batch, SCALARS if scalars else ANY))


@pytest.mark.parametrize("depth", [252, 253, 254, 300])
@pytest.mark.parametrize("shape", [ANY, SCALARS], ids=["any JSON", "scalars"])
def test_metadata_nested_as_deep_as_json_libraries_go_come_back(shape: Shape, depth: int) -> None:
    batch = records.build({"id": ["1"], "metadata": [f'{{"a":{"[" * depth}{"]" * depth}}}']})
    (payload,) = pack(batch, shape)
    assert unpack([payload], shape)["metadata"] == records.storage(batch.column("metadata")).to_pylist()


def test_members_are_keys_of_their_own_so_that_a_store_can_filter_by_them() -> None:
    batch = records.build({"id": ["1"], "text": ["t"], "namespace": ["n"], "metadata": ['{"tag":"x","n":{"y":1}}']})
    (payload,) = pack(batch, SCALARS)
    assert payload == {"tag": "x", "text": "t", "namespace": "n", HIDDEN: '{"metadata":{"n":{"y":1}}}'}


@pytest.mark.parametrize(
    ("payload", "text", "metadata"),
    [
        ({"page_content": "t", "metadata": {"a": 1, "b": {"c": None}}}, "t", '{"a":1,"b":{"c":null}}'),
        ({"page_content": "t", "metadata": {"page_content": 1}}, "t", '{"metadata":{"page_content":1}}'),
        ({"document": "t", "a": 1}, "t", '{"a":1}'),
        (
            {"_node_content": '{"text":"t"}', "doc_id": "d"},
            "t",
            '{"_node_content":"{\\"text\\":\\"t\\"}","doc_id":"d"}',
        ),
        ({"text": "", "namespace": "", "model": "", "created_at": "", "a": 1}, None, '{"a":1}'),
        ({"text": 5, "created_at": "soon"}, None, '{"text":5,"created_at":"soon"}'),
        ({}, None, None),
        (None, None, None),
    ],
)
def test_collections_of_other_tools_are_read(
    payload: dict[str, Any] | None, text: str | None, metadata: str | None
) -> None:
    found = unpack([payload], ANY)
    assert (found["text"], found["metadata"]) == ([text], [metadata])
    assert found["namespace"] == [None]


def test_options_say_where_the_fields_of_other_tools_are() -> None:
    payload = {"body": "t", "text": "no", "tenant": "x", "key": 7, "more": {"a": 1}}
    where = Found(text="body", namespace="tenant", id="key", metadata="more")
    found = unpack([payload], ANY, where)
    assert found["text"] == ["t"]
    assert found["namespace"] == ["x"]
    assert orjson.loads(found["metadata"][0]) == {"text": "no", "key": 7, "a": 1}
    assert original_ids([payload], ["u"], where) == ["7"]


def test_ids_become_the_uuids_that_other_tools_make_of_them() -> None:
    assert to_uuid("doc-1") == "3f622591-baa6-5888-8a4f-6b3813e16a44"
    assert to_uuid("doc-1", "weaviate") == "eea9cb72-744e-5814-a929-652d970d86ac"
    assert to_uuid("6BA7B810-9DAD-11D1-80B4-00C04FD430C8") == "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    for number in range(300):
        assert to_uuid(f"ä {number}") == str(uuid.uuid5(uuid.NAMESPACE_URL, f"ä {number}"))
    assert original("doc-1", to_uuid("doc-1")) == "doc-1"
    assert original_ids([{ORIGINAL_ID: "doc-1"}, {}], ["u", "v"]) == ["doc-1", "v"]


@pytest.mark.parametrize("said", ['{"metadata":[]}', '{"floats":5}', '{"empty":null}', '{"metadata":"x"}', "[]", "{"])
def test_a_hidden_key_that_is_none_of_ours_is_metadata(said: str) -> None:
    shape = Shape(is_json, whole_floats=True)
    columns = unpack([{HIDDEN: said, "a": 1.0, "text": "t"}], shape)
    assert orjson.loads(columns["metadata"][0]) == {HIDDEN: said, "a": 1}
    assert columns["text"] == ["t"]
