"""Sending records in requests, and finding the ones that a server refuses."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from vexarrow.errors import Refused
from vexarrow.patience import Requests
from vexarrow.protocols import Reject

Rows = range


def deliver(requests: Requests, send: Callable[[Rows], None], parts: Sequence[Rows]) -> list[Reject]:
    """Send ranges of rows, several at a time, each with its retries.

    A range that is refused (Refused) is halved until the rows at fault are known: they come back as rejects of code
    "refused" with the message of the server, and all others are sent. Other errors are raised.
    """
    rejects: list[Reject] = []
    left = list(parts)
    while left:
        errors = requests.map(lambda part: _error(send, part), left)
        refused = [(part, error) for part, error in zip(left, errors, strict=True) if error is not None]
        rejects += [Reject("refused", str(error), row=part[0]) for part, error in refused if len(part) == 1]
        halves = [(part[: len(part) // 2], part[len(part) // 2 :]) for part, _ in refused if len(part) > 1]
        left = [half for both in halves for half in both]
    return sorted(rejects, key=lambda reject: reject.row or 0)


def _error(send: Callable[[Rows], None], part: Rows) -> Refused | None:
    try:
        send(part)
    except Refused as error:
        return error
    return None


def last_of_each(ids: Sequence[Hashable]) -> list[int] | None:
    """The rows of a batch of which no later row has the id, None for all: what is left when later records replace
    earlier ones. Requests of a batch run in no order, so that an id may be in one of them only."""
    last = {identity: row for row, identity in enumerate(ids)}
    return None if len(last) == len(ids) else sorted(last.values())


def last_of_each_id(ids: pa.Array) -> list[int] | None:
    """`last_of_each` of a column of ids."""
    return None if pc.count_distinct(ids, mode="all").as_py() == len(ids) else last_of_each(ids.to_pylist())


def unsent(keys: Sequence[object], refused: Sequence[Reject]) -> list[Reject]:
    """Rejects for the rows that were left out because a later row had their key, which was then refused: neither of
    the two is in the store."""
    rows = {reject.row for reject in refused if reject.row is not None}
    last = {keys[row]: row for row in sorted(rows)}
    message = "a later record of the same id was refused, and this one was not sent"
    return [
        Reject("replaced", message, row=row)
        for row, key in enumerate(keys)
        if row not in rows and row < last.get(key, -1)
    ]


def by_size(sizes: Sequence[int], *, most_bytes: int, most_rows: int) -> list[Rows]:
    """Ranges of rows of at most so many bytes and rows each; a row that is too large is alone in its range."""
    parts: list[Rows] = []
    start = total = 0
    for row, size in enumerate(sizes):
        if row > start and (total + size > most_bytes or row - start >= most_rows):
            parts.append(range(start, row))
            start, total = row, 0
        total += size
    if start < len(sizes):
        parts.append(range(start, len(sizes)))
    return parts
