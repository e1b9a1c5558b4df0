"""The report of a projection as one page: it asks nothing of the network, runs no script, and prints well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from vexarrow.adapt import pictures
from vexarrow.adapt.gate import always
from vexarrow.adapt.html_style import STYLE
from vexarrow.adapt.render import known, sections

if TYPE_CHECKING:
    from vexarrow.adapt.gate import Verdict
    from vexarrow.adapt.pairs import Pairs
    from vexarrow.adapt.pictures import Picture
    from vexarrow.adapt.projection import Projection
    from vexarrow.adapt.report import Report

# Whatever the names of models hold, no browser will fetch it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(projection: Projection, report: Report, verdict: Verdict, kept: Pairs, *, corpus: Any = None) -> str:
    """The page, as text. `kept`: the pairs that the report was measured on; `corpus`: source vectors of what is to be
    projected, None for those of `kept`."""
    title = f"{projection.source.name} to {projection.target.name}"
    body = "\n".join(_body(projection, report, verdict, kept, kept.source if corpus is None else corpus))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{escape(title)}: a projection, measured</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _body(projection: Projection, report: Report, verdict: Verdict, kept: Pairs, corpus: Any) -> Iterator[str]:
    source, target = projection.source, projection.target
    trained = "an unknown number of" if report.pairs is None else f"{report.pairs:,}"
    yield (
        f'<header><h1><span>{escape(source.name)}</span> <span class="to">to</span> <span>{escape(target.name)}</span>'
        f"</h1><p>{source.dim} to {target.dim} dimensions, trained with {trained} pairs, measured on "
        f"{report.held_out:,} others.</p></header>"
    )
    yield from _verdict(verdict)
    yield from _numbers(report)
    yield '<section class="pictures" aria-label="Pictures">'
    for picture in _pictures(projection, report, kept, corpus):
        yield _figure(picture)
    yield "</section>"
    yield "<h2>All measures</h2>"
    yield from (_measures(name, rows) for name, rows in sections(report))
    cautions = "".join(f"<li>{escape(one)}</li>" for one in always(report))
    yield f"<h2>What holds for any projection</h2><ul>{cautions}</ul>"
    rows = [(name, value) for name, value in known(projection) if value]
    yield f'<h2>The file</h2><div class="wide">{_table((), rows)}</div>'


def _verdict(verdict: Verdict) -> Iterator[str]:
    kind = "refused" if verdict.refused else "care" if verdict.warnings else "usable"
    reasons = [f"<li><strong>Refused:</strong> {escape(one.message)}</li>" for one in verdict.refused]
    reasons += [f"<li>{escape(one.message)}</li>" for one in verdict.warnings]
    listed = f"<ul>{''.join(reasons)}</ul>" if reasons else ""
    yield f'<section class="verdict {kind}"><h2>Verdict: {escape(verdict.word)}</h2>{listed}</section>'


def _numbers(report: Report) -> Iterator[str]:
    """The three that decide, large."""
    gain = report.overlap.value - report.source_overlap.value
    tiles = (
        (
            f"{report.overlap.value:.0%}",
            f"of the {report.neighbours} native neighbours found",
            f"{100 * gain:+.0f} points against the source model",
        ),
        (f"{report.native_top1.value:.0%}", f"find the nearest native one among {report.neighbours}", ""),
        (
            f"{report.cosine.value:.2f}",
            "cosine with the native vector",
            f"{report.constant_cosine:.2f} for one and the same vector",
        ),
    )
    yield '<section class="tiles" aria-label="Main measures">'
    for value, name, note in tiles:
        yield f"<div><b>{value}</b><span>{escape(name)}</span><small>{escape(note)}</small></div>"
    yield "</section>"


def _pictures(projection: Projection, report: Report, kept: Pairs, corpus: Any) -> Iterator[Picture]:
    yield pictures.cosines(projection, report, kept)
    yield pictures.by_size(report)
    trained = report if report.curve else projection.report
    if trained is not None and len(trained.curve) > 1:
        yield pictures.curve(trained)
    yield pictures.overview(projection, kept)
    unfamiliar = pictures.unfamiliar(projection, corpus)
    if unfamiliar is not None:
        yield unfamiliar


def _figure(picture: Picture) -> str:
    return (
        f"<figure><h3>{escape(picture.chart.title)}</h3>{picture.chart}<figcaption>{escape(picture.caption)}</figcaption>"
        f"<details><summary>The numbers</summary>{_table(picture.names, picture.rows)}</details></figure>"
    )


def _measures(name: str, rows: Sequence[tuple[str, str, str]]) -> str:
    shown = [(("\u2003" if title.startswith(" ") else "") + title.strip(), value, note) for title, value, note in rows]
    return f'<div class="wide">{_table((name.capitalize(), "", "95 % interval or note"), shown)}</div>'


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(value)}</td>" for value in row[1:])}</tr>'
        for row in rows
    )
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if any(names) else ''}<tbody>{body}</tbody></table>"
