"""A database in a folder, by the embedded client. Chroma's own library makes Python floats of vectors here; there is no
other door to a folder. A folder is for one process at a time. The client brings an older one to the version installed
when it opens it; until records are read or written, such a folder is described by its outline (`_chroma_outline`)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from vexarrow.errors import AccessError, DataError, MissingDependency, NotFound, Refused, TransientError, VexError

from ._chroma_address import Address
from ._chroma_outline import DATABASE_FILE, Outline, count, outlined
from ._chroma_store import KEYS, Collection, Limits, Old, Raw, Rows, listing, named, old

_LISTED = 100
_REFUSALS = {"InvalidDimensionException", "InvalidArgumentError", "DuplicateIDError", "BatchSizeExceededError"}


class Folder:
    """One database of one folder. One call at a time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._opened: dict[str, Any] = {}
        self._open: Any = None
        self._outline: Outline | None = None
        self._outlined: Any = None
        self._around = ExitStack()

    @property
    def there(self) -> bool:
        """Whether there is a database in the folder; the embedded client would make one."""
        return self._address.folder is not None and self._file.is_file()

    @property
    def _file(self) -> Path:
        return (self._address.folder or Path()) / DATABASE_FILE

    def limits(self) -> Limits:
        """What SQLite takes at once."""
        with self._alone():
            most = self._client.get_max_batch_size()
        return Limits(1, 1, most, 1 << 30, read=None, keys=KEYS, key=None, leaks=True, hnswlib=True)

    @property
    def _client(self) -> Any:
        if self._open is None:
            self._open = _client(self._address)
            self._around.callback(self._open.close)
        return self._open

    @property
    def _describing(self) -> Any:
        """A client that knows the collections; not that of the folder when opening it would change the folder."""
        if self._open is None and self._outline is None:
            outline = self._around.enter_context(outlined(self._file))
            outlined_client = _client(replace(self._address, folder=outline.folder))
            self._around.callback(outlined_client.close)
            self._outline, self._outlined = outline, outlined_client
        if self._open is None and self._outline is not None and self._outline.changed():
            return self._outlined
        return self._client

    def close(self) -> None:
        """Close the embedded client, if it was needed."""
        self._around.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock, translated(str(self._address)):
            yield

    def _handle(self, collection: Collection) -> Any:
        if collection.id not in self._opened:
            self._opened[collection.id] = self._client.get_collection(collection.name, embedding_function=None)
        return self._opened[collection.id]

    # -- collections ------------------------------------------------------------------------------------------------

    def collection(self, name: str) -> Collection | None:
        """A collection by its name, None when there is none."""
        if not self.there:
            return None
        try:
            with self._alone():
                return _described(self._describing.get_collection(name, embedding_function=None))
        except NotFound:
            return None

    def collections(self) -> list[Collection]:
        """All collections, in the alphabetical order of their names."""
        found: list[Collection] = []
        if not self.there:
            return found
        with self._alone():
            while True:
                page = self._describing.list_collections(limit=_LISTED, offset=len(found))
                found += map(_described, page)
                if len(page) < _LISTED:
                    return sorted(found, key=named)

    def create(self, name: str, metadata: Mapping[str, Any] | None, configuration: Mapping[str, Any]) -> Collection:
        """Make a collection, or return the one that is there."""
        given = {key: value for key, value in configuration.items() if value is not None}
        with self._alone():
            made = self._client.get_or_create_collection(
                name, metadata=metadata or None, configuration=given, embedding_function=None
            )
            return _described(made)

    def count(self, collection: Collection) -> int:
        """The number of its records."""
        with self._alone():
            if self._describing is self._outlined:
                return count(self._file, collection.id)
            return int(self._handle(collection).count())

    # -- records ----------------------------------------------------------------------------------------------------

    def read(self, collection: Collection, offset: int, limit: int, where: Mapping[str, Any] | None) -> Raw:
        """Records in the order in which they were written first."""
        include = ["embeddings", "documents", "metadatas", "uris"]
        with self._alone():
            found = self._handle(collection).get(limit=limit, offset=offset, where=where, include=include)
        with np.errstate(over="ignore"):
            matrix = np.array(found["embeddings"], dtype=np.float32, ndmin=2)
        bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1)).tolist()
        matrix[bad] = 0
        return Raw(found["ids"], matrix, found["documents"], found["metadatas"], found["uris"], bad)

    def known(self, collection: Collection, ids: list[str]) -> dict[str, Old]:
        """Of these ids, the ones that are there."""
        with self._alone():
            found = self._handle(collection).get(ids=ids, include=["metadatas", "documents", "uris"])
        columns = zip(found["ids"], found["metadatas"], found["documents"], found["uris"], strict=True)
        return {identity: old(*rest) for identity, *rest in columns}

    def upsert(self, collection: Collection, rows: Rows) -> None:
        """Write records; of one that is there, keys and documents that are not given stay."""
        given: dict[str, Any] = {"documents": rows.documents, "uris": rows.uris, "metadatas": rows.metadatas}
        for name, values in given.items():
            if values is not None and all(value is None for value in values):
                given[name] = None
        with self._alone():
            self._handle(collection).upsert(ids=rows.ids, embeddings=rows.matrix, **given)

    def lists(self, collection: Collection, ids: list[str]) -> dict[str, list[str]]:
        """Of these records, those with lists in their metadata, and their keys."""
        with self._alone():
            found = self._handle(collection).get(ids=ids, include=["metadatas"])
        return listing(found["ids"], found["metadatas"])

    def forget(self, collection: Collection, keys: Mapping[str, list[str]]) -> None:
        """Remove keys from the metadata of records."""
        with self._alone():
            metadatas = [dict.fromkeys(names) for names in keys.values()]
            self._handle(collection).update(ids=list(keys), metadatas=metadatas)


def _described(handle: Any) -> Collection:
    model = handle.get_model()
    return Collection(str(model.id), model.name, model.dimension, model.metadata or {}, model.configuration_json)


def _client(address: Address) -> Any:
    """The embedded client, which has to be closed. Makes the folder. Raises MissingDependency, VexError."""
    # The library asks for these before it looks at settings: no telemetry, and nothing but the folder is written.
    os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
    with translated(str(address)):
        try:
            import chromadb
        except ImportError:
            raise MissingDependency("a chroma folder needs chromadb: pip install 'vexarrow[chroma]'") from None
        settings = chromadb.config.Settings(anonymized_telemetry=False)
        folder = str((address.folder or Path()).resolve())
        return chromadb.PersistentClient(folder, settings, address.tenant, address.database)


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Chroma's errors as ours; its library raises all kinds, told apart by their names."""
    try:
        yield
    except VexError:
        raise
    except Exception as error:
        raise _translated(place, error) from error


def _translated(place: str, error: Exception) -> VexError:
    name, text = type(error).__name__, f"{place}: {_sentence(error)}"
    if name == "NotFoundError":
        return NotFound(text)
    if name in _REFUSALS or isinstance(error, (ValueError, TypeError)):
        return Refused(text)
    if isinstance(error, PermissionError) or "unable to open database file" in text or "readonly" in text:
        return AccessError(text)
    if "database is locked" in text:
        return TransientError(text)
    if "not a database" in text or "malformed" in text:
        return DataError(text)
    return VexError(text)


def _sentence(error: Exception) -> str:
    try:
        text = str(orjson.loads(str(error))["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        text = str(error)
    return " ".join(text.split())[:300] or type(error).__name__
