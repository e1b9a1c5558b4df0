"""The open interchange format `.vmig.jsonl`: one JSON record a line, UTF-8, LF."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vexarrow.location import Location
from vexarrow.protocols import Capabilities, Format, Option, Sink, Source
from vexarrow.selection import Selection


@contextmanager
def open_reader(location: Location, selection: Selection) -> Iterator[Source]:
    """The records of a file, a directory of files, a glob, or stdin."""
    from ._jsonl_reader import open_reader as opened

    with opened(location, selection) as source:
        yield source


@contextmanager
def open_writer(location: Location) -> Iterator[Sink]:
    """A file that appears whole when it is finished, or stdout."""
    from ._jsonl_writer import open_writer as opened

    with opened(location) as sink:
        yield sink


def begin(location: Location, side: str, size: int) -> None:
    """Start the process that helps with a large file, before anything heavy is imported here."""
    from . import _helper

    if side == "sink" and size >= _helper.WORTH:
        _helper.begin(_helper.WRITING)
    elif side == "source" and _helper.worth_sharing(location.target):
        _helper.begin(_helper.READING, location.target)


format = Format(
    name="jsonl",
    summary=".vmig.jsonl, the interchange format of vex: one JSON record a line",
    suffixes=(".vmig.jsonl", ".jsonl", ".ndjson", ".vmig"),
    compressions=(".gz", ".zst"),
    open_reader=open_reader,
    open_writer=open_writer,
    options=(
        Option(("file", "from", "input"), "the file to read", side="source"),
        Option(("output", "to"), "the file to write", side="sink"),
    ),
    capabilities=Capabilities(mixed_dims=True, null_vectors=True),
    aliases=("vmig", "ndjson"),
    streams=True,
    sidecar=True,
    begin=begin,
)
