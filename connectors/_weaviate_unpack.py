"""Objects of Weaviate as records: our own, those of npm vex, and those of any class.

Our properties, and npm vex's, are found by their names; `metadata` is the metadata where it is a JSON object. In other
classes the text is found under the keys that other tools use, and every other property is a member of the metadata:
dates, UUIDs and blobs (base64) as texts, geo coordinates, phone numbers and objects as objects, cross-references as
lists of beacons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from vexarrow import records, timestamps
from vexarrow.errors import SchemaError
from vexarrow.ids import ORIGINAL_ID
from vexarrow.payload import HIDDEN, Found, Shape, is_json, original_ids, unpack

from ._weaviate_schema import OURS, SOURCE_STORE, Layout

_SHAPE = Shape(holds=is_json)
_COLUMNS = ("text", "model", "namespace", "metadata", "created_at", SOURCE_STORE)
# What is kept in `__vex__`, and what it is where that says nothing.
_HIDDEN_VALUES: Mapping[str, Any] = {"extra": None, "score": None, "modality": "text", "vex_version": None}
_NOTHING = Found()
BEACON = "weaviate://localhost/"
Row = dict[str, Any]
_INTEGER = re.compile(r"-?(0|[1-9]\d*)")


@dataclass(frozen=True)
class Reader:
    """Makes batches of the objects of one class. `main`: the name of the vector that is `vector`; `dims`: the
    dimensions of named vectors, as far as they are known."""

    layout: Layout
    main: str
    found: Found
    dims: Mapping[str, int]

    @property
    def plain(self) -> bool:
        """Whether all properties are texts of ours, so that objects need no look of their own."""
        known = all(name in OURS and kind == ("text",) for name, kind in self.layout.properties.items())
        return known and self.found == _NOTHING

    @property
    def id_type(self) -> str:
        """What the ids of the records are."""
        return "string" if self.found.id else self.layout.id_type

    def batches(self, results: Sequence[Any], tenant: str) -> list[tuple[int, pa.RecordBatch]]:
        """The objects as batches, one for each dimension that there is among them, the smallest first."""
        rows = self._plain_rows(results, tenant) if self.plain else None
        rows = rows or self._rows(results, tenant)
        if self.id_type == "int":
            rows["extra"] = [_marked(*pair) for pair in zip(rows["id"], rows["extra"], strict=True)]
        vectors = _Vectors(results, self.main, self.layout, self.dims)
        found = []
        for dim, at in vectors.by_dimension():
            columns = {name: _taken(values, at) for name, values in rows.items()}
            batch = records.build(columns, vectors.matrix(dim, at), id_type=self.id_type, more=vectors.further(at))
            found.append((dim, batch))
        return found

    # -- properties ---------------------------------------------------------------------------------------

    def _plain_rows(self, results: Sequence[Any], tenant: str) -> dict[str, Any] | None:
        """Columns of objects that have texts of ours alone; None when one of them needs a look of its own."""
        objects = [
            {entry.key: entry.value.text_value for entry in one.properties.non_ref_props.fields} for one in results
        ]
        rows: dict[str, Any] = {name: [one.get(name) or None for one in objects] for name in _COLUMNS}
        if any(text is not None and not _is_object(text) for text in rows["metadata"]):
            return None
        if tenant:
            rows["namespace"] = [tenant if name is None else name for name in rows["namespace"]]
        rows["id"] = [one.get(ORIGINAL_ID) or result.metadata.id for one, result in zip(objects, results, strict=True)]
        rows |= {name: [value] * len(objects) for name, value in _HIDDEN_VALUES.items()}
        for at, one in enumerate(objects):
            if one.get(HIDDEN):
                hidden = _hidden(one)
                if hidden is None:
                    return None
                _restore(rows, at, hidden, one)
        try:
            return {**rows, "created_at": timestamps.array(rows["created_at"])}
        except ValueError:
            return None

    def _rows(self, results: Sequence[Any], tenant: str) -> dict[str, Any]:
        found = [self._row(_properties(one.properties), one.metadata.id, tenant) for one in results]
        rows: dict[str, Any] = {name: [row.get(name) for row in found] for name in ("id", *_COLUMNS, *_HIDDEN_VALUES)}
        rows["created_at"] = pa.array(rows["created_at"], pa.int64()).cast(records.TIMESTAMP)
        return rows

    def _row(self, values: Row, identity: str, tenant: str) -> Row:
        """One record of any class."""
        hidden = _hidden(values)
        payload = {name: value for name, value in values.items() if value is not None}
        kept = original_ids([payload], [identity], self.found)[0]
        source, metadata = payload.get(SOURCE_STORE), payload.get("metadata")
        for name, known in (
            (SOURCE_STORE, isinstance(source, str)),
            ("metadata", metadata == "" or _is_object(metadata)),
        ):
            if known:
                del payload[name]
        self._open(payload)
        row: Row = {name: column[0] for name, column in unpack([payload], _SHAPE, self.found).items()}
        row |= {"id": kept, "namespace": row["namespace"] or tenant or None}
        if isinstance(source, str):
            row[SOURCE_STORE] = source or None
        if isinstance(metadata, str) and _is_object(metadata):
            row["metadata"] = _joined(metadata, row["metadata"])
        if hidden is None:
            return row
        rows = {name: [value] for name, value in row.items()}
        _restore(rows, 0, hidden, values)
        if isinstance(rows["created_at"][0], str):
            rows["created_at"] = [timestamps.microseconds(rows["created_at"][0])[0]]
        return {name: column[0] for name, column in rows.items()}

    def _open(self, payload: Row) -> None:
        """Metadata that --metadata-field finds may be the text of a JSON object."""
        text = payload.get(self.found.metadata) if self.found.metadata else None
        if isinstance(text, str) and _is_object(text):
            payload[self.found.metadata or ""] = orjson.loads(text)


def _restore(rows: dict[str, list[Any]], at: int, hidden: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Put into row `at` what has no property."""
    for name in hidden.get("empty", ()):
        if name in rows and values.get(name) == "":
            rows[name][at] = ""
    for name in (*_COLUMNS, *_HIDDEN_VALUES):
        if name in hidden:
            rows[name][at] = hidden[name] if name != "score" else float(hidden[name])


def _hidden(values: Row) -> Mapping[str, Any] | None:
    """What `__vex__` says, taken out; None when it is not ours."""
    text = values.get(HIDDEN)
    if not isinstance(text, str):
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict):
        return None
    del values[HIDDEN]
    return found


def _marked(identity: str, extra: str | None) -> str | None:
    """`extra` with the id in its JSON form, where it is none of the integers that the others are."""
    if _INTEGER.fullmatch(identity) or (extra or "").startswith('{"id":'):
        return extra
    return _joined(orjson.dumps({"id": identity}).decode(), extra)


def _is_object(value: Any) -> bool:
    """Whether a value is the text of a JSON object."""
    if not isinstance(value, str) or not value.startswith(("{", " ", "\n", "\t", "\r")):
        return False
    try:
        return isinstance(orjson.loads(value), dict)
    except orjson.JSONDecodeError:
        return _is_odd_object(value)


def _is_odd_object(text: str) -> bool:
    """The same for what orjson does not take: huge numbers, lone surrogates."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _joined(first: str, second: str | None) -> str:
    """The members of two JSON objects as one text, the first verbatim; where both have a key the first is a text."""
    if second is None:
        return first
    one, other = json.loads(first), orjson.loads(second)
    if one.keys() & other.keys():
        return orjson.dumps({"metadata": first, **other}).decode()
    return f"{first.strip()[:-1].rstrip()},{second[1:]}" if one else second


def _taken(values: Any, at: Sequence[int] | None) -> Any:
    if at is None:
        return values
    return values.take(pa.array(at)) if isinstance(values, pa.Array) else [values[row] for row in at]


# -- values -----------------------------------------------------------------------------------------------


def _properties(result: Any) -> Row:
    """The properties of an object, cross-references among them."""
    found = {entry.key: value_of(entry.value) for entry in result.non_ref_props.fields}
    for reference in result.ref_props:
        beacons = [f"{BEACON}{one.target_collection}/{one.metadata.id}" for one in reference.properties]
        if beacons:
            found[reference.prop_name] = [*(found.get(reference.prop_name) or ()), *beacons]
    return found


def value_of(value: Any) -> Any:
    """A typed value as JSON has it; None for null."""
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    reader = _READERS.get(kind)
    inside = getattr(value, kind)
    return inside if reader is None else reader(inside)


def _members(value: Any) -> Row:
    return {entry.key: value_of(entry.value) for entry in value.fields}


def _list(value: Any) -> list[Any]:
    kind = value.WhichOneof("kind")
    if kind is None:
        return []
    inside = getattr(value, kind).values
    if kind == "number_values":
        return _numbers(inside, "<f8")
    if kind == "int_values":
        return _numbers(inside, "<i8")
    return [_members(one) for one in inside] if kind == "object_values" else list(inside)


def _numbers(data: bytes, kind: str) -> list[Any]:
    found: list[Any] = np.frombuffer(data, kind).tolist()
    return found


def _geo(value: Any) -> Row:
    return {"latitude": _short(value.latitude), "longitude": _short(value.longitude)}


def _short(value: float) -> float:
    """A float32 as the shortest decimal that is that float32."""
    return float(str(np.float32(value)))


def _phone(value: Any) -> Row:
    return {
        "input": value.input,
        "defaultCountry": value.default_country,
        "countryCode": value.country_code,
        "national": value.national,
        "internationalFormatted": value.international_formatted,
        "nationalFormatted": value.national_formatted,
        "valid": value.valid,
    }


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "object_value": _members,
    "list_value": _list,
    "geo_value": _geo,
    "phone_value": _phone,
}


# -- vectors ----------------------------------------------------------------------------------------------


class _Vectors:
    """The vectors of some objects, as bytes until they are a matrix."""

    def __init__(self, results: Sequence[Any], main: str, layout: Layout, dims: Mapping[str, int]) -> None:
        self._dims = dims
        metas = [one.metadata for one in results]
        named = [{one.name: one for one in meta.vectors} for meta in metas] if layout.vectors else []
        plain = [meta.vector_bytes for meta in metas] if layout.unnamed else []
        self._main = [_bytes(one, main) for one in named] if main else plain
        self._further: dict[str, list[bytes]] = {}
        if main and any(plain):
            self._further["vector:unnamed"] = plain
        for name, multi in sorted(layout.vectors.items()):
            if name != main:
                column = f"multi:{name}" if multi else f"vector:{name}"
                self._further[column] = [_bytes(one, name) for one in named]

    def by_dimension(self) -> list[tuple[int, list[int] | None]]:
        """Each dimension with its rows, None for all; those without a vector are with the first."""
        lengths = [len(data) // 4 for data in self._main]
        dims = sorted(set(lengths) - {0})
        if len(dims) < 2:
            return [(dims[0] if dims else 0, None)]
        first = {dims[0], 0}
        return [
            (dim, [row for row, length in enumerate(lengths) if length == dim or (dim == dims[0] and length in first)])
            for dim in dims
        ]

    def matrix(self, dim: int, at: Sequence[int] | None) -> pa.FixedSizeListArray:
        """The vectors of these rows."""
        return _matrix([self._main[row] for row in at] if at is not None else self._main, dim)

    def further(self, at: Sequence[int] | None) -> dict[str, pa.Array]:
        """The further vector columns of these rows."""
        found = {}
        for name, every in self._further.items():
            data = every if at is None else [every[row] for row in at]
            dim = _dim(data, multi=name.startswith("multi:")) or self._dims.get(name, 0)
            found[name] = _multi(data, dim) if name.startswith("multi:") else _matrix(data, dim)
        return found


def _bytes(vectors: Mapping[str, Any], name: str) -> bytes:
    found = vectors.get(name)
    data: bytes = b"" if found is None else found.vector_bytes
    return data


def _dim(data: Sequence[bytes], *, multi: bool = False) -> int:
    first = next((one for one in data if one), b"")
    return int.from_bytes(first[:2], "little") if multi else len(first) // 4


def _matrix(data: Sequence[bytes], dim: int) -> pa.FixedSizeListArray:
    """Vectors as a column: all of one length, or empty for null. Raises SchemaError for others."""
    if not dim:
        return records.no_vectors(len(data))
    valid = np.array([bool(one) for one in data])
    filler = bytes(4 * dim)
    if set(map(len, data)) - {0, 4 * dim}:
        raise SchemaError("further vectors of several dimensions have one name")
    flat = np.frombuffer(b"".join([one or filler for one in data]), "<f4")
    return records.from_matrix(flat.reshape(len(data), dim), valid)


def _multi(data: Sequence[bytes], dim: int) -> pa.Array:
    """Multi-vectors: two bytes of dimension, then the vectors one after the other; empty for null."""
    counts = [(len(one) - 2) // (4 * dim) if one and dim else 0 for one in data]
    flat = np.frombuffer(b"".join([one[2:] for one in data]), "<f4").reshape(sum(counts), dim)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    missing = pa.array([not one for one in data])
    return pa.ListArray.from_arrays(offsets, records.from_matrix(flat), mask=missing)
