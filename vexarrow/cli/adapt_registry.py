"""`vex-adapt --list`, `push` and `pull`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from vexarrow.errors import UsageError

if TYPE_CHECKING:
    from vexarrow.adapt.overview import Row
    from vexarrow.adapt.registry import Entry, Registry

_registry = click.option(
    "--registry", envvar="VEX_REGISTRY", metavar="URL", help="A folder or URL with an index.json (VEX_REGISTRY)."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command(
    "list",
    epilog="""\b
Examples:
  vex-adapt --list
  vex-adapt list --registry s3://bucket/projections
  vex-adapt list --json""",
)
@_registry
@_json
def list_command(registry: str | None, as_json: bool) -> None:
    """List projections: built in, installed, in the registry, or to be trained.

    A model with @N is its vectors cut to N dimensions: `--to text-embedding-3-small@512`.

    They are looked for in VEX_PROJECTIONS (folders, as in PATH), in vexarrow/projections where the platform keeps data,
    in the registry, and in installed packages.
    """
    from vexarrow.adapt.overview import rows

    found = rows(registry)
    if as_json:
        click.echo(json.dumps({"projections": [row.to_json() for row in found]}, ensure_ascii=False))
    else:
        click.echo("\n".join(_table(found)))


def _table(rows: list[Row]) -> list[str]:
    from vexarrow.adapt.overview import TO_TRAIN

    names = max(len(row.source) for row in rows), max(len(row.target) for row in rows)
    lines = [f"{'from':<{names[0]}}  {'to':<{names[1]}}  {'dimensions':<12}  state"]
    for row in rows:
        dims = f"{row.source_dim} to {row.target_dim or 'N'}"
        lines.append(f"{row.source:<{names[0]}}  {row.target:<{names[1]}}  {dims:<12}  {_state(row)}")
        if row.location is not None:
            lines.append(f"    {row.location}{'' if row.used else ' (not used: the file above goes before)'}")
        if row.command is not None:
            lines.append(f"    {row.command}")
    if any(row.state == TO_TRAIN for row in rows):
        lines.append("scripts/generate_weights.py in the repository makes those to be trained from a corpus of texts.")
    return lines


def _state(row: Row) -> str:
    if row.lengths is not None:
        return f"{row.state}: exact; N is {row.lengths}"
    return row.state if row.quality is None else f"{row.state}: {row.quality}"


@click.command(
    "push",
    epilog="""\b
Examples:
  vex-adapt push my.safetensors --registry s3://bucket/projections
  vex-adapt push my.safetensors --registry /srv/projections --overwrite""",
)
@click.argument("file", metavar="FILE")
@_registry
@click.option("--overwrite", is_flag=True, help="Replace another file of the same name.")
@_json
def push_command(file: str, registry: str | None, overwrite: bool, as_json: bool) -> None:
    """Add a projection to a registry; the first one makes it.

    The file is written, read again, and only then entered in the index with its SHA-256 sum.
    """
    there = _given(registry)
    entry, new = there.push(file, overwrite=overwrite)
    if entry.quality.verdict == "refused":
        click.echo(f"vex-adapt: warning: {entry.name} was refused when it was trained, and says so", err=True)
    if as_json:
        click.echo(json.dumps({**_as_json(entry), "registry": str(there), "new": new}, ensure_ascii=False))
    else:
        click.echo(f"{entry.name}  {_what(entry)}  {'pushed to' if new else 'was in'} {there}")


@click.command(
    "pull",
    epilog="""\b
Examples:
  vex-adapt pull all-MiniLM-L6-v2 text-embedding-3-small --registry s3://bucket/projections
  vex-adapt pull my.safetensors --registry /srv/projections --output here.safetensors
  vex-adapt pull --registry https://example.com/projections""",
)
@click.argument("words", nargs=-1, metavar="[FROM TO | NAME]")
@_registry
@click.option("--output", "-o", metavar="PATH", help="A file or folder (default: the user's folder, see `list`).")
@click.option("--overwrite", is_flag=True, help="Replace another file of the same name.")
@_json
def pull_command(
    words: tuple[str, ...], registry: str | None, output: str | None, overwrite: bool, as_json: bool
) -> None:
    """Fetch projections from a registry: between two models, of one name, or all. Checksums are verified."""
    if len(words) > 2:
        raise UsageError("pull takes two models, one name, or nothing for all: vex-adapt pull [FROM TO | NAME]")
    from vexarrow.adapt.registry import chosen
    from vexarrow.location import redact

    there = _given(registry)
    entries = chosen(there.entries(), words)
    if output is not None and len(entries) > 1 and not _is_folder(output):
        raise UsageError(
            f"{len(entries)} projections do not go into one file: {redact(output)} has to be a folder, "
            "and to end in / where it is new"
        )
    done = [(entry, *_pulled(there, entry, output, overwrite)) for entry in entries]
    if as_json:
        pulled = [{**_as_json(entry), "path": redact(path), "new": new} for entry, path, new in done]
        click.echo(json.dumps({"registry": str(there), "pulled": pulled}, ensure_ascii=False))
        return
    for entry, path, new in done:
        click.echo(f"{redact(path)}  {_what(entry)}{'' if new else '  (was there already)'}")


def _given(registry: str | None) -> Registry:
    if not registry:
        raise UsageError("which registry? --registry names its folder or URL, or VEX_REGISTRY does")
    from vexarrow.adapt.registry import Registry

    return Registry(registry)


def _is_folder(path: str) -> bool:
    return path.endswith(("/", os.sep)) or os.path.isdir(path)


def _pulled(registry: Registry, entry: Entry, output: str | None, overwrite: bool) -> tuple[str, bool]:
    """Where the file now is, and whether it was not there before."""
    from vexarrow import files
    from vexarrow.adapt import loading, shelf

    folder = shelf.folders()[0] if output is None else output
    path = os.path.join(folder, entry.name) if output is None or _is_folder(output) else output
    data = registry.fetch(entry)
    registry.checked(entry, data)
    if files.exists(path) and loading.read(path) == data:
        return path, False
    loading.write(path, data, overwrite=overwrite)
    return path, True


def _what(entry: Entry) -> str:
    dims = f"{entry.source.dim} to {entry.target.dim}"
    return f"{entry.source.name} to {entry.target.name} ({dims}): {entry.quality}"


def _as_json(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "sha256": entry.sha256,
        "bytes": entry.size,
        "source": entry.source.to_json(),
        "target": entry.target.to_json(),
        "quality": entry.quality.to_json(),
    }
