"""Objects of Weaviate as records: our own, those of npm vex, and those of any class.

Our properties, and npm vex's, are found by their names; `metadata` is the metadata where it is a JSON object. In other
classes the text is found under the keys that other tools use, and every other property is a member of the metadata:
dates, UUIDs and blobs (base64) as texts, geo coordinates, phone numbers and objects as objects, cross-references as
lists of beacons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from vexarrow import records, timestamps
from vexarrow.hidden import KINDS, Kinds, is_json_text, is_moment, is_name, said
from vexarrow.ids import ORIGINAL_ID
from vexarrow.payload import HIDDEN, Found, Shape, is_json, original_ids, unpack

from ._weaviate_schema import OURS, SOURCE_STORE, STORE, Layout
from ._weaviate_values import Row, properties_of
from ._weaviate_vectors import Vectors

_SHAPE = Shape(holds=is_json, kinds={})  # `__vex__` is read here, before
_COLUMNS = ("text", "model", "namespace", "metadata", "created_at", SOURCE_STORE)
# What is kept in `__vex__`, and what it is where that says nothing.
_HIDDEN_VALUES: Mapping[str, Any] = {"extra": None, "score": None, "modality": "text", "vex_version": None}
# What `__vex__` may say: a field that has no property is there, as text.
_KINDS: Kinds = {
    **{name: KINDS[name] for name in ("empty", "extra", "source_store", "modality", "vex_version")},
    **dict.fromkeys(("text", "model", "namespace"), is_name),
    "metadata": is_json_text,
    "created_at": is_moment,
    "score": lambda value: KINDS["score"](value) or value in ("nan", "inf", "-inf"),
}
_NOTHING = Found()
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
        vectors = Vectors(results, self.main, self.layout, self.dims)
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
        if not self.layout.holds(SOURCE_STORE):
            rows[SOURCE_STORE] = [STORE] * len(objects)
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
        found = [self._row(properties_of(one.properties), one.metadata.id, tenant) for one in results]
        rows: dict[str, Any] = {name: [row.get(name) for row in found] for name in ("id", *_COLUMNS, *_HIDDEN_VALUES)}
        rows["created_at"] = pa.array(rows["created_at"], pa.int64()).cast(records.TIMESTAMP)
        return rows

    def _row(self, values: Row, identity: str, tenant: str) -> Row:
        """One record of any class."""
        hidden = _hidden(values)
        payload = {name: value for name, value in values.items() if value is not None}
        kept = original_ids([payload], [identity], self.found)[0]
        source, metadata = payload.get(SOURCE_STORE), payload.get("metadata")
        if isinstance(source, str):
            del payload[SOURCE_STORE]
        if metadata == "" or _is_object(metadata):
            del payload["metadata"]
        self._open(payload)
        row: Row = {name: column[0] for name, column in unpack([payload], _SHAPE, self.found).items()}
        row |= {"id": kept, "namespace": row["namespace"] or tenant or None}
        if isinstance(source, str):
            row[SOURCE_STORE] = source or None
        elif not self.layout.holds(SOURCE_STORE):
            row[SOURCE_STORE] = row[SOURCE_STORE] or STORE
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
            rows[name][at] = float(hidden[name]) if name == "score" and hidden[name] is not None else hidden[name]


def _hidden(values: Row) -> Mapping[str, Any] | None:
    """What `__vex__` says, taken out; None when it is not ours."""
    found = said(values.get(HIDDEN), _KINDS)
    if found is not None:
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
