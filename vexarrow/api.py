"""The public functions: the verbs of the command line, for Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from vexarrow.errors import DataError, SchemaError, UsageError
from vexarrow.places import SINK, SOURCE, Place, resolve
from vexarrow.selection import Selection

if TYPE_CHECKING:
    import pyarrow as pa

    from vexarrow.adapt.adapting import Adapt
    from vexarrow.adapt.model import Adapter
    from vexarrow.embedding import Reembed
    from vexarrow.inspection import Inspection
    from vexarrow.protocols import Source, Transform
    from vexarrow.report import Report
    from vexarrow.validation import Finding, Validation

Options = Mapping[str, str]


def copy(
    source: str,
    target: str,
    *,
    namespaces: Sequence[str | None] | None = None,
    where: str | None = None,
    limit: int | None = None,
    strict: bool = False,
    max_rejects: int | None = None,
    rejects: str | None = None,
    overwrite: bool = False,
    source_format: str | None = None,
    target_format: str | None = None,
    source_options: Options | None = None,
    target_options: Options | None = None,
    transforms: Sequence[Transform] = (),
    adapt: Adapt | Adapter | str | Sequence[Adapter | str] | None = None,
    reembed: Reembed | str | None = None,
    drop_vectors: bool = False,
    metric: str | None = None,
    create: bool = True,
    allow_metric_change: bool = False,
    rate: float | None = None,
    batch_rows: int | None = None,
) -> Report:
    """Copy records from one place to another, whatever the two are: file, directory, URL or store.

    `namespaces`: the wanted ones, None among them for records without one. `where`: a condition in DuckDB SQL over the
    columns of a record. `limit`: records at most. `strict`: the first reject raises TooManyRejects; `max_rejects`: the
    N-th does. `rejects`: where rejected records are written (default: beside the target). `adapt`: projections, as
    objects, files or URLs, or the model to whose space vectors are projected (see `vexarrow.adapt.adapting`).
    `reembed`: the model that makes new vectors for records that need them (see `vexarrow.embedding`). Both come after
    the transforms, and one of them alone makes sense. `drop_vectors`: all vectors of a record but the first are left
    out. `metric`: of a store's target that is created (default: the source's); `create`: whether a missing one is
    created, else NotFound is raised; `allow_metric_change`: load into one of another metric, which otherwise raises
    SchemaError. `rate`: records a second at most. `batch_rows`: records at a time. A file appears whole or not at all;
    a store is upserted by id, batch by batch.

    Returns the Report, whose counts balance: read = written + rejected + skipped. Raises a VexError otherwise.

    >>> report = copy("memories.vmig.jsonl", "games.parquet", namespaces=["games"])
    >>> report.counts.written
    12
    """
    from vexarrow.engine import Plan, run
    from vexarrow.metrics import known_metric

    if rate is not None and not rate > 0:
        raise UsageError(f"a rate of {rate} records a second makes no sense")
    if adapt is not None and reembed is not None:
        raise UsageError("adapt and reembed contradict each other: vectors are projected, or made from the text")
    place = resolve(source, source_options, side=SOURCE, format=source_format)
    with ExitStack() as stack:
        plan = Plan(
            source=place,
            target=resolve(target, target_options, side=SINK, format=target_format, overwrite=overwrite),
            selection=selection(namespaces, where, limit),
            transforms=[*transforms, *_adapting(adapt), *_reembedding(reembed, stack)],
            most_rejects=1 if strict else max_rejects,
            rejects_path=rejects,
            rows=batch_rows,
            drop_vectors=drop_vectors,
            metric=None if metric is None else known_metric(metric),
            create=create,
            any_metric=allow_metric_change,
            rate=rate,
        )
        return run(plan)


def _adapting(wish: Adapt | Adapter | str | Sequence[Adapter | str] | None) -> list[Transform]:
    """The transform that projects."""
    if wish is None:
        return []
    from vexarrow.adapt.adapting import Adapt

    if not isinstance(wish, Adapt):
        wish = Adapt.of(wish if isinstance(wish, Sequence) and not isinstance(wish, str) else [wish])
    return [wish.transform()]


def _reembedding(wish: Reembed | str | None, stack: ExitStack) -> list[Transform]:
    """The transform that embeds, closed with the stack."""
    if wish is None:
        return []
    from vexarrow.embedding import Reembed

    return [stack.enter_context((Reembed(wish) if isinstance(wish, str) else wish).transform())]


def selection(namespaces: Sequence[str | None] | None, where: str | None, limit: int | None) -> Selection:
    """A checked Selection. Raises UsageError for a limit below 0."""
    if limit is not None and limit < 0:
        raise UsageError(f"a limit of {limit} makes no sense")
    wanted = None if not namespaces else tuple(dict.fromkeys(namespaces))
    return Selection(namespaces=wanted, where=where, limit=limit)


def read(
    location: str,
    *,
    namespaces: Sequence[str | None] | None = None,
    where: str | None = None,
    limit: int | None = None,
    format: str | None = None,
    options: Options | None = None,
    batch_rows: int | None = None,
) -> pa.RecordBatchReader:
    """The records of a place as a stream of canonical record batches (see `vexarrow.records`).

    All batches have one dimension. Raises SchemaError, while reading, at vectors of another one, and DataError at a
    record that cannot be read: `copy` writes such records down instead.

    >>> reader = read("memories.vmig.jsonl", limit=10)
    >>> reader.schema.field("vector").type
    FixedSizeListType(fixed_size_list<item: float>[384])
    """
    import pyarrow as pa

    wanted = selection(namespaces, where, limit)
    batches = _batches(resolve(location, options, side=SOURCE, format=format), wanted, batch_rows)
    schema = next(batches).schema
    return pa.RecordBatchReader.from_batches(schema, batches)


def _batches(place: Place, wanted: Selection, rows: int | None) -> Iterator[pa.RecordBatch]:
    """First an empty batch with the schema of all, then the records."""
    from vexarrow import records

    with place.source(wanted) as source:
        described = source.describe()
        schema = None
        held: list[pa.RecordBatch] = []
        for batch in _selected(source, wanted, rows, described.dim):
            dim = described.dim or records.dim(batch)
            if schema is None and not dim:
                held.append(batch)  # no vector so far: the dimension of the stream is not known yet
                continue
            if schema is None:
                schema = records.with_dim(batch.slice(0, 0), dim).schema
                yield from (batch_of(one, schema) for one in [batch.slice(0, 0), *held])
            yield batch_of(batch, schema)
        if schema is None:
            yield held[0].slice(0, 0) if held else records.empty(described.dim or 0, id_type=described.id_type)
            yield from held


def _selected(source: Source, wanted: Selection, rows: int | None, dim: int | None) -> Iterator[pa.RecordBatch]:
    """The wanted records of a source, up to the limit. Raises DataError at one that cannot be read."""
    from vexarrow.engine import page_rows
    from vexarrow.selected import Selected

    selected = Selected(source, wanted)
    for part in selected.partitions(1):
        for page in selected.extract(part, rows=rows or page_rows(dim)):
            for reject in page.rejects:
                where = f"{reject.file or ''}:{reject.line or reject.id or '?'}"
                raise DataError(f"{where}: {reject.message} ({reject.code})")
            yield page.batch


def batch_of(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in the schema of its stream. Raises SchemaError where it does not fit."""
    from vexarrow import records

    fitted = records.with_id_type(records.with_dim(batch, records.dim(schema)), records.id_type(schema))
    if fitted.schema.names != schema.names:
        raise SchemaError(f"the columns change on the way, from {schema.names} to {fitted.schema.names}")
    return fitted


def write(
    data: Any,
    target: str,
    *,
    strict: bool = True,
    rejects: str | None = None,
    overwrite: bool = False,
    format: str | None = None,
    options: Options | None = None,
    columns: Options | None = None,
) -> Report:
    """Write Arrow data to a place: anything with `__arrow_c_stream__`, such as a pyarrow Table or RecordBatchReader, a
    polars DataFrame or a DuckDB result.

    A canonical schema is taken as it is. Of another one the vector, id and text are found by type and name, or given in
    `columns` ("vector-column", "id-column", "text-column"); all other columns become metadata. `strict`: a record that
    cannot be written raises TooManyRejects; else it goes to the rejects file. Raises SchemaError when there is no
    column that can be the id or the vector.

    >>> import pyarrow as pa
    >>> vectors = pa.array([[1.0, 0.0], [0.0, 1.0]], type=pa.list_(pa.float32(), 2))
    >>> table = pa.table({"id": ["a", "b"], "vector": vectors, "topic": ["x", "y"]})
    >>> write(table, "two.vmig.jsonl").counts.written
    2
    """
    from vexarrow.engine import Plan, run
    from vexarrow.places import Memory

    place = resolve(target, options, side=SINK, format=format, overwrite=overwrite)
    source = Memory(data, dict(columns or {}))
    return run(Plan(source, place, most_rejects=1 if strict else None, rejects_path=rejects))


def inspect(location: str, *, format: str | None = None, options: Options | None = None) -> Inspection:
    """What is in a place: counts, dimensions, namespaces, norms, metadata keys, duplicates. One pass, bounded memory.

    >>> inspect("memories.vmig.jsonl").to_json()["records"]
    160
    """
    return inspect_place(resolve(location, options, side=SOURCE, format=format), Selection())


def inspect_place(place: Place, wanted: Selection) -> Inspection:
    """`inspect` of a place that is resolved already, for the wanted records."""
    from vexarrow.digest import ContentDigest
    from vexarrow.inspection import inspect as inspect_source
    from vexarrow.selected import Selected

    with place.source(wanted) as source:
        return inspect_source(Selected(source, wanted), source.describe(), name=str(place), digest=ContentDigest())


def validate(location: str, *, format: str | None = None, options: Options | None = None) -> Validation:
    """Check every record of a place against the rules of the interchange format.

    >>> validate("memories.vmig.jsonl").ok
    True
    """
    return validate_place(resolve(location, options, side=SOURCE, format=format))


def validate_place(place: Place, max_findings: int = 1000) -> Validation:
    """`validate` of a place that is resolved already; at most `max_findings` findings are kept, all are counted."""
    from vexarrow.validation import validate as validate_source

    with place.source(Selection()) as source:
        return validate_source(
            source, name=str(place), max_findings=max_findings, extra_findings=_against_sidecar(place)
        )


def _against_sidecar(place: Place) -> list[Finding]:
    """What the sidecar of a file says that is not so."""
    from vexarrow import sidecar
    from vexarrow.validation import Finding

    if not _has_sidecar(place) or place.is_stream:
        return []
    target = place.location.target
    return [Finding("checksum", "error", message, file=target) for message in sidecar.compare(target)]


def _has_sidecar(place: Place) -> bool:
    """Whether the place is a file of the interchange format itself, with a sidecar and its version in every record."""
    from vexarrow.protocols import Format

    return isinstance(place.plugin, Format) and place.plugin.sidecar
