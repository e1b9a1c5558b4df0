"""`.vmig.jsonl` files as a sink."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vexarrow import files, records, sound
from vexarrow.digest import SIZE, ContentDigest
from vexarrow.errors import UsageError
from vexarrow.lines import encode, unfit
from vexarrow.location import STANDARD_STREAM, Location
from vexarrow.protocols import Description, Reject, Sink

from ._helper import SLOTS, WORTH, WRITING, Helper, helper

if TYPE_CHECKING:
    import pyarrow as pa

PART = "part-00000.vmig.jsonl"
_REST_BYTES = 512
# What the second process is asked for at a time: one batch that it works on and one that it finds when that is done.
# With more, this one would wait for it at the end of each batch, and hardly encode any itself.
_ASKED = 2


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
    """Encodes in the caller's thread, and in a second process where there is much to encode; hashes, compresses and
    writes in another thread, in the order of the batches. Whoever encodes a batch of a file makes its digest, too."""

    def __init__(self, output: files.Output, background: ThreadPoolExecutor) -> None:
        self._output = output
        self._background = background
        self._pending: deque[Future[None]] = deque()
        self._helper: Helper | None = None
        self._hash = hashlib.sha256()
        self._digest = ContentDigest()  # of what was encoded by the caller's thread
        self._others = ContentDigest()  # by the second process, as the writing thread learns it
        self._bytes = 0
        self._records = 0
        self._finished = False

    @property
    def digests(self) -> bool:
        """Whether the manifest will have the content digest: a stream has no sidecar."""
        return self._output.path != STANDARD_STREAM

    def prepare(self, plan: Description) -> Description:
        """Anything fits: dimensions may be mixed and vectors missing."""
        if max((plan.rows or 0) * (4 * (plan.dim or 0) + _REST_BYTES), plan.size or 0) >= WORTH:
            self._helper = helper(WRITING)
        return plan

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        """Append a line for every record. Durable after `finish`, not before: the file appears whole or not at all."""
        records.refuse_further(batch, str(self._output.path))
        rejects = unfit(batch)
        batch = sound.without(batch, rejects)
        self._records += batch.num_rows
        if batch.num_rows:
            self._begin(batch)
        return rejects

    def _begin(self, batch: pa.RecordBatch) -> None:
        """Encode a batch here or have it encoded, whichever is sooner, and let it be written after those before it."""
        while len(self._pending) > SLOTS:
            self._wait()
        if self._helper is not None and self._helper.free and self._helper.waiting < _ASKED:
            try:
                self._helper.ask("digest" if self.digests else "lines", batch)
                self._pending.append(self._background.submit(self._write_answer, self._helper, batch))
                return
            except OSError:
                pass  # it has ended: the lines are made here
        # Lines encoded here are a block of some 16 MB: one at a time is enough.
        encoded = b"".join(encode(batch))
        if self.digests:
            self._digest.update(batch)
        self._pending.append(self._background.submit(self._write, encoded))

    def _write_answer(self, helper: Helper, batch: pa.RecordBatch) -> None:
        with helper.answered() as block:
            if block is None:
                self._others.update(batch)
                self._write(b"".join(encode(batch)))
            else:
                self._others.add_bytes(block[-SIZE:], batch.num_rows)
                self._write(block[:-SIZE])

    def _write(self, block: bytes | memoryview) -> None:
        # The checksum of the original tool leaves out the last LF of the file.
        if self._bytes:
            self._hash.update(b"\n")
        self._hash.update(memoryview(block)[:-1])
        self._bytes += len(block)
        with files.translated(self._output.path):
            self._output.stream.write(block)

    def _wait(self) -> None:
        if self._pending:
            self._pending.popleft().result()

    def finish(self) -> None:
        """Publish the file."""
        while self._pending:
            self._wait()
        self._output.publish()
        self._finished = True

    def manifest(self) -> Mapping[str, object]:
        """`checksum` of the lines and `file_sha256` of the file as it is on disk, `content_digest` and number of the
        records in it."""
        digest = ContentDigest()
        digest.add(self._digest)
        digest.add(self._others)
        whole = self._hash.copy()
        if self._bytes:
            whole.update(b"\n")
        packed = files.compression(self._output.path) is not None
        return {
            "checksum": f"sha256:{self._hash.hexdigest()}",
            "file_sha256": (self._output.packed.sha256 if packed else whole).hexdigest(),
            **({"content_digest": digest.hexdigest()} if self.digests else {}),
            "file": self._output.path,
            "records": self._records,
        }

    def close(self) -> None:
        """Remove the file again unless it was published."""
        if self._helper is not None:
            self._helper.close()
        if not self._finished:
            for pending in self._pending:
                pending.exception()
            self._output.discard()
