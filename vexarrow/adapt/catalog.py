"""What is known without a file: pairs of models that are worth a projection, models whose vectors may be cut short.

A model is listed as one that may be cut where its maker says so. For OpenAI's it was measured as well: the first
components at length 1 and what `dimensions` gives have a cosine of 0.99999994.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from vexarrow.embedding_models import same_model
from vexarrow.errors import UsageError

MARK = "@"


@dataclass(frozen=True, slots=True)
class Matryoshka:
    """A model trained so that the first components of a vector, at length 1, are a shorter vector of the same model.

    `dim`: of its whole vectors. `least`: the shortest ones that were published; `only`: these lengths and no others,
    where the maker names some. `said`: where.
    """

    name: str
    dim: int
    least: int
    provider: str
    said: str
    only: tuple[int, ...] = ()

    def gives(self, dim: int) -> bool:
        """Whether vectors of that length were published."""
        return dim in self.only if self.only else self.least <= dim < self.dim

    @property
    def lengths(self) -> str:
        """The lengths, for a reader."""
        return ", ".join(map(str, self.only)) if self.only else f"{self.least} to {self.dim - 1}"


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair of models that the original tool had a projection for. `embedder`: what computes the source's vectors, as
    `--embed-model` takes it; `prefix`: what its card wants before a text that is to be found."""

    source: str
    target: str
    source_dim: int
    target_dim: int
    embedder: str
    prefix: str = ""


_OPENAI = "https://platform.openai.com/docs/guides/embeddings"
_VOYAGE = "https://docs.voyageai.com/docs/flexible-dimensions-and-quantization"
_GEMINI = "https://ai.google.dev/gemini-api/docs/models/gemini-embedding-001"
_GEMMA = "https://ai.google.dev/gemma/docs/embeddinggemma"
_JINA = "https://jina.ai/news/jina-embeddings-v3-a-frontier-multilingual-embedding-model"
_HUB = "https://huggingface.co/"
MATRYOSHKA = (
    Matryoshka("text-embedding-3-small", 1536, 1, "openai", _OPENAI),
    Matryoshka("text-embedding-3-large", 3072, 1, "openai", _OPENAI),
    Matryoshka("gemini-embedding-001", 3072, 128, "google", _GEMINI),
    Matryoshka("embeddinggemma-300m", 768, 128, "google", _GEMMA, only=(128, 256, 512)),
    Matryoshka("voyage-3-large", 2048, 256, "voyage", _VOYAGE, only=(256, 512, 1024)),
    Matryoshka("jina-embeddings-v3", 1024, 32, "jinaai", _JINA),
    Matryoshka("Qwen3-Embedding-0.6B", 1024, 32, "qwen", _HUB + "Qwen/Qwen3-Embedding-0.6B"),
    Matryoshka("Qwen3-Embedding-4B", 2560, 32, "qwen", _HUB + "Qwen/Qwen3-Embedding-4B"),
    Matryoshka("Qwen3-Embedding-8B", 4096, 32, "qwen", _HUB + "Qwen/Qwen3-Embedding-8B"),
    Matryoshka(
        "mxbai-embed-large-v1", 1024, 512, "mixedbread-ai", _HUB + "mixedbread-ai/mxbai-embed-large-v1", only=(512,)
    ),
    Matryoshka(
        "snowflake-arctic-embed-m-v1.5", 768, 256, "snowflake", _HUB + "Snowflake/snowflake-arctic-embed-m-v1.5", (256,)
    ),
)
# Cutting alone would give other vectors than the model's own.
NOT_BY_CUTTING = {
    "nomic-embed-text-v1.5": "its card has a layer norm over the whole vector before it is cut",
}
_SMALL, _LARGE = "text-embedding-3-small", "text-embedding-3-large"
_LOCAL = "sentence-transformers:"
PAIRS = (
    Pair("bge-small-en-v1.5", _SMALL, 384, 1536, _LOCAL + "BAAI/bge-small-en-v1.5"),
    Pair("bge-base-en-v1.5", _SMALL, 768, 1536, _LOCAL + "BAAI/bge-base-en-v1.5"),
    Pair("all-MiniLM-L6-v2", _SMALL, 384, 1536, _LOCAL + "sentence-transformers/all-MiniLM-L6-v2"),
    Pair("all-mpnet-base-v2", _SMALL, 768, 1536, _LOCAL + "sentence-transformers/all-mpnet-base-v2"),
    Pair("text-embedding-ada-002", _SMALL, 1536, 1536, "openai:text-embedding-ada-002"),
    Pair("e5-base-v2", _SMALL, 768, 1536, _LOCAL + "intfloat/e5-base-v2", prefix="passage: "),
    Pair("bge-large-en-v1.5", _LARGE, 1024, 3072, _LOCAL + "BAAI/bge-large-en-v1.5"),
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
    if not name or not dim.isascii() or not dim.isdecimal() or not int(dim):
        raise UsageError(f"{model}: after {MARK} stands a number of dimensions, as in text-embedding-3-small{MARK}512")
    return name, int(dim)


def why_not(source: str, target: str) -> str:
    """What to do about two models between which nothing is at hand, in one sentence without a full stop."""
    name, wanted = split(target)
    if wanted is not None and same_model(split(source)[0], name):
        return _why_not_cut(name, wanted)
    return (
        f"`{training(split(source)[0], name)}` makes one, --projection FILE names one, "
        "`vex-adapt --list` shows those at hand"
    )


def training(source: str, target: str) -> str:
    """The command that trains a projection between two models."""
    file = f"{source.rpartition('/')[2]}--{target.rpartition('/')[2]}.safetensors"
    words = ("--from", source, "--to", target, "--pairs", "aligned.jsonl", "-o", file)
    return f"vex-adapt train {shlex.join(words)}"


def _why_not_cut(name: str, wanted: int) -> str:
    known = matryoshka(name)
    if known is not None:
        return (
            f"vectors of {known.name} can be cut to {known.lengths} dimensions, from longer ones, and not to {wanted}"
        )
    reason = next((why for one, why in NOT_BY_CUTTING.items() if same_model(one, name)), None)
    return f"vectors of {name} cannot be cut to {wanted} dimensions: " + (
        reason or "nothing is known of its being trained for that"
    )
