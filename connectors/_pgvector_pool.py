"""Connections that are used again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

from vexarrow.patience import Requests

from ._pgvector_address import Address
from ._pgvector_wire import Session

T = TypeVar("T")


class Pool:
    """As many connections as there are threads at once; one that broke is not used again."""

    def __init__(self, address: Address, requests: Requests) -> None:
        self._address = address
        self._requests = requests
        self._idle: list[Session] = []
        self._lock = Lock()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A connection for one thread."""
        with self._lock:
            session = self._idle.pop() if self._idle else None
        session = session or Session.opened(self._address, self._requests.timeout)
        try:
            yield session
        finally:
            if session.alive:
                with self._lock:
                    self._idle.append(session)
            else:
                session.close()

    def do(self, job: Callable[[Session], T]) -> T:
        """Do something on a connection, again if that failed for a passing reason."""

        def once() -> T:
            with self.session() as session:
                return job(session)

        return self._requests.call(once)

    def close(self) -> None:
        """Close them all."""
        for session in self._idle:
            session.close()
