"""Chroma collections, on a server, in Chroma Cloud or in a folder.

    chroma://host:8000/collection             chroma://host:8000/tenant/database/collection
    chroma:///path/to/folder?collection=x     --from chroma --url http://host:8000 --collection x

Host and port are spoken to by http; by https where the port is 443, in Chroma Cloud (chroma://api.trychroma.com/...),
with `--tls`, and when there is a key and the host is not this machine (`--tls false` undoes it). Servers are spoken to
by version 2 of the HTTP API (Chroma 0.6 or later), without a library of Chroma. A local folder is opened by the
embedded client (`pip install 'vexarrow[chroma]'`), by one process at a time; if an older version made it, it is brought
to the version installed, as any use of that client does, once records are read or written. What only describes it, such
as `--dry-run`, works on a copy of the few tables that this takes.

What a record becomes:

- Its id is the id. What ids were before they became text is noted in a new collection's metadata (`vex_id_type`).
- Its text is the document; "" is told from null by a note under `__vex__`.
- `namespace`, `model`, `created_at` and the members of the metadata are keys of the metadata. Chroma holds strings,
  booleans, 64-bit integers and finite floats there. Everything else (null, lists, nested values, larger integers, -0.0,
  keys that are empty or start with "#", "$" or "chroma:") is JSON text under the key `__vex__`, with score, extra and
  the other fields, and comes back as it was. Lists are among them although Chroma 1.5 holds lists of one kind: what
  is left of the lists of a deleted collection turns up in records of other collections there (seen in 1.5.9).
- A member "uri" of `extra` is also the URI of the record, and the URI of a foreign record becomes that member.
- Records without a vector and those of another dimension are rejected.

With `--namespace-as collection` every namespace has a collection of its name, and `--collection` names that of records
without a namespace; reading then takes all collections of the database. `--no-create` asks then that there is one.

Loading replaces records as a whole, although Chroma's own upsert merges them with what is there. Collections with the
metrics `dot` and `euclidean` are exact. One with `cosine` keeps the unit vector and the length, and gives a fifth of
all numbers back with another last bit; what is missing is noted under `__vex__` (two bits a number) and put right when
vex reads them. Chroma Cloud computes in ways that are not known, so that there the last bit is lost.

A server of one's own takes one upsert at a time, whatever `--concurrency` says, because its index does.

Collections of others (npm vex, LangChain, LlamaIndex, ...) are read as they are: documents are texts, all metadata is
kept. Records come in the order in which they were written first, by offsets: while others delete records, reading
fails rather than pass some over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from vexarrow.fields import FIELD_OPTIONS, Found
from vexarrow.location import Location
from vexarrow.patience import OPTIONS, Requests
from vexarrow.protocols import Capabilities, Connector, Option, Sink, Source
from vexarrow.selection import Selection

from ._chroma_address import Address, address, several
from ._chroma_store import Store


@contextmanager
def open_source(location: Location, selection: Selection) -> Iterator[Source]:
    """The records of a collection. Raises NotFound, AccessError, UsageError, MissingDependency, TransientError."""
    from ._chroma_names import naming
    from ._chroma_source import CollectionSource

    where = address(location, one=not several(location))
    with _opened(location, where) as (store, requests):
        names = naming(location, where.collection)
        yield CollectionSource(str(where), store, requests, names, Found.of(location), selection)


@contextmanager
def open_sink(location: Location) -> Iterator[Sink]:
    """Upserts into a collection, made if there is none."""
    from ._chroma_names import naming
    from ._chroma_sink import CollectionSink

    where = address(location, one=not several(location))
    with _opened(location, where) as (store, requests):
        sink = CollectionSink(str(where), store, requests, naming(location, where.collection))
        with closing(sink):
            yield sink


@contextmanager
def _opened(location: Location, where: Address) -> Iterator[tuple[Store, Requests]]:
    requests = Requests.of(location)
    try:
        if where.folder is not None:
            with _folder(where) as store:
                yield store, requests
        else:
            with _server(where, requests) as store:
                yield store, requests
    finally:
        requests.close()


@contextmanager
def _server(where: Address, requests: Requests) -> Iterator[Store]:
    from . import _chroma_http

    store, http = _chroma_http.opened(where, requests)
    try:
        yield store
    finally:
        http.close()


@contextmanager
def _folder(where: Address) -> Iterator[Store]:
    from ._chroma_local import Folder

    store = Folder(where)
    try:
        yield store
    finally:
        store.close()


_OPTIONS = (
    Option(("url",), "the server", env=("CHROMA_URL",), default="http://localhost:8000", says="at"),
    Option(("path",), "the folder of a local database, instead of a server", says="in"),
    Option(("collection",), "the collection", env=("CHROMA_COLLECTION",), says="collection"),
    Option(("tenant",), "the tenant", env=("CHROMA_TENANT",), default="default_tenant"),
    Option(("database",), "the database", env=("CHROMA_DATABASE",), default="default_database"),
    Option(("api-key",), "the key, sent as x-chroma-token", env=("CHROMA_API_KEY",), secret=True),
    Option(("tls",), "speak https to the host of a chroma:// address; false: http, even with a key", flag=True),
    Option(
        ("namespace-as",),
        "where namespaces are: a key of the metadata, or a collection for each (collection)",
        default="metadata",
    ),
    *FIELD_OPTIONS,
    *OPTIONS,
)

connector = Connector(
    name="chroma",
    summary="Chroma collections, on a server, in Chroma Cloud or in a folder",
    source=open_source,
    sink=open_sink,
    options=_OPTIONS,
    capabilities=Capabilities(
        idempotent=True,
        mixed_dims=False,
        null_vectors=False,
        pushdown=frozenset({"namespace"}),
        parallel=4,
    ),
    aliases=("chromadb",),
    encodings=(
        "texts are documents; namespace, model and created_at are keys of the metadata",
        "null, lists, nested values, -0.0 and integers beyond 64 bits in metadata, and extra and score, are JSON text "
        "under the key __vex__",
        "integer and UUID ids are text; the collection's metadata says what they were (vex_id_type)",
        "vectors of a collection with the metric cosine come back with another last bit in some numbers, which vex "
        "puts right by a note under __vex__, but not in Chroma Cloud",
    ),
)
