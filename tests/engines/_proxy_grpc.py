"""The proxy for gRPC: any method of any service, as bytes."""

from __future__ import annotations

import importlib
import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.engines._proxy_script import Fault, Script
from tests.engines.presence import absent

WORKERS = 32
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
# Two servers on one port would share its connections.
_ALONE = [("grpc.so_reuseport", 0)]
_OWN = ("grpc-", ":", "user-agent", "content-type", "te")


@contextmanager
def grpc_proxy(upstream: str, script: Script) -> Iterator[str]:
    """Forward every call to the server at `upstream` (host:port) but for the faults of a script; yields host and port.

    Unary and streaming calls look the same on the wire, and so they do here: the first message and the method tell one
    request from another. `status` with `worked` waits for the server's answer and answers the error all the same.
    """
    try:
        grpc: Any = importlib.import_module("grpc")
    except ImportError as error:
        absent("grpc", str(error))
    pool = ThreadPoolExecutor(WORKERS, "grpc-proxy")
    closing = threading.Event()
    with grpc.insecure_channel(upstream, options=_UNLIMITED) as channel:
        server = grpc.server(pool, options=[*_UNLIMITED, *_ALONE])
        server.add_generic_rpc_handlers([_generic(grpc, _Forwarder(grpc, channel, script, closing))])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            closing.set()
            server.stop(0.2).wait()
            pool.shutdown()


def _generic(grpc: Any, forwarder: _Forwarder) -> Any:
    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            """A handler for the method that is called, whatever its name."""
            method, metadata = details.method, details.invocation_metadata
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, context: forwarder.call(method, metadata, requests, context)
            )

    return Handler()


class _Forwarder:
    def __init__(self, grpc: Any, channel: Any, script: Script, closing: threading.Event) -> None:
        self._grpc, self._channel, self._script, self._closing = grpc, channel, script, closing

    def call(self, method: str, metadata: Any, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """The answers of one call."""
        first = list(itertools.islice(requests, 1))
        fault = self._script.fault((method, *first))
        every = itertools.chain(first, requests)
        if fault is None:
            yield from self._forward(method, metadata, every, context)
            return
        if fault.kind == "slow":
            self._closing.wait(fault.seconds)
        done = list(self._forward(method, metadata, every, context)) if fault.worked else []
        if fault.kind == "silence":
            self._wait_for_the_client_to_go(context)
        elif fault.kind == "status":
            self._refuse(fault, context)
        yield from done

    def _forward(self, method: str, metadata: Any, requests: Iterable[bytes], context: Any) -> Iterator[bytes]:
        call = self._channel.stream_stream(method)(
            iter(requests), timeout=context.time_remaining(), metadata=_passed_on(metadata)
        )
        if not context.add_callback(call.cancel):
            call.cancel()
        try:
            context.send_initial_metadata(_passed_on(call.initial_metadata()))
            yield from call
            context.set_trailing_metadata(_passed_on(call.trailing_metadata()))
        except self._grpc.RpcError as error:
            context.set_trailing_metadata(_passed_on(error.trailing_metadata()))
            context.abort(error.code(), error.details())

    def _refuse(self, fault: Fault, context: Any) -> None:
        if fault.retry_after is not None:
            context.set_trailing_metadata([("retry-after", f"{fault.retry_after:g}")])
        context.abort(getattr(self._grpc.StatusCode, str(fault.status)), "the proxy says so")

    def _wait_for_the_client_to_go(self, context: Any) -> None:
        while context.is_active() and not self._closing.wait(0.02):
            pass
        context.abort(self._grpc.StatusCode.CANCELLED, "the proxy says nothing")


def _passed_on(metadata: Sequence[tuple[str, Any]] | None) -> list[tuple[str, Any]]:
    """What of metadata is the caller's own and not the transport's."""
    return [(key, value) for key, value in metadata or () if not key.startswith(_OWN)]
