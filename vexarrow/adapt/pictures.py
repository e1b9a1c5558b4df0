"""The pictures of a report: each a chart, a sentence that says what to see, and its numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt.pairs import matrix_of, unit_rows
from vexarrow.adapt.svg import LEFT, RIGHT, WIDTH, Chart, Spot, apart, percents

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vexarrow.adapt.model import Adapter
    from vexarrow.adapt.pairs import Pairs
    from vexarrow.adapt.report import Report

    Matrix = NDArray[np.float32]

_MOST_BINS = 48
_ON_MAP = 120
_LINE = 16  # units between two labels
_ROOM = 116  # units for labels at the right end of lines


@dataclass(frozen=True)
class Picture:
    """`caption`: what it shows; `names` and `rows`: its numbers as a table."""

    chart: Chart
    caption: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def cosines(adapter: Adapter, report: Report, kept: Pairs) -> Picture:
    """How near projected vectors are to the native ones, beside two ways of knowing nothing."""
    ours, native = adapter.matrix(kept.source), unit_rows(kept.target).astype(np.float32)
    mean = getattr(adapter, "target_mean", None)
    mean = native.mean(0) if mean is None else mean
    series = {
        "projected": np.einsum("ij,ij->i", ours, native),
        "constant": native @ (mean / np.linalg.norm(mean)),
        "shuffled": np.concatenate([np.einsum("ij,ij->i", ours, np.roll(native, by, axis=0)) for by in _shifts(ours)]),
    }
    said = {"projected": "projected", "constant": "same vector for all", "shuffled": "other texts"}
    least = min(float(values.min()) for values in series.values())
    step = 0.1 if least > 0.45 else 0.2
    low = round(float(np.floor(least / step)) * step, 1)
    edges = np.linspace(low, 1, int(np.clip(2 * np.sqrt(len(ours)), 12, _MOST_BINS)) + 1)
    shares = {name: _smooth(np.histogram(values, edges)[0] / len(values)) for name, values in series.items()}
    top = max(float(share.max()) for share in shares.values()) / 0.78  # names stand above
    chart = Chart(
        "cosine",
        "Cosine with the native vector",
        f"Distribution over {len(ours)} held-out pairs. Mean: projected {report.cosine.value:.3f}, the same vector for "
        f"all texts {report.constant_cosine:.3f}, vectors of other texts {report.shuffled_cosine:.3f}.",
        (low, 1.0),
        (0.0, top),
    )
    ticks = [(float(value), f"{value:.1f}") for value in np.arange(low, 1.001, step)]
    chart.axes(ticks, [], ("cosine", "share of pairs"))
    middle = (edges[1:] + edges[:-1]) / 2
    for name in ("shuffled", "constant", "projected"):
        points = [(float(x), float(y)) for x, y in zip(middle, shares[name], strict=True)]
        chart.area([(low, points[0][1]), *points, (1.0, points[-1][1])], name)
    _names(chart, {name: float(middle[one.argmax()]) for name, one in shares.items()}, said)
    rows = tuple(
        (said[name], *(f"{value:.3f}" for value in (values.mean(), *np.quantile(values, [0.05, 0.5, 0.95]))))
        for name, values in series.items()
    )
    caption = "The further blue lies to the right of both others, the more the projection knows."
    return Picture(chart, caption, ("", "mean", "5 %", "median", "95 %"), rows)


def _smooth(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """A histogram's outline without its jitter, by the mean with the bins on both sides."""
    smooth: NDArray[np.float64] = np.convolve(np.pad(shares, 2, mode="edge"), np.array([1, 4, 6, 4, 1]) / 16, "valid")
    return smooth


def _shifts(rows: Matrix) -> list[int]:
    """By how many rows to turn one side of the pairs, so that each meets another text's."""
    return sorted({max(1, len(rows) * part // 7) for part in range(1, 7)})


def _names(chart: Chart, peaks: dict[str, float], said: dict[str, str]) -> None:
    """A name above each peak, each in a row of its own: from the left one below to the right one on top."""
    for row, name in enumerate(sorted(peaks, key=lambda name: -peaks[name])):
        x, y = chart.at(peaks[name], chart.y[1])
        half = 4.0 * len(said[name])
        inside = min(max(x, LEFT + half), WIDTH - RIGHT - half)
        chart.label((peaks[name], chart.y[1]), said[name], name, by=(inside - x, 24 + row * _LINE - y), place="mid")


def by_size(report: Report) -> Picture:
    """The share of native neighbours that are found, for neighbourhoods of several sizes."""
    spots = report.by_size
    sizes = [one.neighbours for one in spots]
    lines = {"projected": [one.projected for one in spots], "source": [one.source for one in spots]}
    chart = Chart(
        "sizes",
        "Native neighbours found, by how many are looked for",
        "; ".join(f"{one.neighbours}: projected {one.projected:.0%}, source {one.source:.0%}" for one in spots),
        (1, max(2, sizes[-1])),
        (0.0, _ceiling([*lines["projected"], *lines["source"]])),
        log=True,
        right=_ROOM,
    )
    chart.axes([(size, str(size)) for size in sizes], percents(*chart.y), ("nearest neighbours", "found"))
    for kind, values in lines.items():
        chart.line(list(zip(sizes, values, strict=True)), kind, dots=True)
    _ends(chart, sizes[-1], {kind: values[-1] for kind, values in lines.items()}, ("projected", "source model"))
    rows = tuple((str(one.neighbours), f"{one.projected:.1%}", f"{one.source:.1%}") for one in spots)
    caption = f"Among {report.held_out:,} held-out vectors. Below orange, staying on the source model is better."
    return Picture(chart, caption, ("neighbours", "projected", "source model"), rows)


def curve(report: Report) -> Picture:
    """What more pairs bring; of a report with at least two points."""
    points = report.curve
    sizes, found = [one.pairs for one in points], [one.overlap for one in points]
    source = report.source_overlap.value
    chart = Chart(
        "curve",
        "Native neighbours found, by the number of pairs",
        "; ".join(f"{one.pairs} pairs: {one.overlap:.0%}" for one in points) + f"; source model {source:.0%}",
        (sizes[0], sizes[-1]),
        (0.0, _ceiling([*found, source])),
        log=True,
        right=_ROOM,
    )
    chart.axes([(size, f"{size:,}") for size in sizes], percents(*chart.y), ("pairs trained with", "of 10 found"))
    chart.level(source, "source")
    chart.line(list(zip(sizes, found, strict=True)), "projected", dots=True)
    _ends(chart, sizes[-1], {"projected": found[-1], "source": source}, ("projected", "source model"))
    rows = tuple((f"{one.pairs:,}", f"{one.overlap:.1%}", f"{one.cosine:.3f}") for one in points)
    last = found[-1] - found[-2]
    more = "more pairs would help" if last > 0.01 else "more pairs would bring little"
    caption = f"The last step brought {100 * last:+.1f} points, when it was trained: {more}."
    return Picture(chart, caption, ("pairs", "of 10 found", "cosine"), rows)


def _ends(chart: Chart, x: float, ends: dict[str, float], said: tuple[str, ...]) -> None:
    """A name at the right end of each line."""
    places = [chart.at(x, y)[1] for y in ends.values()]
    heights = apart([place + 4 for place in places], _LINE, 20, 262)
    for kind, name, place, height in zip(ends, said, places, heights, strict=True):
        chart.label((x, ends[kind]), name, kind, by=(9, height - place))


def _ceiling(values: Sequence[float]) -> float:
    return min(1.0, max(0.1, math.ceil(max(values) * 10.5) / 10))


def overview(adapter: Adapter, kept: Pairs) -> Picture:
    """Native and projected vectors on the two main axes of the native ones."""
    native = unit_rows(kept.target)
    mean = native.mean(0)
    _, _, axes = np.linalg.svd(native[:2000] - mean, full_matrices=False)
    plane = np.zeros((2, native.shape[1]))
    plane[: min(2, len(axes))] = axes[:2]
    shown = np.linspace(0, len(native) - 1, min(_ON_MAP, len(native))).astype(np.intp)
    theirs, ours = (native[shown] - mean) @ plane.T, (adapter.matrix(kept.source[shown]) - mean) @ plane.T
    both = np.concatenate([theirs, ours])
    share = float(((native - mean) @ plane.T).var(0).sum() / max((native - mean).var(0).sum(), 1e-12))
    (left, low), (right, high) = _around(both.min(0), both.max(0))
    chart = Chart(
        "map",
        "Where projected vectors land",
        f"{len(shown)} held-out vectors, native and projected, on the two main axes of the native vectors.",
        (left, right),
        (low, high),
    )
    chart.axes([], [], ("first axis", "second axis"))
    chart.joined(_spots(theirs), _spots(ours), ("native", "projected"))
    chart.label((right, high), "native", "native", by=(-4, 14), place="end")
    chart.label((right, high), "projected", "projected", by=(-4, 30), place="end")
    distances = np.linalg.norm(theirs - ours, axis=1)
    rows = (
        ("vectors shown", str(len(shown))),
        ("variance on the map", f"{share:.0%}"),
        ("median length of a line", f"{np.median(distances):.3f}"),
    )
    caption = (
        f"Each line joins a vector with its projection. The map holds {share:.0%} of the variance; a projection draws "
        "towards the middle what it cannot know."
    )
    return Picture(chart, caption, ("", ""), rows)


def _around(low: NDArray[Any], high: NDArray[Any]) -> tuple[Spot, Spot]:
    room = np.maximum(high - low, 1e-6) * 0.05
    (left, bottom), (right, top) = (low - room).tolist(), (high + room).tolist()
    return (left, bottom), (right, top)


def _spots(rows: NDArray[Any]) -> list[Spot]:
    return [(float(x), float(y)) for x, y in rows]


def unfamiliar(adapter: Adapter, corpus: Any) -> Picture | None:
    """How far the vectors lie from what was trained on; None where nothing is known of that."""
    leverage, limit = adapter.leverage(matrix_of(corpus)), adapter.leverage_limit
    if leverage is None or not limit:
        return None
    times = np.maximum(leverage / limit, 1e-6)
    low, high = min(0.1, float(times.min())), max(4.0, float(times.max()))
    edges = np.geomspace(low, high * 1.0001, 40)
    shares = _smooth(np.histogram(times, edges)[0] / len(times))
    beyond = float((times > 1).mean())
    chart = Chart(
        "leverage",
        "How unlike the training vectors",
        f"Leverage of {len(times)} vectors, in parts of the limit that 99 % of the training vectors stay below. "
        f"{beyond:.1%} lie beyond it.",
        (low, high),
        (0.0, float(shares.max()) * 1.15),
        log=True,
    )
    ticks = [value for value in (0.001, 0.01, 0.1, 0.25, 0.5, 1, 2, 4, 10, 100, 1000) if low <= value <= high]
    chart.axes(_spaced(chart, ticks), [], ("leverage, in parts of the limit", "share of vectors"))
    middle = np.sqrt(edges[1:] * edges[:-1])
    points = [(float(x), float(y)) for x, y in zip(middle, shares, strict=True)]
    chart.area(points, "projected")
    chart.upright(1.0, "limit")
    chart.label((1.0, chart.y[1]), f"{beyond:.1%} beyond", "limit", by=(6, 14))
    rows = tuple((f"{q:.0%}", f"{np.quantile(times, q):.2f}") for q in (0.05, 0.25, 0.5, 0.75, 0.95, 0.99))
    caption = f"{beyond:.1%} of {len(times):,} vectors are unlike anything trained on; at 20 % it is refused."
    return Picture(chart, caption, ("share of vectors", "leverage up to"), rows)


def _spaced(chart: Chart, ticks: Sequence[float]) -> list[tuple[float, str]]:
    """The ticks that have room; 1 is always there."""
    kept: list[float] = [1]
    for tick in ticks:
        if all(abs(chart.at(tick, 0)[0] - chart.at(other, 0)[0]) > 30 for other in kept):
            kept.append(tick)
    return [(tick, f"{tick:g}") for tick in sorted(kept)]
