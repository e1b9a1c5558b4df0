"""Counting values: the same in memory and on disk."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import pyarrow as pa
import pytest

from vexarrow.tally import HELD, Frequencies, Tally

VALUES = ["libs", None, "", "libs", "日本", "a\0b", None, None, "libs", "é"]


def counted(batches: list[pa.Array], held: int, top: int) -> Frequencies:
    with closing(Tally(held)) as tally:
        for batch in batches:
            tally.add(batch)
        return tally.result(top)


@pytest.mark.parametrize("held", [HELD, 2])
def test_null_and_empty_are_told_apart_in_memory_and_on_disk(held: int) -> None:
    found = counted([pa.array(VALUES), pa.array(["", None]), pa.array([], pa.string())], held, 3)
    assert found == Frequencies(6, ((None, 4), ("libs", 3), ("", 2)), 3)


@pytest.mark.parametrize("held", [HELD, 2])
def test_ties_are_in_order_of_the_value(held: int) -> None:
    found = counted([pa.array(["b", "ä", None, "a", "B", "𝄞", "\uffff"])], held, 7)
    assert [value for value, _ in found.top] == [None, "B", "a", "b", "ä", "\uffff", "𝄞"]


@pytest.mark.parametrize("held", [HELD, 100])
def test_many_values_are_all_counted(held: int) -> None:
    values = [f"namespace {n % 3000}" for n in range(10_000)]
    found = counted([pa.array(values[start : start + 700]) for start in range(0, 10_000, 700)], held, 5)
    counts = Counter(values)
    assert found.distinct == 3000
    assert list(found.top) == sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]
    assert sum(dict(found.top).values()) + found.rest == 10_000


def test_an_empty_tally_has_no_values() -> None:
    assert counted([], HELD, 3) == Frequencies(0, ())


def test_top_zero_lists_nothing_and_counts_everything() -> None:
    assert counted([pa.array(["a", "b", "a"])], 1, 0) == Frequencies(2, (), 3)
