"""What a validation found: findings, their counts by rule, and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from vexarrow.inspection_text import printable

LISTED = 100
WIDTH = 46
ERROR, WARNING = "error", "warning"
WARNINGS = frozenset(
    {"no-vector", "zero-vector", "unknown-version", "mixed-models", "mixed-id-types", "metadata-big-integer"}
)


def severity(rule: str) -> str:
    """How bad it is to break a rule: "warning" for those in WARNINGS, else "error"."""
    return WARNING if rule in WARNINGS else ERROR


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that was broken: where, and in words. `severity` is "error" or "warning"."""

    rule: str
    severity: str
    message: str
    line: int | None = None
    id: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return f"{place + ': ' if place else ''}{self.severity} {self.rule}: {self.message}"


@dataclass(frozen=True, slots=True)
class RuleCount:
    """How often a rule was broken."""

    rule: str
    severity: str
    count: int


@dataclass(frozen=True, slots=True)
class Validation:
    """The result. `rules` counts every finding, errors first; `findings` are those that were kept, in order of file and
    line. records: all that were met. valid: those without an error of their own."""

    name: str
    records: int
    valid: int
    rules: tuple[RuleCount, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many errors were found."""
        return sum(one.count for one in self.rules if one.severity == ERROR)

    @property
    def warnings(self) -> int:
        """How many warnings were found."""
        return sum(one.count for one in self.rules if one.severity == WARNING)

    @property
    def ok(self) -> bool:
        """True when there is no error; warnings do not count."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """The same as one JSON-like object, with `ok`, `errors` and `warnings`."""
        return {"ok": self.ok, "errors": self.errors, "warnings": self.warnings, **asdict(self)}

    def render(self, listed: int = LISTED) -> str:
        """A line for each of the first `listed` findings, `file:line: severity rule: message`, then a summary."""
        lines = [printable(str(finding)) for finding in self.findings[:listed]]
        unlisted = self.errors + self.warnings - len(lines)
        if unlisted and lines:
            lines.append(f"… and {unlisted:,} more")
        head = "┌─ validation "
        lines += [head + "─" * (WIDTH - len(head)), f"│ {'records':<24}: {self.records:,}"]
        lines += [f"│ {'valid':<24}: {self.valid:,}"]
        lines += [f"│ {one.rule:<24}: {one.count:,} {one.severity}{'s' * (one.count != 1)}" for one in self.rules]
        result = "ok" if self.ok else "not valid"
        lines += [f"│ {'result':<24}: {result}", "└" + "─" * (WIDTH - 1)]
        return "\n".join(lines)


class Found:
    """Findings, counted by rule; of each rule the first `limit` are kept."""

    def __init__(self, ignore: Collection[str], limit: int) -> None:
        self._ignore = ignore
        self._limit = limit
        self._counts: Counter[tuple[str, str]] = Counter()
        self._kept: dict[str, list[Finding]] = {}

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it if there is room."""
        if self.wanted(finding.rule):
            self._counts[finding.rule, finding.severity] += 1
            if self.room(finding.rule):
                self._kept.setdefault(finding.rule, []).append(finding)

    def wanted(self, rule: str) -> bool:
        """False for a rule that is ignored."""
        return rule not in self._ignore

    def room(self, rule: str) -> int:
        """How many more findings of the rule are kept."""
        return self._limit - len(self._kept.get(rule, ()))

    def count(self, rule: str, more: int) -> None:
        """Count findings that are not kept."""
        if more:
            self._counts[rule, severity(rule)] += more

    def rules(self) -> tuple[RuleCount, ...]:
        """Every rule broken: errors first, then the most frequent."""
        ordered = sorted(self._counts.items(), key=lambda one: (one[0][1] != ERROR, -one[1], one[0][0]))
        return tuple(RuleCount(rule, how, count) for (rule, how), count in ordered)

    def findings(self) -> tuple[Finding, ...]:
        """At most `limit`: rare rules whole, frequent ones share what is left."""
        chosen: list[Finding] = []
        waiting = sorted(self._kept.values(), key=len)
        for at, kept in enumerate(waiting):
            chosen += kept[: (self._limit - len(chosen)) // (len(waiting) - at)]
        return tuple(sorted(chosen, key=lambda one: (one.file or "", one.line or 0)))
