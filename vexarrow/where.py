"""`--where`: DuckDB SQL over the columns of a record, with JSON members that compare as a user expects.

DuckDB binds `->>` weaker than comparison operators and compares text with text only, so that the natural
`metadata->>'importance' >= 3` is an error there. Before DuckDB sees a condition, every path is put in parentheses, and
one that is compared with a number or a boolean is cast to it (TRY_CAST: a member of another type is null, thus not
wanted).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from vexarrow import records
from vexarrow.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<text>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*"|[A-Za-z_][A-Za-z0-9_]*(?:\."?[A-Za-z_][A-Za-z0-9_]*"?)*)
      | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)
      | (?P<operator>->>|->|<>|!=|>=|<=|==|::|\|\||[^\s])""",
    re.VERBOSE | re.DOTALL,
)
_COMPARISONS = frozenset({"=", "==", "<>", "!=", "<", "<=", ">", ">="})
_DIMS = re.compile(r"\bdims\b", re.IGNORECASE)
_VECTORS = re.compile(r'(?<![\w.])"?(vector\b|vector:|sparse:|multi:)', re.IGNORECASE)
# A member of another type than the one it is compared with is null; DuckDB would take "t", "1" and 1 for true.
_CASTS = {"DOUBLE": "TRY_CAST({} AS DOUBLE)", "BOOLEAN": "(CASE {} WHEN 'true' THEN true WHEN 'false' THEN false END)"}
Token = tuple[str, str]


def rewrite(condition: str) -> str:
    """The condition with every JSON path in parentheses and cast to the type that it is compared with."""
    tokens = [(found.lastgroup or "", found[0]) for found in _TOKEN.finditer(condition)]
    tokens = [token for token in tokens if token[0] != "space"]
    out: list[str] = []
    at = 0
    while at < len(tokens):
        end = _path_end(tokens, at)
        if end == at:
            out.append(tokens[at][1])
            at += 1
            continue
        path = "(" + " ".join(text for _, text in tokens[at:end]) + ")"
        kind = _compared_with(tokens, at, end) if tokens[end - 2][1] == "->>" else None
        out.append(_CASTS[kind].format(path) if kind else path)
        at = end
    return " ".join(out)


def _path_end(tokens: list[Token], at: int) -> int:
    """The end of a path such as `metadata -> 'a' ->> 'b'` that starts at `at`; `at` itself when none does."""
    end = at
    if tokens[at][0] == "name":
        while (
            end + 2 < len(tokens) and tokens[end + 1][1] in ("->", "->>") and tokens[end + 2][0] in ("text", "number")
        ):
            end += 2
    return end + 1 if end > at else at


def _compared_with(tokens: list[Token], start: int, end: int) -> str | None:
    """The SQL type of the literal that the path is compared with, if there is one."""
    after = [text.upper() for _, text in tokens[end : end + 2]]
    if after and after[0] == "NOT":
        end, after = end + 1, after[1:] + [text.upper() for _, text in tokens[end + 2 : end + 3]]
    if after and (after[0] in _COMPARISONS or after[0] == "BETWEEN" or after == ["IN", "("]):
        return _literal(tokens, end + (2 if after[0] == "IN" else 1), forward=True)
    if start >= 2 and tokens[start - 1][1] in _COMPARISONS:
        return _literal(tokens, start - 2, forward=False)
    return None


def _literal(tokens: list[Token], at: int, *, forward: bool) -> str | None:
    if forward and at < len(tokens) and tokens[at][1] in ("-", "+"):
        at += 1
    if not 0 <= at < len(tokens):
        return None
    kind, text = tokens[at]
    if kind == "number":
        return "DOUBLE"
    return "BOOLEAN" if text.upper() in ("TRUE", "FALSE") else None


class Condition:
    """A condition, checked when made. Raises UsageError with DuckDB's own words when it cannot be understood."""

    def __init__(self, sql: str) -> None:
        import duckdb

        if not sql.strip():
            raise UsageError("--where: the condition is empty")
        self.sql = sql
        names = re.sub(r"'(?:[^']|'')*'", "", sql)
        self.needs_vectors = bool(_VECTORS.search(names) or _DIMS.search(names))
        self._query = f"SELECT coalesce(({rewrite(sql)}), false) AS keep FROM batch"
        self._connection: Any = duckdb.connect(config={"threads": 1, "enable_external_access": "false"})
        self._check(f"FROM batch WHERE ({rewrite(sql)})")

    def _check(self, query: str) -> None:
        """Refuse what DuckDB does not take as the condition of a row: aggregates, windows, and values that are no
        boolean."""
        import duckdb

        try:
            self.mask(records.empty())
            self._connection.sql(query)
            kind = str(self._connection.sql(f"SELECT ({rewrite(self.sql)}) AS keep FROM batch").types[0])
        except duckdb.Error as error:
            text = str(error).splitlines()[0]
            text = "a condition cannot look at other records" if "consumed" in text else text
            raise UsageError(f"--where {self.sql!r}: {text}") from error
        if kind not in ("BOOLEAN", '"NULL"', "NULL"):
            raise UsageError(f"--where {self.sql!r}: is {kind}, not a condition that holds or does not")

    def mask(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        """Which rows of the batch the condition holds for; null counts as no. Columns it may use: those of a record
        and `dims`."""
        import pyarrow as pa

        names = [name for name in batch.schema.names if self.needs_vectors or not name.startswith(("vector", *_EXTRA))]
        table = pa.Table.from_batches([batch.select(names)])
        dims = pa.nulls(len(batch), pa.int32())
        if self.needs_vectors and "vector" in batch.schema.names:
            full, nothing = pa.scalar(records.dim(batch), pa.int32()), pa.scalar(None, pa.int32())
            dims = pa.compute.if_else(batch.column("vector").is_valid(), full, nothing)
        self._connection.register("batch", table.append_column("dims", dims).to_reader())
        try:
            kept = self._connection.sql(self._query).to_arrow_table().column("keep")
        except _duckdb_error() as error:
            raise UsageError(f"--where {self.sql!r}: {str(error).splitlines()[0]}") from error
        mask: NDArray[np.bool_] = kept.to_numpy()
        return mask


_EXTRA = records.EXTRA_VECTORS


def _duckdb_error() -> type[Exception]:
    import duckdb

    error: type[Exception] = duckdb.Error
    return error
