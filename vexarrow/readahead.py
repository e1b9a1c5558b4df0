"""Reads a generator ahead in a thread of its own, so that parsing and writing overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
_POLL = 0.1
_PATIENCE = 2.0


@contextmanager
def read_ahead(items: Iterable[Item], depth: int = 2) -> Iterator[Iterator[Item]]:
    """An iterator over `items`, of which at most `depth` wait in memory.

    The generator runs, and is closed, in the thread. What it raises is raised here, after what it yielded before.
    """
    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, waiting, stop), name="vex-reader", daemon=True)
    thread.start()
    try:
        yield _consume(waiting)
    finally:
        stop.set()
        # A generator that waits for input which never comes (a terminal, a pipe) cannot be closed; it ends with us.
        thread.join(_PATIENCE)


def _produce(items: Iterable[Any], waiting: queue.Queue[tuple[bool, Any]], stop: threading.Event) -> None:
    try:
        for item in items:
            if not _put(waiting, (True, item), stop):
                return
        _put(waiting, (False, None), stop)
    except BaseException as error:  # noqa: BLE001 - raised again where the items are consumed
        _put(waiting, (False, error), stop)
    finally:
        if isinstance(items, Generator):
            items.close()


def _put(waiting: queue.Queue[tuple[bool, Any]], item: tuple[bool, Any], stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            waiting.put(item, timeout=_POLL)
        except queue.Full:
            continue
        return True
    return False


def _consume(waiting: queue.Queue[tuple[bool, Any]]) -> Iterator[Any]:
    while True:
        more, value = waiting.get()
        if more:
            yield value
        elif value is None:
            return
        else:
            raise value
