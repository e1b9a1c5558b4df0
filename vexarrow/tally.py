"""How often each value occurs, exactly, in bounded memory however many values there are."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping

HELD = 50_000


@dataclass(frozen=True, slots=True)
class Frequencies:
    """Values by how often they occur. None, the absent value, and "" are two values.

    distinct: different values, absent counting as one. top: the most frequent with their counts, ties in order of the
    value, absent first. rest: occurrences of all values that are not in `top`.
    """

    distinct: int
    top: tuple[tuple[str | None, int], ...]
    rest: int = 0

    def to_json(self) -> dict[str, object]:
        """{"distinct", "top": [{"value", "count"}], "rest"}."""
        return {
            "distinct": self.distinct,
            "top": [{"value": value, "count": count} for value, count in self.top],
            "rest": self.rest,
        }


class Tally:
    """Frequencies the values of string columns, batch after batch.

    Up to `held` different values are counted in memory (some 10 MB); beyond that counts move to a DuckDB table which
    goes to a temporary file when it outgrows 64 MB. Call `close` in the end.
    """

    def __init__(self, held: int = HELD) -> None:
        self._held = held
        self._counts: Counter[str | None] = Counter()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._spilled: Any = None

    def add(self, column: pa.Array) -> None:
        """Count the values of a string column, nulls included."""
        counted = pc.value_counts(column)
        values, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
        self.update(dict(zip(values, counts, strict=True)))

    def update(self, counts: Mapping[str | None, int]) -> None:
        """Count values that were counted already."""
        self._counts.update(counts)
        if len(self._counts) > self._held:
            self._spill()

    def _spill(self) -> None:
        if self._spilled is None:
            import duckdb

            self._folder = tempfile.TemporaryDirectory(prefix="vex-tally-")
            folder = self._folder.name
            self._spilled = duckdb.connect(config={"memory_limit": "64MB", "threads": 1, "temp_directory": folder})
            self._spilled.execute("CREATE TABLE spilled (value VARCHAR, n BIGINT)")
        values = pa.array(list(self._counts), type=pa.string())
        counts = pa.array(list(self._counts.values()), type=pa.int64())
        self._spilled.register("part", pa.table({"value": values, "n": counts}))
        self._spilled.execute("INSERT INTO spilled SELECT value, n FROM part")
        self._spilled.unregister("part")
        self._counts.clear()

    def result(self, top: int) -> Frequencies:
        """What was counted so far, with the `top` most frequent values."""
        if self._spilled is None:
            ordered = sorted(self._counts.items(), key=lambda item: (-item[1], item[0] is not None, item[0] or ""))
            return Frequencies(len(ordered), tuple(ordered[:top]), sum(count for _, count in ordered[top:]))
        self._spill()
        query = self._spilled.execute(
            "SELECT value, n, count(*) OVER (), sum(n) OVER () "
            "FROM (SELECT value, sum(n)::BIGINT AS n FROM spilled GROUP BY value) "
            "ORDER BY n DESC, value NULLS FIRST LIMIT ?",
            [max(top, 1)],
        )
        rows = query.fetchall()
        found = tuple((value, count) for value, count, _, _ in rows)[:top]
        return Frequencies(rows[0][2], found, int(rows[0][3]) - sum(count for _, count in found))

    def close(self) -> None:
        """Remove the temporary files, if there are any."""
        if self._spilled is not None:
            self._spilled.close()
            self._spilled = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
