"""The map in closed form, held against what it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from vexarrow.adapt.axes import Axes
from vexarrow.adapt.blend import BLENDS, choose_blend
from vexarrow.adapt.fit import MOST_LEFT_OUT, PENALTIES, PRIOR_PENALTIES, Linear, fit

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
    whole, found = fit(x, y), fit(x, y, near=near)
    assert found.penalty == whole.penalty
    assert (found.linear.weight == whole.linear.weight).all()
    assert set(found.curve) < set(whole.curve)


def test_more_pairs_than_are_left_out() -> None:
    """Of thousands of pairs some are left out, evenly chosen: they tell what all of them would."""
    x, y = made(2 * MOST_LEFT_OUT + 2, 20, 30)
    fitted = fit(x, y)
    some = fit(x[::2], y[::2])
    assert fitted.penalty == some.penalty
    assert len(fitted.leverages) == len(x)
    assert fitted.loo_cosine == pytest.approx(some.loo_cosine, abs=0.01)


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
    np.testing.assert_allclose(axes.rows @ axes.vectors.T, centred, atol=1e-12)
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
    assert choose_blend(x, y, 0.1).blend in BLENDS
    once, again = (fit(x[order], y[order]) for _ in range(2))
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
