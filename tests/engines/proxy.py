"""Proxies on 127.0.0.1 that stand in front of a test engine and let things go wrong on the way, as a script says.

    script = Script([THROTTLED, RESET], every=4)
    with http_proxy("http://127.0.0.1:8000", script) as address:
        ...
    assert script.injected["429"]

`http_proxy` for REST, `grpc_proxy` for gRPC, `tcp_proxy` for everything else; the last one stands in front of the other
kinds as well, to cut a connection in the middle of what is sent.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.engines._proxy_grpc import grpc_proxy
from tests.engines._proxy_http import http_proxy
from tests.engines._proxy_script import Fault, Script
from tests.engines._proxy_tcp import tcp_proxy

__all__ = ["GRPC_FAULTS", "HTTP_FAULTS", "TCP_FAULTS", "Fault", "Script", "grpc_proxy", "http_proxy", "tcp_proxy"]


def _named(*faults: Fault) -> Mapping[str, Fault]:
    return {fault.name: fault for fault in faults}


HTTP_FAULTS = _named(
    Fault("429", "status", 429),
    Fault("429 with Retry-After", "status", 429, retry_after=1),
    Fault("503", "status", 503),
    Fault("503 after the work", "status", 503, worked=True),
    Fault("reset before the work", "reset"),
    Fault("reset after the work", "reset", worked=True),
    Fault("silence", "silence", worked=True),
    Fault("slow", "slow", seconds=0.5, worked=True),
    Fault("half", "half", worked=True),
)
GRPC_FAULTS = _named(
    Fault("RESOURCE_EXHAUSTED", "status", "RESOURCE_EXHAUSTED"),
    Fault("RESOURCE_EXHAUSTED with retry-after", "status", "RESOURCE_EXHAUSTED", retry_after=1),
    Fault("UNAVAILABLE", "status", "UNAVAILABLE"),
    Fault("UNAVAILABLE after the work", "status", "UNAVAILABLE", worked=True),
    Fault("DEADLINE_EXCEEDED", "status", "DEADLINE_EXCEEDED"),
    Fault("silence", "silence", worked=True),
    Fault("slow", "slow", seconds=0.5, worked=True),
)
TCP_FAULTS = _named(
    Fault("reset", "reset", after=30_000),
    Fault("half", "half", after=30_000),
    Fault("silence", "silence", after=30_000),
    Fault("slow", "slow", seconds=0.02, after=30_000),
)
