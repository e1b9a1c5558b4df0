"""Options that belong to a store or a format and not to a command: `--db x`, `--from-db x`, `--to-db x`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from vexarrow.errors import UsageError

if TYPE_CHECKING:
    from vexarrow.protocols import Connector, Format

FROM, TO = "from-", "to-"
# What may follow a flag, and means this.
_WORDS = {"true": "true", "yes": "true", "1": "true", "false": "false", "no": "false", "0": "false"}
Given = dict[str, str]


class PlaceCommand(click.Command):
    """A command that also takes the options of the connectors and formats it is used with, kept in `ctx.obj`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take out the long options that the command itself does not know, then parse as usual."""
        own: dict[str, click.Parameter | None] = {"--help": None}
        own |= {name: option for option in self.params for name in (*option.opts, *option.secondary_opts)}
        rest, given = _split(args, own)
        ctx.obj = given
        return super().parse_args(ctx, rest)


def _split(args: list[str], own: dict[str, Any]) -> tuple[list[str], Given]:
    rest: list[str] = []
    given: Given = {}
    at = 0
    while at < len(args):
        word = args[at]
        name, _, value = word.partition("=")
        if word == "--" or not word.startswith("--"):
            rest.append(word)
        elif name in own:
            rest.append(word)
            option = own[name]
            if "=" not in word and isinstance(option, click.Option) and not option.is_flag and at + 1 < len(args):
                at += 1
                rest.append(args[at])
        elif "=" in word:
            given[_known(name, own)] = value
        else:
            given[_known(name, own)], at = _value(args, at, name, own)
        at += 1
    return rest, given


def _value(args: list[str], at: int, name: str, own: Iterable[str]) -> tuple[str, int]:
    """The value of an option and where it ends. A flag may be followed by true or false, as in the original tool.
    Raises UsageError where a value is missing."""
    following = args[at + 1] if at + 1 < len(args) else None
    if following is not None and (following.startswith("--") or following in own):
        following = None
    if _is_flag(name.removeprefix("--")):
        word = _WORDS.get((following or "").lower())
        return ("true", at) if word is None else (word, at + 1)
    if following is None:
        raise UsageError(f"{name} needs a value: {name} VALUE, or {name}=VALUE where it begins with --")
    return following, at + 1


def _all_options() -> dict[str, bool]:
    """Every option of every plugin, bare and with its side; the value tells whether it is a flag."""
    from vexarrow import plugins

    every: list[Connector | Format] = [*plugins.connectors().values(), *plugins.formats().values()]
    names = {name: option.flag for one in every for option in one.options for name in option.names}
    return {prefix + name: flag for name, flag in names.items() for prefix in ("", FROM, TO)}


def _known(word: str, own: Iterable[str]) -> str:
    name = word.removeprefix("--")
    known = _all_options()
    if name in known:
        return name
    mine = [option.removeprefix("--") for option in own if option.startswith("--")]
    near = difflib.get_close_matches(name, [*mine, *known], n=1)
    raise UsageError(f"no such option: {word}" + (f"; did you mean --{near[0]}?" if near else ""))


def _is_flag(name: str) -> bool:
    return _all_options().get(name, False)


def sides(
    given: Given, source: str, target: str, *, formats: tuple[str | None, str | None] = (None, None)
) -> tuple[Given, Given]:
    """The options of the source and those of the target.

    `--from-x` and `--to-x` name the side. A bare option goes to the side that knows it; when both do, to the one that
    did not get it by name. Raises UsageError when that leaves it open.
    """
    bare = {name.removeprefix(FROM).removeprefix(TO): value for name, value in given.items()}
    left, right = _names(source, "source", formats[0], bare), _names(target, "sink", formats[1], bare)
    named = {name.removeprefix(FROM): v for name, v in given.items() if name.startswith(FROM)}
    sunk = {name.removeprefix(TO): v for name, v in given.items() if name.startswith(TO)}
    for name, value in given.items():
        if name.startswith((FROM, TO)):
            continue
        takes = [side for side, known in ((named, left), (sunk, right)) if name in known and name not in side]
        if not takes:
            raise UsageError(f"neither {source} nor {target} takes the option --{name}")
        if len(takes) == 2 and name in _shared():
            sunk[name] = value
        elif len(takes) == 2:
            raise UsageError(f"both sides take --{name}: say --from-{name} or --to-{name}")
        takes[0][name] = value
    return named, sunk


def _shared() -> set[str]:
    """The options that mean both sides when they name none."""
    from vexarrow import plugins

    return {name for one in plugins.connectors().values() for o in one.options if o.shared for name in o.names}


def _names(text: str, side: str, format: str | None, options: Given) -> set[str]:
    """The names of the options that a place takes; resolving it later says what is wrong with the place itself."""
    from vexarrow.places import plugin_for

    plugin = plugin_for(text, options, side=side, format=format)
    return {name for option in plugin.options if option.side in ("both", side) for name in option.names}
