"""What goes wrong, and when: the script that a proxy follows."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong between a client and a server.

    `kind`: "status" (an error is answered), "reset" (of the connection), "silence" (no answer, ever), "slow" (the
    answer takes `seconds`), "half" (the answer breaks off). `status`: a number of HTTP, a name of gRPC. `retry_after`:
    seconds that the error tells to wait, None for none told. `worked`: the server does the work all the same, and the
    client does not learn of it. `after`: bytes that pass through a TCP connection before, both directions together.
    """

    name: str
    kind: str
    status: int | str = 0
    retry_after: float | None = None
    worked: bool = False
    seconds: float = 0.0
    after: int = 0


class Script:
    """Every `every`-th request suffers the next fault of a list that starts again at its end.

    The same request, seen again, suffers at most `in_a_row` times before it passes: a client that tries more often
    succeeds. `most` ends it all after so many faults, None never does; `spared` requests come before the first that is
    counted. Which request suffers depends on nothing but the order in which they come. `requests` counts them, and
    `injected` the faults up to now, by their names.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        *,
        every: int = 3,
        in_a_row: int = 2,
        most: int | None = None,
        spared: int = 0,
    ) -> None:
        self.requests = 0
        self.injected: Counter[str] = Counter()
        self._faults = faults
        self._every = every
        self._in_a_row = in_a_row
        self._most = most
        self._spared = spared
        self._due = 0
        self._suffered: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    def fault(self, request: Hashable) -> Fault | None:
        """What a request suffers, None for nothing. Requests are the same when they are equal."""
        with self._lock:
            self.requests += 1
            self._due += self.requests > self._spared and (self.requests - self._spared) % self._every == 0
            if not self._due or not self._faults or self._suffered[request] >= self._in_a_row or self._over():
                del self._suffered[request]
                return None
            self._due -= 1
            self._suffered[request] += 1
            fault = self._faults[self.injected.total() % len(self._faults)]
            self.injected[fault.name] += 1
            return fault

    def _over(self) -> bool:
        return self._most is not None and self.injected.total() >= self._most
