"""Requests to a server: how often each is tried, how long it may take, and how many run at once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from vexarrow.errors import TransientError, UsageError, VexError
from vexarrow.location import Location
from vexarrow.protocols import Option

T = TypeVar("T")
S = TypeVar("S")

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
# Each wait is so many times the one before. A server that answered before and is gone may be starting again, which
# takes seconds; one that never answered is mostly a wrong address, of which the user wants to hear soon.
GROWTH, GROWTH_OF_KNOWN = 2, 6
_GIVEN_UP = "the request was given up, because the run ends"
OPTIONS = (
    Option(("concurrency",), "requests at a time, at most", default="4", shared=True),
    Option(("retries",), "further tries of a request that failed for a passing reason", default="3", shared=True),
    Option(("timeout",), "seconds that one request may take", default="60", shared=True),
)


class Requests:
    """Requests to one server, each tried again when it failed for a passing reason (TransientError).

    Between tries it waits as long as the server says, else exponentially longer with jitter: with three retries 2 to
    3.5 seconds in all, and 11 to 21.5 when the server has answered before. After "too many requests"
    (TransientError.throttled) fewer run at once, at least one; with every success a little more again.
    """

    def __init__(self, *, concurrency: int = 4, retries: int = 3, timeout: float = 60.0) -> None:
        self.concurrency = concurrency
        self.retries = retries
        self.timeout = timeout
        self._gate = _Gate(concurrency)
        self._pool = ThreadPoolExecutor(concurrency, "vex-requests")  # starts no thread before it is used
        self._turns = ThreadPoolExecutor(1, "vex-turns")
        self._turned_down = False
        self._known = False  # whether the server ever answered
        self._closed = threading.Event()
        self._own = threading.local()

    @classmethod
    def of(cls, location: Location) -> Requests:
        """As the options of a location say. Raises UsageError."""
        return cls(
            concurrency=_whole(location, "concurrency", 4, least=1),
            retries=_whole(location, "retries", 3, least=0),
            timeout=_seconds(location),
        )

    def call(self, request: Callable[[], T]) -> T:
        """The result of one request. Raises what it raised at the last try, and VexError after `close`.

        A call inside of a call, on the same thread, is part of that one: a second place for it might never be free.
        """
        if getattr(self._own, "calling", False):
            return request()
        self._own.calling = True
        try:
            return self._tried(request)
        finally:
            self._own.calling = False

    def _tried(self, request: Callable[[], T]) -> T:
        for tried in range(self.retries + 1):
            try:
                with self._gate.passed() as passed:
                    if self._closed.is_set():
                        raise VexError(_GIVEN_UP)
                    result = request()
                    passed.append(True)
                    self._known = True
                    return result
            except TransientError as error:
                if error.throttled:
                    self._gate.fewer()
                growth = GROWTH_OF_KNOWN if self._known and not error.throttled else GROWTH
                if tried == self.retries or self._closed.wait(_pause(tried, error.retry_after, growth)):
                    raise
        raise AssertionError("unreachable")

    def map(self, request: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """The results of one request an item, in their order, `concurrency` at a time.

        When one fails for good, those not begun are not, the others are waited for, and its error is raised.
        """
        every = list(items)
        if len(every) < 2 or self.concurrency == 1:
            return [self.call(lambda item=item: request(item)) for item in every]  # type: ignore[misc]
        try:
            futures = [self._pool.submit(self.call, lambda item=item: request(item)) for item in every]
        except RuntimeError:  # the pool was closed meanwhile
            raise VexError(_GIVEN_UP) from None
        return _results(futures)

    def in_turn(self, job: Callable[[], T]) -> Callable[[], T]:
        """Start a job that makes requests, in a thread of its own, and return what waits for its result. Jobs run one
        after another in the order in which they came; after one that failed no further one does."""
        try:
            return self._turns.submit(self._turn, job).result
        except RuntimeError:  # closed meanwhile
            raise VexError(_GIVEN_UP) from None

    def _turn(self, job: Callable[[], T]) -> T:
        if self._turned_down:
            raise VexError(_GIVEN_UP)
        try:
            return job()
        except BaseException:
            self._turned_down = True
            raise

    def close(self) -> None:
        """Give up what has not begun or waits for another try; a request on its way ends with its time-out."""
        self._closed.set()
        self._turned_down = True
        # Those that have not begun end with an error: cancelled by the pool, who waits for them would not hear of it.
        self._pool.shutdown()
        self._turns.shutdown()


def _results(futures: list[Future[T]]) -> list[T]:
    wait(futures, return_when=FIRST_EXCEPTION)
    failed = next((one for one in futures if one.done() and not one.cancelled() and one.exception()), None)
    if failed is not None:
        for one in futures:
            one.cancel()
        wait(futures)
        failed.result()
    return [one.result() for one in futures]


def _pause(tried: int, said: float | None, growth: float) -> float:
    """Seconds to wait after a try, from 0."""
    if said is not None:
        return min(max(said, 0.0), 10 * LONGEST_WAIT)
    longest: float = min(FIRST_WAIT * growth**tried, LONGEST_WAIT)
    return longest * random.uniform(0.5, 1.0)


class _Gate:
    """Lets so many through at once: all at first, half as many after `fewer`, then slowly more again."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._limit = float(most)
        self._inside = 0
        self._changed = threading.Condition()

    @contextmanager
    def passed(self) -> Iterator[list[bool]]:
        """Wait for a place. What is appended to the list says that the request succeeded."""
        succeeded: list[bool] = []
        with self._changed:
            self._changed.wait_for(lambda: self._inside < int(self._limit))
            self._inside += 1
        try:
            yield succeeded
        finally:
            with self._changed:
                self._inside -= 1
                if succeeded:
                    self._limit = min(self._most, self._limit + 0.5 / self._limit)
                self._changed.notify_all()

    def fewer(self) -> None:
        """Halve the number."""
        with self._changed:
            self._limit = max(1.0, self._limit / 2)


def _whole(location: Location, name: str, default: int, *, least: int) -> int:
    text = location.option(name)
    if text is None:
        return default
    if not text.isdecimal() or not least <= int(text) <= 1000:
        raise UsageError(f"--{name} {text}: not a whole number from {least} to 1000")
    return int(text)


def _seconds(location: Location) -> float:
    text = location.option("timeout") or "60"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 86_400:
        raise UsageError(f"--timeout {text}: not a number of seconds up to 86400")
    return seconds
