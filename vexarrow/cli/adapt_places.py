"""What commands about projections are given: two places to read pairs from, `--source a.parquet --target qdrant
--target-url ...`, and projections by file or by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from vexarrow.cli.options import FROM, TO, Given, PlaceCommand
from vexarrow.errors import UsageError

if TYPE_CHECKING:
    from vexarrow.adapt.joined import Origin
    from vexarrow.adapt.projection import Projection

SIDES = {"--source-": f"--{FROM}", "--target-": f"--{TO}"}


class PairCommand(PlaceCommand):
    """A command that takes `--source-x` and `--target-x` for an option x of either place."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write the sides as all other commands call theirs, then parse as these do."""
        own = {name for option in self.params for name in option.opts}
        return super().parse_args(ctx, [_renamed(word, own) for word in args])


def _renamed(word: str, own: set[str]) -> str:
    name = word.partition("=")[0]
    side = next((side for side in SIDES if name.startswith(side)), None)
    if side is None or name in own:
        return word
    return SIDES[side] + word.removeprefix(side)


def origins(given: Given, source: str, target: str, formats: tuple[str | None, str | None]) -> tuple[Origin, Origin]:
    """Both places with their options; a bare option goes to each that knows it. Raises UsageError for one that neither
    knows."""
    from vexarrow.adapt.joined import Origin
    from vexarrow.location import redact

    left = {name.removeprefix(FROM): value for name, value in given.items() if name.startswith(FROM)}
    right = {name.removeprefix(TO): value for name, value in given.items() if name.startswith(TO)}
    for name, value in given.items():
        if name.startswith((FROM, TO)):
            continue
        sides = ((source, left, formats[0]), (target, right, formats[1]))
        taking = [side for place, side, format in sides if name in _names(place, format, given)]
        if not taking:
            raise UsageError(f"neither {redact(source)} nor {redact(target)} takes the option --{name}")
        for side in taking:
            side.setdefault(name, value)
    return Origin(source, formats[0], left), Origin(target, formats[1], right)


def origin(given: Given, place: str, format: str | None) -> Origin:
    """One place with all the options."""
    from vexarrow.adapt.joined import Origin

    return Origin(place, format, {name.removeprefix(FROM): value for name, value in given.items()})


def projection_of(name: str, option: str = "", *, source: str | None = None, target: str | None = None) -> Projection:
    """A projection by its file, or by the name of a file at hand without its ending; `source` and `target` name the
    models of a plain matrix. Raises UsageError for neither, which begins with the `option`, and what loading it
    raises."""
    from vexarrow.adapt.loading import is_file_name, load

    if is_file_name(name.split("?")[0]):
        return load(name, source=source, target=target)
    from vexarrow.adapt.shelf import at_hand
    from vexarrow.location import redact

    stems = {os.path.splitext(os.path.basename(item.location))[0]: item for item in reversed(list(at_hand()))}
    if name in stems:
        return stems[name].load()
    known = f"; at hand are {', '.join(stems)}" if stems else ""
    raise UsageError(
        f"{option}{redact(name)}: no file of a projection (.safetensors, .json, .npy, .npz), and no projection at hand "
        f"is called so{known}"
    )


def _names(place: str, format: str | None, options: Mapping[str, str]) -> set[str]:
    from vexarrow.places import SOURCE, plugin_for

    bare = {name.removeprefix(FROM).removeprefix(TO): value for name, value in options.items()}
    plugin = plugin_for(place, bare, side=SOURCE, format=format)
    return {name for option in plugin.options if option.side in ("both", SOURCE) for name in option.names}
