"""The Arrow sink: batches as they come, in a file or a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa

from vexarrow import records
from vexarrow._version import __version__
from vexarrow.errors import UsageError
from vexarrow.files import COMPRESSIONS, Output, translated
from vexarrow.location import STANDARD_STREAM, Location
from vexarrow.protocols import Description, Reject

from ._counting import Counting
from ._uniform import Uniform

CODECS = {"none": None, "zstd": "zstd", "lz4": "lz4"}


class ArrowSink:
    """See `vexarrow.protocols.Sink`. Records are durable at `finish`."""

    def __init__(self, location: Location, output: Output, uniform: Uniform) -> None:
        self._path = location.target
        self._codec = _codec(location)
        self._output = output
        self._uniform = uniform
        self._writer: Any = None
        self._metric: str | None = None
        self._dim = 0
        self.finished = False

    def prepare(self, plan: Description) -> Description:
        """Anything fits a new file."""
        self._metric, self._dim = plan.metric, plan.dim or 0
        return replace(plan, rows=0, size=None, details={})

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        """Write a batch. Rows with vectors of another dimension than the first ones are refused ("dimension")."""
        ready, rejects = self._uniform.accept(batch)
        for one in ready:
            self._write(one)
        return rejects

    def finish(self) -> None:
        """Write the end of the file and publish it."""
        for batch in self._uniform.finish(self._dim):
            self._write(batch)
        if self._writer is None:
            self._write(pa.RecordBatch.from_pylist([], schema=self._uniform.schema))
        with translated(self._path):
            self._writer.close()
        self._output.publish()
        self.finished = True

    def _write(self, batch: pa.RecordBatch) -> None:
        plain = records.plain(batch)
        with translated(self._path):
            if self._writer is None:
                self._writer = self._opened(plain.schema.with_metadata(self._metadata(batch.schema)))
            if plain.num_rows:
                self._writer.write_batch(plain)

    def _opened(self, schema: pa.Schema) -> Any:
        options = pa.ipc.IpcWriteOptions(compression=self._codec)
        sink = pa.PythonFile(Counting(self._output.stream), mode="w")
        make = pa.ipc.new_stream if _is_stream(self._path) else pa.ipc.new_file
        return make(sink, schema, options=options)

    def _metadata(self, schema: pa.Schema) -> dict[bytes, bytes]:
        said = {records.ID_TYPE_KEY: records.id_type(schema).encode(), b"vex.version": __version__.encode()}
        return said | ({b"vex.metric": self._metric.encode()} if self._metric else {})


def _codec(location: Location) -> str | None:
    name = location.option("compression") or "none"
    if name not in CODECS:
        raise UsageError(f"--compression {name}: has to be one of {', '.join(CODECS)}")
    return CODECS[name]


def _is_stream(path: str) -> bool:
    name = path.lower()
    for suffix in COMPRESSIONS:
        name = name.removesuffix(suffix)
    return path == STANDARD_STREAM or name.endswith(".arrows")


@contextmanager
def open_sink(location: Location) -> Iterator[ArrowSink]:
    """The sink of a location. Raises UsageError for bad options and for a target that is there already."""
    _codec(location)
    output = Output(location.target, overwrite=location.overwrite)
    uniform = Uniform(location.target)
    sink = ArrowSink(location, output, uniform)
    try:
        yield sink
    finally:
        if not sink.finished:
            output.discard()
        uniform.close()
