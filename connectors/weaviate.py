"""Weaviate collections (classes): the schema over REST, records over gRPC with vectors as bytes.

    weaviate://host:8080/Notes?grpc_port=50051        --to weaviate --url https://host --collection Notes

A `weaviate://` address with an API key is spoken to with TLS, unless the host is this machine: `--tls false` undoes it.

**Ids** are UUIDs. An id that is none becomes the UUIDv5 of the URL namespace (`--id-scheme weaviate`: of the DNS
namespace, as Weaviate's own helper), and is kept in the property `__id__`; what kind ids were is noted there, so that
integers are integers again when they are read.

**Classes that we create** have the properties of npm vex, `text`, `model`, `namespace`, `created_at` and `metadata`
(JSON text, verbatim), and beside them `source_store`, `__id__` and `__vex__` (JSON text: extra, score, modality, which
fields are "" and not null). No vectorizer; the distance is that of the source; index parameters are taken over from
another Weaviate. What else a class lacks for our records is added to it, nothing is changed.

**Any other class** is read, too: the text under its usual names (or `--text-field`), every other property as a member
of the metadata: numbers, booleans, arrays and objects as such, dates, UUIDs and blobs (base64) as text, geo coordinates
and phone numbers as objects, cross-references as lists of beacons.

**Tenants** are namespaces. Of a class with tenants all are read; one that is not active is an error, unless the server
activates it by itself or others are chosen with `--tenant` or `--namespace`. Nothing but reading activates tenants.
`--namespace-as tenant` creates a class with a tenant for each namespace, where an id is another record in each of
them; a namespace that is no name of a tenant gets one of a hash, and stays what it was. `--tenant` reads or writes one
tenant alone, where namespaces are a property. `--namespace` reads its tenant alone; in a class of ours without tenants
the server finds the records of namespaces of up to 10,000 records. Larger ones, none and "" are chosen after reading:
Weaviate's cursors know no filter.

**Vectors**: the one without a name, else "default", the only one or the first by name, is `vector`; `--vector-name`
chooses another. Further named vectors and multi-vectors are further columns. All records of a class have one dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vexarrow.fields import FIELD_OPTIONS
from vexarrow.location import Location
from vexarrow.patience import OPTIONS as PATIENCE
from vexarrow.protocols import Capabilities, Connector, Option, Sink, Source
from vexarrow.selection import Selection


@contextmanager
def open_source(location: Location, selection: Selection) -> Iterator[Source]:
    """The records of a class. Raises NotFound, AccessError, UsageError, MissingDependency, TransientError."""
    from ._weaviate_client import Client
    from ._weaviate_source import ClassSource

    client = Client(location)
    try:
        yield ClassSource(location, client, selection)
    finally:
        client.close()


@contextmanager
def open_sink(location: Location) -> Iterator[Sink]:
    """Upserts into a class, which `prepare` creates. Raises UsageError, MissingDependency."""
    from ._weaviate_client import Client
    from ._weaviate_sink import ClassSink

    client = Client(location)
    try:
        yield ClassSink(location, client)
    finally:
        client.close()


_OPTIONS = (
    Option(("url",), "the server", env=("WEAVIATE_URL",), default="http://localhost:8080", says="at"),
    Option(
        ("collection", "class"),
        "the collection; its first letter becomes a capital",
        env=("WEAVIATE_CLASS",),
        says="collection",
    ),
    Option(("api-key",), "an API key, or a bearer token", env=("WEAVIATE_API_KEY",), secret=True),
    Option(("grpc-port", "grpc"), "the port of gRPC (default: 50051, 443 for Weaviate Cloud)"),
    Option(("grpc-url",), "where gRPC is, when it is another host: host:port, or grpcs://host:port with TLS"),
    Option(
        ("tls",),
        "TLS with the server of a weaviate:// address; with an API key false alone undoes it, but for this machine",
        flag=True,
    ),
    Option(("tenant",), "one tenant alone"),
    Option(("vector-name",), "the named vector that is the records' vector"),
    Option(
        ("namespace-as",),
        "what a namespace is in a new collection: property or tenant",
        default="property",
        side="sink",
    ),
    Option(
        ("id-scheme",),
        "UUIDs of ids that are none: url, or weaviate for those of its helper",
        default="url",
        side="sink",
    ),
    Option(("auto-create",), "false forbids to create the collection", default="true", flag=True, side="sink"),
    *FIELD_OPTIONS,
    *PATIENCE,
)

connector = Connector(
    name="weaviate",
    summary="Weaviate collections, with and without tenants",
    source=open_source,
    sink=open_sink,
    options=_OPTIONS,
    capabilities=Capabilities(
        idempotent=True,
        mixed_dims=False,
        null_vectors=True,
        pushdown=frozenset({"namespace"}),
        parallel=4,
        further=frozenset({"vector", "multi"}),
    ),
    encodings=(
        "an id that is no UUID becomes a UUIDv5, and is kept in the property __id__",
        "metadata is one property with its JSON text, verbatim, as npm vex writes it",
        'extra, score, other modalities than text, and which fields are "" are JSON text in the property __vex__',
        "a namespace that is no name of a tenant (--namespace-as tenant) has a tenant named by its hash",
    ),
)
