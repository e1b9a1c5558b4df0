"""What the questions about Pinecone share: the emulator in a process of its own, inputs, and the official client.

`python -m benchmarks._pinecone JOB PATH INDEX` is the official client at work: `load` writes the Parquet file PATH to
an index, `match` and `list` read an index to a new Parquet file, by `fetch_by_metadata` or by `list` and `fetch`. Over
REST, as it does unless it is told otherwise, and as the goals mean it; with `-grpc` after the job over gRPC.

The emulator is not Pinecone, and its own processor time is not counted: only that of the process that talks to it. Its
address and key are in the environment variables that both sides know.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import data
from benchmarks.goals import Measured, Verdict, spread
from benchmarks.measure import Contender
from benchmarks.question import PYTHON, VEX

KEY = "pcsk_emulator-key-0123456789"
WIDE, NARROW_TO_WIDE = 1536, 5  # there are so many times fewer wide records
REQUEST_NUMBERS = 75_000  # of an upsert, as the official client's text of float64 makes 2 MB of about 95,000
PACKED_NUMBERS = 250_000  # over gRPC 2 MB are twice as many, with the metadata of wide records; narrow ones are 1,000
Read = Iterator[tuple[str, Any]]


@dataclass(frozen=True)
class LittleWork:
    """`who` takes at most `part` of the processor time of the least busy of `than`, by medians."""

    who: str
    part: float
    than: tuple[str, ...]

    def judge(self, measured: Measured) -> Iterator[Verdict]:
        """One verdict for each number of records."""
        for records, by_name in measured.items():
            if {self.who, *self.than} <= by_name.keys():
                least = min(self.than, key=lambda name: median(run.cpu for run in by_name[name]))
                ratio = median(run.cpu for run in by_name[self.who]) / median(run.cpu for run in by_name[least])
                turns = [a.cpu / b.cpu for a, b in zip(by_name[self.who], by_name[least], strict=True)]
                goal = f"{records:,} records: {self.who} with at most {self.part:.2f} of the processor time of {least}"
                yield Verdict(goal, f"{ratio:.2f}{spread(turns)}", ratio <= self.part)


@contextmanager
def emulator() -> Iterator[None]:
    """The emulator, and the environment that leads to it."""
    command = [str(PYTHON), "-m", "tests.engines.pinecone"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=data.ROOT) as process:
        assert process.stdout is not None
        os.environ["PINECONE_CONTROLLER_HOST"] = process.stdout.readline().strip()
        os.environ["PINECONE_API_KEY"] = KEY
        try:
            yield
        finally:
            process.terminate()


def inputs_of(inputs: data.Inputs) -> dict[str, Path]:
    """The Parquet files to be loaded, by the name of what is measured with them; made where they are missing."""
    made = ["--records", str(inputs.records), "--sample", str(inputs.sample), "--only", ".parquet"]
    subprocess.run([PYTHON, "-m", "benchmarks.data", *made], check=True)
    wide = inputs.parquet.with_name(f"{inputs.records // NARROW_TO_WIDE}x{WIDE}.parquet")
    if not wide.exists():
        subprocess.run([PYTHON, "-m", "benchmarks._pinecone", "wide", inputs.parquet, wide], check=True)
    return {"": inputs.parquet, ", 1536 dimensions": wide}


def make_wide(source: str, target: str) -> None:
    """The first records of a file with vectors of 1536 dimensions."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(source).slice(0, pq.read_metadata(source).num_rows // NARROW_TO_WIDE)
    vectors = np.random.default_rng(data.SEED).standard_normal((len(rows), WIDE), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), WIDE)
    rows = rows.set_column(rows.schema.get_field_index("vector"), "vector", column)
    pq.write_table(rows, target, compression="zstd")


def load(name: str, path: Path, index: str) -> Contender:
    """We load a file."""
    return Contender(name, (VEX, "import", "--from", path, "--to", "pinecone", "--index", index))


def official(job: str, name: str, path: Path, index: str) -> Contender:
    """The official client does a job."""
    return Contender(name, (PYTHON, "-m", "benchmarks._pinecone", job, path, index))


# -- the official client --------------------------------------------------------------------------------


def opened(index: str, dim: int | None = None, *, grpc: bool = False) -> Any:
    """An index, made when it is missing and `dim` is known."""
    from pinecone import Pinecone, ServerlessSpec

    client = Pinecone(api_key=KEY, host=os.environ["PINECONE_CONTROLLER_HOST"], grpc_scheme="http")
    if dim is not None and not client.has_index(index):
        client.create_index(
            name=index, dimension=dim, metric="cosine", spec=ServerlessSpec(cloud="aws", region="us-east-1")
        )
    return client.index(name=index, grpc=grpc)


def client_load(path: str, name: str, *, grpc: bool) -> None:
    """As a script for this would: records of a namespace together, numpy rows, the client's own batches."""
    import pyarrow.parquet as pq

    index = None
    for batch in pq.ParquetFile(path).iter_batches(batch_size=4096):
        dim = batch.column("vector").type.list_size
        index = index or opened(name, dim, grpc=grpc)
        vectors = batch.column("vector").flatten().to_numpy().reshape(-1, dim)
        by_space: dict[str, list[dict[str, Any]]] = {}
        for row, vector in zip(batch.drop_columns("vector").to_pylist(), vectors, strict=True):
            metadata = json.loads(row["metadata"]) if row["metadata"] else {}
            kept = {key: value for key, value in metadata.items() if plain(value)}
            kept |= {key: row[key] for key in ("text", "model") if row[key] is not None}
            kept |= {"created_at": row["created_at"].isoformat()} if row["created_at"] is not None else {}
            one = {"id": row["id"], "values": vector, "metadata": kept}
            by_space.setdefault(row["namespace"] or "", []).append(one)
        for space, records in by_space.items():
            size = min(1_000, (PACKED_NUMBERS if grpc else REQUEST_NUMBERS) // dim)
            done = index.upsert(
                vectors=records, namespace=space, batch_size=size, max_concurrency=4, show_progress=False
            )
            assert not done.errors, done.errors[0]


def plain(value: Any) -> bool:
    """Whether Pinecone takes a value."""
    return isinstance(value, str | bool | int | float) or (
        isinstance(value, list) and all(isinstance(one, str) for one in value)
    )


def by_filter(index: Any, space: str) -> Read:
    """All records of a namespace that have a text, which all have here."""
    token = None
    while True:
        page = index.fetch_by_metadata(
            filter={"text": {"$exists": True}}, namespace=space, limit=10_000, pagination_token=token
        )
        yield from page.vectors.items()
        token = page.pagination.next if page.pagination else None
        if token is None:
            return


def by_ids(index: Any, space: str) -> Read:
    """All records of a namespace: the documented way."""
    for page in index.list(namespace=space, limit=100):
        yield from index.fetch(ids=[item.id for item in page], namespace=space).vectors.items()


def client_read(path: str, name: str, how: Callable[[Any, str], Read], *, grpc: bool) -> None:
    """Every record to one Parquet file, namespace by namespace, 4,096 at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = opened(name, grpc=grpc)
    dim = index.describe_index_stats().dimension
    types = {
        "id": pa.string(),
        "namespace": pa.string(),
        "vector": pa.list_(pa.float32(), dim),
        "metadata": pa.string(),
    }
    schema = pa.schema(list(types.items()))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["namespace"]) as out:
        spaces = [one.name for page in index.list_namespaces() for one in page]
        every = ((identity, space, found) for space in spaces for identity, found in how(index, space))
        while rows := list(islice(every, 4096)):
            flat = [(identity, space, found.values, json.dumps(found.metadata)) for identity, space, found in rows]
            columns = [list(column) for column in zip(*flat, strict=True)]
            out.write_batch(pa.record_batch(columns, schema=schema))


if __name__ == "__main__":
    (job, _, transport), path, index = sys.argv[1].partition("-"), *sys.argv[2:]
    if job == "wide":
        make_wide(path, index)
    elif job == "load":
        client_load(path, index, grpc=bool(transport))
    else:
        client_read(path, index, by_filter if job == "match" else by_ids, grpc=bool(transport))
