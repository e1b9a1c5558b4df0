"""Imports of the Pinecone emulator: Parquet or JSON lines from S3, whose server the environment names."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from tests.engines import _pinecone_rules as rules
from tests.engines import _pinecone_store as store
from tests.engines._pinecone_rules import Json, Record, Refusal, refuse
from tests.engines._pinecone_store import Index

if TYPE_CHECKING:
    from tests.engines.pinecone import Emulator

_LIST = pa.list_(pa.float32())
_SPARSE = pa.struct([("indices", pa.list_(pa.uint32())), ("values", _LIST)])
TYPES = {"id": pa.string(), "values": _LIST, "sparse_values": _SPARSE, "metadata": pa.string()}


def answer(emulator: Emulator, index: Index, method: str, name: str, told: Json) -> Json:
    """Start, describe, list and cancel."""
    if method == "POST":
        return _start(emulator, index, told)
    if not name:
        return _listed(index, int(told.get("limit", 100)), told.get("paginationToken"))
    refuse(name not in index.imports, f"import {name} not found", 404)
    job = index.imports[name]
    if method == "DELETE":
        job["status"] = "Cancelled"
        return {}
    for one in index.imports.values():
        _further(index, one)
    return _shown(job)


def _shown(job: Json) -> Json:
    return {key: value for key, value in job.items() if not key.startswith("_")}


def _listed(index: Index, limit: int, token: str | None) -> Json:
    refuse(not 1 <= limit <= 100, "limit must be 1 to 100")
    index.unlisted -= 1
    if index.unlisted >= 0:
        return {"data": []}
    refuse(token is not None and token not in index.imports, "Invalid pagination token")
    names = list(index.imports)
    start = names.index(token) + 1 if token is not None else 0
    page = names[start : start + limit]
    more = {"pagination": {"next": page[-1]}} if start + limit < len(names) else {}
    return {"data": [_shown(index.imports[name]) for name in page], **more}


def _start(emulator: Emulator, index: Index, told: Json) -> Json:
    uri = str(told.get("uri", ""))
    refuse(not uri.startswith(("s3://", "gs://", "https://")), f"Invalid uri {uri!r}")
    refuse(uri.startswith("s3://") and index.deployment.get("cloud") != "aws", "S3 imports need an index on AWS")
    mode = (told.get("errorMode") or {}).get("onError", "abort")
    refuse(mode not in ("abort", "continue"), f"Invalid onError {mode!r}")
    name = uuid.uuid4().hex
    index.imports[name] = {
        "id": name,
        "uri": uri,
        "status": "Pending",
        "createdAt": "2026-11-22T00:00:00Z",
        "percentComplete": 0.0,
        "recordsImported": 0,
        "_environment": dict(emulator.import_environment),
        "_error": emulator.import_error,
    }
    return {"id": name}


def _further(index: Index, job: Json) -> None:
    """Time passes for all jobs whenever one is looked at."""
    if job["status"] == "Pending":
        job["status"] = "InProgress"
    elif job["status"] == "InProgress":
        _finish(index, job)


def _finish(index: Index, job: Json) -> None:
    try:
        refuse(job["_error"], str(job["_error"]))
        found = _read(index, job)
    except (Refusal, OSError, pa.ArrowException, ValueError) as error:
        job |= {"status": "Failed", "error": str(error)[:500]}
        return
    for space, records in found.items():
        index.write(space, records)
    job |= {"status": "Completed", "percentComplete": 100.0, "recordsImported": sum(map(len, found.values()))}


def _read(index: Index, job: Json) -> dict[str, list[Record]]:
    import s3fs

    environment = job["_environment"]
    s3 = s3fs.S3FileSystem(
        key=environment.get("AWS_ACCESS_KEY_ID"),
        secret=environment.get("AWS_SECRET_ACCESS_KEY"),
        client_kwargs={"endpoint_url": environment.get("AWS_ENDPOINT_URL"), "region_name": "us-east-1"},
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    base = str(job["uri"]).removeprefix("s3://").rstrip("/")
    files = [name for name in s3.find(base) if not name.endswith("/")]
    refuse(not files, f"no files found at {job['uri']}")
    found: dict[str, list[Record]] = {}
    for name in sorted(files):
        parts = name[len(base) + 1 :].split("/")
        refuse(len(parts) != 2, f"{name}: files must be in one directory per namespace")
        space = rules.namespace(parts[0])
        refuse(index.space(space), f"namespace {parts[0]} already exists")
        with s3.open(name, "rb") as stream:
            found.setdefault(space, []).extend(_records(index, parts[1], stream))
    return found


def _records(index: Index, name: str, stream: Any) -> list[Record]:
    if index.schema.documents:
        refuse(not name.endswith(".jsonl"), f"{name}: document indexes import .jsonl")
        lines = [orjson.loads(line) for line in stream.read().splitlines()]
        return [store.documents(index, {"documents": [line]})[0] for line in lines]
    refuse(not name.endswith(".parquet"), f"{name}: vector indexes import .parquet")
    table = pq.read_table(pa.BufferReader(stream.read()))
    for column in table.schema:
        wanted = TYPES.get(column.name)
        refuse(wanted is None, f"{name}: unexpected column {column.name}")
        refuse(not column.type.equals(wanted), f"{name}: column {column.name} is {column.type}, not {wanted}")
    refuse(not {"id", "values"} <= set(table.schema.names), f"{name}: the columns id and values are required")
    return [_row(index, row) for row in table.to_pylist()]


def _row(index: Index, row: Json) -> Record:
    one: Json = {"id": row["id"], "values": row["values"]}
    if row.get("sparse_values") is not None:
        one["sparseValues"] = row["sparse_values"]
    if row.get("metadata") is not None:
        one["metadata"] = orjson.loads(row["metadata"])
    return store.vectors(index, {"vectors": [one]})[0]
