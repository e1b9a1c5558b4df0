"""The one engine: moves records from a source to a sink as record batches, and loses none on the way."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial

from vexarrow import records, sidecar
from vexarrow import rejects as rejected
from vexarrow._version import __version__
from vexarrow.digest import ContentDigest
from vexarrow.errors import UsageError, VexError
from vexarrow.loading import MEND_DIMENSION, Loading, Run
from vexarrow.location import Location, is_url, redact
from vexarrow.patience import OPTIONS as REQUEST_OPTIONS
from vexarrow.places import Memory, Place
from vexarrow.preparing import Pace, check_target, intended, show_first
from vexarrow.progress import Progress, Silent
from vexarrow.protocols import Format, Manifest, Partition, Sink, Source, Transform
from vexarrow.readahead import read_ahead
from vexarrow.repeats import Repeats
from vexarrow.report import Counts, Report
from vexarrow.selected import Selected
from vexarrow.selection import Selection
from vexarrow.transformed import Transformed

PAGE_BYTES = 8 << 20
_ROW_BYTES = 1024
FEWEST_ROWS, MOST_ROWS = 64, 4096


@dataclass(frozen=True)
class Plan:
    """Everything about a run that is decided before it starts.

    `most_rejects`: the N-th reject ends the run. `rejects_path`: where rejects go, None for beside the target. `rows`:
    records a page, None for what fits `PAGE_BYTES`. `mark_imported`: note the import in the source's sidecar.
    `drop_vectors`: leave out all vectors of a record but the first. `metric`: of a target that is created, None for the
    source's. `create`: make a target that is missing. `any_metric`: load into a target of another metric. `rate`:
    records a second at most.
    """

    source: Place | Memory
    target: Place
    selection: Selection = Selection()
    transforms: Sequence[Transform] = ()
    most_rejects: int | None = None
    rejects_path: str | None = None
    rows: int | None = None
    mark_imported: bool = False
    drop_vectors: bool = False
    metric: str | None = None
    create: bool = True
    any_metric: bool = False
    rate: float | None = None


def run(plan: Plan, progress: Progress | None = None) -> Report:
    """Carry out a plan. Raises VexError; the target is then as the sink's guarantees say, a file not there at all."""
    start = time.monotonic()
    if plan.selection.where is not None:
        _ = plan.selection.condition  # a mistake in the condition shows before anything is opened
    _check_apart(plan)
    if _has_sidecar(plan.target):
        sidecar.check_free(_data_path(plan.target))
    rejects = rejected.Rejects(_rejects_path(plan), most=plan.most_rejects)
    try:
        with plan.source.source(plan.selection) as source:
            show_first(plan, source)
            state, manifest = _move(plan, Selected(source, plan.selection), rejects, progress)
    finally:
        rejects.close()
    return _report(state, manifest, time.monotonic() - start)


def _move(
    plan: Plan, source: Source, rejects: rejected.Rejects, progress: Progress | None
) -> tuple[Run, dict[str, object]]:
    described = intended(plan, source)
    source = _transformed(plan, source)
    shown = progress or Silent()
    shown.expect(described.rows)
    state = Run(plan, rejects, shown, dim=described.dim, pace=Pace(plan.rate))
    readers = _readers(plan)
    partitions = source.partitions(readers)
    with plan.target.sink() as sink:
        check_target(plan, described, sink)
        state.target_dim = sink.prepare(described).dim
        if _has_sidecar(plan.target) and not getattr(sink, "digests", False):
            state.digest = ContentDigest()
        with closing(Repeats(by_namespace=_by_namespace(plan, sink))) as repeats:
            state.repeats = repeats if _last_only(plan) else None
            _partitions(state, source, sink, partitions, readers)
            state.replaced = repeats.count()
        _check_any(state)
        sink.finish()
        manifest = dict(sink.manifest()) if isinstance(sink, Manifest) else {}
    published = manifest.get("records", state.counts.written)
    if published != state.counts.written:
        raise VexError(f"{plan.target}: {published} records arrived of the {state.counts.written} that were sent")
    return state, manifest


def _transformed(plan: Plan, source: Source) -> Source:
    """The source as the transforms make it; they run where it is read, while earlier records are written."""
    drop = [records.first_vector_only] if plan.drop_vectors else []
    if not drop and not plan.transforms:
        return source
    ahead = min((getattr(transform, "ahead", 1) for transform in plan.transforms), default=1)
    return Transformed(source, [*drop, *plan.transforms], ahead)


def _last_only(plan: Plan) -> bool:
    """Whether of several records of one id only the last one stays in the target."""
    able = plan.target.capabilities
    return plan.target.location.store and able.idempotent and not able.in_order


def _by_namespace(plan: Plan, sink: Sink) -> bool:
    return bool(getattr(sink, "by_namespace", plan.target.capabilities.by_namespace))


def _readers(plan: Plan) -> int:
    """How many partitions are read at once. A limit is counted by one reader."""
    most = plan.source.capabilities.parallel
    if most == 1 or plan.selection.limit is not None:
        return 1
    given = plan.source.location.option("concurrency")
    return int(given) if given is not None and given.isdecimal() else most


def _check_any(state: Run) -> None:
    """Refuse to publish a target when every record was rejected: the input is not what it was taken for."""
    if state.counts.rejected and not state.counts.written:
        which = f"not one of the {state.counts.rejected} records of {state.plan.source}"
        code, message = state.rejects.first
        raise VexError(f"{which} could be written; the first: {message} ({code})")


def _partitions(state: Run, source: Source, sink: Sink, parts: Sequence[Partition], readers: int) -> None:
    """Bring all partitions to the sink, each with its counts."""
    every = [Counts() for _ in parts]
    rows = state.plan.rows or page_rows(state.dim)
    loading = Loading(state, sink)
    with read_ahead([partial(source.extract, part, rows=rows) for part in parts], readers) as pages:
        try:
            for at, page in pages:
                loading.page(page, every[at])
        except Exception:
            with suppress(Exception):  # the first error counts; the rejects of what is on its way are written down
                loading.settle()
            raise
        loading.settle()
    for part, counts in zip(parts, every, strict=True):
        counts.check(redact(part.key))
        state.partitions[redact(part.key)] = counts


def page_rows(dim: int | None) -> int:
    """Records a page so that its vectors and texts take about `PAGE_BYTES`."""
    return max(FEWEST_ROWS, min(MOST_ROWS, PAGE_BYTES // (4 * (dim or 384) + _ROW_BYTES)))


def _check_apart(plan: Plan) -> None:
    """Refuse to copy a store into itself. A file may replace itself: it is read from the old one until the end."""
    source, target = plan.source.location, plan.target.location
    if not (source.store and target.store and source.kind == target.kind):
        return
    same = source.target == target.target and _identity(source) == _identity(target)
    if os.path.exists(source.target) and os.path.exists(target.target):
        same = os.path.samefile(source.target, target.target)
    if same:
        raise UsageError(f"{plan.source} is both the source and the target")


def _identity(location: Location) -> dict[str, str]:
    """The options that say where a store is, without those that say how to speak to it."""
    how = {name for option in REQUEST_OPTIONS for name in option.names}
    return {name: value for name, value in location.options.items() if name not in how}


# -- after the run --------------------------------------------------------------------------------------


def _has_sidecar(place: Place | Memory) -> bool:
    if isinstance(place, Memory) or place.is_stream:
        return False
    return isinstance(place.plugin, Format) and place.plugin.sidecar


def _data_path(place: Place | Memory) -> str:
    return place.location.target


def _rejects_path(plan: Plan) -> str:
    if plan.rejects_path is not None:
        return plan.rejects_path
    return rejected.path_for(plan.target.location.target, [plan.source.location.target])


def _report(state: Run, manifest: dict[str, object], duration: float) -> Report:
    plan = state.plan
    state.counts.check(str(plan.source))
    digest = state.digest.hexdigest() if state.digest else _digest_of(manifest)
    written = None
    if digest is not None and "file" in manifest:
        written = sidecar.write_export(
            str(manifest["file"]),
            manifest,
            records=state.counts.written,
            store=state.store,
            digest=digest,
            tool=f"vexarrow {__version__}",
        )
    report = Report(
        source=str(plan.source),
        target=str(plan.target),
        kind=plan.target.plugin.name,
        store=plan.target.location.store,
        counts=state.counts,
        duration=duration,
        codes=dict(state.rejects.codes),
        rejects_file=state.rejects.path if state.rejects.total else None,
        sidecar=written,
        content_digest=digest,
        partitions=state.partitions,
        facts={key: value for one in plan.transforms for key, value in getattr(one, "facts", {}).items()},
    )
    report = replace(report, warnings=_warnings(plan, report, state.replaced))
    return _marked(plan, report) if plan.mark_imported else report


def _digest_of(manifest: Mapping[str, object]) -> str | None:
    """The content digest that a sink made itself."""
    found = manifest.get("content_digest")
    return found if isinstance(found, str) else None


def _warnings(plan: Plan, report: Report, replaced: int) -> list[str]:
    """What is no error and yet probably not meant."""
    warnings: list[str] = []
    for transform in plan.transforms:
        warnings += getattr(transform, "warnings", ())
    if replaced:
        warnings.append(f"{replaced} records had the id of an earlier one, and {plan.target} keeps the last of each")
    told = sum(getattr(transform, "told", {}).get("dimension", 0) for transform in plan.transforms)
    if (unfit := report.codes.get("dimension", 0) - told) > 0:
        warnings.append(f"{unfit} records have vectors of another dimension than {plan.target}: {MEND_DIMENSION}")
    if plan.selection.filters and not report.counts.written and not report.counts.rejected:
        warnings.append("no record matches the selection")
    if _has_sidecar(plan.source) and plan.selection == Selection() and not is_url(_data_path(plan.source)):
        said = _said_records(plan.source)
        if said not in (None, 0, report.counts.read):
            warnings.append(f"the sidecar of {plan.source} speaks of {said} records, {report.counts.read} were read")
    return warnings


def _said_records(place: Place | Memory) -> int | None:
    """The number of records in the sidecar of a file, None when there is no sidecar that says one."""
    try:
        said = (sidecar.read(_data_path(place)) or {}).get("record_count")
    except VexError:
        return None  # a run that is done does not fail over a file beside its input
    return said if isinstance(said, int) else None


def _imported_to(target: Place) -> str:
    """The target as the sidecar names it, which begins with the store."""
    name, text = target.plugin.name, str(target)
    return text if text.startswith(name) else f"{name}:{text}"


def _marked(plan: Plan, report: Report) -> Report:
    """Note the import in the source's sidecar; a sidecar that cannot be written is a warning, the import is done."""
    if not _has_sidecar(plan.source):
        return report
    try:
        sidecar.mark_imported(_data_path(plan.source), _imported_to(plan.target), report.counts.written)
    except (VexError, NotImplementedError) as error:  # some file systems are read-only
        return replace(report, warnings=[*report.warnings, f"the sidecar was not updated: {error}"])
    return report
