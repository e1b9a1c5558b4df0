"""PostgreSQL tables with a pgvector column, read and written by binary COPY.

A table of ours has the columns id (text, bigint or uuid, as the ids are), content (the text), vector vector(d),
namespace, model, metadata jsonb, created_at timestamptz, score, source_store, modality, vex_version, extra json and
vex_verbatim; npm vex reads it, too. Further vectors are columns under their own names (vector, sparsevec, vector[]).
vex_verbatim is null unless a value does not fit its column: then it is JSON text with the metadata verbatim (where
jsonb would change it: equal keys, 1e5, -0.0, U+0000) or with texts that hold U+0000, which their columns have without
it. A column that is changed later counts.

Any other table with a vector, halfvec or sparsevec column is read as well. The id is its primary key or `id`, else
`--id-field` names it; text, namespace, model, created_at and a JSON column are found by their names (the options say
otherwise), and every column that is left and not null is a member of the metadata: numbers exact, times as ISO 8601,
bytea as base64. Records can be loaded into such a table when it has a place for them: members of the metadata go into
columns of their names, and what has no column goes into the JSON column under `__vex__`.

All readers share one snapshot, which is held until the end. A table without any unique key is read by where its rows
lie: a run of such a table can be resumed only while nothing moves them (VACUUM FULL, CLUSTER, updates).
Views and foreign tables whose ids are not unique or null, and partitioned tables without a unique key, are read whole:
a run of one cannot be resumed, and a connection that is lost ends it.

An upsert replaces a row as a whole, but where the id is another column than the primary key, that key stays. A row that
is there bit for bit is left alone, so that its vector does not go into the index again; seeing that takes the right to
SELECT besides those to INSERT and UPDATE.

A server that is not on this machine has to show a certificate that can be verified, unless sslmode (in the URI, as an
option or PGSSLMODE) says otherwise: libpq's own default would take any.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from vexarrow.location import Location
from vexarrow.patience import OPTIONS
from vexarrow.protocols import Capabilities, Connector, Option, Sink, Source
from vexarrow.selection import Selection

from ._pgvector_address import DEFAULT_TABLE, LIBPQ


@contextmanager
def open_source(location: Location, selection: Selection) -> Iterator[Source]:
    """The rows of a table as they are now. Raises NotFound, AccessError, SchemaError, TransientError, UsageError."""
    from ._pgvector_source import TableSource

    with TableSource.opened(location, selection) as source:
        yield source


@contextmanager
def open_sink(location: Location) -> Iterator[Sink]:
    """Upserts into a table, each load a transaction or several. Opening it changes nothing."""
    from ._pgvector_sink import TableSink

    with TableSink.opened(location) as sink:
        yield sink


# Two ranges keep one process busy; more of them only wait for each other there.
_READERS = 2
_SECRET = ("password", "sslpassword")
_OPTIONS = (
    Option(
        ("url", "pg-url"), "postgresql://user:password@host:port/database", env=("PGVECTOR_URL", "DATABASE_URL"),
        secret=True,
    ),
    Option(
        ("table",),
        f"table or schema.table; the URI's #fragment says it as well (default: {DEFAULT_TABLE})",
        says="table",
    ),
    Option(("vector-column", "vector-name"), "the column of the vectors, where there are several"),
    Option(("text-field",), "the column of the text, where it has another name than is known"),
    Option(("namespace-field",), "the column of the namespace"),
    Option(("model-field",), "the column of the model"),
    Option(("id-field",), "the column of the id, where that is not the primary key"),
    Option(("metadata-field",), "the column of json or jsonb whose members are the metadata"),
    Option(("index",), "index of a table that is created: hnsw, ivfflat or none", side="sink"),
    Option(("no-index",), "create no index", flag=True, side="sink"),
    Option(("allow-lossy",), "load into halfvec, which keeps 11 bits of each number", flag=True, side="sink"),
    Option(("concurrency",), "ranges of the key read at a time", default=str(_READERS), side="source", shared=True),
    *(replace(one, side="sink") if one.name == "concurrency" else one for one in OPTIONS),
    *(
        Option((name.replace("_", "-"),), f"libpq's {name}", secret=name in _SECRET)
        for name in LIBPQ
    ),
)  # fmt: skip

connector = Connector(
    name="pgvector",
    summary="PostgreSQL tables with a pgvector column",
    source=open_source,
    sink=open_sink,
    options=_OPTIONS,
    capabilities=Capabilities(
        idempotent=True,
        mixed_dims=False,
        null_vectors=True,
        pushdown=frozenset({"namespace"}),
        parallel=_READERS,
        further=frozenset({"vector", "sparse", "multi"}),
    ),
    aliases=("postgres", "postgresql"),
    encodings=(
        "metadata: jsonb; an object that jsonb would change (equal keys, 1e5, -0.0, U+0000) verbatim in vex_verbatim",
        "texts with U+0000: without it in their column, verbatim in vex_verbatim; such ids and namespaces are rejected",
        "tables of other tools: what has no column goes into the JSON column under __vex__",
    ),
)
