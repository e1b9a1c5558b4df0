"""Pictures of numbers as SVG: axes, lines, areas and labels, coloured by CSS classes of the page that they are in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 40

Spot = tuple[float, float]


@dataclass
class Chart:
    """A picture with two axes. `x` and `y`: the smallest and largest value of each; `log`: x grows by factors.

    `name` is unique on the page; `title` and `about` are what a screen reader says.
    """

    name: str
    title: str
    about: str
    x: Spot
    y: Spot
    log: bool = False
    right: int = RIGHT
    parts: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> Spot:
        """Where a point is, in units of the picture."""
        low, high = self.x
        share = math.log(x / low) / math.log(high / low) if self.log else (x - low) / (high - low)
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + share * (WIDTH - LEFT - self.right), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def axes(self, x: Sequence[tuple[float, str]], y: Sequence[tuple[float, str]], what: tuple[str, str]) -> None:
        """Ticks with their labels, grid lines for y, and what the axes are."""
        left, bottom = self.at(self.x[0], self.y[0])
        end = WIDTH - self.right
        for value, label in y:
            at = self.at(self.x[0], value)[1]
            self.parts.append(f'<line class="grid" x1="{left:.1f}" x2="{end}" y1="{at:.1f}" y2="{at:.1f}"/>')
            self._text(left - 6, at + 4, label, "tick end")
        for value, label in x:
            self._text(self.at(value, self.y[0])[0], bottom + 17, label, "tick mid")
        self.parts.append(f'<line class="axis" x1="{left:.1f}" x2="{end}" y1="{bottom:.1f}" y2="{bottom:.1f}"/>')
        self._text((left + end) / 2, HEIGHT - 5, what[0], "what mid")
        if what[1]:
            self._text(left + 4, TOP - 3, what[1], "what")

    def line(self, points: Sequence[Spot], kind: str, *, dots: bool = False) -> None:
        """A line through points, in the colour of `kind`."""
        places = [self.at(*point) for point in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        self.parts.append(f'<path class="line {kind}" d="{path}"/>')
        if dots:
            self.parts += [f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places]

    def area(self, points: Sequence[Spot], kind: str) -> None:
        """The area below a line, and the line."""
        places = [self.at(*point) for point in points]
        bottom = self.at(points[0][0], self.y[0])[1]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        self.parts.append(
            f'<path class="area {kind}" d="M{places[0][0]:.1f} {bottom:.1f}L{path}L{places[-1][0]:.1f} {bottom:.1f}Z"/>'
        )
        self.parts.append(f'<path class="line {kind}" d="M{path}"/>')

    def upright(self, x: float, kind: str) -> None:
        """A line from bottom to top."""
        at, bottom = self.at(x, self.y[0])
        self.parts.append(
            f'<line class="line dashed {kind}" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom:.1f}"/>'
        )

    def level(self, y: float, kind: str) -> None:
        """A line from left to right."""
        at = self.at(self.x[0], y)[1]
        self.parts.append(
            f'<line class="line dashed {kind}" x1="{LEFT}" x2="{WIDTH - self.right}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )

    def joined(self, ones: Sequence[Spot], others: Sequence[Spot], kinds: tuple[str, str]) -> None:
        """Pairs of points, each joined by a short line."""
        starts, ends = [self.at(*one) for one in ones], [self.at(*one) for one in others]
        path = "".join(f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for (a, b), (c, d) in zip(starts, ends, strict=True))
        self.parts.append(f'<path class="joint" d="{path}"/>')
        for places, kind in ((starts, kinds[0]), (ends, kinds[1])):
            self.parts += [f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in places]

    def label(self, point: Spot, text: str, kind: str, *, by: Spot = (0, 0), place: str = "") -> None:
        """Words beside a point; `place` is "", "mid" or "end"."""
        x, y = self.at(*point)
        self._text(x + by[0], y + by[1], text, f"label {kind} {place}".strip())

    def _text(self, x: float, y: float, text: str, kind: str) -> None:
        self.parts.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>')

    def __str__(self) -> str:
        """The picture."""
        said = f'<title id="{self.name}-t">{escape(self.title)}</title>'
        said += f'<desc id="{self.name}-d">{escape(self.about)}</desc>'
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{self.name}-t {self.name}-d">'
            f"{said}{''.join(self.parts)}</svg>"
        )


def percents(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks from `low` to `high`, shares, at most six."""
    step = next(step for step in (0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / step <= 5.001 or step == 0.5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(at * step, f"{at * step:.0%}") for at in range(first, last + 1)]


def apart(heights: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """The heights, moved so that none is nearer than `least` to the next and all stay between `low` and `high`."""
    order = sorted(range(len(heights)), key=lambda at: heights[at])
    moved = list(heights)
    for one, next_one in pairwise(order):
        moved[next_one] = max(moved[next_one], moved[one] + least)
    ceiling = high
    for one in reversed(order):
        moved[one] = max(min(moved[one], ceiling), low)
        ceiling = moved[one] - least
    return moved
