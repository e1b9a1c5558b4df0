"""`vex-adapt train`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from vexarrow.cli.adapt_places import PairCommand, origin, origins, projection_of
from vexarrow.cli.options import Given
from vexarrow.errors import Unfit, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vexarrow.adapt.model import ModelCard
    from vexarrow.adapt.pairs_files import Given as GivenPairs
    from vexarrow.adapt.training import Provenance, Trial

MOST_CORPUS = 10_000
SIDES = ("from", "to")
PAIRS_HELP = 'Lines {"source": [...], "target": [...]}: a path, a URL or -, compressed or not.'


def _provenance_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the file will say of where it comes from."""
    options = []
    for side, model in (("from", "source"), ("to", "target")):
        options += [
            click.option(f"--{side}-provider", metavar="NAME", help=f"Who serves the {model} model."),
            click.option(f"--{side}-revision", metavar="NAME", help=f"The build of the {model} model."),
            click.option(f"--{side}-prefix", metavar="TEXT", help="Put before texts, or the task type; '' is none."),
        ]
    options += [
        click.option("--corpus", metavar="TEXT", help="Which texts the pairs are of."),
        click.option("--language", metavar="NAME", help="Of the texts, e.g. en."),
        click.option("--pairs-licence", metavar="NAME", help="The licence of the pairs."),
        click.option("--weights-licence", metavar="NAME", help="The licence of the projection."),
        click.option("--created-at", metavar="TIME", help="ISO 8601 (default: SOURCE_DATE_EPOCH, else none)."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command(
    "train",
    cls=PairCommand,
    epilog="""\b
Examples:
  vex-adapt train --from my-model --to text-embedding-3-small --pairs aligned.jsonl -o my.safetensors
  vex-adapt train --source old.parquet --target new.parquet -o my.safetensors --html report.html
  vex-adapt train --from my-model --to text-embedding-3-small --pairs mine.jsonl.zst \\
      --prior bundled.safetensors -o mine.safetensors
  vex-adapt train --source qdrant --source-url http://localhost:6333 --source-collection memories \\
      --target embedded.vmig.jsonl --from my-model --to text-embedding-3-small -o my.safetensors

\b
Few texts and much to embed? Let `vex-adapt sample` choose which texts are worth it:
  vex-adapt sample memories.parquet --pairs 200 --output to-embed.vmig.jsonl
  vex convert to-embed.vmig.jsonl embedded.vmig.jsonl --reembed --force-reembed \\
      --embed-model openai:text-embedding-3-small
  vex-adapt train --source to-embed.vmig.jsonl --target embedded.vmig.jsonl \\
      --from my-model --to text-embedding-3-small -o my.safetensors""",
)
@click.option("--from", "from_model", metavar="MODEL", help="The model of the source vectors.")
@click.option("--to", "to_model", metavar="MODEL", help="The model into whose space they are to be translated.")
@click.option("--pairs", metavar="PATH", help=PAIRS_HELP)
@click.option("--source", metavar="PLACE", help="Records with vectors of --from; any file or store.")
@click.option("--target", metavar="PLACE", help="Records of the same ids with vectors of --to.")
@click.option("--source-format", metavar="NAME", help="The format of --source, where its name does not tell.")
@click.option("--target-format", metavar="NAME", help="The format of --target, where its name does not tell.")
@click.option("--output", "-o", required=True, metavar="PATH", help="The projection; ends in .safetensors.")
@click.option("--prior", metavar="NAME", help="A projection that the pairs correct: a file, or one that is at hand.")
@click.option(
    "--local", type=click.IntRange(min=2), metavar="N", help="Correct it near N groups, say 16; needs 2,000 pairs."
)
@click.option("--held-out", type=click.IntRange(min=2), metavar="N", help="Pairs for the report (default: 20 %, 500).")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the pairs held out.")
@click.option("--corpus-from", metavar="PLACE", help="What will be projected: how much of it is unlike the pairs?")
@click.option("--force", is_flag=True, help="Write it even when it is refused.")
@click.option("--half", is_flag=True, help="float16: half the size, the same neighbours.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@_provenance_options
@click.option("--html", metavar="PATH", help="Write the report as a page with pictures, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def train_command(given: Given, /, **options: Any) -> None:
    """Train a projection on vectors of the same texts by two models, measure it, and refuse it where it would hurt.

    A fifth of the pairs is held out for the report; the file is then fitted with all of them. The same pairs and the
    same seed give the same file, on the same kind of processor with as many threads.

    --local adds corrections near groups of source vectors to the one linear map, and leaves them out again where they
    hardly find more neighbours than it does alone.

    Options of stores: --source-url, --target-collection, ...
    """
    _check_output(options["output"], options["overwrite"])
    pairs = _pairs(given, options)
    corpus = None if options["corpus_from"] is None else _corpus(options["corpus_from"], options["seed"])
    done = _attempt(pairs, corpus, options)
    for note in (*pairs.notes, *_disagreements(pairs, done)):
        click.echo(f"vex-adapt: note: {note}", err=True)
    if options["html"]:
        _page(done, corpus, options["html"])
    refused = done.verdict.refused and not options["force"]
    checksum = None
    if not refused:
        projection = done.finish()
        if options["half"]:  # what is loaded from the file has the checksum of rounded numbers
            projection = projection.from_bytes(projection.to_bytes(half=True), options["output"])
        checksum = projection.checksum
        projection.save(options["output"], half=options["half"], overwrite=options["overwrite"])
    _tell(done, options, checksum)
    if refused:
        raise Unfit(f"{done.verdict.sentence()}; nothing was written (--force writes it all the same)")


def _check_output(output: str, overwrite: bool) -> None:
    from vexarrow import files
    from vexarrow.location import redact

    if not output.lower().endswith(".safetensors"):
        raise UsageError(f"-o {redact(output)}: a projection is written to a file that ends in .safetensors")
    if not overwrite and files.exists(output):
        raise UsageError(f"{redact(output)} exists already; --overwrite replaces it")


def _pairs(given: Given, options: dict[str, Any]) -> GivenPairs:
    places = (options["source"], options["target"])
    if options["pairs"] is not None:
        if any(places) or given:
            raise UsageError("--pairs holds both sides, so --source, --target and their options are not needed")
        from vexarrow.adapt.pairs_files import read_pairs

        return read_pairs(options["pairs"])
    if not all(places):
        raise UsageError("pairs come from --pairs, or from --source and --target together")
    from vexarrow.adapt.joined import join

    return join(*origins(given, *places, (options["source_format"], options["target_format"])))


def _corpus(place: str, seed: int) -> NDArray[np.float32]:
    from vexarrow.adapt.sample import draw

    return draw(origin({}, place, None), MOST_CORPUS, seed, texts=False).vectors


def _attempt(pairs: GivenPairs, corpus: Any, options: dict[str, Any]) -> Trial:
    from vexarrow.adapt.training import attempt

    source, target = (_card(pairs, at, options) for at in (0, 1))
    prior = None
    if options["prior"] is not None:
        prior = projection_of(options["prior"], "--prior ", source=source.name, target=target.name)
    held_out = options["held_out"]
    if held_out is None and pairs.held_out is not None:
        held_out = pairs.held_out
    return attempt(
        pairs.pairs.source,
        pairs.pairs.target,
        prior,
        source_model=source,
        target_model=target,
        held_out=held_out,
        seed=options["seed"],
        force=options["force"],
        provenance=_provenance(pairs, options),
        corpus=corpus,
        local=options["local"],
    )


def _card(pairs: GivenPairs, at: int, options: dict[str, Any]) -> ModelCard:
    from vexarrow.adapt.model import ModelCard

    side = SIDES[at]
    name = options[f"{side}_model"] or pairs.models[at]
    if not name:
        raise UsageError(f"--{side} names the model of the {('source', 'target')[at]} vectors; it is not given")
    rows = pairs.pairs.source if at == 0 else pairs.pairs.target
    more = {word: options[f"{side}_{word}"] for word in ("provider", "revision", "prefix")}
    return ModelCard(name, rows.shape[1], **more)


def _provenance(pairs: GivenPairs, options: dict[str, Any]) -> Provenance:
    from vexarrow.adapt.training import Provenance

    said = {name: options[name] for name in ("corpus", "language", "pairs_licence", "weights_licence")}
    chosen = "given" if pairs.held_out is None else "medoids"
    return Provenance(chosen=chosen, created_at=_time(options["created_at"]), **said)


def _time(said: str | None) -> str | None:
    from datetime import UTC, datetime

    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        if said is not None:
            return datetime.fromisoformat(said).isoformat()
        return None if not epoch else datetime.fromtimestamp(int(epoch), UTC).isoformat()
    except (ValueError, OverflowError) as error:
        name = "--created-at" if said is not None else "SOURCE_DATE_EPOCH"
        raise UsageError(f"{name} {said or epoch}: no time ({error}); write 2026-01-31T12:00:00Z") from None


def _disagreements(pairs: GivenPairs, done: Trial) -> list[str]:
    from vexarrow.embedding_models import same_model

    cards = (done.judged.source, done.judged.target)
    return [
        f"the records name the model {said}, not {card.name}"
        for said, card in zip(pairs.models, cards, strict=True)
        if said and not same_model(said, card.name)
    ]


def _page(done: Trial, corpus: Any, path: str) -> None:
    from vexarrow.adapt.html import page
    from vexarrow.files import write_text

    write_text(path, page(done.judged, done.report, done.verdict, done.kept, corpus=corpus))


def _tell(done: Trial, options: dict[str, Any], checksum: str | None) -> None:
    from vexarrow.adapt.gate import always
    from vexarrow.adapt.render import render
    from vexarrow.location import redact

    source, target = done.judged.source, done.judged.target
    if options["as_json"]:
        body = {
            "output": redact(options["output"]) if checksum else None,
            "checksum": checksum,
            "source": source.to_json(),
            "target": target.to_json(),
            "report": done.report.to_json(),
            **done.verdict.to_json(),
            "always": always(done.report),
        }
        click.echo(json.dumps(body, ensure_ascii=False))
        return
    click.echo(render(done.report, done.verdict, source, target))
    if checksum:
        click.echo(f"written: {redact(options['output'])} ({checksum})")
