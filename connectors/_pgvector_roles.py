"""What the columns of a table are to a record, found by names and types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vexarrow.errors import SchemaError
from vexarrow.metrics import metric
from vexarrow.payload import TEXT_KEYS

from ._pgvector_table import DENSE, TEXT, VERBATIM, Column, Table

if TYPE_CHECKING:
    from vexarrow.location import Location

INTEGERS = ("int2", "int4", "int8")
_MOMENTS = ("timestamptz", "timestamp", "date", "int2", "int4", "int8", "float8", "numeric")
# Ours and npm vex, LlamaIndex, LangChain's older and its newer tables.
_METADATA = ("metadata", "metadata_", "cmetadata", "langchain_metadata")


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are to a record; `others` are members of its metadata."""

    id: Column
    id_type: str
    keys: tuple[Column, ...]
    text: Column | None = None
    vector: Column | None = None
    namespace: Column | None = None
    model: Column | None = None
    created_at: Column | None = None
    metadata: Column | None = None
    own: dict[str, Column] = field(default_factory=dict)
    further: dict[str, Column] = field(default_factory=dict)
    others: tuple[Column, ...] = ()

    @property
    def id_is_unique(self) -> bool:
        """Whether records are paged by their id."""
        return self.keys == (self.id,)


def roles(table: Table, location: Location, place: str) -> Roles:
    """Find out what the columns of a table are. Raises SchemaError when none is the id or an option names none."""
    given = {name: _given(table, location, name, place) for name in ("id", "text", "namespace", "metadata", "model")}
    identity = given["id"] or _identity(table, place)
    vectors = _vectors(table, location, place)
    found: dict[str, Column | None] = {
        "text": given["text"] or _first(table, TEXT_KEYS if not table.own else (TEXT,), identity),
        "namespace": given["namespace"] or _first(table, ("namespace",), identity),
        "model": given["model"] or _first(table, ("model",), identity),
        "metadata": given["metadata"] or _json(table),
        "created_at": _moment(table),
    }
    own = {name: column for name in ("score", "source_store", "modality", "vex_version", "extra", VERBATIM)
           if table.own and (column := table.column(name)) is not None}  # fmt: skip
    taken = {identity.name, *own, *(column.name for column in found.values() if column is not None)}
    taken |= {column.name for column in vectors.values()}
    first = vectors.pop("", None)
    return Roles(
        id=identity,
        id_type="int" if identity.type in INTEGERS else "uuid" if identity.type == "uuid" else "string",
        keys=_keys(table, identity),
        vector=first,
        own=own,
        further=vectors,
        others=tuple(column for column in table.columns if column.name not in taken),
        **found,
    )


def _given(table: Table, location: Location, role: str, place: str) -> Column | None:
    name = location.option(f"{role}-field")
    if name is None:
        return None
    column = table.column(name)
    if column is None:
        raise SchemaError(f"{place}: --{role}-field {name}: the columns are {_names(table)}")
    if role == "metadata" and column.type not in ("json", "jsonb"):
        raise SchemaError(f"{place}: --metadata-field {name}: the column is {column.type}, not json or jsonb")
    return column


def _names(table: Table) -> str:
    return ", ".join(column.name for column in table.columns)


def _identity(table: Table, place: str) -> Column:
    single = [names[0] for names in table.unique if len(names) == 1]
    named = [column.name for column in table.columns if column.name in ("id", "uuid", "_id")]
    if len(table.primary) > 1 and not named:
        what = f"the primary key is ({', '.join(table.primary)})"
        raise SchemaError(f"{place}: {what}: --id-field names the column that is the id")
    for name in [*single, *named]:
        column = table.column(name)
        if column is not None and (name in named or name in table.primary or column.required):
            return column
    raise SchemaError(f"{place}: no column can be the id; --id-field names one of {_names(table)}")


def _first(table: Table, names: Sequence[str], identity: Column) -> Column | None:
    columns = (table.column(name) for name in names)
    return next((one for one in columns if one is not None and one.is_text and one != identity), None)


def _json(table: Table) -> Column | None:
    columns = (table.column(name) for name in _METADATA)
    return next((one for one in columns if one is not None and one.type in ("json", "jsonb")), None)


def _moment(table: Table) -> Column | None:
    column = table.column("created_at")
    return column if column is not None and (column.is_text or column.type in _MOMENTS) else None


def _vectors(table: Table, location: Location, place: str) -> dict[str, Column]:
    """The vector columns by the names that they have in a batch, the record's own as ""."""
    wanted = location.option("vector-column")
    kinds = {"vector": "vector", "halfvec": "vector", "sparsevec": "sparse", "_vector": "multi"}
    every = {f"{kinds[one.type]}:{one.name}": one for one in table.columns if one.type in kinds}
    dense = [name for name, one in every.items() if one.type in DENSE]
    if wanted is not None:
        first = next((name for name in dense if every[name].name == wanted), None)
        if first is None:
            known = ", ".join(every[name].name for name in dense) or "there is none"
            raise SchemaError(f"{place}: --vector-column {wanted}: is no column of dense vectors ({known})")
    else:
        first = next(iter(sorted(dense, key=lambda name: every[name].name not in ("embedding", "vector"))), None)
    if not every:
        raise SchemaError(f"{place}: the table has no vector column; its columns are {_names(table)}")
    return {"" if name == first else name: column for name, column in every.items()}


def _keys(table: Table, identity: Column) -> tuple[Column, ...]:
    """Columns by which rows can be put in one order; none means by where they lie. The id, if it is unique."""
    whole = [[column for name in names if (column := table.column(name)) is not None] for names in table.unique]
    sound = [columns for columns in whole if columns and all(column.required for column in columns)]
    if [identity] in sound or table.kind in "vf":
        return (identity,)
    return tuple(sound[0]) if sound else ()


def table_metric(table: Table, column: Column | None) -> str | None:
    """The metric of the vectors: that of their index, else what we noted when we made the table."""
    if column is None:
        return None
    index = next((one for one in table.indexes if one.column == column.name), None)
    if index is not None:
        return metric(index.opclass)
    noted = re.search(r"\bmetric=(\w+)", column.comment or "")
    return noted[1] if noted else None


def index_settings(table: Table, column: Column | None) -> dict[str, object]:
    """What a table for the same vectors needs to know to get the same index."""
    index = next((one for one in table.indexes if column is not None and one.column == column.name), None)
    if index is None:
        return {}
    return {"index": index.method, "opclass": index.opclass, **index.settings}
