"""The proxy for HTTP/1.1."""

from __future__ import annotations

import http.client
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.engines._proxy_script import Fault, Script
from tests.engines._proxy_server import Server

SECONDS = 60.0
DROPS = 5
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "proxy-connection", "te", "upgrade"}


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@contextmanager
def http_proxy(upstream: str, script: Script) -> Iterator[str]:
    """Forward every request to the server at `upstream`, but for the faults of the script; yields the address.

    `status` with `worked` forwards the request and answers the error all the same; `half` announces the whole length
    and closes after half the body.
    """
    with Server(_Handler, upstream, script).running() as address:
        yield f"http://{address}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle(self) -> None:
        """Answer until the client has gone, in whatever way."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def _any(self) -> None:
        body = self._body()
        fault = self.server.script.fault((self.command, self.path, body))
        answer = self._asked(body) if fault is None or fault.worked else None
        if fault is None:
            assert answer is not None
            self._answer(answer)
        else:
            self._suffer(fault, answer or Answer(200, [], b""))

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._any
        raise AttributeError(name)

    def _suffer(self, fault: Fault, answer: Answer) -> None:
        if fault.kind == "status":
            self._answer(_refusal(fault))
        elif fault.kind == "slow":
            self._answer(answer, seconds=fault.seconds)
        elif fault.kind == "half":
            self._answer(answer, share=0.5)
        else:
            self.close_connection = True
            if fault.kind == "silence":
                self._wait_for_the_client_to_go()
            self.server.reset(self.connection)

    def _wait_for_the_client_to_go(self) -> None:
        while not self.server.closing.is_set():
            if select.select([self.connection], [], [], 0.05)[0]:
                return

    # -- reading and asking ---------------------------------------------------------------------------------------

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunk(self) -> bytes:
        data = self.rfile.read(int(self.rfile.readline().split(b";")[0], 16))
        self.rfile.readline()
        return data

    def _asked(self, body: bytes) -> Answer:
        """The server's answer; 502 with the reason when there is none."""
        there = http.client.HTTPConnection(urlsplit(self.server.upstream).netloc, timeout=SECONDS)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        try:
            there.request(self.command, self.path, body or None, headers)
            answer = there.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP]
            return Answer(answer.status, kept, answer.read())
        except (OSError, http.client.HTTPException) as error:
            return Answer(502, [], f"the proxy cannot reach {self.server.upstream}: {error!r}".encode())
        finally:
            there.close()

    # -- answering ------------------------------------------------------------------------------------------------

    def _answer(self, answer: Answer, *, seconds: float = 0.0, share: float = 1.0) -> None:
        """Send an answer; in drops that take so many seconds, or only a share of its body (then nothing more)."""
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status != http.client.NO_CONTENT or share < 1:
            self.send_header("Content-Length", str(max(len(answer.body), int(share < 1))))
        self.end_headers()
        body = b"" if self.command == "HEAD" else answer.body
        if seconds:
            self._drop(body, seconds)
        else:
            self.wfile.write(body[: int(len(body) * share)])
        if share < 1:
            self.close_connection = True

    def _drop(self, body: bytes, seconds: float) -> None:
        step = max(1, -(-len(body) // DROPS))
        for start in range(0, DROPS * step, step):
            self.server.closing.wait(seconds / DROPS)
            self.wfile.write(body[start : start + step])

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _refusal(fault: Fault) -> Answer:
    headers = [("Content-Type", "application/json")]
    if fault.retry_after is not None:
        headers.append(("Retry-After", f"{fault.retry_after:g}"))
    return Answer(int(fault.status), headers, b'{"message":"the proxy says so"}')
