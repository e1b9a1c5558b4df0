"""Pages from chunks of a columnar file (row groups, record batches), with cursors that are exact at every page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from vexarrow import records
from vexarrow.protocols import Page

from . import _columns

if TYPE_CHECKING:
    from vexarrow.protocols import Reject
    from vexarrow.selection import Selection

    from ._roles import Roles


# One row in so many, or fewer, are picked one by one where a chunk can do that.
SPARSE = 2


class Cursor(NamedTuple):
    """The next thing to read: page `piece` of the rows from `offset` of chunk `chunk`."""

    chunk: int
    offset: int = 0
    piece: int = 0

    def __str__(self) -> str:
        return f"{self.chunk}:{self.offset}:{self.piece}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The inverse of str()."""
        return cls(*(int(part) for part in text.split(":")))


class Chunk(Protocol):
    """Rows that are read forward. `light` and `heavy` give the columns of those roles for rows from `offset` on."""

    rows: int

    @property
    def first(self) -> int:
        """The number of the first row in the file, from 0."""

    def light(self, offset: int, count: int) -> pa.RecordBatch:
        """All columns but the vectors."""

    def heavy(self, offset: int, count: int) -> pa.RecordBatch:
        """The vector columns."""

    def pick(self, rows: _columns.Rows) -> pa.RecordBatch | None:
        """The vector columns of some rows, in ascending order, if they can be had without reading the others."""


@dataclass(frozen=True)
class _Range:
    """What a range of rows holds: batches of at most a page, and what was dropped."""

    batches: Sequence[pa.RecordBatch]
    rejects: Sequence[Reject] = ()
    skipped: int = 0


@dataclass(frozen=True)
class Scan:
    """How the chunks of one file become pages. `span` is how many rows are looked at together at least."""

    roles: Roles
    constants: Mapping[str, str | None]
    selection: Selection
    path: str
    rows: int
    span: int = 0

    def pages(self, chunk: Chunk, at: Cursor) -> Iterator[Page]:
        """The pages of a chunk from a cursor in it."""
        index, offset, done = at
        span = max(self.rows, self.span)
        skipped = 0
        while offset < chunk.rows:
            count = min(span, chunk.rows - offset)
            found = self._look(chunk, offset, count)
            last = offset + count >= chunk.rows
            following = Cursor(index + 1) if last else Cursor(index, offset + count)
            skipped += found.skipped
            batches = found.batches
            if not batches and (found.rejects or (last and skipped)):
                batches = [self._empty()]
            for number, batch in enumerate(batches):
                if number >= done:
                    after = following if number == len(batches) - 1 else Cursor(index, offset, number + 1)
                    rejects = found.rejects if number == 0 else ()
                    yield Page(batch, str(after), rejects, skipped, file=self.path)
                skipped = 0
            offset, done = offset + count, 0

    def nothing(self, chunk: int, skipped: int) -> Page:
        """The page of a chunk that was not read because nothing in it is wanted."""
        return Page(self._empty(), str(Cursor(chunk + 1)), skipped=skipped, file=self.path)

    def _empty(self) -> pa.RecordBatch:
        return records.empty(id_type=self.roles.id_type)

    def _look(self, chunk: Chunk, offset: int, count: int) -> _Range:
        """Read a range; its vectors only if a record in it is wanted."""
        raw = chunk.light(offset, count)
        # `dims` is the length of the vector, so a condition on it needs the vectors too.
        if self.selection.needs_vectors or "dims" in (self.selection.where or "").lower():
            return self._look_whole(chunk, _columns.light(raw, self.roles, self.constants), offset, count)
        page, keep = self._wanted(raw)
        if keep is not None and not len(keep):
            return _Range([], skipped=count)
        found, rejects = self._finished(chunk, raw, page, offset, keep)
        return _Range(self._cut(found), rejects, 0 if keep is None else count - len(keep))

    def _wanted(self, raw: pa.RecordBatch) -> tuple[_columns.Light, _columns.Rows | None]:
        """The wanted rows, None for all, and the records of them or of all rows: the others are not looked into where
        most are in no wanted namespace."""
        rows = None
        column = self.roles.fields.get("namespace")
        if self.selection.namespaces is not None and column is not None:
            rows = np.flatnonzero(self.selection.namespace_mask(raw.column(column)))
        if rows is None or len(rows) > raw.num_rows // SPARSE:
            page = _columns.light(raw, self.roles, self.constants)
            mask = self.selection.mask(page.batch.drop_columns("vector")) if self.selection.filters else None
            return page, None if mask is None else np.flatnonzero(mask)
        page = replace(_columns.light(raw.take(pa.array(rows)), self.roles, self.constants), places=rows)
        mask = self.selection.mask(page.batch.drop_columns("vector"))
        return (page, rows) if mask is None else (page.take(np.flatnonzero(mask)), rows[mask])

    def _look_whole(self, chunk: Chunk, page: _columns.Light, offset: int, count: int) -> _Range:
        """Read whole records and select among them; those that cannot be read are rejects, wanted or not."""
        found, rejects = self._finished(chunk, page.batch, page, offset, None)
        batches, skipped = [], 0
        for batch in found:
            mask = self.selection.mask(batch)
            kept = batch if mask is None else batch.take(pa.array(np.flatnonzero(mask)))
            skipped += batch.num_rows - kept.num_rows
            if kept.num_rows:
                batches.append(kept)
        return _Range(self._cut(batches), rejects, skipped)

    def _finished(
        self, chunk: Chunk, raw: pa.RecordBatch, page: _columns.Light, offset: int, keep: _columns.Rows | None
    ) -> tuple[list[pa.RecordBatch], list[Reject]]:

        def first() -> int:
            return chunk.first + offset

        count = raw.num_rows
        if keep is not None and len(keep) <= count // SPARSE:
            picked = chunk.pick(keep + offset)
            if picked is not None:
                page = page if page.places is not None else page.take(keep)
                return _columns.finish(page, picked, self.roles, None, first=first, file=self.path)
        if page.places is not None:
            page = _columns.light(raw, self.roles, self.constants)
        heavy = chunk.heavy(offset, count)
        return _columns.finish(page, heavy, self.roles, keep, first=first, file=self.path)

    def _cut(self, batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """Batches of at most a page; slices, not copies."""
        return [batch.slice(at, self.rows) for batch in batches for at in range(0, batch.num_rows, self.rows)]


def key_of(target: str, path: str) -> str:
    """A file's path relative to the directory, the glob or the file that was asked for."""
    wild = min((target.find(mark) for mark in "*?[" if mark in target), default=-1)
    if wild >= 0:
        root = target[: target.rfind("/", 0, wild) + 1]
    elif path == target:
        root = target[: target.rfind("/") + 1]
    else:
        root = target.rstrip("/") + "/"
    return path[len(root) :] if path.startswith(root) else path


def divided(count: int, parts: int) -> list[tuple[int, int]]:
    """`count` chunks in `parts` ranges of about the same length; at least one range, none empty unless count is 0."""
    parts = max(1, min(count, parts))
    bounds = [count * i // parts for i in range(parts + 1)]
    return list(pairwise(bounds))
