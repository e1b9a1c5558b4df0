"""Every pair of places, in both directions: what goes in at one end comes out at the other.

Vectors are compared bit by bit: all stores are made with the metric "dot", because some change vectors when it is
"cosine", and the last test says how little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from tests.places import PLACES, STORES, Places, by_id, content, nearly
from vexarrow import plugins, records
from vexarrow.report import Report
from vexarrow.testing import Fact, Spot, facts, samples, write

ROWS, DIM = 64, 8
WITHOUT_VECTOR = (13, 40)
IDS = ("doc-{}", "Ünï/{}", "世界 {}", "😀{}", "a b?c#d&e={}", "{:064}", "6ba7b810-9dad-11d1-80b4-00c04fd4{:04}", "{}")


@cache
def mixed() -> pa.RecordBatch:
    """Records of every kind: ids in all scripts, metadata of every type, nulls and "" in every column."""

    def cycled(values: tuple[object, ...], step: int = 1) -> list[object]:
        return [values[row * step % len(values)] for row in range(ROWS)]

    columns = {
        "id": [IDS[row % len(IDS)].format(row) for row in range(ROWS)],
        "text": cycled(samples.TEXTS),
        "metadata": cycled(samples.METADATA),
        "created_at": pa.array(cycled(samples.MICROSECONDS, 3), pa.int64()).cast(records.TIMESTAMP),
        "score": cycled(samples.SCORES),
        "namespace": cycled(samples.NAMES, 3),
        "model": cycled((None, "all-MiniLM-L6-v2", "other/model")),
        "extra": cycled(samples.EXTRAS, 3),
        "modality": cycled(("text", "image", "text", "audio")),
    }
    there = np.isin(np.arange(ROWS), WITHOUT_VECTOR, invert=True)
    return samples.batch(columns, vector=records.from_matrix(samples.vectors(ROWS, DIM), there))


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with Places(tmp_path_factory.mktemp("matrix")) as every:
        yield every


@pytest.fixture(scope="session")
def loaded(places: Places) -> dict[str, Spot]:
    """Places that hold the mixed records already, by kind."""
    return {}


def filled(places: Places, loaded: dict[str, Spot], kind: str) -> Spot:
    """A place of a kind with all mixed records that it can hold."""
    if kind not in loaded:
        start, spot = places.fresh("jsonl"), places.fresh(kind)
        assert write(start, mixed()) == []
        check(places.copied(start, spot), ROWS, len(held(mixed(), kind)))
        loaded[kind] = spot
    return loaded[kind]


def check(report: Report, seen: int, kept: int) -> None:
    counts = report.counts
    assert (counts.read, counts.written, counts.rejected) == (seen, kept, seen - kept), report.codes


def held(batch: pa.RecordBatch, *kinds: str) -> list[Fact]:
    """The records of a batch that all these kinds of place can hold, sorted."""
    return [fact for fact in by_id(facts(batch, verbatim=False)) if all(PLACES[kind].holds(fact) for kind in kinds)]


@pytest.mark.parametrize("target", PLACES)
@pytest.mark.parametrize("source", PLACES)
def test_every_record_goes_from_every_place_to_every_place(
    places: Places, loaded: dict[str, Spot], source: str, target: str
) -> None:
    start, end = filled(places, loaded, source), places.fresh(target)
    expected = held(mixed(), source, target)
    check(places.copied(start, end), len(held(mixed(), source)), len(expected))
    assert content(end) == expected


@pytest.mark.parametrize("store", STORES)
def test_cosine_changes_vectors_by_rounding_alone(places: Places, loaded: dict[str, Spot], store: str) -> None:
    start, end = filled(places, loaded, "parquet"), places.fresh(store)
    expected = held(mixed(), store)
    check(places.copied(start, end, metric="cosine"), ROWS, len(expected))
    nearly(content(end), expected)


@pytest.mark.parametrize("sample", [samples.integer_ids, samples.uuid_ids, samples.mixed_ids])
@pytest.mark.parametrize("kind", PLACES)
def test_ids_that_are_no_texts_are_the_same_after_a_journey(
    places: Places, kind: str, sample: Callable[[], pa.RecordBatch]
) -> None:
    start, way, end = places.fresh("jsonl"), places.fresh(kind), places.fresh("jsonl")
    assert write(start, sample()) == []
    count = sample().num_rows
    check(places.copied(start, way), count, count)
    check(places.copied(way, end), count, count)
    assert content(end) == by_id(facts(sample(), verbatim=False))


def further(kind: str) -> frozenset[str]:
    """The kinds of further vectors that a place holds."""
    if kind == "parquet":
        return frozenset({"vector", "sparse", "multi"})
    return plugins.connectors()[kind].capabilities.further if kind in STORES else frozenset()


FURTHER = [pair for pair in product(PLACES, PLACES) if further(pair[0]) & further(pair[1])]


@pytest.mark.parametrize(("source", "target"), FURTHER)
def test_further_vectors_go_where_both_sides_have_them(places: Places, source: str, target: str) -> None:
    first, start, end = (places.fresh(kind) for kind in ("parquet", source, target))
    whole = samples.further_vectors()
    both = further(source) & further(target)
    kept = [name for name in whole.schema.names if ":" not in name or name.partition(":")[0] in both]
    sample = whole.select(kept)
    assert write(first, sample) == []
    check(places.copied(first, start), 3, 3)
    check(places.copied(start, end), 3, 3)
    assert content(end) == by_id(facts(sample, verbatim=False))
