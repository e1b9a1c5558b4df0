"""`vex-adapt sample` and `detect`: which texts to embed, and which model wrote the vectors at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from vexarrow.cli.adapt_places import origin
from vexarrow.cli.options import Given, PlaceCommand

if TYPE_CHECKING:
    from vexarrow.adapt.detect import Detected, Fingerprint

MOST_LOOKED_AT = 5000
_SHOWN = 5


@click.command(
    "sample",
    cls=PlaceCommand,
    epilog="""\b
Examples:
  vex-adapt sample memories.parquet --pairs 200 --output to-embed.vmig.jsonl
  vex-adapt sample memories.parquet --pairs 400 --held-out 200 -o to-embed.vmig.jsonl

\b
From there to a projection:
  vex convert to-embed.vmig.jsonl embedded.vmig.jsonl --reembed --force-reembed \\
      --embed-model openai:text-embedding-3-small
  vex-adapt train --source to-embed.vmig.jsonl --target embedded.vmig.jsonl \\
      --from my-model --to text-embedding-3-small -o my.safetensors""",
)
@click.argument("source", metavar="PLACE")
@click.option("--pairs", type=click.IntRange(min=1), default=200, show_default=True, metavar="N", help="To train with.")
@click.option(
    "--held-out",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="N",
    help="Others, by chance, to measure on; `train` knows them again.",
)
@click.option("--output", "-o", required=True, metavar="PATH", help="The chosen records; any format.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that is by chance.")
@click.option("--from-format", metavar="NAME", help="The format of the input, where its name does not tell.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def sample_command(
    given: Given,
    /,
    source: str,
    pairs: int,
    held_out: int,
    output: str,
    seed: int,
    from_format: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Choose the records whose texts are worth embedding with the target model.

    Medoids of the vectors, which teach a projection more than records by chance, and others by chance to measure it on.
    Their `extra` says which is which (`vex_role`). One pass; at most 50,000 records are kept in memory.
    """
    import pyarrow as pa

    from vexarrow.adapt.sample import sample
    from vexarrow.api import write
    from vexarrow.location import redact

    batch, drawn = sample(origin(given, source, from_format), pairs, held_out, seed)
    write(pa.Table.from_batches([batch]), output, overwrite=overwrite)
    body = {
        "output": redact(output),
        "records": drawn.rows,
        "passed_over": drawn.passed_over,
        "train": pairs,
        "held_out": held_out,
        "characters": sum(len(text or "") for text in batch.column("text").to_pylist()),
    }
    to_stderr = output == "-"
    if as_json:
        click.echo(json.dumps(body, ensure_ascii=False), err=to_stderr)
        return
    click.echo(
        f"{pairs:,} records to train with and {held_out:,} to measure on, of {drawn.rows:,} "
        f"({drawn.passed_over:,} without text or vector): {body['characters']:,} characters to embed, "
        f"in {body['output']}",
        err=to_stderr,
    )


@click.command(
    "detect",
    cls=PlaceCommand,
    epilog="""\b
Examples:
  vex-adapt detect memories.parquet
  vex-adapt detect memories.parquet --projection my.safetensors --json""",
)
@click.argument("source", metavar="PLACE")
@click.option(
    "--projection",
    "projections",
    multiple=True,
    metavar="PATH",
    help="Learn how models' vectors look from this one too; repeatable.",
)
@click.option("--from-format", metavar="NAME", help="The format of the input, where its name does not tell.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def detect_command(
    given: Given, /, source: str, projections: tuple[str, ...], from_format: str | None, as_json: bool
) -> None:
    """Say which known model wrote the vectors of a place, and warn when its records name another one.

    Known are the models of the projections at hand (`vex-adapt --list`) and of those that are given. What a projection
    was trained on is compared by the mean vector: a strong sign, and no proof.
    """
    from vexarrow.adapt.detect import detect
    from vexarrow.adapt.sample import draw

    known = list(_known(projections))
    drawn = draw(origin(given, source, from_format), MOST_LOOKED_AT, 0, texts=False)
    named = sorted({model for model in drawn.columns["model"].tolist() if model})
    found = detect(drawn.vectors, known, named)
    for warning in found.warnings():
        click.echo(f"vex-adapt: warning: {warning}", err=True)
    click.echo(json.dumps(found.to_json(), ensure_ascii=False) if as_json else _render(found))


def _known(projections: tuple[str, ...]) -> Iterator[Fingerprint]:
    from vexarrow.adapt import shelf
    from vexarrow.adapt.detect import fingerprints
    from vexarrow.adapt.loading import load
    from vexarrow.location import redact

    for name in projections:
        yield from fingerprints(load(name), redact(name))
    for item in shelf.at_hand():
        yield from fingerprints(item.load(), item.location)


def _render(found: Detected) -> str:
    unit = "all of length 1" if found.normalised else f"lengths {found.norm_low:.3g} to {found.norm_high:.3g}"
    lines = [f"{found.rows:,} vectors of {found.dim} dimensions, {unit}"]
    if found.model is not None:
        lines.append(f"{found.confidence} written by {found.model}")
    else:
        lines.append("written by none of the models that are known by their projections")
    lines += [f"  {one.cosine:6.3f}  {one.model} ({one.learnt_from})" for one in found.candidates[:_SHOWN]]
    if found.candidates:
        lines.append("  cosine of the mean vectors; measured were 0.27 to 1 within a model, under 0.15 between models")
    elif found.catalogued:
        lines.append(f"  models of that dimension: {', '.join(found.catalogued)}")
    lines.append(f"the records name {', '.join(found.named) if found.named else 'no model'}")
    return "\n".join(lines)
