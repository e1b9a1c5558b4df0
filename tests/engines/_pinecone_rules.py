"""What Pinecone's documentation says of requests, as the emulator enforces it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

Json = dict[str, Any]
MOST_BYTES, MOST_RECORDS, MOST_METADATA, MOST_SPARSE = 2_000_000, 1_000, 40_960, 2_048
MOST_LISTED, MOST_FETCHED, MOST_MATCHED, MATCHED_BYTES = 100, 1_000, 10_000, 4_000_000
MOST_URL = 8_000
DENSE, SPARSE = "_values", "_sparse_values"
METRICS = ("cosine", "euclidean", "dotproduct")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?")


class Refusal(Exception):
    """A request is refused with a status and a message."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


@dataclass
class Record:
    """A stored record; `values` are float32, numbers in `metadata` are float64."""

    id: str
    values: np.ndarray | None
    sparse: Json | None
    metadata: Json


@dataclass
class Schema:
    """What an index holds: `fields` as described; vectors API when they are the reserved two names."""

    fields: Json
    dense: str | None = None
    sparse: str | None = None
    dim: int = 0
    metric: str = "dotproduct"
    documents: bool = False
    texts: Sequence[str] = field(default_factory=list)


def refuse(condition: object, message: str, status: int = 400) -> None:
    """Raise a Refusal when a condition holds."""
    if condition:
        raise Refusal(status, message)


def index_name(name: object) -> str:
    """A name that an index may have."""
    refuse(not isinstance(name, str) or not _NAME.fullmatch(name), f"Invalid index name: {name!r}")
    return str(name)


def schema_of(body: Json) -> Schema:
    """The schema of a new index (2026-07: a request is schema-only)."""
    for old in ("dimension", "metric", "spec", "vector_type"):
        refuse(old in body, f"Unknown field {old}: declare fields in schema", 422)
    fields = (body.get("schema") or {}).get("fields")
    refuse(not isinstance(fields, dict) or not fields, "schema.fields is required", 422)
    assert isinstance(fields, dict)
    found = Schema(fields)
    for name, one in fields.items():
        _declared(found, name, one)
    reserved = set(fields) <= {DENSE, SPARSE}
    refuse(not reserved and any(name[:1] in "_$" for name in fields), "Field names must not start with '_' or '$'")
    found.documents = not reserved
    return found


def _declared(found: Schema, name: str, one: Json) -> None:
    kind = one.get("type")
    refuse(not name or len(name.encode()) > 64, f"Invalid field name {name!r}")
    if kind == "dense_vector":
        refuse(found.dense is not None, "At most one dense_vector field is allowed")
        dim = one.get("dimension")
        refuse(not isinstance(dim, int) or not 1 <= dim <= 20_000, f"Invalid dimension {dim}")
        refuse(one.get("metric") not in METRICS, f"Invalid metric {one.get('metric')}")
        found.dense, found.dim, found.metric = name, int(one["dimension"]), str(one["metric"])
    elif kind == "sparse_vector":
        refuse(found.sparse is not None, "At most one sparse_vector field is allowed")
        refuse(set(one) - {"type", "description"}, "a sparse_vector field has no other options")
        found.sparse = name
    else:
        searched = kind == "string" and one.get("full_text_search") is not None
        refuse(not searched, f"Field {name!r} of type {kind!r} cannot be declared: it is no searched field")
        found.texts = [*found.texts, name]


# -- records --------------------------------------------------------------------------------------------


def identity(value: object) -> str:
    """1 to 512 ASCII characters without NUL."""
    refuse(not isinstance(value, str), "Vector ID must be a string")
    text = str(value)
    refuse(not 1 <= len(text) <= 512, f"Vector ID must be 1 to 512 characters, got {len(text)}")
    refuse(not text.isascii() or "\0" in text, "Vector ID must be ASCII without null characters")
    return text


def namespace(name: object) -> str:
    """The namespace that is meant: "" is the default one."""
    refuse(not isinstance(name, str), "namespace must be a string")
    text = str(name)
    refuse(len(text) > 512 or not text.isascii() or "\0" in text, "namespace must be 1 to 512 ASCII characters")
    return "" if text == "__default__" else text


def dense(values: object, dim: int) -> np.ndarray:
    """The vector as float32, from JSON or, an array, from gRPC."""
    refuse(not isinstance(values, list | np.ndarray), "values must be a list of numbers")
    assert isinstance(values, list | np.ndarray)
    refuse(len(values) != dim, f"Vector dimension {len(values)} does not match the dimension of the index {dim}")
    of_numbers = isinstance(values, np.ndarray) or all(one.__class__ in (int, float) for one in values)
    refuse(not of_numbers, "values must be a list of numbers")
    numbers = np.array(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        vector = numbers.astype(np.float32)
    refuse(not np.isfinite(vector).all(), "values must be finite float32 numbers")
    refuse(not vector.any(), "Dense vectors must contain at least one non-zero value")
    return vector


def sparse(pair: object) -> Json:
    """Indices and values."""
    refuse(not isinstance(pair, dict) or set(pair) != {"indices", "values"}, "sparse values need indices and values")
    assert isinstance(pair, dict)
    indices, values = pair["indices"], pair["values"]
    refuse(len(indices) != len(values), "Sparse indices and values must have the same length")
    refuse(not indices, "Sparse vector must contain at least one value")
    refuse(len(indices) > MOST_SPARSE, f"Sparse vector size {len(indices)} exceeds the maximum {MOST_SPARSE}")
    refuse(any(one.__class__ is not int or not 0 <= one < 1 << 32 for one in indices), "Sparse indices must be uint32")
    refuse(len(set(indices)) < len(indices), "Sparse indices must be unique")
    refuse(any(one.__class__ not in (int, float) for one in values), "Sparse values must be numbers")
    return {"indices": indices, "values": np.array(values, dtype=np.float32)}


def metadata(found: object, *, barred: str, texts: Sequence[str] = ()) -> Json:
    """Metadata as it is stored: nulls are gone, numbers are float64."""
    refuse(not isinstance(found, dict), "metadata must be an object")
    assert isinstance(found, dict)
    kept: Json = {}
    for key, value in found.items():
        refuse(not key or key[0] in barred, f"Invalid field name {key!r}")
        if value is not None:
            kept[key] = _member(key, value)
    size = len(orjson.dumps({key: value for key, value in kept.items() if key not in texts}))
    refuse(
        size > MOST_METADATA,
        f"Metadata size is {size} bytes, which exceeds the limit of {MOST_METADATA} bytes per vector",
    )
    return kept


def _member(key: str, value: Any) -> Any:
    kind = value.__class__
    if kind is int:
        return float(value)
    good = kind in (str, bool, float) or (kind is list and all(one.__class__ is str for one in value))
    refuse(
        not good,
        f"Metadata value must be a string, number, boolean or list of strings, got {str(value)[:40]!r} for {key!r}",
    )
    return value


# -- filters --------------------------------------------------------------------------------------------


def matches(record: Mapping[str, Any], conditions: Json) -> bool:
    """Whether metadata meets a filter: $and, $or, $exists, $eq, $ne, $in, $nin, and comparisons of numbers."""
    return all(_holds(record, key, value) for key, value in conditions.items())


def _holds(record: Mapping[str, Any], key: str, asked: Any) -> bool:
    if key == "$and":
        return all(matches(record, one) for one in asked)
    if key == "$or":
        return any(matches(record, one) for one in asked)
    refuse(key.startswith("$"), f"the operator {key} is not allowed here")
    asked = asked if isinstance(asked, dict) else {"$eq": asked}
    return all(_compares(record.get(key), key in record, operator, wanted) for operator, wanted in asked.items())


def _compares(value: Any, there: bool, operator: str, wanted: Any) -> bool:
    several = value if isinstance(value, list) else [value]
    if operator == "$exists":
        return there == bool(wanted)
    if operator in ("$eq", "$in"):
        return there and any(one in (wanted if operator == "$in" else [wanted]) for one in several)
    if operator in ("$ne", "$nin"):
        return not any(one in (wanted if operator == "$nin" else [wanted]) for one in several)
    compared = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
    refuse(operator not in compared or wanted.__class__ not in (int, float), f"{operator} is not supported here")
    if not isinstance(value, float):
        return False
    found = {"$gt": value > wanted, "$gte": value >= wanted, "$lt": value < wanted, "$lte": value <= wanted}
    return bool(found[operator])
