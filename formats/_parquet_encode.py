"""Canonical batches as one Parquet file that DuckDB, polars, pandas and pyarrow read without vexarrow.

JSON columns carry Parquet's JSON type, so that DuckDB has them as JSON; the Arrow schema in the file says string, so
that polars and pandas have text. Vectors are fixed-size lists, stored plainly: dictionaries never pay for them, and
statistics mean nothing. Row groups are cut by bytes, so that memory is bounded whatever the dimension.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vexarrow import records
from vexarrow._version import __version__
from vexarrow.errors import UsageError
from vexarrow.location import Location

from ._counting import Counting
from ._roles import COLUMNS_KEY, is_text

ROW_GROUP_BYTES = 32 << 20
ROW_GROUP_ROWS = 131_072
# Level 1 writes 1.3 times as fast as level 3 and is no larger: nearly all bytes are vectors, which hardly compress.
COMPRESSIONS = {"zstd": 1, "snappy": None, "lz4": None, "none": None}
REPEATED = ("model", "namespace", "source_store", "modality", "vex_version")
ORDERED = ("id", "namespace", "created_at", "score")
FORMAT_VERSION = "1"


@dataclass
class Settings:
    """How files are written, and what their metadata says of all of them."""

    compression: str = "zstd"
    metric: str | None = None
    spread: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, location: Location) -> Settings:
        """The settings in a location's options. Raises UsageError."""
        codec = location.option("compression") or "zstd"
        if codec not in COMPRESSIONS:
            raise UsageError(f"--compression {codec}: has to be one of {', '.join(COMPRESSIONS)}")
        return cls(codec)


class Encoder:
    """Writes one Parquet file to a binary stream; the schema is that of the first batch."""

    def __init__(self, stream: Any, schema: pa.Schema, settings: Settings) -> None:
        self._schema = _on_disk(schema)
        self._settings = settings
        self._id_type = records.id_type(schema)
        self._dim = records.dim(schema)
        self._seen: dict[str, set[str | None]] = {"model": set(), "source_store": set()}
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0
        self.buffered = 0
        self.written = 0
        self._sink = Counting(stream)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            self._schema,
            compression=settings.compression,
            compression_level=COMPRESSIONS[settings.compression],
            use_dictionary=_dictionaries(schema, settings),
            write_statistics=_statistics(schema, settings),
            store_schema=False,
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch; a row group is written when enough are there."""
        size = batch.nbytes
        step = max(1, batch.num_rows * ROW_GROUP_BYTES // max(size, 1))
        for at in range(0, batch.num_rows, step):
            piece = batch.slice(at, step)
            self._batches.append(piece)
            self._rows += piece.num_rows
            self.buffered += size * piece.num_rows // batch.num_rows
            if self.buffered >= ROW_GROUP_BYTES * 0.9 or self._rows >= ROW_GROUP_ROWS:
                self.flush()

    def flush(self) -> None:
        """Write what is buffered as a row group."""
        if not self._rows:
            return
        table = pa.Table.from_batches(self._batches)
        for name, seen in self._seen.items():
            if len(seen) < 2:
                seen.update(pc.unique(table.column(name)).to_pylist())
        if not self._dim:
            at = self._schema.get_field_index("vector")
            table = table.set_column(at, "vector", pa.nulls(self._rows, self._schema.field(at).type))
        # The schema of the file has no metadata of its own: it is added when the file is closed.
        self._writer.write_table(table.replace_schema_metadata(None), row_group_size=self._rows)
        self.written += self.buffered
        self._batches, self._rows, self.buffered = [], 0, 0

    def close(self) -> None:
        """Write the rest and the footer. The stream stays open."""
        self.flush()
        self._writer.add_key_value_metadata(self._footer())
        self._writer.close()

    def abandon(self) -> None:
        """Let go without a readable file; the stream may be closed or full already. Never raises."""
        self._batches = []
        # Arrow's writer can only be closed, and writes a footer then.
        self._sink.muted = True
        with suppress(Exception):
            self._writer.close()

    def _footer(self) -> dict[str, str]:
        said = {
            "vex.version": __version__,
            "vex.format": FORMAT_VERSION,
            records.ID_TYPE_KEY.decode(): self._id_type,
            "vex.metric": self._settings.metric,
            "vex.model": _only(self._seen["model"]),
            "vex.source": _only(self._seen["source_store"]),
            COLUMNS_KEY.decode(): json.dumps(self._settings.spread) if self._settings.spread else None,
        }
        known = {key: value for key, value in said.items() if value is not None}
        plain = _plain(self._schema).with_metadata(known)
        return known | {"ARROW:schema": base64.b64encode(plain.serialize().to_pybytes()).decode()}


def _on_disk(schema: pa.Schema) -> pa.Schema:
    """The schema without metadata; vectors of no dimension are lists, which every reader knows."""
    at = schema.get_field_index("vector")
    if records.dim(schema) == 0:
        schema = schema.set(at, pa.field("vector", pa.list_(pa.float32())))
    return schema.remove_metadata()


def _plain(schema: pa.Schema) -> pa.Schema:
    fields = [f.with_type(pa.string()) if f.type == records.JSON else f for f in schema]
    return pa.schema(fields)


def _dictionaries(schema: pa.Schema, settings: Settings) -> list[str]:
    spread = [name for name in settings.spread if is_text(schema.field(name).type)]
    return [*REPEATED, *spread]


def _statistics(schema: pa.Schema, settings: Settings) -> list[str]:
    return [*ORDERED, *(name for name in settings.spread if schema.field(name).type != records.JSON)]


def _only(values: set[str | None]) -> str | None:
    return next(iter(values)) if len(values) == 1 else None
