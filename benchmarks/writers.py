"""The same records as `.vmig.jsonl`, as Parquet and as a VEKTOR database.

Each writer streams: one block of records is in memory at a time.
"""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data import BLOCK, DIMENSION, Block, Record

KEYS = ("modality", "score", "vex_version")
# As npm vex 0.8.8 creates it.
VEKTOR = """CREATE TABLE memories (
    id TEXT, agent_id TEXT, content TEXT, summary TEXT, importance INT, tags TEXT, namespace TEXT, pinned INT,
    created_at NUM, updated_at NUM, vector BLOB, edge_type TEXT, potential TEXT)"""
INSERT = """INSERT INTO memories
    (id, agent_id, content, importance, tags, namespace, created_at, updated_at, vector)
    VALUES (?, 'vektor-mcp', ?, ?, ?, ?, ?, ?, ?)"""


def jsonl(path: Path, sample: list[Record], blocks: Iterator[Block]) -> None:
    """The twelve keys in their order, vectors as shortest float32 text, one LF a line."""
    heads = [orjson.dumps({"text": row.get("text")})[1:-1] for row in sample]
    tails = [orjson.dumps(tail(row))[1:] for row in sample]
    with path.open("wb") as out:
        for start, vectors in blocks:
            for number, vector in enumerate(vectors, start):
                copy, row = divmod(number, len(sample))
                name = orjson.dumps(f"{sample[row]['id']}-{copy}")
                numbers = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
                out.write(b'{"id":%b,%b,"vector":%b,%b\n' % (name, heads[row], numbers, tails[row]))


def tail(row: Record) -> Record:
    """What follows the vector."""
    known = {"model": row.get("model"), "dims": DIMENSION, "namespace": row.get("namespace")}
    known |= {key: row.get(key) for key in ("metadata", "created_at", "source_store")}
    return known | {key: row.get(key) for key in KEYS}


SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("vector", pa.list_(pa.float32(), DIMENSION)),
        ("model", pa.string()),
        ("namespace", pa.string()),
        ("metadata", pa.string()),
        ("created_at", pa.timestamp("us", "UTC")),
        ("score", pa.float64()),
        ("source_store", pa.string()),
        ("modality", pa.string()),
        ("vex_version", pa.string()),
        ("extra", pa.string()),
    ]
)


def parquet(path: Path, sample: list[Record], blocks: Iterator[Block]) -> None:
    """Compressed with zstd, a row group a block, metadata as JSON text."""
    rows = pa.Table.from_pylist([flat(row) for row in sample], schema=SCHEMA)
    repeated = ["model", "namespace", "source_store", "modality", "vex_version"]
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=repeated) as out:
        for start, vectors in blocks:
            numbers = range(start, start + len(vectors))
            batch = rows.take(pa.array([number % len(sample) for number in numbers]))
            names = [f"{sample[number % len(sample)]['id']}-{number // len(sample)}" for number in numbers]
            batch = batch.set_column(0, SCHEMA.field("id"), pa.array(names))
            matrix = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSION)
            out.write_table(batch.set_column(2, SCHEMA.field("vector"), matrix), row_group_size=BLOCK)


def flat(row: Record) -> Record:
    """A record without vector and id, its values as Parquet holds them."""
    kept: Record = {name: row.get(name) for name in SCHEMA.names}
    metadata = kept["metadata"]
    kept["metadata"] = None if metadata is None else orjson.dumps(metadata).decode()
    return kept | {"id": None, "vector": None, "extra": None, "created_at": moment(row.get("created_at"))}


def moment(value: Any) -> datetime | None:
    """ISO 8601 text or epoch seconds as a time with a zone."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(value) if value else None


def vektor(path: Path, sample: list[Record], blocks: Iterator[Block]) -> None:
    """Schema A: text ids, epoch seconds, vectors as little-endian float32."""
    columns = [stored(row) for row in sample]
    database = sqlite3.connect(path)
    database.execute(VEKTOR)
    for start, vectors in blocks:
        table = vectors.astype("<f4", copy=False)
        numbered = ((divmod(number, len(sample)), vector) for number, vector in enumerate(table, start))
        records = ((f"{sample[r]['id']}-{copy}", *columns[r], vector.tobytes()) for (copy, r), vector in numbered)
        with database:
            database.executemany(INSERT, records)
    database.close()


def stored(row: Record) -> tuple[Any, ...]:
    """The columns between id and vector."""
    metadata, created = row.get("metadata") or {}, moment(row.get("created_at"))
    seconds = int(created.timestamp()) if created else None
    return (
        row.get("text"),
        metadata.get("importance"),
        metadata.get("tags"),
        row.get("namespace"),
        seconds,
        seconds,
    )
