"""Writing a collection: upserts that wait until they are applied, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records, sound
from vexarrow.delivery import by_size, deliver
from vexarrow.errors import NotFound, Refused, SchemaError, TransientError, Unsupported, VexError
from vexarrow.payload import FIELDS
from vexarrow.protocols import Description, Reject

from ._qdrant_client import Client
from ._qdrant_ids import ids_of
from ._qdrant_points import STORE, upsert
from ._qdrant_schema import LOADING, MAIN, SPARSE, Collection, collection_of, create_request, distance_of, parse
from ._qdrant_values import read

_MOST_BYTES, _MOST_ROWS, _FEWEST_ROWS = 4 << 20, 1000, 64
_ROW_BYTES = 200


class PointSink:
    """One collection. A collection that it creates builds its search index in `finish`, or when the run fails."""

    def __init__(self, client: Client, *, creates: bool, vector_name: str | None) -> None:
        self._client = client
        self._pb = client.pb
        self._creates = creates
        self._vector_name = vector_name
        self._collection: Collection | None = None
        self._plan = Description()
        self._threshold: int | None = None

    def existing(self) -> Description | None:
        """The collection as it is, None for none."""
        found = self._look()
        return None if found is None else self._described(found, rows=self._client.count())

    def _look(self) -> Collection | None:
        try:
            return collection_of(self._client.info(), self._vector_name, self._client.at.place)
        except NotFound:
            return None

    def _described(self, found: Collection, rows: int | None = None) -> Description:
        main = found.main
        further = {one.column: one.dim for one in found.spaces if one.column != MAIN}
        dim, metric = (main.dim, main.metric) if main else (None, None)
        return Description(dim=dim, metric=metric, rows=rows, source_store=STORE, vectors=further)

    # -- preparing --------------------------------------------------------------------------------------------------

    def prepare(self, plan: Description) -> Description:
        """Create the collection if it is missing; as soon as its dimensions are known, which may be at the first batch.

        Raises NotFound when it must not be created, and SchemaError for a metric that Qdrant does not have.
        """
        self._plan = plan
        self._collection = self._look()
        if self._collection is None:
            if not self._creates:
                raise NotFound(f"{self._client.at.place} is not there, and --auto-create false forbids to create it")
            distance_of(plan.metric, self._client.at.place)
            if plan.dim is None or any(dim is None for name, dim in plan.vectors.items() if not _is_sparse(name)):
                return Description(metric=plan.metric, source_store=STORE)
            self._create(plan.dim, plan.vectors)
        else:
            self._resume_bulk(self._collection)
        assert self._collection is not None  # noqa: S101 - what was just looked up or created
        return self._described(self._collection)

    def _create(self, dim: int | None, further: Mapping[str, int | None]) -> None:
        given = self._plan.settings.get(STORE, {})
        named = any(not _is_sparse(column) for column in further)
        main = self._vector_name or str(given.get("vector_name") or "") or ("vector" if named else "")
        distance = distance_of(self._plan.metric, self._client.at.place)
        request = create_request(self._client.at.collection, dim, distance, further, given, main)
        ours, found = self._make(request), self._look()
        if found is not None and _like(found, request):
            if dim is not None:
                self._vector_name = main
                found = collection_of(found.info, main, self._client.at.place)
            if ours:
                self._index_payload(given.get("payload_indexes"))
                self._begin_bulk(found)
        self._collection = found

    def _make(self, request: Any) -> bool:
        """Create the collection; False where another writer was faster.

        A try whose answer was lost may have created it, and then the next one is refused. Where it was another writer
        after all, all that follows is done twice and is the same then.
        """
        tries = 0

        def attempt() -> None:
            nonlocal tries
            tries += 1
            self._client.once("Collections/Create", request, self._pb.collections.CollectionOperationResponse)

        try:
            self._client.requests.call(attempt)
        except Refused:
            if self._look() is None:
                raise  # the request makes no sense
            return tries > 1
        return True

    def _index_payload(self, carried: Any) -> None:
        """An index of the namespaces, by which the server keeps those of one together, and the source's indexes."""
        pb, json_like = self._pb, carried if isinstance(carried, dict) else {}
        tenant = {"data_type": "Keyword", "params": {"keyword_index_params": {"is_tenant": True}}}
        for name, one in {FIELDS["namespace"]: tenant, **json_like}.items():
            request = pb.points.CreateFieldIndexCollection(
                collection_name=self._client.at.collection, wait=True, field_name=name
            )
            request.field_type = pb.points.FieldType.Value(f"FieldType{one.get('data_type', 'Keyword')}")
            if one.get("params"):
                parse(one["params"], request.field_index_params)
            self._client.call("Points/CreateFieldIndex", request, pb.points.PointsOperationResponse)

    # -- bulk loading -----------------------------------------------------------------------------------------------

    def _begin_bulk(self, made: Collection) -> None:
        """Build no search index while loading; what the threshold was is noted in the collection, so that a run that is
        killed leaves a trace for the next one."""
        threshold = made.info.config.optimizer_config.indexing_threshold
        if threshold:
            self._set_threshold(0, threshold)
            self._threshold = threshold

    def _resume_bulk(self, found: Collection) -> None:
        metadata = found.info.config.metadata
        noted = read(metadata[LOADING].SerializeToString()) if LOADING in metadata else None
        self._threshold = noted if isinstance(noted, int) and noted > 0 else None

    def _set_threshold(self, threshold: int, noted: int | None) -> None:
        pb = self._pb
        request = pb.collections.UpdateCollection(collection_name=self._client.at.collection)
        request.optimizers_config.indexing_threshold = threshold
        value = request.metadata[LOADING]
        if noted is None:
            value.null_value = pb.json_with_int.NullValue.NULL_VALUE  # null takes the key away
        else:
            value.integer_value = noted
        self._client.call("Collections/Update", request, pb.collections.CollectionOperationResponse)

    def finish(self) -> None:
        """Let the server build its search index, which goes on after this returns; the records are all there."""
        if self._collection is None:
            self._create(None, {})
        if self._threshold is not None:
            self._set_threshold(self._threshold, None)
            self._threshold = None

    def abandon(self) -> None:
        """After a failure: as `finish`, as far as it is possible, and without creating anything."""
        if self._threshold is not None:
            try:
                self._set_threshold(self._threshold, None)
            except VexError:
                return  # the note in the collection stays, and the next run that finishes sees to it

    # -- loading ----------------------------------------------------------------------------------------------------

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        """Upsert the records: applied on return. Raises Unsupported for vectors that the collection does not have."""
        return self.begin(batch)()

    def begin(self, batch: pa.RecordBatch) -> Callable[[], Sequence[Reject]]:
        """Start to `load` a batch; it is applied when what is returned returns."""
        if not batch.num_rows:
            return list
        collection = self._collection or self._first(batch)
        wrong = self._misfits(batch, collection)
        if wrong is not None:
            unfit = [Reject("dimension", wrong, row=row) for row in range(batch.num_rows)]
            return lambda: unfit
        ids = ids_of(batch)
        rows, rejects = _distinct(ids.wire, batch.column("id").to_pylist(), sound.unsound(batch))
        at = batch.schema.get_field_index("extra")
        batch = batch.set_column(at, batch.schema.field(at), ids.extra)
        if rows is not None:
            batch = batch.take(pa.array(rows, pa.int64()))
            ids = ids._replace(wire=[ids.wire[row] for row in rows], kept=[ids.kept[row] for row in rows])

        def send(part: range) -> None:
            piece = batch.slice(part[0], len(part))
            self._send(upsert(self._client.at.collection, piece, ids, part[0], collection.spaces))

        parts = self._parts(batch, collection)

        def sent() -> list[Reject]:
            refused = deliver(self._client.requests, send, parts)
            return [*rejects, *(refused if rows is None else [_at(reject, rows) for reject in refused])]

        return self._client.requests.in_turn(sent)

    def _first(self, batch: pa.RecordBatch) -> Collection:
        """Create the collection for the first batch."""
        dims = dict(self._plan.vectors) | {
            name: _dim(batch.schema.field(name).type) for name in batch.schema.names if _is_further(name)
        }
        self._create(records.dim(batch) or self._plan.dim or None, dims)
        assert self._collection is not None  # noqa: S101 - just created
        return self._collection

    def _misfits(self, batch: pa.RecordBatch, collection: Collection) -> str | None:
        """Why no record of a batch fits, None when they do."""
        place = self._client.at.place
        known = {one.column: one for one in collection.spaces}
        for name in batch.schema.names:
            if not _is_further(name) or batch.column(name).null_count == batch.num_rows:
                continue
            if name not in known:
                raise Unsupported(f"{place} has no vector for {name}; --drop-vectors leaves it out")
            dim = _dim(batch.schema.field(name).type)
            if known[name].dim is not None and dim != known[name].dim:
                raise SchemaError(f"{place}: {name} has {dim} dimensions, the collection {known[name].dim}")
        dim = records.dim(batch)
        if not dim or not records.present(batch.column(MAIN)).any():
            return None
        if collection.main is None:
            return f"{place} has no place for dense vectors"
        if dim != collection.main.dim:
            return f"the vector has {dim} dimensions, {place} holds {collection.main.dim}"
        return None

    def _parts(self, batch: pa.RecordBatch, collection: Collection) -> list[range]:
        fair = -(-batch.num_rows // self._client.requests.concurrency)
        most = max(_FEWEST_ROWS, min(_MOST_ROWS, fair))
        strict = collection.strict
        if strict and strict.upsert_max_batchsize:
            most = min(most, strict.upsert_max_batchsize)
        return by_size(_sizes(batch), most_bytes=_MOST_BYTES, most_rows=most)

    def _send(self, request: bytes) -> None:
        pb = self._pb.points
        result = self._client.once("Points/Upsert", request, pb.PointsOperationResponse).result
        if result.status not in (pb.UpdateStatus.Completed, pb.UpdateStatus.Acknowledged):
            status = pb.UpdateStatus.Name(result.status)
            raise TransientError(f"{self._client.at.place}: the points are not applied yet ({status})")


def _distinct(
    wire: Sequence[bytes], ids: Sequence[str], rejects: list[Reject]
) -> tuple[list[int] | None, list[Reject]]:
    """The rows to send, None for all: of each point the last one; and the rejects, with more of them for ids that would
    share a point with another id."""
    last: dict[bytes, int] = {}
    unsound = {reject.row for reject in rejects}
    for row, point in enumerate(wire):
        if row in unsound:
            continue
        if point in last and ids[last[point]] != ids[row]:
            message = f"the ids {ids[last[point]]!r} and {ids[row]!r} are spellings of one UUID"
            rejects.append(Reject("duplicate-id", message, row=row))
        else:
            last[point] = row
    return (None if len(last) == len(wire) else sorted(last.values())), rejects


def _like(found: Collection, request: Any) -> bool:
    """Whether a collection has the dense vectors that a CreateCollection asks for."""
    config = request.vectors_config
    asked = {"": config.params} if config.HasField("params") else dict(config.params_map.map.items())
    there = {one.name: one.dim for one in found.spaces if one.kind != SPARSE}
    return there == {name: one.size for name, one in asked.items()}


def _at(reject: Reject, rows: Sequence[int]) -> Reject:
    return Reject(reject.code, reject.message, row=rows[reject.row or 0])


def _sizes(batch: pa.RecordBatch) -> list[int]:
    """About how many bytes each record takes in a request."""
    total = pa.array([4 * records.dim(batch) + _ROW_BYTES] * batch.num_rows, pa.int64())
    for name in ("text", "metadata", "extra"):
        lengths = pc.fill_null(pc.binary_length(records.storage(batch.column(name))), 0)
        total = pc.add(total, lengths.cast(pa.int64()))
    for name in batch.schema.names:
        if _is_further(name):
            each = batch.column(name).nbytes // max(batch.num_rows, 1)
            total = pc.add(total, pa.scalar(each, pa.int64()))
    sizes: list[int] = total.to_pylist()
    return sizes


def _is_further(column: str) -> bool:
    return column.startswith(records.EXTRA_VECTORS)


def _is_sparse(column: str) -> bool:
    return column.startswith("sparse:")


def _dim(kind: pa.DataType) -> int | None:
    """The dimension of a dense or multi-vector column."""
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    inside = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else None
    return int(inside.list_size) if inside is not None and pa.types.is_fixed_size_list(inside) else None
