"""The command line. Importing it imports click and nothing heavy; every command imports what it needs when it runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from vexarrow.cli.commands import cli
from vexarrow.errors import VexError
from vexarrow.process import leave, settle

INTERRUPTED = 130
_MOVING = {"export", "import", "migrate", "convert", "adapt"}
_AFTERWARDS = ": no file was published; what a store acknowledged stays there, and the same command again is safe"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `vex` and exit: 0 done, 1 failed, 2 wrong usage, 3 differences found, 130 interrupted."""
    signal.signal(signal.SIGTERM, _terminate)
    settle()
    _leave(arguments, _run(list(sys.argv[1:] if arguments is None else arguments)))


def adapt_main(arguments: Sequence[str] | None = None) -> None:
    """Run `vex-adapt`, which is `vex adapt`, and exit as `main` does."""
    from vexarrow.cli.adapt import adapt

    signal.signal(signal.SIGTERM, _terminate)
    settle()
    _leave(arguments, _run(list(sys.argv[1:] if arguments is None else arguments), adapt, "vex-adapt"))


def _leave(arguments: Sequence[str] | None, code: int) -> NoReturn:
    """End the process where it is the command's own; whoever gives arguments has one of theirs."""
    if arguments is None:
        leave(code)
    sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(arguments: list[str], command: click.Group = cli, name: str = "vex") -> int:
    try:
        result = command.main(args=arguments, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        moving = command is not cli or set(arguments[:1]) & _MOVING
        click.echo(f"{name}: interrupted{_AFTERWARDS if moving else ''}", err=True)
        return INTERRUPTED
    except VexError as error:
        click.echo(f"{name}: error: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        click.echo(f"{name}: error: {error}", err=True)
        return 1
    except Exception as error:
        if os.environ.get("VEX_DEBUG"):
            raise
        click.echo(f"{name}: unexpected error: {type(error).__name__}: {error} (VEX_DEBUG=1 shows where)", err=True)
        return 1
