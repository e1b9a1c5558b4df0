"""Embedding models on this machine, by sentence-transformers, which is no dependency: who wants it installs it."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.errors import MissingDependency, NotFound, Refused

if TYPE_CHECKING:
    from numpy.typing import NDArray


def identity(name: str) -> str:
    """What the vectors of a model are cached under."""
    return f"sentence-transformers:{os.path.abspath(name) if os.path.isdir(name) else name}"


class SentenceTransformers:
    """A model by its name on the Hugging Face hub, or a folder. Raises MissingDependency, NotFound.

    The library trims texts that are too long for the model; they are counted before, and refused.
    """

    most_texts, most_bytes = 1024, 16 << 20
    alone_bytes = 16 << 20
    usual_texts = 1024  # the library makes batches of its own

    def __init__(self, name: str, *, dimensions: int | None = None) -> None:
        self.name = name
        self.identity = identity(name)
        try:
            library: Any = importlib.import_module("sentence_transformers")
        except ImportError:
            raise MissingDependency(
                f"sentence-transformers:{name} needs sentence-transformers: pip install sentence-transformers"
            ) from None
        try:
            self._model: Any = library.SentenceTransformer(name, truncate_dim=dimensions)
        except OSError as error:  # what the hub raises for a model that there is not
            raise NotFound(f"sentence-transformers:{name} cannot be loaded: {str(error).splitlines()[0]}") from None
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return "this machine"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text."""
        with self._lock:
            self._measure(texts)
            found = self._model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        return np.ascontiguousarray(found, np.float32)

    def _measure(self, texts: Sequence[str]) -> None:
        most = self._model.max_seq_length
        if most is None:
            return
        lengths = [len(tokens) for tokens in self._model.tokenizer(list(texts), truncation=False)["input_ids"]]
        if max(lengths) > most:
            raise Refused(f"the text is too long: {max(lengths)} tokens, {self.name} takes {most}")

    def close(self) -> None:
        """Let the model go."""
        self._model = None
