"""`vex-adapt`, and `vex adapt`: the same commands."""

from __future__ import annotations

import click

from vexarrow.cli.adapt_evaluate import evaluate_command, info_command
from vexarrow.cli.adapt_registry import list_command, pull_command, push_command
from vexarrow.cli.adapt_run import run_command
from vexarrow.cli.adapt_sample import detect_command, sample_command
from vexarrow.cli.adapt_train import train_command
from vexarrow.processor import take_wide_kernels

_RUN = "run"


class AdaptGroup(click.Group):
    """A group whose first command needs no name: `vex-adapt --from A --to B in out`; `--list` is `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name of the command that is meant in front."""
        if args[:1] == ["--list"]:
            args = ["list", *args[1:]]
        elif args and args[0] not in self.commands and args[0] not in ("-h", "--help", "--version"):
            args = [_RUN, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the form without a command first."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] INPUT [OUTPUT]")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", prefix="   or: ")


@click.group(
    "adapt",
    cls=AdaptGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  vex-adapt --from all-MiniLM-L6-v2 --to text-embedding-3-small memories.vmig.jsonl adapted.vmig.jsonl
  vex-adapt --list
  vex-adapt train --from my-model --to text-embedding-3-small --pairs aligned.jsonl -o my.safetensors""",
)
def adapt() -> None:
    """Translate vectors from one embedding model's space into another's, without embedding again.

    INPUT and OUTPUT are any places that vex knows; `vex-adapt INPUT --help` shows the options of that form. --list is
    `list`.
    """
    take_wide_kernels()  # numpy is imported by whichever command comes next


for command in (
    run_command,
    list_command,
    train_command,
    sample_command,
    evaluate_command,
    info_command,
    detect_command,
    push_command,
    pull_command,
):
    adapt.add_command(command)
