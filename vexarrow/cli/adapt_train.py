"""`vex-adapt train`, `sample`, `evaluate`, `info` and `detect`."""

from __future__ import annotations

import click

from vexarrow.errors import Unsupported


@click.command("train")
def train_command() -> None:
    """Not there yet."""
    raise Unsupported("not there yet")


@click.command("sample")
def sample_command() -> None:
    """Not there yet."""
    raise Unsupported("not there yet")


@click.command("evaluate")
def evaluate_command() -> None:
    """Not there yet."""
    raise Unsupported("not there yet")


@click.command("info")
def info_command() -> None:
    """Not there yet."""
    raise Unsupported("not there yet")


@click.command("detect")
def detect_command() -> None:
    """Not there yet."""
    raise Unsupported("not there yet")
