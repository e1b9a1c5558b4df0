"""`.vmig.jsonl` files as a source."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from vexarrow import files, records
from vexarrow.errors import UsageError
from vexarrow.location import STANDARD_STREAM, Location
from vexarrow.protocols import Description, Page, Partition, Reject, Source
from vexarrow.selection import Selection

from ._bulk import Bulk
from ._helper import READING, Helper, helper, take_batch, worth_sharing
from ._lines import BOM, Block, LineFile, blocks, exactly, parts, skip
from ._parse import Parser
from ._rows import Assembler, Group

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".vmig.jsonl", ".jsonl", ".ndjson", ".vmig")
PACKED = tuple(suffix + packed for suffix in SUFFIXES for packed in ("", ".gz", ".zst"))
_PEEK = 1 << 16
# After so many blocks in a row with an unusual line, reading in bulk is given up: it would be work done twice.
_GIVE_UP = 8


_BLOCKS_AHEAD = 6
Piece = tuple[Block, "pa.RecordBatch | None"]


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
                lines = _without_bom(block).lines[:8]
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
                block = _without_bom(exactly(stream, start, end, first))
                yield from self._pages(block, None, readers, part.key, group)
                start, first = block.end, block.first + len(block.lines)
            if worth_sharing(part.key, start):
                shared = Shared(part.key, readers, background, rows)
                yield from self._all_pages(shared.pieces(start, first), readers, part.key)
                return
            pieces = (piece for block in blocks(stream, start=start, first=first) for piece in parts(block, rows))
            yield from self._all_pages(_one_ahead(pieces, readers, background), readers, part.key)

    def _all_pages(self, pieces: Iterator[Piece], readers: Readers, file: str) -> Iterator[Page]:
        with closing(pieces) as each:  # type: ignore[type-var]
            for block, batch in each:
                yield from self._pages(block, batch, readers, file, 0)

    def _pages(
        self, block: Block, batch: pa.RecordBatch | None, readers: Readers, file: str, done: int
    ) -> Iterator[Page]:
        kind = readers.assembler.id_type
        groups, rejects = readers.groups(block, batch)
        id_type = readers.assembler.id_type or ""
        rejects = sorted((replace(one, file=file) for one in rejects), key=lambda reject: reject.line or 0)
        after = f"{block.end}:{block.first + _count(block, batch)}:0:0:{id_type}"
        if not groups and rejects:
            yield Page(records.empty(id_type=id_type or "string"), after, rejects, file=file)
        for at, group in enumerate(groups):
            last = at == len(groups) - 1
            cursor = after if last else f"{block.start}:{block.first}:{at + 1}:{block.end}:{kind or id_type}"
            if at >= done:
                # The rejects of all groups go with the last one: its cursor is the one that is past their lines.
                yield Page(group.batch, cursor, rejects if last else (), lines=group.lines, file=file)


def _one_ahead(pieces: Iterator[Block], readers: Readers, background: ThreadPoolExecutor) -> Iterator[Piece]:
    """Every piece with its batch if it could be read in bulk: the next one is cut while the last one is finished."""
    waiting: tuple[Block, Future[pa.RecordBatch | None] | None] | None = None
    for piece in pieces:
        block = _without_bom(piece)
        begun = (block, readers.begin(block, background))
        if waiting is not None:
            yield waiting[0], waiting[1].result() if waiting[1] else None
        waiting = begun
    if waiting is not None:
        yield waiting[0], waiting[1].result() if waiting[1] else None


def _count(block: Block, batch: pa.RecordBatch | None) -> int:
    """The number of lines of a block; one that another process has read comes without them."""
    return len(block.lines) if block.lines or batch is None else batch.num_rows


class Shared:
    """A large file read by two processes: each takes the next block when it is free, the order stays."""

    def __init__(self, path: str, readers: Readers, background: ThreadPoolExecutor, rows: int) -> None:
        self._path = path
        self._readers = readers
        self._background = background
        self._rows = rows

    def pieces(self, start: int, first: int) -> Iterator[Piece]:
        """Every block from an offset on, with its batch if it could be read in bulk."""
        # Answers are waited for by a thread of their own: the blocks that are read here go on meanwhile.
        with LineFile(self._path) as file, ThreadPoolExecutor(1, "vex-answers") as answers:
            companion = helper(READING, self._path)
            try:
                for begun in self._ahead(file, start, companion, answers):
                    for piece, batch in self._finished(file, begun, first):
                        yield piece, batch
                        first = piece.first + _count(piece, batch)
            finally:
                if companion is not None:
                    companion.close()

    def _ahead(
        self, file: LineFile, start: int, companion: Helper | None, answers: ThreadPoolExecutor
    ) -> Iterator[_Begun]:
        """Blocks in their order, of which some are worked on already."""
        waiting: deque[_Begun] = deque()
        while start < file.size or waiting:
            while start < file.size and len(waiting) < _BLOCKS_AHEAD:
                end = file.boundary(start)
                waiting.append(self._begin(file, start, end, companion, answers))
                start = end
            yield waiting.popleft()

    def _begin(
        self, file: LineFile, start: int, end: int, companion: Helper | None, answers: ThreadPoolExecutor
    ) -> _Begun:
        if companion is not None and companion.free and start > 0 and not self._readers.hopeless:
            try:
                companion.ask(f"{start} {end}")
                return _Begun(start, end, [], answers.submit(_received, companion))
            except OSError:
                pass  # it has ended: the lines are read here
        lines = self._lines(file, start, end)
        return _Begun(start, end, lines, self._readers.begin(Block(lines, start, end, 1), self._background))

    def _finished(self, file: LineFile, begun: _Begun, first: int) -> Iterator[Piece]:
        batch = begun.future.result() if begun.future else None
        if batch is not None and self._readers.fits(batch) and batch.num_rows <= self._rows:
            yield Block(begun.lines, begun.start, begun.end, first), batch
            return
        lines = begun.lines or self._lines(file, begun.start, begun.end)
        for piece in parts(Block(lines, begun.start, begun.end, first), self._rows):
            yield piece, None

    def _lines(self, file: LineFile, start: int, end: int) -> list[bytes]:
        return _without_bom(Block(file.lines(start, end), start, end, 1)).lines


def _received(companion: Helper) -> pa.RecordBatch | None:
    data = companion.answer()
    return None if data is None else take_batch(data)


class _Begun(NamedTuple):
    """A block between two offsets: its lines if they were read here, its batch in the making."""

    start: int
    end: int
    lines: list[bytes]
    future: Future[pa.RecordBatch | None] | None


class Readers:
    """The two ways to read lines: many usual ones at once, or one by one when there is an unusual one among them."""

    def __init__(self, id_type: str | None) -> None:
        self.assembler = Assembler(id_type)
        self._parser = Parser()
        self._bulk = Bulk()
        self._unlucky = 0

    def begin(self, block: Block, background: ThreadPoolExecutor) -> Future[pa.RecordBatch | None] | None:
        """Start to read a block in bulk; None when that is hopeless."""
        cut = None if self.hopeless else self._bulk.cut(block.lines)
        return None if cut is None else background.submit(self._bulk.batch, cut)

    @property
    def hopeless(self) -> bool:
        """Whether so many blocks in a row had an unusual line that reading in bulk is given up."""
        return self._unlucky >= _GIVE_UP

    def fits(self, batch: pa.RecordBatch | None) -> bool:
        """Whether a batch read in bulk has ids of the kind of this stream."""
        return batch is not None and self.assembler.id_type in (None, records.id_type(batch.schema))

    def groups(self, block: Block, batch: pa.RecordBatch | None) -> tuple[list[Group], Sequence[Reject]]:
        """The records of a block, one group a dimension, and the lines that are no records. `batch`: all of them, if
        they could be read in bulk."""
        if batch is not None and self.fits(batch):
            self._unlucky = 0
            self.assembler.id_type = records.id_type(batch.schema)
            return [Group(batch, range(block.first, block.first + batch.num_rows))], ()
        self._unlucky += 1
        rows, numbers, rejects = self._parser.rows(block.lines, block.first)
        groups, more = self.assembler.groups(rows, numbers, block.lines, block.first)
        return groups, [*rejects, *more]


def _without_bom(block: Block) -> Block:
    """The block without the byte order mark that some editors put at the start of a file."""
    if block.start or not block.lines:
        return block
    return block._replace(lines=[block.lines[0].removeprefix(BOM), *block.lines[1:]])


def _parse_cursor(after: str | None) -> tuple[int, int, int, int, str | None]:
    if after is None:
        return 0, 1, 0, 0, None
    try:
        start, first, group, end, id_type = after.split(":")
        return int(start), int(first), int(group), int(end), id_type or None
    except ValueError:
        raise UsageError(f"{after!r} is no cursor of a .vmig.jsonl file") from None
