"""The proxies of the test engines: they forward what they should, and what should go wrong goes wrong."""

from __future__ import annotations

import http.client
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.engines.proxy import GRPC_FAULTS, HTTP_FAULTS, TCP_FAULTS, Fault, Script, grpc_proxy, http_proxy, tcp_proxy

# -- the script -----------------------------------------------------------------------------------------


A, B = Fault("a", "reset"), Fault("b", "slow")


def names(script: Script, requests: str) -> str:
    return "".join(fault.name if (fault := script.fault(one)) else "." for one in requests)


def test_every_third_request_suffers_the_next_fault_of_the_list() -> None:
    script = Script([A, B], every=3)
    assert names(script, "123456789") == "..a..b..a"
    assert (script.requests, dict(script.injected)) == (9, {"a": 2, "b": 1})


def test_a_request_suffers_so_often_in_a_row_and_the_next_one_takes_its_place() -> None:
    script = Script([A, B], every=1, in_a_row=2)
    assert names(script, "xxxyyyx") == "ab.ab.a"


def test_a_script_ends_after_so_many_faults() -> None:
    assert names(Script([A], every=1, most=2), "12345") == "aa..."


def test_the_first_requests_may_be_spared() -> None:
    assert names(Script([A], every=1, in_a_row=99, spared=3), "xxxxx") == "...aa"


def test_requests_in_threads_are_counted_one_by_one() -> None:
    script = Script([A], every=4, in_a_row=9)
    with ThreadPoolExecutor(8) as threads:
        suffered = sum(fault is not None for fault in threads.map(script.fault, range(400)))
    assert (script.requests, suffered, script.injected.total()) == (400, 100, 100)


# -- HTTP -----------------------------------------------------------------------------------------------


class Echo(BaseHTTPRequestHandler):
    """Answers with the method, the path and the body."""

    protocol_version = "HTTP/1.1"
    served: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.served.append(self.path)
        self.send_response(201)
        answer = f"{self.command} {self.path} {self.headers['X-Key']} ".encode() + body
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Answer", "yes")
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[tuple[str, list[str]]]:
    """The address of a server and the paths that it was asked for."""
    served: list[str] = []
    handler = type("Handler", (Echo,), {"served": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", served
        server.shutdown()
        thread.join()


@contextmanager
def connected(address: str, seconds: float = 5.0) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection(address.removeprefix("http://"), timeout=seconds)) as connection:
        yield connection


def asked(connection: http.client.HTTPConnection, path: str = "/x", **how: Any) -> tuple[int, bytes]:
    connection.request("POST", path, how.pop("body", b"body"), {"X-Key": "k"}, **how)
    with connection.getresponse() as answer:
        return answer.status, answer.read()


def only(fault: Fault, every: int = 1) -> Script:
    return Script([fault], every=every, in_a_row=1)


def test_requests_without_a_fault_go_there_and_back_on_one_connection(web: tuple[str, list[str]]) -> None:
    with http_proxy(web[0], Script([])) as address, connected(address) as connection:
        assert asked(connection, "/a?b=c") == (201, b"POST /a?b=c k body")
        assert asked(connection, "/chunks", body=iter([b"in ", b"parts"]), encode_chunked=True) == (
            201,
            b"POST /chunks k in parts",
        )
        connection.request("GET", "/g")
        with connection.getresponse() as answer:
            assert (answer.status, answer.headers["X-Answer"], answer.read()) == (201, "yes", b"GET /g None ")


@pytest.mark.parametrize("name", ["429", "429 with Retry-After", "503", "503 after the work"])
def test_an_error_is_answered_and_the_same_request_then_passes(web: tuple[str, list[str]], name: str) -> None:
    fault = HTTP_FAULTS[name]
    script = only(fault)
    with http_proxy(web[0], script) as address, connected(address) as connection:
        connection.request("POST", "/x", b"body", {"X-Key": "k"})
        with connection.getresponse() as answer:
            assert answer.status == fault.status
            assert answer.headers["Retry-After"] == ("1" if fault.retry_after else None)
            answer.read()
        assert len(web[1]) == fault.worked
        assert asked(connection) == (201, b"POST /x k body")
    assert script.injected == {name: 1}


@pytest.mark.parametrize("name", ["reset before the work", "reset after the work"])
def test_a_connection_is_reset_and_the_server_has_worked_or_not(web: tuple[str, list[str]], name: str) -> None:
    script = only(HTTP_FAULTS[name])
    with http_proxy(web[0], script) as address:
        with connected(address) as connection, pytest.raises(ConnectionResetError):
            asked(connection)
        assert len(web[1]) == HTTP_FAULTS[name].worked
        with connected(address) as connection:
            assert asked(connection)[0] == 201


def test_silence_lasts_until_the_client_gives_up(web: tuple[str, list[str]]) -> None:
    with http_proxy(web[0], only(HTTP_FAULTS["silence"])) as address:
        with connected(address, 0.3) as connection, pytest.raises(TimeoutError):
            asked(connection)
        assert web[1] == ["/x"]
        with connected(address) as connection:
            assert asked(connection)[0] == 201


def test_a_proxy_ends_while_a_client_still_waits(web: tuple[str, list[str]]) -> None:
    with connected("127.0.0.1:1") as connection:
        with http_proxy(web[0], only(HTTP_FAULTS["silence"])) as address:
            connection.port = int(address.rpartition(":")[2])
            connection.request("POST", "/x")
            started = time.monotonic()
        assert time.monotonic() - started < 2
        with pytest.raises(ConnectionError):
            connection.getresponse()
    assert not [one.name for one in threading.enumerate() if "proxy" in one.name]


def test_a_slow_answer_comes_whole(web: tuple[str, list[str]]) -> None:
    with http_proxy(web[0], only(HTTP_FAULTS["slow"])) as address, connected(address) as connection:
        started = time.monotonic()
        assert asked(connection) == (201, b"POST /x k body")
        assert time.monotonic() - started >= 0.5


def test_half_an_answer_is_announced_as_a_whole_one(web: tuple[str, list[str]]) -> None:
    with http_proxy(web[0], only(HTTP_FAULTS["half"])) as address:
        with connected(address) as connection, pytest.raises(http.client.IncompleteRead) as caught:
            asked(connection)
        assert (caught.value.partial, caught.value.expected) == (b"POST /x", 7)


def test_a_server_that_is_not_there_is_a_bad_gateway() -> None:
    with http_proxy("http://127.0.0.1:9", Script([])) as address, connected(address) as connection:
        assert asked(connection)[0] == 502


# -- TCP ------------------------------------------------------------------------------------------------


class Doubling(socketserver.BaseRequestHandler):
    """Sends everything back twice."""

    def handle(self) -> None:
        with suppress(OSError):
            while data := self.request.recv(1 << 16):
                self.request.sendall(data + data)


@pytest.fixture
def doubling() -> Iterator[str]:
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Doubling) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def doubled(address: str, size: int, seconds: float = 5.0, *, then: int | None = socket.SHUT_WR) -> int:
    """The bytes that come back until the other side says good-bye, of `size` that were sent; `then` is ours."""
    host, _, port = address.rpartition(":")
    total = 0
    with socket.create_connection((host, int(port)), timeout=seconds) as one:
        sender = threading.Thread(target=lambda: send(one, size, then))
        sender.start()
        try:
            while data := one.recv(1 << 16):
                total += len(data)
        finally:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            sender.join()
    return total


def send(one: socket.socket, size: int, then: int | None) -> None:
    with suppress(OSError):
        one.sendall(b"x" * size)
        if then is not None:
            one.shutdown(then)


def test_bytes_pass_in_both_directions_at_once(doubling: str) -> None:
    with tcp_proxy(doubling, Script([])) as address:
        assert doubled(address, 5_000_000) == 10_000_000


def test_a_connection_is_reset_after_so_many_bytes_and_the_next_one_is_not(doubling: str) -> None:
    script = only(TCP_FAULTS["reset"])
    with tcp_proxy(doubling, script) as address:
        with pytest.raises(ConnectionResetError):
            doubled(address, 100_000)
        assert doubled(address, 100_000) == 200_000
    assert script.injected == {"reset": 1}


def test_fewer_bytes_than_it_takes_pass_untouched(doubling: str) -> None:
    with tcp_proxy(doubling, only(TCP_FAULTS["reset"])) as address:
        assert doubled(address, 9_000) == 18_000


def test_a_connection_that_is_cut_says_good_bye_in_the_middle(doubling: str) -> None:
    with tcp_proxy(doubling, only(TCP_FAULTS["half"])) as address:
        assert 0 <= doubled(address, 100_000) < 30_000


def test_after_silence_nothing_comes_and_nothing_ends(doubling: str) -> None:
    with tcp_proxy(doubling, only(TCP_FAULTS["silence"])) as address, pytest.raises(TimeoutError):
        doubled(address, 100_000, seconds=0.5, then=None)


def test_a_slow_connection_loses_nothing(doubling: str) -> None:
    with tcp_proxy(doubling, only(TCP_FAULTS["slow"])) as address:
        started = time.monotonic()
        assert doubled(address, 60_000) == 120_000
        assert time.monotonic() - started > 0.2


# -- gRPC -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grpc() -> Any:
    return pytest.importorskip("grpc")


@pytest.fixture
def calls(grpc: Any) -> Iterator[tuple[str, list[bytes]]]:
    """A server of `/s/Echo` (one message), `/s/Many` (a stream) and `/s/Fail`, and the messages that it got."""
    got: list[bytes] = []
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers([service(grpc, got)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}", got
        server.stop(0).wait()


def service(grpc: Any, got: list[bytes]) -> Any:
    def echo(message: bytes, context: Any) -> bytes:
        got.append(message)
        key: str = dict(context.invocation_metadata()).get("api-key", "none")
        context.set_trailing_metadata([("cost", "7")])
        return message + key.encode()

    def many(messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for message in messages:
            got.append(message)
            yield from (message, message)

    def fail(message: bytes, context: Any) -> bytes:
        context.set_trailing_metadata([("why", "no such thing")])
        context.abort(grpc.StatusCode.NOT_FOUND, "nothing here")
        raise AssertionError("unreachable")

    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Many": grpc.stream_stream_rpc_method_handler(many),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    return grpc.method_handlers_generic_handler("s", handlers)


@contextmanager
def unary(grpc: Any, address: str, name: str = "Echo") -> Iterator[Any]:
    with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        yield channel.unary_unary(f"/s/{name}")


def test_a_call_goes_through_with_its_metadata_in_both_directions(grpc: Any, calls: tuple[str, list[bytes]]) -> None:
    with grpc_proxy(calls[0], Script([])) as address, unary(grpc, address) as echo:
        answer, call = echo.with_call(b"hello ", metadata=[("api-key", "k")], timeout=5)
        assert answer == b"hello k"
        assert dict(call.trailing_metadata())["cost"] == "7"


def test_messages_beyond_the_usual_limit_go_through(grpc: Any, calls: tuple[str, list[bytes]]) -> None:
    large = b"x" * (3 << 20)
    with grpc_proxy(calls[0], Script([])) as address, unary(grpc, address) as echo:
        assert len(echo(large, timeout=5)) == len(large) + len("none")


def test_a_stream_goes_through_message_by_message(grpc: Any, calls: tuple[str, list[bytes]]) -> None:
    with grpc_proxy(calls[0], Script([])) as address, grpc.insecure_channel(address) as channel:
        stream = channel.stream_stream("/s/Many")(iter([b"1", b"2"]), timeout=5)
        assert list(stream) == [b"1", b"1", b"2", b"2"]


def test_the_error_of_the_server_is_the_error_of_the_proxy(grpc: Any, calls: tuple[str, list[bytes]]) -> None:
    with grpc_proxy(calls[0], Script([])) as address, unary(grpc, address, "Fail") as fail:
        with pytest.raises(grpc.RpcError) as caught:
            fail(b"", timeout=5)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "nothing here")
        assert dict(caught.value.trailing_metadata())["why"] == "no such thing"


@pytest.mark.parametrize("name", [name for name, fault in GRPC_FAULTS.items() if fault.kind == "status"])
def test_a_status_is_answered_and_the_same_call_then_passes(
    grpc: Any, calls: tuple[str, list[bytes]], name: str
) -> None:
    fault, script = GRPC_FAULTS[name], only(GRPC_FAULTS[name])
    with grpc_proxy(calls[0], script) as address, unary(grpc, address) as echo:
        with pytest.raises(grpc.RpcError) as caught:
            echo(b"m", timeout=5)
        assert caught.value.code().name == fault.status
        assert dict(caught.value.trailing_metadata()).get("retry-after") == ("1" if fault.retry_after else None)
        assert len(calls[1]) == fault.worked
        assert echo(b"m", timeout=5) == b"mnone"
    assert script.injected == {name: 1}


def test_a_call_that_is_never_answered_ends_with_its_deadline(grpc: Any, calls: tuple[str, list[bytes]]) -> None:
    with grpc_proxy(calls[0], only(GRPC_FAULTS["silence"])) as address, unary(grpc, address) as echo:
        with pytest.raises(grpc.RpcError) as caught:
            echo(b"m", timeout=0.3)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert calls[1] == [b"m"]
        assert echo(b"m", timeout=5) == b"mnone"


def test_a_slow_call_is_answered_late(grpc: Any, calls: tuple[str, list[bytes]]) -> None:
    with grpc_proxy(calls[0], only(GRPC_FAULTS["slow"])) as address, unary(grpc, address) as echo:
        started = time.monotonic()
        assert echo(b"m", timeout=5) == b"mnone"
        assert time.monotonic() - started >= 0.5


def test_a_server_that_is_not_there_is_unavailable(grpc: Any) -> None:
    with grpc_proxy("127.0.0.1:9", Script([])) as address, unary(grpc, address) as echo:
        with pytest.raises(grpc.RpcError) as caught:
            echo(b"m", timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_grpc_through_a_connection_that_is_cut_comes_back_on_the_next_one(
    grpc: Any, calls: tuple[str, list[bytes]]
) -> None:
    script = only(TCP_FAULTS["reset"])
    with tcp_proxy(calls[0], script) as address, unary(grpc, address) as echo:
        with pytest.raises(grpc.RpcError) as caught:
            echo(b"x" * 100_000, timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert echo(b"m", timeout=5, wait_for_ready=True) == b"mnone"
    assert script.injected == {"reset": 1}
