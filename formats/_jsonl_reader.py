"""`.vmig.jsonl` files as a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from vexarrow import files, records
from vexarrow.errors import UsageError
from vexarrow.location import STANDARD_STREAM, Location
from vexarrow.protocols import Description, Page, Partition, Reject, Source
from vexarrow.selection import Selection

from ._bulk import Bulk
from ._lines import BOM, Block, blocks, exactly, parts, skip
from ._parse import Parser
from ._rows import Assembler, Group

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".vmig.jsonl", ".jsonl", ".ndjson", ".vmig")
PACKED = tuple(suffix + packed for suffix in SUFFIXES for packed in ("", ".gz", ".zst"))
_PEEK = 1 << 16
# After so many blocks in a row with an unusual line, reading in bulk is given up: it would be work done twice.
_GIVE_UP = 8


@contextmanager
def open_reader(location: Location, selection: Selection) -> Iterator[Source]:
    """The records of a file, a directory of files, a glob, or stdin. Raises NotFound, AccessError."""
    yield JsonlSource(files.find(location.target, PACKED))


class JsonlSource:
    """Reads line by line. Lines that are no records become rejects with their number and their text.

    Order is that of the file, except that records of several dimensions within one page are grouped by dimension. A
    cursor is `offset:line:group:end:id_type`: the page that starts at that offset and line and ends before `end`
    (0 for: as many rows as fit), of which the first groups are done already.
    """

    def __init__(self, found: Sequence[files.FileInfo]) -> None:
        self._files = found

    def describe(self) -> Description:
        """Size in bytes, and what the first records tell: dimension, model, id type."""
        sizes = [info.size for info in self._files]
        size = None if None in sizes else sum(size or 0 for size in sizes)
        if self._files[0].path == STANDARD_STREAM:
            return Description(size=size)
        batch = self._first()
        if batch is None:
            return Description(size=size)
        models = batch.column("model").drop_null()
        return Description(
            dim=records.dim(batch) or None,
            id_type=records.id_type(batch.schema),
            model=models[0].as_py() if len(models) else None,
            source_store=batch.column("source_store")[0].as_py(),
            size=size,
        )

    def _first(self) -> pa.RecordBatch | None:
        with files.open_input(self._files[0].path) as stream, files.translated(self._files[0].path):
            for block in islice(blocks(stream, size=_PEEK), 4):
                lines = [_without_bom(block.lines[0]), *block.lines[1:8]]
                rows, numbers, _ = Parser().rows(lines, 1)
                groups, _ = Assembler().groups(rows, numbers, lines, 1)
                if groups and groups[0].batch.num_rows:
                    return groups[0].batch
        return None

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """One a file."""
        return [Partition(info.path) for info in self._files]

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """The records of a file. Raises DataError where compressed data is cut off or corrupt."""
        start, first, group, end, id_type = _parse_cursor(after)
        readers = Readers(id_type)
        with files.open_input(part.key) as stream, ThreadPoolExecutor(1, "vex-lines") as background:
            skip(stream, start)
            if end:
                block = exactly(stream, start, end, first)
                yield from self._pages(block, None, readers, part.key, group)
                start, first = block.end, block.first + len(block.lines)
            pieces = (piece for block in blocks(stream, start=start, first=first) for piece in parts(block, rows))
            for piece, batch in _one_ahead(pieces, readers, background):
                yield from self._pages(piece, batch, readers, part.key, 0)

    def _pages(
        self, block: Block, batch: pa.RecordBatch | None, readers: Readers, file: str, done: int
    ) -> Iterator[Page]:
        kind = readers.assembler.id_type
        groups, rejects = readers.groups(block, batch)
        id_type = readers.assembler.id_type or ""
        rejects = sorted((replace(one, file=file) for one in rejects), key=lambda reject: reject.line or 0)
        after = f"{block.end}:{block.first + len(block.lines)}:0:0:{id_type}"
        if not groups and rejects:
            yield Page(records.empty(id_type=id_type or "string"), after, rejects, file=file)
        for at, group in enumerate(groups):
            last = at == len(groups) - 1
            cursor = after if last else f"{block.start}:{block.first}:{at + 1}:{block.end}:{kind or id_type}"
            if at >= done:
                # The rejects of all groups go with the last one: its cursor is the one that is past their lines.
                yield Page(group.batch, cursor, rejects if last else (), lines=group.lines, file=file)


def _one_ahead(
    pieces: Iterator[Block], readers: Readers, background: ThreadPoolExecutor
) -> Iterator[tuple[Block, pa.RecordBatch | None]]:
    """Every piece with its batch if it could be read in bulk: the next one is cut while the last one is finished."""
    waiting: tuple[Block, Future[pa.RecordBatch | None] | None] | None = None
    for piece in pieces:
        block = piece._replace(lines=[_without_bom(piece.lines[0]), *piece.lines[1:]]) if piece.start == 0 else piece
        begun = (block, readers.begin(block, background))
        if waiting is not None:
            yield waiting[0], waiting[1].result() if waiting[1] else None
        waiting = begun
    if waiting is not None:
        yield waiting[0], waiting[1].result() if waiting[1] else None


class Readers:
    """The two ways to read lines: many usual ones at once, or one by one when there is an unusual one among them."""

    def __init__(self, id_type: str | None) -> None:
        self.assembler = Assembler(id_type)
        self._parser = Parser()
        self._bulk = Bulk()
        self._unlucky = 0

    def begin(self, block: Block, background: ThreadPoolExecutor) -> Future[pa.RecordBatch | None] | None:
        """Start to read a block in bulk; None when that is hopeless."""
        if self._unlucky >= _GIVE_UP:
            return None
        cut = self._bulk.cut(block.lines)
        if cut is None:
            self._unlucky += 1
            return None
        return background.submit(self._bulk.batch, cut, block.lines)

    def groups(self, block: Block, batch: pa.RecordBatch | None) -> tuple[list[Group], Sequence[Reject]]:
        """The records of a block, one group a dimension, and the lines that are no records. `batch`: all of them, if
        they could be read in bulk."""
        if batch is not None and self.assembler.id_type in (None, records.id_type(batch.schema)):
            self._unlucky = 0
            self.assembler.id_type = records.id_type(batch.schema)
            return [Group(batch, range(block.first, block.first + len(block.lines)))], ()
        rows, numbers, rejects = self._parser.rows(block.lines, block.first)
        groups, more = self.assembler.groups(rows, numbers, block.lines, block.first)
        return groups, [*rejects, *more]


def _without_bom(line: bytes) -> bytes:
    return line.removeprefix(BOM)


def _parse_cursor(after: str | None) -> tuple[int, int, int, int, str | None]:
    if after is None:
        return 0, 1, 0, 0, None
    try:
        start, first, group, end, id_type = after.split(":")
        return int(start), int(first), int(group), int(end), id_type or None
    except ValueError:
        raise UsageError(f"{after!r} is no cursor of a .vmig.jsonl file") from None
