"""The report of a projection as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vexarrow.adapt.gate import always

if TYPE_CHECKING:
    from vexarrow.adapt.gate import Verdict
    from vexarrow.adapt.model import ModelCard
    from vexarrow.adapt.projection import Projection
    from vexarrow.adapt.report import Corrections, Measure, Queries, Report

Row = tuple[str, str, str]
WIDTH = 84
FIRST = "neighbours"
_NAME, _VALUE = 36, 8


def render(report: Report, verdict: Verdict, source: ModelCard, target: ModelCard) -> str:
    """The whole report: what was measured, the verdict with its reasons, and what has to be said of any projection."""
    head = f"┌─ {source.name} ({source.dim}) to {target.name} ({target.dim}) "
    body = ["", *_sizes(report), ""]
    for title, rows in sections(report):
        body += [f"{title:<{_NAME}} {'':>{_VALUE}}  95 % interval" if title == FIRST else title]
        body += [_line(*row) for row in rows]
        body.append("")
    return "\n".join(
        [
            head + "─" * max(1, WIDTH - len(head)),
            *(f"│ {line}".rstrip() for line in body),
            "└" + "─" * (WIDTH - 1),
            *judgement(verdict),
            *(f"  {sentence}" for sentence in always(report)),
        ]
    )


def _line(name: str, value: str, note: str) -> str:
    return f"  {name:<{_NAME - 2}} {value:>{_VALUE}}  {note}".rstrip()


def _sizes(report: Report) -> Iterator[str]:
    trained = "with an unknown number of" if report.pairs is None else f"with {report.pairs:,}"
    yield f"trained {trained} pairs, measured on {report.held_out:,} others"


def judgement(verdict: Verdict) -> Iterator[str]:
    """The verdict and its reasons, a line each."""
    yield f"verdict: {verdict.word}"
    for reason in verdict.refused:
        yield f"  refused: {reason.message}"
    for reason in verdict.warnings:
        yield f"  warning: {reason.message}"


def sections(report: Report) -> Iterator[tuple[str, list[Row]]]:
    """The measures by what they are about: (name, value, note) each."""
    yield FIRST, _neighbours(report)
    yield "cosine with the native vector", _cosines(report)
    if report.local is not None:
        yield f"corrections near {report.local.groups:,} groups of vectors", _corrections(report.local)
    if report.unfamiliar is not None:
        row = ("unlike anything trained on", f"{report.unfamiliar:.1%}", f"of {report.corpus or 0:,} vectors")
        yield "source vectors", [row]
    if report.queries is not None:
        yield f"{report.queries.count:,} queries over {report.queries.corpus:,} vectors", _queries(report.queries)
    if len(report.curve) > 1:
        yield (
            "with fewer pairs" + (", the linear map alone" if report.local is not None and report.local.kept else ""),
            [
                (f"{one.pairs:,} pairs", f"{one.overlap:.1%}", f"neighbours found, cosine {one.cosine:.3f}")
                for one in report.curve
            ],
        )


def _neighbours(report: Report) -> list[Row]:
    rows = [
        (f"{report.neighbours} native neighbours found", *_share(report.overlap)),
        ("  staying on the source model", *_share(report.source_overlap)),
    ]
    if report.gain is not None:
        rows.append(("  difference", *_points(report.gain)))
    return [
        *rows,
        ("  with native vectors as queries", *_share(report.query_overlap)),
        (f"nearest native one among the {report.neighbours}", *_share(report.native_top1)),
        ("own vector found first", *_share(report.recall_at_1)),
        ("own vector, reciprocal rank", *_number(report.mrr)),
    ]


def _corrections(local: Corrections) -> list[Row]:
    decision = ("kept", "") if local.kept else ("left out", "they hardly find more: the linear map is alone")
    return [
        ("10 native neighbours found", *_share(local.overlap)),
        ("  by the linear map alone", *_share(local.global_overlap)),
        ("  difference", *_points(local.gain)),
        ("  with native vectors as queries", *_points(local.query_gain)),
        ("corrections are", *decision),
    ]


def _cosines(report: Report) -> list[Row]:
    rows = [
        ("projected", *_number(report.cosine)),
        ("  lowest 5 %", f"{report.cosine_p5:.3f}", "and less"),
        ("one vector for all texts", f"{report.constant_cosine:.3f}", "what knowing nothing gives"),
        ("vectors of other texts", f"{report.shuffled_cosine:.3f}", f"± {report.shuffled_std:.4f} over shuffles"),
    ]
    if report.loo_cosine is not None:
        alone = "the linear map alone" if report.local is not None and report.local.kept else ""
        rows.append(("predicted by leaving pairs out", f"{report.loo_cosine:.3f}", alone))
    return [*rows, ("variance explained (R²)", f"{report.r2:.3f}", "")]


def _queries(queries: Queries) -> list[Row]:
    truth = "labels" if queries.labelled else "the native top 10"
    rows = [
        ("recall@10, projected", *_share(queries.recall)),
        ("  native vectors", f"{queries.native_recall:.1%}", f"measured by {truth}"),
    ]
    if queries.source_recall is not None:
        rows.append(("  staying on the source model", f"{queries.source_recall:.1%}", ""))
    rows += [
        ("reciprocal rank, projected", *_number(queries.mrr)),
        ("  native vectors", f"{queries.native_mrr:.3f}", ""),
    ]
    if queries.source_mrr is not None:
        rows.append(("  staying on the source model", f"{queries.source_mrr:.3f}", ""))
    if queries.lost:
        rows.append(("left out", f"{queries.lost:,}", "none of their records is in the corpus"))
    return rows


def _share(one: Measure) -> tuple[str, str]:
    return f"{one.value:.1%}", f"{one.low:.1%} to {one.high:.1%}"


def _points(one: Measure) -> tuple[str, str]:
    return f"{one.value:+.1%}", f"{one.low:+.1%} to {one.high:+.1%}"


def _number(one: Measure) -> tuple[str, str]:
    return f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}"


def facts(projection: Projection) -> str:
    """All that the file of a projection says of itself, its report at the end."""
    header = projection.header
    lines = [f"{name:<16} {value}" for name, value in known(projection) if value]
    report, verdict = projection.report, header.get("verdict")
    if report is None:
        return "\n".join([*lines, "nothing is known of its quality; `vex-adapt evaluate` measures it"])
    for title, rows in sections(report):
        lines += ["", title, *(_line(*row) for row in rows)]
    reasons = verdict if isinstance(verdict, Mapping) else {}
    lines += ["", *_sizes(report), f"verdict when it was trained: {reasons.get('verdict', 'unknown')}"]
    for kind in ("refused", "warnings"):
        said = reasons.get(kind)
        lines += [f"  {kind.rstrip('s')}: {one['message']}" for one in said or () if isinstance(one, Mapping)]
    return "\n".join(lines)


def known(projection: Projection) -> Iterator[tuple[str, str]]:
    """What the header says apart from the measures: (name, value) each, "" for what is not known."""
    header = projection.header
    yield "from", _card(projection.source)
    yield "to", _card(projection.target)
    method, pairs, licences = (_part(header, name) for name in ("method", "pairs", "licences"))
    yield "method", _method(method)
    yield "prior", _text(method.get("prior"))
    yield "pairs", _pairs(pairs)
    yield "pairs sha256", _text(pairs.get("sha256"))
    yield "corpus", _text(pairs.get("corpus"))
    yield "language", _text(pairs.get("language"))
    yield "licences", _joined(licences, "pairs", "weights")
    yield "created at", _text(header.get("created_at"))
    yield "made by", _text(header.get("tool"))
    yield "checksum", projection.checksum
    yield "tensors sha256", _text(header.get("tensors_sha256"))


def _method(method: Mapping[str, Any]) -> str:
    groups = method.get("local")
    near = "" if groups is None else f", corrected near {groups} groups of vectors"
    settings = ", ".join(filter(None, (_joined(method, "penalty"), _text(method.get("blend")))))
    return _text(method.get("name")) + near + (f" ({settings})" if settings else "")


def _pairs(pairs: Mapping[str, Any]) -> str:
    said = [_text(pairs.get("count"))]
    said += [f"{pairs['held_out']} of them held out for the report"] if pairs.get("held_out") else []
    dropped = pairs.get("dropped")
    said += [f"{n} {why} left out before" for why, n in dropped.items()] if isinstance(dropped, Mapping) else []
    said += [f"training ones are {pairs['chosen']}"] if pairs.get("chosen") in ("medoids", "random") else []
    return ", ".join(filter(None, (*said, _joined(pairs, "seed"))))


def _card(card: ModelCard) -> str:
    said = [f"{card.name} ({card.dim} dimensions)"]
    said += [
        f"{name} {value!r}" for name in ("provider", "revision", "prefix") if (value := getattr(card, name)) is not None
    ]
    said += [] if card.normalised is None else ["normalised" if card.normalised else "not normalised"]
    return ", ".join(said)


def _part(header: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = header.get(name)
    return value if isinstance(value, Mapping) else {}


def _joined(part: Mapping[str, Any], *names: str) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_text(part[name])}" for name in names if part.get(name) is not None)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
    return "" if value is None else str(value)
