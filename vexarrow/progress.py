"""Progress on stderr: a live bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

EVERY = 10.0


class Progress(Protocol):
    """Told how far a run has come."""

    def expect(self, total: int | None) -> None:
        """So many records are to come; None when unknown."""
        ...

    def advance(self, records: int) -> None:
        """So many more records were read."""
        ...


class Silent:
    """Says nothing."""

    def expect(self, total: int | None) -> None:
        """Nothing."""

    def advance(self, records: int) -> None:
        """Nothing."""


class Lines:
    """A line every `EVERY` seconds."""

    def __init__(self, every: float = EVERY) -> None:
        self._total: int | None = None
        self._every = every
        self._done = 0
        self._start = self._last = time.monotonic()

    def expect(self, total: int | None) -> None:
        """Remember the total."""
        self._total = total

    def advance(self, records: int) -> None:
        """Count, and print when it is time."""
        self._done += records
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        rate = self._done / (now - self._start)
        of = f" of {self._total:,}" if self._total else ""
        sys.stderr.write(f"vex: {self._done:,}{of} records, {rate:,.0f}/s\n")
        sys.stderr.flush()


class Bar:
    """A live bar, drawn by rich."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar = bar
        self._task = task

    def expect(self, total: int | None) -> None:
        """Set the length of the bar."""
        self._bar.update(self._task, total=total)

    def advance(self, records: int) -> None:
        """Move the bar."""
        self._bar.advance(self._task, records)


@contextmanager
def reporting(*, quiet: bool = False) -> Iterator[Progress]:
    """Progress fit for where stderr goes."""
    if quiet:
        yield Silent()
    elif not sys.stderr.isatty():
        yield Lines()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Rich

        columns = (TextColumn("vex"), BarColumn(), MofNCompleteColumn(), TextColumn("records"), TimeElapsedColumn())
        with Rich(*columns, console=Console(stderr=True), transient=True) as bar:
            yield Bar(bar, bar.add_task("records", total=None))
