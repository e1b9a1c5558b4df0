"""Collections in Qdrant's own engine (Edge), behind the messages of its gRPC protocol, with the server's checks."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from qdrant_client.conversions.conversion import grpc_to_payload, json_to_value

# None of the three has types worth having.
grpc: Any = import_module("grpc")
q: Any = import_module("qdrant_client.grpc")
edge: Any = import_module("qdrant_edge")
Code = grpc.StatusCode
_DISTANCES = {q.Cosine: edge.Distance.Cosine, q.Euclid: edge.Distance.Euclid, q.Dot: edge.Distance.Dot}
_DISTANCES[q.Manhattan] = edge.Distance.Manhattan
_TYPES = {
    q.Datatype.Float16: edge.VectorStorageDatatype.Float16,
    q.Datatype.Uint8: edge.VectorStorageDatatype.Uint8,
}
_SCHEMAS = {
    q.FieldTypeKeyword: edge.PayloadSchemaType.Keyword,
    q.FieldTypeInteger: edge.PayloadSchemaType.Integer,
    q.FieldTypeFloat: edge.PayloadSchemaType.Float,
    q.FieldTypeBool: edge.PayloadSchemaType.Bool,
    q.FieldTypeText: edge.PayloadSchemaType.Text,
    q.FieldTypeDatetime: edge.PayloadSchemaType.Datetime,
    q.FieldTypeUuid: edge.PayloadSchemaType.Uuid,
    q.FieldTypeGeo: edge.PayloadSchemaType.Geo,
}
_DUMMY = "no vectors"  # Edge wants at least one


class Fault(Exception):
    """An answer that is an error; `retry_after` in seconds."""

    def __init__(self, code: Any, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class Collection:
    """A shard, and what the server says of it."""

    def __init__(self, folder: Path, request: Any) -> None:
        config = request.vectors_config
        single = config.WhichOneof("config") == "params"
        self.single = single
        self.vectors = {"": config.params} if single else dict(config.params_map.map.items())
        self.sparse = sorted(request.sparse_vectors_config.map)
        self.lock = threading.RLock()
        self.folder = folder
        self.schema: dict[str, Any] = {}
        self.config = _config(request)
        self.deferred = 0
        sparse = {name: edge.EdgeSparseVectorParams() for name in self.sparse}
        if not self.vectors and not sparse:
            sparse[_DUMMY] = edge.EdgeSparseVectorParams()
        dense = {name: _params(one) for name, one in self.vectors.items()}
        folder.mkdir(parents=True)
        self.shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=dense, sparse_vectors=sparse))

    def drop(self) -> None:
        self.shard.close()
        shutil.rmtree(self.folder)

    def info(self) -> Any:
        count = self.shard.count(edge.CountRequest(exact=True))
        queue = q.UpdateQueueInfo(length=0, deferred_points=self.deferred)
        return q.CollectionInfo(
            status=q.CollectionStatus.Green,
            optimizer_status=q.OptimizerStatus(ok=True),
            segments_count=1,
            config=self.config,
            payload_schema=self.schema,
            points_count=count,
            indexed_vectors_count=0,
            update_queue=queue,
        )

    # -- points -----------------------------------------------------------------------------------------------------

    def upsert(self, points: Any) -> None:
        strict = self.config.strict_mode_config
        if strict.enabled and strict.upsert_max_batchsize and len(points) > strict.upsert_max_batchsize:
            message = f'Bad request: Limit exceeded {len(points)} > {strict.upsert_max_batchsize} for "upsert limit".'
            raise Fault(Code.INVALID_ARGUMENT, message)
        made = [edge.Point(id_of(one.id), self._vectors(one), grpc_to_payload(one.payload)) for one in points]
        with self.lock:
            self.shard.update(edge.UpdateOperation.upsert_points(made))

    def _vectors(self, point: Any) -> Any:
        if not point.HasField("vectors"):
            raise Fault(Code.INVALID_ARGUMENT, "Expected some vectors")
        kind = point.vectors.WhichOneof("vectors_options")
        if kind is None:
            raise Fault(Code.INVALID_ARGUMENT, "No Vector Provided")
        named = {"": point.vectors.vector} if kind == "vector" else dict(point.vectors.vectors.vectors.items())
        return {name: self._vector(name, one) for name, one in named.items()}

    def _vector(self, name: str, vector: Any) -> Any:
        kind = vector.WhichOneof("vector")
        if name in self.sparse:
            return _sparse(vector.sparse if kind else q.SparseVector(values=vector.data, indices=vector.indices.data))
        if name not in self.vectors:
            raise Fault(Code.INVALID_ARGUMENT, f"Wrong input: Not existing vector name error: {name}")
        size = self.vectors[name].size
        multi = self.vectors[name].HasField("multivector_config")
        flat = list(vector.data)
        rows = [list(one.data) for one in vector.multi_dense.vectors] if kind == "multi_dense" else None
        if rows is None and vector.HasField("vectors_count"):
            each = len(flat) // max(vector.vectors_count, 1)
            rows = [flat[at : at + each] for at in range(0, len(flat), max(each, 1))]
        one = list(vector.dense.data) if kind == "dense" else flat
        for row in rows if rows is not None else [one]:
            if len(row) != size:
                message = f"Wrong input: Vector dimension error: expected dim: {size}, got {len(row)}"
                raise Fault(Code.INVALID_ARGUMENT, message)
        if multi != (rows is not None):
            raise Fault(Code.INVALID_ARGUMENT, "Wrong input: Conversion between multi and regular vectors failed")
        return rows if multi else one

    def _check_indexed(self, where: Any) -> None:
        """As strict mode does with `unindexed_filtering_retrieve` off; of the filters within filters, too."""
        for one in (*where.must, *where.should, *where.must_not):
            self._check_indexed(one.filter)
            if one.HasField("field") and one.field.key not in self.schema:
                message = (
                    f'Bad request: Index required but not found for "{one.field.key}" of one of the following types'
                )
                raise Fault(Code.INVALID_ARGUMENT, message)

    def scroll(self, request: Any) -> tuple[list[Any], Any]:
        strict = self.config.strict_mode_config
        limit = request.limit if request.HasField("limit") else 10
        if limit < 1:
            raise Fault(Code.INVALID_ARGUMENT, "Validation error in body: [limit: must be at least 1]")
        if strict.enabled and strict.max_query_limit and limit > strict.max_query_limit:
            message = f'Bad request: Limit exceeded {limit} > {strict.max_query_limit} for "limit".'
            raise Fault(Code.INVALID_ARGUMENT, message)
        free = strict.unindexed_filtering_retrieve or not strict.HasField("unindexed_filtering_retrieve")
        if strict.enabled and not free:
            self._check_indexed(request.filter)
        vectors = request.with_vectors
        wanted: Any = list(vectors.include.names) if vectors.HasField("include") else vectors.enable
        with self.lock:
            found, offset = self.shard.scroll(
                edge.ScrollRequest(
                    offset=id_of(request.offset) if request.HasField("offset") else None,
                    limit=limit,
                    filter=filter_of(request.filter) if request.HasField("filter") else None,
                    with_payload=_payload_selector(request.with_payload),
                    with_vector=wanted,
                )
            )
        return found, offset

    def retrieve(self, ids: Any, request: Any) -> list[Any]:
        vectors = request.with_vectors
        wanted: Any = list(vectors.include.names) if vectors.HasField("include") else vectors.enable
        with self.lock:
            return list(
                self.shard.retrieve([id_of(one) for one in ids], _payload_selector(request.with_payload), wanted)
            )

    def point(self, record: Any, *, old: bool = False) -> Any:
        """A RetrievedPoint; `old`: with the fields that older servers use."""
        found = q.RetrievedPoint(id=point_id(record.id))
        for key, value in (record.payload or {}).items():
            found.payload[key].CopyFrom(json_to_value(value))
        vectors = record.vector
        if vectors is None:
            return found
        named = vectors if isinstance(vectors, dict) else {"": vectors}
        named = {name: value for name, value in named.items() if name != _DUMMY}
        if set(named) == {""} and self.single:
            found.vectors.vector.CopyFrom(_output(named[""], old))
        else:
            found.vectors.vectors.SetInParent()
            for name, value in named.items():
                found.vectors.vectors.vectors[name].CopyFrom(_output(value, old))
        return found


class Engine:
    """All collections; `faults` are what the next calls of a method answer instead."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.collections: dict[str, Collection] = {}
        self.lock = threading.RLock()
        self.faults: list[dict[str, Any]] = []
        self.calls: Counter[str] = Counter()
        self.version = "1.19.0"
        self.old_vectors = False

    def enter(self, method: str) -> Fault | None:
        """Count a call, and fail it if that is what a test has asked for. The fault that is returned is the answer when
        the work is done ("lost")."""
        with self.lock:
            self.calls[method] += 1
            for fault in self.faults:
                if fault["method"] == method and fault["times"] > 0:
                    fault["times"] -= 1
                    made = Fault(Code[fault["code"]], fault.get("message", "injected"), fault.get("retry_after"))
                    if not fault.get("lost"):
                        raise made
                    return made
        return None

    def get(self, name: str) -> Collection:
        with self.lock:
            if name not in self.collections:
                raise Fault(Code.NOT_FOUND, f"Not found: Collection `{name}` doesn't exist!")
            return self.collections[name]

    def create(self, request: Any) -> None:
        name = request.collection_name
        if not name or len(name) > 255:
            raise Fault(Code.INVALID_ARGUMENT, "Validation error: collection_name")
        config = request.vectors_config
        every = [config.params] if config.HasField("params") else list(config.params_map.map.values())
        for one in every:
            if not 1 <= one.size <= 65536:
                raise Fault(Code.INVALID_ARGUMENT, f"Validation error: size {one.size}")
            if one.distance not in _DISTANCES:
                raise Fault(Code.INVALID_ARGUMENT, "Malformed distance parameter")
        with self.lock:
            if name in self.collections:
                raise Fault(Code.ALREADY_EXISTS, f"Wrong input: Collection `{name}` already exists!")
            self.collections[name] = Collection(self.folder / uuid.uuid4().hex, request)

    def update(self, request: Any) -> None:
        config = self.get(request.collection_name).config
        config.optimizer_config.MergeFrom(request.optimizers_config)
        config.hnsw_config.MergeFrom(request.hnsw_config)
        config.strict_mode_config.MergeFrom(request.strict_mode_config)
        for key, value in request.metadata.items():
            if value.WhichOneof("kind") == "null_value":
                config.metadata.pop(key, None)
            else:
                config.metadata[key].CopyFrom(value)

    def delete(self, name: str) -> bool:
        with self.lock:
            found = self.collections.pop(name, None)
        if found is not None:
            found.drop()
        return found is not None

    def index(self, request: Any) -> None:
        collection = self.get(request.collection_name)
        kind = _SCHEMAS[request.field_type]
        with collection.lock:
            collection.shard.update(edge.UpdateOperation.create_field_index(request.field_name, kind))
        info = q.PayloadSchemaInfo(data_type=request.field_type + 1)
        if request.HasField("field_index_params"):
            info.params.CopyFrom(request.field_index_params)
        collection.schema[request.field_name] = info

    def facet(self, request: Any) -> list[tuple[Any, int]]:
        collection = self.get(request.collection_name)
        if request.key not in collection.schema:
            raise Fault(Code.INVALID_ARGUMENT, f"Bad request: Index required but not found for {request.key}")
        limit = request.limit if request.HasField("limit") else 10
        with collection.lock:
            hits = collection.shard.facet(edge.FacetRequest(request.key, limit, request.exact)).hits
        return [(one.value, one.count) for one in hits]

    def count(self, request: Any) -> int:
        collection = self.get(request.collection_name)
        where = filter_of(request.filter) if request.HasField("filter") else None
        with collection.lock:
            return int(collection.shard.count(edge.CountRequest(exact=True, filter=where)))


def _config(request: Any) -> Any:
    params = q.CollectionParams(shard_number=request.shard_number or 1, on_disk_payload=request.on_disk_payload)
    params.vectors_config.CopyFrom(request.vectors_config)
    if request.HasField("sparse_vectors_config"):
        params.sparse_vectors_config.CopyFrom(request.sparse_vectors_config)
    params.replication_factor = params.write_consistency_factor = 1
    config = q.CollectionConfig(params=params)
    config.hnsw_config.MergeFrom(
        q.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10000, max_indexing_threads=0, on_disk=False)
    )
    config.hnsw_config.MergeFrom(request.hnsw_config)
    config.optimizer_config.MergeFrom(
        q.OptimizersConfigDiff(
            deleted_threshold=0.2,
            vacuum_min_vector_number=1000,
            default_segment_number=0,
            indexing_threshold=10000,
            flush_interval_sec=5,
        )
    )
    config.optimizer_config.MergeFrom(request.optimizers_config)
    config.wal_config.MergeFrom(q.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0, wal_retain_closed=1))
    if request.HasField("quantization_config"):
        config.quantization_config.CopyFrom(request.quantization_config)
    if request.HasField("strict_mode_config"):
        config.strict_mode_config.CopyFrom(request.strict_mode_config)
    for key, value in request.metadata.items():
        config.metadata[key].CopyFrom(value)
    return config


def _params(one: Any) -> Any:
    multi = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if one.HasField("multivector_config") else None
    return edge.EdgeVectorParams(
        one.size, _DISTANCES[one.distance], multivector_config=multi, datatype=_TYPES.get(one.datatype)
    )


def _sparse(vector: Any) -> Any:
    if len(vector.indices) != len(vector.values) or len(set(vector.indices)) != len(vector.indices):
        raise Fault(Code.INVALID_ARGUMENT, "Validation error: sparse indices must be unique and as many as values")
    return edge.SparseVector(list(vector.indices), list(vector.values))


def _output(value: Any, old: bool) -> Any:
    """A VectorOutput."""
    if isinstance(value, edge.SparseVector):
        if old:
            return q.VectorOutput(data=value.values, indices=q.SparseIndices(data=value.indices))
        return q.VectorOutput(sparse=q.SparseVector(values=value.values, indices=value.indices))
    if value and isinstance(value[0], list):
        if old:
            return q.VectorOutput(data=[x for row in value for x in row], vectors_count=len(value))
        return q.VectorOutput(multi_dense=q.MultiDenseVector(vectors=[q.DenseVector(data=row) for row in value]))
    return q.VectorOutput(data=value) if old else q.VectorOutput(dense=q.DenseVector(data=value))


def _payload_selector(selector: Any) -> Any:
    kind = selector.WhichOneof("selector_options")
    if kind == "include":
        return list(selector.include.fields)
    if kind == "exclude":
        return edge.PayloadSelector.Exclude(list(selector.exclude.fields))
    return selector.enable


def id_of(point: Any) -> Any:
    """An id as Edge has it."""
    kind = point.WhichOneof("point_id_options")
    if kind is None:
        raise Fault(Code.INVALID_ARGUMENT, "Empty ID is not allowed")
    if kind == "num":
        return point.num
    try:
        return uuid.UUID(point.uuid)
    except ValueError:
        raise Fault(Code.INVALID_ARGUMENT, f"Unable to parse UUID: {point.uuid}") from None


def point_id(value: Any) -> Any:
    """A PointId."""
    return q.PointId(num=value) if isinstance(value, int) else q.PointId(uuid=str(value))


# -- filters ------------------------------------------------------------------------------------------------------


def filter_of(where: Any) -> Any:
    """A filter of Edge for one of the protocol."""
    return edge.Filter(
        must=[_condition(one) for one in where.must] or None,
        should=[_condition(one) for one in where.should] or None,
        must_not=[_condition(one) for one in where.must_not] or None,
    )


def _condition(one: Any) -> Any:
    kind = one.WhichOneof("condition_one_of")
    if kind == "filter":
        return filter_of(one.filter)
    if kind == "is_empty":
        return edge.IsEmptyCondition(one.is_empty.key)
    if kind == "is_null":
        return edge.IsNullCondition(one.is_null.key)
    if kind == "has_id":
        return edge.HasIdCondition({id_of(point) for point in one.has_id.has_id})
    if kind == "has_vector":
        return edge.HasVectorCondition(one.has_vector.has_vector)
    if kind == "slice":
        return edge.SliceCondition(one.slice.total, one.slice.index)
    if kind == "field":
        return _field(one.field)
    raise Fault(Code.INVALID_ARGUMENT, "Malformed Condition type")


def _field(field: Any) -> Any:
    if field.HasField("range"):
        bounds = {one.name: value for one, value in field.range.ListFields()}
        return edge.FieldCondition(field.key, range=edge.RangeFloat(**bounds))
    match, kind = field.match, field.match.WhichOneof("match_value")
    if kind in ("keyword", "integer", "boolean"):
        return edge.FieldCondition(field.key, match=edge.MatchValue(getattr(match, kind)))
    if kind in ("keywords", "integers"):
        values = list(match.keywords.strings) if kind == "keywords" else list(match.integers.integers)
        return edge.FieldCondition(field.key, match=edge.MatchAny(values))
    if kind == "text":
        return edge.FieldCondition(field.key, match=edge.MatchText(match.text))
    raise Fault(Code.UNIMPLEMENTED, f"this face knows no match of {kind}")
