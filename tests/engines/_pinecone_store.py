"""One index of the Pinecone emulator: its records, and what both data APIs answer."""

from __future__ import annotations

import base64
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.engines import _pinecone_rules as rules
from tests.engines._pinecone_rules import Json, Record, Refusal, Schema, refuse

Space = dict[str, Record]


@dataclass
class Index:
    """An index and its records by namespace; `unready` describes are answered before it is ready. `late`: ids that are
    listed already and not yet fetched, with the number of requests for them that this lasts; `unlisted` lists of
    imports are answered before they hold any."""

    name: str
    schema: Schema
    deployment: Json
    host: str = ""
    unready: int = 1
    spaces: dict[str, Space] = field(default_factory=dict)
    imports: dict[str, Json] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)
    writes: int = 0
    late: dict[str, int] = field(default_factory=dict)
    unlisted: int = 0
    ordered: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def described(self) -> Json:
        """As the control plane describes it."""
        ready = self.unready <= 0
        self.unready -= 1
        return {
            "name": self.name,
            "host": self.host,
            "status": {"ready": ready, "state": "Ready" if ready else "Initializing"},
            "schema": {"fields": self.schema.fields},
            "deployment": self.deployment,
            "deletion_protection": "disabled",
            "read_capacity": {"mode": "OnDemand", "status": {"state": "Ready"}},
        }

    def space(self, name: str) -> Space:
        """The records of a namespace, {} when it does not exist."""
        return self.spaces.get(rules.namespace(name), {})

    def ids(self, name: str) -> list[str]:
        """The ids of a namespace in ASCII order."""
        with self.lock:
            known = self.ordered.get(name)
            if known is None or known[0] != self.writes:
                known = self.ordered[name] = (self.writes, sorted(self.space(name)))
            return known[1]

    def write(self, name: str, records: list[Record]) -> None:
        """Replace records whole."""
        with self.lock:
            self.writes += 1
            self.spaces.setdefault(rules.namespace(name), {}).update({one.id: one for one in records})

    def counts(self) -> dict[str, int]:
        """Records of every namespace that holds any, under the names that answers use."""
        return {name or "__default__": len(space) for name, space in self.spaces.items() if space}

    # -- what is asked ----------------------------------------------------------------------------------------------

    def stats(self) -> Json:
        """describe_index_stats."""
        return {
            "namespaces": {name: {"vectorCount": count} for name, count in self.counts().items()},
            "dimension": self.schema.dim or None,
            "indexFullness": 0.0,
            "totalVectorCount": sum(self.counts().values()),
            "metric": self.schema.metric,
            "vectorType": "dense" if self.schema.dense else "sparse",
        }

    def namespaces(self, limit: int, token: str | None) -> Json:
        """GET /namespaces; numbers are texts."""
        names = sorted(self.counts())
        start = bisect_right(names, self._past(token)) if token else 0
        page = names[start : start + limit]
        answer: Json = {"namespaces": [{"name": one, "record_count": str(self.counts()[one])} for one in page]}
        answer["total_count"] = len(names)
        if start + limit < len(names):
            answer["pagination"] = {"next": self._token(page[-1])}
        return answer

    def listed(self, name: str, prefix: str, limit: object, token: str | None) -> tuple[list[str], str | None]:
        """Ids of a prefix in ASCII order."""
        count = 100 if limit is None else limit
        refuse(
            not isinstance(count, int) or not 1 <= count <= rules.MOST_LISTED, f"limit must be 1 to 100, got {limit}"
        )
        assert isinstance(count, int)
        refuse(len(prefix) > 512 or not prefix.isascii(), "prefix must be at most 512 ASCII characters")
        ids = self.ids(name)
        past = self._past(token, name, prefix) if token else None
        start = bisect_left(ids, prefix) if past is None else bisect_right(ids, past)
        end = next((at for at in range(start, min(start + count, len(ids))) if not ids[at].startswith(prefix)), None)
        page = ids[start : min(start + count, len(ids)) if end is None else end]
        after = start + len(page)
        more = end is None and after < len(ids) and ids[after].startswith(prefix)
        return page, self._token(page[-1], name, prefix) if more else None

    def fetched(self, name: str, ids: list[str]) -> list[Record]:
        """The records of these ids that exist."""
        refuse(not ids, "ids must not be empty")
        refuse(len(ids) > rules.MOST_FETCHED, f"at most {rules.MOST_FETCHED} ids per request, got {len(ids)}")
        with self.lock:
            space = self.space(name)
            return [space[one] for one in map(rules.identity, ids) if one in space and not self._is_late(one)]

    def _is_late(self, name: str) -> bool:
        left = self.late.get(name, 0)
        self.late[name] = left - 1
        return left > 0

    def matched(
        self, name: str, conditions: object, limit: object, token: str | None, size: Callable[[Record], int]
    ) -> tuple[list[Record], str | None]:
        """The records that meet a filter, in no order that a client could rely on; at most 4 MB."""
        refuse(
            not isinstance(conditions, dict) or not conditions, "Empty filter provided for fetch by metadata request"
        )
        assert isinstance(conditions, dict)
        count = 100 if limit is None else limit
        refuse(
            not isinstance(count, int) or not 1 <= count <= rules.MOST_MATCHED, f"limit must be 1 to 10000, got {limit}"
        )
        assert isinstance(count, int)
        with self.lock:
            every = sorted(self.space(name).values(), key=lambda one: one.id[::-1])
        ids = [one.id[::-1] for one in every]
        past = self._past(token, name, "filter") if token else None
        start = 0 if past is None else bisect_right(ids, past)
        page: list[Record] = []
        total = 0
        for one in every[start:]:
            if not rules.matches(one.metadata, conditions):
                continue
            total += size(one)
            if len(page) == count or (page and total > rules.MATCHED_BYTES):
                return page, self._token(page[-1].id[::-1], name, "filter")
            page.append(one)
        return page, None

    def delete(self, name: str, chosen: Callable[[Record], bool]) -> int:
        """Remove records; how many."""
        with self.lock:
            space = self.space(name)
            self.writes += 1
            gone = [one for one, record in space.items() if chosen(record)]
            for one in gone:
                del space[one]
            return len(gone)

    # -- tokens -----------------------------------------------------------------------------------------------------

    def _token(self, past: str, *more: str) -> str:
        return base64.b64encode(orjson.dumps([past, *more])).decode()

    def _past(self, token: str, *more: str) -> str:
        try:
            past, *asked = orjson.loads(base64.b64decode(token, validate=True))
        except ValueError:
            raise Refusal(400, "Invalid pagination token") from None
        refuse(token in self.expired or "*" in self.expired, "Pagination token has expired")
        refuse(asked != list(more), "Pagination token was made for another request")
        return str(past)


# -- the vectors API ------------------------------------------------------------------------------------


def vectors(index: Index, body: Json) -> list[Record]:
    """The records of an upsert. Raises Refusal for the whole of it."""
    found = body.get("vectors")
    refuse(not isinstance(found, list) or not found, "vectors must not be empty")
    assert isinstance(found, list)
    refuse(len(found) > rules.MOST_RECORDS, f"Batch size {len(found)} exceeds the limit of {rules.MOST_RECORDS}")
    records = [_vector(index.schema, one) for one in found]
    refuse(len({one.id for one in records}) < len(records), "Duplicate vector IDs in one request")
    return records


def _vector(schema: Schema, one: Json) -> Record:
    known = {"id", "values", "sparseValues", "sparse_values", "metadata"}
    refuse(set(one) - known, f"Unknown field in vector: {set(one) - known}")
    pair = one.get("sparseValues", one.get("sparse_values"))
    refuse(pair is not None and schema.metric != "dotproduct", "Index configuration does not support sparse values")
    values = one.get("values")
    values = None if values is None or not len(values) else values
    refuse(values is None and schema.dense, "Vector must have values")
    refuse(values is not None and not schema.dense, "a sparse index takes no dense values")
    return Record(
        rules.identity(one.get("id")),
        rules.dense(values, schema.dim) if schema.dense else None,
        rules.sparse(pair) if pair is not None else None,
        rules.metadata(one.get("metadata") or {}, barred="$"),
    )


def as_vector(one: Record) -> Json:
    """As it is fetched."""
    found: Json = {"id": one.id, "values": [] if one.values is None else one.values}
    if one.sparse is not None:
        found["sparseValues"] = one.sparse
    return found | ({"metadata": one.metadata} if one.metadata else {})


# -- the documents API ----------------------------------------------------------------------------------


def documents(index: Index, body: Json) -> list[Record]:
    """The records of an upsert. Raises Refusal for the whole of it."""
    found = body.get("documents")
    refuse(not isinstance(found, list) or not found, "documents must not be empty")
    assert isinstance(found, list)
    refuse(len(found) > rules.MOST_RECORDS, f"at most {rules.MOST_RECORDS} documents per request, got {len(found)}")
    records = [_document(index.schema, one) for one in found]
    refuse(len({one.id for one in records}) < len(records), "Duplicate _id in one request")
    return records


def _document(schema: Schema, one: Json) -> Record:
    refuse(not isinstance(one, dict), "a document must be an object")
    name = rules.identity(one.get("_id"))
    refuse(schema.dense and schema.dense not in one, f"document {name!r} needs the field {schema.dense!r}")
    values = rules.dense(one[schema.dense], schema.dim) if schema.dense else None
    pair = one.get(schema.sparse) if schema.sparse else None
    rest = {key: value for key, value in one.items() if key not in ("_id", schema.dense, schema.sparse)}
    kept = rules.metadata(rest, barred="_$", texts=schema.texts)
    for key in schema.texts:
        refuse(key in kept and not isinstance(kept[key], str), f"field {key!r} of document {name!r} must be a string")
    return Record(name, values, rules.sparse(pair) if pair is not None else None, kept)


def as_document(one: Record, schema: Schema) -> Json:
    """As it is fetched."""
    found: Json = {"_id": one.id}
    if schema.dense:
        found[schema.dense] = one.values
    if one.sparse is not None and schema.sparse:
        found[schema.sparse] = one.sparse
    return found | one.metadata


def every(index: Index) -> Iterator[tuple[str, Record]]:
    """All records with their namespaces."""
    yield from ((name, one) for name, space in index.spaces.items() for one in space.values())


def size_of(answer: Any) -> int:
    """Bytes as JSON."""
    return len(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))
