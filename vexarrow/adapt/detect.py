"""Which model wrote some vectors: by their length, and by the direction of their mean.

The mean vector of a model hardly depends on what the texts are about. Measured on descriptions of Debian packages by
five models: means of one model on quite different subjects (games, fonts, a language's libraries) have a cosine of 0.27
to 0.99 with its mean over all; those of different models of one length stay below 0.13, as directions by chance do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt.pairs import unit_rows
from vexarrow.embedding_models import same_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vexarrow.adapt.projection import Projection

    Matrix = NDArray[np.float32]

SURE, LIKELY = 0.5, 0.25
CLEAR = 0.15  # by how much the first has to be ahead of the next other model
FEWEST = 20


@dataclass(frozen=True)
class Fingerprint:
    """The mean of a model's unit vectors, and the projection that it was learnt from."""

    model: str
    mean: Matrix
    learnt_from: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model of the right dimension. `cosine`: of the mean vectors."""

    model: str
    cosine: float
    learnt_from: str


@dataclass(frozen=True, slots=True)
class Detected:
    """What is known of some vectors. `rows`: how many were looked at. `norm_low` and `norm_high`: 1 % and 99 % of their
    lengths. `model`: which wrote them, None when nothing known fits; `confidence`: "very likely", "likely", or "none".
    `candidates`: best first. `named`: models that the records name. `catalogued`: models known to have that dimension.
    """

    rows: int
    dim: int
    norm_low: float
    norm_high: float
    model: str | None
    confidence: str
    candidates: tuple[Candidate, ...]
    named: tuple[str, ...]
    catalogued: tuple[str, ...]

    @property
    def normalised(self) -> bool:
        """Whether the vectors are of length 1."""
        return abs(self.norm_low - 1) < 1e-3 and abs(self.norm_high - 1) < 1e-3

    def warnings(self) -> Iterator[str]:
        """What does not fit together."""
        if len(self.named) > 1:
            yield f"the records name several models: {', '.join(self.named)}"
        elif self.model is not None and self.named and not same_model(self.named[0], self.model):
            yield f"the records name {self.named[0]}, their vectors look like those of {self.model}"
        known = {one.model: one.cosine for one in self.candidates}
        for name in self.named:
            low = [cosine for model, cosine in known.items() if same_model(model, name) and cosine < LIKELY]
            if low and self.model is None:
                yield f"the records name {name}, their vectors do not look like those of it (cosine {low[0]:.2f})"

    def to_json(self) -> dict[str, Any]:
        """All that is known, JSON-like."""
        return {**asdict(self), "normalised": self.normalised, "warnings": list(self.warnings())}


def fingerprints(projection: Projection, name: str) -> Iterator[Fingerprint]:
    """Those of the two models of a projection, where its file holds their means."""
    if projection.familiarity is not None:
        yield Fingerprint(projection.source.name, projection.familiarity.mean, name)
    if projection.target_mean is not None:
        yield Fingerprint(projection.target.name, projection.target_mean, name)


def detect(vectors: Matrix, known: Iterable[Fingerprint], named: Sequence[str] = ()) -> Detected:
    """Which of the known models wrote these vectors [n, d]; none of them are zero. `named`: what the records say."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    low, high = np.quantile(norms, [0.01, 0.99])
    mean = unit_rows(vectors).mean(0)
    found = [
        Candidate(one.model, _cosine(mean, one.mean), one.learnt_from) for one in known if len(one.mean) == len(mean)
    ]
    found.sort(key=lambda one: -one.cosine)
    model, confidence = _decided(found, len(vectors))
    return Detected(
        len(vectors),
        vectors.shape[1],
        float(low),
        float(high),
        model,
        confidence,
        tuple(found),
        tuple(named),
        _catalogued(vectors.shape[1]),
    )


def _decided(found: Sequence[Candidate], rows: int) -> tuple[str | None, str]:
    if not found or found[0].cosine < LIKELY:
        return None, "none"
    best = found[0]
    rival = next((one.cosine for one in found if not same_model(one.model, best.model)), -1.0)
    if best.cosine - rival < CLEAR:
        return None, "none"
    sure = best.cosine >= SURE and rows >= FEWEST
    return best.model, "very likely" if sure else "likely"


def _cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))


def _catalogued(dim: int) -> tuple[str, ...]:
    """Models of that length which are known by name."""
    from vexarrow.adapt.catalog import MATRYOSHKA, PAIRS

    names = [one.source for one in PAIRS if one.source_dim == dim]
    names += [one.target for one in PAIRS if one.target_dim == dim]
    names += [one.name for one in MATRYOSHKA if one.dim == dim or one.gives(dim)]
    return tuple(sorted(set(names)))
