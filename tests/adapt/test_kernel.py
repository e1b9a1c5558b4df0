"""The product over many vectors: right to float32, the same with any number of threads, and gentle to its process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from vexarrow.adapt import blas, kernel

Matrix = NDArray[np.float32]
D_IN, D_OUT = 48, 80


def made(rows: int, width: int, seed: int = 0) -> Matrix:
    drawn: Matrix = np.random.default_rng(seed).standard_normal((rows, width), dtype=np.float32)
    return drawn


@pytest.fixture
def weights() -> tuple[Matrix, Matrix]:
    weight: Matrix = made(D_IN, D_OUT, 1) / np.float32(10)
    bias: Matrix = made(1, D_OUT, 2)[0] / np.float32(10)
    return weight, bias


def exact(x: Matrix, weight: Matrix, bias: Matrix) -> NDArray[np.float64]:
    """The same by its definition, in float64."""
    rows = x.astype(float)
    mapped = rows / np.linalg.norm(rows, axis=1, keepdims=True) @ weight.astype(float) + bias
    unit: NDArray[np.float64] = mapped / np.linalg.norm(mapped, axis=1, keepdims=True)
    return unit


def blas_threads() -> list[int]:
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


@pytest.mark.parametrize("rows", [0, 1, 7, 5000, 9001])
def test_is_the_map_to_float32(rows: int, weights: tuple[Matrix, Matrix]) -> None:
    """Any number of rows, of any length, comes out as the definition says."""
    x = made(rows, D_IN) * np.float32(3)
    found = kernel.project(x, *weights)
    assert found.dtype == np.float32
    assert found.shape == (rows, D_OUT)
    np.testing.assert_allclose(found, exact(x, *weights), atol=3e-7)


@pytest.mark.parametrize(
    "view",
    [lambda x: x[::2], lambda x: x[:, ::-1], lambda x: np.asfortranarray(x), lambda x: x[100:101]],
    ids=["every other row", "columns reversed", "column by column", "one row"],
)
def test_any_layout(view: Callable[[Matrix], Matrix], weights: tuple[Matrix, Matrix]) -> None:
    """Rows need not lie one after the other, and are only read."""
    x = view(made(3000, D_IN))
    x.flags.writeable = False
    np.testing.assert_allclose(kernel.project(x, *weights), exact(x, *weights), atol=3e-7)


def test_into_memory_that_is_given(weights: tuple[Matrix, Matrix]) -> None:
    """`out` and `scales` are filled; `out` is what comes back."""
    x, out, scales = made(5000, D_IN), np.empty((5000, D_OUT), np.float32), np.empty(5000, np.float32)
    assert kernel.project(x, *weights, out=out, scales=scales) is out
    np.testing.assert_allclose(out, exact(x, *weights), atol=3e-7)
    np.testing.assert_allclose(scales, 1 / np.linalg.norm(x, axis=1), rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 7, None])
def test_threads_change_nothing(threads: int | None, weights: tuple[Matrix, Matrix]) -> None:
    """Bit for bit the same with any number of threads."""
    x = made(20_000, D_IN)
    assert (kernel.project(x, *weights, threads=threads) == kernel.project(x, *weights, threads=1)).all()


def test_pages_at_the_same_time(weights: tuple[Matrix, Matrix]) -> None:
    """Several callers at once get what each would get alone."""
    pages = [made(9000, D_IN, seed) for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda page: kernel.project(page, *weights), pages))
    for page, one in zip(pages, found, strict=True):
        assert (one == kernel.project(page, *weights, threads=1)).all()


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, 1e30, 1e-30])
def test_no_direction(bad: float, weights: tuple[Matrix, Matrix]) -> None:
    """A row without a direction shows in the scales, without a warning, and leaves the others alone."""
    x, scales = made(50, D_IN), np.empty(50, np.float32)
    good = kernel.project(x, *weights)
    x[7] = bad
    found = kernel.project(x, *weights, scales=scales)
    assert np.flatnonzero(scales == 0).tolist() == [7]
    others = np.arange(50) != 7
    assert (found[others] == good[others]).all()


@pytest.mark.parametrize(("rows", "width"), [(0, 8), (1, 8), (100_000, 1536), (4097, 1), (30, 10**7)])
def test_blocks_hold_every_row_once(rows: int, width: int) -> None:
    """Blocks follow each other without gaps, none too large and none much smaller than another."""
    sizes, at = [], 0
    for block in kernel.blocks(rows, width):
        assert block.start == at
        sizes.append(block.stop - block.start)
        at = block.stop
    assert at == rows
    assert max(sizes, default=1) - min(sizes, default=1) <= 1
    assert max(sizes, default=0) <= max(1, min(kernel.MOST_ROWS, kernel.BLOCK_BYTES // (4 * width)))


# -- threads --------------------------------------------------------------------------------------------


def test_blas_has_one_thread_whoever_asks_first_and_leaves_last() -> None:
    """Threads that come and go side by side all find one thread of BLAS, and the process gets its own back."""
    before, together = blas_threads(), Barrier(3, timeout=30)

    def look(_: int) -> set[int]:
        together.wait()
        with blas.single_threaded():
            return set(blas_threads())

    with ThreadPoolExecutor(3) as pool:
        assert set.union(*pool.map(look, range(300))) <= {1}
    assert blas_threads() == before


def test_blas_gets_its_threads_back() -> None:
    """One thread of BLAS while anybody asks for it, in any order of leaving; then as many as before."""
    before = blas_threads()
    outer, inner = blas.single_threaded(), blas.single_threaded()
    with outer:
        with inner, pytest.raises(ZeroDivisionError), blas.single_threaded():
            _ = 1 / 0
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_every_item_once() -> None:
    """Each item is worked at once, whoever does it."""
    done: list[int] = []
    blas.each(done.append, range(1000), 4)
    assert sorted(done) == list(range(1000))


def test_others_help() -> None:
    """With two threads, two items are on their way at the same time."""
    both = Barrier(2, timeout=30)
    blas.each(lambda _: both.wait(), range(2), 2)
    assert not both.broken


def test_an_error_is_raised_by_whoever_it_happened_to() -> None:
    """The first error ends the work and is raised; the threads are there for the next call."""

    def work(item: int) -> None:
        if item == 500:
            raise ValueError("500")

    for _ in range(3):
        with pytest.raises(ValueError, match="500"):
            blas.each(work, range(1000), 3)


def test_from_within() -> None:
    """Work that itself has work done waits for nobody."""
    done: list[int] = []
    blas.each(lambda _: blas.each(done.append, range(10)), range(10))
    assert sorted(done) == sorted(list(range(10)) * 10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork() -> None:
    """A forked process makes threads of its own."""
    script = (
        "import os, numpy as np\n"
        "from vexarrow.adapt import kernel\n"
        "x, w, b = np.ones((9000, 8), 'f'), np.ones((8, 512), 'f'), np.ones(512, 'f')\n"
        "first = kernel.project(x, w, b, threads=2)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if (kernel.project(x, w, b, threads=2) == first).all() else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    command: list[Any] = [sys.executable, "-W", "ignore", "-c", script]
    assert subprocess.run(command, timeout=60).returncode == 0
