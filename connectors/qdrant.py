"""Qdrant collections, by gRPC.

A record is a point. Text, namespace, model, created_at and the members of the metadata are keys of its payload, as the
original tool and most others write them, so that Qdrant can filter by them; a new collection gets a tenant index of the
namespaces. Records written by others are read where they have them: `page_content`, `document`, `_node_content`, ...,
and --text-field, --namespace-field, --id-field, --metadata-field say otherwise.

What Qdrant does not hold as it is, is kept so that it comes back:

- Ids are integers from 0 to 2^64 - 1 or UUIDs there. Any other id becomes the UUIDv5 of the URL namespace, as
  qdrant/migration does it, with the original under `__id__`. A text of digits is no integer.
- Floats of more than 15 digits in a payload come back with another last digit from Qdrant, integers beyond 64 bits not
  at all, very deep values neither: these are also, or only, in the JSON text under `__vex__` (see `vexarrow.payload`).
- Collections with cosine distance bring vectors to length 1. Vectors of another length are kept: the length under
  `__norm__`, for others to use, and under `__exact__` what it takes to restore every bit (`_qdrant_exact`), by the
  name of the vector. It is tied to the vector that was sent: one that another program has put there is read as it is.
- A collection with another datatype than float32 holds what fits that type, as its owner wished.
- Members of the metadata come back in the order of their keys, because Qdrant gives them in any.
- Sparse vectors come back sorted by their indices.

The unnamed vector of a collection is the `vector` of a record; of several named ones it is `vector`, `default`, `dense`
or `text`, else the first in the alphabet, or what --vector-name says. All others are `vector:NAME`, `sparse:NAME` and
`multi:NAME`. Settings of a collection (HNSW, quantization, storage, payload indexes) are carried over to a new one.

Upserts wait until they are applied. While a collection that did not exist before is loaded, Qdrant builds no search
index (`indexing_threshold` 0); it begins when the last record is in, or the run fails. A run that is killed leaves a
note in the collection's metadata (`vexarrow_loading`), by which the next one restores the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vexarrow.fields import FIELD_OPTIONS, Found
from vexarrow.location import Location
from vexarrow.patience import OPTIONS as PATIENCE
from vexarrow.patience import Requests
from vexarrow.protocols import Capabilities, Connector, Option, Sink, Source
from vexarrow.selection import Selection


@contextmanager
def open_source(location: Location, selection: Selection) -> Iterator[Source]:
    """The points of a collection. Raises NotFound, AccessError, UsageError, TransientError, MissingDependency."""
    from ._qdrant_client import Client, address
    from ._qdrant_source import PointSource

    client = Client(address(location), Requests.of(location))
    try:
        yield PointSource(client, selection, Found.of(location), location.option("vector-name"))
    finally:
        client.close()


@contextmanager
def open_sink(location: Location) -> Iterator[Sink]:
    """Upserts into a collection, which is created if it is missing. What was loaded stays when a run fails."""
    from ._qdrant_client import Client, address, creates
    from ._qdrant_sink import PointSink

    client = Client(address(location), Requests.of(location))
    sink = PointSink(client, creates=creates(location), vector_name=location.option("vector-name"))
    try:
        yield sink
    finally:
        sink.abandon()
        client.close()


_OPTIONS = (
    Option(("url",), "the server's REST address", env=("QDRANT_URL",), default="http://localhost:6333", says="at"),
    Option(("collection",), "the collection", env=("QDRANT_COLLECTION",), says="collection"),
    Option(("api-key",), "the API key", env=("QDRANT_API_KEY",), secret=True),
    Option(("grpc-port",), "the port of gRPC, that of REST + 1 where this is not given"),
    Option(
        ("https",),
        "true or false: TLS; else as the URL says, and for qdrant:// with a key where the host is not this one",
        flag=True,
    ),
    Option(("vector-name",), "which of several vectors is the vector of a record"),
    Option(("auto-create",), "false: do not create a collection that is missing", flag=True, side="sink"),
    *FIELD_OPTIONS,
    *PATIENCE,
)

connector = Connector(
    name="qdrant",
    summary="Qdrant collections, by gRPC",
    source=open_source,
    sink=open_sink,
    options=_OPTIONS,
    capabilities=Capabilities(
        idempotent=True,
        mixed_dims=False,
        pushdown=frozenset({"namespace"}),
        parallel=4,
        further=frozenset({"vector", "sparse", "multi"}),
    ),
    encodings=(
        "ids but UUIDs and integers from 0 to 2^64 - 1 become UUIDs (v5, URL); the original is kept under __id__",
        "floats of more than 15 digits, integers beyond 64 bits and values nested over 16 levels deep are kept as JSON "
        "text under __vex__, and so are extra, score and other fields that have no key of their own",
        "with cosine distance Qdrant brings vectors to length 1: those of another length are kept under __norm__ and "
        "__exact__, from which they are restored",
    ),
)
