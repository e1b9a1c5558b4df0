"""Embedding models: what a user calls one, who computes its vectors, and whether two names mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vexarrow.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OPENAI, OLLAMA, LOCAL = "openai", "ollama", "sentence-transformers"
PROVIDERS = (OPENAI, OLLAMA, LOCAL)

# Lengths of the vectors of OpenAI's models where nothing shorter is asked for, from its page "Vector embeddings".
KNOWN_DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}


class Embedder(Protocol):
    """Computes vectors. Used by several threads at once.

    `name`: what becomes the `model` of the records. `identity`: what vectors are cached under; two embedders of one
    identity give the same vectors. `most_texts` and `most_bytes`: of UTF-8, that fit into one request. `alone_bytes`: a
    longer text may well be too long for the model, and goes into a request of its own so that no other one is refused
    with it. `usual_texts`: in a request where nothing else is said.
    """

    name: str
    identity: str
    most_texts: int
    most_bytes: int
    alone_bytes: int
    usual_texts: int

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text, in their order. Raises Refused when one of them is too long for the model, which trims
        nothing, or is not taken for another reason; TransientError where another try may succeed."""
        ...

    def close(self) -> None:
        """Give back connections and memory."""
        ...


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a provider, e.g. `Model("ollama", "nomic-embed-text")`."""

    provider: str
    name: str

    @classmethod
    def parse(cls, text: str, *, served: bool = False) -> Model:
        """From `provider:name`; the provider may be missing for OpenAI's models, and when an address is given
        (`served`), which then speaks OpenAI's protocol. Raises UsageError."""
        for provider in PROVIDERS:
            for mark in (":", "/"):
                if text.lower().startswith(provider + mark) and len(text) > len(provider) + 1:
                    return cls(provider, text[len(provider) + 1 :])
        if text and (text in KNOWN_DIMENSIONS or served):
            return cls(OPENAI, text)
        every = ", ".join(f"{provider}:NAME" for provider in PROVIDERS)
        raise UsageError(f"--embed-model {text!r}: who computes it? say {every}, or give --embed-url")


def same_model(one: str, other: str) -> bool:
    """Whether two names mean one model: case, the provider, the tag `:latest` and, where only one of them has it, the
    organisation do not count."""
    ours, theirs = _plain(one), _plain(other)
    if "/" in ours and "/" in theirs:
        return ours == theirs
    return ours.rpartition("/")[2] == theirs.rpartition("/")[2]


def _plain(name: str) -> str:
    name = name.strip().casefold()
    for provider in PROVIDERS:
        name = name.removeprefix(f"{provider}:").removeprefix(f"{provider}/")
    return name.removesuffix(":latest")
