"""`.vmig.jsonl` files as a sink."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vexarrow import files, records
from vexarrow.errors import UsageError
from vexarrow.lines import lines
from vexarrow.location import Location
from vexarrow.protocols import Description, Reject, Sink

if TYPE_CHECKING:
    import pyarrow as pa

PART = "part-00000.vmig.jsonl"


@contextmanager
def open_writer(location: Location) -> Iterator[Sink]:
    """A file that appears under its name when `finish` is called, and not at all when the context is left before."""
    target = location.target
    if target.endswith("/"):
        if not location.overwrite and files.exists(target):
            raise UsageError(f"{location} is not empty; --overwrite replaces what is there")
        target += PART
    with ThreadPoolExecutor(1) as background:
        sink = JsonlSink(files.Output(target, overwrite=location.overwrite), background)
        try:
            yield sink
        finally:
            sink.close()


class JsonlSink:
    """Encodes in the caller's thread; hashes, compresses and writes in another one, one batch behind."""

    def __init__(self, output: files.Output, background: ThreadPoolExecutor) -> None:
        self._output = output
        self._background = background
        self._pending: Future[None] | None = None
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._records = 0
        self._finished = False

    def prepare(self, plan: Description) -> Description:
        """Anything fits: dimensions may be mixed and vectors missing."""
        return plan

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        """Append a line for every record. Durable after `finish`, not before: the file appears whole or not at all."""
        records.refuse_further(batch, str(self._output.path))
        encoded, rejects = lines(batch)
        self._wait()
        self._records += len(encoded)
        if encoded:
            self._pending = self._background.submit(self._write, b"".join(encoded))
        return rejects

    def _write(self, block: bytes) -> None:
        # The checksum of the original tool leaves out the last LF of the file.
        if self._bytes:
            self._hash.update(b"\n")
        self._hash.update(memoryview(block)[:-1])
        self._bytes += len(block)
        with files.translated(self._output.path):
            self._output.stream.write(block)

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending:
            pending.result()

    def finish(self) -> None:
        """Publish the file."""
        self._wait()
        self._output.publish()
        self._finished = True

    def manifest(self) -> Mapping[str, object]:
        """`checksum` of the lines and `file_sha256` of the file as it is on disk, and the number of records in it."""
        whole = self._hash.copy()
        if self._bytes:
            whole.update(b"\n")
        packed = files.compression(self._output.path) is not None
        return {
            "checksum": f"sha256:{self._hash.hexdigest()}",
            "file_sha256": (self._output.packed.sha256 if packed else whole).hexdigest(),
            "file": self._output.path,
            "records": self._records,
        }

    def close(self) -> None:
        """Remove the file again unless it was published."""
        if not self._finished:
            pending, self._pending = self._pending, None
            if pending:
                pending.exception()
            self._output.discard()
