"""Duplicate ids: exact, with places, whatever is in memory and whatever on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vexarrow.distinct import RUN, Distinct, Duplicates, Occurrence

IN_MEMORY, SPILLED = RUN, 64


def counted(batches: Sequence[Sequence[str]], run: int = IN_MEMORY, limit: int = 10, once: bool = False) -> Duplicates:
    with closing(Distinct(run)) as distinct:
        for ids in batches:
            distinct.add(pa.array(ids, pa.string()))
        return distinct.result(limit, once=once)


def test_nothing_added_is_nothing_found() -> None:
    assert counted([]) == counted([[]]) == Duplicates(0, 0, 0, 0)


def test_different_ids_are_all_distinct() -> None:
    found = counted([["a", "b"], ["A", "", "ä", "a\u0308", "日本", "a\0"]])
    assert (found.records, found.distinct, found.duplicates, found.examples) == (8, 8, 0, ())


def test_ids_whose_bytes_agree_in_another_storage_of_python_are_different() -> None:
    assert hash("ab") == hash("\u6261"), "the reason why the hash is that of UTF-8"
    assert counted([["ab", "\u6261"]]).distinct == 2


def test_a_duplicate_names_its_first_and_its_later_line() -> None:
    with closing(Distinct()) as distinct:
        distinct.add(pa.array(["x", "twice", "y"]), lines=[1, 3, 7], file="a.vmig.jsonl")
        distinct.add(pa.array(["z", "twice"]), lines=[1, 2], file="b.vmig.jsonl")
        (one,) = distinct.result().examples
    assert one.id == "twice"
    assert one.first == Occurrence(1, 3, "a.vmig.jsonl")
    assert one.later == Occurrence(4, 2, "b.vmig.jsonl")


def test_every_later_occurrence_points_to_the_very_first() -> None:
    found = counted([["a", "b", "a"], ["a", "b"]])
    places = [(one.id, one.first.row, one.later.row) for one in found.examples]
    assert places == [("a", 0, 2), ("a", 0, 3), ("b", 1, 4)]
    assert (found.distinct, found.duplicates, found.repeated) == (2, 3, 2)


def test_once_gives_one_example_of_each_id() -> None:
    found = counted([["a", "b", "a", "a", "a", "b"]], once=True)
    assert [(one.id, one.later.row) for one in found.examples] == [("a", 2), ("b", 5)]


def test_the_examples_are_the_first_ones_of_the_stream() -> None:
    found = counted([[str(n % 500) for n in range(1000)]], run=SPILLED, limit=3)
    assert [one.later.row for one in found.examples] == [500, 501, 502]
    assert found.duplicates == 500


def test_flagged_duplicates_are_not_counted_as_unflagged() -> None:
    with closing(Distinct()) as distinct:
        distinct.add(pa.array(["a", "a", "a", "b"]), flags=np.array([True, True, False, True]))
        found = distinct.result()
    assert (found.duplicates, found.unflagged) == (2, 1)


def test_a_slice_counts_its_own_rows_only() -> None:
    with closing(Distinct()) as distinct:
        distinct.add(pa.array(["a", "b", "c", "a"]).slice(1, 2))
        assert distinct.result().distinct == 2


def test_counting_goes_on_after_a_result() -> None:
    with closing(Distinct(4)) as distinct:
        distinct.add(pa.array(["a", "b", "c", "d", "a"]))
        assert distinct.result().duplicates == 1
        distinct.add(pa.array(["e", "a", "b"]))
        assert distinct.result().duplicates == 3


@pytest.mark.parametrize("run", [IN_MEMORY, SPILLED, 1])
@given(batches=st.lists(st.lists(st.sampled_from([*"abcdefgh", "", "é", "日本"]), max_size=40), max_size=8))
def test_counts_and_examples_are_those_of_a_dictionary(run: int, batches: list[list[str]]) -> None:
    found = counted(batches, run, limit=1000)
    ids = [key for batch in batches for key in batch]
    counts = Counter(ids)
    firsts = {key: ids.index(key) for key in counts}
    expected = [(key, firsts[key], row) for row, key in enumerate(ids) if row != firsts[key]]
    assert [(one.id, one.first.row, one.later.row) for one in found.examples] == expected
    assert (found.records, found.distinct) == (len(ids), len(counts))
    assert found.repeated == sum(count > 1 for count in counts.values())
    assert found.unflagged == found.duplicates


def test_half_a_million_ids_on_disk_are_exact() -> None:
    with closing(Distinct(50_000)) as distinct:
        for start in range(0, 500_000, 25_000):
            numbers = np.arange(start, start + 25_000)
            numbers[-1] = start // 2
            distinct.add(pa.array(numbers).cast(pa.string()))
        found = distinct.result(100)
    assert found.duplicates == 20
    assert [one.later.row for one in found.examples] == [start + 24_999 for start in range(0, 500_000, 25_000)]
