"""Records into tables of other tools.

Rows are copied as texts (and vectors) into a temporary table, and the server casts them on their way into the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from vexarrow import records, timestamps
from vexarrow.jsontext import Malformed, members
from vexarrow.payload import HIDDEN
from vexarrow.protocols import Reject

from . import _pgvector_codec as codec
from ._pgvector_create import upsert
from ._pgvector_foreign import derived
from ._pgvector_json import inexact
from ._pgvector_layout import UUID, Encode, Prepared
from ._pgvector_roles import INTEGERS, Roles
from ._pgvector_table import Column, Table
from ._pgvector_wire import quoted

if TYPE_CHECKING:
    from ._pgvector_wire import Session

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_BITS = {"int2": 16, "int4": 32, "int8": 64}
_TEXTS = ("text", "namespace", "model")
_PLAIN = {"modality": "text", "vex_version": records.VMIG_VERSION, "source_store": None}
_IN_STEPS = {"date": 86_400_000_000, "timestamp": 1, "timestamptz": 1}
Record = Mapping[str, Any]


class Unfit(Exception):
    """A record that the table has no place for; the message says why."""


@dataclass(frozen=True)
class Into:
    """A column that can be written, and the SQL of what it holds when nothing is said, None for null."""

    column: Column
    default: str | None


def writable(session: Session, table: Table) -> list[Into]:
    """The columns of a table that are not generated."""
    rows = session.rows(
        "SELECT a.attname, CASE WHEN a.attidentity = '' THEN pg_get_expr(d.adbin, d.adrelid) ELSE format("
        "'nextval(%L::regclass)', pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)) END "
        "FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
        "WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped",
        table.oid,
    )
    defaults: dict[str | None, str | None] = {name: default for name, default in rows}  # noqa: C416 - of pairs
    return [Into(column, defaults.get(column.name)) for column in table.columns if not column.generated]


class Foreign:
    """How records go into a table of another tool."""

    def __init__(self, table: Table, roles: Roles, columns: Sequence[Into]) -> None:
        self._table = table
        self._roles = roles
        self._columns = {one.column.name: one for one in columns}
        self._others = [one.column for one in columns if one.column in roles.others]

    # -- SQL --------------------------------------------------------------------------------------------------------

    def staging(self, name: str, names: Sequence[str], types: str) -> tuple[str, str]:
        """The columns of the temporary table, and the statement that moves its rows into place."""
        vectors = {column.name: column for column in self._vectors().values()}
        shape = ", ".join(
            f"{quoted(one)} {_vector_type(vectors[one], types) if one in vectors else 'text'}" for one in names
        )
        values = ", ".join(self._value(one, types, vector=one in vectors) for one in names)
        rows = f"SELECT {values} FROM {name} AS s"
        identity = self._roles.id
        if (identity.name,) in self._table.unique:
            return shape, upsert(self._table, identity, names, rows)
        columns = ", ".join(map(quoted, names))
        ids = f"SELECT {self._value(identity.name, types)} FROM {name} AS s"
        gone = f"DELETE FROM {self._table.sql} WHERE {identity.sql} IN ({ids})"
        return shape, f"{gone}; INSERT INTO {self._table.sql} ({columns}) OVERRIDING SYSTEM VALUE {rows}"

    def _value(self, name: str, types: str, *, vector: bool = False) -> str:
        column, default = self._columns[name].column, self._columns[name].default
        if vector or column.type == "text":
            value = f"s.{column.sql}"
        else:
            value = f"s.{column.sql}::{column.cast}"
        parts = [value]
        if name in self._table.primary and name != self._roles.id.name:
            # A row that is replaced keeps its primary key, by which other tables may know it.
            identity = self._roles.id
            same = f"old.{identity.sql} = {self._value(identity.name, types)}"
            parts.append(f"(SELECT old.{column.sql} FROM {self._table.sql} AS old WHERE {same} LIMIT 1)")
        if column.required and default is not None:
            parts.append(default)
        return f"coalesce({', '.join(parts)})" if len(parts) > 1 else value

    def _vectors(self) -> dict[str, Column]:
        first = {"vector": self._roles.vector} if self._roles.vector is not None else {}
        return {**first, **self._roles.further}

    # -- values -----------------------------------------------------------------------------------------------------

    def prepared(self, batch: pa.RecordBatch, rows: Sequence[int], vector_oid: int) -> tuple[Prepared, list[Reject]]:
        """A batch for the temporary table, and what the table has no place for."""
        names = [*records.BASE_NAMES]
        columns = {name: records.storage(batch.column(name)).to_pylist() for name in names if name != "created_at"}
        columns["created_at"] = timestamps.texts(batch.column("created_at"))
        columns["micros"] = batch.column("created_at").cast(pa.int64()).to_pylist()
        lossy, malformed = inexact(records.storage(batch.column("metadata")))
        values: list[dict[str, str | None]] = []
        kept, rejects = [], []
        for row in range(len(batch)):
            record = {name: column[row] for name, column in columns.items()}
            try:
                if row in malformed:
                    raise Unfit("metadata is not JSON")
                values.append(self._row(record, lossy=row in lossy))
                kept.append(row)
            except Unfit as why:
                rejects.append(Reject("no-place", str(why), row=rows[row]))
        return self._columns_of(batch, values, kept, rows, vector_oid), rejects

    def _columns_of(
        self,
        batch: pa.RecordBatch,
        values: list[dict[str, str | None]],
        kept: list[int],
        rows: Sequence[int],
        vector_oid: int,
    ) -> Prepared:
        chosen = batch.take(pa.array(kept, pa.int64()))
        names = [name for name in self._columns if any(name in row for row in values)]
        arrays = [pa.array([row.get(name) for row in values], pa.string()) for name in names]
        encoders: list[Encode] = [codec.texts] * len(names)
        for name, column in self._vectors().items():
            if name in batch.schema.names:
                names.append(column.name)
                arrays.append(chosen.column(name))
                encoders.append(_encoder(column, vector_oid))
        return Prepared(tuple(names), tuple(arrays), tuple(encoders), tuple(rows[row] for row in kept))

    def _row(self, record: Record, *, lossy: bool) -> dict[str, str | None]:
        """The texts of the columns for one record. Raises Unfit."""
        roles = self._roles
        row: dict[str, str | None] = {roles.id.name: self._id(record["id"])}
        hidden: dict[str, Any] = {}
        for name in _TEXTS:
            self._text(name, getattr(roles, name), record[name], row, hidden)
        self._moment(record, row, hidden)
        for name, plain in _PLAIN.items():
            if record[name] is not None and record[name] != plain:
                hidden[name] = record[name]
        if record["score"] is not None and not isfinite(record["score"]):
            raise Unfit("the score is NaN or infinite")
        hidden |= {name: record[name] for name in ("extra", "score") if record[name] is not None}
        self._metadata(record["metadata"], row, hidden, lossy=lossy)
        if any("\0" in value for value in row.values() if value is not None):
            raise Unfit("PostgreSQL holds no U+0000")
        return row

    def _id(self, value: str) -> str:
        if self._roles.id_type == "int" and not _fits(value, self._roles.id):
            raise Unfit(f"the table's ids are {self._roles.id.type}, not {value[:60]!r}")
        if self._roles.id_type == "uuid" and not UUID.fullmatch(value):
            # The server takes other spellings, and gives this one back.
            raise Unfit(f"the table's ids are UUIDs in small letters, not {value[:60]!r}")
        return value

    def _text(
        self, name: str, column: Column | None, value: str | None, row: dict[str, str | None], hidden: dict[str, Any]
    ) -> None:
        if column is None:
            if value is not None:
                hidden[name] = value
            return
        row[column.name] = "" if value is None and column.required else value
        # npm vex writes "" for null, so that "" has to be said.
        if row[column.name] != value or (self._table.npm and value == ""):
            hidden[name] = value

    def _moment(self, record: Record, row: dict[str, str | None], hidden: dict[str, Any]) -> None:
        column, text, micros = self._roles.created_at, record["created_at"], record["micros"]
        if column is None or micros is None:
            if text is not None:
                hidden["created_at"] = text
            return
        step = _IN_STEPS.get(column.type, 1 if column.is_text or column.type in ("float8", "numeric") else 1_000_000)
        whole = column.is_text or column.type in _IN_STEPS
        row[column.name] = text if whole else str(micros // 1_000_000)
        seconds = abs(micros) < timestamps.MILLISECONDS_FROM * 1_000_000
        if micros % step or (not whole and (micros % 1_000_000 or not seconds)):
            hidden["created_at"] = text

    # -- metadata ---------------------------------------------------------------------------------------------------

    def _metadata(self, text: str | None, row: dict[str, str | None], hidden: dict[str, Any], *, lossy: bool) -> None:
        target = self._roles.metadata
        try:
            every = members(text) if text is not None else []
        except Malformed:  # JSON, but no object
            every, lossy = [], True
        if target is None:
            self._spread(every, row, hidden, lossy=lossy or (text is not None and not every))
            return
        twice = len({key for key, _, _ in every}) != len(every)
        if lossy or twice or any(key == HIDDEN for key, _, _ in every):
            hidden["metadata_text"], every = text, []
        elif text is not None and not every:
            hidden["metadata"] = {}
        self._copied(every, row, hidden)
        body = [f"{written}:{value}" for _, written, value in every]
        if hidden:
            body.append(f"{json.dumps(HIDDEN)}:{json.dumps(orjson.dumps(hidden).decode(), ensure_ascii=False)}")
        row[target.name] = "{" + ",".join(body) + "}" if body else None
        if row[target.name] is None and target.required:
            row[target.name] = "{" + json.dumps(HIDDEN) + ':"{}"}'

    def _copied(self, every: list[tuple[str, str, str]], row: dict[str, str | None], hidden: dict[str, Any]) -> None:
        """Members go into columns of their names as well, where these take them."""
        values = {key: value for key, _, value in every}
        defaults = []
        for column in self._others:
            row[column.name] = _loosely(values[column.name], column) if column.name in values else None
            kept = self._columns[column.name].default is not None or column.name in self._table.primary
            if row[column.name] is None and column.required and kept:
                defaults.append(column.name)
            elif row[column.name] is None and column.required and column.is_text:
                row[column.name] = ""
                defaults.append(column.name)
        if defaults:
            hidden["columns"] = defaults

    def _spread(
        self, every: list[tuple[str, str, str]], row: dict[str, str | None], hidden: dict[str, Any], *, lossy: bool
    ) -> None:
        """Members go into columns of their names, and nowhere else."""
        homeless = [name for name in hidden if name not in ("source_store", "vex_version")]
        if homeless or lossy:
            raise Unfit(f"the table has no column for {', '.join(homeless) or 'such metadata'}")
        columns = {column.name: column for column in self._others}
        for key, _, value in every:
            if key not in columns or key in row:
                raise Unfit(f"the table has no column for {key!r} of the metadata")
            row[key] = _exactly(value, columns[key])


def _encoder(column: Column, vector_oid: int) -> Encode:
    if column.type == "sparsevec":
        return lambda array: codec.sparse(array, column.dim or 1_000_000_000)
    if column.type == "_vector":
        return lambda array: codec.multi(array, vector_oid)
    return lambda array: codec.vectors(array, ">f2" if column.type == "halfvec" else ">f4")


def _vector_type(column: Column, types: str) -> str:
    return f"{types}.vector[]" if column.type == "_vector" else f"{types}.{column.type}"


def _fits(value: str, column: Column) -> bool:
    bits = _BITS.get(column.type, 64)
    return bool(_INTEGER.fullmatch(value)) and value != "-0" and -(2 ** (bits - 1)) <= int(value) < 2 ** (bits - 1)


def _loosely(value: str, column: Column) -> str | None:
    """What a column may show of a member that is kept elsewhere, None when it cannot."""
    if value == "null":
        return None
    if column.is_text:
        shown = derived(orjson.loads(value))
        shown = shown if isinstance(shown, str) else value
        return None if "\0" in shown else shown
    try:
        return _exactly(value, column)
    except Unfit:
        return None


def _exactly(value: str, column: Column) -> str:
    """The text of a column that gives a member back. Raises Unfit."""
    kind = column.type
    if kind in ("json", "jsonb") and value != "null":
        return value
    if kind == "bool" and value in ("true", "false"):
        return value
    if kind in INTEGERS and _fits(value, column):
        return value
    if (
        kind in ("float8", "numeric")
        and _NUMBER.fullmatch(value)
        and not (kind == "float8" and _INTEGER.fullmatch(value) is None and float(value).is_integer())
    ):
        return value
    if value.startswith('"'):
        text: str = orjson.loads(value)
        if column.is_text or (column.category in "DUE" and re.fullmatch(r"[0-9A-Za-z_:.+-]+", text)):
            return text
    raise Unfit(f"the column {column.name} is {kind} and does not hold {value[:60]}")
