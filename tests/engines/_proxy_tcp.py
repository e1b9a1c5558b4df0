"""The proxy for raw TCP: what it cannot understand it can still cut."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.engines._proxy_script import Fault, Script
from tests.engines._proxy_server import Server

CHUNK, DROP = 1 << 16, 1 << 12


@contextmanager
def tcp_proxy(upstream: str, script: Script) -> Iterator[str]:
    """Forward every connection to `upstream` (host:port), but for the faults of the script; yields host and port.

    Here the script counts connections. A fault happens as soon as `after` bytes have passed: "reset" and "half" end the
    connection, "half" with a good-bye; after "silence" nothing passes any more; "slow" takes `seconds` for every 4 KiB.
    """
    with Server(_Handler, upstream, script).running() as address:
        yield address


class _Handler(socketserver.BaseRequestHandler):
    server: Server
    request: socket.socket

    def handle(self) -> None:
        """Pass bytes in both directions until one side has gone or the fault has come."""
        fault = self.server.script.fault("a connection")
        host, _, port = self.server.upstream.rpartition(":")
        try:
            there = socket.create_connection((host, int(port)), timeout=10)
        except OSError:
            self.server.reset(self.request)
            return
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with there:
            end = _Pipe(self.request, there, fault, self.server.closing).run()
        if end == "silence":
            self._wait_for_the_client_to_go()
        if end in ("reset", "silence"):
            self.server.reset(self.request)

    def _wait_for_the_client_to_go(self) -> None:
        """Read what still comes, so that the client believes it was heard."""
        while not self.server.closing.is_set():
            if select.select([self.request], [], [], 0.05)[0]:
                with suppress(OSError):
                    if self.request.recv(CHUNK):
                        continue
                return


class _Pipe:
    """Two sockets whose bytes go to each other, counted."""

    def __init__(
        self, here: socket.socket, there: socket.socket, fault: Fault | None, closing: threading.Event
    ) -> None:
        self._here, self._there, self._fault, self._closing = here, there, fault, closing
        self._passed = 0
        self._end: str | None = None
        self._lock = threading.Lock()

    def run(self) -> str | None:
        """The kind of the fault that ended it, None when the sides ended it themselves."""
        back = threading.Thread(target=self._pump, args=(self._there, self._here), name="proxy-back")
        back.start()
        self._pump(self._here, self._there)
        back.join()
        return self._end

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while not self._over():
                if not select.select([source], [], [], 0.02)[0]:
                    continue
                data = source.recv(DROP if self._slow() else CHUNK)
                if not data:
                    break
                target.sendall(data[: self._allowed(len(data))])
        with suppress(OSError):
            if self._end is None:
                target.shutdown(socket.SHUT_WR)

    def _over(self) -> bool:
        return self._end is not None or self._closing.is_set()

    def _slow(self) -> bool:
        return self._fault is not None and self._fault.kind == "slow"

    def _allowed(self, size: int) -> int:
        """How many of the next bytes may pass; sets the end where the fault comes in between."""
        fault = self._fault
        with self._lock:
            left = size if fault is None else max(0, fault.after - self._passed)
            self._passed += size
            if fault is None or left >= size:
                return size
            if fault.kind != "slow":
                self._end = fault.kind
                return left
        self._closing.wait(fault.seconds)
        return size
