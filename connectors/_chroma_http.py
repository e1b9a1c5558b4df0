"""A database on a server, by version 2 of its HTTP API. Thread-safe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from vexarrow.errors import DataError, NotFound, VexError
from vexarrow.http import Http
from vexarrow.patience import Requests

from ._chroma_address import Address
from ._chroma_body import decoded, encoded
from ._chroma_store import KEYS, Collection, Limits, Old, Raw, Rows, listing, named, old

_INCLUDE = ["embeddings", "documents", "metadatas", "uris"]
# The quotas of Chroma Cloud: records a request (either way), requests at once, keys of a record, bytes of a key.
_CLOUD_ROWS = 300
_CLOUD_AT_ONCE, _CLOUD_KEYS, _CLOUD_KEY = 10, 32, 36
# The server takes 40 MB a request unless its configuration says otherwise.
_MOST_BYTES = 36_000_000
# What a server that does not say takes: the least of SQLite's limits (999 variables, six a record).
_FEW_ROWS = 166
_LISTED = 100


class Server:
    """One database of one server. Requests are sent once: the caller tries again."""

    def __init__(self, address: Address, http: Http, requests: Requests) -> None:
        self._address = address
        self._http = http
        self._base = f"/api/v2/tenants/{quote(address.tenant, safe='')}/databases/{quote(address.database, safe='')}"
        said = requests.call(self._checks)
        most = said.get("max_batch_size")
        self._most_rows = most if isinstance(most, int) and most > 0 else _FEW_ROWS
        self._concurrency = requests.concurrency
        self._base64 = said.get("supports_base64_encoding") is True

    def limits(self) -> Limits:
        """What the server says, and what is known of servers of one's own and of Chroma Cloud."""
        if self._address.cloud:
            at_once, rows = min(self._concurrency, _CLOUD_AT_ONCE), min(self._most_rows, _CLOUD_ROWS)
            return Limits(at_once, at_once, rows, _MOST_BYTES, _CLOUD_ROWS, _CLOUD_KEYS, _CLOUD_KEY, False, False)
        # It indexes in one thread, and doubles its work when it is asked for more at once.
        return Limits(self._concurrency, 1, self._most_rows, _MOST_BYTES, None, KEYS, None, leaks=True, hnswlib=True)

    def _checks(self) -> Mapping[str, Any]:
        try:
            found = self._json("GET", "/api/v2/pre-flight-checks")
        except NotFound:
            raise VexError(f"{self._address}: {self._http} does not speak version 2 of Chroma's API") from None
        return found if isinstance(found, dict) else {}

    def _json(self, method: str, path: str, body: object = None) -> Any:
        data = self._send(method, path, None if body is None else orjson.dumps(body))
        try:
            return orjson.loads(data) if data else None
        except orjson.JSONDecodeError:
            raise DataError(f"{self._http}: {method} {path}: the answer is not JSON") from None

    def _send(self, method: str, path: str, data: bytes | None) -> bytes:
        return self._http.send(method, path, data)

    # -- collections ------------------------------------------------------------------------------------------------

    def collection(self, name: str) -> Collection | None:
        """A collection by its name, None when there is none."""
        try:
            return _collection(self._json("GET", f"{self._base}/collections/{quote(name, safe='')}"))
        except NotFound:
            return None

    def collections(self) -> list[Collection]:
        """All collections, in the alphabetical order of their names."""
        found: list[Collection] = []
        while True:
            page = self._json("GET", f"{self._base}/collections?limit={_LISTED}&offset={len(found)}") or []
            found += map(_collection, page)
            if len(page) < _LISTED:
                return sorted(found, key=named)

    def create(self, name: str, metadata: Mapping[str, Any] | None, configuration: Mapping[str, Any]) -> Collection:
        """Make a collection, or return the one that is there. Raises NotFound without its tenant or database."""
        body = {"name": name, "metadata": metadata, "configuration": configuration, "get_or_create": True}
        return _collection(self._json("POST", f"{self._base}/collections", body))

    def count(self, collection: Collection) -> int:
        """The number of its records."""
        return int(self._json("GET", f"{self._at(collection)}/count"))

    def _at(self, collection: Collection) -> str:
        return f"{self._base}/collections/{collection.id}"

    # -- records ----------------------------------------------------------------------------------------------------

    def read(self, collection: Collection, offset: int, limit: int, where: Mapping[str, Any] | None) -> Raw:
        """Records in the order in which they were written first."""
        body = {"limit": limit, "offset": offset, "include": _INCLUDE, "where": where}
        return decoded(self._send("POST", f"{self._at(collection)}/get", orjson.dumps(body)), str(self._address))

    def known(self, collection: Collection, ids: list[str]) -> dict[str, Old]:
        """Of these ids, the ones that are there. The server tells first which, and only of these what they hold."""
        found = self._json("POST", f"{self._at(collection)}/get", {"ids": ids, "limit": len(ids), "include": []})["ids"]
        if not found:
            return {}
        include = ["metadatas", "documents", "uris"]
        full = self._json("POST", f"{self._at(collection)}/get", {"ids": found, "limit": len(ids), "include": include})
        columns = zip(full["ids"], full["metadatas"], full["documents"], full["uris"], strict=True)
        return {identity: old(*rest) for identity, *rest in columns}

    def upsert(self, collection: Collection, rows: Rows) -> None:
        """Write records; of one that is there, keys and documents that are not given stay."""
        self._send("POST", f"{self._at(collection)}/upsert", encoded(rows, base64=self._base64))

    def lists(self, collection: Collection, ids: list[str]) -> dict[str, list[str]]:
        """Of these records, those with lists in their metadata, and their keys."""
        body = {"ids": ids, "limit": len(ids), "include": ["metadatas"]}
        found = self._json("POST", f"{self._at(collection)}/get", body)
        return listing(found["ids"], found["metadatas"])

    def forget(self, collection: Collection, keys: Mapping[str, list[str]]) -> None:
        """Remove keys from the metadata of records."""
        metadatas = [dict.fromkeys(names) for names in keys.values()]
        body = {"ids": list(keys), "embeddings": None, "documents": None, "uris": None, "metadatas": metadatas}
        self._json("POST", f"{self._at(collection)}/update", body)


def opened(address: Address, requests: Requests) -> tuple[Server, Http]:
    """The database of an address, and its connections, which have to be closed."""
    if address.url is None:
        raise AssertionError("a folder is no server")
    headers = {"x-chroma-token": address.key} if address.key else None
    connections, key = requests.concurrency + 1, "--api-key or CHROMA_API_KEY"
    http = Http(address.url, headers=headers, timeout=requests.timeout, connections=connections, key=key)
    try:
        return Server(address, http, requests), http
    except BaseException:
        http.close()
        raise


def _collection(found: Mapping[str, Any]) -> Collection:
    configuration = found.get("configuration_json") or {}
    if isinstance(configuration, str):
        configuration = orjson.loads(configuration)
    return Collection(found["id"], found["name"], found.get("dimension"), found.get("metadata") or {}, configuration)
