"""Options that the columnar formats share; separate, so that listing options imports nothing heavy."""

from __future__ import annotations

from vexarrow.protocols import Option

COLUMN_OPTIONS = (
    Option(("vector-column",), "the column that holds the vectors, when there are several", side="source"),
    Option(("id-column",), "the column that holds the ids", side="source"),
    Option(("text-column",), "the column that holds the texts", side="source"),
)
METADATA = Option(
    ("metadata",), "json: one column of JSON text; columns: a typed column for each key", default="json", side="sink"
)
PARTITION_BY = Option(
    ("partition-by",), "write a directory with a folder for each namespace, model or source_store", side="sink"
)
COMPRESSION = Option(("compression",), "zstd, snappy, lz4 or none", default="zstd", side="sink")
