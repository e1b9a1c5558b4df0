"""Pairs that say nothing new."""

from __future__ import annotations

import numpy as np
import pytest

from vexarrow.adapt.pairs import NEAR, Pairs, clean


@pytest.mark.parametrize("silent", [0, 200, 296], ids=["all components", "the first ones are zero", "nearly all are"])
def test_near_duplicates_are_found_whichever_components_tell_them_apart(silent: int) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((1500, 300)).astype(np.float32)
    x[:, :silent] = 0
    again = random.integers(0, 1500, 700)
    lengths = np.linalg.norm(x[again], axis=1, keepdims=True)
    noise = random.standard_normal((700, 300)).astype(np.float32)
    noise[:, :silent] = 0
    noise *= lengths * random.uniform(0.1, 0.3, (700, 1)) / np.linalg.norm(noise, axis=1, keepdims=True)
    x = np.vstack([x, x[again] + noise])[random.permutation(2200)]
    exact = x / np.linalg.norm(x, axis=1, keepdims=True)
    before = np.tril(exact @ exact.T, -1)
    expected = np.flatnonzero(~(before > NEAR).any(1))
    cleaned = clean(Pairs(x, random.standard_normal((2200, 4)).astype(np.float32), [str(row) for row in range(2200)]))
    assert cleaned.ids == [str(row) for row in expected]
    assert cleaned.dropped == {"near duplicates": 2200 - len(expected)}
    assert 0 < len(expected) < 2200
