"""`vex-adapt --list`, `push` and `pull`."""

from __future__ import annotations

import click

from vexarrow.errors import Unsupported


@click.command("list")
def list_command() -> None:
    """Not there yet."""
    raise Unsupported("not there yet")


@click.command("push")
def push_command() -> None:
    """Not there yet."""
    raise Unsupported("not there yet")


@click.command("pull")
def pull_command() -> None:
    """Not there yet."""
    raise Unsupported("not there yet")
