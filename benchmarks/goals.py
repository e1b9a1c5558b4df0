"""When it is fast enough: the kinds of goal, each of which judges what was measured.

A goal says nothing about a number of records at which one of its contenders was not measured.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple, Protocol

from benchmarks.measure import Run

Measured = Mapping[int, Mapping[str, list[Run]]]  # by number of records, then by contender
MEGABYTE = 10**6


class Verdict(NamedTuple):
    """What was asked, what was found, and whether that is enough."""

    goal: str
    found: str
    reached: bool


class Goal(Protocol):
    """What a measurement is held against."""

    def judge(self, measured: Measured) -> Iterator[Verdict]:
        """A verdict for each number of records that the goal can be judged at."""
        ...


def wall(runs: list[Run]) -> float:
    """Median seconds on the clock."""
    return median(run.wall for run in runs)


def peak(runs: list[Run]) -> float:
    """Median peak memory in MB (10^6 bytes)."""
    return median(run.peak for run in runs) / MEGABYTE


def spread(ratios: list[float]) -> str:
    """The ratios of the single turns, for the reader who doubts medians."""
    return f" (turn by turn {min(ratios):.2f} to {max(ratios):.2f})"


@dataclass(frozen=True)
class Faster:
    """`who` is at least `times` times as fast as the fastest of `than`, by median wall time."""

    who: str
    times: float
    than: tuple[str, ...]

    def judge(self, measured: Measured) -> Iterator[Verdict]:
        """One verdict for each number of records."""
        for records, by_name in measured.items():
            if {self.who, *self.than} <= by_name.keys():
                fastest = min(self.than, key=lambda name: wall(by_name[name]))
                ratio = wall(by_name[fastest]) / wall(by_name[self.who])
                turns = [b.wall / a.wall for a, b in zip(by_name[self.who], by_name[fastest], strict=True)]
                found = f"{ratio:.2f} times as fast as {fastest}{spread(turns)}"
                yield Verdict(f"{records:,} records: {self}", found, ratio >= self.times)

    def __str__(self) -> str:
        return f"{self.who} at least {self.times:g} times as fast as the fastest of {', '.join(self.than)}"


@dataclass(frozen=True)
class AtMost:
    """`who` takes at most `times` times the median wall time of `than`."""

    who: str
    times: float
    than: str

    def judge(self, measured: Measured) -> Iterator[Verdict]:
        """One verdict for each number of records."""
        for records, by_name in measured.items():
            if {self.who, self.than} <= by_name.keys():
                ratio = wall(by_name[self.who]) / wall(by_name[self.than])
                turns = [a.wall / b.wall for a, b in zip(by_name[self.who], by_name[self.than], strict=True)]
                goal = f"{records:,} records: {self}" if records else str(self)
                yield Verdict(goal, f"{ratio:.2f} times{spread(turns)}", ratio <= self.times)

    def __str__(self) -> str:
        return f"{self.who} in at most {self.times:g} times the time of {self.than}"


@dataclass(frozen=True)
class Rate:
    """`who` has at least `part` of the rate of the slowest of `of`, by median wall time."""

    who: str
    part: float
    of: tuple[str, ...]

    def judge(self, measured: Measured) -> Iterator[Verdict]:
        """One verdict for each number of records."""
        for records, by_name in measured.items():
            if {self.who, *self.of} <= by_name.keys():
                slowest = max(self.of, key=lambda name: wall(by_name[name]))
                ratio = wall(by_name[slowest]) / wall(by_name[self.who])
                turns = [b.wall / a.wall for a, b in zip(by_name[self.who], by_name[slowest], strict=True)]
                found = f"{ratio:.2f} times the rate of {slowest}{spread(turns)}"
                yield Verdict(f"{records:,} records: {self}", found, ratio >= self.part)

    def __str__(self) -> str:
        return f"{self.who} at least {self.part:g} times the rate of the slowest of {', '.join(self.of)}"


@dataclass(frozen=True)
class PeakBelow:
    """`who` never needs more than `megabytes` MB: the largest run counts."""

    who: str
    megabytes: float

    def judge(self, measured: Measured) -> Iterator[Verdict]:
        """One verdict for each number of records."""
        for records, by_name in measured.items():
            if self.who in by_name:
                largest = max(run.peak for run in by_name[self.who]) / MEGABYTE
                goal = f"{records:,} records: {self.who} in at most {self.megabytes:g} MB"
                yield Verdict(goal, f"{largest:.0f} MB", largest <= self.megabytes)


@dataclass(frozen=True)
class SteadyPeak:
    """The median peaks of `who` at the fewest and the most records differ by at most `part` of the lower."""

    who: str
    part: float

    def judge(self, measured: Measured) -> Iterator[Verdict]:
        """One verdict over all sizes, if there are several."""
        sizes = sorted(records for records in measured if self.who in measured[records])
        peaks = [peak(measured[records][self.who]) for records in sizes]
        if len(peaks) > 1:
            apart = abs(peaks[-1] - peaks[0]) / min(peaks[0], peaks[-1])
            found = f"{peaks[0]:.0f} and {peaks[-1]:.0f} MB, {apart:.0%} apart"
            goal = f"{self.who}: peaks at all sizes within {self.part:.0%}"
            yield Verdict(goal, found, apart <= self.part)
