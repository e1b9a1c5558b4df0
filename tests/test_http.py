"""Requests over HTTP against a server that answers as it is told."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from vexarrow.errors import AccessError, DataError, NotFound, Refused, TransientError, UsageError, VexError
from vexarrow.http import Http


class Handler(BaseHTTPRequestHandler):
    """Answers `/status/N` with that status, `/echo` with what it got, `/text` with no JSON, `/half` with half of it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        _, kind, *rest = self.path.split("?")[0].split("/")
        if kind == "status":
            self._answer(int(rest[0]), json.dumps({"message": f"no: {self.headers['Api-Key']}"}).encode())
        elif kind == "echo":
            self._answer(200, body)
        elif kind == "half":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"{")
            self.close_connection = True
        else:
            self._answer(200, b"<html>")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def http(server: str) -> Iterator[Http]:
    one = Http(server, headers={"Api-Key": "a-very-secret-key"}, timeout=5)
    yield one
    one.close()


def test_json_goes_there_and_back(http: Http) -> None:
    assert http.json("POST", "/echo", {"ä": [1, None]}) == {"ä": [1, None]}
    assert http.json("POST", "/echo") is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AccessError), (403, AccessError), (404, NotFound), (400, Refused), (413, Refused), (422, Refused)]
    + [(status, TransientError) for status in (408, 425, 429, 500, 502, 503, 504)]
    + [(405, VexError), (301, VexError)],
)
def test_statuses_become_errors_and_no_message_shows_the_key(http: Http, status: int, kind: type[VexError]) -> None:
    with pytest.raises(kind) as caught:
        http.json("POST", f"/status/{status}?key=secret")
    assert "a-very-secret-key" not in str(caught.value)
    assert "key=secret" not in str(caught.value)
    if isinstance(caught.value, TransientError):
        assert caught.value.throttled == (status == 429)
        assert caught.value.retry_after == (7 if status == 429 else None)


def test_an_answer_that_breaks_off_may_be_tried_again_and_one_that_is_no_json_is_an_error(http: Http) -> None:
    with pytest.raises(TransientError, match="broke"):
        http.json("POST", "/half")
    with pytest.raises(DataError, match="not JSON"):
        http.json("POST", "/text")


def test_an_address_where_nothing_listens_may_be_tried_again() -> None:
    with pytest.raises(TransientError, match="nothing listens"):
        Http("http://127.0.0.1:9").json("GET", "/")


def test_a_server_that_says_nothing_is_given_up_after_the_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        http = Http(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        with pytest.raises(TransientError, match=r": no answer within 0\.2 s$"):
            http.json("GET", "/")
        http.close()


def test_a_host_that_there_is_not_is_told_from_one_that_does_not_answer() -> None:
    with pytest.raises(TransientError, match=r"^http://nowhere\.invalid:9: no such host is known$"):
        Http("http://nowhere.invalid:9").json("GET", "/")


def test_an_address_that_is_none_is_an_error() -> None:
    with pytest.raises(UsageError, match="https://host:port"):
        Http("localhost:6333")
