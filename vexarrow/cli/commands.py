"""The commands of `vex`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from vexarrow._version import __version__
from vexarrow.cli.copying import copy, copying, loading, selection
from vexarrow.cli.options import PlaceCommand
from vexarrow.errors import UsageError
from vexarrow.process import without_arithmetic

if TYPE_CHECKING:
    from vexarrow.places import Place

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Vex(click.Group):
    """`adapt` is imported when it is asked for: its options take as long to define as those of all the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in alphabetical order."""
        return sorted([*super().list_commands(ctx), "adapt"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name != "adapt":
            return super().get_command(ctx, cmd_name)
        from vexarrow.cli.adapt import adapt

        return adapt


@click.group(
    cls=_Vex,
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


@cli.command(
    "export",
    cls=PlaceCommand,
    epilog="""\b
Examples:
  vex export --from vektor --db memory.db --output memories.vmig.jsonl
  vex export --from vektor --db memory.db --namespace trading --output trading.vmig.jsonl.zst
  vex export --from vektor --db memory.db --output s3://bucket/memories/ --partition-by namespace
  vex export --from chroma --collection notes --output s3://bucket/notes/""",
)
@click.option("--from", "source", required=True, metavar="PLACE", help="The store: a name with options, or a URI.")
@click.option("--output", "--to", "-o", "target", required=True, metavar="PATH", help="The file; - is stdout.")
@copying
@loading
@click.pass_obj
def export_command(given: dict[str, str], /, source: str, target: str, **options: Any) -> None:
    """Export a store to a file.

    Options of stores and formats (--db, --partition-by, ...): `vex connectors NAME` and `vex formats NAME` list them.
    """
    copy(given, source, target, **options)


@cli.command(
    "import",
    cls=PlaceCommand,
    epilog="""\b
Examples:
  vex import --from memories.vmig.jsonl --to vektor --db new.db
  vex import --from memories.parquet --to vektor --db new.db --namespace trading
  vex import --from new.db.rejects.jsonl --to vektor --db new.db
  vex import --from memories.vmig.jsonl --to qdrant --collection memories
  vex import --from memories.vmig.jsonl --to qdrant --collection memories --dry-run""",
)
@click.option("--from", "source", required=True, metavar="PATH", help="The file; - is stdin.")
@click.option("--to", "target", required=True, metavar="PLACE", help="The store: a name with options, or a URI.")
@copying
@loading
@click.pass_obj
def import_command(given: dict[str, str], /, source: str, target: str, **options: Any) -> None:
    """Import a file into a store, upserting by id.

    Options of stores and formats (--db, --partition-by, ...): `vex connectors NAME` and `vex formats NAME` list them.
    """
    copy(given, source, target, mark_imported=True, **options)


@cli.command(
    "migrate",
    cls=PlaceCommand,
    epilog="""\b
Examples:
  vex migrate --from vektor --db a.db --to vektor --to-db b.db
  vex migrate a.db b.db --where "metadata->>'importance' >= 3"
  vex migrate --from vektor --to qdrant --db memory.db --collection memories
  vex migrate qdrant://localhost:6333/a postgresql://localhost/db#public.b""",
)
@click.argument("places", nargs=-1, metavar="[SOURCE TARGET]")
@click.option("--from", "source", metavar="PLACE", help="Where the records are.")
@click.option("--to", "target", metavar="PLACE", help="Where they go.")
@copying
@loading
@click.pass_obj
def migrate_command(
    given: dict[str, str], /, places: tuple[str, ...], source: str | None, target: str | None, **options: Any
) -> None:
    """Migrate records from any place to any other.

    Options of stores and formats (--db, --partition-by, ...): `vex connectors NAME` and `vex formats NAME` list them.
    """
    source, target = _two(places, source, target)
    copy(given, source, target, mark_imported=True, **options)


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
@copying
@loading
@click.pass_obj
def convert_command(given: dict[str, str], /, source: str, target: str, **options: Any) -> None:
    """Convert a file, a directory or a stream to another format.

    Options of stores and formats (--db, --partition-by, ...): `vex connectors NAME` and `vex formats NAME` list them.
    """
    copy(given, source, target, **options)


def _two(places: tuple[str, ...], source: str | None, target: str | None) -> tuple[str, str]:
    rest = list(places)
    source = source or (rest.pop(0) if rest else None)
    target = target or (rest.pop(0) if rest else None)
    if source is None or target is None or rest:
        raise UsageError("migrate takes a source and a target: vex migrate SOURCE TARGET, or --from SOURCE --to TARGET")
    return source, target


# -- looking --------------------------------------------------------------------------------------------


@cli.command(
    "inspect",
    cls=PlaceCommand,
    epilog="""\b
Examples:
  vex inspect memories.vmig.jsonl
  vex inspect memory.db --namespace trading
  vex inspect parts/ --json
  vex inspect qdrant://localhost:6333/memories""",
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

    found = inspect_place(place, selection(namespaces, null_namespace, where, None))
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

    without_arithmetic()
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
