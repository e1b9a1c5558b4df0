"""Pinecone's REST APIs: the control plane, and of the data plane the vectors API and the documents API. What both data
APIs can do is `Data`, which the vectors API does over gRPC as well (`_pinecone_grpc`).

Version 2026-07. An index is read and written by one of the two data APIs alone (`_pinecone_schema`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import orjson

from vexarrow.errors import NotFound, Refused, Unsupported, VexError
from vexarrow.http import Http

from ._pinecone_names import canonical, in_path
from ._pinecone_schema import Json

VERSION = "2026-07"
KEY = "--api-key or PINECONE_API_KEY"
MOST_LISTED = 100
MOST_FETCHED = 1000
MOST_MATCHED = 10_000
# Requests for vectors by id are GETs; servers and proxies refuse long addresses, this one passes everywhere.
URL_BYTES = 7_000


class TooLong(VexError):
    """An address or its answer is too long: ask for fewer records."""


class Api(Http):
    """One host of Pinecone. Raises what Http does, and TooLong for 414 and 431."""

    def __init__(self, url: str, key: str, *, timeout: float, connections: int) -> None:
        headers = {"Api-Key": key, "X-Pinecone-Api-Version": VERSION}
        super().__init__(with_scheme(url), headers=headers, timeout=timeout, connections=connections, key=KEY)
        self._secrets = [key]

    def _error(self, method: str, path: str, answer: Any) -> VexError:
        error = super()._error(method, path, answer)
        return TooLong(str(error)) if answer.status in (414, 431) else error


def with_scheme(host: str) -> str:
    """A host as a URL: the API gives them without https://."""
    return host if host.startswith(("https://", "http://")) else f"https://{host}"


def is_at(index: Json, host: str) -> bool:
    """Whether a host is that of an index, or its private endpoint; scheme and case make no difference."""
    return _bare(host) in {_bare(str(index[key])) for key in ("host", "private_host") if index.get(key)}


def _bare(host: str) -> str:
    return host.split("://")[-1].rstrip("/").lower().removesuffix(":443")


class Control:
    """The control plane: describing and creating indexes."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def describe(self, name: str) -> Json:
        """One index. Raises NotFound."""
        answer: Json = self._api.json("GET", f"/indexes/{quote(name, safe='')}")
        return answer

    def at(self, host: str) -> Json | None:
        """The index that has a host, None when none of the project's has it."""
        answer = self._api.json("GET", "/indexes") or {}
        return next((one for one in answer.get("indexes", ()) if is_at(one, host)), None)

    def create(self, body: Json) -> Json:
        """Make an index, which may not be ready yet."""
        answer: Json = self._api.json("POST", "/indexes", body)
        return answer


def _body(opening: bytes, records: Sequence[bytes], end: bytes) -> bytes:
    """A request with records in a list, put together by one copy of them."""
    first, rest = opening + records[0], list(records[1:])
    if rest:
        rest[-1] += end
        return b",".join([first, *rest])
    return first + end


# -- data -----------------------------------------------------------------------------------------------


class Data(Protocol):
    """One of the two data APIs, one of them also over gRPC. Namespaces are Pinecone's, "" for the default one.

    `packed`: records and answers are messages of gRPC, not JSON; `number_bytes`: what a number takes in an answer.
    """

    packed: bool
    number_bytes: int

    def listed(
        self, namespace: str, prefix: str, token: str | None, limit: int = MOST_LISTED
    ) -> tuple[list[str], str | None]:
        """Ids in ASCII order, and the token of the next page. Raises Refused for a token that is not taken."""
        ...

    def fetched(self, namespace: str, ids: Sequence[str]) -> bytes:
        """The answer with the records of these ids. Raises TooLong."""
        ...

    def matched(self, namespace: str, conditions: Json, limit: int) -> bytes:
        """The answer with the records that meet conditions: a first page."""
        ...

    def upsert(self, namespace: str, records: Sequence[bytes]) -> None:
        """Write records, each as JSON or a message. Raises Refused."""
        ...

    def ids_at_once(self, ids: Sequence[str], most: int) -> int:
        """How many of the first ids go in one request."""
        ...

    def stats(self) -> Json:
        """Dimension, metric and counts of an index, as the data plane knows them."""
        ...

    def spaces(self, token: str) -> tuple[dict[str, int], str]:
        """A page of namespaces with their numbers of records, and the token of the next one, "" for the last."""
        ...


class _Rest:
    """What both APIs have over REST."""

    packed = False
    number_bytes = 11

    def __init__(self, api: Api) -> None:
        self._api = api

    def stats(self) -> Json:
        """See Data."""
        answer: Json = self._api.json("POST", "/describe_index_stats", {}) or {}
        return answer

    def spaces(self, token: str) -> tuple[dict[str, int], str]:
        """See Data."""
        query = urlencode({"limit": "100"} | ({"paginationToken": token} if token else {}))
        answer = self._api.json("GET", f"/namespaces?{query}") or {}
        found = {one.get("name", ""): int(one.get("record_count") or 0) for one in answer.get("namespaces") or ()}
        return found, (answer.get("pagination") or {}).get("next") or ""


class Vectors(_Rest):
    """The vectors API of indexes with a dimension and a metric."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._url_bytes = URL_BYTES

    def listed(
        self, namespace: str, prefix: str, token: str | None, limit: int = MOST_LISTED
    ) -> tuple[list[str], str | None]:
        """See Data."""
        asked = {"namespace": namespace, "limit": str(limit), "prefix": prefix, "paginationToken": token or ""}
        query = urlencode({key: value for key, value in asked.items() if value})
        answer = self._api.json("GET", f"/vectors/list?{query}") or {}
        return [one["id"] for one in answer.get("vectors") or ()], (answer.get("pagination") or {}).get("next") or None

    def fetched(self, namespace: str, ids: Sequence[str]) -> bytes:
        """See Data."""
        space = f"&namespace={quote(namespace, safe='')}" if namespace else ""
        try:
            return self._api.send(
                "GET", f"/vectors/fetch?ids={'&ids='.join(quote(one, safe='') for one in ids)}{space}"
            )
        except TooLong:
            self._url_bytes = max(100, self._url_bytes // 2)
            raise

    def matched(self, namespace: str, conditions: Json, limit: int) -> bytes:
        """See Data."""
        body = {"filter": conditions, "limit": limit} | ({"namespace": namespace} if namespace else {})
        return self._api.send("POST", "/vectors/fetch_by_metadata", orjson.dumps(body))

    def upsert(self, namespace: str, records: Sequence[bytes]) -> None:
        """See Data."""
        end = b'],"namespace":' + orjson.dumps(namespace) + b"}" if namespace else b"]}"
        self._api.send("POST", "/vectors/upsert", _body(b'{"vectors":[', records, end))

    def ids_at_once(self, ids: Sequence[str], most: int) -> int:
        """See Data."""
        room = self._url_bytes
        for at, one in enumerate(ids[:most]):
            room -= len(one) + 5
            if room < 0:
                return max(at, 1)
        return min(most, len(ids))


class Documents(_Rest):
    """The documents API of indexes with a schema of named fields."""

    def _path(self, namespace: str, verb: str) -> str:
        return f"/namespaces/{in_path(namespace)}/documents/{verb}"

    def listed(
        self, namespace: str, prefix: str, token: str | None, limit: int = MOST_LISTED
    ) -> tuple[list[str], str | None]:
        """See Data."""
        asked: Json = {"limit": limit, "prefix": prefix, "pagination_token": token}
        body = {key: value for key, value in asked.items() if value}
        answer = self._api.json("POST", self._path(namespace, "list"), body) or {}
        return [one["_id"] for one in answer.get("documents") or ()], (answer.get("pagination") or {}).get(
            "next"
        ) or None

    def fetched(self, namespace: str, ids: Sequence[str]) -> bytes:
        """See Data."""
        return self._api.send("POST", self._path(namespace, "fetch"), orjson.dumps({"ids": list(ids)}))

    def matched(self, namespace: str, conditions: Json, limit: int) -> bytes:
        """See Data."""
        body = orjson.dumps({"filter": conditions, "limit": limit})
        return self._api.send("POST", self._path(namespace, "fetch"), body)

    def upsert(self, namespace: str, records: Sequence[bytes]) -> None:
        """See Data."""
        self._api.send("POST", self._path(namespace, "upsert"), _body(b'{"documents":[', records, b"]}"))

    def ids_at_once(self, ids: Sequence[str], most: int) -> int:
        """See Data."""
        return min(most, len(ids))


def namespaces(data: Data) -> dict[str, int]:
    """Every namespace that holds records with their number, sorted; "" is the default one. Numbers may lag."""
    try:
        found = _listed_namespaces(data)
    except VexError as error:
        if not _unsupported(error):
            raise
        found = {name: one.get("vectorCount", 0) for name, one in (data.stats().get("namespaces") or {}).items()}
    counts: dict[str, int] = {}
    for name, count in found.items():
        counts[canonical(name)] = counts.get(canonical(name), 0) + int(count or 0)
    return dict(sorted(counts.items()))


def _unsupported(error: VexError) -> bool:
    """Indexes of pods do not list their namespaces."""
    if isinstance(error, Refused | NotFound | Unsupported):
        return True
    return any(f"HTTP {status}" in str(error) for status in (405, 501))


def _listed_namespaces(data: Data) -> dict[str, int]:
    found, token = data.spaces("")
    while token:
        more, token = data.spaces(token)
        found |= more
    return found


# -- imports --------------------------------------------------------------------------------------------


def start_import(api: Api, uri: str, integration: str | None) -> str:
    """Have files imported; the id of the job. To be sent once: every request starts a job of its own."""
    body: Json = {"uri": uri, "errorMode": {"onError": "abort"}}
    if integration:
        body["integrationId"] = integration
    return str(api.json("POST", "/bulk/imports", body)["id"])


def imports_of(api: Api, uri: str) -> list[Json]:
    """The jobs that import from an address, as `imported` tells of each."""
    found: list[Json] = []
    token = ""
    while True:
        query = urlencode({"limit": "100"} | ({"paginationToken": token} if token else {}))
        answer = api.json("GET", f"/bulk/imports?{query}") or {}
        found += [one for one in answer.get("data") or () if str(one.get("uri", "")).rstrip("/") == uri.rstrip("/")]
        token = (answer.get("pagination") or {}).get("next") or ""
        if not token:
            return found


def imported(api: Api, job: str) -> Json:
    """How far an import is: `status`, `recordsImported`, `error`."""
    answer: Json = api.json("GET", f"/bulk/imports/{quote(job, safe='')}")
    return answer
