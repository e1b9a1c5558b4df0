"""Qdrant: its own engine (Edge) behind a gRPC and a REST face of ours, or a real server where one is named.

The engine is the one that Qdrant's server is made of, and the messages are those of qdrant-client, which works with it
unmodified; the faces are an emulation. `VEX_TEST_QDRANT_URL` (and `VEX_TEST_QDRANT_KEY`) point the tests to a real one.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.engines.presence import absent, free_port

SECONDS = 60.0
KEY = "the-key-of-the-tests"


@dataclass(frozen=True)
class Server:
    """A server. `emulated`: it is ours, and does what `control` says."""

    url: str
    key: str | None
    emulated: bool

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def control(self, **wishes: Any) -> dict[str, int]:
        """Ask our faces for something (see `Face.control`); how often each method was called until now."""
        assert self.emulated
        return dict(self.rest("POST", "/_control", wishes))

    def fail(self, method: str, code: str, times: int = 1, **more: Any) -> None:
        """Let the next calls of a method, e.g. "Points/Upsert", answer with a gRPC status."""
        self.control(faults=[{"method": method, "code": code, "times": times, **more}])

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """The result of a REST request."""
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": "application/json"} | ({"api-key": self.key} if self.key else {})
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - as the tests say
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return orjson.loads(answer.read())["result"]


@contextmanager
def qdrant_server(key: str = KEY) -> Iterator[Server]:
    """A running server. Where there can be none the test is skipped, or fails when `VEX_REQUIRE` names "qdrant"."""
    given = os.environ.get("VEX_TEST_QDRANT_URL")
    if given:
        yield Server(given.rstrip("/"), os.environ.get("VEX_TEST_QDRANT_KEY"), emulated=False)
        return
    for library in ("qdrant_client", "qdrant_edge"):
        if importlib.util.find_spec(library) is None:
            absent("qdrant", f"{library} is not installed")
    with tempfile.TemporaryDirectory() as folder, _process(folder, key) as server:
        yield server


@contextmanager
def _process(folder: str, key: str) -> Iterator[Server]:
    port = _two_ports()
    command = [sys.executable, "-m", "tests.engines._qdrant_server", folder, str(port), str(port + 1)]
    environment = {**os.environ, "QDRANT_FACE_KEY": key}
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        command, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    server = Server(f"http://127.0.0.1:{port}", key, emulated=True)
    try:
        _wait(process, server)
        yield server
    finally:
        process.terminate()
        process.communicate()


def _two_ports() -> int:
    """A free port, with a free one after it: gRPC is there where nothing else is said."""
    while True:
        port = free_port()
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def _wait(process: subprocess.Popen[bytes], server: Server) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            absent("qdrant", f"the engine ended with code {process.returncode}")
        try:
            server.rest("GET", "/collections")
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    absent("qdrant", f"the engine did not answer within {SECONDS:.0f} s")
