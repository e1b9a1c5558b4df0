"""The command line. Importing it imports click and nothing heavy; every command imports what it needs when it runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

from vexarrow.cli.commands import cli
from vexarrow.errors import VexError
from vexarrow.process import settle

INTERRUPTED = 130
_MOVING = {"export", "import", "migrate", "convert"}
_AFTERWARDS = ": no file was published; what a store acknowledged stays there, and the same command again is safe"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `vex` and exit: 0 done, 1 failed, 2 wrong usage, 3 differences found, 130 interrupted."""
    signal.signal(signal.SIGTERM, _terminate)
    settle()
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def adapt_main() -> None:
    """Run `vex-adapt`: its name is taken, its work comes with a later version. Exits with 2, or 0 for `--help`."""
    helping = {"-h", "--help"} & set(sys.argv[1:])
    text = "vex-adapt: projections between embedding models are not part of this version yet"
    click.echo(f"Usage: vex-adapt [OPTIONS]\n\n  {text}" if helping else text, err=not helping)
    sys.exit(0 if helping else 2)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(arguments: list[str]) -> int:
    try:
        result = cli.main(args=arguments, prog_name="vex", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"vex: interrupted{_AFTERWARDS if set(arguments[:1]) & _MOVING else ''}", err=True)
        return INTERRUPTED
    except VexError as error:
        click.echo(f"vex: error: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        click.echo(f"vex: error: {error}", err=True)
        return 1
    except Exception as error:
        if os.environ.get("VEX_DEBUG"):
            raise
        click.echo(f"vex: unexpected error: {type(error).__name__}: {error} (VEX_DEBUG=1 shows where)", err=True)
        return 1
