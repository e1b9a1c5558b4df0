"""Loading by Pinecone's own import: the files that it asks for are written to an object store, then it fetches them.

Below a new folder every namespace has one of its own, `__default__` for the default one, with Parquet files of the
columns `id`, `values`, `sparse_values` where there are any, and `metadata`; for a document index JSON lines. An import
takes ten minutes at least. Its files are removed when it has succeeded. Every id takes 8 bytes of memory meanwhile, for
an import may hold none twice.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from vexarrow import files, records
from vexarrow.errors import SchemaError, TransientError, UsageError, VexError
from vexarrow.location import Location
from vexarrow.protocols import Description, Reject

from ._pinecone_api import imported, imports_of, start_import
from ._pinecone_index import Opened, Service
from ._pinecone_names import DEFAULT
from ._pinecone_seen import Seen
from ._pinecone_sink import PineconeSink, Prepared
from ._pinecone_wire import SPARSE_TYPE

FILE_BYTES = 128 << 20
BUFFERED_BYTES = 256 << 20
_LIST = pa.list_(pa.float32())
WAIT_SECONDS = 10.0
_LONGEST_WAIT = 60.0
_LOST = ("Failed", "Cancelled")


class ImportSink(PineconeSink):
    """Collects records in files of a new folder; `finish` has them imported. A run that fails leaves its folder."""

    def __init__(self, service: Service, location: Location, via: str) -> None:
        super().__init__(service, location)
        if not via.startswith(("s3://", "gs://")):
            raise UsageError(f"--via {via}: Pinecone imports from s3:// and gs://")
        self._folder = f"{via.rstrip('/')}/vex-{uuid.uuid4().hex}"
        self._integration = location.option("integration")
        self._wait = _seconds(location.option("import-wait"))
        self._buffers: dict[str, list[Any]] = {}
        self._sizes: dict[str, int] = {}
        self._paths: list[str] = []
        self._buffered = 0
        self._seen = Seen()
        self._rows = 0
        self._starts = 0

    def prepare(self, plan: Description) -> Description:
        """Create or check the index, which must be where the store can be imported from."""
        found = super().prepare(plan)
        if self._opened is not None:
            self._check_cloud(self._opened)
        return found

    def _check_cloud(self, opened: Opened) -> None:
        cloud = opened.index.cloud
        if self._folder.startswith("s3://") and cloud not in (None, "aws"):
            raise SchemaError(f"{self._place}: an index in {cloud} imports from gs:// and not from s3://")

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        """Write to files what Pinecone will take. An id that has come before is rejected."""
        if not batch.num_rows:
            return []
        ready = self._prepared(batch)
        if isinstance(ready, list):
            return ready
        opened = self._ready(self._plan)
        matrix = records.matrix(batch.column("vector"))
        refused = {row: reason for row in ready.order if (reason := self._reason(ready, row, matrix)) is not None}
        refused |= self._repeated(ready, [row for row in ready.order if row not in refused])
        order = [row for row in ready.order if row not in refused]
        for space, rows in groupby(order, key=lambda row: ready.to.namespaces[row]):
            self._take(space, self._piece(opened, batch, ready, list(rows)))
        self._rows += len(order)
        more = [Reject(*reason, row=row) for row, reason in refused.items()]
        return sorted(ready.rejects + more, key=lambda one: one.row or 0)

    def _reason(self, ready: Prepared, row: int, matrix: Any) -> tuple[str, str] | None:
        """Why a record would fail the import as a whole, as code and message."""
        if not matrix[row].any():
            return "refused", f"{self._place}: Pinecone holds no vector of zeros alone"
        if "/" in ready.to.namespaces[row]:
            return "refused", f"{self._place}: a namespace with / in its name has no folder to be imported from"
        return None

    def _repeated(self, ready: Prepared, rows: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Of these rows those whose ids have come before, as code and message."""
        known = self._seen.add([(ready.to.namespaces[row], ready.to.ids[row]) for row in rows])
        said = "duplicate-id", f"{self._place}: an import holds an id once"
        return {row: said for row, before in zip(rows, known, strict=True) if before}

    def _piece(self, opened: Opened, batch: pa.RecordBatch, ready: Prepared, rows: list[int]) -> Any:
        """These records as what their file is made of."""
        if opened.index.documents:
            return b"".join(ready.texts[row] + b"\n" for row in rows)
        vectors = records.matrix(batch.column("vector"))[rows]
        offsets = np.arange(len(rows) + 1, dtype=np.int32) * vectors.shape[1]
        columns = {
            "id": pa.array([ready.to.ids[row] for row in rows], pa.string()),
            "values": pa.ListArray.from_arrays(offsets, pa.array(vectors.reshape(-1), pa.float32())),
            "metadata": pa.array([orjson.dumps(ready.to.metadata[row]).decode() for row in rows], pa.string()),
        }
        name = self._sparse(batch, opened)
        if opened.index.sparse is not None:
            empty = pa.nulls(len(rows), SPARSE_TYPE)
            columns["sparse_values"] = _not_empty(batch.column(name).take(rows)) if name else empty
        return pa.table(columns)

    def _take(self, space: str, piece: Any) -> None:
        self._buffers.setdefault(space, []).append(piece)
        size = len(piece) if isinstance(piece, bytes) else piece.nbytes
        self._sizes[space] = self._sizes.get(space, 0) + size
        self._buffered += size
        if self._sizes[space] >= FILE_BYTES:
            self._write(space)
        elif self._buffered >= BUFFERED_BYTES:
            self._write(max(self._sizes, key=lambda one: self._sizes[one]))

    def _write(self, space: str) -> None:
        """A file of what is collected for a namespace."""
        pieces = self._buffers.pop(space)
        self._buffered -= self._sizes.pop(space)
        lines = isinstance(pieces[0], bytes)
        path = f"{self._folder}/{space or DEFAULT}/part-{len(self._paths):05}.{'jsonl' if lines else 'parquet'}"
        output = files.Output(path)
        try:
            with files.translated(path):
                if lines:
                    output.stream.write(b"".join(pieces))
                else:
                    pq.write_table(pa.concat_tables(pieces), pa.PythonFile(output.stream, mode="w"), compression="zstd")
            output.publish()
        except BaseException:
            output.discard()
            raise
        self._paths.append(path)

    # -- importing --------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Have Pinecone import the files, and wait until it has. Raises VexError when it fails or loses records."""
        for space in list(self._buffers):
            self._write(space)
        if not self._paths:
            return
        opened = self._ready(self._plan)
        self._check_new(opened)
        told = self._done(opened, self._start(opened))
        count = told.get("recordsImported")
        if count is not None and int(count) != self._rows:
            raise VexError(f"{self._place}: {count} records were imported of the {self._rows} in {self._folder}")
        self._remove()

    def _check_new(self, opened: Opened) -> None:
        """Refuse namespaces that are there before the import does, hours later perhaps."""
        spaces = {path.split("/")[-2] for path in self._paths}
        there = sorted(
            name or DEFAULT for name, count in opened.counts().items() if count and (name or DEFAULT) in spaces
        )
        if there:
            raise SchemaError(
                f"{self._place}: the namespaces {', '.join(there)} hold records already, and Pinecone imports into new "
                f"ones alone; leave out --via, or empty them. The files are in {self._folder}"
            )

    def _start(self, opened: Opened) -> str:
        """The job of the import. When the answer is lost the job may be there all the same, and a second one would fail
        on the namespaces that the first is filling: it is looked for before another is started."""
        while True:
            self._starts += 1
            try:
                return start_import(opened.api, self._folder + "/", self._integration)
            except TransientError as error:
                time.sleep(min(max(self._wait, error.retry_after or 0.0), _LONGEST_WAIT))
                job = self._other(opened)
                if job is not None:
                    return job
                if self._starts > opened.requests.retries:
                    raise TransientError(f"{error}; the files to be imported are in {self._folder}") from None

    def _other(self, opened: Opened) -> str | None:
        """A job of our folder that is not lost."""
        jobs = opened.requests.call(lambda: imports_of(opened.api, self._folder))
        return next((str(one["id"]) for one in jobs if one.get("status") not in _LOST), None)

    def _done(self, opened: Opened, job: str) -> dict[str, Any]:
        while True:
            told = opened.requests.call(lambda: imported(opened.api, job))  # noqa: B023 - called at once
            status = told.get("status")
            if status == "Completed":
                return told
            if status in _LOST:
                other = self._other(opened) if self._starts > 1 else None
                if other is not None:
                    job = other
                    continue
                said = told.get("error") or "no reason is given"
                raise VexError(f"{self._place}: the import of {self._folder} has the status {status}: {said}")
            time.sleep(self._wait)

    def _remove(self) -> None:
        system, folder = files.filesystem(self._folder)
        with files.translated(self._folder):
            system.rm(folder, recursive=True)


def _seconds(text: str | None) -> float:
    try:
        seconds = WAIT_SECONDS if text is None else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise UsageError(f"--import-wait {text}: not a number of seconds up to 3600")
    return seconds


def _not_empty(column: pa.Array) -> pa.Array:
    """Sparse vectors with null for empty ones, and without names of their own for the parts of lists."""
    there = np.array([one.is_valid and len(one["indices"]) > 0 for one in column], dtype=bool)
    kept = column.filter(pa.array(there)).cast(SPARSE_TYPE)
    where = np.cumsum(there) - 1
    return kept.take(pa.array(where, pa.int64(), mask=~there))
