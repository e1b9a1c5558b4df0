"""The options by which any command that moves records projects them on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from vexarrow.errors import UsageError

if TYPE_CHECKING:
    from vexarrow.adapt.adapting import Adapting


class Projecting(NamedTuple):
    """A wish to project; see `vexarrow.adapt.adapting.Adapt`. `either`: what is given as projections may hold the name
    of the target's model as well."""

    projections: tuple[str, ...]
    source: str | None
    force: bool
    target: str | None = None
    either: bool = False

    def transform(self, *, dry_run: bool) -> Adapting:
        """The transform, or with `dry_run` what tells what it would do."""
        from vexarrow.adapt.adapting import Adapt, Adapting, Foreseen

        kind = Foreseen if dry_run else Adapting
        if self.either:
            return Adapt.of(self.projections, source=self.source, force=self.force).transform(kind)
        return Adapt(self.target, self.projections, self.source, self.force).transform(kind)


def adapting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--adapt` and what belongs to it."""
    for option in reversed(
        (
            click.option(
                "--adapt",
                multiple=True,
                metavar="PROJECTION",
                help="Project vectors: a projection's file or URL (repeatable), or the target's model.",
            ),
            click.option("--adapt-from", metavar="MODEL", help="The model of records that name none."),
            click.option("--force-adapt", is_flag=True, help="Project against the advice of the projection."),
        )
    ):
        function = option(function)
    return function


def take_projecting(given: dict[str, Any]) -> Projecting | None:
    """Take these options out of those given, None when nothing is to be projected. Raises UsageError for options that
    go nowhere."""
    said, source, force = given.pop("adapt", ()), given.pop("adapt_from", None), given.pop("force_adapt", False)
    if said:
        return Projecting(said, source, force, either=True)
    if source or force:
        raise UsageError(f"--{'adapt-from' if source else 'force-adapt'} does nothing without --adapt")
    return None
