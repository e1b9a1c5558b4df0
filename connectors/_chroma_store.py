"""What the source and the sink need of a Chroma database, whether it is behind HTTP or in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from vexarrow.metrics import metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Distances by our names; Chroma's l2 is squared, which orders neighbours alike.
SPACES = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}
INDEXES = ("hnsw", "spann")
COMMON = ("ef_construction", "ef_search", "max_neighbors")  # parameters of both
# The key of the collection's metadata that says what ids were before they became text.
ID_TYPE = "vex_id_type"


@dataclass(frozen=True)
class Collection:
    """A collection as Chroma describes it; `dim` is None before its first record."""

    id: str
    name: str
    dim: int | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)

    @property
    def index(self) -> tuple[str, Mapping[str, Any]]:
        """The kind of the index and its parameters; 0.6 called them in another way."""
        if isinstance(older := self.configuration.get("hnsw_configuration"), dict):
            return "hnsw", older
        for kind in INDEXES:
            if isinstance(self.configuration.get(kind), dict):
                return kind, self.configuration[kind]
        return "hnsw", {}

    @property
    def metric(self) -> str | None:
        """One of vexarrow.metrics.METRICS; versions before 0.6 had it in the metadata."""
        return metric(self.index[1].get("space") or self.metadata.get("hnsw:space"))

    @property
    def id_type(self) -> str:
        """What ids are as far as the collection says."""
        kind = self.metadata.get(ID_TYPE)
        return kind if kind in ("int", "uuid") else "string"


class Raw(NamedTuple):
    """Some records as Chroma gives them. `bad`: rows whose vector is not finite, which JSON cannot say."""

    ids: list[str]
    matrix: NDArray[np.float32]
    documents: Sequence[str | None]
    metadatas: Sequence[Mapping[str, Any] | None]
    uris: Sequence[str | None] | None
    bad: Sequence[int] = ()


def joined(parts: Sequence[Raw]) -> Raw:
    """Parts that follow one another, of which at least one there is."""
    if len(parts) == 1:
        return parts[0]
    import numpy as np

    starts = [sum(len(part.ids) for part in parts[:at]) for at in range(len(parts))]
    uris = [uri for part in parts for uri in part.uris or [None] * len(part.ids)]
    return Raw(
        [identity for part in parts for identity in part.ids],
        np.concatenate([part.matrix for part in parts if part.ids]) if starts[-1] else parts[0].matrix,
        list(chain.from_iterable(part.documents for part in parts)),
        list(chain.from_iterable(part.metadatas for part in parts)),
        uris,
        [start + row for start, part in zip(starts, parts, strict=True) for row in part.bad],
    )


class Rows(NamedTuple):
    """Some records to be written; a metadata is None where there is none, a value in it None where a key has to go."""

    ids: list[str]
    matrix: NDArray[np.float32]
    documents: list[str | None]
    metadatas: list[dict[str, Any] | None]
    uris: list[str | None] | None


class Old(NamedTuple):
    """What is there already of a record: its keys, and whether it has a document and a URI."""

    keys: Sequence[str]
    document: bool
    uri: bool


def old(metadata: Mapping[str, Any] | None, document: str | None, uri: str | None) -> Old:
    """What a record leaves behind."""
    return Old(list(metadata or ()), bool(document), bool(uri))


# Above 5461 keys of one record, an upsert is more than SQLite takes, and its collection takes nothing any more.
KEYS = 1000


class Limits(NamedTuple):
    """What a database takes at once.

    `readers` and `writers`: requests at a time that are worth while. `rows`, `bytes`: of an upsert. `read`: records of
    an answer, None for any number. `keys`: of a record's metadata, `key`: bytes of one, None for any. `leaks`: new
    records may come with lists that deleted ones have left behind. `hnswlib`: what cosine collections give back is
    known (see `_chroma_bits`).
    """

    readers: int
    writers: int
    rows: int
    bytes: int
    read: int | None
    keys: int
    key: int | None
    leaks: bool
    hnswlib: bool


def listing(ids: Sequence[str], metadatas: Sequence[Mapping[str, Any] | None]) -> dict[str, list[str]]:
    """The keys of lists, by the ids of records that have any."""
    found = {
        identity: [key for key, value in (metadata or {}).items() if isinstance(value, list)]
        for identity, metadata in zip(ids, metadatas, strict=True)
    }
    return {identity: keys for identity, keys in found.items() if keys}


def named(collection: Collection) -> str:
    """The name of a collection, by which they are sorted."""
    return collection.name


class Store(Protocol):
    """One database of Chroma. Raises NotFound, AccessError, Refused, TransientError, VexError."""

    def limits(self) -> Limits:
        """What it takes at once."""
        ...

    def collection(self, name: str) -> Collection | None:
        """A collection by its name, None when there is none. This, `collections` and `count` change nothing."""
        ...

    def collections(self) -> list[Collection]:
        """All collections, in the alphabetical order of their names."""
        ...

    def create(self, name: str, metadata: Mapping[str, Any] | None, configuration: Mapping[str, Any]) -> Collection:
        """Make a collection, or return the one that is there."""
        ...

    def count(self, collection: Collection) -> int:
        """The number of its records."""
        ...

    def read(self, collection: Collection, offset: int, limit: int, where: Mapping[str, Any] | None) -> Raw:
        """Records in the order in which they were written first."""
        ...

    def known(self, collection: Collection, ids: list[str]) -> dict[str, Old]:
        """Of these ids, the ones that are there."""
        ...

    def upsert(self, collection: Collection, rows: Rows) -> None:
        """Write records; of one that is there, keys and documents that are not given stay."""
        ...

    def lists(self, collection: Collection, ids: list[str]) -> dict[str, list[str]]:
        """Of these records, those with lists in their metadata, and their keys."""
        ...

    def forget(self, collection: Collection, keys: Mapping[str, list[str]]) -> None:
        """Remove keys from the metadata of records."""
        ...
