"""`validate` finds every breach of the format's rules, says where it is, and counts it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pages import Batches
from vexarrow import records
from vexarrow.metadata_check import MetadataCheck, examine
from vexarrow.protocols import Reject
from vexarrow.validation import Finding, Validation, validate

NAN, INF = np.nan, np.inf


def good(ids: Sequence[str], vectors: Any = None, **columns: Any) -> pa.RecordBatch:
    """Records without fault, but for what `columns` and `vectors` replace."""
    count = len(ids)
    if vectors is None:
        vectors = np.ones((count, 2), dtype=np.float32)
    usual = {"id": ids, "text": ["t"] * count, "vex_version": ["1.0.0"] * count, "modality": ["text"] * count}
    return records.build({**usual, **columns}, vectors)


def checked(*batches: pa.RecordBatch, **options: Any) -> Validation:
    return validate(Batches(batches), **options)


def rules(found: Validation) -> dict[str, int]:
    return {one.rule: one.count for one in found.rules}


def only(found: Validation) -> Finding:
    (finding,) = found.findings
    return finding


# -- what is right -----------------------------------------------------------------------------------------------------


def test_records_without_fault_are_valid() -> None:
    found = checked(good(["a", "日本"], metadata=['{"a":1,"b":null,"c":"[{"}', "{}"]), good(["c"], text=[None]))
    assert found == Validation("", 3, 3, (), ())
    assert found.ok


def test_an_empty_source_is_valid() -> None:
    assert checked().ok
    assert checked(records.empty(4)).records == 0


def test_the_real_records_are_valid() -> None:
    lines = (Path(__file__).parent / "data" / "debian.vmig.jsonl").read_bytes().splitlines()
    source = [orjson.loads(line) for line in lines]
    metadata = [orjson.dumps(one["metadata"]).decode() for one in source]
    vectors = np.array([one["vector"] for one in source], dtype=np.float32)
    batch = good([one["id"] for one in source], vectors, metadata=metadata)
    found = checked(batch, rows=50)
    assert (found.valid, found.rules) == (len(source), ())


# -- the rules ---------------------------------------------------------------------------------------------------------

BREACHES = [
    ("missing-id", "error", {"ids": ["a", ""]}),
    ("missing-version", "error", {"vex_version": ["1.0.0", None]}),
    ("missing-version", "error", {"vex_version": ["1.0.0", ""]}),
    ("unknown-version", "warning", {"vex_version": ["1.0.0", "2.0.0"]}),
    ("vector-not-finite", "error", {"vectors": np.array([[1, 2], [1, NAN]], np.float32)}),
    ("vector-not-finite", "error", {"vectors": np.array([[1, 2], [-INF, 1]], np.float32)}),
    ("zero-vector", "warning", {"vectors": np.array([[1, 2], [0, -0.0]], np.float32)}),
    ("no-vector", "warning", {"vectors": records.from_matrix(np.ones((2, 2), np.float32), np.array([True, False]))}),
    ("mixed-models", "warning", {"model": ["one", "two"]}),
    ("mixed-id-types", "warning", {"extra": ['{"agent_id":"x"}', '{"id":5}']}),
    ("metadata-type", "error", {"metadata": [None, "[1]"]}),
    ("metadata-type", "error", {"metadata": [None, '"x"']}),
    ("metadata-type", "error", {"metadata": [None, "5"]}),
    ("metadata-not-json", "error", {"metadata": ["{}", '{"a":']}),
    ("metadata-not-json", "error", {"metadata": ["{}", '{"a":NaN}']}),
    ("metadata-not-json", "error", {"metadata": ["{}", "[" * 100_000]}),
    ("metadata-nested", "error", {"metadata": ["{}", '{"tags":["a","b"]}']}),
    ("metadata-nested", "error", {"metadata": ["{}", '{"a":\n{}}']}),
    ("metadata-duplicate-key", "error", {"metadata": ["{}", '{"a":1,"a":1}']}),
    ("metadata-duplicate-key", "error", {"metadata": ["{}", '{"a":1,"\\u0061":1}']}),
    ("metadata-big-integer", "warning", {"metadata": ["{}", '{"a":9007199254740993}']}),
    ("metadata-big-integer", "warning", {"metadata": ["{}", '{"a":-18446744073709551616}']}),
    ("metadata-big-integer", "warning", {"metadata": ["{}", f'{{"a":{"1" * 5000}}}']}),
    ("lone-surrogate", "error", {"metadata": ["{}", '{"a":"\\ud83d"}']}),
]


@pytest.mark.parametrize(
    ("rule", "severity", "change"), BREACHES, ids=[f"{one[0]}-{n}" for n, one in enumerate(BREACHES)]
)
def test_a_breach_is_found_in_its_line(rule: str, severity: str, change: dict[str, Any]) -> None:
    change = {"ids": ["a", "b"], **change}
    found = checked(good(["x"], model=change.get("model", [None])[:1]), good(**change))
    finding = only(found)
    assert (finding.rule, finding.severity, finding.line, finding.file) == (rule, severity, 3, "in.vmig.jsonl")
    assert finding.id == change["ids"][1]
    assert finding.message
    assert (found.ok, found.valid) == ((True, 3) if severity == "warning" else (False, 2))


def test_a_record_needs_text_or_a_vector() -> None:
    vectors = records.no_vectors(3, 2)
    found = checked(good(["a", "b", "c"], vectors, text=[None, "", "t"]))
    assert rules(found) == {"empty-record": 1, "no-vector": 2}


def test_each_nested_key_is_named() -> None:
    found = checked(good(["a"], metadata=['{"tags":["x"],"n":1,"sub\\"ject":{"a":[{}]}}']))
    assert [one.message for one in found.findings] == [
        'metadata key "tags" must be scalar, not an array',
        'metadata key "sub\\"ject" must be scalar, not an object',
    ]
    assert found.valid == 0


def test_duplicate_keys_and_big_integers_are_found_at_any_depth() -> None:
    broken = {rule for rule, _ in examine('{"a":[{"b":1,"b":2},[9007199254740993]]}')}
    assert broken == {"metadata-nested", "metadata-duplicate-key", "metadata-big-integer"}


@pytest.mark.parametrize("number", ["9007199254740992", "-9007199254740992", "1e300", "0.12345678901234567890"])
def test_numbers_that_a_float64_holds_or_that_are_decimals_are_no_big_integers(number: str) -> None:
    assert checked(good(["a"], metadata=[f'{{"a":{number}}}'])).findings == ()


def test_a_duplicate_names_the_line_of_the_first() -> None:
    found = checked(good(["a", "b"]), good(["b", "c", "a"]))
    assert [(one.line, one.message) for one in found.findings] == [
        (3, "id 'b' occurred before, in line 2"),
        (5, "id 'a' occurred before, in line 1"),
    ]
    assert (found.valid, found.errors) == (3, 2)


def test_a_duplicate_with_another_error_is_one_invalid_record() -> None:
    found = checked(good(["a", "a", "a"], vex_version=["1.0.0", None, "1.0.0"]))
    assert (rules(found), found.valid) == ({"duplicate-id": 2, "missing-version": 1}, 1)


def test_mixed_dimensions_are_found_once_each_with_their_count() -> None:
    three = good(["c", "d"], records.from_matrix(np.ones((2, 3), np.float32), np.array([False, True])))
    found = checked(good(["a", "b"]), three, good(["e"], np.ones((1, 3), np.float32)), good(["f"]))
    mixed = next(one for one in found.findings if one.rule == "mixed-dims")
    assert rules(found) == {"mixed-dims": 1, "no-vector": 1}
    assert (mixed.line, mixed.id, mixed.severity) == (4, "d", "error")
    assert mixed.message.startswith("2 vectors have 3 dimensions, the first ones 2")
    assert found.valid == 6


def test_batches_without_any_vector_do_not_mix_dimensions() -> None:
    assert rules(checked(good(["a"], records.no_vectors(1)), good(["b"]))) == {"no-vector": 1}


def test_mixed_models_are_found_once_whatever_their_order() -> None:
    found = checked(good(["a", "b", "c"], model=[None, "x", "y"]), good(["d", "e"], model=["z", "x"]))
    assert rules(found) == {"mixed-models": 1}
    assert only(found).message.endswith("there are 3 models")
    assert checked(good(["a", "b"], model=[None, "x"]), good(["c"], model=["x"])).findings == ()


def test_null_vectors_are_not_looked_at() -> None:
    vectors = records.from_matrix(np.array([[NAN, 1], [0, 0], [1, 1]], np.float32), np.array([False, False, True]))
    assert rules(checked(good(["a", "b", "c"], vectors))) == {"no-vector": 2}


def test_the_greatest_and_smallest_float32_are_fine() -> None:
    assert checked(good(["a", "b"], np.array([[3.4e38, 3.4e38], [1e-45, 0]], np.float32))).findings == ()


def test_a_slice_is_checked_by_its_own_rows() -> None:
    batch = good(["a", "", "c", "d"], np.array([[NAN, 1], [1, 1], [1, NAN], [0, 0]], np.float32)).slice(1, 2)
    found = checked(batch)
    assert [(one.rule, one.line) for one in found.findings] == [("missing-id", 1), ("vector-not-finite", 2)]
    assert found.findings[1].message == "vector[1] is not a finite number"


# -- rejects, other findings, limits -----------------------------------------------------------------------------------


def test_what_the_reader_rejects_is_an_error_of_that_name() -> None:
    rejects = [
        Reject("malformed-json", "broken", line=2),
        Reject("dims-mismatch", "lies", line=4, id="z", file="other"),
    ]
    found = validate(Batches([good(["a"])], rejects={0: rejects}))
    assert [str(one) for one in found.findings] == [
        "in.vmig.jsonl:2: error malformed-json: broken",
        "other:4: error dims-mismatch: lies",
    ]
    assert (found.records, found.valid) == (3, 1)


def test_findings_of_the_caller_count_too() -> None:
    given = Finding("checksum", "error", "the sidecar says otherwise", file="x.vmig.meta.json")
    found = checked(good(["a"]), extra_findings=[given])
    assert (found.findings, found.ok, found.valid) == ((given,), False, 1)


def test_the_name_stands_in_where_the_source_names_no_file() -> None:
    found = validate(Batches([good(["a", "a"])], lines=False, file=None), name="vektor")
    assert str(only(found)) == "vektor: error duplicate-id: id 'a' occurred before, in record 1"


def test_ignored_rules_are_not_checked() -> None:
    batch = good(["a", "a"], vex_version=[None, None], metadata=["[]", "[]"])
    found = checked(batch, ignore=["missing-version", "duplicate-id", "metadata-type"])
    assert (found.rules, found.valid) == ((), 2)


@pytest.mark.parametrize("rows", [1, 7, 4096])
def test_all_findings_are_counted_and_a_frequent_rule_leaves_room(rows: int) -> None:
    count = 300
    metadata = ['{"tags":[]}'] * (count - 1) + ["{"]
    batch = good(["same"] * count, vex_version=[None] * count, metadata=metadata)
    found = checked(batch, max_findings=20, rows=rows)
    expected = {"missing-version": 300, "duplicate-id": 299, "metadata-nested": 299, "metadata-not-json": 1}
    assert rules(found) == expected
    assert (found.errors, found.valid, len(found.findings)) == (899, 0, 20)
    assert {one.rule for one in found.findings} == set(expected)
    assert [one.line for one in found.findings] == sorted(one.line or 0 for one in found.findings)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_the_size_of_pages_changes_nothing(rows: int) -> None:
    batches = [good(["a", "b", "a"], model=["x", None, "y"], metadata=[None, "[]", "{}"]), good(["b", ""])]
    assert checked(*batches, rows=rows) == checked(*batches)


# -- metadata, fast and exact ------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)
TEXTS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "tags", "日本", 'q"']), VALUES).map(
        lambda pair: f"{json.dumps(pair[0])}:{json.dumps(pair[1])}"
    ),
    max_size=4,
).map(lambda members: "{" + ",".join(members) + "}")


@given(
    st.lists(
        TEXTS | st.sampled_from(["[]", "1", "{", "", '{"a":1}x', '{"a":01}', '{"a":"\\x"}', '{"a":1}']), max_size=6
    )
)
def test_the_fast_way_finds_what_the_exact_way_finds(texts: list[str]) -> None:
    check = MetadataCheck()
    exact = [(row, *fault) for row, text in enumerate(texts) for fault in examine(text)]
    column = records.json_array(texts)
    assert [tuple(fault) for fault in check.faults(column)] == exact
    assert [tuple(fault) for fault in check.faults(column)] == exact, "with the patterns that were learnt"


def test_a_learnt_pattern_lets_nothing_pass() -> None:
    check = MetadataCheck()
    usual = records.json_array(['{"a":"x","n":1}'] * 100)
    assert check.faults(usual) == []
    broken = [
        '{"a":"x","n":1,"n":2}',
        '{"a":["x"],"n":1}',
        '{"a":"x","n":9007199254740993}',
        '{"a":"x","n":01}',
        '{"a":"\\ud800","n":1}',
        '{"a":"x","n":1} ,',
        '{"a":"x\ny","n":1}',
    ]
    found = check.faults(records.json_array([*broken, '{"a":"\\ud83d\\ude00","n":-1.5}', '{"a": "x", "n": 1}']))
    assert [fault.row for fault in found] == list(range(len(broken)))


# -- the result --------------------------------------------------------------------------------------------------------


def test_the_json_form_is_plain_json() -> None:
    plain = json.loads(json.dumps(checked(good(["a", "a"])).to_json()))
    assert (plain["ok"], plain["errors"], plain["warnings"], plain["records"], plain["valid"]) == (False, 1, 0, 2, 1)
    assert plain["rules"] == [{"rule": "duplicate-id", "severity": "error", "count": 1}]
    assert plain["findings"][0]["line"] == 2


def test_the_report_lists_findings_then_rules() -> None:
    batch = good(["a", "a", "a"], records.no_vectors(3))
    lines = checked(batch).render(listed=2).splitlines()
    assert lines[0].startswith("in.vmig.jsonl:1: warning no-vector: ")
    assert lines[2] == "… and 3 more"
    assert "│ duplicate-id            : 2 errors" in lines
    assert "│ no-vector               : 3 warnings" in lines
    assert "│ result                  : not valid" in lines


def test_nothing_in_the_data_can_drive_the_terminal() -> None:
    batch = good(["\x1b[2J", "\x1b[2J"], metadata=['{"\\u001b[1m":[]}', "{}"])
    text = checked(batch).render()
    assert not [char for char in text if not char.isprintable() and char != "\n"]
