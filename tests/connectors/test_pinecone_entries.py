"""Metadata that are written as columns are the bytes that they are record by record."""

from __future__ import annotations

import importlib
import json
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vexarrow import records

INSIDE = "vexarrow.connectors"  # what no caller can see: which way records were written
entries: Any = importlib.import_module(f"{INSIDE}._pinecone_entries").entries
packed: Any = importlib.import_module(f"{INSIDE}._pinecone_packed").packed
messages: Any = importlib.import_module(f"{INSIDE}._pinecone_messages")
shape: Any = importlib.import_module(f"{INSIDE}._pinecone_shape")
Index: Any = importlib.import_module(f"{INSIDE}._pinecone_schema").Index

FORM = shape.form_of(Index(name="i", host="h", dim=2, metric="cosine", dense="values"))
TEXTS = st.text(max_size=9) | st.sampled_from(["", '"', "\\", "\x00", "ü€\U0001f600", "x" * 127, "x" * 20_000])
NUMBERS = st.sampled_from([0, -0.0, 1.0, 2.5, 1e300, 2**53, 2**53 + 1, -(2**53), 2**64 - 1, 5e-324, 1e16])
NUMBERS |= st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
PLAIN = TEXTS | st.booleans() | NUMBERS
VALUES = PLAIN | st.none() | st.lists(PLAIN, max_size=2) | st.dictionaries(TEXTS, PLAIN, max_size=2)
KEYS = st.sampled_from(["a", "b", "text", "model", "__vex__", "__id__", "$a", "", "page_content", "k" * 130])
KEYS |= st.text(max_size=5)
OBJECTS = st.dictionaries(KEYS, PLAIN, max_size=5) | st.dictionaries(KEYS, VALUES, max_size=5)
METADATA = OBJECTS.map(lambda one: orjson.dumps(one).decode()) | OBJECTS.map(json.dumps)
METADATA |= st.sampled_from(
    [None, "{}", "{ }", '{"a":1,"a":2}', '{"a":1e400}', '{"a":1.0e2}', "[]", "{", "", '{"a":1}']
)


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    rows = draw(st.integers(1, 4))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    columns = {
        "id": column(st.sampled_from(["a", "b", "ü", "", "x" * 600])),
        "text": column(st.none() | TEXTS),
        "model": column(st.sampled_from([None, "m", ""])),
        "namespace": column(st.sampled_from([None, "n", "", "ü"])),
        "metadata": column(METADATA),
        "created_at": column(st.sampled_from([None, 0, 1_736_936_580_000_000, 1])),
        "extra": column(st.sampled_from([None, None, '{"x":1}'])),
        "score": column(st.sampled_from([None, None, 0.5])),
    }
    if draw(st.booleans()):
        columns["source_store"] = column(st.sampled_from([None, "qdrant"]))
        columns["modality"] = column(st.sampled_from([None, "text", "image"]))
        columns["vex_version"] = column(st.sampled_from([None, "1.0.0", "2"]))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1.0] * 2 * rows, pa.float32()), 2)
    return records.build(columns, vectors)


@given(batches(), st.sampled_from([None, "n"]), st.integers(0, 2))
def test_columns_are_written_as_records_are(batch: pa.RecordBatch, fixed: str | None, start: int) -> None:
    """Also those of a part of a batch, whose arrays begin elsewhere."""
    batch = batch.slice(min(start, batch.num_rows - 1))
    to, made = packed(batch, FORM, fixed, None, None)
    by_records = shape.addressed(batch, FORM, fixed, None)
    said = [messages.struct_bytes(one) for one in by_records.metadata]
    raw = memoryview(b"\x00\x00\x80\x3f" * 2 * batch.num_rows)
    assert made.texts == messages.vectors_bytes(by_records.ids, raw, said, None)
    assert (to.ids, to.namespaces) == (by_records.ids, by_records.namespaces)
    assert [*to.metadata] == [*by_records.metadata]


@pytest.mark.parametrize(
    ("metadata", "done"),
    [
        ('{"a":"x","b":1,"c":1.0,"d":true,"e":false}', True),
        ('{"a":"x", "b":1}', True),
        (None, True),
        ("{}", False),
        ('{"a":null}', False),
        ('{"a":[1]}', False),
        ('{"a":9007199254740993}', False),
        ('{"text":"x"}', False),
        ('{"$a":1}', False),
        ('{"a":1,"a":2}', False),
    ],
)
def test_what_needs_more_in_vex_is_left_to_records(metadata: str | None, *, done: bool) -> None:
    """Else the test above would pass without a column."""
    batch = records.build({"id": ["r", "s"], "metadata": [metadata, '{"a":1}']})
    assert entries(batch, ()).done.tolist() == [done, True]
    assert entries(batch, {1}).done.tolist() == [done, False]


def test_fields_of_a_text_or_none_are_written_as_columns() -> None:
    columns = {"id": ["r", "s"], "text": ["x", None], "model": ["m", ""], "source_store": ["qdrant", None]}
    assert entries(records.build(columns), ()).done.tolist() == [True, False]
