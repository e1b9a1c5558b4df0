"""What all commands that move records have in common: their options, the run, and what is said after it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from vexarrow.cli.adapting import Projecting, adapting_options, take_projecting
from vexarrow.cli.embedding import embedding_options, wish
from vexarrow.cli.options import sides
from vexarrow.errors import UsageError
from vexarrow.process import without_arithmetic
from vexarrow.processor import take_wide_kernels

if TYPE_CHECKING:
    from vexarrow.embedding import Reembed
    from vexarrow.places import Place
    from vexarrow.protocols import Transform
    from vexarrow.report import Report
    from vexarrow.selection import Selection

Decorated = Callable[..., Any]


def copying(function: Decorated) -> Decorated:
    """The options of every command that moves records."""
    for option in reversed(
        (
            click.option(
                "--namespace",
                "namespaces",
                multiple=True,
                metavar="NAME",
                help="Only this namespace; repeatable. '' is the empty one.",
            ),
            click.option("--null-namespace", is_flag=True, help="Also, or only, records without a namespace."),
            click.option("--where", metavar="SQL", help="Only records for which this DuckDB condition holds."),
            click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N records."),
            click.option("--strict", is_flag=True, help="Fail at the first record that has to be rejected."),
            click.option("--max-rejects", type=click.IntRange(min=1), metavar="N", help="Fail at the N-th reject."),
            click.option("--drop-vectors", is_flag=True, help="Leave out all vectors of a record but the first."),
            click.option("--rejects", metavar="PATH", help="Where rejects go (default: beside the output)."),
            click.option("--overwrite", is_flag=True, help="Replace an output that exists."),
            click.option(
                "--from-format", metavar="NAME", help="The format of the input, where its name does not tell."
            ),
            click.option("--to-format", metavar="NAME", help="The format of the output, where its name does not tell."),
            click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Records at a time."),
            click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object."),
            click.option("--quiet", "-q", is_flag=True, help="No progress, no notes."),
        )
    ):
        function = option(function)
    return function


def storing(function: Decorated) -> Decorated:
    """The options of every command that may load into a store."""
    for option in reversed(
        (
            click.option("--metric", metavar="NAME", help="The metric of a target that is created: cosine, dot, ..."),
            click.option("--no-create", is_flag=True, help="Fail when the target is missing."),
            click.option("--allow-metric-change", is_flag=True, help="Load into a target of another metric."),
            click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Records a second."),
            click.option("--dry-run", is_flag=True, help="Say what would be done and how records would be kept."),
        )
    ):
        function = option(function)
    return function


def loading(function: Decorated) -> Decorated:
    """The options of `storing`, and those that change vectors on the way."""
    return storing(adapting_options(embedding_options(function)))


def copy(
    given: dict[str, str],
    source: str,
    target: str,
    *,
    namespaces: tuple[str, ...],
    null_namespace: bool,
    where: str | None,
    limit: int | None,
    strict: bool,
    max_rejects: int | None,
    rejects: str | None,
    drop_vectors: bool,
    overwrite: bool,
    from_format: str | None,
    to_format: str | None,
    batch_size: int | None,
    as_json: bool,
    quiet: bool,
    metric: str | None,
    no_create: bool,
    allow_metric_change: bool,
    rate: float | None,
    dry_run: bool,
    mark_imported: bool = False,
    projecting: Projecting | None = None,
    **changes: Any,
) -> None:
    """Carry out a command that moves records: `given` are the options of the places, all others are its own."""
    from vexarrow.places import SINK, SOURCE, begin, resolve

    projecting = projecting or take_projecting(changes)
    wanted = wish(changes) if changes else None
    if wanted and projecting:
        raise UsageError("--adapt and --reembed contradict each other: vectors are projected, or made from the text")
    if projecting:
        take_wide_kernels()
    elif wanted is None:  # a model that runs here multiplies, too
        without_arithmetic()
    left, right = sides(given, source, target, formats=(from_format, to_format))
    origin = resolve(source, left, side=SOURCE, format=from_format)
    place = resolve(target, right, side=SINK, format=to_format, overwrite=overwrite)
    begin(origin, place)
    from vexarrow.engine import Plan, run
    from vexarrow.metrics import known_metric
    from vexarrow.preparing import outline
    from vexarrow.progress import reporting

    with _changing(projecting, wanted, dry_run=dry_run, quiet=quiet) as transforms:
        plan = Plan(
            source=origin,
            target=place,
            selection=selection(namespaces, null_namespace, where, limit),
            transforms=transforms,
            most_rejects=1 if strict else max_rejects,
            rejects_path=rejects,
            rows=batch_size,
            mark_imported=mark_imported,
            drop_vectors=drop_vectors,
            metric=None if metric is None else known_metric(metric),
            create=not no_create,
            any_metric=allow_metric_change,
            rate=rate,
        )
        if dry_run:
            found = outline(plan)
            click.echo(json.dumps(found.to_json(), ensure_ascii=False) if as_json else found.render())
            return
        if not quiet:
            _note(place)
        with reporting(quiet=quiet) as progress:
            report = run(plan, progress)
    _tell(report, to_stderr=plan.target.is_stream, as_json=as_json)


@contextmanager
def _changing(
    projecting: Projecting | None, wanted: Reembed | None, *, dry_run: bool, quiet: bool
) -> Iterator[list[Transform]]:
    """The transforms of a wish; what was done is said when they are no longer needed."""
    if projecting is not None:
        adapting = projecting.transform(dry_run=dry_run)
        yield [adapting]
        if not quiet and not dry_run:
            for sentence in adapting.said():
                click.echo(f"vex: note: {sentence}", err=True)
    elif wanted is not None:
        with _embedding(wanted, dry_run=dry_run, quiet=quiet) as transform:
            yield [transform]
    else:
        yield []


@contextmanager
def _embedding(wanted: Reembed, *, dry_run: bool, quiet: bool) -> Iterator[Transform]:
    if dry_run:
        from vexarrow.embedding_forecast import forecast

        with forecast(wanted) as foreseeing:
            yield foreseeing
        return
    with wanted.transform() as transform:
        done = False
        try:
            yield transform
            done = True
        finally:
            if not quiet and (done or transform.tally.texts):  # what a run that failed has paid for is kept
                click.echo(f"vex: note: {transform.said()}", err=True)


def selection(namespaces: tuple[str, ...], null: bool, where: str | None, limit: int | None) -> Selection:
    """The records that options ask for. `null`: also, or only, those without a namespace."""
    from vexarrow.api import selection as checked

    return checked([*namespaces, None] if null else list(namespaces), where, limit)


def _note(target: Place) -> None:
    """Say before the first write what the target does not hold as it is."""
    for sentence in getattr(target.plugin, "encodings", ()):
        click.echo(f"vex: note: {target.plugin.name}: {sentence}", err=True)


def _tell(report: Report, *, to_stderr: bool, as_json: bool) -> None:
    for warning in report.warnings:
        click.echo(f"vex: warning: {warning}", err=True)
    if report.counts.rejected:
        mend = f"mend {report.rejects_file} and import it"
        if "projection" in report.facts:  # importing would keep the vectors of another model
            mend = f"mend {report.rejects_file} and project it: it is an input like any other"
        click.echo(f"vex: warning: {report.counts.rejected} records were rejected; {mend}", err=True)
    text = json.dumps(report.to_json(), ensure_ascii=False) if as_json else report.summary()
    click.echo(text, err=to_stderr)
