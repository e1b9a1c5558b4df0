"""Reads pages ahead in a thread of its own, so that parsing and writing overlap."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

from vexarrow.protocols import Page

# Enough to go on reading while a sink writes a whole row group, which takes it many pages' time.
AHEAD_BYTES = 32 << 20
_PATIENCE = 2.0


class _Buffer:
    """Pages between the thread that reads and the one that writes: at most `AHEAD_BYTES` of them, and at least one."""

    def __init__(self) -> None:
        self._pages: deque[tuple[Page, int]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ended = False
        self._stopped = False
        self._error: BaseException | None = None

    def put(self, page: Page) -> bool:
        """Wait for room; False when nobody wants more."""
        size = page.batch.nbytes
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._pages or self._bytes + size <= AHEAD_BYTES)
            self._pages.append((page, size))
            self._bytes += size
            self._changed.notify()
            return not self._stopped

    def end(self, error: BaseException | None = None) -> None:
        """No more pages come; `error` is raised after the last one."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify()

    def stop(self) -> None:
        """No more pages are wanted."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def pages(self) -> Iterator[Page]:
        """The pages in their order, then the error if there was one."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pages or self._ended)
                if not self._pages:
                    break
                page, size = self._pages.popleft()
                self._bytes -= size
                self._changed.notify()
            yield page
        if self._error is not None:
            raise self._error


@contextmanager
def read_ahead(pages: Iterable[Page]) -> Iterator[Iterator[Page]]:
    """An iterator over `pages`, which run ahead of it by at most `AHEAD_BYTES`.

    The generator runs, and is closed, in the thread. What it raises is raised here, after what it yielded before.
    """
    buffer = _Buffer()
    thread = threading.Thread(target=_produce, args=(pages, buffer), name="vex-reader", daemon=True)
    thread.start()
    try:
        yield buffer.pages()
    finally:
        buffer.stop()
        # A generator that waits for input which never comes (a terminal, a pipe) cannot be closed; it ends with us.
        thread.join(_PATIENCE)


def _produce(pages: Iterable[Page], buffer: _Buffer) -> None:
    try:
        for page in pages:
            if not buffer.put(page):
                break
        buffer.end()
    except BaseException as error:  # noqa: BLE001 - raised again where the pages are consumed
        buffer.end(error)
    finally:
        if isinstance(pages, Generator):
            pages.close()
