"""`.vmig.jsonl` files as a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from vexarrow import files, records
from vexarrow.errors import UsageError
from vexarrow.location import STANDARD_STREAM, Location
from vexarrow.protocols import Description, Page, Partition, Source
from vexarrow.selection import Selection

from ._lines import BOM, Block, blocks, parts, skip
from ._parse import Parser
from ._rows import Assembler

SUFFIXES = (".vmig.jsonl", ".jsonl", ".ndjson", ".vmig")
PACKED = tuple(suffix + packed for suffix in SUFFIXES for packed in ("", ".gz", ".zst"))
_PEEK = 1 << 16


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

    def _first(self) -> records.pa.RecordBatch | None:
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
        assembler, parser = Assembler(id_type), Parser()
        with files.open_input(part.key) as stream:
            skip(stream, start)
            if end:
                block = _exactly(stream, start, end, first)
                yield from self._pages(block, parser, assembler, part.key, group)
                start, first = block.end, block.first + len(block.lines)
            for block in blocks(stream, start=start, first=first):
                for piece in parts(block, rows):
                    yield from self._pages(piece, parser, assembler, part.key, 0)

    def _pages(self, block: Block, parser: Parser, assembler: Assembler, file: str, done: int) -> Iterator[Page]:
        lines = block.lines
        if block.start == 0:
            lines = [_without_bom(lines[0]), *lines[1:]]
        found, numbers, rejects = parser.rows(lines, block.first)
        kind = assembler.id_type
        groups, more = assembler.groups(found, numbers, lines, block.first)
        kind = kind or assembler.id_type
        rejects = sorted(rejects + more, key=lambda reject: reject.line or 0)
        after = f"{block.end}:{block.first + len(block.lines)}:0:0:{assembler.id_type or ''}"
        if not groups and rejects:
            yield Page(records.empty(id_type=assembler.id_type or "string"), after, rejects, file=file)
        for at, group in enumerate(groups):
            last = at == len(groups) - 1
            cursor = after if last else f"{block.start}:{block.first}:{at + 1}:{block.end}:{kind or ''}"
            if at >= done:
                # The rejects of all groups go with the last one: its cursor is the one that is past their lines.
                yield Page(group.batch, cursor, rejects if last else (), lines=group.lines, file=file)


def _exactly(stream: object, start: int, end: int, first: int) -> Block:
    wanted = end - start
    pieces = []
    while wanted > 0 and (data := stream.read(wanted)):  # type: ignore[attr-defined]
        pieces.append(data)
        wanted -= len(data)
    data = b"".join(pieces)
    cut = not data.endswith(b"\n")
    return Block((data if cut else data[:-1]).split(b"\n"), start, end, first, cut)


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
