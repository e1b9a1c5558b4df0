"""Namespaces, a condition and a limit, applied to what a source gives."""

from __future__ import annotations

import pyarrow as pa
import pytest

from vexarrow import records
from vexarrow.errors import UsageError
from vexarrow.selected import Selected
from vexarrow.selection import Selection
from vexarrow.testing import facts, pages, samples
from vexarrow.testing.spots import Memory


def ids(selection: Selection, batch: pa.RecordBatch) -> str:
    """The ids of the wanted records, in one word."""
    mask = selection.mask(batch)
    chosen = batch if mask is None else batch.filter(pa.array(mask))
    return "".join(chosen.column("id").to_pylist())


@pytest.fixture
def batch() -> pa.RecordBatch:
    return records.build(
        {"id": list("abcde"), "namespace": ["x", None, "", "y", "x"], "score": [1.0, 2.0, 3.0, 4.0, 5.0]}
    )


@pytest.mark.parametrize(
    ("namespaces", "expected"),
    [
        (None, "abcde"),
        (("x",), "ae"),
        ((None,), "b"),
        (("",), "c"),
        ((None, ""), "bc"),
        (("x", "y"), "ade"),
        (("X",), ""),
        (("none", None), "b"),
        ((), ""),
    ],
)
def test_namespaces_are_compared_exactly_and_null_is_one_of_them(
    batch: pa.RecordBatch, namespaces: tuple[str | None, ...] | None, expected: str
) -> None:
    assert ids(Selection(namespaces=namespaces), batch) == expected


def test_namespaces_and_a_condition_must_both_hold(batch: pa.RecordBatch) -> None:
    assert ids(Selection(namespaces=("x", None), where="score > 1"), batch) == "be"


def test_a_slice_is_judged_by_its_own_rows(batch: pa.RecordBatch) -> None:
    assert ids(Selection(namespaces=("x", "y")), batch.slice(2, 3)) == "de"


def test_no_mask_means_that_all_records_are_wanted(batch: pa.RecordBatch) -> None:
    assert Selection().mask(batch) is None
    assert Selection(where="true").mask(batch) is None
    assert Selection(limit=2).mask(batch) is None


def test_a_column_of_null_namespaces_is_understood() -> None:
    bare = records.build({"id": ["a", "b"]})
    assert ids(Selection(namespaces=(None,)), bare) == "ab"
    assert ids(Selection(namespaces=("x",)), bare) == ""


def test_a_condition_is_not_evaluated_where_no_record_is_left() -> None:
    with pytest.raises(UsageError):
        _ = Selection(where="nonsense(").condition
    broken = Selection(namespaces=("none",), where="cast(id as int) = 1")
    assert ids(broken, records.build({"id": ["a"]})) == ""


def test_only_namespaces_and_conditions_are_filters() -> None:
    assert (Selection().filters, Selection(limit=1).filters) == (False, False)
    assert (Selection(namespaces=()).filters, Selection(where="true").filters) == (True, True)


# -- a source seen through a selection ------------------------------------------------------------------


def through(selection: Selection, rows: int = 4) -> tuple[str, int, int]:
    """Ids, skipped and read records of thirty records in batches of ten, through a selection."""
    whole = samples.many(30)
    source = Selected(Memory([whole.slice(at, 10) for at in range(0, 30, 10)]), selection)
    (part,) = source.partitions(1)
    found = pages(source, part, rows)
    names = [fact.id.strip('"').removeprefix("id-").lstrip("0") or "0" for fact in facts(page.batch for page in found)]
    skipped = sum(page.skipped for page in found)
    return " ".join(names), skipped, skipped + len(names)


@pytest.mark.parametrize("rows", [1, 3, 4, 100])
@pytest.mark.parametrize("limit", [0, 1, 9, 10, 11, 29, 30, 31])
def test_a_limit_takes_the_first_records_and_reads_no_others(limit: int, rows: int) -> None:
    expected = " ".join(map(str, range(min(limit, 30))))
    assert through(Selection(limit=limit), rows) == (expected, 0, min(limit, 30))


@pytest.mark.parametrize("rows", [1, 3, 4, 100])
def test_dropped_records_are_counted_up_to_the_one_that_reaches_the_limit(rows: int) -> None:
    assert through(Selection(namespaces=("b",), limit=3), rows) == ("1 6 11", 9, 12)


def test_without_a_limit_every_record_is_wanted_or_counted_as_skipped() -> None:
    assert through(Selection(namespaces=("b",), where="id >= 'id-0000010'")) == ("11 16 21 26", 26, 30)


def test_the_limit_counts_over_all_partitions() -> None:
    source = Selected(Memory([samples.many(10)]), Selection(limit=7))
    (part,) = source.partitions(1)
    both = [page for _ in range(2) for page in pages(source, part, 5)]
    assert sum(page.batch.num_rows for page in both) == 7


def test_line_numbers_follow_their_records() -> None:
    from tests.pages import Batches

    source = Selected(Batches([samples.many(10)]), Selection(namespaces=("b",)))
    (part,) = source.partitions(1)
    assert [list(page.lines or ()) for page in source.extract(part, rows=10)] == [[2, 7]]
