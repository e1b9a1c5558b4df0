"""What is known without a file: the pairs that can be trained, and the models whose vectors may be cut short."""

from __future__ import annotations

from dataclasses import dataclass

from vexarrow.embedding_models import same_model
from vexarrow.errors import UsageError

MARK = "@"


@dataclass(frozen=True, slots=True)
class Matryoshka:
    """A model trained so that the first components of a vector, at length 1, are a shorter vector of the same model.

    `dim`: of its whole vectors; `least`: the fewest that it was published for. `said`: where that is published.
    """

    name: str
    dim: int
    least: int
    provider: str
    said: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair of models that the original tool had a projection for, and the lengths of their vectors."""

    source: str
    target: str
    source_dim: int
    target_dim: int


_OPENAI = "https://platform.openai.com/docs/guides/embeddings"
MATRYOSHKA = (
    Matryoshka("text-embedding-3-small", 1536, 1, "openai", _OPENAI),
    Matryoshka("text-embedding-3-large", 3072, 1, "openai", _OPENAI),
)
PAIRS = (
    Pair("bge-small-en-v1.5", "text-embedding-3-small", 384, 1536),
    Pair("bge-base-en-v1.5", "text-embedding-3-small", 768, 1536),
    Pair("all-MiniLM-L6-v2", "text-embedding-3-small", 384, 1536),
    Pair("all-mpnet-base-v2", "text-embedding-3-small", 768, 1536),
    Pair("text-embedding-ada-002", "text-embedding-3-small", 1536, 1536),
    Pair("e5-base-v2", "text-embedding-3-small", 768, 1536),
    Pair("bge-large-en-v1.5", "text-embedding-3-large", 1024, 3072),
)


def matryoshka(name: str) -> Matryoshka | None:
    """The model of that name, if its vectors may be cut short."""
    return next((one for one in MATRYOSHKA if same_model(one.name, name)), None)


def split(model: str) -> tuple[str, int | None]:
    """A model's name and how many dimensions are wanted: `text-embedding-3-small@512` is that model at 512, as its
    provider gives it with `dimensions=512`. None where nothing is said. Raises UsageError for a number that is none."""
    name, mark, dim = model.rpartition(MARK)
    if not mark:
        return model, None
    if not name or not dim.isdecimal() or not int(dim):
        raise UsageError(f"{model}: after {MARK} stands a number of dimensions, as in text-embedding-3-small{MARK}512")
    return name, int(dim)
