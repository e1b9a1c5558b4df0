"""Options of stores and formats on the command line: their values, and flags with and without a word."""

from __future__ import annotations

import click
import pytest

from vexarrow.cli.options import PlaceCommand
from vexarrow.errors import UsageError

COMMAND = PlaceCommand(
    "try",
    params=[
        click.Argument(["places"], nargs=-1),
        click.Option(["--from", "source"]),
        click.Option(["--quiet", "-q"], is_flag=True),
    ],
)


def given(*words: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """The options of places, and the arguments that are left."""
    context = COMMAND.make_context("try", list(words))
    return context.obj, context.params["places"]


@pytest.mark.parametrize(
    ("words", "options", "places"),
    [
        (["--collection", "c", "a"], {"collection": "c"}, ("a",)),
        (["--collection=--odd"], {"collection": "--odd"}, ()),
        (["--to-table", "public.b", "--from-url", "u"], {"to-table": "public.b", "from-url": "u"}, ()),
        (["--no-index", "a"], {"no-index": "true"}, ("a",)),
        (["--no-index"], {"no-index": "true"}, ()),
        (["--https", "False", "a"], {"https": "false"}, ("a",)),
        (["--auto-create", "no"], {"auto-create": "false"}, ()),
        (["--to-tls", "1", "-q"], {"to-tls": "true"}, ()),
        (["--skip-graph", "true"], {"skip-graph": "true"}, ()),
        (["--skip-graph", "--quiet"], {"skip-graph": "true"}, ()),
    ],
)
def test_an_option_takes_the_next_word_and_a_flag_a_yes_or_no(
    words: list[str], options: dict[str, str], places: tuple[str, ...]
) -> None:
    assert given(*words) == (options, places)


@pytest.mark.parametrize("words", [["--collection"], ["--collection", "--quiet"], ["a", "--from-host", "-q"]])
def test_an_option_without_its_value_is_wrong_usage(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"^--(collection|from-host) needs a value: "):
        given(*words)


def test_an_option_that_nobody_has_is_wrong_usage_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="no such option: --colection; did you mean --collection"):
        given("--colection", "c")
