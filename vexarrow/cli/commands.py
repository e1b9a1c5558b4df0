"""The commands of `vex`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from vexarrow._version import __version__
from vexarrow.cli.embedding import embedding_options, wish
from vexarrow.cli.options import PlaceCommand, sides
from vexarrow.errors import UsageError

if TYPE_CHECKING:
    from vexarrow.embedding import Reembed
    from vexarrow.places import Place
    from vexarrow.protocols import Transform
    from vexarrow.report import Report
    from vexarrow.selection import Selection

Decorated = Callable[..., Any]
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  vex export --from vektor --db memory.db --output memories.vmig.jsonl
  vex convert memories.vmig.jsonl memories.parquet
  vex inspect memories.parquet
  vex import --from memories.vmig.jsonl --to vektor --db new.db""",
)
@click.version_option(__version__, "--version", prog_name="vex", message="%(prog)s %(version)s")
def cli() -> None:
    """Move vectors between stores and files, and prove that all of them arrived."""


def _copying(function: Decorated) -> Decorated:
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


def _loading(function: Decorated) -> Decorated:
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
    return embedding_options(function)


@cli.command(
    "export",
    cls=PlaceCommand,
    epilog="""\b
Examples:
  vex export --from vektor --db memory.db --output memories.vmig.jsonl
  vex export --from vektor --db memory.db --namespace trading --output trading.vmig.jsonl.zst
  vex export --from vektor --db memory.db --output s3://bucket/memories/ --partition-by namespace""",
)
@click.option("--from", "source", required=True, metavar="PLACE", help="The store: a name with options, or a URI.")
@click.option("--output", "--to", "-o", "target", required=True, metavar="PATH", help="The file; - is stdout.")
@_copying
@_loading
@click.pass_obj
def export_command(given: dict[str, str], /, source: str, target: str, **options: Any) -> None:
    """Export a store to a file.

    Options of stores and formats (--db, --partition-by, ...): `vex connectors NAME` and `vex formats NAME` list them.
    """
    _copy(given, source, target, **options)


@cli.command(
    "import",
    cls=PlaceCommand,
    epilog="""\b
Examples:
  vex import --from memories.vmig.jsonl --to vektor --db new.db
  vex import --from memories.parquet --to vektor --db new.db --namespace trading
  vex import --from new.db.rejects.jsonl --to vektor --db new.db""",
)
@click.option("--from", "source", required=True, metavar="PATH", help="The file; - is stdin.")
@click.option("--to", "target", required=True, metavar="PLACE", help="The store: a name with options, or a URI.")
@_copying
@_loading
@click.pass_obj
def import_command(given: dict[str, str], /, source: str, target: str, **options: Any) -> None:
    """Import a file into a store, upserting by id.

    Options of stores and formats (--db, --partition-by, ...): `vex connectors NAME` and `vex formats NAME` list them.
    """
    _copy(given, source, target, mark_imported=True, **options)


@cli.command(
    "migrate",
    cls=PlaceCommand,
    epilog="""\b
Examples:
  vex migrate --from vektor --db a.db --to vektor --to-db b.db
  vex migrate a.db b.db --where "metadata->>'importance' >= 3" """,
)
@click.argument("places", nargs=-1, metavar="[SOURCE TARGET]")
@click.option("--from", "source", metavar="PLACE", help="Where the records are.")
@click.option("--to", "target", metavar="PLACE", help="Where they go.")
@_copying
@_loading
@click.pass_obj
def migrate_command(
    given: dict[str, str], /, places: tuple[str, ...], source: str | None, target: str | None, **options: Any
) -> None:
    """Migrate records from any place to any other.

    Options of stores and formats (--db, --partition-by, ...): `vex connectors NAME` and `vex formats NAME` list them.
    """
    source, target = _two(places, source, target)
    _copy(given, source, target, mark_imported=True, **options)


@cli.command(
    "convert",
    cls=PlaceCommand,
    epilog="""\b
Examples:
  vex convert memories.vmig.jsonl memories.parquet
  vex convert memories.parquet memories.vmig.jsonl.zst
  vex convert memories.vmig.jsonl parts/ --partition-by namespace
  vex convert in.vmig.jsonl out.parquet --where "metadata->>'importance' >= 3" --limit 1000
  cat memories.vmig.jsonl | vex convert - - --to-format arrow > memories.arrows""",
)
@click.argument("source", metavar="INPUT")
@click.argument("target", metavar="OUTPUT")
@_copying
@_loading
@click.pass_obj
def convert_command(given: dict[str, str], /, source: str, target: str, **options: Any) -> None:
    """Convert a file, a directory or a stream to another format.

    Options of stores and formats (--db, --partition-by, ...): `vex connectors NAME` and `vex formats NAME` list them.
    """
    _copy(given, source, target, **options)


def _two(places: tuple[str, ...], source: str | None, target: str | None) -> tuple[str, str]:
    rest = list(places)
    source = source or (rest.pop(0) if rest else None)
    target = target or (rest.pop(0) if rest else None)
    if source is None or target is None or rest:
        raise UsageError("migrate takes a source and a target: vex migrate SOURCE TARGET, or --from SOURCE --to TARGET")
    return source, target


def _copy(
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
    **embedding: Any,
) -> None:
    from vexarrow.places import SINK, SOURCE, begin, resolve

    wanted = wish(embedding)

    left, right = sides(given, source, target, formats=(from_format, to_format))
    origin = resolve(source, left, side=SOURCE, format=from_format)
    place = resolve(target, right, side=SINK, format=to_format, overwrite=overwrite)
    begin(origin, place)
    from vexarrow.engine import Plan, run
    from vexarrow.metrics import known_metric
    from vexarrow.preparing import outline
    from vexarrow.progress import reporting

    with _embedding(wanted, dry_run=dry_run, quiet=quiet) as transforms:
        plan = Plan(
            source=origin,
            target=place,
            selection=_selection(namespaces, null_namespace, where, limit),
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
def _embedding(wanted: Reembed | None, *, dry_run: bool, quiet: bool) -> Iterator[list[Transform]]:
    """The transforms of a wish to re-embed; what was done is said when they are no longer needed."""
    if wanted is None:
        yield []
    elif dry_run:
        from vexarrow.embedding_forecast import forecast

        with forecast(wanted) as foreseeing:
            yield [foreseeing]
    else:
        with wanted.transform() as transform:
            done = False
            try:
                yield [transform]
                done = True
            finally:
                if not quiet and (done or transform.tally.texts):  # what a run that failed has paid for is kept
                    click.echo(f"vex: note: {transform.said()}", err=True)


def _selection(namespaces: tuple[str, ...], null: bool, where: str | None, limit: int | None) -> Selection:
    from vexarrow.api import selection

    return selection([*namespaces, None] if null else list(namespaces), where, limit)


def _note(target: Place) -> None:
    """Say before the first write what the target does not hold as it is."""
    for sentence in getattr(target.plugin, "encodings", ()):
        click.echo(f"vex: note: {target.plugin.name}: {sentence}", err=True)


def _tell(report: Report, *, to_stderr: bool, as_json: bool) -> None:
    for warning in report.warnings:
        click.echo(f"vex: warning: {warning}", err=True)
    if report.counts.rejected:
        click.echo(
            f"vex: warning: {report.counts.rejected} records were rejected; mend {report.rejects_file} and import it",
            err=True,
        )
    text = json.dumps(report.to_json(), ensure_ascii=False) if as_json else report.summary()
    click.echo(text, err=to_stderr)


# -- looking --------------------------------------------------------------------------------------------


@cli.command(
    "inspect",
    cls=PlaceCommand,
    epilog="""\b
Examples:
  vex inspect memories.vmig.jsonl
  vex inspect memory.db --namespace trading
  vex inspect parts/ --json""",
)
@click.argument("source", metavar="PLACE")
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME", help="Only this namespace; repeatable.")
@click.option("--null-namespace", is_flag=True, help="Also, or only, records without a namespace.")
@click.option("--where", metavar="SQL", help="Only records for which this DuckDB condition holds.")
@click.option("--from-format", metavar="NAME", help="The format, where the name does not tell.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def inspect_command(
    given: dict[str, str],
    /,
    source: str,
    namespaces: tuple[str, ...],
    null_namespace: bool,
    where: str | None,
    from_format: str | None,
    as_json: bool,
) -> None:
    """Show what is in a file, a directory or a store: counts, dimensions, namespaces, norms, metadata."""
    from vexarrow.places import begin

    place = _looked_at(source, given, from_format)
    begin(place)
    from vexarrow.api import inspect_place
    from vexarrow.inspection_text import render

    found = inspect_place(place, _selection(namespaces, null_namespace, where, None))
    click.echo(json.dumps(found.to_json(), ensure_ascii=False) if as_json else render(found, _width()))


@cli.command(
    "validate",
    cls=PlaceCommand,
    epilog="""\b
Examples:
  vex validate memories.vmig.jsonl
  vex validate memories.vmig.jsonl.zst --json""",
)
@click.argument("source", metavar="PLACE")
@click.option("--from-format", metavar="NAME", help="The format, where the name does not tell.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--max-findings",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    metavar="N",
    help="Findings shown at most; all are counted.",
)
@click.pass_obj
def validate_command(
    given: dict[str, str], /, source: str, from_format: str | None, as_json: bool, max_findings: int
) -> int:
    """Check every record against the rules of the format; exit 1 when there is an error."""
    from vexarrow.places import begin

    place = _looked_at(source, given, from_format)
    begin(place)
    from vexarrow.api import validate_place

    found = validate_place(place, max_findings)
    click.echo(json.dumps(found.to_json(), ensure_ascii=False) if as_json else found.render())
    return 0 if found.ok else 1


def _looked_at(source: str, given: dict[str, str], format: str | None) -> Place:
    from vexarrow.places import SOURCE, resolve

    options = {name.removeprefix("from-"): value for name, value in given.items()}
    return resolve(source, options, side=SOURCE, format=format)


def _width() -> int:
    import shutil

    return max(60, min(100, shutil.get_terminal_size((80, 24)).columns)) if sys.stdout.isatty() else 80


@cli.command(
    "connectors",
    epilog="""\b
Examples:
  vex connectors
  vex connectors vektor""",
)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def connectors_command(name: str | None, as_json: bool) -> None:
    """List the stores, or the options of one."""
    from vexarrow import plugins
    from vexarrow.cli.listing import list_plugins

    list_plugins(plugins.connectors(), name, "connector", as_json=as_json)


@cli.command(
    "formats",
    epilog="""\b
Examples:
  vex formats
  vex formats parquet""",
)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def formats_command(name: str | None, as_json: bool) -> None:
    """List the file formats, or the options of one."""
    from vexarrow import plugins
    from vexarrow.cli.listing import list_plugins

    list_plugins(plugins.formats(), name, "format", as_json=as_json)
