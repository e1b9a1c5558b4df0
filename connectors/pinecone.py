"""Pinecone indexes, through both data APIs: legacy vector indexes, and document indexes with a schema of named fields.

Which API an index is served by is found by describing it. `--index` names the index and `--host` is the URL of its data
plane; each can be found from the other. `pinecone://index` is the whole index, `pinecone://index/namespace` one
namespace of it, `__default__` the default one. An index that is missing is created as a serverless vector index (of the
same schema where the records come from a document index), in `--cloud` and `--region`.

What goes where:

    id            the id; ids that are not 1 to 512 ASCII characters become their UUIDv5, the original is in `__id__`
    vector        the dense vector; Pinecone takes neither null nor all zeros: such records are rejected
    namespace     the namespace of that name, null and "" the default one; ids are unique within a namespace
    text, model, created_at and members of the metadata: metadata of these names
    sparse:NAME   the sparse vector, in indexes of the metric dotproduct or with a field for it
    __vex__       all that Pinecone does not hold as it is, as JSON: nested values, nulls, large integers, extra, score,
                  which numbers were floats, and the namespace where it is not Pinecone's

A record whose text and metadata take more than 40,960 bytes is rejected, never trimmed. In document indexes `__vex__`
is `vex__` and `__id__` is `id__`, for names may not begin with `_` there.

Namespaces of other tools are read as they are; in the default namespace a text under `namespace` is the record's, as
the original tool writes it. Pinecone is eventually consistent: what was just written may not be read yet, and ids
that are listed but not there when they are fetched are rejects, "missing". `--namespace` looks in Pinecone's namespaces
of these names and in the default one: of records that were loaded to `pinecone://index/namespace`, name that, too.

Vector indexes are read and written over gRPC, with packed vectors, where it answers at the index's host; else, and
for document indexes, over REST. `--transport rest` never asks for gRPC, `--transport grpc` takes nothing else.

An index that the URI names goes before PINECONE_HOST. A host that is another index's than the one named is refused.

`--via s3://bucket/folder` (or gs://) loads by Pinecone's own import: records are written as Parquet (JSON lines for a
document index) to a new folder there, in the layout that Pinecone asks for, and imported from it at the end. The
namespaces must not hold records yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vexarrow import patience
from vexarrow.fields import FIELD_OPTIONS, Found
from vexarrow.location import Location
from vexarrow.protocols import Capabilities, Connector, Option, Sink, Source
from vexarrow.selection import Selection


@contextmanager
def open_source(location: Location, selection: Selection) -> Iterator[Source]:
    """The records of an index. Raises NotFound, AccessError, TransientError, SchemaError, UsageError."""
    from ._pinecone_index import Service
    from ._pinecone_source import PineconeSource

    with Service.at(location) as service:
        yield PineconeSource(service.opened(), service.requests, selection, Found.of(location))


@contextmanager
def open_sink(location: Location) -> Iterator[Sink]:
    """Upserts into an index, or an import by way of an object store. Raises AccessError, TransientError, UsageError."""
    from ._pinecone_import import ImportSink
    from ._pinecone_index import Service
    from ._pinecone_sink import PineconeSink

    with Service.at(location) as service:
        via = location.option("via")
        yield PineconeSink(service, location) if via is None else ImportSink(service, location, via)


_OPTIONS = (
    Option(("api-key",), "the API key", env=("PINECONE_API_KEY",), secret=True),
    Option(("index",), "the name of the index", env=("PINECONE_INDEX",), says="index"),
    Option(("host",), "the full https URL of the index", env=("PINECONE_HOST",), says="at"),
    Option(
        ("controller-host",),
        "the URL of the control plane",
        env=("PINECONE_CONTROLLER_HOST",),
        default="https://api.pinecone.io",
    ),
    Option(("transport",), "how vectors travel: grpc, rest, or auto: gRPC where it answers", default="auto"),
    Option(("cloud",), "where a new index runs: aws, gcp or azure (aws)", side="sink"),
    Option(("region",), "the region of a new index (us-east-1 of aws)", side="sink"),
    Option(("api",), "what a new index is made for: vectors (the default) or documents", side="sink"),
    Option(("vector-name",), "the vector field, where a schema has several"),
    Option(("via",), "a folder of an object store to import from: s3://bucket/folder", side="sink"),
    Option(("integration",), "the id of Pinecone's storage integration that may read --via", side="sink"),
    Option(("import-wait",), "seconds between looks at an import", default="10", side="sink"),
    *FIELD_OPTIONS,
    *patience.OPTIONS,
)

connector = Connector(
    name="pinecone",
    summary="Pinecone indexes: vectors and documents, serverless imports",
    source=open_source,
    sink=open_sink,
    options=_OPTIONS,
    capabilities=Capabilities(
        idempotent=True,
        by_namespace=True,
        mixed_dims=False,
        null_vectors=False,
        pushdown=frozenset({"namespace"}),
        parallel=4,
        further=frozenset({"sparse"}),
    ),
    encodings=(
        "ids that are not 1 to 512 ASCII characters become UUIDs, the original is kept under `__id__`",
        "nested metadata, nulls, mixed and empty lists and integers beyond 2^53 are kept as JSON under `__vex__`",
        "whole numbers that are floats are noted under `__vex__`, as Pinecone makes floats of all",
        'a namespace becomes Pinecone\'s of that name; "" and names that are not ASCII are noted under `__vex__`',
        "records with more than 40,960 bytes of text and metadata, without a vector or of zeros alone are rejected",
    ),
)
