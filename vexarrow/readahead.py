"""Reads pages ahead in threads of their own, so that reading, parsing and writing overlap."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager

from vexarrow.protocols import Page

# Enough to go on reading while a sink writes a whole row group, which takes it many pages' time.
AHEAD_BYTES = 32 << 20
_PATIENCE = 2.0


Opener = Callable[[], Iterable[Page]]


class _Buffer:
    """Pages between the threads that read and the one that writes: at most `AHEAD_BYTES` of them, and at least one."""

    def __init__(self, readers: int) -> None:
        self._pages: deque[tuple[int, Page, int]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._reading = readers
        self._stopped = False
        self._error: BaseException | None = None

    def put(self, at: int, page: Page) -> bool:
        """Wait for room; False when nobody wants more."""
        size = page.batch.nbytes
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._pages or self._bytes + size <= AHEAD_BYTES)
            self._pages.append((at, page, size))
            self._bytes += size
            self._changed.notify_all()
            return not self._stopped

    def end(self, error: BaseException | None = None) -> None:
        """One reader has ended; the first `error` stops the others and is raised after the pages that there are."""
        with self._changed:
            self._reading -= 1
            if error is not None and self._error is None:
                self._error, self._stopped = error, True
            self._changed.notify_all()

    def stop(self) -> None:
        """No more pages are wanted."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def pages(self) -> Iterator[tuple[int, Page]]:
        """The pages, those of a partition in their order, then the error if there was one."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pages or not self._reading)
                if not self._pages:
                    break
                at, page, size = self._pages.popleft()
                self._bytes -= size
                self._changed.notify_all()
            yield at, page
        if self._error is not None:
            raise self._error


@contextmanager
def read_ahead(partitions: Sequence[Opener], readers: int = 1) -> Iterator[Iterator[tuple[int, Page]]]:
    """The pages of all partitions, each with the number of its partition; reading runs ahead by at most `AHEAD_BYTES`.

    `readers` partitions are read at once, each by one thread, begun in their order: with one reader, all pages come in
    order. Generators run, and are closed, in their threads. What one raises is raised here, after what came before it.
    """
    readers = max(1, min(readers, len(partitions)))
    buffer = _Buffer(readers)
    jobs = iter(enumerate(partitions))
    lock = threading.Lock()
    threads = [
        threading.Thread(target=_produce, args=(jobs, lock, buffer), name=f"vex-reader-{number}", daemon=True)
        for number in range(readers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield buffer.pages()
    finally:
        buffer.stop()
        for thread in threads:
            # A generator that waits for input which never comes (a terminal, a pipe) cannot be closed; it ends with us.
            thread.join(_PATIENCE)


def _produce(jobs: Iterator[tuple[int, Opener]], lock: threading.Lock, buffer: _Buffer) -> None:
    try:
        while True:
            with lock:
                at, opener = next(jobs, (-1, None))
            if opener is None or not _read(at, opener(), buffer):
                break
        buffer.end()
    except BaseException as error:  # noqa: BLE001 - raised again where the pages are consumed
        buffer.end(error)


def _read(at: int, pages: Iterable[Page], buffer: _Buffer) -> bool:
    try:
        return all(buffer.put(at, page) for page in pages)
    finally:
        if isinstance(pages, Generator):
            pages.close()
