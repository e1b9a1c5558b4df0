"""Reading a collection: pages in the order of the ids, the next one asked for while one is decoded.

A cursor is the id at which the next page starts, "n:5" or "u:<uuid>", or "end". Partitions are `slice` filters, which
split the ids by their hash, on servers from 1.19 on. On others they are ranges of UUIDs, which start at an id and end
where we find a larger one; integers, which come before all UUIDs, are in the first of them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa

from vexarrow.errors import AccessError, NotFound, Refused, TransientError, UsageError, VexError
from vexarrow.ids import ORIGINAL_ID
from vexarrow.payload import FIELDS, Found
from vexarrow.protocols import Description, Page, Partition
from vexarrow.selection import Selection

from ._qdrant_client import Client
from ._qdrant_ids import ID_TYPE, original, point_id
from ._qdrant_points import STORE, batch_of
from ._qdrant_schema import MAIN, collection_of, settings_of
from ._qdrant_values import payload
from ._qdrant_views import views

WHOLE, END = "all", "end"
_SLICE = re.compile(r"slice (\d+) of (\d+)")
_RANGE = re.compile(r"uuids from (\S+) to (\S+)")
_FIRST, _LAST = str(uuid.UUID(int=0)), "end"
_SLICES_FROM = (1, 19)
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SAMPLE = 256
_MOST_NAMESPACES = 1000
_DEFERRED_WAIT = 5.0


class PointSource:
    """The points of one collection. Extracts may run in several threads."""

    def __init__(self, client: Client, wanted: Selection, found: Found, vector_name: str | None) -> None:
        self._client = client
        self._pb = client.pb
        self._wanted = wanted
        self._found = found
        self._collection = collection_of(client.info(), vector_name, client.at.place)
        self._kind = self._id_type()

    # -- what is known ----------------------------------------------------------------------------------------------

    def describe(self) -> Description:
        """The number of records is exact. Namespaces are known where their key has an index."""
        info, main = self._collection.info, self._collection.main
        rows = self._client.count()
        further = {one.column: one.dim for one in self._collection.spaces if one.column != MAIN}
        return Description(
            dim=main.dim if main else None,
            metric=main.metric if main else None,
            rows=rows,
            namespaces=self._namespaces(rows),
            id_type=self._kind,
            source_store=STORE,
            vectors=further,
            details=self._details(info),
            settings={STORE: settings_of(self._collection)},
        )

    def _details(self, info: Any) -> dict[str, object]:
        return {
            "collection": self._client.at.collection,
            "status": self._pb.collections.CollectionStatus.Name(info.status).lower(),
            "segments": info.segments_count,
            "vectors": [
                {"name": one.name, "kind": one.kind, "dimension": one.dim, "metric": one.metric, "column": one.column}
                for one in self._collection.spaces
            ],
            "payload_indexes": sorted(info.payload_schema),
            "deferred_points": info.update_queue.deferred_points,
        }

    def _namespaces(self, rows: int) -> tuple[str | None, ...]:
        key = self._namespace_key()
        if not self._collection.indexed(key):
            return ()
        pb = self._pb.points
        request = pb.FacetCounts(
            collection_name=self._client.at.collection, key=_path(key), limit=_MOST_NAMESPACES, exact=True
        )
        try:
            hits = self._client.call("Points/Facet", request, pb.FacetResponse).hits
        except VexError:
            return ()  # older servers count no values
        if len(hits) == _MOST_NAMESPACES:
            return ()
        names = {one.value.string_value for one in hits}
        found: list[str | None] = sorted(names - {""})
        found += self._empty_namespaces() if "" in names else []
        return (*found, None) if None not in found and sum(one.count for one in hits) < rows else tuple(found)

    def _empty_namespaces(self) -> list[str | None]:
        """What "" in the payload means: other tools write it for null."""
        where = self._pb.qdrant_common.Filter(must=[self._matches(self._namespace_key(), [""])])
        page = self._scroll(self._request(1, where))
        batch = batch_of(page.points, self._collection.spaces, self._kind, self._found)
        names: list[str | None] = batch.column("namespace").to_pylist()
        return names

    def _id_type(self) -> str:
        """What ids are, from the first number and a sample of the UUIDs; others are marked as what they are."""
        key = self._found.id or ORIGINAL_ID
        common = self._pb.qdrant_common
        first = self._sample(key, common.PointId(num=0), 1)
        sample = self._sample(key, common.PointId(uuid=_FIRST), _SAMPLE)
        kinds = set()
        for raw, values in [*first, *sample]:
            integer = original(raw, values, key)[1]
            kinds.add("int" if integer else "string" if values.get(key) is not None else "uuid")
        if kinds == {"uuid"}:
            return "string" if self._any_original(key) else "uuid"
        return "int" if kinds == {"int"} else "string"

    def _sample(self, key: str, offset: Any, rows: int) -> list[tuple[bytes, dict[str, Any]]]:
        fields = self._pb.points.PayloadIncludeSelector(fields=[_path(key), ID_TYPE])
        request = self._pb.points.ScrollPoints(
            collection_name=self._client.at.collection,
            offset=offset,
            limit=self._allowed(rows),
            with_payload=self._pb.points.WithPayloadSelector(include=fields),
        )
        return [(point.id, payload(point.payload)) for point in self._scroll(request).points]

    def _any_original(self, key: str) -> bool:
        """Whether any point has an original id in its payload; True where the server does not say."""
        common = self._pb.qdrant_common
        empty = common.Condition(is_empty=common.IsEmptyCondition(key=_path(key)))
        try:
            return len(self._scroll(self._request(1, common.Filter(must_not=[empty]))).points) > 0
        except (AccessError, Refused, TransientError):
            return True

    # -- partitions -------------------------------------------------------------------------------------------------

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """One, or slices: "slice 0 of 4" is the first of four. Raises TransientError while points are hidden."""
        self._client.info(self._check_deferred)
        if wanted <= 1:
            return [Partition(WHOLE)]
        if self._client.version() >= _SLICES_FROM:
            return [Partition(f"slice {index} of {wanted}") for index in range(wanted)]
        if self._kind == "int":
            return [Partition(WHOLE)]
        edges = [str(uuid.UUID(int=(part << 128) // wanted)) for part in range(wanted)] + [_LAST]
        return [Partition(f"uuids from {start} to {end}") for start, end in pairwise(edges)]

    def _check_deferred(self, info: Any) -> None:
        """Points that wait for the optimiser are in no answer, so they would be missing."""
        hidden = info.update_queue.deferred_points
        if hidden:
            raise TransientError(
                f"{self._client.at.place}: {hidden} points cannot be read before the server has optimised them; "
                "try again later",
                _DEFERRED_WAIT,
            )

    # -- reading ----------------------------------------------------------------------------------------------------

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """Pages in the order of the ids, integers first."""
        if after == END:
            return
        request, (start, end) = self._request(self._allowed(rows), self._filter(part)), _range(part)
        if after is not None or start is not None:
            request.offset.CopyFrom(self._offset(after or f"u:{start}"))
        sent = self._begin(request)
        try:
            while sent is not None:
                page, sent = self._answered(sent, request), None
                points, cursor = page.points, END
                if page.next and not _beyond(page.next, end):
                    cursor = "{1}:{0}".format(*_named(page.next))
                    request.offset.CopyFrom(self._pb.qdrant_common.PointId.FromString(page.next))
                    sent = self._begin(request)
                elif points and _beyond(points[-1].id, end):
                    points = [point for point in points if not _beyond(point.id, end)]
                if points:
                    yield self._page(points, cursor)
        finally:
            if sent is not None:
                sent.cancel()

    def _allowed(self, rows: int) -> int:
        """As many of so many rows as strict mode gives in one answer."""
        strict = self._collection.strict
        return min(rows, strict.max_query_limit) if strict and strict.max_query_limit else rows

    def _page(self, points: Sequence[Any], cursor: str) -> Page:
        batch = batch_of(points, self._collection.spaces, self._kind, self._found)
        if self._wanted.namespaces is None:
            return Page(batch, cursor)
        mask = self._wanted.namespace_mask(batch.column("namespace"))
        chosen = batch if mask.all() else batch.filter(pa.array(mask))
        return Page(chosen, cursor, skipped=batch.num_rows - chosen.num_rows)

    def _begin(self, request: Any) -> Any:
        return self._client.begin("Points/Scroll", request)

    def _answered(self, sent: Any, request: Any) -> Any:
        """The page that was asked for; when that fails for a passing reason it is asked for again."""
        first = [sent]
        raw = self._client.requests.call(
            lambda: self._client.result(first.pop() if first else self._begin(request)),
        )
        return views().Scrolled.FromString(raw)

    def _scroll(self, request: Any) -> Any:
        return views().Scrolled.FromString(self._client.call("Points/Scroll", request))

    def _request(self, rows: int, where: Any) -> Any:
        pb = self._pb.points
        return pb.ScrollPoints(
            collection_name=self._client.at.collection,
            filter=where,
            limit=rows,
            with_payload=pb.WithPayloadSelector(enable=True),
            with_vectors=pb.WithVectorsSelector(enable=True),
        )

    def _offset(self, cursor: str) -> Any:
        kind, _, value = cursor.partition(":")
        pb = self._pb.qdrant_common
        if kind == "n" and value.isdecimal():
            return pb.PointId(num=int(value))
        if kind == "u" and value:
            return pb.PointId(uuid=value)
        raise UsageError(f"{cursor!r} is no cursor of a Qdrant collection")

    # -- filters ----------------------------------------------------------------------------------------------------

    def _filter(self, part: Partition) -> Any:
        """The part and the wanted namespaces; the latter may let more through."""
        pb = self._pb.qdrant_common
        must = []
        if found := _SLICE.fullmatch(part.key):
            must.append(pb.Condition(slice=pb.SliceCondition(index=int(found[1]), total=int(found[2]))))
        elif part.key != WHOLE and not _RANGE.fullmatch(part.key):
            raise UsageError(f"{self._client.at.place}: {part.key!r} is no partition of a Qdrant collection")
        if self._wanted.namespaces is not None and self._collection.filters(self._namespace_key()):
            must.append(pb.Condition(filter=pb.Filter(should=self._namespace_conditions())))
        return pb.Filter(must=must) if must else None

    def _namespace_conditions(self) -> list[Any]:
        pb, key = self._pb.qdrant_common, self._namespace_key()
        names = [name for name in self._wanted.namespaces or () if name is not None]
        either = [self._matches(key, names)] if names else []
        if None in (self._wanted.namespaces or ()):
            empty = pb.IsEmptyCondition(key=_path(key))
            either += [self._matches(key, [""]), pb.Condition(is_empty=empty)]
        inside = self._found.metadata or "metadata"
        if names and not self._collection.indexed(key):
            either.append(self._matches(key, names, inside))  # LangChain's records have it there
        return either or [self._matches(key, [])]

    def _matches(self, key: str, names: Sequence[str], inside: str | None = None) -> Any:
        pb = self._pb.qdrant_common
        path = _path(key) if inside is None else f"{_path(inside)}.{_path(key)}"
        match = pb.Match(keywords=pb.RepeatedStrings(strings=names))
        return pb.Condition(field=pb.FieldCondition(key=path, match=match))

    def _namespace_key(self) -> str:
        return self._found.namespace or FIELDS["namespace"]


def _range(part: Partition) -> tuple[str | None, str | None]:
    """The first UUID of a partition, None where integers come before it, and where it ends, None for nowhere."""
    found = _RANGE.fullmatch(part.key)
    if found is None:
        return None, None
    return (None if found[1] == _FIRST else found[1]), (None if found[2] == _LAST else found[2])


def _beyond(raw: bytes, end: str | None) -> bool:
    """Whether a PointId is not before a UUID; their texts are in the order of the server."""
    return end is not None and raw[:1] == b"\x12" and raw[2:].decode() >= end


def _named(raw: bytes) -> tuple[str, str]:
    value, number = point_id(raw)
    return value, "n" if number else "u"


def _path(key: str) -> str:
    """A payload key as a path. Raises UsageError for one that no path can name."""
    if _PLAIN_KEY.fullmatch(key):
        return key
    if '"' in key or "\\" in key or not key:
        raise UsageError(f"{key!r}: Qdrant can not filter by a key with quotes")
    return f'"{key}"'


def missing(client: Client) -> NotFound:
    """The error for a collection that is not there."""
    return NotFound(f"{client.at.place}: there is no collection {client.at.collection!r}")
