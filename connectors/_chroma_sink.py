"""Writing collections: upserts in parallel, each after a look at what is there of its records.

Chroma's upsert merges: keys and documents that a record does not have any more would stay. So the ids of every request
are looked up first; for those that are there, keys that have to go are sent as null, and a document as "", which
nothing else says is a text (see `_chroma_shape`). Lists that are not ours are removed (see `_chroma_leaks`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import delivery, records, sound
from vexarrow.errors import NotFound, Refused, SchemaError
from vexarrow.metrics import metric
from vexarrow.patience import Requests
from vexarrow.protocols import Description, Reject

from ._chroma_bits import note
from ._chroma_leaks import Sweeper
from ._chroma_names import Naming
from ._chroma_shape import Packed
from ._chroma_store import COMMON, ID_TYPE, INDEXES, SPACES, Collection, Old, Rows, Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What a record takes in a request besides its vector, texts and metadata.
_RECORD_BYTES = 300


class CollectionSink:
    """Upserts into one collection, or into a collection for every namespace."""

    def __init__(self, place: str, store: Store, requests: Requests, naming: Naming) -> None:
        self._place = place
        self._store = store
        self._requests = requests
        self._naming = naming
        self._writing: Requests | None = None
        self._sweeper = Sweeper(store, requests)
        self._plan = Description()
        self._collections: dict[str, Collection] = {}
        self._dims: dict[str, int] = {}
        self._metrics: set[str | None] = set()  # those that `existing` has told the engine

    @property
    def by_namespace(self) -> bool:
        """Whether records of different namespaces may have one id: they are in collections of their own."""
        return not self._naming.one

    # -- the target -------------------------------------------------------------------------------------------------

    def existing(self) -> Description | None:
        """What the collection is; None when there is none. Changes nothing, not even a folder of an older Chroma.

        With a collection for every namespace it is known only that there are some, and their metric if it is one.
        """
        if not self._naming.one:
            return self._several()
        found = self._found(self._naming.collection)
        return None if found is None else self._described(found)

    def _several(self) -> Description | None:
        every = self._requests.call(self._store.collections)
        first = [one for one in every if one.name == self._naming.collection]
        self._metrics = {one.metric for one in first or every}
        if not every:
            return None
        return Description(metric=next(iter(self._metrics)) if len(self._metrics) == 1 else None)

    def prepare(self, plan: Description) -> Description:
        """Make the collection if there is none. Raises SchemaError for a metric that Chroma does not have."""
        self._plan = plan
        if not self._naming.one or self._naming.collection is None:
            self._space()
            return Description(dim=plan.dim, metric=plan.metric or "cosine", id_type=plan.id_type)
        return self._described(self._made(self._naming.collection))

    def _found(self, name: str | None) -> Collection | None:
        if name is None:
            return None
        return self._requests.call(lambda: self._store.collection(name))

    def _made(self, name: str) -> Collection:
        """The collection of a name, made if there is none."""
        collection = self._collections.get(name)
        if collection is None:
            collection = self._found(name) or self._create(name)
            if not self._naming.one:
                self._check_metric(collection)
            self._collections[name] = collection
            if collection.dim:
                self._dims[name] = collection.dim
        return collection

    def _check_metric(self, collection: Collection) -> None:
        """Refuse a collection of another metric than that of the records and that which the engine has agreed to."""
        agreed = {metric(self._plan.metric), *(self._metrics if len(self._metrics) == 1 else ())} - {None}
        if agreed and collection.metric and collection.metric not in agreed:
            ours = " or ".join(sorted(map(str, agreed)))
            raise SchemaError(
                f"{self._place}: the collection {collection.name} has the metric {collection.metric}, not {ours}: "
                "neighbours would change; load this namespace into a database of its own"
            )

    def _create(self, name: str) -> Collection:
        settings = self._plan.settings.get("chroma", {})
        metadata, configuration = settings.get("metadata"), settings.get("configuration")
        kept = {key: value for key, value in _mapping(metadata).items() if not key.startswith("hnsw:")}
        kept |= {ID_TYPE: self._plan.id_type} if self._plan.id_type != "string" else {}
        made = _configuration(_mapping(configuration), self._space(), hnsw=self._store.limits().hnswlib)
        try:
            return self._requests.call(lambda: self._store.create(name, kept or None, made))
        except Refused as error:
            if "does not exist" in str(error):  # the tenant or the database
                raise NotFound(str(error)) from None
            raise SchemaError(str(error)) from None

    def _space(self) -> str:
        wanted = metric(self._plan.metric) or "cosine"
        if wanted not in SPACES:
            known = ", ".join(SPACES)
            raise SchemaError(f"{self._place}: Chroma has no metric {wanted}; choose one of {known} with --metric")
        return SPACES[wanted]

    def _described(self, collection: Collection) -> Description:
        return Description(
            dim=collection.dim or self._plan.dim,
            metric=collection.metric,
            rows=self._requests.call(lambda: self._store.count(collection)),
            id_type=collection.id_type,
        )

    # -- records ----------------------------------------------------------------------------------------------------

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        """Upsert the records of a batch; they are all there on return. Lists of others that Chroma may have put into
        them are gone after the next `load`, `finish` or `close`."""
        return self.begin(batch)()

    def begin(self, batch: pa.RecordBatch) -> Callable[[], Sequence[Reject]]:
        """Start to `load` a batch; it is there when what is returned returns."""
        records.refuse_further(batch, self._place)
        rejects = sound.unsound(batch)
        there = records.present(batch.column("vector"))
        known = {reject.row for reject in rejects}
        message = f"{self._place} holds no record without a vector"
        rejects += [Reject("no-vector", message, row=row) for row in _rows(~there, known)]
        upserts: list[_Upsert] = []
        for name, rows in self._groups(batch, _rows(there, known)):
            if name is None:
                message = "the record has no namespace: --collection names the collection of such records"
                rejects += [Reject("no-namespace", message, row=row) for row in rows]
            else:
                made = self._ready(self._made(name), batch, rows)
                if isinstance(made, _Upsert):
                    upserts.append(made)
                else:
                    rejects += made

        def sent() -> list[Reject]:
            refused = [reject for upsert in upserts for reject in self._sent(upsert)]
            return sorted([*rejects, *refused], key=lambda reject: reject.row or 0)

        return self._requests.in_turn(sent)

    def finish(self) -> None:
        """Wait for what is still looked after; Chroma indexes what it takes."""
        self._sweeper.settle()

    def close(self) -> None:
        """Wait for what is still looked after, and give up requests that wait for another try."""
        self._sweeper.close()
        if self._writing is not None:
            self._writing.close()

    def _writers(self, most: int) -> Requests:
        """Upserts of which no more are on their way than the store likes; their requests have their own retries."""
        if self._writing is None:
            self._writing = Requests(concurrency=most, retries=0)
        return self._writing

    def _groups(self, batch: pa.RecordBatch, rows: list[int]) -> Iterable[tuple[str | None, list[int]]]:
        """The rows for each collection."""
        if self._naming.one:
            return [(self._naming.collection, rows)] if rows else []
        groups: dict[str | None, list[int]] = {}
        namespaces = batch.column("namespace").to_pylist()
        for row in rows:
            groups.setdefault(self._naming.of(namespaces[row]), []).append(row)
        return groups.items()

    def _ready(self, collection: Collection, batch: pa.RecordBatch, rows: list[int]) -> _Upsert | list[Reject]:
        """The rows of a batch for one collection, or why they do not fit."""
        dim = records.dim(batch)
        if self._dims.setdefault(collection.name, dim) != dim:
            message = f"the vector has {dim} dimensions, {collection.name} holds {self._dims[collection.name]}"
            return [Reject("dimension", message, row=row) for row in rows]
        if len(rows) < batch.num_rows:
            batch = batch.take(pa.array(rows))
        last = delivery.last_of_each_id(batch.column("id"))
        if last is not None:
            batch, rows = batch.take(pa.array(last)), [rows[row] for row in last]
        return _Upsert(self._store, self._requests, collection, batch, rows)

    def _sent(self, upsert: _Upsert) -> list[Reject]:
        limits = upsert.limits
        refused = delivery.deliver(self._writers(limits.writers), upsert, upsert.parts)
        if limits.leaks and upsert.made:
            self._sweeper.sweep(upsert.collection, upsert.made, limits.rows)
        return [Reject(one.code, one.message, row=upsert.rows[one.row or 0]) for one in refused]


class _Upsert:
    """The records of a batch for one collection, of which `parts` are sent. `rows`: where they were in the batch that
    was given; `made`: ids of records that were not there before."""

    def __init__(
        self, store: Store, requests: Requests, collection: Collection, batch: pa.RecordBatch, rows: Sequence[int]
    ) -> None:
        self._store = store
        self._requests = requests
        self.limits = limits = store.limits()
        self.collection = collection
        self.rows = rows
        self.parts = delivery.by_size(_sizes(batch), most_bytes=limits.bytes, most_rows=limits.rows)
        self.made: list[str] = []
        batch = records.with_id_type(batch, collection.id_type)
        self._ids: list[str] = batch.column("id").to_pylist()
        self._matrix = records.matrix(batch.column("vector"))
        self._packed = Packed(batch, limits.keys, limits.key)
        if limits.hnswlib and collection.metric == "cosine":
            note(self._matrix, self._packed.metadatas)

    def __call__(self, part: range) -> None:
        """Send a range. It may be sent again: what it does then is the same."""
        start, stop = part.start, part.stop
        ids = self._ids[start:stop]
        uris = self._packed.uris
        rows = Rows(
            ids,
            self._matrix[start:stop],
            self._packed.documents[start:stop],
            [metadata or None for metadata in self._packed.metadatas[start:stop]],
            None if uris is None else uris[start:stop],
        )
        known = self._requests.call(lambda: self._store.known(self.collection, ids))
        sent = _replacing(rows, known) if known else rows
        self._requests.call(lambda: self._store.upsert(self.collection, sent))
        self.made += [identity for identity in ids if identity not in known] if known else ids


def _replacing(rows: Rows, known: Mapping[str, Old]) -> Rows:
    """The rows with what makes the store forget of the records that are there: null for keys, "" for texts."""
    documents, metadatas = list(rows.documents), list(rows.metadatas)
    uris = list(rows.uris or [None] * len(rows.ids))
    for row, identity in enumerate(rows.ids):
        old = known.get(identity)
        if old is None:
            continue
        if old.document and documents[row] is None:
            documents[row] = ""
        if old.uri and uris[row] is None:
            uris[row] = ""
        metadata = metadatas[row] or {}
        dropped = {key: None for key in old.keys if key not in metadata}
        metadatas[row] = {**metadata, **dropped} or None
    return rows._replace(documents=documents, metadatas=metadatas, uris=uris if any(uris) or "" in uris else None)


def _rows(mask: NDArray[np.bool_], but: Container[int | None]) -> list[int]:
    return [row for row in np.flatnonzero(mask).tolist() if row not in but]


def _sizes(batch: pa.RecordBatch) -> list[int]:
    """About the bytes that each record takes in a request."""
    total = np.full(batch.num_rows, _RECORD_BYTES + 6 * records.dim(batch), dtype=np.int64)
    for name in ("id", "text", "metadata", "extra"):
        lengths = pc.binary_length(records.storage(batch.column(name))).fill_null(0)
        total += lengths.to_numpy(zero_copy_only=False)
    sizes: list[int] = total.tolist()
    return sizes


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _configuration(given: Mapping[str, Any], space: str, *, hnsw: bool) -> dict[str, Any]:
    """The index of a collection like the given one, for another space; `hnsw`: there is no other kind."""
    kind = next((kind for kind in INDEXES if isinstance(given.get(kind), Mapping)), "hnsw")
    parameters = {key: value for key, value in _mapping(given.get(kind)).items() if value is not None}
    if hnsw and kind != "hnsw":
        kind, parameters = "hnsw", {key: parameters[key] for key in COMMON if key in parameters}
    return {kind: {**parameters, "space": space}}
