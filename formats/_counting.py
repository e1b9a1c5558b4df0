"""A stream for Arrow's writers, which ask where they are: pipes and compressors cannot tell."""

from __future__ import annotations

from typing import Any


class Counting:
    """Passes writes on, unless `muted`, and counts their bytes. The stream below stays open: it has to be synced."""

    closed = False

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._at = 0
        self.muted = False

    def write(self, data: Any) -> int:
        """Write all of `data`."""
        view = memoryview(data).cast("B")
        if self.muted:
            return len(view)
        done = 0
        while done < len(view):
            done += self._stream.write(view[done:]) or 0
        self._at += len(view)
        return len(view)

    def tell(self) -> int:
        """Bytes written so far."""
        return self._at

    def flush(self) -> None:
        """Nothing is held here."""

    def close(self) -> None:
        """The stream belongs to who opened it."""
        self.closed = True

    def readable(self) -> bool:
        """False."""
        return False

    def writable(self) -> bool:
        """True."""
        return True
