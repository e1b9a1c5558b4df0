"""Threads for the arithmetic: blocks of rows side by side, each with one thread of BLAS."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Value = TypeVar("Value")


def cores() -> int:
    """How many this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def each(work: Callable[[Item], object], items: Iterable[Item], threads: int | None = None) -> None:
    """Do the work for each item, by this thread and by at most `threads` - 1 others, None for one thread a core.

    The others are the same ones in the whole process, so that calls from several threads do not add up. This one works
    itself: whoever calls from such a thread does not wait for a free one. An error ends all and is raised here.
    """
    rest = iter(waiting := list(items))

    def some() -> None:
        for item in rest:  # whoever asks gets the next one
            work(item)

    helpers = min(len(waiting), cores() if threads is None else threads) - 1
    helping = [_pool(os.getpid()).submit(some) for _ in range(helpers)]
    try:
        some()
    finally:
        waiting.clear()
        wait([one for one in helping if not one.cancel()])
    for one in helping:
        if not one.cancelled():
            one.result()


def results(calls: Sequence[Callable[[], Value]]) -> list[Value]:
    """What the calls return, in their order. They are made side by side by one thread a core, each with one thread of
    BLAS, and begun in their order: those that take longest should come first."""
    found: dict[int, Value] = {}

    def call(at: int) -> None:
        found[at] = calls[at]()

    with single_threaded():
        each(call, range(len(calls)))
    return [found[at] for at in range(len(calls))]


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Of this process: a forked one has none of the threads of its parent."""
    return ThreadPoolExecutor(max(1, cores() - 1), "vex-project")


class _Limit:
    """One thread of BLAS in the process while anybody wants it so; what was before comes back with the last one.

    threadpoolctl lets nobody but the thread that set a limit lift it again. So one thread does nothing else.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._held = ExitStack()
        self._keeper = ThreadPoolExecutor(1, "vex-blas")
        # Looks for the libraries once: that takes 20 times as long as to set a limit.
        self._controller = ThreadpoolController()

    def enter(self) -> None:
        with self._lock:
            if not self._wanted:
                self._keeper.submit(self._set).result()
            self._wanted += 1

    def leave(self) -> None:
        with self._lock:
            self._wanted -= 1
            if not self._wanted:
                self._keeper.submit(self._held.close).result()

    def _set(self) -> None:
        self._held.enter_context(self._controller.limit(limits=1, user_api="blas"))


@cache
def _limit(process: int) -> _Limit:
    """Of this process, as of `_pool`."""
    return _Limit()


@contextmanager
def single_threaded() -> Iterator[None]:
    """BLAS has one thread inside, in the whole process, unless another thread of the caller's set a limit of its own.
    Thread-safe; may be nested."""
    limit = _limit(os.getpid())
    limit.enter()
    try:
        yield
    finally:
        limit.leave()
