"""moto's S3 server: a process of its own on 127.0.0.1, with as many buckets as tests like."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.engines.presence import absent, free_port

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG"
SECONDS = 40.0


@contextmanager
def moto_server(**environment: str) -> Iterator[str]:
    """The address of a running server, e.g. `http://127.0.0.1:41234`. `environment`: settings of moto.

    Where it cannot be started the test is skipped, or fails when `VEX_REQUIRE` names "s3".
    """
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(process, address)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def client_environment(address: str, key: str = KEY, secret: str = SECRET) -> dict[str, str]:
    """The environment variables that send every S3 client to a server."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            absent("s3", f"moto's server ended with code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{address}/moto-api/", timeout=2):  # noqa: S310 - http on this machine
                return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.1)
    absent("s3", f"moto's server did not answer within {SECONDS:.0f} s")
