"""The same work without vex: `python -m benchmarks.rivals JOB NAME INPUT OUTPUT`.

Every rival gets the schema, so that none has to guess it, and the settings with which it was fastest: polars
and DuckDB hold any JSON object in one column of text, pyarrow has to be told the keys. None of them parses
`created_at`; vex does.
"""

import sys
from collections.abc import Callable

TEXTS = ("id", "text", "model", "namespace", "created_at", "source_store", "modality", "vex_version")
BLOCK = 8 << 20  # bytes that pyarrow parses at a time: faster than its default of 1 MiB, at the price of memory


def polars_jsonl_to_parquet(source: str, target: str) -> None:
    import polars as pl

    # Metadata as text took the same time as a struct of the sample's keys.
    schema: dict[str, pl.DataType] = {name: pl.String() for name in (*TEXTS, "metadata")}
    schema |= {"vector": pl.List(pl.Float32()), "dims": pl.Int32(), "score": pl.Float64()}
    pl.scan_ndjson(source, schema=schema).sink_parquet(target, compression="zstd")


def duckdb_jsonl_to_parquet(source: str, target: str, settings: str = "") -> None:
    import duckdb

    types = dict.fromkeys(TEXTS, "VARCHAR")
    types |= {"metadata": "JSON", "vector": "FLOAT[]", "dims": "INTEGER", "score": "DOUBLE"}
    records = f"read_json('{source}', format='newline_delimited', columns={types})"
    duckdb.sql(f"COPY (SELECT * FROM {records}) TO '{target}' (FORMAT parquet, COMPRESSION zstd{settings})")


def tuned_duckdb_jsonl_to_parquet(source: str, target: str) -> None:
    # By default a group is 122,880 rows, so that 100,000 records are compressed by one thread.
    duckdb_jsonl_to_parquet(source, target, ", ROW_GROUP_SIZE 10240")


def pyarrow_jsonl_to_parquet(source: str, target: str) -> None:
    import pyarrow as pa
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    keys = {"tags": pa.string(), "importance": pa.float64(), "version": pa.string()}
    keys |= {"installed_kb": pa.int64(), "essential": pa.bool_(), "homepage": pa.string()}
    types = {name: pa.string() for name in TEXTS}
    types |= {"vector": pa.list_(pa.float32()), "dims": pa.int32(), "score": pa.float64()}
    schema = pa.schema({**types, "metadata": pa.struct(list(keys.items()))})
    reading = pj.ReadOptions(block_size=BLOCK)
    parsing = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    with (
        pj.open_json(source, reading, parsing) as batches,
        pq.ParquetWriter(target, batches.schema, compression="zstd", use_dictionary=False) as out,
    ):
        for batch in batches:
            out.write_batch(batch)


def duckdb_parquet_to_jsonl(source: str, target: str) -> None:
    import duckdb

    records = f"SELECT * REPLACE (metadata::JSON AS metadata) FROM '{source}'"  # an object again, not a string
    duckdb.sql(f"COPY ({records}) TO '{target}' (FORMAT json)")


def polars_parquet_to_jsonl(source: str, target: str) -> None:
    import polars as pl

    pl.scan_parquet(source).sink_ndjson(target)  # metadata stays a string inside the JSON: less work than ours


RIVALS: dict[str, dict[str, Callable[[str, str], None]]] = {
    "jsonl_to_parquet": {
        "polars": polars_jsonl_to_parquet,
        "duckdb": duckdb_jsonl_to_parquet,
        "tuned duckdb": tuned_duckdb_jsonl_to_parquet,
        "pyarrow": pyarrow_jsonl_to_parquet,
    },
    "parquet_to_jsonl": {
        "duckdb": duckdb_parquet_to_jsonl,
        "polars": polars_parquet_to_jsonl,
    },
}

if __name__ == "__main__":
    job, name, source, target = sys.argv[1:]
    RIVALS[job][name](source, target)
