"""Weaviate for tests: a real server where `VEX_TEST_WEAVIATE_URL` says so, else our emulator.

The emulator is no Weaviate: it has no index, no search and no cluster, but the schema, the objects, the checks, limits
and words of one (1.39 was compared), so that the official client and npm vex work with it unmodified.
`VEX_TEST_WEAVIATE_GRPC_PORT` and `VEX_TEST_WEAVIATE_KEY` go with the real one.

    python -m tests.engines.weaviate        runs the emulator alone, and prints its two ports
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.engines.presence import absent

if TYPE_CHECKING:
    from tests.engines._weaviate_grpc import Faults
    from tests.engines._weaviate_store import Store

_THREADS = 16


@dataclass(frozen=True)
class Weaviate:
    """A server that runs. `emulator` is None for a real one."""

    url: str
    grpc_port: int
    key: str | None = None
    emulator: Emulator | None = field(default=None, repr=False)

    def uri(self, collection: str, more: str = "") -> str:
        """The location of a class; `more` is further options of a URI, beginning with "&"."""
        parts = urlsplit(self.url)
        return f"weaviate://{parts.hostname}:{parts.port}/{collection}?grpc_port={self.grpc_port}{more}"


@dataclass
class Emulator:
    """What the emulator holds, and what goes wrong in it on purpose."""

    store: Store
    faults: Faults


@contextmanager
def weaviate_server() -> Iterator[Weaviate]:
    """A real server where the environment names one, else an emulator."""
    url = os.environ.get("VEX_TEST_WEAVIATE_URL")
    if url:
        port = int(os.environ.get("VEX_TEST_WEAVIATE_GRPC_PORT") or 50051)
        yield Weaviate(url.rstrip("/"), port, os.environ.get("VEX_TEST_WEAVIATE_KEY"))
        return
    with weaviate_emulator() as found:
        yield found


@contextmanager
def weaviate_emulator(key: str | None = None) -> Iterator[Weaviate]:
    """An emulator on two free ports of 127.0.0.1. `key`: the only key that it lets in.

    Where its libraries are missing the test is skipped, or fails when `VEX_REQUIRE` names "weaviate".
    """
    try:
        import grpc

        from tests.engines import _weaviate_grpc as service
    except ImportError as error:
        absent("weaviate", f"the emulator needs weaviate-client ({error})")
    from tests.engines._weaviate_rest import Handler
    from tests.engines._weaviate_store import MAXIMUM_BYTES, Store

    store, faults = Store(), service.Faults()
    options = [("grpc.max_receive_message_length", MAXIMUM_BYTES), ("grpc.max_send_message_length", -1)]
    calls = grpc.server(ThreadPoolExecutor(_THREADS), options=options)
    service.serve(calls, store, faults, key)
    port = calls.add_insecure_port("127.0.0.1:0")
    handler = type("EmulatorHandler", (Handler,), {"store": store, "key": key, "disable_nagle_algorithm": True})
    web = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    web.daemon_threads = True
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    calls.start()
    try:
        yield Weaviate(f"http://127.0.0.1:{web.server_address[1]}", port, key, Emulator(store, faults))
    finally:
        calls.stop(grace=None).wait()
        web.shutdown()
        web.server_close()
        thread.join()


def main() -> None:
    """Run an emulator until its standard input ends."""
    with weaviate_emulator() as found:
        print(urlsplit(found.url).port, found.grpc_port, flush=True)  # noqa: T201 - a program of its own
        sys.stdin.read()


if __name__ == "__main__":
    main()
