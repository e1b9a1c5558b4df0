"""Rows to canonical batches: types checked column by column, and row by row only where a column is not all right."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from vexarrow import records, timestamps
from vexarrow.protocols import Reject

from ._parse import BadLine, Row, signed_zeros

_NONE = type(None)
_TEXTS = ("text", "model", "namespace", "source_store", "modality", "vex_version")


class Group(NamedTuple):
    """Records of one dimension, with their line numbers."""

    batch: pa.RecordBatch
    lines: Sequence[int]


class Assembler:
    """Makes batches of rows. The first good row decides what ids of this stream are: integers or text."""

    def __init__(self, id_type: str | None = None) -> None:
        self.id_type = id_type

    def groups(
        self, rows: list[Row], lines: list[int], raw: Sequence[bytes], first: int
    ) -> tuple[list[Group], list[Reject]]:
        """A batch per dimension, in the order of their first records, and the rows that are no records.

        `raw` are the verbatim lines, of which the first has the number `first`.
        """
        rejects: list[Reject] = []
        if self.id_type is None and rows:
            self.id_type = next((_id_kind(row.id) for row in rows if _id_kind(row.id)), None)
        if not self._well(rows):
            rows, lines = self._mended(rows, lines, rejects)
        groups = []
        for members in _by_dim(rows):
            group, overflown = self._group([rows[i] for i in members], [lines[i] for i in members], raw, first)
            groups.append(group)
            rejects.extend(overflown)
        return groups, [_with_line(reject, raw, first) for reject in rejects]

    def _well(self, rows: list[Row]) -> bool:
        """True when every row is a record as it is. May say False for rows that are all right, never the reverse."""
        if not rows:
            return True
        columns = Row(*map(list, zip(*rows, strict=True)))
        kinds = {name: set(map(type, getattr(columns, name))) for name in ("id", "score", "dims", *_TEXTS)}
        if kinds["id"] != {int if self.id_type == "int" else str} or not all(kinds[n] <= {str, _NONE} for n in _TEXTS):
            return False
        if not kinds["score"] <= {float, _NONE} or (float in kinds["score"] and not _finite(columns.score)):
            return False
        if not kinds["dims"] <= {int, _NONE} or "" in columns.id:
            return False
        lengths = [None if vector is None else len(vector) >> 3 for vector in columns.vector]
        if 0 in lengths or (lengths != columns.dims and kinds["dims"] != {_NONE}):
            return False
        if None in lengths and any(v is None and t is None for v, t in zip(lengths, columns.text, strict=True)):
            return False
        return _times(columns.created_at) is not None

    def _mended(self, rows: list[Row], lines: list[int], rejects: list[Reject]) -> tuple[list[Row], list[int]]:
        good: list[Row] = []
        kept: list[int] = []
        for row, line in zip(rows, lines, strict=True):
            try:
                good.append(_mended(row, self.id_type or "string"))
                kept.append(line)
            except BadLine as bad:
                rejects.append(Reject(bad.code, str(bad), line=line, id=bad.id or _id_text(row.id)))
        return good, kept

    def _group(self, rows: list[Row], lines: list[int], raw: Sequence[bytes], first: int) -> tuple[Group, list[Reject]]:
        vectors = [row.vector for row in rows]
        length = next((len(vector) >> 3 for vector in vectors if vector is not None), 0)
        column, bad = vector_column(vectors, length, lambda row: signed_zeros(raw[lines[row] - first]))
        rejects = []
        if bad:
            message = "a component of the vector is beyond the range of a float32"
            rejects = [Reject("vector-not-finite", message, line=lines[i], id=str(rows[i].id)) for i in bad]
            keep = [i for i in range(len(rows)) if i not in bad]
            rows, lines = [rows[i] for i in keep], [lines[i] for i in keep]
            column = column.take(pa.array(keep, pa.int64()))
        return Group(self._batch(rows, column), lines), rejects

    def _batch(self, rows: list[Row], vector: pa.Array) -> pa.RecordBatch:
        if not rows:
            return records.empty(vector.type.list_size, id_type=self.id_type or "string")
        columns = Row(*map(list, zip(*rows, strict=True)))
        texts = {name: pa.array(getattr(columns, name), type=pa.string()) for name in _TEXTS}
        texts["modality"] = texts["modality"].fill_null("text")
        ids = list(map(str, columns.id)) if self.id_type == "int" else columns.id
        return records.build(
            {
                "id": pa.array(ids, type=pa.string()),
                **texts,
                "metadata": records.json_array(columns.metadata),
                "created_at": _times(columns.created_at) or _times_one_by_one(columns.created_at),
                "score": pa.array(columns.score, type=pa.float64()),
                "extra": records.json_array(columns.extra),
            },
            vector,
            id_type=self.id_type or "string",
        )


def vector_column(
    vectors: Sequence[Any], length: int, signed: Callable[[int], bytes | None]
) -> tuple[pa.FixedSizeListArray, set[int]]:
    """The vectors as a column, and the rows of it in which a number is too large for a float32."""
    if not length:
        return records.no_vectors(len(vectors)), set()
    blank = b"" if None not in vectors else bytes(8 * length)
    doubles = np.frombuffer(b"".join([blank if v is None else v for v in vectors]), dtype=np.float64)
    with np.errstate(over="ignore"):
        matrix = doubles.reshape(len(vectors), length).astype(np.float32)
    for row in np.flatnonzero((matrix == 0).any(axis=1)).tolist():
        exact = signed(row) if isinstance(vectors[row], memoryview) else None
        if exact is not None:
            matrix[row] = np.frombuffer(exact, dtype=np.float64)
    bad: set[int] = set()
    if not np.isfinite(matrix).all():
        bad = set(np.flatnonzero(~np.isfinite(matrix).all(axis=1)).tolist())
    valid = np.array([vector is not None for vector in vectors]) if blank else None
    return records.from_matrix(matrix, valid), bad


def _by_dim(rows: list[Row]) -> list[list[int]]:
    """Row numbers by dimension; rows without a vector go with the first dimension."""
    lengths = [0 if row.vector is None else len(row.vector) >> 3 for row in rows]
    distinct = [length for length in dict.fromkeys(lengths) if length]
    if len(distinct) <= 1:
        return [list(range(len(rows)))] if rows else []
    return [
        [i for i, length in enumerate(lengths) if length == wanted or (not length and wanted == distinct[0])]
        for wanted in distinct
    ]


def _times(values: list[Any]) -> pa.Array | None:
    try:
        return timestamps.array(values)
    except ValueError:
        return None


def _times_one_by_one(values: list[Any]) -> pa.Array:
    numbers = [None if value is None else timestamps.microseconds(value)[0] for value in values]
    return pa.array(numbers, type=pa.int64()).cast(records.TIMESTAMP)


def _id_kind(value: Any) -> str | None:
    return {int: "int", str: "string"}.get(type(value))


def _id_text(value: Any) -> str | None:
    return str(value) if _id_kind(value) else None


def _finite(scores: list[float | None]) -> bool:
    return all(score is None or math.isfinite(score) for score in scores)


def _with_line(reject: Reject, raw: Sequence[bytes], first: int) -> Reject:
    line = first if reject.line is None else reject.line
    return replace(reject, record=raw[line - first].rstrip(b"\r\n"))


# -- one row --------------------------------------------------------------------------------------------


def _mended(row: Row, id_type: str) -> Row:
    """A row that is a record, its verbatim keys added to `extra`. Raises BadLine for one that is none."""
    marks = {**_checked_id(row.id, id_type), **_checked_vector(row), **_checked_time(row.created_at)}
    for name in _TEXTS:
        value = getattr(row, name)
        if not isinstance(value, (str, _NONE)):
            raise BadLine(f"{name.replace('_', '-')}-type", f"{name} is {_shown(value)}, not text")
    extra = row.extra
    if marks:
        head = "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in marks.items())
        extra = head + ("," + extra[1:] if extra else "}")
    return row._replace(id=str(row.id), extra=extra, score=_checked_score(row.score))


def _checked_id(value: Any, id_type: str) -> dict[str, str]:
    if value is None or value == "":
        raise BadLine("missing-id", "id is missing, null or empty")
    kind = _id_kind(value)
    if kind is None:
        raise BadLine("id-type", f"id is {_shown(value)}, neither text nor an integer")
    return {} if kind == id_type else {"id": json.dumps(value, ensure_ascii=False)}


def _checked_vector(row: Row) -> dict[str, str]:
    if row.vector is None:
        if row.text is None:
            raise BadLine("empty-record", "text and vector are both missing")
        return {} if row.dims is None else {"dims": json.dumps(_whole(row.dims))}
    length = len(row.vector) >> 3
    if not length:
        raise BadLine("empty-vector", "vector has no components")
    if row.dims is not None and (isinstance(row.dims, bool) or row.dims != length):
        raise BadLine("dims-mismatch", f"dims is {_shown(row.dims)} but the vector has {length} components")
    return {}


def _whole(dims: Any) -> int:
    if isinstance(dims, bool) or not isinstance(dims, int):
        raise BadLine("dims-mismatch", f"dims is {_shown(dims)}, not an integer")
    return dims


def _checked_time(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    try:
        exact = timestamps.microseconds(value)[1]
    except ValueError as error:
        raise BadLine("created-at", str(error)) from None
    return {} if exact else {"created_at": json.dumps(value, ensure_ascii=False)}


def _checked_score(value: Any) -> float | None:
    if value is None:
        return None
    try:
        if not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise BadLine("score-type", f"score is {_shown(value)}, not a finite number")


def _shown(value: Any) -> str:
    text: str = value[0] if isinstance(value, tuple) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
