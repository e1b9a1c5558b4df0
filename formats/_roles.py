"""Which column of a foreign table is what: the vector, the id, the text, record fields, metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from vexarrow import records
from vexarrow.errors import SchemaError
from vexarrow.location import Location

from . import _vectors

VECTOR_NAMES = ("vector", "embedding", "embeddings", "values", "emb")
ID_NAMES = ("id", "_id", "key", "uuid", "guid", "pk", "point_id", "doc_id", "document_id", "chunk_id")
TEXT_NAMES = ("text", "document", "content", "chunk", "page_content", "chunk_text", "passage", "body")
PLAIN_FIELDS = ("model", "namespace", "source_store", "modality", "vex_version")
COLUMNS_KEY = b"vex.metadata_columns"


@dataclass(frozen=True)
class Member:
    """A column that becomes a member of the metadata: its key there, and whether it holds JSON text already."""

    column: str
    key: str
    json: bool = False


@dataclass(frozen=True)
class Roles:
    """What the columns of one schema are. `fields` maps record fields to columns, `vectors` the further vector columns
    to their names in a record. `own` is True for what vexarrow wrote; `spread` when it spread the metadata."""

    id: str
    vector: str
    fields: Mapping[str, str] = field(default_factory=dict)
    vectors: Mapping[str, str] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    id_type: str = "string"
    own: bool = False
    spread: bool = False

    @property
    def heavy(self) -> list[str]:
        """The columns to be read last, and only for records that are wanted."""
        return [self.vector, *self.vectors]

    @property
    def light(self) -> list[str]:
        """All other columns."""
        return [self.id, *self.fields.values(), *(member.column for member in self.members)]


def find(schema: pa.Schema, where: Location) -> Roles:
    """Decide on every column. Raises SchemaError, which names the columns and the option that settles it."""
    if len(set(schema.names)) < len(schema.names):
        raise SchemaError(f"{where}: several columns have the same name: {', '.join(schema.names)}")
    own = records.ID_TYPE_KEY in (schema.metadata or {})
    vector = _vector(schema, where)
    key = _id(schema, where, taken=vector)
    text = _text(schema, where)
    fields = {"text": text} if text else {}
    fields |= {name: name for name in records.BASE_NAMES if _fits(schema, name)}
    if text and text != fields["text"]:
        fields["text"] = text
    if schema.get_field_index("dims") >= 0 and pa.types.is_integer(schema.field("dims").type):
        fields["dims"] = "dims"
    used = {key, vector, *fields.values()}
    fields = {name: column for name, column in fields.items() if column not in (key, vector)}
    vectors = {f.name: _record_name(f.name) for f in schema if f.name not in used and _is_further(f)}
    spread = json.loads((schema.metadata or {}).get(COLUMNS_KEY, b"{}"))
    rest = [f for f in schema if f.name not in used and f.name not in vectors]
    members = tuple(_member(f, spread.get(f.name)) for f in rest)
    return Roles(key, vector, fields, vectors, members, _id_type(schema, key), own, bool(spread))


def _member(column: pa.Field, known: Mapping[str, str] | None) -> Member:
    if known is None:
        return Member(column.name, column.name, column.type == records.JSON)
    return Member(column.name, known["key"], known["kind"] == "json")


def _vector(schema: pa.Schema, where: Location) -> str:
    asked = where.option("vector-column")
    if asked is not None:
        if _vectors.is_readable(_field(schema, asked, "--vector-column", where).type):
            return asked
        raise SchemaError(f"{where}: column {asked!r} is {schema.field(asked).type}, not a list of numbers")
    candidates = [f.name for f in schema if _vectors.is_float_list(f.type)]
    plain = [name for name in candidates if not name.startswith(records.EXTRA_VECTORS)]
    preferred = [name for name in VECTOR_NAMES if name in plain]
    if len(plain) == 1 or preferred:
        return preferred[0] if preferred else plain[0]
    if not plain:
        raise SchemaError(
            f"{where}: no column holds vectors (lists of floats); there are {_shown(schema)}; "
            "--vector-column chooses one"
        )
    raise SchemaError(f"{where}: several columns may be the vector: {', '.join(plain)}; --vector-column chooses one")


def _id(schema: pa.Schema, where: Location, taken: str) -> str:
    asked = where.option("id-column")
    if asked is not None:
        kind = _field(schema, asked, "--id-column", where).type
        if is_id(kind):
            return asked
        raise SchemaError(f"{where}: ids of column {asked!r} are {kind}, not text, integers or UUIDs")
    for name in ID_NAMES:
        if name != taken and schema.get_field_index(name) >= 0 and is_id(schema.field(name).type):
            return name
    raise SchemaError(f"{where}: no column holds ids; there are {_shown(schema)}; --id-column chooses one")


def _text(schema: pa.Schema, where: Location) -> str | None:
    asked = where.option("text-column")
    if asked is not None:
        if is_text(_field(schema, asked, "--text-column", where).type):
            return asked
        raise SchemaError(f"{where}: column {asked!r} is {schema.field(asked).type}, not text")
    fitting = (n for n in TEXT_NAMES if schema.get_field_index(n) >= 0 and is_text(schema.field(n).type))
    return next(fitting, None)


def _field(schema: pa.Schema, name: str, option: str, where: Location) -> pa.Field:
    if schema.get_field_index(name) < 0:
        raise SchemaError(f"{where}: {option} {name}: no such column; there are {_shown(schema)}")
    return schema.field(name)


def _shown(schema: pa.Schema) -> str:
    return ", ".join(f"{f.name} ({f.type})" for f in schema) or "none"


def _id_type(schema: pa.Schema, key: str) -> str:
    kind = schema.field(key).type
    if pa.types.is_integer(kind):
        return "int"
    return "uuid" if kind == pa.uuid() else records.id_type(schema)


def _fits(schema: pa.Schema, name: str) -> bool:
    """True when a column has the name of a record field and a type that the field can be read from."""
    if schema.get_field_index(name) < 0 or name == "id":
        return False
    kind = schema.field(name).type
    if name in PLAIN_FIELDS or name == "text":
        return is_text(kind)
    if name == "score":
        return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
    if name == "created_at":
        return bool(is_text(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind) or is_number(kind))
    nested = pa.types.is_struct(kind) or pa.types.is_map(kind)
    return bool(kind == records.JSON or is_text(kind) or (nested and name == "metadata"))


def _is_further(column: pa.Field) -> bool:
    """True for a vector that is carried beside the main one, because its name or its type says so."""
    if column.name.startswith(records.EXTRA_VECTORS):
        return True
    if not _vectors.is_float_list(column.type):
        return False
    named = any(word in column.name.lower() for word in ("vector", "embedding", "emb_", "_emb"))
    return bool(pa.types.is_fixed_size_list(column.type)) or named


def _record_name(name: str) -> str:
    return name if name.startswith(records.EXTRA_VECTORS) else f"vector:{name}"


def is_text(kind: pa.DataType) -> bool:
    """True for every string type, dictionary-encoded ones too."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    """True for integers and floats."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def is_id(kind: pa.DataType) -> bool:
    """True for text, integers and UUIDs."""
    return is_text(kind) or bool(pa.types.is_integer(kind)) or kind == pa.uuid()
