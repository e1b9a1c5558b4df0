"""Schema of the Weaviate emulator: what a server takes, the defaults that it fills in, and the words of its errors.

Limits, defaults and messages are those of Weaviate 1.39, seen on a real server.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

CLASS = re.compile(r"[A-Z][_0-9A-Za-z]{0,254}")
PROPERTY = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,230}")
VECTOR = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,229}")
TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")
RESERVED = ("id", "vector", "_additional", "_id")
DISTANCES = ("cosine", "dot", "l2-squared", "manhattan", "hamming")
SCALARS = ("text", "int", "number", "boolean", "date", "uuid", "blob", "geoCoordinates", "phoneNumber", "object")
ARRAYS = tuple(f"{one}[]" for one in ("text", "int", "number", "boolean", "date", "uuid", "object"))
_LATER: Mapping[str, Any] = {"skipDefaultQuantization": False, "trackDefaultQuantization": False}
_LESS: Mapping[str, Any] = {"enabled": False, "cache": False, "rescoreLimit": -1}
_HNSW: Mapping[str, Any] = {
    **_LATER,
    "skip": False,
    "cleanupIntervalSeconds": 300,
    "maxConnections": 32,
    "efConstruction": 128,
    "ef": -1,
    "dynamicEfMin": 100,
    "dynamicEfMax": 500,
    "dynamicEfFactor": 8,
    "vectorCacheMaxObjects": 1_000_000_000_000,
    "flatSearchCutoff": 40_000,
    "distance": "cosine",
    "filterStrategy": "acorn",
    "pq": {
        "enabled": False,
        "bitCompression": False,
        "segments": 0,
        "centroids": 256,
        "trainingLimit": 100_000,
        "encoder": {"type": "kmeans", "distribution": "log-normal"},
    },
    "bq": {"enabled": False},
    "rq": {"enabled": False, "bits": 8, "rescoreLimit": 20},
    "sq": {"enabled": False, "trainingLimit": 100_000, "rescoreLimit": 20},
    "multivector": {
        "enabled": False,
        "muvera": {"enabled": False, "ksim": 4, "dprojections": 16, "repetitions": 10},
        "aggregation": "maxSim",
    },
}
_FLAT: Mapping[str, Any] = {
    **_LATER,
    "distance": "cosine",
    "vectorCacheMaxObjects": 1_000_000_000_000,
    "pq": _LESS,
    "bq": _LESS,
    "rq": {**_LESS, "bits": 8},
    "sq": _LESS,
}
_HFRESH: Mapping[str, Any] = {
    "distance": "cosine",
    "maxPostingSizeKB": 48,
    "replicas": 4,
    "rq": {"enabled": True, "bits": 1, "rescoreLimit": 350},
    "searchProbe": 256,
}
INDEX: Mapping[str, Mapping[str, Any]] = {"hnsw": _HNSW, "flat": _FLAT, "hfresh": _HFRESH}
CLASS_DEFAULTS: Mapping[str, Any] = {
    "invertedIndexConfig": {
        "bm25": {"b": 0.75, "k1": 1.2},
        "cleanupIntervalSeconds": 60,
        "stopwords": {"additions": None, "preset": "en", "removals": None},
        "usingBlockMaxWAND": True,
    },
    "replicationConfig": {"factor": 1, "asyncEnabled": False, "deletionStrategy": "TimeBasedResolution"},
    "shardingConfig": {
        "actualCount": 1,
        "actualVirtualCount": 128,
        "desiredCount": 1,
        "desiredVirtualCount": 128,
        "function": "murmur3",
        "key": "_id",
        "strategy": "hash",
        "virtualPerPhysical": 128,
    },
}


class Problem(Exception):
    """What a server refuses, with the HTTP status of its answer."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class ShardProblem(Problem):
    """What a whole shard refuses: the answer to a batch names the first of its objects alone."""


def completed(body: Mapping[str, Any]) -> dict[str, Any]:
    """A new class with all its defaults. Raises Problem."""
    name = str(body.get("class") or "")
    name = name[:1].upper() + name[1:]
    if not CLASS.fullmatch(name):
        raise Problem(f"'{name}' is not a valid class name")
    named = body.get("vectorConfig") or {}
    if named and ("vectorIndexConfig" in body or "vectorIndexType" in body or "vectorizer" in body):
        raise Problem("creating a class with both a class level vector index and named vectors is forbidden")
    done = {**copy.deepcopy(dict(CLASS_DEFAULTS)), **copy.deepcopy(dict(body)), "class": name, "properties": []}
    tenancy = {"enabled": False, "autoTenantCreation": False, "autoTenantActivation": False}
    done["multiTenancyConfig"] = {**tenancy, **(body.get("multiTenancyConfig") or {})}
    if done["multiTenancyConfig"]["enabled"]:
        done["shardingConfig"] = {}
    if named:
        done["vectorConfig"] = {key: vector(key, one) for key, one in named.items()}
    else:
        done |= {"vectorizer": body.get("vectorizer") or "none", **index(body)}
        modules(done["vectorizer"])
    for one in body.get("properties") or ():
        add_property(done, one)
    return done


def vector(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """One named vector with its defaults. Raises Problem."""
    if not VECTOR.fullmatch(name):
        raise Problem(f'class.VectorConfig target vector name "{name}" is not valid')
    for one in body.get("vectorizer") or {}:
        modules(one)
    return {"vectorizer": body.get("vectorizer") or {"none": {}}, **index(body)}


def modules(name: str) -> None:
    """Raises Problem for a vectorizer, of which this server has none."""
    if name != "none":
        raise Problem(f'vectorizer: no module with name "{name}" present')


def index(body: Mapping[str, Any]) -> dict[str, Any]:
    """Kind and parameters of an index. Raises Problem."""
    kind = body.get("vectorIndexType") or "hnsw"
    if kind == "dynamic":
        raise Problem("the dynamic index can only be created when async indexing is enabled")
    if kind not in INDEX:
        raise Problem(f'unrecognized or unsupported vectorIndexType "{kind}"')
    config = {**copy.deepcopy(dict(INDEX[kind])), **(body.get("vectorIndexConfig") or {})}
    if config["distance"] not in DISTANCES:
        raise Problem(f'unrecognized distance metric "{config["distance"]}",choose one of {list(DISTANCES)}')
    return {"vectorIndexType": kind, "vectorIndexConfig": config}


def add_property(schema: dict[str, Any], body: Mapping[str, Any]) -> None:
    """Add a property with its defaults. Raises Problem."""
    name, kinds = str(body.get("name") or ""), list(body.get("dataType") or ())
    if not PROPERTY.fullmatch(name):
        raise Problem(f"'{name}' is not a valid property name")
    if name in RESERVED:
        raise Problem(f"'{name}' is a reserved property name")
    if any(one["name"].lower() == name.lower() for one in schema["properties"]):
        message = f'conflict for property "{name}": already in use or provided multiple times'
        raise Problem(f'class "{schema["class"]}": {message}')
    for kind in kinds or [""]:
        if kind not in (*SCALARS, *ARRAYS) and not CLASS.fullmatch(kind):
            raise Problem(f"property '{name}': invalid dataType: [{kind}]: unknown primitive data type '{kind}'")
    texts = kinds[0] in ("text", "text[]")
    if body.get("indexSearchable") and not texts:
        raise Problem("`indexSearchable` is allowed only for text/text[] data types")
    if body.get("tokenization") and not texts:
        raise Problem(f"tokenization is not allowed for data type '{kinds[0]}'")
    defaults = {"indexFilterable": kinds[0] != "blob", "indexSearchable": texts, "indexRangeFilters": False}
    if texts:
        defaults["tokenization"] = "word"
    given = {key: value for key, value in body.items() if value is not None and key != "moduleConfig"}
    schema["properties"].append({**defaults, **given})


def updated(old: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """A class after a PUT, which may add named vectors and change a few parameters. Raises Problem."""
    if {one["name"] for one in body.get("properties") or ()} != {one["name"] for one in old["properties"]}:
        raise Problem("property fields other than description cannot be updated through updating the class")
    named, known = body.get("vectorConfig") or {}, old.get("vectorConfig") or {}
    if not known.keys() <= named.keys():
        raise Problem("missing config for vector")
    new = {key: known[key] if key in known else vector(key, one) for key, one in named.items()}
    return {**old, "vectorConfig": new} if new else dict(old)


# -- values -----------------------------------------------------------------------------------------------


def checked(schema: Mapping[str, Any], name: str, kind: str, value: Any) -> Any:
    """A value as it is stored. Raises Problem when it is not of the property's type."""
    if value is None:
        return None
    if kind.endswith("[]"):
        if not isinstance(value, list):
            raise _wrong(schema, name, kind, f"not an array, but {type(value).__name__}")
        return [checked(schema, name, kind[:-2], one) for one in value]
    if kind in _FITS and not _FITS[kind](value):
        words = _WORDS.get(kind, "not of that type, but {type}").format(value=value, type=type(value).__name__)
        raise _wrong(schema, name, "integer" if kind == "int" else kind, words)
    if kind in ("int", "number"):
        return float(value) if kind == "number" else int(float(value))  # the server keeps integers as floats
    return str(UUID(value)) if kind == "uuid" else value


def _wrong(schema: Mapping[str, Any], name: str, kind: str, message: str) -> Problem:
    return Problem(f"invalid {kind} property '{name}' on class '{schema['class']}': {message}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and "T" in value and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def is_uuid(value: Any) -> bool:
    """Whether a text is a UUID."""
    try:
        UUID(value)
    except (ValueError, AttributeError, TypeError):
        return False
    return True


_WORDS: Mapping[str, str] = {
    "int": "the JSON number '{value}' could not be converted to an int",
    "date": "requires a string with a RFC3339 formatted date, but the given value is '{value}'",
}
_FITS: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "blob": lambda value: isinstance(value, str),
    "number": _is_number,
    "int": lambda value: _is_number(value) and float(value).is_integer(),
    "boolean": lambda value: isinstance(value, bool),
    "date": _is_date,
    "uuid": is_uuid,
    "object": lambda value: isinstance(value, dict),
    "geoCoordinates": lambda value: isinstance(value, dict) and {"latitude", "longitude"} <= value.keys(),
    "phoneNumber": lambda value: isinstance(value, dict) and "input" in value,
}


def widen(body: dict[str, Any], value: Any) -> None:
    """Give the property of an object the properties that it does not have yet, as auto-schema does."""
    known = body.setdefault("nestedProperties", [])
    for one in value if isinstance(value, list) else [value]:
        for name, inside in one.items():
            found = next((each for each in known if each["name"] == name), None)
            if found is None:
                found = {"name": name, "dataType": [guessed(inside)]}
                known.append(found)
            if found["dataType"][0] in ("object", "object[]") and inside is not None:
                widen(found, inside)


def guessed(value: Any) -> str:
    """The type that auto-schema gives to a value."""
    if isinstance(value, list):
        return f"{guessed(value[0])}[]" if value else "text[]"
    if isinstance(value, bool):
        return "boolean"
    if _is_number(value):
        return "number"
    if isinstance(value, dict):
        return "object"
    return "date" if _is_date(value) else "uuid" if is_uuid(value) else "text"
