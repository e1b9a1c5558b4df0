"""Whole lines out of a byte stream, in blocks, with their byte offsets and line numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, NamedTuple

BLOCK_BYTES = 4 << 20
BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Some whole lines without their LF. `start` and `end` are offsets in the decompressed bytes, `first` is the line
    number of the first line, from 1. `cut` tells that the last line of the stream had no LF."""

    lines: list[bytes]
    start: int
    end: int
    first: int
    cut: bool


def blocks(stream: IO[bytes], *, start: int = 0, first: int = 1, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """Every line from the stream's position, which is `start`, on. A line may be of any length."""
    pieces: list[bytes] = []
    while data := stream.read(size):
        split = data.rfind(b"\n")
        if split < 0:
            pieces.append(data)
            continue
        whole = b"".join([*pieces, data[:split]])
        pieces = [data[split + 1 :]]
        block = Block(whole.split(b"\n"), start, start + len(whole) + 1, first, False)
        yield block
        start, first = block.end, first + len(block.lines)
    rest = b"".join(pieces)
    if rest:
        yield Block([rest], start, start + len(rest), first, True)


def parts(block: Block, rows: int) -> Iterator[Block]:
    """The block in parts of at most `rows` lines."""
    if len(block.lines) <= rows:
        yield block
        return
    start = block.start
    for at in range(0, len(block.lines), rows):
        lines = block.lines[at : at + rows]
        last = at + rows >= len(block.lines)
        end = block.end if last else start + sum(map(len, lines)) + len(lines)
        yield Block(lines, start, end, block.first + at, block.cut and last)
        start = end


def skip(stream: IO[bytes], offset: int) -> None:
    """Move to an offset of the decompressed bytes; reads its way there where the stream cannot seek."""
    if not offset:
        return
    try:
        stream.seek(offset)
    except (OSError, AttributeError, ValueError):
        while offset > 0 and (data := stream.read(min(offset, BLOCK_BYTES))):
            offset -= len(data)
