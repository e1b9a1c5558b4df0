"""The map in closed form, held against what it stands for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from vexarrow.adapt.axes import Axes, apart, polar
from vexarrow.adapt.blend import BLENDS, USUAL, USUAL_OF_FEW, Blend, Chosen
from vexarrow.adapt.fit import ENOUGH_JUDGED, PENALTIES, PRIOR_PENALTIES, Lesson, Linear, fit
from vexarrow.adapt.left_out import MOST_LEFT_OUT, LeftOut
from vexarrow.adapt.maps import FewMaps, ManyMaps
from vexarrow.adapt.sums import Sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]


def unit(rows: Matrix) -> Matrix:
    scaled: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def made(n: int, d_in: int, d_out: int, *, noise: float = 0.3, seed: int = 0) -> tuple[Matrix, Matrix]:
    """Two views of the same hidden causes, off centre as real embeddings are."""
    random = np.random.default_rng(seed)
    causes = random.standard_normal((n, 12))
    x = causes @ random.standard_normal((12, d_in)) + noise * random.standard_normal((n, d_in)) + 1
    y = np.tanh(causes) @ random.standard_normal((12, d_out)) + noise * random.standard_normal((n, d_out)) + 2
    return unit(x), unit(y)


def left_out(x: Matrix, y: Matrix, penalty: float) -> float:
    """The leave-one-out cosine of ridge, one fit for each pair."""
    centred = x - x.mean(0)
    scale = penalty * np.trace(centred.T @ centred) / x.shape[1]
    cosines = []
    for row in range(len(x)):
        rest = np.arange(len(x)) != row
        mean_x, mean_y = x[rest].mean(0), y[rest].mean(0)
        inner = x[rest] - mean_x
        weight = np.linalg.solve(inner.T @ inner + scale * np.eye(x.shape[1]), inner.T @ (y[rest] - mean_y))
        found = (x[row] - mean_x) @ weight + mean_y
        cosines.append(found @ y[row] / np.linalg.norm(found))
    return float(np.mean(cosines))


@pytest.mark.parametrize("n", [15, 40, 120], ids=["fewer pairs than dimensions", "some more", "many more"])
def test_the_leave_one_out_cosine_is_that_of_fits_without_each_pair(n: int) -> None:
    x, y = made(n, 20, 30)
    for penalty, cosine in fit(x, y).curve[::3]:
        assert cosine == pytest.approx(left_out(x, y, penalty), abs=1e-9)


def test_the_penalty_is_the_one_of_the_best_leave_one_out_cosine() -> None:
    fitted = fit(*made(60, 20, 30))
    assert dict(fitted.curve)[fitted.penalty] == max(cosine for _, cosine in fitted.curve)


@pytest.mark.parametrize("near", [PENALTIES[0], PENALTIES[4], PENALTIES[-1]])
def test_from_the_penalty_of_another_fit_the_same_one_is_found(near: float) -> None:
    """Uphill to the same top, and no further."""
    x, y = made(60, 20, 30)
    left_out = LeftOut(FewMaps(x, y), x, y, np.zeros(30))
    whole, found = left_out.curve(PENALTIES, None), left_out.curve(PENALTIES, near)
    assert max(found, key=lambda one: one[1]) == max(whole, key=lambda one: one[1])
    assert set(found) < set(whole)


def test_more_pairs_than_are_left_out() -> None:
    """Of thousands of pairs some are left out, evenly chosen: they tell what all of them would."""
    x, y = made(2 * MOST_LEFT_OUT + 2, 20, 30)
    fitted = fit(x, y)
    every = dict(LeftOut(FewMaps(x, y), x, y, np.zeros(30)).curve(PENALTIES, None))
    for penalty, cosine in fitted.curve:
        assert cosine == pytest.approx(every[penalty], abs=0.01)
    assert every[fitted.penalty] > max(every.values()) - 0.001
    assert len(fitted.leverages) == len(x)


@pytest.mark.parametrize("n", [60, 200, 800])
def test_the_leave_one_out_cosine_foretells_that_of_new_rows(n: int) -> None:
    x, y = made(n + 1000, 40, 30)
    fitted = fit(x[:n], y[:n])
    found = unit(fitted.linear(x[n:]))
    assert fitted.loo_cosine == pytest.approx(np.einsum("ij,ij->i", found, y[n:]).mean(), abs=0.02)


def test_a_rotation_is_found() -> None:
    x, _ = made(400, 16, 16, noise=0.5)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0]
    found = unit(fit(x, x @ turn).linear(x))
    assert np.einsum("ij,ij->i", found, x @ turn).min() > 0.9999


def test_both_ways_to_the_principal_axes_agree() -> None:
    """More rows than dimensions take one Gram matrix, fewer the other."""
    wide, _ = made(20, 30, 5)
    centred = wide - wide.mean(0)
    axes = Axes.of(centred)
    assert axes.vectors.shape == (30, 19)  # the mean takes one direction
    np.testing.assert_allclose(centred @ axes.vectors @ axes.vectors.T, centred, atol=1e-12)
    np.testing.assert_allclose(axes.vectors.T @ axes.vectors, np.eye(19), atol=1e-9)
    tall = Axes.of(np.vstack([centred, centred]))
    np.testing.assert_allclose(np.sort(tall.values), np.sort(2 * axes.values), rtol=1e-9)


def test_leverages_are_those_of_new_rows() -> None:
    """A pair's leverage is what the model of the others says of it, so that training and new rows can be compared."""
    x, y = made(300, 20, 30)
    fitted = fit(x[:150], y[:150])
    new = 1 / 150 + (((x[150:] - fitted.source_mean) @ fitted.whitening) ** 2).sum(1)
    assert np.median(new) == pytest.approx(np.median(fitted.leverages), rel=0.15)


def test_a_correction_of_a_perfect_prior_leaves_it_alone() -> None:
    x = made(80, 20, 30, noise=0.05)[0]
    prior = fit(*made(2000, 20, 30, noise=0.05)).linear
    corrected = fit(x, prior(x), prior)
    np.testing.assert_allclose(corrected.linear(x), prior(x), atol=1e-9)


def test_a_prior_whose_errors_have_no_pattern_is_not_made_worse() -> None:
    x = made(1060, 20, 30)[0]
    prior = fit(*made(2000, 20, 30, noise=0.05)).linear
    y = unit(prior(x) + 0.1 * np.random.default_rng(3).standard_normal((1060, 30)))
    corrected = fit(x[:60], y[:60], prior)
    assert corrected.penalty in PRIOR_PENALTIES

    def cosine(linear: Linear) -> float:
        return float(np.einsum("ij,ij->i", unit(linear(x[60:])), y[60:]).mean())

    assert cosine(corrected.linear) > cosine(prior) - 0.005


def test_a_few_pairs_of_ones_own_improve_a_prior_of_another_kind_of_text() -> None:
    x, y = made(1000, 40, 30)
    other = fit(x[:500], unit(np.roll(y[:500], 1, axis=1) + y[:500])).linear
    corrected = fit(x[500:560], y[500:560], other).linear
    alone = fit(x[500:560], y[500:560]).linear

    def cosine(linear: Linear) -> float:
        return float(np.einsum("ij,ij->i", unit(linear(x[600:])), y[600:]).mean())

    assert cosine(corrected) > cosine(other)
    assert cosine(corrected) > cosine(alone) - 0.02


@pytest.mark.parametrize("rows", [1, 2])
def test_too_few_rows_are_an_error(rows: int) -> None:
    x, y = made(10, 4, 4)
    with pytest.raises(ValueError, match="three pairs"):
        fit(x[:rows], y[:rows])


def test_rows_that_are_all_the_same_are_an_error() -> None:
    _, y = made(10, 4, 4)
    with pytest.raises(ValueError, match="three pairs that differ"):
        fit(np.ones((10, 4)) / 2, y)


def test_the_same_pairs_give_the_same_blend_and_the_same_map() -> None:
    x, y = made(400, 30, 40)
    order = np.random.default_rng(5).permutation(400)
    once, again = (fit(x[order], y[order]) for _ in range(2))
    assert once.chosen is not None
    assert once.chosen.blend in BLENDS
    np.testing.assert_array_equal(once.linear.weight, again.linear.weight)
    assert once.chosen == again.chosen


@pytest.mark.parametrize("n", [30, 300], ids=["fewer pairs than dimensions", "more"])
def test_the_leverage_tells_vectors_of_another_kind(n: int) -> None:
    x, y = made(n + 500, 60, 30, noise=0.1)
    fitted = fit(x[:n], y[:n])
    limit = np.quantile(fitted.leverages, 0.99)
    strange = unit(np.random.default_rng(9).standard_normal((500, 60)))

    def share(rows: Matrix) -> float:
        leverage = 1 / n + (((rows - fitted.source_mean) @ fitted.whitening) ** 2).sum(1)
        return float((leverage > limit).mean())

    assert share(x[n:]) < 0.1
    assert share(strange) > 0.9


def direct(x: Matrix, y: Matrix, penalty: float) -> tuple[Matrix, Matrix]:
    """Ridge and Procrustes as they are defined, without any sums of parts."""
    x, y = x - x.mean(0), y - y.mean(0)
    spread = float((x**2).sum())
    ridge = np.linalg.solve(x.T @ x + penalty * spread / x.shape[1] * np.eye(x.shape[1]), x.T @ y)
    left, values, right = np.linalg.svd(x.T @ y, full_matrices=False)
    return ridge, values.sum() / spread * left @ right


@pytest.mark.parametrize("d_out", [12, 24, 30])
def test_sums_of_parts_give_the_maps_of_the_whole(d_out: int) -> None:
    x, y = made(300, 20, d_out)
    origin = x[:10].mean(0)  # near the mean, not the mean
    parts = [Sums.of(x[rows] - origin, y[rows]) for rows in (slice(0, 50), slice(50, 180), slice(180, 300))]
    maps = ManyMaps(parts[0] + parts[1] + parts[2])
    ridge, turn = direct(x, y, 0.1)
    np.testing.assert_allclose(maps.ridge(0.1), ridge, atol=1e-10)
    np.testing.assert_allclose(maps.turn, turn, atol=1e-10)
    np.testing.assert_allclose(maps.source_mean + origin, x.mean(0), atol=1e-12)


def test_few_pairs_and_many_are_told_the_same() -> None:
    """By rows, by their axes, or by sums: the maps and the leverage are the same."""
    x, y = made(200, 20, 30)
    few, many = FewMaps(x, y), ManyMaps(Sums.of(x, y))
    np.testing.assert_allclose(few.ridge(0.03), many.ridge(0.03), atol=1e-10)
    np.testing.assert_allclose(few.turn, many.turn, atol=1e-10)
    ours, theirs = (maps.whitening(0.03) @ maps.whitening(0.03).T for maps in (few, many))
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_rows_that_hardly_differ_lose_no_digits_in_sums() -> None:
    random = np.random.default_rng(4)
    x = unit(np.ones((300, 20)) + 1e-5 * random.standard_normal((300, 20)))
    y = unit(1 + (x - x.mean(0)) @ random.standard_normal((20, 30)) * 1e5)
    fitted = fit(x, y, chosen=Chosen(Blend(1.0, shrink=1.0), 0.0))
    ridge, _ = direct(x, y, fitted.penalty)
    np.testing.assert_allclose(fitted.linear.weight, ridge, rtol=1e-5, atol=1e-7 * np.abs(ridge).max())


@pytest.mark.parametrize("n", [40, 70, 400], ids=["fewer pairs than dimensions", "more with the later ones", "more"])
def test_rows_that_come_later_count_as_if_they_had_been_there(n: int) -> None:
    x, y = made(n, 60, 30)
    later = np.arange(3, n, 5)
    lesson = Lesson(x, y, later=later)
    first = lesson.first(also=[1, 4])
    final = lesson.final(first)
    whole = Lesson(x, y).first(first.chosen)
    assert final.penalty == whole.penalty
    np.testing.assert_allclose(final.linear.weight, whole.linear.weight, atol=1e-9)
    np.testing.assert_allclose(final.linear.bias, whole.linear.bias, atol=1e-9)
    rest = np.setdiff1d(np.arange(n), later)
    alone = fit(x[rest], y[rest], chosen=first.chosen)
    np.testing.assert_allclose(first.linear.weight, alone.linear.weight, atol=1e-9)


def test_a_part_is_the_fit_of_an_eighth() -> None:
    x, y = made(800, 20, 30)
    lesson = Lesson(x, y, seed=3)
    first = lesson.first()
    eighth = np.random.default_rng(3).permutation(800)[:100]
    ridge, turn = direct(x[eighth], y[eighth], first.penalty)
    new, _ = made(800, 20, 30)
    for blend, weight in ((Blend(1.0, shrink=1.0), ridge), (Blend(0.0), turn)):
        found = lesson.part(1, replace(first, chosen=Chosen(blend, 0.0)))
        bias = y[eighth].mean(0) - x[eighth].mean(0) @ weight
        assert np.einsum("ij,ij->i", unit(found(new)), unit(new @ weight + bias)).min() > 0.998


def test_single_precision_does_to_judge_with() -> None:
    x, y = made(800, 60, 30)
    exact, fast = (Lesson(x, y).first(exact=exact) for exact in (True, False))
    assert (fast.penalty, fast.chosen.blend) == (exact.penalty, exact.chosen.blend)  # type: ignore[union-attr]
    assert fast.loo_cosine == pytest.approx(exact.loo_cosine, abs=1e-4)
    np.testing.assert_allclose(fast.linear.weight, exact.linear.weight, atol=1e-3 * np.abs(exact.linear.weight).max())


def test_too_few_pairs_to_judge_blends_take_the_usual_one() -> None:
    for n, d_in, usual in ((30, 60, USUAL_OF_FEW), (30, 8, USUAL)):
        assert fit(*made(n, d_in, 30)).chosen == Chosen(usual, 0.0)


def test_thousands_of_pairs_are_judged_by_some_of_them() -> None:
    """The choice is that of the data, not the usual one: a map that is no rotation wants more of the ridge."""
    random = np.random.default_rng(2)
    x = unit(random.standard_normal((9 * ENOUGH_JUDGED, 24)))
    y = unit(x @ np.diag(np.linspace(0.05, 3, 24)) @ random.standard_normal((24, 30)))
    chosen = fit(x, y).chosen
    assert chosen is not None
    assert chosen.blend.ridge > USUAL.ridge


def test_the_polar_factor_turns_and_does_not_stretch() -> None:
    matrix = np.random.default_rng(0).standard_normal((12, 30)) * np.logspace(0, -4, 12)[:, None]
    for one in (matrix, matrix.T):
        turned, total = polar(one)
        left, values, right = np.linalg.svd(one, full_matrices=False)
        np.testing.assert_allclose(turned, left @ right, atol=1e-6)
        assert total == pytest.approx(values.sum())


def test_what_lies_apart_is_orthonormal() -> None:
    columns = np.linalg.qr(np.random.default_rng(0).standard_normal((50, 20)))[0]
    beside = apart(columns, 30)
    np.testing.assert_allclose(beside.T @ beside, np.eye(30), atol=1e-5)
    np.testing.assert_allclose(columns.T @ beside, 0, atol=1e-5)
