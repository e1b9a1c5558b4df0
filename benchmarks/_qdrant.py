"""What the questions about Qdrant share: a server, inputs, and the official client.

`python -m benchmarks._qdrant JOB ...` is a process that does the work of a contender:

    rest                          deletes the collections that were loaded, waits until the server is at rest
    load PATH COLLECTION WAYS WHEN
                                  qdrant-client loads a Parquet file by `upload_collection`: gRPC, numpy; WHEN is
                                  "now" or "later", after the load, as Qdrant advises: when search indexes are built
    scroll COLLECTION             qdrant-client reads a collection by `scroll` with vectors, page by page, to nothing
    drain COLLECTION              our source reads it as the engine does, to nothing

A server builds search indexes after a load, with all processors. Therefore a turn begins with `rest`, which is not
measured: what one contender leaves behind does not slow down the next one.

The server is the one that VEX_TEST_QDRANT_URL names. Where it names none, Qdrant's engine behind our own faces stands
in, which is so slow that the answer says nothing about speed.
"""

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks._pinecone import inputs_of
from benchmarks.measure import Contender
from benchmarks.question import PYTHON, VEX

__all__ = ["LOADED", "READ", "client_load", "drain", "drop", "inputs_of", "load", "scroll", "server"]
LOADED, READ = "bench-load-", "bench-read-"
KEPT = ("text", "model", "namespace", "source_store")
PAGE = 1000
READERS = 4
REST = "green"  # the status of a collection with nothing left to optimise
REST_SECONDS = 600.0
THRESHOLD = 10_000  # of KB of vectors, from which on a segment has a search index; the server's default


@contextmanager
def server() -> Iterator[None]:
    """A server, and the environment that leads to it."""
    from tests.engines.qdrant import qdrant_server

    with qdrant_server() as running:
        if running.emulated:
            print("no VEX_TEST_QDRANT_URL: this is an emulation, and no measurement of Qdrant", file=sys.stderr)
        os.environ["QDRANT_URL"] = running.url
        os.environ["QDRANT_API_KEY"] = running.key or ""
        yield


def job(name: str, *arguments: str | Path) -> tuple[str | Path, ...]:
    """The command of one of the jobs above."""
    return (PYTHON, "-m", "benchmarks._qdrant", name, *arguments)


def load(name: str, path: Path, collection: str) -> Contender:
    """We load a file into a new collection."""
    command = (VEX, "import", "--from", path, "--to", "qdrant", "--collection", collection, "--quiet")
    return Contender(name, command, before=job("rest"))


def client_load(name: str, path: Path, collection: str, ways: int, when: str) -> Contender:
    """The official client loads a file into a new collection."""
    return Contender(name, job("load", path, collection, str(ways), when), before=job("rest"))


def scroll(name: str, collection: str) -> Contender:
    """The official client reads a collection."""
    return Contender(name, job("scroll", collection), before=job("rest"))


def drain(name: str, collection: str) -> Contender:
    """We read a collection."""
    return Contender(name, job("drain", collection), before=job("rest"))


# -- the jobs -------------------------------------------------------------------------------------------


def rest(method: str, path: str) -> Any:
    """The result of a request to the server."""
    request = urllib.request.Request(  # noqa: S310 - the address of the server that is measured
        os.environ["QDRANT_URL"] + path, headers={"api-key": os.environ["QDRANT_API_KEY"]}, method=method
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return json.load(answer)["result"]


def drop(collection: str) -> None:
    """Delete a collection."""
    rest("DELETE", f"/collections/{collection}")


def at_rest() -> None:
    names = [one["name"] for one in rest("GET", "/collections")["collections"]]
    for name in names:
        if name.startswith(LOADED):
            drop(name)
    end = time.monotonic() + REST_SECONDS
    for name in names:
        while name.startswith(READ) and rest("GET", f"/collections/{name}")["status"] != REST:
            if time.monotonic() > end:
                raise SystemExit(f"{name}: the server is still at work after {REST_SECONDS:.0f} s")
            time.sleep(0.5)


def connected() -> Any:
    """The client, by gRPC."""
    import warnings

    from qdrant_client import QdrantClient

    warnings.simplefilter("ignore")
    url = os.environ["QDRANT_URL"]
    port = int(url.rpartition(":")[2])
    key = os.environ["QDRANT_API_KEY"] or None
    return QdrantClient(url=url, api_key=key, prefer_grpc=True, grpc_port=port + 1, timeout=120)


def upload(path: str, collection: str, ways: str, when: str) -> None:
    """As a script for this would: all vectors as one numpy matrix, payloads as they come."""
    import uuid

    import pyarrow.parquet as pq
    from qdrant_client import models

    table = pq.read_table(path)
    dim = table.schema.field("vector").type.list_size
    vectors = table.column("vector").combine_chunks().flatten().to_numpy().reshape(-1, dim)
    client = connected()
    params = models.VectorParams(size=dim, distance=models.Distance.COSINE)
    none = models.OptimizersConfigDiff(indexing_threshold=0) if when == "later" else None
    client.create_collection(collection, vectors_config=params, optimizers_config=none)
    client.create_payload_index(
        collection, "namespace", models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    )
    client.upload_collection(
        collection,
        vectors=vectors,
        payload=payloads(table.drop_columns("vector")),
        ids=(str(uuid.uuid5(uuid.NAMESPACE_URL, one)) for one in table.column("id").to_pylist()),
        batch_size=256,
        parallel=int(ways),
        wait=True,
    )
    if when == "later":
        threshold = models.OptimizersConfigDiff(indexing_threshold=THRESHOLD)
        client.update_collection(collection, optimizers_config=threshold)
    assert client.count(collection).count == table.num_rows


def payloads(table: Any) -> Iterator[dict[str, Any]]:
    """What our records have in their payloads."""
    for batch in table.to_batches(4096):
        for row in batch.to_pylist():
            kept = {"__id__": row["id"], **{key: row[key] for key in KEPT if row[key] is not None}}
            if row["created_at"] is not None:
                kept["created_at"] = row["created_at"].isoformat()
            yield kept | json.loads(row["metadata"] or "{}")


def scrolled(collection: str) -> None:
    client, offset, rows = connected(), None, 0
    while True:
        found, offset = client.scroll(collection, limit=PAGE, offset=offset, with_payload=True, with_vectors=True)
        rows += len(found)
        if offset is None:
            break
    assert rows == client.count(collection).count


def drained(collection: str) -> None:
    from functools import partial

    from vexarrow import process

    process.settle()  # as the command line does
    process.without_arithmetic()

    from vexarrow.engine import page_rows
    from vexarrow.places import SOURCE, resolve
    from vexarrow.readahead import read_ahead
    from vexarrow.selection import Selection

    place = resolve("qdrant", {"collection": collection}, side=SOURCE)
    with place.source(Selection()) as source:
        described = source.describe()
        parts = source.partitions(READERS)
        openers = [partial(source.extract, part, rows=page_rows(described.dim)) for part in parts]
        with read_ahead(openers, READERS) as pages:
            assert sum(page.batch.num_rows for _, page in pages) == described.rows


if __name__ == "__main__":
    jobs: dict[str, Callable[..., None]] = {"rest": at_rest, "load": upload, "scroll": scrolled, "drain": drained}
    jobs[sys.argv[1]](*sys.argv[2:])
