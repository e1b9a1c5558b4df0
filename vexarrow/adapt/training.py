"""Training: pairs in, a projection with its report and its verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vexarrow._version import __version__
from vexarrow.adapt import measures
from vexarrow.adapt.fit import Fit, Linear, fit
from vexarrow.adapt.gate import FEWEST_PAIRS, Verdict, judge
from vexarrow.adapt.model import ModelCard
from vexarrow.adapt.pairs import Pairs, clean, pairs_of, unit_rows
from vexarrow.adapt.projection import Familiarity, Projection, card
from vexarrow.adapt.report import Point, Report
from vexarrow.errors import SchemaError, Unfit, UsageError

METHOD = "blend of ridge and scaled Procrustes"
CURVE_PARTS = (8, 4, 2, 1)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where pairs come from, for the header. `chosen`: how ("given", "medoids", "random"). `corpus`: which texts.
    Licences are of the pairs and of the weights. `created_at`: ISO 8601; None keeps the bytes of equal trainings equal.
    """

    chosen: str = "given"
    corpus: str | None = None
    language: str | None = None
    pairs_licence: str | None = None
    weights_licence: str | None = None
    created_at: str | None = None


def train(
    source: Any,
    target: Any,
    prior: Projection | None = None,
    *,
    source_model: str | ModelCard,
    target_model: str | ModelCard,
    ids: Sequence[str] | None = None,
    held_out: int | None = None,
    seed: int = 0,
    force: bool = False,
    provenance: Provenance | None = None,
    corpus: Any = None,
) -> Projection:
    """A projection from pairs: row i of `source` [n, d_in] and of `target` [n, d_out] are of one text.

    `prior`: a projection between the same two spaces that the pairs correct. `held_out`: pairs kept for the report,
    None for a fifth, at most 500; all are fitted again for the result. `corpus`: source vectors of what is to be
    projected, to see how much of it is unlike the pairs. The same pairs and seed give the same bytes. Raises Unfit,
    which carries the report, when the projection would hurt (`force` overrides), SchemaError and DataError for pairs
    that are none.
    """
    given = pairs_of(source, target, ids)
    _check_models(source_model, target_model)
    cards = card(source_model, given.source), card(target_model, given.target)
    pairs = clean(given)
    _check_count(pairs, force)
    start = None if prior is None else _linear(prior, *cards)
    learnt, kept = pairs.split(_held_out(len(pairs), held_out), seed)
    x, y = unit_rows(learnt.source), unit_rows(learnt.target)
    first = fit(x, y, start, seed=seed)
    judged = _projection(first, cards, len(learnt))
    report = measures.evaluate(
        judged,
        kept,
        pairs=len(learnt),
        loo_cosine=first.loo_cosine,
        corpus=corpus,
        curve=_curve(x, y, kept, start, first, seed),
    )
    verdict = judge(report, cards)
    if verdict.refused and not force:
        raise Unfit(verdict.sentence(), report=report, verdict=verdict)
    final = fit(unit_rows(pairs.source), unit_rows(pairs.target), start, chosen=first.chosen)
    header = _header(pairs, final, prior, seed, len(kept), report, verdict, provenance or Provenance())
    return _projection(final, cards, len(pairs)).with_header(**header)


def _check_models(source: str | ModelCard, target: str | ModelCard) -> None:
    names = [one.name if isinstance(one, ModelCard) else one for one in (source, target)]
    if not all(names):
        raise UsageError("both models need a name")
    if names[0] == names[1] and not (isinstance(source, ModelCard) and source != target):
        raise UsageError(f"both sides are vectors of {names[0]}: there is nothing to translate")


def _check_count(pairs: Pairs, force: bool) -> None:
    fewest = 5 if force else FEWEST_PAIRS
    if len(pairs) < fewest:
        lost = ", ".join(f"{count:,} {reason}" for reason, count in pairs.dropped.items())
        raise Unfit(
            f"{len(pairs):,} pairs are too few (left out: {lost or 'none'}); at least {fewest} are needed, about twice "
            f"the source's {pairs.source.shape[1]} dimensions are good"
        )


def _held_out(count: int, wanted: int | None) -> int:
    held_out = min(count // 5, 500) if wanted is None else wanted
    if not 2 <= held_out <= count - 3:
        raise UsageError(f"{held_out} of {count:,} pairs cannot be held out")
    return held_out


def _linear(prior: Projection, source: ModelCard, target: ModelCard) -> Linear:
    for here, there in ((prior.source, source), (prior.target, target)):
        if (here.name, here.dim) != (there.name, there.dim):
            raise SchemaError(
                f"the prior is from {prior.source.name} ({prior.source.dim}) to {prior.target.name} "
                f"({prior.target.dim}), the pairs are from {source.name} ({source.dim}) to {target.name} ({target.dim})"
            )
    return Linear(prior.weight.astype(np.float64), prior.bias.astype(np.float64))


def _projection(fitted: Fit, cards: tuple[ModelCard, ModelCard], count: int) -> Projection:
    limit = float(np.quantile(fitted.leverages, 0.99))
    familiarity = Familiarity(fitted.source_mean.astype(np.float32), fitted.whitening.astype(np.float32), count, limit)
    return Projection(
        fitted.linear.weight.astype(np.float32),
        fitted.linear.bias.astype(np.float32),
        *cards,
        familiarity,
        fitted.target_mean.astype(np.float32),
    )


def _curve(x: Any, y: Any, kept: Pairs, prior: Linear | None, whole: Fit, seed: int) -> list[Point]:
    """What fewer pairs would have given: a fit with an eighth, a quarter and a half of them."""
    order = np.random.default_rng(seed).permutation(len(x))
    points = []
    for part in CURVE_PARTS:
        count = len(x) // part
        if count < 20:
            continue
        fitted = whole if part == 1 else fit(x[order[:count]], y[order[:count]], prior, chosen=whole.chosen)
        points.append(measures.point(count, fitted.linear, kept))
    return points


def _header(
    pairs: Pairs,
    fitted: Fit,
    prior: Projection | None,
    seed: int,
    held_out: int,
    report: Report,
    verdict: Verdict,
    provenance: Provenance,
) -> dict[str, Any]:
    return {
        "method": {
            "name": METHOD if prior is None else "ridge correction of a prior",
            "penalty": fitted.penalty,
            "blend": None if fitted.chosen is None else fitted.chosen.blend._asdict(),
            "prior": None if prior is None else prior.checksum,
        },
        "pairs": {
            "count": len(pairs),
            "held_out": held_out,
            "dropped": pairs.dropped,
            "chosen": provenance.chosen,
            "seed": seed,
            "sha256": pairs.sha256,
            "corpus": provenance.corpus,
            "language": provenance.language,
        },
        "licences": {"pairs": provenance.pairs_licence, "weights": provenance.weights_licence},
        "report": report.to_json(),
        "verdict": verdict.to_json(),
        "created_at": provenance.created_at,
        "tool": f"vexarrow {__version__}",
    }
