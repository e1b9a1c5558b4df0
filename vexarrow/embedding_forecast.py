"""What re-embedding would do: every record is looked at, and nothing is sent."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vexarrow.embedding import Reembed
from vexarrow.embedding_batch import Choice
from vexarrow.embedding_cache import Cache
from vexarrow.embedding_models import KNOWN_DIMENSIONS
from vexarrow.embedding_texts import PROBE, key_of, tokens
from vexarrow.protocols import Description


class Forecast:
    """Stands in for the transform of a wish, and counts.

    The length of the vectors is the one asked for, else what an earlier run left in the cache, else that of a model of
    OpenAI, else not known: every vector is then taken to be of the right length. Tokens are estimated
    (`embedding_texts.tokens`), for texts that are not in the cache.
    """

    def __init__(self, wish: Reembed, cache: Cache | None) -> None:
        self.dim: int | None = None
        self._wish = wish
        self._cache = cache
        self._name = wish.named.name
        self._choice = Choice(self._name, wish.force)
        self._seen: set[bytes] = set()
        self._counts = dict.fromkeys(("read", "records", "no_text", "cached", "tokens"), 0)

    def bind(self, plan: Description) -> Description:
        """The plan with the model and the length of its vectors, as far as it is known."""
        self.dim = self._wish.dimensions or self._probed() or KNOWN_DIMENSIONS.get(self._name)
        return replace(plan, dim=self.dim, model=self._name)

    def _probed(self) -> int | None:
        key = key_of(PROBE)
        known = self._cache.found([key]).get(key, b"") if self._cache else b""
        return len(known) // 4 or None

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch as it is."""
        return batch

    def foresee(self, batch: pa.RecordBatch) -> None:
        """Count the records of a batch."""
        rows = np.flatnonzero(self._choice.needed(batch, self.dim))
        texts = batch.column("text").take(pa.array(rows)).to_pylist()
        new = {key: text for text in texts if text and (key := key_of(text)) not in self._seen}
        self._seen.update(new)
        cached = self._cache.found(list(new)) if self._cache else {}
        counts = self._counts
        counts["read"] += batch.num_rows
        counts["records"] += len(rows)
        counts["no_text"] += sum(not text for text in texts)
        counts["cached"] += len(cached)
        counts["tokens"] += sum(tokens(text) for key, text in new.items() if key not in cached)

    @property
    def foreseen(self) -> Mapping[str, object]:
        """The counts: `records` to be embedded, `no_text` of them rejected, `texts` that differ, `cached` of them
        there already, about so many `tokens` to be sent; `unnamed` records keep vectors of a model they do not name."""
        given = {"model": self._name, "dimension": self.dim, **self._counts}
        return {"embedding": {**given, "texts": len(self._seen), "unnamed": self._choice.unnamed}}

    @property
    def sentences(self) -> Sequence[str]:
        """The counts for a terminal."""
        one = self._counts
        lines = [
            f"embed    {one['records']:,} of {one['read']:,} records with {self._name}: "
            f"{len(self._seen):,} different texts, {one['cached']:,} of them in the cache, "
            f"about {one['tokens']:,} tokens to send"
        ]
        if one["no_text"]:
            lines.append(f"reject   {one['no_text']:,} records that have no text to embed")
        return lines + [f"note     {warning}" for warning in self._choice.warnings]


@contextmanager
def forecast(wish: Reembed) -> Iterator[Forecast]:
    """The forecast of a wish, with its cache if there is one; no file is made."""
    path = wish.cache_path()
    cache = Cache(path, wish.identity, wish.dimensions) if path and os.path.exists(path) else None
    try:
        yield Forecast(wish, cache)
    finally:
        if cache is not None:
            cache.close()
