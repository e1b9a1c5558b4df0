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
from ._weaviate_wire import MULTI, SINGLE, home_bytes, key_bytes, object_bytes, text_bytes, vector_bytes

NO_NAMESPACE = "ns-none"
_OBJECT_BYTES = 400
_OF_FEW_KINDS = ("model", "namespace", SOURCE_STORE)
_ID_KEY, _HIDDEN_KEY = key_bytes(ORIGINAL_ID), key_bytes(HIDDEN)
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
        self._columns = [_Column(name, self._texts[name]) for name in self._kept]
        self._vectors = _vectors(batch, main)

    def name(self, scheme: str) -> list[Reject]:
        """Give every record its UUID. Of different ids with one UUID the first keeps it, the others are rejects, and
        so are records whose id is empty: they could not be told from those whose id is their UUID."""
        self.uuids = [to_uuid(one, scheme) for one in self._ids]
        empty = [Reject("missing-id", "id is empty", row=row) for row, one in enumerate(self._ids) if not one]
        return empty if len(set(self.uuids)) == len(self.uuids) else [*empty, *self._clashes()]

    def _clashes(self) -> list[Reject]:
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

    def request(self, rows: Sequence[int]) -> bytes:
        """The request that writes these rows."""
        homes = {tenant: home_bytes(self._collection, tenant) for tenant in set(self.tenants)}
        return b"".join(
            object_bytes(self.uuids[row], self._properties(row), homes[self.tenants[row]], self._vector(row))
            for row in rows
        )

    # -- properties ---------------------------------------------------------------------------------------

    def _tenants(self, tenant: str | None) -> list[str]:
        rows = self._batch.num_rows
        if not self._layout.tenants:
            return [""] * rows
        if tenant is not None:
            return [tenant] * rows
        known = {name: tenant_of(name) for name in set(self._texts["namespace"])}
        return [known[name] for name in self._texts["namespace"]]

    def _properties(self, row: int) -> bytes:
        found = [column.entry(row) for column in self._columns]
        kept = original(self._ids[row], self.uuids[row])
        if kept is not None:
            found.append(text_bytes(_ID_KEY, kept))
        if self._hidden[row]:
            found.append(text_bytes(_HIDDEN_KEY, orjson.dumps(self._hidden[row]).decode()))
        return b"".join(found)

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

    def _vector(self, row: int) -> bytes:
        found = [vector_bytes(name, data, kind) for name, kind, of in self._vectors if (data := of(row)) is not None]
        return found[0] if len(found) == 1 else b"".join(found)


class _Column:
    """The texts of one property, as entries of a request."""

    def __init__(self, name: str, texts: Sequence[str | None]) -> None:
        self._key = key_bytes(name)
        self._texts = texts
        # Texts of few kinds are made once; threads that do so at the same time make the same.
        self._known: dict[str, bytes] | None = {} if name in _OF_FEW_KINDS else None

    def entry(self, row: int) -> bytes:
        """The entry of a row, nothing for null."""
        text = self._texts[row]
        if text is None:
            return b""
        if self._known is None:
            return text_bytes(self._key, text)
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = text_bytes(self._key, text)
        return found


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
