"""What a collection holds, and the settings of one that is carried over to another."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vexarrow.errors import SchemaError, UsageError
from vexarrow.metrics import metric

from ._qdrant_client import stubs

DENSE, SPARSE, MULTI = "dense", "sparse", "multi"
_PREFIXES = {DENSE: "vector:", SPARSE: "sparse:", MULTI: "multi:"}
MAIN = "vector"
_USUAL = ("", "vector", "default", "dense", "text")
DISTANCES = {"cosine": "Cosine", "dot": "Dot", "euclidean": "Euclid", "manhattan": "Manhattan"}
# Kept in the metadata of a collection while it is loaded: what its indexing threshold has to become again.
LOADING = "vexarrow_loading"


@dataclass(frozen=True)
class Space:
    """One of the vectors that points of a collection have. `column` is where it is in a record batch, `datatype` what
    the server holds, a name of the protocol's enum Datatype."""

    name: str
    kind: str
    dim: int | None
    metric: str | None
    column: str
    datatype: str = "Default"

    @property
    def cosine(self) -> bool:
        """True when the server brings vectors to length 1; it does not where it holds bytes."""
        return self.metric == "cosine" and self.kind != SPARSE and self.datatype != "Uint8"


@dataclass(frozen=True)
class Collection:
    """A collection: its vectors, `main` the one that is the `vector` of a record, and the server's own description."""

    spaces: Sequence[Space]
    main: Space | None
    info: Any

    @property
    def strict(self) -> Any:
        """The limits of strict mode, None where it is off."""
        config = self.info.config
        return config.strict_mode_config if config.strict_mode_config.enabled else None

    def filters(self, key: str) -> bool:
        """Whether the server filters by a payload key: strict mode can refuse to for keys without an index."""
        strict = self.strict
        refuses = strict and strict.HasField("unindexed_filtering_retrieve") and not strict.unindexed_filtering_retrieve
        return not refuses or self.indexed(key)

    def indexed(self, key: str) -> bool:
        """Whether a payload key has a keyword index."""
        schema = self.info.payload_schema
        return key in schema and schema[key].data_type == stubs().collections.PayloadSchemaType.Value("Keyword")


def collection_of(info: Any, wanted: str | None, place: str) -> Collection:
    """The collection that a CollectionInfo describes; `wanted` names its main vector. Raises UsageError."""
    found = list(_found(info))
    dense = sorted((one for one in found if one.kind == DENSE), key=lambda one: one.name)
    main = _main(dense, wanted, place)
    spaces = [one if one != main else replace(one, column=MAIN) for one in found]
    return Collection(spaces, next((one for one in spaces if one.column == MAIN), None), info)


def _main(dense: Sequence[Space], wanted: str | None, place: str) -> Space | None:
    if wanted is not None:
        for one in dense:
            if one.name == wanted:
                return one
        names = ", ".join(repr(one.name) for one in dense) or "none"
        raise UsageError(f"{place} has no dense vector {wanted!r} (--vector-name); its dense vectors: {names}")
    usual = (one for name in _USUAL for one in dense if one.name == name)
    return next(usual, dense[0] if dense else None)


def _found(info: Any) -> list[Space]:
    params = info.config.params
    config = params.vectors_config
    single = config.HasField("params")
    listed = {"": config.params} if single else dict(config.params_map.map.items())
    spaces = []
    for name, one in sorted(listed.items()):
        kind = MULTI if one.HasField("multivector_config") else DENSE
        pb = stubs().collections
        distance, datatype = metric(pb.Distance.Name(one.distance)), pb.Datatype.Name(one.datatype)
        spaces.append(Space(name, kind, one.size, distance, _PREFIXES[kind] + name, datatype))
    names = sorted(params.sparse_vectors_config.map)
    return spaces + [Space(name, SPARSE, None, "dot", _PREFIXES[SPARSE] + name) for name in names]


# -- settings -------------------------------------------------------------------------------------------


def plain(message: Any) -> dict[str, Any]:
    """A message as JSON-like values."""
    json_format: Any = importlib.import_module("google.protobuf.json_format")
    out: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return out


def settings_of(collection: Collection) -> dict[str, Any]:
    """What makes a new collection like this one, JSON-like."""
    config = collection.info.config
    params = plain(config.params)
    vectors = params.get("vectors_config", {})
    by_name = {"": vectors["params"]} if "params" in vectors else vectors.get("params_map", {}).get("map", {})
    schema = collection.info.payload_schema
    return {
        "vector_name": collection.main.name if collection.main else None,
        "vectors": by_name,
        "sparse_vectors": params.get("sparse_vectors_config", {}).get("map", {}),
        "on_disk_payload": params.get("on_disk_payload", False),
        "hnsw_config": plain(config.hnsw_config),
        "optimizers_config": _without_threads(plain(config.optimizer_config)),
        "quantization_config": plain(config.quantization_config) if config.HasField("quantization_config") else None,
        "payload_indexes": {name: plain(one) for name, one in sorted(schema.items())},
    }


def _without_threads(config: dict[str, Any]) -> dict[str, Any]:
    """Optimizer settings but those that fit one machine."""
    return {key: value for key, value in config.items() if not key.endswith("_threads")}


def create_request(
    name: str, dim: int | None, distance: str, further: Mapping[str, int | None], given: Mapping[str, Any], main: str
) -> Any:
    """The CreateCollection message for a new collection.

    `further`: columns of further vectors with their dimensions. `given`: the settings of the source, if it is of our
    kind. `main`: the name of the record's vector, "" for none. Raises SchemaError for settings that make no sense.
    """
    pb = stubs().collections
    request = pb.CreateCollection(collection_name=name)
    dense: dict[str, Any] = {} if dim is None else {main: _params(dim, distance, given, given.get("vector_name"), main)}
    for column, size in further.items():
        kind, _, other = column.partition(":")
        if kind == SPARSE:
            parse(given.get("sparse_vectors", {}).get(other), request.sparse_vectors_config.map[other])
        elif size is not None:
            dense[other] = _params(size, distance, given, other, other)
            if kind == MULTI:
                dense[other].multivector_config.comparator = pb.MultiVectorComparator.MaxSim
    if list(dense) == [""]:
        request.vectors_config.params.CopyFrom(dense[""])
    else:
        request.vectors_config.params_map.SetInParent()
        for key, one in dense.items():
            request.vectors_config.params_map.map[key].CopyFrom(one)
    for key in ("hnsw_config", "quantization_config", "optimizers_config"):
        if given.get(key):
            parse(given[key], getattr(request, key))
    if given.get("on_disk_payload") is not None:
        request.on_disk_payload = bool(given["on_disk_payload"])
    return request


def _params(size: int, distance: str, given: Mapping[str, Any], like: str | None, name: str) -> Any:
    """VectorParams of a size, otherwise like those of a vector of the source."""
    pb = stubs().collections
    params = pb.VectorParams()
    known = given.get("vectors", {}).get(like) if like is not None else None
    parse({key: value for key, value in (known or {}).items() if key != "multivector_config"}, params)
    params.size = size
    if name != like or not known or like == given.get("vector_name"):
        params.distance = pb.Distance.Value(distance)
    return params


def parse(values: Any, message: Any) -> None:
    """Read JSON-like values into a message. Raises SchemaError."""
    json_format: Any = importlib.import_module("google.protobuf.json_format")
    message.SetInParent()
    try:
        json_format.ParseDict(values or {}, message, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise SchemaError(f"the settings of a Qdrant collection cannot be carried over: {error}") from None


def distance_of(name: str | None, place: str) -> str:
    """The server's word for a metric; cosine where none is known. Raises SchemaError."""
    known = metric(name) or "cosine"
    if known not in DISTANCES:
        raise SchemaError(f"{place}: Qdrant has no metric {known}; --metric chooses one of {', '.join(DISTANCES)}")
    return DISTANCES[known]
