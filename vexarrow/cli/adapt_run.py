"""The command that projects: `vex-adapt --from A --to B INPUT OUTPUT`."""

from __future__ import annotations

import os
from typing import Any

import click

from vexarrow.cli.adapting import Projecting
from vexarrow.cli.copying import copy, copying, storing
from vexarrow.cli.options import PlaceCommand
from vexarrow.errors import UsageError
from vexarrow.location import STANDARD_STREAM, is_url

_MARK = ".adapted"


class RunCommand(PlaceCommand):
    """The command that needs no name."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show it without its name."""
        group = ctx.parent.command_path if ctx.parent else ctx.command_path
        formatter.write_usage(group, " ".join(self.collect_usage_pieces(ctx)))


@click.command(
    "run",
    cls=RunCommand,
    hidden=True,
    epilog="""\b
Examples:
  vex-adapt --from all-MiniLM-L6-v2 --to text-embedding-3-small memories.vmig.jsonl adapted.vmig.jsonl
  vex-adapt --projection my.safetensors memories.parquet
  vex-adapt --projection my.safetensors --dry-run pgvector qdrant --from-table docs --to-collection docs""",
)
@click.argument("source", metavar="INPUT")
@click.argument("target", metavar="[OUTPUT]", required=False)
@click.option("--from", "source_model", metavar="MODEL", help="The model of records that name none.")
@click.option("--to", "target_model", metavar="MODEL", help="The model to whose space; MODEL@N for N dimensions.")
@click.option(
    "--projection",
    "projections",
    multiple=True,
    metavar="FILE",
    help="A projection, file or URL; repeatable. Else those at hand are taken (vex-adapt --list).",
)
@click.option("--force", is_flag=True, help="Project against the advice of the projection.")
@copying
@storing
@click.pass_obj
def run_command(
    given: dict[str, str],
    /,
    source: str,
    target: str | None,
    source_model: str | None,
    target_model: str | None,
    projections: tuple[str, ...],
    force: bool,
    **options: Any,
) -> None:
    """Project the vectors of any place into the space of another model, and write the records to any other place.

    Each record goes by the model that it names; one that names none is taken to be of the model of --from, or rejected.
    OUTPUT is INPUT's name with .adapted in it where it is missing. Options of stores and formats: `vex connectors NAME`
    and `vex formats NAME` list them.
    """
    if not target_model and not projections:
        raise UsageError("where to? --to MODEL names the target's model, --projection FILE a projection")
    wish = Projecting(projections, source_model, force, target_model)
    copy(given, source, target or output_of(source), projecting=wish, **options)


def output_of(source: str) -> str:
    """The output for an input that is a single file or a stream: `a.vmig.jsonl` becomes `a.adapted.vmig.jsonl`. Raises
    UsageError for other places."""
    from vexarrow import plugins

    if source == STANDARD_STREAM:
        return source
    named = plugins.connector(source) or plugins.format_named(source)
    odd = named or source.endswith("/") or any(mark in source for mark in "*?[") or os.path.isdir(source)
    if odd or (is_url(source) and plugins.format_of(source) is None):
        raise UsageError(f"what is made of {source} needs a name: vex-adapt ... INPUT OUTPUT")
    folder, name = source[: -len(os.path.basename(source))], os.path.basename(source)
    found = plugins.format_of(source)
    endings = [suffix + packed for suffix in found.suffixes for packed in ("", *found.compressions)] if found else []
    ending = max((one for one in endings if name.lower().endswith(one)), key=len, default=os.path.splitext(name)[1])
    return f"{folder}{name[: len(name) - len(ending)]}{_MARK}{ending}"
