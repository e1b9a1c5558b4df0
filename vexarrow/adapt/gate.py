"""The gate: which projections are refused, and what a user has to know of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vexarrow.adapt.report import NEIGHBOURS

if TYPE_CHECKING:
    from vexarrow.adapt.model import ModelCard
    from vexarrow.adapt.report import Report

FEWEST_PAIRS = 50
LEAST_GAIN = 0.02  # of the cosine over that of the constant mean vector
SIGMAS = 3
MOST_UNFAMILIAR = 0.20
GOOD_OVERLAP, GOOD_TOP1 = 0.55, 0.85
GOOD_HELD_OUT = 100
THRESHOLDS = {
    "fewest_pairs": FEWEST_PAIRS,
    "least_gain": LEAST_GAIN,
    "sigmas": SIGMAS,
    "most_unfamiliar": MOST_UNFAMILIAR,
    "good_overlap": GOOD_OVERLAP,
    "good_native_top1": GOOD_TOP1,
    "good_held_out": GOOD_HELD_OUT,
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why. `code` is for programs, `message` is a sentence without a full stop."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Reasons to refuse a projection, and warnings about one."""

    refused: tuple[Reason, ...]
    warnings: tuple[Reason, ...]

    @property
    def word(self) -> str:
        """The verdict in a word: "refused", "usable with care" or "usable"."""
        return "refused" if self.refused else "usable with care" if self.warnings else "usable"

    def sentence(self) -> str:
        """Why it is refused, in one sentence."""
        return "the projection is refused: " + "; ".join(reason.message for reason in self.refused)

    def to_json(self) -> dict[str, Any]:
        """With the thresholds that it was judged by."""
        return {"verdict": self.word, **asdict(self), "thresholds": THRESHOLDS}


def judge(report: Report, cards: tuple[ModelCard, ModelCard], pairs: int | None = None) -> Verdict:
    """The verdict on a projection between two models. `pairs`: all that it is fitted with in the end, None for those of
    the report and the held-out ones."""
    if pairs is None and report.pairs is not None:
        pairs = report.pairs + report.held_out
    return Verdict(tuple(_refusals(report, pairs)), tuple(_warnings(report, pairs, *cards)))


def _refusals(report: Report, pairs: int | None) -> Iterator[Reason]:
    if pairs is not None and pairs < FEWEST_PAIRS:
        yield Reason(
            "pairs", f"{pairs} pairs are too few, {FEWEST_PAIRS} are the least: embed more texts with both models"
        )
    ours, source = report.overlap.value, report.source_overlap.value
    if not ours > source:
        yield Reason(
            "source",
            f"its neighbours ({ours:.0%} of the native ones) are no better than those of the source vectors as they "
            f"are ({source:.0%}): stay on the source model, or train with more pairs of these texts",
        )
    if report.cosine.value - report.constant_cosine < LEAST_GAIN:
        yield Reason(
            "constant",
            f"its cosine ({report.cosine.value:.3f}) is hardly above that of one and the same vector for all texts "
            f"({report.constant_cosine:.3f}): train with more pairs, and see that they are aligned",
        )
    if report.cosine.value - report.shuffled_cosine <= SIGMAS * report.shuffled_std:
        yield Reason(
            "shuffled",
            "projected vectors fit those of other texts as well as their own: see that both vectors of a pair are of "
            "one text",
        )
    if report.unfamiliar is not None and report.unfamiliar > MOST_UNFAMILIAR:
        yield Reason(
            "unfamiliar",
            f"{report.unfamiliar:.0%} of the vectors are unlike anything it was trained on: add pairs of such texts",
        )


def _warnings(report: Report, pairs: int | None, source: ModelCard, target: ModelCard) -> Iterator[Reason]:
    yield from _quality(report)
    if pairs is not None and pairs < source.dim / 2:
        good = f"{source.dim // 2:,} to break even and {2 * source.dim:,} for good results"
        yield Reason("pairs", f"{pairs:,} pairs are few for {source.dim} dimensions; expect {good}")
    if report.held_out < GOOD_HELD_OUT:
        said = f"measured on {report.held_out} pairs only, so the intervals are wide"
        if report.held_out <= 2 * NEIGHBOURS:
            said += ", and nearly every vector is a neighbour of every other"
        yield Reason("held-out", f"{said}; {GOOD_HELD_OUT} are good")
    for card in (source, target):
        if card.prefix is None:
            yield Reason("prefix", f"{card.name}: it is not known with which prefix or task type texts were embedded")
        if card.normalised is False:
            yield Reason("norms", f"{card.name}: its vectors are not of length 1; projected ones are, so use cosine")


def _quality(report: Report) -> Iterator[Reason]:
    if report.gain is not None and report.gain.value > 0 >= report.gain.low:
        yield Reason("gain", "it may be no better than the source vectors as they are: the difference is within chance")
    if report.local is not None and report.local.kept and report.local.gain.low <= 0:
        yield Reason(
            "local",
            f"its local corrections may add nothing: {report.local.gain.value:+.1%} neighbours found is within chance",
        )
    if report.overlap.value < GOOD_OVERLAP:
        yield Reason("overlap", f"of the 10 nearest neighbours {1 - report.overlap.value:.0%} differ from native ones")
    if report.native_top1.value < GOOD_TOP1:
        yield Reason(
            "top1", f"the nearest native neighbour is among the 10 nearest for {report.native_top1.value:.0%} only"
        )


def always(report: Report) -> tuple[str, ...]:
    """What a user has to know of any projection, in sentences."""
    differ = round(10 * (1 - report.overlap.value))
    others = f"about {differ} of 10 nearest neighbours are other ones" if differ else "nearest neighbours may be others"
    return (
        f"Projected vectors are approximate: {others} than those of vectors that the target model made.",
        "Thresholds on scores have to be tuned again.",
        "Projected and native vectors must not be mixed unmarked; projected records carry a note in `extra`.",
        "Keep the source vectors: a better projection, or embedding again, starts from them and their texts.",
    )
