"""`vex-adapt evaluate` and `info`: how good a projection is, and what its file says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from vexarrow.cli.adapt_places import projection_of
from vexarrow.cli.adapt_train import PAIRS_HELP

if TYPE_CHECKING:
    from vexarrow.adapt.gate import Verdict
    from vexarrow.adapt.pairs import Pairs
    from vexarrow.adapt.projection import Projection
    from vexarrow.adapt.report import Report

MOST_MEASURED = 10_000


def _matrix_models(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a plain matrix (.npy, .npz) does not say."""
    for option in (
        click.option("--to", "target", metavar="MODEL", help="The target of a plain matrix."),
        click.option("--from", "source", metavar="MODEL", help="The source of a plain matrix (.npy, .npz)."),
    ):
        function = option(function)
    return function


@click.command(
    "evaluate",
    epilog="""\b
Examples:
  vex-adapt evaluate my.safetensors --pairs held-out.jsonl
  vex-adapt evaluate my.safetensors --pairs held-out.jsonl --html report.html
  vex-adapt evaluate matrix.npy --from my-model --to text-embedding-3-small --pairs held-out.jsonl
  vex-adapt evaluate my.safetensors --pairs corpus.jsonl.zst --queries queries.jsonl --json""",
)
@click.argument("projection", metavar="PROJECTION")
@_matrix_models
@click.option("--pairs", required=True, metavar="PATH", help=PAIRS_HELP)
@click.option(
    "--queries",
    metavar="PATH",
    help='Lines {"target": [...], "source": [...], "relevant": ["id", ...]}, searched for among --pairs.',
)
@click.option("--html", metavar="PATH", help="Write the report as a page with pictures, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate_command(
    projection: str,
    source: str | None,
    target: str | None,
    pairs: str,
    queries: str | None,
    html: str | None,
    as_json: bool,
) -> int:
    """Measure a projection on pairs that it was not trained with; exit 1 when the gate refuses it.

    PROJECTION is a file, or the name of one at hand (`vex-adapt --list`) without its ending.

    Of the vectors in --queries, "source" may be missing, and so may "relevant": the 10 records nearest to a query among
    native vectors are then the ones to find.
    """
    from vexarrow.adapt.pairs_files import read_pairs

    adapter = projection_of(projection, source=source, target=target)
    given = read_pairs(pairs).pairs
    kept = _measured(given)
    report = _report(adapter, kept, given, queries)
    from vexarrow.adapt.gate import always, judge
    from vexarrow.adapt.render import render

    verdict = judge(report, (adapter.source, adapter.target), report.pairs)
    for warning in _warnings(adapter, given, kept):
        click.echo(f"vex-adapt: warning: {warning}", err=True)
    if html:
        _page(adapter, report, verdict, kept, html)
    if as_json:
        body = {
            "checksum": adapter.checksum,
            "source": adapter.source.to_json(),
            "target": adapter.target.to_json(),
            "report": report.to_json(),
            **verdict.to_json(),
            "always": always(report),
        }
        click.echo(json.dumps(body, ensure_ascii=False))
    else:
        click.echo(render(report, verdict, adapter.source, adapter.target))
    return 1 if verdict.refused else 0


def _measured(given: Pairs) -> Pairs:
    """The pairs that are worth measuring on, at most `MOST_MEASURED` of them: neighbours cost the square of that."""
    from vexarrow.adapt.pairs import clean

    pairs = clean(given)
    return pairs if len(pairs) <= MOST_MEASURED else pairs.split(MOST_MEASURED, 0)[1]


def _report(adapter: Projection, kept: Pairs, given: Pairs, queries: str | None) -> Report:
    from dataclasses import replace

    from vexarrow.adapt.measures import evaluate

    said = adapter.header.get("pairs")
    trained = said.get("count") if isinstance(said, dict) else None
    report = evaluate(adapter, kept, pairs=trained if isinstance(trained, int) else None)
    if queries is None:
        return report
    from vexarrow.adapt.queries import ask, read_queries

    return replace(report, queries=ask(adapter, read_queries(queries), given))


def _warnings(adapter: Projection, given: Pairs, kept: Pairs) -> list[str]:
    said = adapter.header.get("pairs")
    known = {said.get("sha256"), said.get("held_out_sha256")} if isinstance(said, dict) else set()
    found = []
    if known & {given.sha256, kept.sha256}:
        found.append("these are pairs that the projection was trained with: the numbers are too good to be true")
    if kept.dropped:
        lost = ", ".join(f"{count:,} {reason}" for reason, count in kept.dropped.items())
        found.append(f"pairs that were left out: {lost}")
    if len(given) > len(kept) and len(kept) == MOST_MEASURED:
        found.append(f"{MOST_MEASURED:,} pairs by chance were measured on, of {len(given):,}")
    return found


def _page(adapter: Projection, report: Report, verdict: Verdict, kept: Pairs, path: str) -> None:
    from vexarrow.adapt.html import page
    from vexarrow.files import write_text

    write_text(path, page(adapter, report, verdict, kept))


@click.command(
    "info",
    epilog="""\b
Examples:
  vex-adapt info my.safetensors
  vex-adapt info all-MiniLM-L6-v2--wordllama-l2-256
  vex-adapt info my.safetensors --json""",
)
@click.argument("projection", metavar="PROJECTION")
@_matrix_models
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info_command(projection: str, source: str | None, target: str | None, as_json: bool) -> None:
    """Show all that the file of a projection says: its models, how it was trained and on what, its report.

    PROJECTION is a file, or the name of one at hand (`vex-adapt --list`) without its ending.
    """
    from vexarrow.adapt.render import facts

    adapter = projection_of(projection, source=source, target=target)
    click.echo(json.dumps(_header(adapter), ensure_ascii=False) if as_json else facts(adapter))


def _header(adapter: Projection) -> dict[str, Any]:
    return {
        "checksum": adapter.checksum,
        **adapter.header,
        "source": adapter.source.to_json(),
        "target": adapter.target.to_json(),
    }
