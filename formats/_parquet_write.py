"""The Parquet sink: one file or a directory, metadata as JSON or as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from vexarrow import records
from vexarrow.errors import UsageError
from vexarrow.files import Output, filesystem, translated
from vexarrow.location import STANDARD_STREAM, Location, is_url
from vexarrow.protocols import Description, Reject

from ._parquet_encode import Encoder, Settings
from ._parquet_parts import Directory
from ._spread import Spreading
from ._uniform import Uniform

PARTITION_COLUMNS = ("namespace", "model", "source_store")


class Target(Protocol):
    """Where batches of one schema go."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch."""

    def finish(self, schema: pa.Schema) -> None:
        """Publish; `schema` is that of all batches, in case there was none."""

    def discard(self) -> None:
        """Remove everything that was written; nothing after `finish`. Never raises."""


class OneFile:
    """All batches in one file."""

    def __init__(self, location: Location, settings: Settings) -> None:
        self._output = Output(location.target, overwrite=location.overwrite)
        self._path = location.target
        self._settings = settings
        self._encoder: Encoder | None = None
        self._published = False

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch."""
        with translated(self._path):
            self._opened(batch.schema).write(batch)

    def finish(self, schema: pa.Schema) -> None:
        """Write the footer and give the file its name."""
        with translated(self._path):
            self._opened(schema).close()
        self._output.publish()
        self._published = True

    def discard(self) -> None:
        """Remove the unfinished file."""
        if not self._published:
            if self._encoder:
                self._encoder.abandon()
            self._output.discard()

    def _opened(self, schema: pa.Schema) -> Encoder:
        if self._encoder is None:
            self._encoder = Encoder(self._output.stream, schema, self._settings)
        return self._encoder


class ParquetSink:
    """See `vexarrow.protocols.Sink`. Records are durable at `finish`."""

    def __init__(self, target: Target, settings: Settings, uniform: Uniform) -> None:
        self._target = target
        self._settings = settings
        self._uniform = uniform
        self._dim = 0

    def prepare(self, plan: Description) -> Description:
        """Anything fits a new file."""
        self._settings.metric = plan.metric
        self._dim = plan.dim or 0
        return replace(plan, rows=0, size=None, details={})

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        """Write a batch. Rows with vectors of another dimension than the first ones are refused ("dimension")."""
        ready, rejects = self._uniform.accept(batch)
        for one in ready:
            self._target.write(one)
        return rejects

    def finish(self) -> None:
        """Publish the file or directory."""
        for batch in self._uniform.finish(self._dim):
            self._target.write(batch)
        self._target.finish(self._uniform.schema or records.schema(self._dim))


@contextmanager
def open_sink(location: Location) -> Iterator[ParquetSink]:
    """The sink of a location. Raises UsageError for bad options and for a target that is there already."""
    settings = Settings.of(location)
    columns = _partition_columns(location)
    kind = location.option("metadata") or "json"
    if kind not in ("json", "columns"):
        raise UsageError(f"--metadata {kind}: has to be json or columns")
    target: Target
    if columns or _is_directory(location.target):
        target = Directory(location, settings, columns)
    else:
        target = OneFile(location, settings)
    if kind == "columns":
        target = Spreading(target, settings, location.target)
    uniform = Uniform(location.target)
    try:
        yield ParquetSink(target, settings, uniform)
    finally:
        target.discard()
        uniform.close()


def _partition_columns(location: Location) -> list[str]:
    text = location.option("partition-by") or ""
    columns = [name.strip() for name in text.split(",") if name.strip()]
    for name in columns:
        if name not in PARTITION_COLUMNS:
            raise UsageError(f"--partition-by {name}: has to be one of {', '.join(PARTITION_COLUMNS)}")
    if columns and location.target == STANDARD_STREAM:
        raise UsageError("--partition-by needs a directory, not the standard output")
    return columns


def _is_directory(target: str) -> bool:
    if target.endswith("/"):
        return True
    if is_url(target):
        fs, inner = filesystem(target)
        with translated(target):
            return bool(fs.isdir(inner))
    return Path(target).is_dir()
