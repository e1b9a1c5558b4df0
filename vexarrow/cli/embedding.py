"""The options of re-embedding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from vexarrow.errors import UsageError

if TYPE_CHECKING:
    from vexarrow.embedding import Reembed

_POSITIVE = click.FloatRange(min=0, min_open=True)
_WHOLE = click.IntRange(min=1)


def embedding_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; their names start with `embed`, apart from `reembed` and `force_reembed`."""
    for option in reversed(
        (
            click.option("--reembed", is_flag=True, help="New vectors, from the text, for records that need them."),
            click.option("--force-reembed", is_flag=True, help="New vectors for all records."),
            click.option(
                "--embed-model",
                metavar="MODEL",
                help="openai:NAME, ollama:NAME or sentence-transformers:NAME.",
            ),
            click.option("--embed-url", metavar="URL", help="A server with OpenAI's protocol, or Ollama's address."),
            click.option("--embed-key", metavar="KEY", help="The server's API key, e.g. '${JINA_API_KEY}'."),
            click.option("--embed-dimensions", type=_WHOLE, metavar="N", help="Shorter vectors, if the model can."),
            click.option("--embed-batch", type=_WHOLE, metavar="N", help="Texts a request, at most."),
            click.option(
                "--embed-concurrency", type=click.IntRange(1, 1000), metavar="N", help="Requests at a time (default 4)."
            ),
            click.option(
                "--embed-timeout", type=_POSITIVE, metavar="SECONDS", help="For a request (default 60 or 300)."
            ),
            click.option("--embed-rate", type=_POSITIVE, metavar="N", help="Requests a minute, at most."),
            click.option("--embed-token-rate", type=_POSITIVE, metavar="N", help="Tokens a minute, about, at most."),
            click.option("--embed-cache", metavar="PATH", help="Where vectors are kept (default: the user's cache)."),
            click.option("--no-embed-cache", is_flag=True, help="Keep no vectors for later runs."),
        )
    ):
        function = option(function)
    return function


def wish(given: Mapping[str, Any]) -> Reembed | None:
    """What the options say, None when nothing is to be embedded. Raises UsageError for options that go nowhere."""
    wanted = given["reembed"] or given["force_reembed"]
    named = [name for name, value in given.items() if name not in ("reembed", "force_reembed") and value]
    if not wanted:
        if named:
            raise UsageError(f"--{named[0].replace('_', '-')} does nothing without --reembed")
        return None
    if not given["embed_model"]:
        raise UsageError("--reembed needs --embed-model, e.g. --embed-model openai:text-embedding-3-small")
    if given["embed_cache"] and given["no_embed_cache"]:
        raise UsageError("--embed-cache and --no-embed-cache contradict each other")
    from vexarrow.embedding import Reembed

    return Reembed(
        given["embed_model"],
        force=given["force_reembed"],
        url=given["embed_url"],
        key=given["embed_key"],
        dimensions=given["embed_dimensions"],
        cache=given["embed_cache"],
        cached=not given["no_embed_cache"],
        batch=given["embed_batch"],
        rate=given["embed_rate"],
        token_rate=given["embed_token_rate"],
        concurrency=given["embed_concurrency"] or 4,
        timeout=given["embed_timeout"],
    )
