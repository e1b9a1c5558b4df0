"""Re-embedding: new vectors, from the text, for records whose own do not fit.

A record is embedded when it has no vector, when its vector has another length than those of the model, or when it names
another model; with `force`, always. A record whose vector fits and that names no model keeps it: nothing says that it
is wrong, and the run warns with their number. An embedded record carries the model's name, and no `dims` of its own. A
record that has to be embedded and has no text is a reject ("no-text"), and so is one that the model refuses
("text-too-long", "refused"): nothing is ever trimmed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from vexarrow import sound
from vexarrow.embedding_batch import Choice, with_vectors
from vexarrow.embedding_cache import Cache, default_path
from vexarrow.embedding_models import LOCAL, OLLAMA, Embedder, Model
from vexarrow.embedding_texts import Tally, Texts
from vexarrow.errors import SchemaError, UsageError
from vexarrow.location import expand
from vexarrow.patience import Requests
from vexarrow.protocols import Changed, Description, Reject

# A limit of requests or tokens a minute passes within a minute, and most servers say when.
RETRIES, FIRST_RETRIES = 6, 2


@dataclass(frozen=True)
class Reembed:
    """The wish to re-embed. `model`: as `openai:text-embedding-3-small`, `ollama:nomic-embed-text` or
    `sentence-transformers:all-MiniLM-L6-v2`.

    `force`: records that fit as well. `url`: of the server, `key`: its API key; `${NAME}` in either is that environment
    variable. `dimensions`: shorter vectors, where the model can. `cache`: its file, None for the user's; `cached`: keep
    vectors for later runs. `batch`: texts a request. `rate`: requests a minute, `token_rate`: tokens a minute, about.
    `concurrency`: requests at a time. `timeout`: seconds that one may take, None for what is usual.
    """

    model: str
    force: bool = False
    url: str | None = None
    key: str | None = field(default=None, repr=False)
    dimensions: int | None = None
    cache: str | None = None
    cached: bool = True
    batch: int | None = None
    rate: float | None = None
    token_rate: float | None = None
    concurrency: int = 4
    timeout: float | None = None

    @contextmanager
    def transform(self) -> Iterator[Reembedding]:
        """The transform that does it, with its connections. Raises UsageError, MissingDependency, AccessError."""
        texts = self.texts()
        try:
            yield Reembedding(self, texts)
        finally:
            texts.close()

    def texts(self) -> Texts:
        """What turns texts into vectors, with its connections; to be closed. Raises as `transform` does."""
        embedder = self.embedder()
        cache = Cache(self.cache_path(), embedder.identity, self.dimensions)
        concurrency = 1 if self.named.provider == LOCAL else self.concurrency
        requests = Requests(concurrency=concurrency, retries=RETRIES)
        first = Requests(concurrency=1, retries=FIRST_RETRIES)
        return Texts(
            embedder, cache, requests, first=first, batch=self.batch, rate=self.rate, token_rate=self.token_rate
        )

    @property
    def named(self) -> Model:
        """The model. Raises UsageError."""
        return Model.parse(self.model, served=self.url is not None)

    @property
    def identity(self) -> str:
        """What vectors are cached under (see `Embedder`); no model is loaded for it."""
        if self.named.provider == LOCAL:
            from vexarrow.embedding_local import identity

            return identity(self.named.name)
        return self.embedder().identity

    def cache_path(self) -> str | None:
        """The file of the cache, None for none that outlives the run."""
        return (self.cache or default_path()) if self.cached else None

    def embedder(self) -> Embedder:
        """What computes the vectors. Nothing is sent yet, but a local model is loaded."""
        model = self.named
        if model.provider == LOCAL:
            from vexarrow.embedding_local import SentenceTransformers

            if self.url is not None:
                raise UsageError(f"--embed-url: {self.model} runs on this machine")
            return SentenceTransformers(model.name, dimensions=self.dimensions)
        from vexarrow.embedding_http import Ollama, OpenAI

        kind = Ollama if model.provider == OLLAMA else OpenAI
        return kind(
            model.name,
            url=None if self.url is None else expand(self.url),
            key=None if self.key is None else expand(self.key),
            dimensions=self.dimensions,
            timeout=self.timeout or kind.usual_timeout,
            connections=self.concurrency,
        )


class Reembedding:
    """A transform after which every vector has the length of the model's. Thread-safe; `dim` is known after `bind`."""

    ahead = 2  # pages at once, so that requests do not wait for the last one of a page

    def __init__(self, wish: Reembed, texts: Texts) -> None:
        self.dim: int | None = None
        self.model = wish.named.name
        self._wish = wish
        self._choice = Choice(self.model, wish.force)
        self._texts = texts

    @property
    def tally(self) -> Tally:
        """What was sent so far."""
        return self._texts.tally

    def bind(self, plan: Description) -> Description:
        """The plan with the model and the length of its vectors, for which one word is embedded. Raises SchemaError
        when the model does not give the dimensions that are asked for, and what the request raises."""
        self.dim = self._texts.probe()
        wanted = self._wish.dimensions
        if wanted is not None and self.dim != wanted:
            raise SchemaError(f"--embed-dimensions {wanted}: {self.model} gives {self.dim} all the same")
        return replace(plan, dim=self.dim, model=self.model)

    def __call__(self, batch: pa.RecordBatch) -> Changed:
        """The records with new vectors where they need one, and rejects for those that need one and cannot have it."""
        assert self.dim is not None, "bind comes first"  # noqa: S101 - the engine's part
        rows = np.flatnonzero(self._choice.needed(batch, self.dim))
        if not len(rows):
            return Changed(batch)
        texts: list[str | None] = batch.column("text").take(pa.array(rows)).to_pylist()
        embedded = [(row, text) for row, text in zip(rows.tolist(), texts, strict=True) if text]
        vectors, refused = self._texts.vectors([text for _, text in embedded])
        new = np.array([row for row, _ in embedded], np.intp)
        rejects = [_no_text(row) for row, text in zip(rows.tolist(), texts, strict=True) if not text]
        rejects += [Reject(why.code, why.message, row=embedded[at][0]) for at, why in refused.items()]
        changed = with_vectors(batch, new, vectors, self.model)
        return Changed(sound.without(changed, rejects), rejects)

    @property
    def warnings(self) -> list[str]:
        """What is no error and yet worth knowing, after the run."""
        return self._choice.warnings + self._texts.warnings

    def said(self) -> str:
        """What was done, in a sentence."""
        done = self.tally
        if not done.texts and not done.cached:
            return f"no record needed a vector of {self.model}"
        about = f" (about {done.tokens:,} tokens)" if done.texts else ""
        cached = f", {done.cached:,} were known already" if done.cached else ""
        return f"{done.texts:,} different texts were embedded with {self.model}{about}{cached}"


def _no_text(row: int) -> Reject:
    return Reject("no-text", "the record needs a new vector and has no text to make it from", row=row)
