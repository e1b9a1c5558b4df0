"""What happens when an engine that a test needs is not there."""

from __future__ import annotations

import os
import socket
from typing import NoReturn

import pytest


def absent(engine: str, reason: str) -> NoReturn:
    """Skip the test, or fail it where `VEX_REQUIRE` names the engine (or "all")."""
    required = set(os.environ.get("VEX_REQUIRE", "").split(","))
    (pytest.fail if required & {engine, "all"} else pytest.skip)(f"{engine}: {reason}")
    raise AssertionError("unreachable")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
