"""Records as objects of Weaviate.

text, model, namespace, created_at, metadata and source_store are properties of their own, as texts; null is no
property at all. What has none is one JSON text in the property `__vex__`:

    empty      names of fields that are "" (npm vex writes "" for null)
    extra, score, modality, vex_version
    a field    for which a class of somebody else has no property, or one of another type; the namespace
               where it is not the name of its tenant
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records, timestamps
from vexarrow.ids import ORIGINAL_ID, original, to_uuid
from vexarrow.payload import HIDDEN
from vexarrow.protocols import Reject

from ._weaviate_client import TENANT
from ._weaviate_schema import FIELDS, SOURCE_STORE, TEXTS, Layout
from ._weaviate_wire import MULTI, SINGLE, messages

NO_NAMESPACE = "ns-none"
_OBJECT_BYTES = 400
_VERSION = records.VMIG_VERSION


def tenant_of(namespace: str | None) -> str:
    """The tenant of a namespace: itself where Weaviate takes the name."""
    if namespace is None:
        return NO_NAMESPACE
    return namespace if TENANT.fullmatch(namespace) else f"ns-{uuid5(NAMESPACE_URL, namespace).hex}"


class Objects:
    """The records of a batch, as objects of a class. `tenant`: all go there; else, in a class with tenants, each to
    the tenant of its namespace. `main`: the name of the vector that is `vector`."""

    def __init__(self, batch: pa.RecordBatch, collection: str, layout: Layout, main: str, tenant: str | None) -> None:
        self._batch = batch
        self._collection = collection
        self._layout = layout
        self._main = main
        self._ids = batch.column("id").to_pylist()
        self.uuids: list[str] = []
        self._texts = {name: records.storage(batch.column(name)).to_pylist() for name in TEXTS}
        self._texts["created_at"] = timestamps.texts(batch.column("created_at"))
        self.tenants = self._tenants(tenant)
        self._by_tenant = layout.tenants and tenant is None and not layout.holds("namespace")
        self._kept = [name for name in (*FIELDS, SOURCE_STORE) if layout.holds(name)]
        self._hidden = self._hide()
        self._vectors = _vectors(batch, main)

    def name(self, scheme: str) -> list[Reject]:
        """Give every record its UUID. Of different ids with one UUID the first keeps it, the others are rejects."""
        self.uuids = [to_uuid(one, scheme) for one in self._ids]
        if len(set(self.uuids)) == len(self.uuids):
            return []
        owner: dict[tuple[str, str], str] = {}
        clashes = []
        for row, key in enumerate(zip(self.tenants, self.uuids, strict=True)):
            if owner.setdefault(key, self._ids[row]) != self._ids[row]:
                message = f"the ids {owner[key]!r} and {self._ids[row]!r} are one UUID, {key[1]}"
                clashes.append(Reject("id-collision", message, row=row))
        return clashes

    def sizes(self) -> list[int]:
        """About how many bytes each takes in a request."""
        total = np.full(self._batch.num_rows, _OBJECT_BYTES, np.int64)
        for name in ("text", "metadata", "extra"):
            lengths = pc.binary_length(records.storage(self._batch.column(name)))
            total += pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False)
        for column in self._batch.columns:
            if not pa.types.is_string(records.storage(column).type):
                total += column.nbytes // max(len(column), 1)
        found: list[int] = total.tolist()
        return found

    def request(self, rows: Sequence[int]) -> Any:
        """The request that writes these rows."""
        kinds = messages()
        make = kinds["BatchObject"]
        objects = [
            make(
                uuid=self.uuids[row],
                collection=self._collection,
                tenant=self.tenants[row],
                properties=self._properties(row, kinds),
                **self._vector(row),
            )
            for row in rows
        ]
        return kinds["BatchObjectsRequest"](objects=objects)

    # -- properties ---------------------------------------------------------------------------------------

    def _tenants(self, tenant: str | None) -> list[str]:
        rows = self._batch.num_rows
        if not self._layout.tenants:
            return [""] * rows
        if tenant is not None:
            return [tenant] * rows
        known = {name: tenant_of(name) for name in set(self._texts["namespace"])}
        return [known[name] for name in self._texts["namespace"]]

    def _properties(self, row: int, kinds: Any) -> Any:
        entry, text = kinds["TextEntry"], kinds["TextValue"]
        pairs = [(name, value) for name in self._kept if (value := self._texts[name][row]) is not None]
        kept = original(self._ids[row], self.uuids[row])
        if kept is not None:
            pairs.append((ORIGINAL_ID, kept))
        if self._hidden[row]:
            pairs.append((HIDDEN, orjson.dumps(self._hidden[row]).decode()))
        fields = [entry(key=key, value=text(string_value=value)) for key, value in pairs]
        return kinds["SentProperties"](non_ref_properties=kinds["Struct"](fields=fields))

    def _hide(self) -> list[dict[str, Any]]:
        """What has no property, of every record."""
        hidden: list[dict[str, Any]] = [{} for _ in range(self._batch.num_rows)]
        for name in ("extra", "score", "modality", "vex_version"):
            values = records.storage(self._batch.column(name)).to_pylist()
            usual = {"modality": "text", "vex_version": _VERSION}.get(name)
            for row, value in enumerate(values):
                if value is not None and value != usual:
                    hidden[row][name] = value if name != "score" or math.isfinite(value) else str(value)
        for name in (*FIELDS, SOURCE_STORE):
            if name != "namespace" or not self._by_tenant:
                self._hide_field(name, hidden)
        if self._layout.tenants:
            self._hide_namespaces(hidden)
        return hidden

    def _hide_namespaces(self, hidden: list[dict[str, Any]]) -> None:
        """The namespaces that cannot be told by the tenant, none among them."""
        for row, (space, tenant) in enumerate(zip(self._texts["namespace"], self.tenants, strict=True)):
            if space is None or (self._by_tenant and space != tenant):
                hidden[row]["namespace"] = space

    def _hide_field(self, name: str, hidden: list[dict[str, Any]]) -> None:
        kept = name in self._kept
        if name == "metadata" and kept:
            self._hide_odd_metadata(hidden)
        for row, value in enumerate(self._texts[name]):
            if value == "" and kept:
                hidden[row].setdefault("empty", []).append(name)
            elif value is not None and not kept:
                hidden[row][name] = value

    def _hide_odd_metadata(self, hidden: list[dict[str, Any]]) -> None:
        """JSON that is no object would not be known for metadata in its property."""
        texts = self._texts["metadata"]
        for row, text in enumerate(texts):
            if text is not None and not text.startswith("{"):
                hidden[row]["metadata"], texts[row] = text, None

    # -- vectors ------------------------------------------------------------------------------------------

    def _vector(self, row: int) -> dict[str, Any]:
        unnamed, named = b"", []
        for name, kind, found in self._vectors:
            data = found(row)
            if data is None:
                continue
            if not name:
                unnamed = data
            else:
                named.append(messages()["Vectors"](name=name, vector_bytes=data, type=kind))
        return {"vector_bytes": unnamed, "vectors": named} if named else {"vector_bytes": unnamed}


def _vectors(batch: pa.RecordBatch, main: str) -> list[tuple[str, int, Callable[[int], bytes | None]]]:
    """Name, kind and the bytes of a row, for each vector of the records."""
    found = [(main, SINGLE, _single(batch.column("vector")))]
    for column in batch.schema.names:
        kind, _, name = column.partition(":")
        if kind == "vector" and name:
            found.append((name, SINGLE, _single(batch.column(column))))
        elif kind == "multi":
            found.append((name, MULTI, _multi(batch.column(column))))
    return found


def _single(column: pa.FixedSizeListArray) -> Callable[[int], bytes | None]:
    matrix = records.matrix(column).astype("<f4", copy=False)
    there = records.present(column).tolist() if matrix.shape[1] else [False] * len(column)
    return lambda row: matrix[row].tobytes() if there[row] else None


def _multi(column: pa.ListArray) -> Callable[[int], bytes | None]:
    """Weaviate's multi-vectors: the dimension as two bytes, then all vectors one after the other."""
    inner = records.matrix(column.values).astype("<f4", copy=False)
    offsets = np.asarray(column.offsets).tolist()
    there = records.present(column).tolist()
    head = inner.shape[1].to_bytes(2, "little")
    return lambda row: head + inner[offsets[row] : offsets[row + 1]].tobytes() if there[row] else None
