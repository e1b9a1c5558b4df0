"""`--where`: DuckDB SQL in which JSON members compare as a user expects."""

from __future__ import annotations

import pyarrow as pa
import pytest

from vexarrow import records
from vexarrow.errors import UsageError
from vexarrow.testing import samples
from vexarrow.where import Condition, rewrite

ROWS = {
    "id": ["a", "b", "c", "d", "e"],
    "text": ["it's 3", "x -> y", None, "", "metadata->>'n' > 3"],
    "namespace": ["games", "libs", None, "", "libs"],
    "metadata": [
        '{"importance":5,"tags":["x","y"],"ok":true,"deep":{"n":1.5,"list":[10,20]}}',
        '{"importance":"4","name":"it\'s","ok":false,"deep":{"n":-2}}',
        '{"importance":2,"ok":"maybe","name":"a > 3"}',
        None,
        '{"importance":null,"name":""}',
    ],
    "created_at": pa.array([0, 1_700_000_000_000_000, None, 1, 2], pa.int64()).cast(records.TIMESTAMP),
    "score": [0.5, None, 1.0, -1.0, 0.0],
}


@pytest.fixture(scope="module")
def batch() -> pa.RecordBatch:
    return records.build(ROWS, samples.vectors(5, 3))


def wanted(condition: str, batch: pa.RecordBatch) -> str:
    """The ids of the rows for which the condition holds."""
    mask = Condition(condition).mask(batch)
    return "".join(identity for identity, kept in zip(ROWS["id"], mask.tolist(), strict=True) if kept)


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("metadata->>'importance' >= 3 and namespace <> 'libs'", "a"),
        ("metadata->>'importance' >= 3", "ab"),
        ("metadata ->> 'importance'>=3", "ab"),
        ("3 <= metadata->>'importance'", "ab"),
        ("metadata->>'importance' > -1.5e0", "abc"),
        ("not metadata->>'importance' >= 3", "c"),
        ("metadata->>'importance' = '4'", "b"),
        ("metadata->>'importance' between 2 and 4", "bc"),
        ("metadata->>'importance' not between 2 and 4", "a"),
        ("metadata->>'importance' in (2, 5)", "ac"),
        ("metadata->>'importance' not in (2, 5)", "b"),
        ("metadata->>'importance' is null", "de"),
        ("metadata->>'importance' is not null", "abc"),
        ("(metadata->>'importance')::int + 1 = 6", "a"),
        ("cast(metadata->>'importance' as integer) = 2", "c"),
        ("metadata->>'ok' = true", "a"),
        ("metadata->>'ok' <> true", "b"),
        ("metadata->>'ok' = 'maybe'", "c"),
        ("metadata->'deep'->>'n' > 1", "a"),
        ("metadata->'deep'->'list'->>0 = 10", "a"),
        ("metadata->>'$.deep.list[1]' = 20", "a"),
        ("metadata->>'name' = 'it''s'", "b"),
        ("metadata->>'name' = 'a > 3'", "c"),
        ("metadata->>'name' = ''", "e"),
        ("metadata->>'name' like '%> 3'", "c"),
        ("metadata->>'name' in ('it''s', '')", "be"),
        ("coalesce(metadata->>'name', 'none') = 'none'", "ad"),
        ("lower(metadata->>'name') = 'it''s'", "b"),
        ("json_array_length(metadata->'tags') = 2", "a"),
        ("list_contains(metadata->>'$.tags[*]', 'y')", "a"),
        ("text = 'metadata->>''n'' > 3'", "e"),
        ("text like '%->%' and id <> 'e'", "b"),
        ("text = 'it''s 3'", "a"),
        ("\"text\" = ''", "d"),
        ("namespace is null or namespace = ''", "cd"),
        ("namespace <> 'libs'", "ad"),
        ("namespace in ('games', 'libs')", "abe"),
        ("created_at > '2023-01-01'", "b"),
        ("created_at >= timestamptz '1970-01-01 00:00:00.000001+00'", "bde"),
        ("score between 0 and 0.75", "ae"),
        ("score < 0 or (score = 1 and namespace is null)", "cd"),
        ("id = 'a' -- a comment", "a"),
        ("id = 'a' /* a comment ' */ or id = 'b'", "ab"),
        ("dims = 3", "abcde"),
        ("dims is null", ""),
        ("vector[1] = vector[1]", "abcde"),
        ("len(vector) > 3", ""),
        ("true", "abcde"),
        ("null", ""),
        ("id > 'b' and\n\tid < 'e'", "cd"),
        ("case when metadata->>'importance' > 4 then true else id = 'd' end", "ad"),
    ],
)
def test_a_condition_keeps_the_rows_for_which_it_holds(condition: str, ids: str, batch: pa.RecordBatch) -> None:
    assert wanted(condition, batch) == ids


def test_a_path_is_put_in_parentheses_and_cast_to_what_it_is_compared_with() -> None:
    assert rewrite("metadata->>'n'>3 and a->'b'->>'c' = 'x'") == (
        "TRY_CAST((metadata ->> 'n') AS DOUBLE) > 3 and (a -> 'b' ->> 'c') = 'x'"
    )


def test_text_and_quoted_names_are_left_alone() -> None:
    condition = "text = 'a->>''b'' > 3' or \"a->>b\" > 3"
    assert rewrite(condition) == condition


@pytest.mark.parametrize(
    ("condition", "word"),
    [
        ("", ""),
        ("colour = 'red'", "colour"),
        ("id = ", "syntax"),
        ("id = 'a", ""),
        ("(id = 'a'", "syntax"),
        ("id = 'a')", "syntax"),
        ("select 1", ""),
        ("no_such_function(id)", "no_such_function"),
        ("id = 'a'; drop table batch", ""),
        ("id in (select * from read_csv('/etc/passwd'))", ""),
        ("'text'", ""),
        ("1", ""),
        ("namespace", ""),
        ("count(*) > 1", ""),
        ("row_number() over () > 2", ""),
        ("unnest([true, false])", ""),
    ],
)
def test_a_condition_that_cannot_be_understood_is_refused_before_anything_is_read(condition: str, word: str) -> None:
    with pytest.raises(UsageError, match=f"--where.*{word}"):
        Condition(condition)


def test_a_value_on_which_a_condition_fails_is_an_error_in_one_line(batch: pa.RecordBatch) -> None:
    with pytest.raises(UsageError, match=r"--where[^\n]*$"):
        Condition("cast(namespace as integer) = 1").mask(batch)


def test_an_empty_batch_has_an_empty_mask() -> None:
    assert Condition("dims = 3 and metadata->>'a' > 1").mask(records.empty(3)).tolist() == []


def test_dims_is_null_where_there_is_no_vector() -> None:
    batch = samples.some_vectors()
    assert Condition("dims is null").mask(batch).tolist() == [True, False] * 3
    assert Condition("dims = 4").mask(batch).tolist() == [False, True] * 3


def test_slices_are_seen_as_what_they_are(batch: pa.RecordBatch) -> None:
    assert Condition("namespace = 'libs'").mask(batch.slice(3, 2)).tolist() == [False, True]


def test_one_condition_serves_batches_of_several_dimensions() -> None:
    condition = Condition("dims = 5 or id = 'a'")
    masks = [condition.mask(batch).tolist() for batch in samples.mixed_dims()]
    assert masks == [[True, False, False], [True, True], [False], [False, False]]


@pytest.mark.parametrize(
    ("condition", "needs"),
    [
        ("vector[1] > 0", True),
        ('"vector"[1] > 0', True),
        ("len(VECTOR) > 3", True),
        ('"vector:title" is null', True),
        ("dims = 3", True),
        ("text = 'vector'", False),
        ("metadata->>'vector' = 'x'", False),
        ("namespace = 'a'", False),
    ],
)
def test_vectors_are_asked_for_only_when_the_condition_looks_at_them(condition: str, needs: bool) -> None:
    try:
        assert Condition(condition).needs_vectors is needs
    except UsageError:
        assert "title" in condition  # no batch has had such a column yet
