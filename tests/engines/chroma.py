"""Chroma's own server (`chroma run`) on 127.0.0.1, over a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.presence import absent, free_port

SECONDS = 40.0


@contextmanager
def chroma_server() -> Iterator[str]:
    """The address of a running server, e.g. `http://127.0.0.1:41234`; `VEX_TEST_CHROMA_URL` names one that runs.

    Where it cannot be started the test is skipped, or fails when `VEX_REQUIRE` names "chroma".
    """
    given = os.environ.get("VEX_TEST_CHROMA_URL")
    if given:
        yield given.rstrip("/")
        return
    program = Path(sysconfig.get_path("scripts"), "chroma")
    if not program.exists():
        absent("chroma", "the program chroma is not installed")
    with tempfile.TemporaryDirectory(prefix="vex-chroma-") as folder:
        port = free_port()
        command = [str(program), "run", "--host", "127.0.0.1", "--port", str(port), "--path", f"{folder}/data"]
        # Its home is where it would leave what it caches.
        environment = {**os.environ, "HOME": folder, "ANONYMIZED_TELEMETRY": "False"}
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        address = f"http://127.0.0.1:{port}"
        try:
            _wait(process, address)
            yield address
        finally:
            process.terminate()
            process.wait(10)


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            absent("chroma", f"the server ended with code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{address}/api/v2/heartbeat", timeout=2):  # noqa: S310 - http on this machine
                return
        except (OSError, urllib.error.HTTPError):
            time.sleep(0.05)
    absent("chroma", f"the server did not answer within {SECONDS:.0f} s")
