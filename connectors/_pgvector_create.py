"""Tables of ours: how they are made, extended and upserted into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vexarrow.errors import SchemaError, Unsupported, VexError
from vexarrow.protocols import Description

from ._pgvector_index import checked_metric
from ._pgvector_table import VECTOR, VERBATIM, Column, Table, column_of, extension
from ._pgvector_wire import Session, quoted

if TYPE_CHECKING:
    from vexarrow.location import Location

    from ._pgvector_address import Address

MOST_DIMENSIONS = 16_000
_ID_TYPES = {"int": "bigint", "uuid": "uuid", "string": 'text COLLATE "C"'}
# What is in a table of ours, by the fields of a record (see `column_of`).
TYPES = {
    "text": "text",
    "vector": "",
    "namespace": "text",
    "model": "text",
    "metadata": "jsonb",
    "created_at": "timestamptz",
    "score": "double precision",
    "source_store": "text",
    "modality": "text",
    "vex_version": "text",
    "extra": "json",
    VERBATIM: "text",
}
# So that two runs that find no table do not both create one; a number of our own.
_LOCK = "SELECT pg_advisory_xact_lock(7811890)"


def create(
    session: Session, address: Address, name: str, plan: Description, location: Location, *, indexed: bool
) -> None:
    """Create a table for a plan, and pgvector in the database if it is not there yet. `indexed`: note that an index is
    to be built. Raises SchemaError for a dimension or metric that pgvector does not have."""
    metric = checked_metric(plan.metric, address.place)
    if plan.dim is not None and plan.dim > MOST_DIMENSIONS:
        most = f"pgvector holds {MOST_DIMENSIONS:,} dimensions"
        raise SchemaError(f"{address.place}: {most}, the vectors have {plan.dim:,}")
    if extension(session)[0] is None:
        _install(session, address.place)
    table = quoted(name) if address.schema is None else f"{quoted(address.schema)}.{quoted(name)}"
    vector = location.option("vector-column") or VECTOR
    kind = f"{quoted(extension(session)[1])}.vector" + (f"({plan.dim})" if plan.dim else "")
    note = session.literal(f"vex: metric={metric}" + ("; index pending" if indexed else ""))
    made = _declaration(table, vector, plan.id_type, kind)
    session.run(f"{_LOCK}; {made}; COMMENT ON COLUMN {table}.{quoted(vector)} IS {note}")


def _install(session: Session, place: str) -> None:
    try:
        session.run(f"{_LOCK}; CREATE EXTENSION IF NOT EXISTS vector")
    except VexError as error:
        what = f"{place}: pgvector is not installed in the database, and installing it failed"
        raise SchemaError(f"{what}; an administrator runs CREATE EXTENSION vector: {error}") from error


def _declaration(table: str, vector: str, id_type: str, vector_type: str) -> str:
    """CREATE TABLE for ids of a type and vectors in a column of some name."""
    columns = [f"id {_ID_TYPES[id_type]} PRIMARY KEY"]
    for name, kind in TYPES.items():
        columns.append(f"{quoted(vector)} {vector_type}" if name == "vector" else f"{column_of(name)} {kind}")
    return f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)})"


def upsert(table: Table, identity: Column, names: Sequence[str], rows: str) -> str:
    """INSERT of the rows of a SELECT, replacing as a whole what has the same id: columns that are not among the names
    get their default, but the primary key, by which other tables know a row, and what only the server numbers stay.

    A row that is there bit for bit is left alone: to write it again would put its vector into the index again, which
    makes a second run many times slower than the first, whose index was made at the end."""
    fixed = {identity.name, *(column.name for column in table.columns if column.numbered)}
    updates = [f"{quoted(name)} = EXCLUDED.{quoted(name)}" for name in names if name not in fixed]
    kept = {*names, *fixed, *table.primary}
    others = [column for column in table.columns if column.name not in kept and not column.generated]
    updates += [f"{column.sql} = DEFAULT" for column in others]
    columns = ", ".join(map(quoted, names))
    conflict = f"ON CONFLICT ({identity.sql}) DO UPDATE SET {', '.join(updates)}"
    changed = [quoted(name) for name in names if name not in fixed]
    if changed and not others:
        # *<> compares the bytes: for = 0.0 is -0.0, 1 is 1.0 in jsonb, and json is nothing.
        before, after = (", ".join(f"{side}.{name}" for name in changed) for side in ("vex_old", "EXCLUDED"))
        conflict += f" WHERE (ROW({before}))::record OPERATOR(pg_catalog.*<>) (ROW({after}))::record"
    return f"INSERT INTO {table.sql} AS vex_old ({columns}) OVERRIDING SYSTEM VALUE {rows} {conflict}"


def check_own(table: Table, place: str) -> None:
    """Raise SchemaError when a table of ours has lost a column."""
    fields = (column_of(name) for name in ("id", *TYPES) if name != "vector")
    lost = [name for name in fields if table.column(name) is None]
    if lost:
        raise SchemaError(f"{place}: the table is one of vex without the columns {', '.join(lost)}")


def column_for(name: str, dim: int | None, table: Table, types: str, session: Session, place: str) -> str:
    """The declaration of a column for a further vector. Raises Unsupported when the table cannot have one."""
    kind, _, column = name.partition(":")
    if table.column(column) is not None or not column:
        raise Unsupported(f"{place}: {name} needs a column {column!r}, which the table has for something else")
    if kind == "sparse":
        if session.value("SELECT to_regtype($1)::text", f"{types}.sparsevec") is None:
            raise Unsupported(
                f"{place}: {name} needs sparsevec, which pgvector has since 0.7; --drop-vectors leaves it out"
            )
        return f"{quoted(column)} {types}.sparsevec" + (f"({dim})" if dim else "")
    if kind == "multi":
        return f"{quoted(column)} {types}.vector" + (f"({dim})[]" if dim else "[]")
    return f"{quoted(column)} {types}.vector" + (f"({dim})" if dim else "")
