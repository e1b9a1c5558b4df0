"""`vex connectors` and `vex formats`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

import click

from vexarrow.errors import UsageError
from vexarrow.protocols import Connector, Format

Plugin = Connector | Format


def list_plugins(
    known: Mapping[str, Connector] | Mapping[str, Format], name: str | None, what: str, *, as_json: bool
) -> None:
    """Print all plugins of a kind, or everything about one. Raises UsageError for one that there is not."""
    every: list[Plugin] = list(known.values())
    if name is not None:
        every = [one for one in every if name.lower() in (one.name, *one.aliases)]
        if not every:
            raise UsageError(f"there is no {what} {name!r}; known are {', '.join(known)}")
    if as_json:
        click.echo(json.dumps([_as_json(one) for one in every], ensure_ascii=False))
    elif name is not None:
        click.echo(_details(every[0]))
    else:
        click.echo("\n".join(f"{one.name:<10} {_directions(one):<12} {one.summary}" for one in every))


def _directions(one: Plugin) -> str:
    reads, writes = (one.source, one.sink) if isinstance(one, Connector) else (one.open_reader, one.open_writer)
    return "read, write" if reads and writes else "read" if reads else "write"


def _details(one: Plugin) -> str:
    lines = [f"{one.name}: {one.summary}", f"  works       {_directions(one)}"]
    if one.aliases:
        lines.append(f"  also known  {', '.join(one.aliases)}")
    if one.suffixes:
        lines.append(f"  file names  {', '.join(one.suffixes)}")
    for option in one.options:
        side = "" if option.side == "both" else " (reading)" if option.side == "source" else " (writing)"
        lines.append(f"  {', '.join('--' + name for name in option.names)}{side}")
        default = f" [default: {option.default}]" if option.default is not None else ""
        env = f" [env: {', '.join(option.env)}]" if option.env else ""
        lines.append(f"      {option.help}{default}{env}")
    kept = one.encodings if isinstance(one, Connector) else ()
    lines += [f"  kept as     {sentence}" for sentence in kept]
    return "\n".join(lines)


def _as_json(one: Plugin) -> dict[str, object]:
    able = {field.name: getattr(one.capabilities, field.name) for field in fields(one.capabilities)}
    able["pushdown"] = sorted(one.capabilities.pushdown)
    able["further"] = sorted(one.capabilities.further)
    options = [
        {"names": option.names, "help": option.help, "env": option.env, "default": option.default, "side": option.side}
        for option in one.options
    ]
    return {
        "name": one.name,
        "aliases": one.aliases,
        "summary": one.summary,
        "suffixes": one.suffixes,
        "works": _directions(one).split(", "),
        "capabilities": able,
        "encodings": one.encodings if isinstance(one, Connector) else (),
        "options": options,
    }


def markdown() -> str:
    """The tables of formats and connectors in the README, made from what they declare."""
    from vexarrow import plugins

    every: list[Plugin] = [*plugins.connectors().values(), *plugins.formats().values()]
    head = "| place | works | file names | twice equals once | mixed dimensions | filters at the source |"
    rows = [head, "|---|---|---|---|---|---|"]
    for one in every:
        able = one.capabilities
        names = " ".join(f"`{suffix}`" for suffix in one.suffixes)
        cells = [f"**{one.name}** {one.summary}", _directions(one), names, _yes(able.idempotent), _yes(able.mixed_dims)]
        rows.append(f"| {' | '.join(cells)} | {', '.join(sorted(able.pushdown)) or '-'} |")
    return "\n".join(rows)


def _yes(able: bool) -> str:
    return "yes" if able else "-"
