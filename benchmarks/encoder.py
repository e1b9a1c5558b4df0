"""Sentence embeddings of BERT and MPNet models in numpy: no torch, whose wheels are larger than the models.

Only what sentence encoders need: no dropout, no gradients, and no padding, because texts of the same number of tokens
go through together. The weights are read as they were published, in float32.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.needed import module

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOKENS = 4096  # that go through together: enough to keep the matrix products busy

# MPNet's names on the left, BERT's on the right.
RENAMED = {
    ".attn.q.": ".self.query.",
    ".attn.k.": ".self.key.",
    ".attn.v.": ".self.value.",
    ".attn.o.": ".output.dense.",
    ".attention.LayerNorm.": ".attention.output.LayerNorm.",
}


class Kind(NamedTuple):
    """What its weights do not say about a model; lengths are in tokens, the two at the ends among them."""

    longest: int  # what is beyond is cut off
    heads: int = 12
    first_position: int = 0
    epsilon: float = 1e-12


class Encoder:
    """A model in the folder of its `model.safetensors` and `tokenizer.json`; its mean over tokens is the embedding."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.kind = kind
        self.weights = load(folder / "model.safetensors")
        self.tokenizer = module("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(kind.longest)
        self.layers = len({name.split(".")[2] for name in self.weights if name.startswith("encoder.layer.")})

    def __call__(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """One row of unit length per text, in the order of the texts."""
        import numpy as np

        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        vectors = np.empty((len(texts), self.weights["embeddings.word_embeddings.weight"].shape[1]), np.float32)
        for rows in batches([len(ids) for ids in tokens]):
            vectors[rows] = self.hidden(np.array([tokens[row] for row in rows])).mean(axis=1)
        return unit(vectors)

    def static(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """The mean of the texts' input token embeddings, of unit length: the model without any of its layers."""
        return token_means(self.tokenizer, self.weights["embeddings.word_embeddings.weight"], texts)

    def hidden(self, ids: "NDArray[np.int64]") -> "NDArray[np.float32]":
        """What the last layer says of each token: (texts, tokens, dimension)."""
        state = self.norm(self.embedded(ids), "embeddings.LayerNorm")
        nearness = self.nearness(ids.shape[1])
        for layer in range(self.layers):
            name = f"encoder.layer.{layer}"
            state = self.norm(state + self.attention(state, nearness, name), f"{name}.attention.output.LayerNorm")
            wide = gelu(self.linear(state, f"{name}.intermediate.dense"))
            state = self.norm(state + self.linear(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        return state

    def embedded(self, ids: "NDArray[np.int64]") -> "NDArray[np.float32]":
        """Word, place and (for BERT) the first of the two segments."""
        first = self.kind.first_position
        places = self.weights["embeddings.position_embeddings.weight"][first : first + ids.shape[1]]
        segments = self.weights.get("embeddings.token_type_embeddings.weight")
        state = self.weights["embeddings.word_embeddings.weight"][ids] + places
        return state if segments is None else state + segments[0]

    def attention(
        self, state: "NDArray[np.float32]", nearness: "NDArray[np.float32] | float", name: str
    ) -> "NDArray[np.float32]":
        """Every token's look at all tokens of its text."""
        texts, tokens, width = state.shape
        parts = (self.linear(state, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        split = (part.reshape(texts, tokens, self.kind.heads, -1).transpose(0, 2, 1, 3) for part in parts)
        query, key, value = split
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(query.shape[-1]) + nearness
        seen = (softmax(scores) @ value).transpose(0, 2, 1, 3).reshape(texts, tokens, width)
        return self.linear(seen, f"{name}.attention.output.dense")

    def nearness(self, tokens: int) -> "NDArray[np.float32] | float":
        """MPNet's addition to the scores for how far two tokens are apart: (heads, tokens, tokens); 0 for BERT."""
        import numpy as np

        bias = self.weights.get("encoder.relative_attention_bias.weight")
        if bias is None:
            return 0.0
        places = np.arange(tokens)
        return np.ascontiguousarray(bias[buckets(places - places[:, None])].transpose(2, 0, 1))

    def linear(self, state: "NDArray[np.float32]", name: str) -> "NDArray[np.float32]":
        """One matrix and its bias, over all tokens at once."""
        flat = state.reshape(-1, state.shape[-1]) @ self.weights[f"{name}.weight"].T
        flat += self.weights[f"{name}.bias"]
        return flat.reshape(*state.shape[:-1], -1)

    def norm(self, state: "NDArray[np.float32]", name: str) -> "NDArray[np.float32]":
        """Layer normalisation."""
        import numpy as np

        state = state - state.mean(axis=-1, keepdims=True)
        state /= np.sqrt(np.square(state).mean(axis=-1, keepdims=True) + np.float32(self.kind.epsilon))
        return state * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def token_means(tokenizer: Any, table: "NDArray[np.float32]", texts: Sequence[str]) -> "NDArray[np.float32]":
    """The mean of each text's rows of the table, of unit length; a text without a token is a row of zeros."""
    import numpy as np

    found = (encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False))
    return unit(np.stack([table[ids].mean(axis=0) if ids else np.zeros_like(table[0]) for ids in found]))


def load(file: Path) -> "Mapping[str, NDArray[np.float32]]":
    """The tensors of a safetensors file, under BERT's names."""
    tensors = module("safetensors.numpy", "safetensors").load_file(str(file))
    return {renamed(name): tensor for name, tensor in tensors.items()}


def renamed(name: str) -> str:
    """BERT's name of a tensor that MPNet may call otherwise."""
    for theirs, ours in RENAMED.items():
        name = name.replace(theirs, ours)
    return name


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows whose texts have the same number of tokens, TOKENS of them at a time or less."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for length, group in groupby(order, key=lengths.__getitem__):
        rows = list(group)
        step = max(1, TOKENS // max(1, length))
        yield from (rows[start : start + step] for start in range(0, len(rows), step))


def buckets(distances: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """The 32 classes of distances that MPNet tells apart: exact up to 7, then coarser up to 128, each way."""
    import numpy as np

    near = np.abs(distances)
    far = 8 + (np.log(np.maximum(near, 1) / 8) / math.log(128 / 8) * 8).astype(np.int64)
    return np.where(near < 8, near, np.minimum(far, 15)) + np.where(distances > 0, 16, 0)


def gelu(state: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """The exact one, by the error function."""
    import numpy as np

    share: NDArray[np.float32] = module("scipy.special", "scipy").erf(state * np.float32(math.sqrt(0.5)))
    share += 1
    share *= state
    share *= np.float32(0.5)
    return share


def softmax(scores: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Shares of 1 along the last axis."""
    import numpy as np

    shares: NDArray[np.float32] = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return shares


def unit(vectors: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """The rows at unit length; a row of zeros stays one."""
    import numpy as np

    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms == 0, 1, norms)).astype(np.float32)
