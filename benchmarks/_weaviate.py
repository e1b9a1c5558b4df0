"""What the questions about Weaviate share: the emulator in a process of its own, inputs, and the official client.

`python -m benchmarks._weaviate JOB PATH COLLECTION` is the official client at work: `load` writes the Parquet file PATH
to a collection, `read` writes a collection to a new Parquet file.

The emulator is not Weaviate, and its own processor time is not counted: only that of the process that talks to it. Its
address is in the environment, WEAVIATE_URL and WEAVIATE_GRPC_PORT.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks._pinecone import LittleWork, inputs_of
from benchmarks.measure import Contender
from benchmarks.question import PYTHON, VEX

__all__ = ["LittleWork", "emulator", "inputs_of", "load", "official", "read"]
KEPT = ("text", "model", "namespace", "metadata", "source_store")


@contextmanager
def emulator() -> Iterator[None]:
    """The emulator, and the environment that leads to it."""
    command = [str(PYTHON), "-m", "tests.engines.weaviate"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=data.ROOT) as process:
        assert process.stdout is not None
        port, grpc_port = process.stdout.readline().split()
        os.environ |= {"WEAVIATE_URL": f"http://127.0.0.1:{port}", "WEAVIATE_GRPC_PORT": grpc_port}
        try:
            yield
        finally:
            process.terminate()


def where(name: str) -> tuple[str, ...]:
    """The options that lead to a collection; the address is in the environment."""
    return ("--collection", name, "--grpc-port", os.environ["WEAVIATE_GRPC_PORT"])


def load(name: str, path: Path, collection: str) -> Contender:
    """We load a file."""
    return Contender(name, (VEX, "import", "--from", path, "--to", "weaviate", *where(collection)))


def read(name: str, output: Path, collection: str, records: int) -> Contender:
    """We read a collection."""
    command: tuple[str | Path, ...] = (VEX, "export", "--from", "weaviate", *where(collection), "--output", output)
    return Contender(name, command, output, records)


def official(job: str, name: str, path: Path, collection: str, records: int | None = None) -> Contender:
    """The official client does a job."""
    command: tuple[str | Path, ...] = (PYTHON, "-m", "benchmarks._weaviate", job, path, collection)
    return Contender(name, command, path if records else None, records)


# -- the official client --------------------------------------------------------------------------------


@contextmanager
def connected() -> Iterator[Any]:
    """The client, without looking for a newer one."""
    import weaviate

    port = int(os.environ["WEAVIATE_URL"].rpartition(":")[2])
    grpc_port = int(os.environ["WEAVIATE_GRPC_PORT"])
    client = weaviate.connect_to_custom("127.0.0.1", port, False, "127.0.0.1", grpc_port, False, skip_init_checks=True)
    try:
        yield client
    finally:
        client.close()


def client_load(path: str, name: str) -> None:
    """As a script for this would: numpy rows, requests of 1000 objects, four at a time."""
    import pyarrow.parquet as pq
    from weaviate.classes.config import Configure, DataType, Property
    from weaviate.util import generate_uuid5

    name = name[0].upper() + name[1:]
    with connected() as client:
        if not client.collections.exists(name):
            kinds = [Property(name=one, data_type=DataType.TEXT) for one in (*KEPT, "created_at", "__id__")]
            client.collections.create(name, vector_config=Configure.Vectors.self_provided(), properties=kinds)
        made = client.collections.get(name)
        with made.batch.fixed_size(1000, concurrent_requests=4) as out:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=4096):
                dim = batch.column("vector").type.list_size
                vectors = batch.column("vector").flatten().to_numpy().reshape(-1, dim)
                for row, vector in zip(batch.drop_columns("vector").to_pylist(), vectors, strict=True):
                    kept = {key: row[key] for key in KEPT if row[key] is not None}
                    if row["created_at"] is not None:
                        kept["created_at"] = row["created_at"].isoformat()
                    kept["__id__"] = row["id"]
                    out.add_object(kept, vector=vector, uuid=generate_uuid5(row["id"]))
        assert not made.batch.failed_objects, made.batch.failed_objects[0]


def client_read(path: str, name: str) -> None:
    """Every record to one Parquet file by the client's iterator, whose pages are as large as ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    texts = ("id", *KEPT, "created_at")
    with connected() as client:
        found = client.collections.get(name[0].upper() + name[1:])
        first = next(iter(found.iterator(include_vector=True, cache_size=1)))
        kinds = {name: pa.string() for name in texts}
        schema = pa.schema({**kinds, "vector": pa.list_(pa.float32(), len(first.vector["default"]))})
        with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["namespace", "model"]) as out:
            rows: list[tuple[Any, ...]] = []
            for one in found.iterator(include_vector=True, cache_size=4096):
                kept = one.properties
                identity = kept.get("__id__") or str(one.uuid)
                rows.append((identity, *(kept.get(key) for key in texts[1:]), one.vector["default"]))
                if len(rows) == 4096:
                    out.write_batch(
                        pa.record_batch([list(column) for column in zip(*rows, strict=True)], schema=schema)
                    )
                    rows = []
            if rows:
                out.write_batch(pa.record_batch([list(column) for column in zip(*rows, strict=True)], schema=schema))


if __name__ == "__main__":
    job, path, name = sys.argv[1:]
    (client_load if job == "load" else client_read)(path, name)
