"""Batches put aside in a temporary file that has no name, so that it goes when the process does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from vexarrow.files import translated
from vexarrow.location import STANDARD_STREAM, is_url


class Spool:
    """Keeps batches, of any schemas, in order. In memory up to `memory` bytes, then on the disk of the output."""

    def __init__(self, target: str, *, memory: int = 0) -> None:
        self._folder = _folder(target)
        self._memory = memory
        self._held: list[pa.RecordBatch] = []
        self._size = 0
        self._file: Any = None
        self._sink: Any = None
        self._writer: Any = None
        self.count = 0

    def append(self, batch: pa.RecordBatch) -> None:
        """Put a batch at the end. Raises VexError when the disk is full."""
        self.count += 1
        self._size += batch.nbytes
        self._held.append(batch)
        if self._size > self._memory:
            with translated(self._folder):
                for held in self._held:
                    self._spill(held)
            self._held = []

    def _spill(self, batch: pa.RecordBatch) -> None:
        if self._file is None:
            # Closed by close(); a `with` cannot span the calls.
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
            self._sink = pa.PythonFile(self._file, mode="w")
        if self._writer is None or self._writer[0] != batch.schema:
            self._end_stream()
            self._writer = (batch.schema, pa.ipc.new_stream(self._sink, batch.schema))
        self._writer[1].write_batch(batch)

    def _end_stream(self) -> None:
        if self._writer is not None:
            self._writer[1].close()
            self._writer = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """All batches in order; may be iterated again, but not appended to meanwhile."""
        if self._file is not None:
            self._end_stream()
            self._file.flush()
            end = self._file.seek(0, 2)
            self._file.seek(0)
            while self._file.tell() < end:
                with pa.ipc.open_stream(pa.PythonFile(self._file, mode="r")) as stream:
                    yield from stream
        yield from self._held

    def close(self) -> None:
        """Give the memory and the disk back."""
        self._writer, self._held = None, []
        if self._file is not None:
            self._file.close()
            self._file = None


def _folder(target: str) -> str:
    """The folder of a local target, which has room for it; else that of temporary files."""
    if target == STANDARD_STREAM or is_url(target):
        return tempfile.gettempdir()
    path = Path(target)
    while not path.is_dir():
        if path == path.parent:
            return tempfile.gettempdir()
        path = path.parent
    return str(path)
