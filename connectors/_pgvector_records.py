"""Rows of a table as records: what is selected, and how its fields become the columns of a batch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records, timestamps
from vexarrow.errors import SchemaError
from vexarrow.protocols import Reject

from ._arrow_numbers import float64
from ._pgvector_decode import Fields, moments_of
from ._pgvector_foreign import merged
from ._pgvector_json import compact
from ._pgvector_rejected import rejected
from ._pgvector_roles import Roles
from ._pgvector_table import VERBATIM, Column, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._pgvector_wire import Session

STORE = "pgvector"
_TEXTS = ("text", "model", "namespace")


@dataclass(frozen=True)
class Field:
    """One field of the rows: its name in the record, its SQL, and how its bytes are to be taken."""

    name: str
    sql: str
    kind: str


@dataclass(frozen=True)
class Selected:
    """What is read of a table."""

    table: Table
    roles: Roles
    fields: tuple[Field, ...]
    dims: Mapping[str, int | None]

    @classmethod
    def of(cls, table: Table, roles: Roles, session: Session, dims: Mapping[str, int | None]) -> Selected:
        """All of it. `dims`: of the further vectors, so that their columns have one type whatever a page holds."""
        fields = [Field("id", _as_text(roles.id), "text")]
        if not roles.id_is_unique:
            fields += [Field(f"key {at}", f"{column.sql}::text", "text") for at, column in enumerate(roles.keys)]
            if not roles.keys:
                fields.append(Field("key 0", "ctid", "tid"))
        fields += _simple(roles)
        if roles.others:
            fields.append(Field("others", _members(roles.others, session), "text"))
        vectors = {**({"vector": roles.vector} if roles.vector is not None else {}), **roles.further}
        fields += [Field(name, column.sql, column.type) for name, column in vectors.items()]
        return cls(table, roles, tuple(fields), dims)

    @property
    def sql(self) -> str:
        """The list of a SELECT."""
        return ", ".join(field.sql for field in self.fields)

    def at(self, name: str) -> int | None:
        """The position of a field."""
        return next((at for at, field in enumerate(self.fields) if field.name == name), None)


def _as_text(column: Column) -> str:
    return column.sql if column.type in ("text", "varchar") else f"{column.sql}::text"


def _simple(roles: Roles) -> Iterator[Field]:
    for name in _TEXTS:
        column: Column | None = getattr(roles, name)
        if column is not None:
            yield Field(name, _as_text(column), "text")
    if roles.created_at is not None:
        yield _moment(roles.created_at)
    if roles.metadata is not None:
        yield Field("metadata", roles.metadata.sql, roles.metadata.type)
    for name, column in roles.own.items():
        yield Field(
            name,
            f"{column.sql}::float8" if name == "score" else f"{column.sql}::text",
            "score" if name == "score" else "text",
        )


def _moment(column: Column) -> Field:
    if column.type == "timestamptz":
        return Field("created_at", column.sql, "moment")
    if column.type in ("timestamp", "date"):
        return Field("created_at", f"({column.sql}::timestamp AT TIME ZONE 'UTC')", "moment")
    return Field("created_at", f"{column.sql}::text", "text" if column.is_text else "number")


def _members(columns: Sequence[Column], session: Session) -> str:
    """SQL for a JSON object of the columns that are not null."""
    parts = []
    for column in columns:
        key = session.literal(json.dumps(column.name, ensure_ascii=False) + ":")
        if column.type in ("json", "jsonb"):
            value = f"{column.sql}::text"
        elif column.type == "bytea":
            value = f"to_json(replace(encode({column.sql}, 'base64'), E'\\n', ''))::text"
        else:
            value = f"to_json({column.sql})::text"
        parts.append(f"{key} || {value}")
    return f"('{{' || array_to_string(ARRAY[{', '.join(parts)}]::text[], ',') || '}}')"


# -- rows to batches --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Rows as a batch, with those that could not be read; `last` is the row of the input where it ends."""

    batch: pa.RecordBatch
    rejects: list[Reject]
    last: int


class Reader:
    """Makes batches of rows."""

    def __init__(self, selected: Selected) -> None:
        self._selected = selected
        self._dense = [
            (at, one.kind) for at, one in enumerate(selected.fields) if one.kind in ("vector", "halfvec", "_vector")
        ]

    def parts(self, rows: Fields) -> Iterator[Part]:
        """The rows in batches, each of vectors of one dimension."""
        start = 0
        for end in self._ends(rows):
            yield self._part(rows.part(start, end), end - 1)
            start = end

    def _ends(self, rows: Fields) -> list[int]:
        """Where batches have to end because the length of a vector changes."""
        ends = set()
        for at, kind in self._dense:
            present = np.flatnonzero(rows.present(at))
            lengths = rows.lengths[present, at] if kind != "_vector" else present[:0]
            ends |= set(present[1:][lengths[1:] != lengths[:-1]].tolist()) if len(lengths) else set()
        return [*sorted(ends), len(rows)]

    def _part(self, rows: Fields, last: int) -> Part:
        rejects: list[Reject] = []
        if not rows.present(0).all():
            nameless = ~rows.present(0)
            rejects = self._rejected(rows, np.flatnonzero(nameless).tolist(), "no-id", "the row has no id")
            rejects = [replace(reject, row=None) for reject in rejects]
            rows = rows.without(nameless)
        try:
            batch, more = self._made(rows)
        except pa.ArrowInvalid:  # text that is not UTF-8, which databases of the encoding SQL_ASCII may hold
            rows, bad = self._readable(rows)
            batch, more = self._made(rows)
            more = bad + more
        return Part(batch, rejects + more, last)

    def _made(self, rows: Fields) -> tuple[pa.RecordBatch, list[Reject]]:
        columns: dict[str, Any] = {}
        names = [field.name for field in self._selected.fields]
        kinds = {field.name: (at, field.kind) for at, field in enumerate(self._selected.fields)}
        for name, (at, kind) in kinds.items():
            if kind == "text" and name in records.BASE_NAMES:
                columns[name] = rows.texts(at)
        if "modality" not in columns:
            columns["modality"] = pa.array(["text"] * len(rows))
        if "score" in kinds:
            values, present = rows.numbers(kinds["score"][0], ">f8")
            columns["score"] = float64(values, present)
        if not self._selected.table.own:
            named = columns.get("source_store", pa.nulls(len(rows), pa.string()))
            columns["source_store"] = pc.fill_null(named, STORE)
        rejects = self._moments(rows, kinds, columns)
        self._documents(rows, kinds, columns)
        if rejects:
            columns, rows, rejects = _without_rejected(columns, rows, rejects)
        return self._batch(rows, names, kinds, columns), rejects

    def _batch(
        self, rows: Fields, names: list[str], kinds: dict[str, tuple[int, str]], columns: dict[str, Any]
    ) -> pa.RecordBatch:
        vector = self._vectors(rows, *kinds["vector"]) if "vector" in kinds else None
        more = {name: self._vectors(rows, *kinds[name]) for name in names if name.startswith(records.EXTRA_VECTORS)}
        columns["id"] = columns["id"].cast(pa.string())
        return records.build(columns, vector, id_type=self._selected.roles.id_type, more=more)

    def _vectors(self, rows: Fields, at: int, kind: str) -> pa.Array:
        if kind == "sparsevec":
            return rows.sparse(at)
        name = self._selected.fields[at].name
        dim = self._selected.dims.get(name) or 0
        if kind == "_vector":
            try:
                return rows.multi(at, dim)
            except ValueError:
                raise SchemaError(f"{name}: the arrays hold vectors of different dimensions, or nulls") from None
        return rows.vectors(at, ">f2" if kind == "halfvec" else ">f4", dim)

    # -- what may be unreadable -------------------------------------------------------------------------------------

    def _readable(self, rows: Fields) -> tuple[Fields, list[Reject]]:
        """Leave out the rows whose text is not UTF-8."""
        gone = np.zeros(len(rows), np.bool_)
        rejects = []
        for at, field in enumerate(self._selected.fields):
            if field.kind in ("text", "json", "jsonb", "number"):
                bad = _not_utf8(rows, at) & ~gone
                message = f"{field.name} holds text that is not UTF-8"
                rejects += self._rejected(rows, np.flatnonzero(bad).tolist(), "not-utf8", message)
                gone |= bad
        return rows.without(gone), [replace(reject, row=None) for reject in rejects]

    def _moments(self, rows: Fields, kinds: dict[str, tuple[int, str]], columns: dict[str, Any]) -> list[Reject]:
        at, kind = kinds.get("created_at", (0, ""))
        if not kind:
            return []
        if kind == "moment":
            values, present = rows.numbers(at, ">i8")
            low, high = timestamps.FIRST - 946_684_800_000_000, timestamps.LAST - 946_684_800_000_000
            bad = np.flatnonzero(present & ((values < low) | (values > high))).tolist()
            values[bad] = 0
            columns["created_at"] = moments_of(values, present)
        else:
            columns["created_at"], bad = _parsed(rows.texts(at).to_pylist(), kind)
        message = "created_at is infinite, outside the years 1 to 9999, or no time"
        return self._rejected(rows, bad, "created-at", message)

    def _rejected(self, rows: Fields, wrong: list[int], code: str, message: str) -> list[Reject]:
        return rejected(self._selected.fields, rows, wrong, code, message) if wrong else []

    def _documents(self, rows: Fields, kinds: dict[str, tuple[int, str]], columns: dict[str, Any]) -> None:
        """Metadata, and what the column of verbatim values says against the other columns."""
        at, kind = kinds.get("metadata", (0, ""))
        texts = None
        if kind:
            texts = rows.texts(at, 1) if kind == "jsonb" else rows.texts(at)
            texts = compact(texts) if kind == "jsonb" else texts
        others = rows.texts(kinds["others"][0]) if "others" in kinds else None
        if texts is None and others is not None:
            columns["metadata"] = pc.if_else(pc.equal(others, "{}"), pa.scalar(None, pa.string()), others)
        elif texts is not None and (others is not None or not self._selected.table.own):
            columns |= merged(texts, others, columns, npm=self._selected.table.npm)
        elif texts is not None:
            columns["metadata"] = texts
        if VERBATIM in kinds:
            _restore(rows.texts(kinds[VERBATIM][0]), columns)


def _without_rejected(
    columns: dict[str, Any], rows: Fields, rejects: list[Reject]
) -> tuple[dict[str, Any], Fields, list[Reject]]:
    gone = np.zeros(len(rows), np.bool_)
    gone[[reject.row for reject in rejects if reject.row is not None]] = True
    kept = {name: value.filter(pa.array(~gone)) for name, value in columns.items()}
    return kept, rows.without(gone), [replace(reject, row=None) for reject in rejects]


def _not_utf8(rows: Fields, at: int) -> NDArray[np.bool_]:
    raw = rows.raw(at)
    try:
        raw.cast(pa.string())
    except pa.ArrowInvalid:
        return np.array([value is not None and not _is_utf8(value) for value in raw.to_pylist()], np.bool_)
    return np.zeros(len(rows), np.bool_)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _parsed(values: list[str | None], kind: str) -> tuple[pa.Array, list[int]]:
    """Times of texts or numbers, and the rows of those that are none."""
    found: list[int | None] = []
    bad = []
    for row, value in enumerate(values):
        moment = None
        if value not in (None, ""):
            try:
                moment, exact = timestamps.microseconds(value if kind == "text" else _number(value))
                if not exact:
                    bad.append(row)
            except ValueError:
                bad.append(row)
        found.append(moment)
    return pa.array(found, pa.int64()).cast(records.TIMESTAMP), bad


def _number(text: str | None) -> int | float:
    value = float(text or "nan")
    return int(text or 0) if (text or "").lstrip("-").isdecimal() else value


def _restore(verbatim: pa.Array, columns: dict[str, Any]) -> None:
    """Put back what the other columns could not hold, unless they have been changed since."""
    if verbatim.null_count == len(verbatim):
        return
    kept = [(row, _object(text)) for row, text in enumerate(verbatim.to_pylist()) if text is not None]
    for name in {name for _, document in kept for name in document}:
        if name not in columns or columns[name] is None:
            continue
        values = columns[name].to_pylist()
        for row, document in kept:
            whole = document.get(name)
            if isinstance(whole, str) and values[row] == (None if name == "metadata" else whole.replace("\0", "")):
                values[row] = whole
        columns[name] = pa.array(values, pa.string())


def _object(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
