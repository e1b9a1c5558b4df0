"""A table with a vector column, as the catalogue of the server tells it: columns, keys, indexes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vexarrow.errors import NotFound

from ._pgvector_wire import quoted

if TYPE_CHECKING:
    from ._pgvector_address import Address
    from ._pgvector_wire import Session

# The column that only tables of ours have: what the other columns cannot hold, as JSON text.
VERBATIM = "vex_verbatim"
# Called as npm vex calls them, so that it can read tables of ours.
TEXT, VECTOR = "content", "vector"
DENSE = ("vector", "halfvec")
OLDER_TABLE = "vex_memories"  # what npm vex calls its own
_NPM = frozenset(
    {"content", "namespace", "importance", "tags", "entities", "potential", "created_at", "source", "vector"}
)
_SIZE = re.compile(r"\((\d+)\)")


@dataclass(frozen=True)
class Column:
    """A column. `type` is the name of its type, an array's begins with "_"; `cast` is its type in SQL without a length;
    `dim` is what a vector type declares; `numbered`: GENERATED ALWAYS AS IDENTITY, which no UPDATE may set."""

    name: str
    number: int
    type: str
    category: str
    dim: int | None
    required: bool
    default: bool
    generated: bool
    comment: str | None
    cast: str
    numbered: bool = False

    @property
    def sql(self) -> str:
        """Its name, quoted."""
        return quoted(self.name)

    @property
    def is_text(self) -> bool:
        """text, varchar, citext and their like."""
        return self.category == "S"


@dataclass(frozen=True)
class Index:
    """An index of vectors. `settings` are those of CREATE INDEX ... WITH."""

    column: str
    method: str
    opclass: str
    settings: dict[str, object]


@dataclass(frozen=True)
class Table:
    """A table, view or partitioned table. `unique`: the columns of every unique key, the primary key first."""

    oid: str
    schema: str
    name: str
    kind: str
    pages: int
    columns: tuple[Column, ...]
    primary: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    indexes: tuple[Index, ...] = ()
    rows_estimated: float = -1.0

    @property
    def sql(self) -> str:
        """Its name with its schema, quoted."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def own(self) -> bool:
        """Whether it is laid out as we lay tables out."""
        return any(column.name == VERBATIM and column.is_text for column in self.columns)

    @property
    def npm(self) -> bool:
        """Whether npm vex made it, which writes "" for null."""
        return {column.name for column in self.columns} >= _NPM

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((column for column in self.columns if column.name == name), None)


def column_of(field: str) -> str:
    """The column that a field of a record has in a table of ours; that of the vector may have another name."""
    return TEXT if field == "text" else field


# -- the catalogue ----------------------------------------------------------------------------------------------------


def extension(session: Session) -> tuple[str | None, str]:
    """The version of pgvector, None when it is not installed in the database, and the schema of its types."""
    query = (
        "SELECT e.extversion, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'vector'"
    )
    rows = session.rows(query)
    return (rows[0][0], rows[0][1] or "public") if rows else (None, "public")


def found(session: Session, address: Address, names: Sequence[str]) -> Table | None:
    """The first table of these names in the schema of an address, or on the search path; None when there is none."""
    for name in names:
        whole = quoted(name) if address.schema is None else f"{quoted(address.schema)}.{quoted(name)}"
        rows = session.rows(
            "SELECT c.oid::text, n.nspname, c.relname, c.relkind::text, c.reltuples::text, "
            "(CASE WHEN c.relkind IN ('r', 'm') THEN pg_relation_size(c.oid) / 8192 WHEN c.relkind = 'p' THEN "
            "(SELECT coalesce(sum(pg_relation_size(relid)), 0)::bigint / 8192 FROM pg_partition_tree(c.oid) "
            "WHERE isleaf) ELSE 0 END)::text "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)",
            whole,
        )
        if rows:
            oid, schema, table, kind, tuples, pages = (value or "" for value in rows[0])
            return _read(session, Table(oid, schema, table, kind, int(pages), (), rows_estimated=float(tuples)))
    return None


def _read(session: Session, table: Table) -> Table:
    columns = tuple(map(_column, session.rows(_COLUMNS, table.oid)))
    numbers = {column.number: column.name for column in columns}
    keys = [
        (row[0] == "t", tuple(numbers[int(at)] for at in (row[1] or "").split()))
        for row in session.rows(_KEYS, table.oid)
    ]
    primary = next((names for first, names in keys if first), ())
    unique = tuple(names for _, names in sorted(keys, key=lambda key: not key[0]))
    indexes = tuple(_indexes(session, table.oid, columns))
    return replace(table, columns=columns, primary=primary, unique=unique, indexes=indexes)


_COLUMNS = """
    SELECT a.attname, a.attnum::text, coalesce(b.typname, t.typname), t.typcategory::text,
        format_type(a.atttypid, a.atttypmod), a.attnotnull::text, a.atthasdef::text, a.attgenerated::text,
        a.attidentity::text, col_description(a.attrelid, a.attnum), a.atttypid::regtype::text
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = nullif(t.typbasetype, 0)
    WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
_KEYS = """
    SELECT CASE WHEN indisprimary THEN 't' ELSE 'f' END, array_to_string(indkey::int2[], ' ') FROM pg_index
    WHERE indrelid = $1::oid AND indisunique AND indisvalid AND indimmediate AND indpred IS NULL AND indexprs IS NULL
        AND indnkeyatts = indnatts
    ORDER BY indexrelid"""
_INDEXES = """
    SELECT i.indkey[0]::text, m.amname, o.opcname, array_to_string(c.reloptions, ','), pg_get_indexdef(i.indexrelid)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
        JOIN pg_opclass o ON o.oid = i.indclass[0]
    WHERE i.indrelid = $1::oid AND i.indisvalid AND o.opcname ~ '^(vector|halfvec|sparsevec|bit)_'
    ORDER BY i.indexrelid"""


def _column(row: tuple[str | None, ...]) -> Column:
    name, number, kind, category, declared, required, default, generated, identity, comment, cast = row
    size = _SIZE.search(declared or "") if (kind or "").lstrip("_") in (*DENSE, "sparsevec") else None
    return Column(
        name=name or "",
        number=int(number or 0),
        type=kind or "",
        category=category or "",
        dim=int(size[1]) if size else None,
        required=required == "true",
        default=default == "true" or bool(identity),
        generated=bool(generated),
        comment=comment,
        cast=cast or "text",
        numbered=identity == "a",
    )


def _indexes(session: Session, oid: str, columns: Sequence[Column]) -> list[Index]:
    made = []
    for number, method, opclass, options, definition in session.rows(_INDEXES, oid):
        column = next((one for one in columns if one.number == int(number or 0)), None)
        if column is None:  # an index of an expression, such as (embedding::halfvec(3072))
            inside = (definition or "").partition(" USING ")[2]
            column = next(
                (one for one in columns if one.type in DENSE and re.search(rf"\(\W*{re.escape(one.name)}\b", inside)),
                None,
            )
        if column is not None:
            pairs = (pair.partition("=") for pair in (options or "").split(",") if pair)
            settings: dict[str, object] = {key: int(value) if value.isdecimal() else value for key, _, value in pairs}
            made.append(Index(column.name, method or "", opclass or "", settings))
    return made


def candidates(session: Session) -> list[tuple[str, str]]:
    """Schema and name of every table with a vector column that may be read."""
    rows = session.rows(
        "SELECT DISTINCT n.nspname, c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid "
        "WHERE t.typname IN ('vector', 'halfvec', 'sparsevec') AND NOT a.attisdropped AND NOT c.relispartition "
        "AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1, 2"
    )
    return [(schema or "", name or "") for schema, name in rows]


def missing(session: Session, address: Address, name: str) -> NotFound:
    """The error for a table that is not there, with those that are."""
    others = [f"{schema}.{table}" for schema, table in candidates(session)[:10]]
    known = f"; tables with vectors are {', '.join(others)}" if others else "; no table of the database has vectors"
    return NotFound(f"{address.place}: there is no table {name}{known}")
