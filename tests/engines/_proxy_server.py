"""A TCP server on 127.0.0.1 with a thread a connection, which can reset connections and ends cleanly."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.engines._proxy_script import Script

_NO_LINGER = struct.pack("ii", 1, 0)


class Server(socketserver.ThreadingTCPServer):
    """Listens on a free port. `upstream` is where the handler forwards to; `closing` is set when it has to end."""

    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = False  # so that server_close waits for all of them

    def __init__(self, handler: type[socketserver.BaseRequestHandler], upstream: str, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.upstream = upstream
        self.script = script
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._resets: set[socket.socket] = set()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve in a thread; yields host and port. At the end every connection is closed and every thread joined."""
        thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="proxy")
        thread.start()
        try:
            yield f"127.0.0.1:{self.server_address[1]}"
        finally:
            self.closing.set()
            self.shutdown()
            for one in list(self._open):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self.server_close()
            thread.join()

    def reset(self, connection: socket.socket) -> None:
        """Let a connection end with a reset instead of a good-bye, as soon as its handler returns."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._resets.add(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a connection."""
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection: without a word where it is to be reset."""
        self._open.discard(request)
        if request in self._resets:
            self._resets.discard(request)
            request.close()
        else:
            super().shutdown_request(request)
