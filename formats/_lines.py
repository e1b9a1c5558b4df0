"""Whole lines out of a byte stream, in blocks, with their byte offsets and line numbers."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any, NamedTuple

BLOCK_BYTES = 8 << 20
_BUFFER = 256 << 10
BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Some whole lines, each with its LF but for a last line of the stream that has none. `start` and `end` are offsets
    in the decompressed bytes, `first` is the line number of the first line, from 1."""

    lines: list[bytes]
    start: int
    end: int
    first: int


def blocks(stream: IO[bytes], *, start: int = 0, first: int = 1, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """Every line from the stream's position, which is `start`, on. A line may be of any length."""
    # Reading lines through a buffer that stays in the processor's cache is six times as fast as splitting large blocks.
    source: Any = stream
    reader = io.BufferedReader(source, _BUFFER)
    try:
        while lines := reader.readlines(size):
            end = start + sum(map(len, lines))
            yield Block(lines, start, end, first)
            start, first = end, first + len(lines)
    finally:
        with suppress(ValueError):  # the stream is closed already where a run was interrupted
            reader.detach()


class LineFile:
    """A local file that is read by ranges of whole lines."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb", buffering=_BUFFER)  # noqa: SIM115, PTH123 - closed on leaving the context
        self.size = os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def lines(self, start: int, end: int) -> list[bytes]:
        """The lines between two offsets at which lines begin."""
        if end <= start:
            return []
        self._file.seek(start)
        # It stops after the line that goes beyond the hint, so the hint is one byte short; 0 would mean no limit.
        return self._file.readlines(end - start - 1) if end - start > 1 else [self._file.readline()]

    def boundary(self, start: int) -> int:
        """The offset of a line about `BLOCK_BYTES` after `start`, or the end of the file."""
        if start + BLOCK_BYTES >= self.size:
            return self.size
        self._file.seek(start + BLOCK_BYTES)
        self._file.readline()
        return self._file.tell()


def parts(block: Block, rows: int) -> Iterator[Block]:
    """The block in parts of at most `rows` lines."""
    if len(block.lines) <= rows:
        yield block
        return
    start = block.start
    for at in range(0, len(block.lines), rows):
        lines = block.lines[at : at + rows]
        end = start + sum(map(len, lines))
        yield Block(lines, start, end, block.first + at)
        start = end


def exactly(stream: IO[bytes], start: int, end: int, first: int) -> Block:
    """The lines between two offsets, of which the stream is at the first."""
    pieces = []
    wanted = end - start
    while wanted > 0 and (data := stream.read(wanted)):
        pieces.append(data)
        wanted -= len(data)
    return Block(io.BytesIO(b"".join(pieces)).readlines(), start, end, first)


def skip(stream: IO[bytes], offset: int) -> None:
    """Move to an offset of the decompressed bytes; reads its way there where the stream cannot seek."""
    if not offset:
        return
    try:
        stream.seek(offset)
    except (OSError, AttributeError, ValueError):
        while offset > 0 and (data := stream.read(min(offset, BLOCK_BYTES))):
            offset -= len(data)
