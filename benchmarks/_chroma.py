"""What the questions about Chroma share: a server, and the official client.

`python -m benchmarks._chroma JOB ...` is a process that does the work of a contender:

    fresh COLLECTION COMMAND...   deletes a collection, then becomes the command
    load PATH COLLECTION          chromadb's HTTP client loads a Parquet file: numpy, at its largest batch
    get COLLECTION                chromadb's HTTP client reads a collection with vectors, page by page, to nothing
    drain COLLECTION              our source reads it as the engine does, to nothing
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks._pinecone import inputs_of
from benchmarks.measure import Contender
from benchmarks.question import PYTHON, VEX

__all__ = ["client_load", "drain", "get", "inputs_of", "load", "server"]
KEPT = ("model", "namespace")
PAGE = 1000
READERS = 4
DATABASE = "/api/v2/tenants/default_tenant/databases/default_database"


@contextmanager
def server() -> Iterator[None]:
    """Chroma's own server, and the environment that leads to it."""
    from tests.engines.chroma import chroma_server

    with chroma_server() as address:
        os.environ["CHROMA_URL"] = address
        yield


def job(name: str, *arguments: str | Path) -> tuple[str | Path, ...]:
    """The command of one of the jobs above."""
    return (PYTHON, "-m", "benchmarks._chroma", name, *arguments)


def load(name: str, path: Path, collection: str) -> Contender:
    """We load a file into a new collection."""
    command = (VEX, "import", "--from", path, "--to", "chroma", "--collection", collection, "--quiet")
    return Contender(name, job("fresh", collection, *command))


def client_load(name: str, path: Path, collection: str) -> Contender:
    """The official client loads a file into a new collection."""
    return Contender(name, job("fresh", collection, *job("load", path, collection)))


def get(name: str, collection: str) -> Contender:
    """The official client reads a collection."""
    return Contender(name, job("get", collection))


def drain(name: str, collection: str) -> Contender:
    """We read a collection."""
    return Contender(name, job("drain", collection))


# -- the jobs -------------------------------------------------------------------------------------------


def fresh(collection: str, *command: str) -> None:
    address = f"{os.environ['CHROMA_URL']}{DATABASE}/collections/{collection}"
    request = urllib.request.Request(address, method="DELETE")  # noqa: S310 - the server that is measured
    with suppress(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=600).close()  # noqa: S310
    os.execv(command[0], command)  # noqa: S606 - the command of a contender


def connected() -> Any:
    import chromadb

    address = urlsplit(os.environ["CHROMA_URL"])
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    return chromadb.HttpClient(str(address.hostname), address.port or 8000, settings=settings)


def upload(path: str, collection: str) -> None:
    """As a script for this would: vectors as numpy matrices, as many records a request as the server takes."""
    import pyarrow.parquet as pq

    client = connected()
    made = client.create_collection(collection, embedding_function=None, configuration={"hnsw": {"space": "cosine"}})
    most = client.get_max_batch_size()
    for batch in pq.ParquetFile(path).iter_batches(most):
        vectors = batch.column(batch.schema.get_field_index("vector"))
        rows = batch.drop_columns("vector").to_pylist()
        made.upsert(
            ids=[row["id"] for row in rows],
            embeddings=vectors.flatten().to_numpy().reshape(len(rows), -1),
            documents=[row["text"] for row in rows],
            metadatas=[metadata(row) for row in rows],
        )


def metadata(row: dict[str, Any]) -> dict[str, Any]:
    """What our records have in their metadata, without what the store does not hold."""
    kept = {key: row[key] for key in KEPT if row[key] is not None}
    if row["created_at"] is not None:
        kept["created_at"] = row["created_at"].isoformat()
    members = json.loads(row["metadata"] or "{}")
    kept["__vex__"] = json.dumps({"source_store": row["source_store"]})
    return kept | {key: value for key, value in members.items() if isinstance(value, (str, int, float))}


def fetched(collection: str) -> None:
    import numpy as np

    found = connected().get_collection(collection, embedding_function=None)
    rows, every = 0, found.count()
    while rows < every:
        page = found.get(limit=PAGE, offset=rows, include=["embeddings", "documents", "metadatas"])
        assert np.asarray(page["embeddings"], dtype=np.float32).shape[0] == len(page["ids"])
        rows += len(page["ids"])
    assert rows == every


def drained(collection: str) -> None:
    from functools import partial

    from vexarrow import process

    process.settle()  # as the command line does
    process.without_arithmetic()
    from vexarrow.engine import page_rows
    from vexarrow.places import SOURCE, resolve
    from vexarrow.readahead import read_ahead
    from vexarrow.selection import Selection

    place = resolve("chroma", {"collection": collection}, side=SOURCE)
    with place.source(Selection()) as source:
        described = source.describe()
        parts = source.partitions(READERS)
        openers = [partial(source.extract, part, rows=page_rows(described.dim)) for part in parts]
        with read_ahead(openers, READERS) as pages:
            assert sum(page.batch.num_rows for _, page in pages) == described.rows


if __name__ == "__main__":
    jobs: dict[str, Callable[..., None]] = {"fresh": fresh, "load": upload, "get": fetched, "drain": drained}
    jobs[sys.argv[1]](*sys.argv[2:])
