"""Reading collections: ranges of offsets, which are the same for everybody as long as nothing is deleted.

The key of a partition is "a-b", the offsets from a up to b, b not among them, or "a-" for all from a on; before it and
a "/" stands the collection when there are several. A cursor is the offset that comes next; where the server chooses
the records, a ":" and the id of the record before follow, by which it is seen that nothing was passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from vexarrow import records
from vexarrow.errors import DataError, NotFound, UsageError
from vexarrow.fields import Found
from vexarrow.patience import Requests
from vexarrow.protocols import Description, Page, Partition, Reject
from vexarrow.selection import Selection

from ._chroma_bits import restored
from ._chroma_names import Naming
from ._chroma_shape import unpacked
from ._chroma_store import Collection, Raw, Store, joined

_KEY = re.compile(r"(?:([^/]+)/)?(\d+)-(\d*)")
_FEWEST = 256  # records that are worth a partition or a request
_ANSWER_BYTES, _NUMBER_BYTES, _RECORD_BYTES = 4 << 20, 12, 1024
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")


class CollectionSource:
    """The records of one collection, or of a collection for every namespace."""

    def __init__(
        self, place: str, store: Store, requests: Requests, naming: Naming, found: Found, wanted: Selection
    ) -> None:
        self._place = place
        self._store = store
        self._requests = requests
        self._naming = naming
        self._found = found
        self._wanted = wanted
        self._collections = {one.name: one for one in self._look()}
        self._id_type = self._common_id_type()

    def _look(self) -> Iterator[Collection]:
        names = self._naming.listed(self._wanted.namespaces)
        if names is None:
            yield from self._requests.call(self._store.collections)
            return
        for name in names:
            collection = self._requests.call(lambda name=name: self._store.collection(name))  # type: ignore[misc]
            if collection is not None:
                yield collection
            elif self._naming.one:
                raise NotFound(f"{self._place}: there is no collection {name}{self._others()}")

    def _others(self) -> str:
        names = [one.name for one in self._requests.call(self._store.collections)]
        return f"; there are {', '.join(names[:20])}" if names else ", and no other"

    def _common_id_type(self) -> str:
        kinds = {one.id_type for one in self._collections.values()}
        return kinds.pop() if len(kinds) == 1 else "string"

    # -- what is known ----------------------------------------------------------------------------------------------

    def describe(self) -> Description:
        """Dimension, metric and index are those of the first collection."""
        every = list(self._collections.values())
        counts = [self._count(one) for one in every]
        first = every[0] if every else None
        return Description(
            dim=first.dim if first else None,
            metric=first.metric if first else None,
            rows=None if self._where() else sum(counts),
            id_type=self._id_type,
            source_store="chroma",
            details={"collections": [_details(*pair) for pair in zip(every, counts, strict=True)]},
            settings={"chroma": {"configuration": first.configuration, "metadata": first.metadata}} if first else {},
        )

    def _count(self, collection: Collection) -> int:
        return self._requests.call(lambda: self._store.count(collection))

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """Ranges of offsets; one of each collection where the server chooses the records."""
        parts: list[Partition] = []
        readers = self._store.limits().readers  # first: from here on a folder is open, and counts are exact
        for collection in self._collections.values():
            before = "" if self._naming.one else f"{collection.name}/"
            if self._where():
                parts.append(Partition(f"{before}0-"))
                continue
            rows = self._count(collection)
            many = max(1, min(wanted, readers, rows // _FEWEST))
            edges = [rows * part // many for part in range(many + 1)]
            parts += [Partition(f"{before}{a}-{b}", b - a) for a, b in pairwise(edges)]
        return parts or [Partition("0-0", 0)]

    # -- reading ----------------------------------------------------------------------------------------------------

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """Pages in the order in which the records were written first. Raises DataError when records disappear."""
        collection, offset, end = self._range(part, after)
        if collection is not None and end is None:
            yield from self._chosen(collection, rows, offset, (after or "").partition(":")[2])
            return
        while collection is not None and end is not None and offset < end:
            limit = min(rows, end - offset)
            raw = self._read(collection, offset, limit)
            if len(raw.ids) < limit:
                raise self._deleted(f"{len(raw.ids)} records from number {offset} on, {limit} were expected")
            offset += len(raw.ids)
            yield self._page(collection, raw, str(offset))

    def _chosen(self, collection: Collection, rows: int, offset: int, last: str) -> Iterator[Page]:
        """Pages of the records that the server chooses, from an offset on; `last`: the id of the record before."""
        full = True
        while full:
            raw = self._read(collection, offset, rows, last)
            full = len(raw.ids) == rows
            if raw.ids:
                offset, last = offset + len(raw.ids), raw.ids[-1]
                yield self._page(collection, raw, f"{offset}:{last}")

    def _deleted(self, seen: str) -> DataError:
        return DataError(
            f"{self._place}: {seen}: some were deleted meanwhile, and others may have been passed over; read again "
            "when nobody writes"
        )

    def _range(self, part: Partition, after: str | None) -> tuple[Collection | None, int, int | None]:
        found = _KEY.fullmatch(part.key)
        start = None if after is None else after.partition(":")[0]
        if found is None or (start is not None and not start.isdecimal()):
            raise UsageError(f"{self._place}: {part.key!r} and {after!r} are no partition and cursor of Chroma")
        name = found[1] or next(iter(self._collections), "")
        collection = self._collections.get(name)
        if collection is None and found[1]:
            raise NotFound(f"{self._place}: there is no collection {name} any more")
        return collection, int(found[2] if start is None else start), int(found[3]) if found[3] else None

    def _where(self) -> Mapping[str, Any] | None:
        """The condition for the server, None when it cannot tell: it does not find a key that is missing."""
        wanted = self._wanted.namespaces
        if not self._naming.one or wanted is None or None in wanted or not wanted:
            return None
        return {self._found.namespace or "namespace": {"$in": list(wanted)}}

    def _read(self, collection: Collection, offset: int, limit: int, last: str | None = None) -> Raw:
        """Records of a page, by as many requests as that needs; fewer at the end. `last`: the id of the record before,
        which is then read again with each request: it has another offset once any record before it is deleted."""
        step = self._step(collection)
        parts: list[Raw] = []
        for start in range(offset, offset + limit, step):
            asked, back = min(step, offset + limit - start), int(last is not None and start > 0)
            raw = self._requests.call(
                lambda at=start - back, n=asked + back: self._store.read(collection, at, n, self._where())  # type: ignore[misc]
            )
            if back:
                if raw.ids[:1] != [last]:
                    raise self._deleted(f"the record number {start} is no longer {last}")
                raw = _but_first(raw)
            parts.append(raw)
            if len(raw.ids) < asked:
                break
            last = None if last is None else raw.ids[-1]
        return joined(parts)

    def _step(self, collection: Collection) -> int:
        """Records a request: answers take several times their size until they are parsed."""
        rows = max(_FEWEST, _ANSWER_BYTES // (_NUMBER_BYTES * (collection.dim or 0) + _RECORD_BYTES))
        return min(rows, (self._store.limits().read or rows + 1) - 1)

    def _page(self, collection: Collection, raw: Raw, cursor: str) -> Page:
        if collection.metric == "cosine":
            raw = restored(raw)
        rejects = [_not_finite(raw, row) for row in raw.bad]
        raw = _without(raw, raw.bad) if raw.bad else raw
        columns = unpacked(raw.documents, raw.metadatas, raw.uris, self._found)
        columns["id"] = raw.ids
        self._naming.fill(collection.name, columns)
        if self._found.id is not None:
            columns["id"] = _ids_inside(raw, self._found.id)
        batch = self._batch(columns, raw)
        wanted = self._wanted.namespaces
        if wanted is None:
            return Page(batch, cursor, rejects)
        chosen = batch.filter(pa.array(self._wanted.namespace_mask(batch.column("namespace"))))
        return Page(chosen, cursor, rejects, skipped=batch.num_rows - chosen.num_rows)

    def _batch(self, columns: dict[str, Any], raw: Raw) -> pa.RecordBatch:
        if self._id_type == "int":
            columns["extra"] = [
                extra if _INTEGER.fullmatch(identity) else _marked(identity, extra)
                for identity, extra in zip(columns["id"], columns["extra"], strict=True)
            ]
        return records.build(columns, raw.matrix, id_type=self._id_type)


def _details(collection: Collection, rows: int) -> dict[str, object]:
    kind, parameters = collection.index
    return {
        "name": collection.name,
        "id": collection.id,
        "records": rows,
        "dimension": collection.dim,
        "index": kind,
        "parameters": dict(parameters),
        "metadata": dict(collection.metadata),
    }


def _marked(identity: str, extra: str | None) -> str:
    """`extra` with an id that is text among integers (see records.with_id_type)."""
    mark = f'"id":{orjson.dumps(identity).decode()}'
    return f"{{{mark}}}" if extra is None or extra == "{}" else f"{{{mark},{extra[1:]}"


def _ids_inside(raw: Raw, key: str) -> list[str]:
    values = [(metadata or {}).get(key) for metadata in raw.metadatas]
    return [one if value is None else str(value) for one, value in zip(raw.ids, values, strict=True)]


def _not_finite(raw: Raw, row: int) -> Reject:
    record = {"id": raw.ids[row], "text": raw.documents[row], "vector": None, "metadata": raw.metadatas[row] or {}}
    message = "the vector holds NaN or infinity"
    return Reject("vector-not-finite", message, id=raw.ids[row], record=orjson.dumps(record))


def _but_first(raw: Raw) -> Raw:
    uris = None if raw.uris is None else raw.uris[1:]
    bad = [row - 1 for row in raw.bad if row]
    return Raw(raw.ids[1:], raw.matrix[1:], raw.documents[1:], raw.metadatas[1:], uris, bad)


def _without(raw: Raw, rows: Sequence[int]) -> Raw:
    kept = np.setdiff1d(np.arange(len(raw.ids)), rows).tolist()
    columns = [[column[row] for row in kept] if column is not None else None for column in (raw.ids, *raw[2:5])]
    return Raw(columns[0] or [], raw.matrix[kept], columns[1] or [], columns[2] or [], columns[3])
