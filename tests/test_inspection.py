"""`inspect` counts exactly what is there, and its report says so."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from tests.pages import Batches
from vexarrow import records
from vexarrow.digest import ContentDigest
from vexarrow.inspection import Inspection, inspect
from vexarrow.inspection_text import columns, fit, render, shown, size
from vexarrow.metadata_keys import Key, MetadataKeys, MetadataReport
from vexarrow.norms import Norms
from vexarrow.protocols import Reject
from vexarrow.selected import Selected
from vexarrow.selection import Selection

MORNING, EVENING = datetime(2025, 1, 15, 10, 23, tzinfo=UTC), datetime(2026, 2, 1, 20, 0, 0, 5, tzinfo=UTC)


def three() -> pa.RecordBatch:
    """Three records: one complete, one without vector, one without text."""
    columns = {
        "id": ["a", "b", "日本"],
        "text": ["naïve café", "", None],
        "model": ["m", "m", None],
        "namespace": ["libs", "", None],
        "metadata": ['{"tags":"x","n":1,"f":1.0}', '{"tags":null,"deep":{"a":[1]}}', None],
        "created_at": [EVENING, None, MORNING],
        "score": [0.5, None, -2.0],
        "modality": ["text"] * 3,
        "vex_version": ["1.0.0"] * 3,
    }
    vectors = np.array([[3, 4], [9, 9], [0, 1]], dtype=np.float32)
    return records.build(columns, records.from_matrix(vectors, np.array([True, False, True])))


def numbered(ids: Sequence[str], vectors: Any = None, **columns: Any) -> pa.RecordBatch:
    return records.build({"id": ids, **columns}, vectors)


def inspected(*batches: pa.RecordBatch, **options: Any) -> Inspection:
    return inspect(Batches(batches), name="in.vmig.jsonl", **options)


# -- what is counted ---------------------------------------------------------------------------------------------------


def test_an_empty_source_has_no_records_and_a_report() -> None:
    found = inspected()
    assert (found.records, found.dims, found.norms.measured, found.namespaces.distinct) == (0, {}, 0, 0)
    assert found.bytes_per_record is None
    assert "records        : 0" in render(found)
    assert inspected(records.empty(3)).records == 0


def test_every_column_is_counted() -> None:
    found = inspected(three())
    assert found.records == 3
    assert (found.dims, found.null_vectors) == ({2: 2}, 1)
    assert found.namespaces.top == ((None, 1), ("", 1), ("libs", 1))
    assert found.models.top == (("m", 2), (None, 1))
    assert found.source_stores.top == ((None, 3),)
    assert (found.texts.count, found.texts.null, found.texts.empty) == (2, 1, 1)
    assert (found.texts.min, found.texts.mean, found.texts.max) == (0, 5.0, 10)
    assert (found.score.min, found.score.max, found.score.null) == (-2.0, 0.5, 1)


def test_times_are_iso_8601_with_what_microseconds_there_are() -> None:
    found = inspected(three()).created_at
    assert (found.min, found.max, found.null) == ("2025-01-15T10:23:00.000Z", "2026-02-01T20:00:00.000005Z", 1)


@pytest.mark.parametrize("rows", [1, 2, 4096])
def test_the_size_of_pages_changes_nothing(rows: int) -> None:
    batches = (three(), three().slice(1), numbered(["q"], np.ones((1, 5), np.float32)))
    assert inspected(*batches, rows=rows) == inspected(*batches)


def test_a_slice_is_measured_by_its_own_vectors() -> None:
    vectors = np.array([[np.nan], [2], [5], [1e30]], dtype=np.float32)
    found = inspected(numbered(list("abcd"), vectors).slice(1, 2)).norms
    assert (found.measured, found.min, found.max, found.not_finite) == (2, 2.0, 5.0, 0)


def test_dimensions_are_counted_each() -> None:
    found = inspected(numbered(["a"], np.ones((1, 3), np.float32)), numbered(["b", "c"], np.ones((2, 2), np.float32)))
    assert found.dims == {2: 2, 3: 1}
    assert "dimension      : 3: 1 record" in render(found)


def test_rejects_are_counted_by_reason_and_the_first_are_shown() -> None:
    rejects = [Reject("malformed-json", f"broken {n}", line=n) for n in range(1, 8)] + [Reject("missing-id", "no id")]
    found = inspect(Batches([three()], rejects={0: rejects}, size=1100), name="x")
    assert found.rejected == {"malformed-json": 7, "missing-id": 1}
    assert [one.line for one in found.rejects] == [1, 2, 3, 4, 5]
    assert found.bytes_per_record == 100.0
    assert "rejected       : 8 that could not be read" in render(found)


def test_duplicate_ids_are_counted_and_the_first_are_placed() -> None:
    found = inspected(numbered(["a", "b", "a"]), numbered(["b", "a", "c"])).duplicates
    assert (found.distinct, found.duplicates, found.repeated) == (3, 3, 2)
    assert [(one.id, one.first.line, one.later.line) for one in found.examples] == [("a", 1, 3), ("b", 2, 4)]


def test_further_vectors_are_counted_where_they_are_present() -> None:
    title = records.from_matrix(np.ones((2, 3), np.float32), np.array([True, False]))
    sparse = pa.array([{"indices": [1], "values": [0.5]}, None])
    batch = records.build({"id": ["a", "b"]}, more={"vector:title": title, "sparse:words": sparse})
    found = {one.name: one.dims for one in inspected(batch).further_vectors}
    assert found == {"vector:title": {3: 1}, "sparse:words": {None: 1}}


def test_the_digest_sees_every_record() -> None:
    digest = ContentDigest()
    digest.update(three())
    assert inspected(three(), digest=ContentDigest()).content_digest == digest.hexdigest()
    assert inspected(three()).content_digest is None


def test_only_wanted_records_are_looked_at() -> None:
    batch = numbered(["a", "b", "c", "d"], namespace=["x", "y", "x", "x"])
    found = inspect(Selected(Batches([batch], size=400), Selection(namespaces=("x",))))
    assert (found.records, found.skipped, found.namespaces.top) == (3, 1, (("x", 3),))
    assert found.bytes_per_record == 100.0


def test_the_lines_of_wanted_records_stay_theirs() -> None:
    batch = numbered(["q", "a", "q", "a"], namespace=["y", "x", "y", "x"])
    (one,) = inspect(Selected(Batches([batch]), Selection(namespaces=("x",)))).duplicates.examples
    assert (one.first.line, one.later.line) == (2, 4)


def test_mixed_kinds_of_ids_are_told() -> None:
    found = inspected(numbered(["a"]), records.build({"id": ["1", "2"]}, id_type="int"))
    assert found.id_types == {"int": 2, "string": 1}


def test_the_json_form_is_plain_json() -> None:
    found = inspected(three(), three(), digest=ContentDigest())
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["records"] == 6
    assert plain["dims"] == {"2": 4}
    assert plain["namespaces"]["top"][0] == {"value": None, "count": 2}
    assert plain["duplicates"]["duplicates"] == 3
    assert plain["duplicates"]["examples"][0]["later"]["line"] == 4
    assert plain["metadata"]["keys"][0]["types"] == {"null": 2, "string": 2}


# -- norms -------------------------------------------------------------------------------------------------------------


def normed(*matrices: Any) -> Norms:
    norms = Norms()
    for matrix in matrices:
        norms.add(np.array(matrix, dtype=np.float32))
    return norms


def test_norm_statistics_are_those_of_all_batches_together() -> None:
    rng = np.random.default_rng(7)
    values = rng.standard_normal((5000, 16)).astype(np.float32)
    found = normed(values[:10], values[10:3000], values[3000:]).result()
    exact = np.linalg.norm(values.astype(np.float64), axis=1)
    assert found.measured == sum(one.count for one in found.histogram) == 5000
    assert found.mean == pytest.approx(exact.mean(), rel=1e-12)
    assert found.std == pytest.approx(exact.std(), rel=1e-9)
    assert (found.min, found.max) == pytest.approx((exact.min(), exact.max()), rel=1e-15)


def test_the_bins_hold_just_the_norms_within_their_edges() -> None:
    lengths = np.random.default_rng(8).uniform(0.5, 4, 3000).astype(np.float32)
    found = normed(lengths.reshape(-1, 1)).result()
    assert 6 <= len(found.histogram) <= 12
    for one in found.histogram:
        assert one.count == int(((lengths >= one.low) & (lengths < one.high)).sum())
    assert [one.high for one in found.histogram][:-1] == [one.low for one in found.histogram][1:]


def test_norms_of_many_magnitudes_have_bins_of_equal_ratio() -> None:
    found = normed([[10.0**power] for power in range(-20, 21)]).result().histogram
    assert sum(one.count for one in found) == 41
    assert max(one.count for one in found) <= 5


def test_unit_vectors_fall_into_one_bin_despite_their_rounding() -> None:
    values = np.random.default_rng(9).standard_normal((1000, 384)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    found = normed(values).result()
    assert found.unit == 1000
    assert [one.count for one in found.histogram] == [1000]


def test_zero_and_not_finite_vectors_are_counted_apart() -> None:
    found = normed([[0, 0], [3, 4], [np.nan, 1], [np.inf, 1], [-0.0, 0]]).result()
    assert (found.measured, found.zero, found.not_finite, found.mean) == (1, 2, 2, 5.0)


def test_the_greatest_and_smallest_float32_neither_overflow_nor_vanish() -> None:
    found = normed([[3.4e38, 3.4e38], [1e-45, 0]]).result()
    assert (found.measured, found.zero, found.not_finite) == (2, 0, 0)


# -- metadata ----------------------------------------------------------------------------------------------------------


def keyed(*texts: str | None, listed: int = 10_000) -> MetadataReport:
    keys = MetadataKeys(listed)
    keys.add(records.json_array(list(texts)))
    found = keys.result()
    keys.close()
    return found


def test_keys_have_types_fill_and_an_example() -> None:
    found = keyed('{"a":1,"b":"x"}', '{"b":null,"a":2}', '{"a":1.5}', None, "{}")
    assert (found.objects, found.null) == (4, 1)
    assert found.keys == (
        Key("a", 3, 3, {"integer": 2, "number": 1}, "1"),
        Key("b", 2, 1, {"null": 1, "string": 1}, '"x"'),
    )


def test_every_json_type_is_known() -> None:
    found = keyed('{"s":"","i":-1,"n":1e3,"t":true,"z":null,"o":{"k":1},"l":[1]}')
    types = {key.name: next(iter(key.types)) for key in found.keys}
    assert types == {
        "s": "string",
        "i": "integer",
        "n": "number",
        "t": "boolean",
        "z": "null",
        "o": "object",
        "l": "array",
    }
    assert {key.name: key.example for key in found.keys}["o"] == '{"k":1}'


@pytest.mark.parametrize("digits", ["9223372036854775808", "18446744073709551616", "1" * 400, "-" + "9" * 5000])
def test_an_integer_of_any_size_is_an_integer(digits: str) -> None:
    (key,) = keyed(f'{{"n":{digits}}}').keys
    assert key.types == {"integer": 1}
    assert key.example is not None
    assert digits.startswith(key.example.rstrip("…"))


def test_a_key_that_occurs_twice_in_a_record_counts_once() -> None:
    (key,) = keyed('{"a":1,"a":"x"}').keys
    assert key.records == 1


def test_lone_surrogates_are_shown_as_escapes() -> None:
    (key,) = keyed('{"\\ud800":"\\udfff"}').keys
    assert (key.name, key.example) == ("\\ud800", '"\\udfff"')


def test_what_is_no_object_or_no_json_is_counted_apart() -> None:
    deep = "[" * 100_000
    found = keyed("[1]", '"x"', "5", "{", "", '{"a":NaN}', deep, '{"a":1}')
    assert (found.objects, found.other, found.unreadable) == (1, 3, 4)


def test_keys_beyond_the_limit_are_counted() -> None:
    found = keyed(*(f'{{"key{n}":1,"same":2}}' for n in range(20)), listed=5)
    assert len(found.keys) == 5
    assert found.more_keys == 16


def test_long_examples_are_cut() -> None:
    (key,) = keyed(orjson.dumps({"a": "x" * 1000}).decode()).keys
    assert key.example is not None
    assert len(key.example) == 60


# -- the report --------------------------------------------------------------------------------------------------------


def many() -> Inspection:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((40, 8)).astype(np.float32)
    namespaces = [f"名前空間 {n % 15}" if n % 2 else None for n in range(40)]
    metadata = [
        f'{{"a very long key that goes on and on":{n},"日本":"{"語" * 90}","control":"\\u001b[31m"}}' for n in range(40)
    ]
    batch = numbered([str(n) for n in range(40)], vectors, namespace=namespaces, metadata=metadata)
    return inspect(Batches([batch, batch.slice(3, 9)], size=516_551_528), name="a/very/long/name/" * 9 + "x.vmig.jsonl")


@pytest.mark.parametrize("width", [10, 60, 80, 200])
def test_no_line_is_wider_than_asked_for(width: int) -> None:
    lines = render(many(), width).splitlines()
    assert max(map(columns, lines)) <= max(width, 60)
    assert all(line[0] in "┌├│└" for line in lines)


def test_the_report_says_what_it_leaves_out() -> None:
    found = many()
    text = render(found, top=4)
    rest = found.records - sum(count for _, count in found.namespaces.top[:4])
    assert found.namespaces.distinct == 16
    assert "(none)" in text
    assert f"… and 12 more with {rest} records" in text
    assert "… and 4 more ids" in text
    assert "516.6 MB" in text


def test_nothing_in_the_data_can_drive_the_terminal() -> None:
    batch = numbered(["\x1b[2J"] * 2, namespace=["\x1b]0;x\x07", "a\nb"], model=["\u202e"] * 2)
    text = render(inspect(Batches([batch]), name="\x1b[1m"))
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    assert "\\u001b[2J" in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "(none)"), ("", '""'), ("(none)", '"(none)"'), (" x", '" x"'), ("x y", "x y"), ("\t", '"\\t"')],
)
def test_values_that_would_mislead_are_in_quotes(value: str | None, expected: str) -> None:
    assert shown(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("ab", "ab  "), ("abcde", "abc…"), ("日本語", "日… "), ("日本", "日本")]
)
def test_texts_fit_by_the_columns_that_they_take(text: str, expected: str) -> None:
    assert fit(text, 4) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB")],
)
def test_sizes_are_in_powers_of_1000(count: int, expected: str) -> None:
    assert size(count) == expected


def test_shares_are_100_percent_of_all_only() -> None:
    batch = numbered([str(n) for n in range(5000)], namespace=["x"] * 4999 + ["y"])
    text = render(inspected(batch))
    assert "4,999   99.9 %" in text
    assert "1    0.1 %" in text


def test_settings_of_a_store_are_lines_of_their_paths_without_what_is_empty() -> None:
    nested = {
        "vectors": {"": {"size": 4}},
        "m": "16",
        "on": False,
        "none": None,
        "nothing": {},
        "list": ["a"],
        "no": [],
    }
    source = Batches([numbered(["a"])])
    text = render(inspect(source, replace(source.describe(), metric="dot", settings={"qdrant": nested, "other": {}})))
    assert "│ metric         : dot" in text
    (section,) = re.findall(r"├─ qdrant settings ─+\n((?:│.*\n)+)", text)
    assert section.splitlines() == [
        '│ vectors."".size : 4',
        "│ m               : 16",
        "│ on              : false",
        '│ list            : ["a"]',
    ]
    assert "other settings" not in text


def test_real_records_are_counted(real: Mapping[str, Any]) -> None:
    batch, source = real["batch"], real["records"]
    found = inspected(batch)
    assert found.records == len(source)
    assert found.norms.unit == len(source)
    keys = {key.name: key for key in found.metadata.keys}
    assert keys["homepage"].filled == sum(one["metadata"]["homepage"] is not None for one in source)
    assert dict(found.namespaces.top)["libs"] == sum(one["namespace"] == "libs" for one in source)


@pytest.fixture(scope="module")
def real() -> Mapping[str, Any]:
    """Real records of the test data, read without our reader."""
    path = Path(__file__).parent / "data" / "debian.vmig.jsonl"
    source = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    columns = {name: [one[name] for one in source] for name in ("id", "text", "model", "namespace")}
    columns["metadata"] = [orjson.dumps(one["metadata"]).decode() for one in source]
    vectors = np.array([one["vector"] for one in source], dtype=np.float32)
    return {"batch": records.build(columns, vectors), "records": source}
