"""Errors, sorted by what the caller must do about them.

VexError
├─ UsageError          a location or an option is malformed
├─ MissingDependency   an optional library has to be installed
├─ NotFound            no such file, collection, database or table
├─ AccessError         permission or credentials were refused
├─ SchemaError         dimension, metric or columns do not fit
├─ Unsupported         the place declares that it cannot do this
├─ DataError           the input is corrupt beyond the record at fault
├─ TooManyRejects      `--strict` or `--max-rejects` stopped the run
├─ TransientError      worth another try; `.retry_after` in seconds
├─ Refused             the content of a request is not taken: split it to find the record at fault
├─ Unfit               a projection would do more harm than good; `.report` and `.verdict` say why
└─ Mismatch            two places differ

Connectors and formats translate foreign exceptions into these once, at their edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vexarrow.adapt.gate import Verdict
    from vexarrow.adapt.report import Report


class VexError(Exception):
    """Base of every error that vexarrow raises on purpose. The message is one sentence for a user."""

    exit_code = 1


class UsageError(VexError):
    """A location or an option is malformed or missing."""

    exit_code = 2


class MissingDependency(VexError):
    """An optional library is not installed; the message holds the command that installs it."""


class NotFound(VexError):
    """There is no such file, directory, bucket, collection or table."""


class AccessError(VexError):
    """Permission or credentials were refused, or the place is locked by somebody else."""


class SchemaError(VexError):
    """Dimension, metric or columns do not fit the place."""


class Unsupported(VexError):
    """The place cannot do this, and says so in its capabilities."""


class DataError(VexError):
    """The input is corrupt in a way that no single record can be blamed for (truncated, not a database)."""


class TooManyRejects(VexError):
    """More records were rejected than `strict` or `max_rejects` allow."""


class TransientError(VexError):
    """Another try may succeed. `retry_after` is in seconds; None means that the place did not say. `throttled`: the
    place asks for fewer requests."""

    def __init__(self, message: str, retry_after: float | None = None, *, throttled: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.throttled = throttled


class Refused(VexError):
    """The place refuses the content of a request: of several records, some at least. `deliver` finds out which."""


class Unfit(VexError):
    """A projection is not trusted: too little to train with, or worse than staying on the source model. `report` and
    `verdict` are None when there was too little to measure."""

    def __init__(self, message: str, *, report: Report | None = None, verdict: Verdict | None = None) -> None:
        super().__init__(message)
        self.report = report
        self.verdict = verdict


class Mismatch(VexError):
    """Two places were compared and differ."""

    exit_code = 3
