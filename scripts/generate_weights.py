"""Make the projections that the original tool was known for, from a corpus of texts.

    python scripts/generate_weights.py corpus.txt --estimate
    python scripts/generate_weights.py corpus.txt --output weights/

The source models run here, by sentence-transformers (`pip install sentence-transformers`), apart from
text-embedding-ada-002; the others answer at an endpoint with OpenAI's protocol, whose key is OPENAI_API_KEY. Every
vector is kept in a cache the moment it arrives: the same command again goes on where it stopped and pays nothing twice,
and pairs with the same target share its vectors. A text that the source model would trim is left out before the target
is paid for.

What comes out is judged like any projection: one that would hurt is refused and not written.
"""

from __future__ import annotations

import heapq
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

import vexarrow
from vexarrow import files
from vexarrow.adapt import Projection
from vexarrow.adapt.catalog import PAIRS, Pair
from vexarrow.adapt.model import ModelCard
from vexarrow.adapt.quality import Quality
from vexarrow.adapt.training import Provenance
from vexarrow.embedding import Reembed
from vexarrow.embedding_cache import Cache
from vexarrow.embedding_models import LOCAL
from vexarrow.embedding_texts import key_of, tokens
from vexarrow.errors import Unfit, UsageError, VexError
from vexarrow.location import redact

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Dollars for a million tokens, looked up in November 2026: of the 3-* models on OpenAI's pages, of ada-002 as others
# quote it. --price says another.
PRICES = {"text-embedding-3-small": 0.02, "text-embedding-3-large": 0.13, "text-embedding-ada-002": 0.10}
PAGE = 2048
_PLAIN_TEXT = (".txt", ".txt.gz", ".txt.zst")


@dataclass(frozen=True)
class Side:
    """One model of a pair: who computes its vectors, and what is put before a text."""

    name: str
    wish: Reembed
    prefix: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it runs here and costs nothing but time."""
        return self.wish.named.provider == LOCAL

    def card(self, dim: int) -> ModelCard:
        """For the header of a projection."""
        return ModelCard(self.name, dim, provider=self.wish.named.provider, prefix=self.prefix)


# -- texts ----------------------------------------------------------------------------------------------


def texts_of(corpus: str) -> Iterator[str]:
    """The texts of a corpus: the lines of a .txt file, the records of any other place."""
    if corpus.lower().endswith(_PLAIN_TEXT):
        with files.open_input(corpus) as stream:
            yield from (text for line in _lines(stream) if (text := line.decode(errors="replace").strip()))
        return
    for batch in vexarrow.read(corpus):
        yield from (text.strip() for text in batch.column("text").to_pylist() if text and not text.isspace())


def _lines(stream: Any) -> Iterator[bytes]:
    rest = b""
    while part := stream.read(1 << 20):
        *whole, rest = (rest + part).split(b"\n")
        yield from whole
    if rest:
        yield rest


def sample(texts: Iterable[str], count: int, seed: int) -> list[str]:
    """Different texts, `count` at most, by chance: those with the smallest hashes, whatever order they come in."""
    held: list[tuple[int, str]] = []
    known: set[int] = set()
    for text in texts:
        number = -int.from_bytes(sha256(f"{seed} {text}".encode()).digest()[:16], "big")
        if number in known or (len(held) == count and number <= held[0][0]):
            continue
        known.add(number)
        if len(held) < count:
            heapq.heappush(held, (number, text))
        else:
            known.discard(heapq.heappushpop(held, (number, text))[0])
    return [text for _, text in sorted(held, reverse=True)]


# -- costs ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What a model has to embed: about so many `tokens`, of texts that are not cached. `price`: None when not known."""

    name: str
    texts: int
    cached: int
    tokens: int
    price: float | None

    @property
    def dollars(self) -> float | None:
        """For all of it."""
        return None if self.price is None else self.tokens / 1e6 * self.price

    def __str__(self) -> str:
        price = "no price known" if self.price is None else f"${self.price:g} a million"
        dollars = "?" if self.dollars is None else money(self.dollars)
        counts = f"{self.texts:,} texts, {self.cached:,} cached, about {self.tokens:,} tokens"
        return f"{self.name:<24} {counts:<56} {price:<18} {dollars}"


def money(dollars: float) -> str:
    """Dollars, rounded up to the cent: what is said to be the most must not be less."""
    return f"${math.ceil(round(100 * dollars, 6)) / 100:,.2f}"


def estimate(pairs: Sequence[tuple[Side, Side]], texts: Sequence[str], prices: dict[str, float]) -> list[Cost]:
    """What all pairs cost at most, model by model."""
    found: dict[str, Cost] = {}
    for side in (side for pair in pairs for side in pair):
        if side.name in found:
            continue
        wanted = {key_of(text): text for text in (side.prefix + text for text in texts)}
        cached = _cached(side.wish, list(wanted))
        sent = sum(tokens(text) for key, text in wanted.items() if key not in cached)
        price = 0.0 if side.is_local else prices.get(side.name)
        found[side.name] = Cost(side.name, len(wanted), len(cached), sent, price)
    return list(found.values())


def _cached(wish: Reembed, keys: list[bytes]) -> set[bytes]:
    path = wish.cache_path()
    if path is None or not Path(path).exists():
        return set()
    cache = Cache(path, wish.identity, wish.dimensions)
    try:
        return set(cache.found(keys))
    finally:
        cache.close()


def check_budget(costs: Sequence[Cost], budget: float | None) -> float:
    """The sum, in dollars. Raises UsageError when it is over the budget, or cannot be told."""
    total = sum(cost.dollars or 0 for cost in costs)
    unknown = [cost.name for cost in costs if cost.dollars is None]
    if budget is not None and (unknown or total > budget):
        why = f"no price is known of {', '.join(unknown)} (--price)" if unknown else f"it may cost {money(total)}"
        raise UsageError(f"--budget {budget:g}: {why}; nothing was sent")
    return total


# -- one pair -------------------------------------------------------------------------------------------


def embed(side: Side, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A vector a text, and for which texts there is one: others are too long for the model."""
    held = side.wish.texts()
    try:
        matrix = np.zeros((len(texts), held.probe()), np.float32)
        there = np.ones(len(texts), bool)
        for start in range(0, len(texts), PAGE):
            page = [side.prefix + text for text in texts[start : start + PAGE]]
            matrix[start : start + PAGE], refused = held.vectors(page)
            there[[start + row for row in refused]] = False
            print(f"  {side.name}: {start + len(page):,} of {len(texts):,}", file=sys.stderr)
        for warning in held.warnings:
            print(f"  warning: {warning}", file=sys.stderr)
    finally:
        held.close()
    return matrix, there


def train(source: Side, target: Side, texts: Sequence[str], provenance: Provenance, **wishes: Any) -> Projection:
    """The projection of a pair, trained on all texts that both models take. Raises Unfit."""
    x, there = embed(source, texts)
    kept = [text for text, taken in zip(texts, there.tolist(), strict=True) if taken]
    if len(kept) < len(texts):
        print(f"  {len(texts) - len(kept):,} texts are too long for {source.name} and left out", file=sys.stderr)
    y, also = embed(target, kept)
    x = x[there][also]
    cards = source.card(x.shape[1]), target.card(y.shape[1])
    return Projection.train(x, y[also], source_model=cards[0], target_model=cards[1], provenance=provenance, **wishes)


def generate(
    source: Side, target: Side, path: str, texts: Sequence[str], provenance: Provenance, **wishes: Any
) -> bool:
    """Train a pair and write its file; False when it was refused."""
    half, overwrite = wishes.pop("half"), wishes.pop("overwrite")
    try:
        made = train(source, target, texts, provenance, **wishes)
    except Unfit as error:
        print(f"{source.name} to {target.name}: {error}")
        return False
    made.save(path, half=half, overwrite=overwrite)
    print(f"{path}: {Quality.of_header(made.header)}")
    return True


# -- the command ----------------------------------------------------------------------------------------


def sides(pair: Pair, prefixes: dict[str, str], endpoint: Reembed) -> tuple[Side, Side]:
    """Both models of a pair. Only models behind the endpoint get its address and key."""
    local = pair.embedder.startswith(f"{LOCAL}:")
    reached = replace(endpoint, url=None, key=None) if local else endpoint
    source = Side(pair.source, replace(reached, model=pair.embedder), prefixes.get(pair.source, pair.prefix))
    return source, Side(pair.target, replace(endpoint, model=f"openai:{pair.target}"), prefixes.get(pair.target, ""))


def chosen(only: Sequence[str]) -> list[Pair]:
    """The pairs from these models, all for none. Raises UsageError for one that there is not."""
    known = {pair.source: pair for pair in PAIRS}
    for name in only:
        if name not in known:
            raise UsageError(f"--only {name}: there is no such pair; known are {', '.join(known)}")
    return [pair for pair in PAIRS if not only or pair.source in only]


def assigned(option: str, values: Sequence[str]) -> dict[str, str]:
    """`MODEL=VALUE`s by model. Raises UsageError."""
    known = {name for pair in PAIRS for name in (pair.source, pair.target)}
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise UsageError(f"{option} {text}: say MODEL=VALUE with one of {', '.join(sorted(known))}")
        found[name] = value
    return found


def priced(values: Sequence[str]) -> dict[str, float]:
    """The prices with those of the user. Raises UsageError."""
    try:
        return PRICES | {name: float(value) for name, value in assigned("--price", values).items()}
    except ValueError as error:
        raise UsageError(f"--price: {error}") from error


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  python scripts/generate_weights.py corpus.txt --estimate
  python scripts/generate_weights.py corpus.txt --only all-MiniLM-L6-v2 --pairs 5000 --output weights
  python scripts/generate_weights.py memories.parquet --url http://localhost:8000/v1 --budget 5""",
)
@click.argument("corpus")
@click.option("--output", "-o", default="weights", show_default=True, help="Folder for the projections.")
@click.option("--only", multiple=True, metavar="SOURCE", help="Only the pair from this model; repeatable.")
@click.option(
    "--pairs", "count", type=click.IntRange(min=50), default=10_000, show_default=True, help="Texts, at most."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Other texts, and another hold-out.")
@click.option("--url", help="Of a server with OpenAI's protocol (default: OPENAI_BASE_URL, else OpenAI).")
@click.option("--key", metavar="KEY", help="Its API key, e.g. '${OTHER_KEY}' (default: OPENAI_API_KEY).")
@click.option("--prefix", "prefixes", multiple=True, metavar="MODEL=TEXT", help="Put before texts (e5: 'passage: ').")
@click.option("--estimate", "--dry-run", "only_estimate", is_flag=True, help="Print what it may cost, and stop.")
@click.option("--price", "prices", multiple=True, metavar="MODEL=USD", help="For a million tokens.")
@click.option(
    "--budget", type=click.FloatRange(min=0), metavar="USD", help="Stop before the start if it may cost more."
)
@click.option("--cache", metavar="PATH", help="Where vectors are kept (default: the user's cache).")
@click.option("--concurrency", type=click.IntRange(1, 100), default=4, show_default=True, help="Requests at a time.")
@click.option("--token-rate", type=float, metavar="N", help="Tokens a minute, about, at most.")
@click.option("--corpus-name", help="For the headers (default: the corpus as it is given).")
@click.option("--language", help="Of the texts, for the headers, e.g. en.")
@click.option("--pairs-licence", help="Of the texts, for the headers.")
@click.option("--weights-licence", help="Of the projections, for the headers.")
@click.option("--half", is_flag=True, help="Write float16, at half the size.")
@click.option("--force", is_flag=True, help="Write projections that are refused as well.")
@click.option("--overwrite", is_flag=True, help="Make again what is there.")
def command(corpus: str, output: str, only: tuple[str, ...], count: int, seed: int, **given: Any) -> None:
    """Make the seven projections to OpenAI's models from the texts of CORPUS: a .txt file with one a line, or any
    place that vex reads. What is there already is left alone."""
    endpoint = Reembed(
        "openai:text-embedding-3-small",
        url=given["url"],
        key=given["key"],
        cache=given["cache"],
        concurrency=given["concurrency"],
        token_rate=given["token_rate"],
    )
    prefixes, prices = assigned("--prefix", given["prefixes"]), priced(given["prices"])
    wanted = [(pair, f"{output.rstrip('/')}/{pair.source}--{pair.target}.safetensors") for pair in chosen(only)]
    missing = [(pair, path) for pair, path in wanted if given["overwrite"] or not files.exists(path)]
    for pair, path in wanted:
        if (pair, path) not in missing:
            print(f"{path}: there already")
    both = [sides(pair, prefixes, endpoint) for pair, _ in missing]
    texts = sample(texts_of(corpus), count, seed)
    costs = estimate(both, texts, prices)
    print("\n".join(map(str, costs)))
    print(f"{money(check_budget(costs, given['budget']))} at most, for {len(texts):,} texts; prices: see --price")
    if given["only_estimate"]:
        return
    provenance = Provenance(
        chosen="random",
        corpus=given["corpus_name"] or redact(corpus),
        language=given["language"],
        pairs_licence=given["pairs_licence"],
        weights_licence=given["weights_licence"],
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    wishes = {name: given[name] for name in ("half", "overwrite", "force")}
    done = [
        generate(source, target, path, texts, provenance, seed=seed, **wishes)
        for (source, target), (_, path) in zip(both, missing, strict=True)
    ]
    sys.exit(0 if all(done) else 1)


def main() -> None:
    """Run the command; errors in one line."""
    try:
        command()
    except VexError as error:
        print(f"generate_weights: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
