"""The command that projects: `vex-adapt --from A --to B INPUT OUTPUT`."""

from __future__ import annotations

import click

from vexarrow.errors import Unsupported


@click.command("run")
def run_command() -> None:
    """Not there yet."""
    raise Unsupported("not there yet")
