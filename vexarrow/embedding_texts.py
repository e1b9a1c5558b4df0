"""The vectors of texts: each different text is asked for once, in requests of fitting size, several at a time."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from vexarrow.delivery import by_size, deliver
from vexarrow.embedding_cache import Cache
from vexarrow.embedding_models import Embedder
from vexarrow.errors import Refused, SchemaError, VexError
from vexarrow.patience import Requests
from vexarrow.preparing import Pace

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOO_MANY = re.compile(r"batch.?size|too many (inputs|texts)", re.I)
PROBE = "vector"
_FEWEST = 32
_TOO_LONG = re.compile(
    r"context length|too long|too large|(max|limit|exceed|less than|longest)\D{0,40}\d*\s*tokens", re.I
)


def key_of(text: str) -> bytes:
    """What a text is known by."""
    return sha256(text.encode()).digest()


def tokens(text: str) -> int:
    """About how many tokens a text has, at least 1: one for every 4 characters, and 0.4 more for every byte of UTF-8
    beyond the first of a character. For English that is OpenAI's rule of thumb; Chinese comes to 1.05 a character."""
    characters = len(text)
    beyond = 0 if text.isascii() else len(text.encode()) - characters
    return max(1, round(characters / 4 + 0.4 * beyond))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no vector for a text."""

    code: str
    message: str


@dataclass
class Tally:
    """What was done: different texts that were sent, about how many tokens these have, vectors from the cache."""

    texts: int = 0
    tokens: int = 0
    cached: int = 0


class Texts:
    """Turns texts into vectors of one length. Thread-safe. `close` closes all that it was given.

    `first`: how patient the first request is, which shows whether there is a server at all; None for as all are.
    `batch`: texts a request, None for what is usual. `rate`: requests a minute, `token_rate`: tokens a minute as
    `tokens` estimates them, None for no limit.
    """

    def __init__(
        self,
        embedder: Embedder,
        cache: Cache,
        requests: Requests,
        *,
        first: Requests | None = None,
        batch: int | None = None,
        rate: float | None = None,
        token_rate: float | None = None,
    ) -> None:
        self.dim: int | None = None
        self.tally = Tally()
        self._embedder = embedder
        self._cache = cache
        self._requests = requests
        self._first = first or requests
        self._batch = min(batch or embedder.usual_texts, embedder.most_texts)
        self._pace = Pace(None if rate is None else rate / 60)
        self._token_pace = Pace(None if token_rate is None else token_rate / 60)
        self._lock = threading.Lock()
        self._flying: dict[bytes, threading.Event] = {}
        self._refused: dict[bytes, Refusal] = {}

    def probe(self) -> int:
        """The length of the vectors, learnt from one; it shows as well whether address, model and key are right.
        Raises what the request raises."""
        key = key_of(PROBE)
        known = self._cache.found([key]).get(key, b"")
        if not known or len(known) % 4:
            sound = self._sound([key], self._first.call(lambda: self._embedder.embed([PROBE])))
            if not sound:
                raise VexError(self._refused[key].message)
            self._cache.keep(sound)
            known = sound[key]
        self.dim = len(known) // 4
        return self.dim

    def vectors(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], dict[int, Refusal]]:
        """One row a text, and the texts by position for which there is no vector; their rows are zero."""
        keys = [key_of(text) for text in texts]
        found = self._resolved(dict(zip(keys, texts, strict=True)))
        matrix = np.zeros((len(texts), self.dim or 0), np.float32)
        refused: dict[int, Refusal] = {}
        for row, key in enumerate(keys):
            if key in found:
                matrix[row] = np.frombuffer(found[key], "<f4")
            else:
                refused[row] = self._refused[key]
        return matrix, refused

    # -- each text once ---------------------------------------------------------------------------------

    def _resolved(self, wanted: Mapping[bytes, str]) -> dict[bytes, bytes]:
        """The vectors of texts by their keys; a text that another thread has sent is waited for."""
        found: dict[bytes, bytes] = {}
        left = self._left(wanted, found)
        while left:
            mine, others = self._claim(left)
            try:
                # Looked up only now that nobody else can be asking for them.
                found |= self._cached(list(mine))
                found |= self._asked(self._left(mine, found))
            finally:
                self._release(mine)
            for event in others:
                event.wait()
            left = self._left(left, found)
        return found

    def _left(self, wanted: Mapping[bytes, str], found: Mapping[bytes, bytes]) -> dict[bytes, str]:
        return {key: text for key, text in wanted.items() if key not in found and key not in self._refused}

    def _cached(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        length = 4 * (self.dim or 0)
        known = {key: vector for key, vector in self._cache.found(keys).items() if len(vector) == length}
        with self._lock:
            self.tally.cached += len(known)
        return known

    def _claim(self, wanted: Mapping[bytes, str]) -> tuple[dict[bytes, str], set[threading.Event]]:
        """The texts that nobody has sent, now ours, and what to wait for until the others are there."""
        done = threading.Event()
        with self._lock:
            others = {self._flying[key] for key in wanted if key in self._flying}
            mine = {key: text for key, text in wanted.items() if key not in self._flying}
            self._flying.update(dict.fromkeys(mine, done))
        return mine, others

    def _release(self, mine: Mapping[bytes, str]) -> None:
        with self._lock:
            done = {self._flying.pop(key) for key in mine}
        for event in done:
            event.set()

    # -- requests ---------------------------------------------------------------------------------------

    def _asked(self, wanted: Mapping[bytes, str]) -> dict[bytes, bytes]:
        """The vectors of different texts, from the model. What it refuses is remembered."""
        sized = sorted((len(text.encode()), key) for key, text in wanted.items())
        keys = [key for _, key in sized]  # texts of like length together: models that pad them do less
        most = self._embedder.most_bytes
        sizes = [size if size <= self._embedder.alone_bytes else most for size, _ in sized]
        each = max(_FEWEST, -(-len(keys) // self._requests.concurrency))  # a short page is shared out as well
        parts = by_size(sizes, most_bytes=most, most_rows=min(self._batch, each))
        found: dict[bytes, bytes] = {}
        send = partial(self._send, keys, wanted, found)
        for reject in deliver(self._requests, send, parts):
            code = "text-too-long" if _TOO_LONG.search(reject.message) else reject.code
            self._refused[keys[reject.row or 0]] = Refusal(code, reject.message)
        return found

    def _send(self, keys: Sequence[bytes], wanted: Mapping[bytes, str], found: dict[bytes, bytes], part: range) -> None:
        some = keys[part.start : part.stop]
        texts = [wanted[key] for key in some]
        weight = sum(map(tokens, texts))
        self._pace.wait(1)
        self._token_pace.wait(weight)
        try:
            vectors = self._embedder.embed(texts)
        except Refused as error:
            if len(texts) > 1 and _TOO_MANY.search(str(error)):
                self._batch = min(self._batch, len(texts) // 2)  # `deliver` halves this one; later ones start smaller
            raise
        if vectors.shape[1] != self.dim:
            raise SchemaError(
                f"{self._embedder}: vectors of {vectors.shape[1]} dimensions came after {self.dim}; if the cache is of "
                "another version of the model, --no-embed-cache goes without it"
            )
        new = self._sound(some, vectors)
        self._cache.keep(new)
        found.update(new)
        with self._lock:
            self.tally.texts += len(texts)
            self.tally.tokens += weight

    def _sound(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> dict[bytes, bytes]:
        """The vectors by key; those that are none are remembered as refused."""
        with np.errstate(invalid="ignore"):  # infinity less infinity
            finite = np.isfinite(vectors.sum(axis=1, dtype=np.float64))
        message = f"{self._embedder}: the model gave NaN or infinity"
        for row in np.flatnonzero(~finite).tolist():
            self._refused[keys[row]] = Refusal("vector-not-finite", message)
        rows = np.ascontiguousarray(vectors, "<f4")
        return {key: rows[row].tobytes() for row, key in enumerate(keys) if finite[row]}

    @property
    def warnings(self) -> list[str]:
        """What went wrong without being an error."""
        if self._cache.trouble is None:
            return []
        return [f"the cache of vectors {self._cache.path} fails ({self._cache.trouble}): another run may pay again"]

    def close(self) -> None:
        """Wait for the requests on their way, which are paid for, and close everything."""
        self._requests.close()
        self._embedder.close()
        self._cache.close()
