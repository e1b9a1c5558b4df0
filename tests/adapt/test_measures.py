"""The report, against what plain loops over the same vectors say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.adapt.real import SOURCE, TARGET, Real, code
from vexarrow.adapt.measures import evaluate, measure
from vexarrow.adapt.pairs import Pairs
from vexarrow.adapt.queries import Asked, ask
from vexarrow.adapt.report import Report
from vexarrow.adapt.training import Trial, attempt
from vexarrow.errors import DataError, SchemaError


def tried(pairs: Real, **wishes: object) -> Trial:
    return attempt(pairs.source, pairs.target, source_model=SOURCE, target_model=TARGET, **wishes)  # type: ignore[arg-type] # any wish


@pytest.fixture(scope="module")
def trial() -> Trial:
    return tried(code())


def unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = rows.astype(np.float64)
    unit: NDArray[np.float64] = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return unit


def neighbours(rows: NDArray[np.float64], at: int, count: int) -> set[int]:
    similar = rows @ rows[at]
    similar[at] = -np.inf
    return set(np.argsort(-similar)[:count].tolist())


def test_the_measures_are_what_they_say(trial: Trial) -> None:
    kept, report = trial.kept, trial.report
    native, source = unit(kept.target), unit(kept.source)
    ours = unit(trial.judged.matrix(kept.source))
    n = len(native)
    similar = ours @ native.T
    assert trial.judged.target_mean is not None
    mean = trial.judged.target_mean.astype(np.float64)
    overlap = [len(neighbours(native, at, 10) & neighbours(ours, at, 10)) / 10 for at in range(n)]
    staying = [len(neighbours(native, at, 10) & neighbours(source, at, 10)) / 10 for at in range(n)]
    ranks = [int((similar[:, at] > similar[at, at]).sum()) for at in range(n)]
    others = similar[~np.eye(n, dtype=bool)]
    assert report.held_out == n == 48
    assert report.cosine.value == pytest.approx(np.trace(similar) / n, abs=1e-5)
    assert report.constant_cosine == pytest.approx((native @ (mean / np.linalg.norm(mean))).mean(), abs=1e-5)
    assert report.shuffled_cosine == pytest.approx(others.mean(), abs=1e-5)
    assert report.overlap.value == pytest.approx(np.mean(overlap))
    assert report.source_overlap.value == pytest.approx(np.mean(staying))
    assert report.gain is not None
    assert report.gain.value == pytest.approx(np.mean(overlap) - np.mean(staying))
    assert report.recall_at_1.value == pytest.approx(np.mean([rank == 0 for rank in ranks]))
    assert report.mrr.value == pytest.approx(np.mean([1 / (1 + rank) for rank in ranks]))


def test_the_spread_of_the_shuffled_cosine_is_that_of_shuffles(trial: Trial) -> None:
    native, ours = unit(trial.kept.target), unit(trial.judged.matrix(trial.kept.source))
    random = np.random.default_rng(1)
    means = [np.einsum("ij,ij->i", ours, native[random.permutation(len(native))]).mean() for _ in range(4000)]
    assert trial.report.shuffled_std == pytest.approx(np.std(means), rel=0.08)


def test_a_report_survives_its_file(trial: Trial) -> None:
    assert Report.from_json(trial.report.to_json()) == trial.report
    assert trial.finish().report == trial.report


@pytest.mark.parametrize("count", [2, 3, 5, 11])
def test_few_pairs_give_a_report_all_the_same(count: int, trial: Trial) -> None:
    kept = trial.kept[slice(count)]
    report = evaluate(trial.judged, kept, pairs=None)
    assert report.held_out == count
    assert 0 <= report.overlap.low <= report.overlap.value <= report.overlap.high <= 1
    assert np.isfinite([report.cosine.low, report.cosine.high, report.shuffled_std, report.r2]).all()


def test_one_pair_cannot_be_measured_on(trial: Trial) -> None:
    with pytest.raises(SchemaError, match="1 pairs cannot be measured on; 2 are the least"):
        evaluate(trial.judged, trial.kept[slice(1)], pairs=None)


def test_pairs_of_other_dimensions_are_refused(trial: Trial) -> None:
    kept = trial.kept
    with pytest.raises(SchemaError, match="has vectors of 384 dimensions, those of the target side have 383"):
        evaluate(trial.judged, Pairs(kept.source, kept.target[:, 1:]), pairs=None)
    with pytest.raises(SchemaError, match="has vectors of 128 dimensions, these have 127"):
        evaluate(trial.judged, Pairs(kept.source[:, 1:], kept.target), pairs=None)


def test_an_interval_has_a_width_even_where_all_rows_agree() -> None:
    assert measure(np.ones(20, bool)).low == pytest.approx(0.839, abs=1e-3)  # Wilson's, of 20 of 20
    assert measure(np.zeros(20, bool)).high == pytest.approx(0.161, abs=1e-3)


def test_an_interval_of_a_mean_is_students() -> None:
    values = np.array([0.1, 0.4, 0.2, 0.7, 0.3, 0.5])
    half = 2.5706 * values.std(ddof=1) / np.sqrt(6)  # the quantile for 5 degrees of freedom
    assert measure(values).high == pytest.approx(values.mean() + half, rel=1e-2)


def corpus() -> Pairs:
    return Pairs(*code())


def test_queries_with_labels_are_measured_in_all_three_spaces(trial: Trial) -> None:
    """A query that is a vector of the corpus finds it among native and among source vectors."""
    pairs = code()
    asked = Asked(pairs.target[:30], pairs.source[:30], [[one, "not in the corpus"] for one in pairs.ids[:30]])
    found = ask(trial.judged, asked, corpus())
    ours, native = unit(trial.judged.matrix(pairs.source)), unit(pairs.target)
    similar = ours @ native.T
    ranks = [1 + int((similar[:, at] > similar[at, at]).sum()) for at in range(30)]
    assert (found.count, found.corpus, found.labelled, found.lost) == (30, 240, True, 0)
    assert (found.native_recall, found.source_recall, found.native_mrr, found.source_mrr) == (1, 1, 1, 1)
    assert found.mrr.value == pytest.approx(np.mean([1 / rank for rank in ranks]))
    assert found.recall.value == pytest.approx(np.mean([rank <= 10 for rank in ranks]))


def test_queries_without_labels_are_measured_by_the_native_top_10(trial: Trial) -> None:
    pairs = code()
    found = ask(trial.judged, Asked(pairs.target[:30]), corpus())
    ours, native = unit(trial.judged.matrix(pairs.source)), unit(pairs.target)
    tops = [[set(np.argsort(-(rows @ native[at]))[:10].tolist()) for rows in (native, ours)] for at in range(30)]
    assert not found.labelled
    assert (found.native_recall, found.native_mrr, found.source_recall) == (1, 1, None)
    assert found.recall.value == pytest.approx(np.mean([len(true & got) / 10 for true, got in tops]))


def test_queries_whose_records_are_not_in_the_corpus_are_counted(trial: Trial) -> None:
    pairs = code()
    found = ask(trial.judged, Asked(pairs.target[:2], None, [["elsewhere"], [pairs.ids[1]]]), corpus())
    assert (found.count, found.lost) == (1, 1)


def test_queries_that_cannot_be_answered_are_refused(trial: Trial) -> None:
    pairs = code()
    labels = [["elsewhere"]]
    with pytest.raises(SchemaError, match="none of the ids under 'relevant'"):
        ask(trial.judged, Asked(pairs.target[:1], None, labels), corpus())
    with pytest.raises(SchemaError, match='need an "id" on every line'):
        ask(trial.judged, Asked(pairs.target[:1], None, labels), Pairs(pairs.source, pairs.target))
    with pytest.raises(SchemaError, match="the target vectors of the queries have 128 dimensions, not 384"):
        ask(trial.judged, Asked(pairs.source[:1]), corpus())
    with pytest.raises(DataError, match="all zeros"):
        ask(trial.judged, Asked(np.zeros((1, 384), np.float32)), corpus())
