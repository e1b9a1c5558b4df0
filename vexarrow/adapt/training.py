"""Training: pairs in, a projection with its report and its verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow._version import __version__
from vexarrow.adapt import blas, measures
from vexarrow.adapt.fit import PARTS, Fit, Lesson, Linear
from vexarrow.adapt.gate import FEWEST_PAIRS, Verdict, judge
from vexarrow.adapt.local_fit import better, check_groups, corrected
from vexarrow.adapt.model import ModelCard
from vexarrow.adapt.pairs import Pairs, clean, drawn, pairs_of, short_unit_rows, unit_rows
from vexarrow.adapt.projection import Familiarity, Projection, card
from vexarrow.adapt.report import Point, Report
from vexarrow.embedding_models import same_model
from vexarrow.errors import SchemaError, Unfit, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

METHOD = "blend of ridge and scaled Procrustes"
CURVE_PARTS = (1, 4)  # of eight


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


@dataclass(frozen=True, slots=True)
class Trial:
    """A projection trained with some of the pairs and judged by the others.

    `judged`: that projection. `kept`: the pairs that it was measured on. `report` and `verdict`: what came of it.
    `finish()` gives the projection that ships.
    """

    judged: Projection
    kept: Pairs
    report: Report
    verdict: Verdict
    _pairs: Pairs
    _lesson: Lesson
    _first: Fit
    _prior: Projection | None
    _seed: int
    _provenance: Provenance
    _groups: int | None = None

    def finish(self) -> Projection:
        """The projection fitted again on all pairs, the held-out ones too, with report and verdict in its header."""
        pairs, cards = self._pairs, (self.judged.source, self.judged.target)
        hashed = [lambda: pairs.sha256, lambda: self.kept.sha256]  # for the header, and kept by the pairs
        with blas.single_threaded():
            final = self._lesson.final(self._first, meanwhile=hashed)
        made = _projection(final, cards, len(pairs))
        if self._groups is not None:
            made = corrected(made, final, unit_rows(pairs.source), unit_rows(pairs.target), self._groups, self._seed)
        return made.with_header(**self._header(final))

    def _header(self, fitted: Fit) -> dict[str, Any]:
        pairs, prior, said = self._pairs, self._prior, self._provenance
        return {
            "method": {
                "name": METHOD if prior is None else "ridge correction of a prior",
                "penalty": fitted.penalty,
                "blend": None if fitted.chosen is None else fitted.chosen.blend._asdict(),
                "prior": None if prior is None else prior.checksum,
                **({} if self._groups is None else {"local": self._groups}),
            },
            "pairs": {
                "count": len(pairs),
                "held_out": len(self.kept),
                "held_out_sha256": self.kept.sha256,
                "dropped": pairs.dropped,
                "chosen": said.chosen,
                "seed": self._seed,
                "sha256": pairs.sha256,
                "corpus": said.corpus,
                "language": said.language,
            },
            "licences": {"pairs": said.pairs_licence, "weights": said.weights_licence},
            "report": self.report.to_json(),
            "verdict": self.verdict.to_json(),
            "created_at": said.created_at,
            "tool": f"vexarrow {__version__}",
        }


def train(
    source: Any, target: Any, prior: Projection | None = None, *, force: bool = False, **wishes: Any
) -> Projection:
    """A projection from pairs: row i of `source` [n, d_in] and of `target` [n, d_out] are of one text.

    Takes all that `attempt` takes. Raises Unfit, which carries the report, when the projection would hurt (`force`
    overrides), and what `attempt` raises.
    """
    done = attempt(source, target, prior, force=force, **wishes)
    if done.verdict.refused and not force:
        raise Unfit(done.verdict.sentence(), report=done.report, verdict=done.verdict)
    return done.finish()


def attempt(
    source: Any,
    target: Any,
    prior: Projection | None = None,
    *,
    source_model: str | ModelCard,
    target_model: str | ModelCard,
    held_out: int | Sequence[bool] | NDArray[np.bool_] | None = None,
    seed: int = 0,
    force: bool = False,
    provenance: Provenance | None = None,
    corpus: Any = None,
    local: int | None = None,
) -> Trial:
    """Train with some of the pairs and measure on the others; nothing is refused yet but pairs that are too few.

    `prior`: a projection between the same two spaces that the pairs correct. `held_out`: how many pairs are kept for
    the report, chosen by chance, None for a fifth, at most 500; or for each pair whether it is one of them. All are
    fitted again for the result. `corpus`: source vectors of what is to be projected, to see how much of it is unlike
    the pairs. `local`: corrections near so many groups of source vectors as well, None for none; they are left out
    again where they hardly raise the overlap (`force` keeps them). The same pairs and seed give the same bytes, with
    the same kernels of BLAS (and as many of its threads, for `local`). Raises Unfit for pairs that are too few to
    measure anything (`force` allows 5), SchemaError and DataError for pairs that are none, UsageError for a hold-out
    that leaves nothing.
    """
    given = pairs_of(source, target, [str(row) for row in range(len(source))])
    _check_models(source_model, target_model)
    pairs = clean(given)
    cards = card(source_model, pairs.source), card(target_model, pairs.target)
    _check_count(pairs, force)
    if local is not None:
        check_groups(local, len(pairs), force=force)
    start = None if prior is None else _linear(prior, *cards)
    now, later = _split(pairs, held_out, seed)
    kept = pairs[later]
    with blas.single_threaded():  # see `fit`
        lesson = Lesson(short_unit_rows(pairs.source), short_unit_rows(pairs.target), start, later=later, seed=seed)
        first = lesson.first(exact=False, also=_curve_parts(len(now)))
    judged = _projection(first, cards, len(now))
    changed = None
    if local is not None:
        x, y = unit_rows(pairs.source[now]), unit_rows(pairs.target[now])
        judged, changed = better(judged, corrected(judged, first, x, y, local, seed), kept, force=force)
    with blas.single_threaded():
        known = measures.Known(kept)
        report = measures.evaluate(
            judged,
            known,
            pairs=len(now),
            loo_cosine=first.loo_cosine,
            corpus=corpus,
            curve=_curve(lesson, first, known, len(now)),
        )
    report = replace(report, local=changed)
    verdict = judge(report, cards)
    groups = local if changed is not None and changed.kept else None
    return Trial(judged, kept, report, verdict, pairs, lesson, first, prior, seed, provenance or Provenance(), groups)


def _split(
    pairs: Pairs, held_out: int | Sequence[bool] | NDArray[np.bool_] | None, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows of pairs to train with, and of those to measure on."""
    if held_out is None or isinstance(held_out, int):
        return drawn(len(pairs), _held_out(len(pairs), held_out), seed)
    # The pairs are named by their number among all that were given, some of which may have been left out since.
    mask = np.asarray(held_out, bool)[np.array(pairs.ids, np.intp)]
    _held_out(len(pairs), int(mask.sum()))
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def _check_models(source: str | ModelCard, target: str | ModelCard) -> None:
    said = [_used(one) for one in (source, target)]
    if not all(used[0] for used in said):
        raise UsageError("both models need a name")
    if same_model(str(said[0][0]), str(said[1][0])) and said[0][1:] == said[1][1:]:
        raise UsageError(
            f"both sides are vectors of {said[0][0]}: there is nothing to translate, unless they are of two revisions "
            f"or prefixes, which have to be named then"
        )


def _used(model: str | ModelCard) -> tuple[str | None, ...]:
    """A model as it was used: what tells two of one name apart."""
    if isinstance(model, str):
        return model, None, None, None
    return model.name, model.provider, model.revision, model.prefix


def _check_count(pairs: Pairs, force: bool) -> None:
    fewest = 5 if force else FEWEST_PAIRS
    if len(pairs) < fewest:
        lost = ", ".join(f"{count:,} {reason}" for reason, count in pairs.dropped.items())
        raise Unfit(
            f"{len(pairs):,} pairs are too few (left out: {lost or 'none'}): at least {fewest} are needed, and "
            f"{2 * pairs.source.shape[1]:,}, twice the source's dimensions, are good; embed more texts with both models"
        )


def _held_out(count: int, wanted: int | None) -> int:
    held_out = min(count // 5, 500) if wanted is None else wanted
    if not 2 <= held_out <= count - 3:
        raise UsageError(
            f"{held_out} of {count:,} pairs cannot be held out: 2 are needed to measure on, 3 to train with"
        )
    return held_out


def _linear(prior: Projection, source: ModelCard, target: ModelCard) -> Linear:
    if prior.local is not None:
        raise UsageError("a prior is one linear map, and this one has local corrections: train it without --local")
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


def _curve_parts(count: int) -> list[int]:
    return [parts for parts in CURVE_PARTS if count * parts // PARTS >= 20]


def _curve(lesson: Lesson, whole: Fit, known: measures.Known, count: int) -> list[Point]:
    """What fewer pairs would have given: a fit with an eighth and a half of them, beside that of all."""
    every = [*_curve_parts(count), PARTS]

    def point(parts: int) -> Point:
        linear = whole.linear if parts == PARTS else lesson.part(parts, whole)
        return measures.point(count * parts // PARTS, linear, known)

    return blas.results([partial(point, parts) for parts in every])
