"""Records in Pinecone's metadata and back: `vexarrow.payload`, with the namespace where Pinecone has it.

A record's namespace is that of Pinecone; `__vex__` names it where it is not ("" in the default namespace, names that
Pinecone does not take, everything where the location names one namespace). `__vex__` is in every record of ours, so
that one filter finds all of them. In document indexes it is called `vex__` and `__id__` is `id__`: field names there
may not begin with `_`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
import pyarrow as pa

from vexarrow.fields import Found
from vexarrow.hidden import KINDS, Kinds, is_name, is_text, said
from vexarrow.ids import ORIGINAL_ID
from vexarrow.payload import HIDDEN, TEXT_KEYS, Payload, Shape, is_id, pack, unpack

from ._pinecone_names import to_id, to_namespace
from ._pinecone_schema import Index

STORE = "pinecone"
MOST_METADATA = 40_960
_EXACT = 1 << 53
_FIELDS = {"text": "text", "model": "model", "created_at": "created_at"}
_PLAIN = frozenset({str, bool, float})
_MISSING = object()
# What is under `__vex__` here, besides what `vexarrow.payload` keeps.
_KINDS: Kinds = {**KINDS, "namespace": is_name, "sparse": is_text, "empty_sparse": lambda value: value is True}


def holds(value: Any) -> bool:
    """Text, booleans, numbers that a float64 is, and lists of text that are not empty."""
    kind = value.__class__
    if kind is str or kind is bool or kind is float:
        return True
    if kind is int:
        return bool(-_EXACT <= value <= _EXACT)
    return kind is list and bool(value) and all(one.__class__ is str for one in value)


@dataclass(frozen=True)
class Form:
    """How one index holds records. `hidden` and `original`: the keys for what has none and for ids that are encoded;
    `typed`: what the schema says of fields that are no vectors; `barred`: how keys may not begin."""

    shape: Shape
    hidden: str = HIDDEN
    original: str = ORIGINAL_ID
    typed: Mapping[str, str] | None = None
    barred: str = "$"

    @property
    def own(self) -> dict[str, Any]:
        """The filter that finds every record of ours."""
        return {self.hidden: {"$exists": True}}


def form_of(index: Index) -> Form:
    """The form of an index."""
    if not index.documents:
        return Form(Shape(holds, _FIELDS, whole_floats=True, plain=_PLAIN, kinds=_KINDS))
    vectors = {name for name, kind in index.fields.items() if kind.endswith("_vector")}
    typed = {name: kind for name, kind in index.fields.items() if name not in vectors}
    names = {**_FIELDS, "text": _text_field(index)}
    reserved = frozenset(vectors | {"vex__", "id__", "_id"})
    shape = Shape(holds, names, whole_floats=True, reserved=reserved, plain=_PLAIN, kinds=_KINDS)
    return Form(shape, "vex__", "id__", typed, "$_")


def _text_field(index: Index) -> str:
    """The field for the text: one that is searched for text if there is one."""
    known = [name for name in TEXT_KEYS if name in index.texts]
    if known or len(index.texts) == 1:
        return (known or list(index.texts))[0]
    return "text" if "text" not in index.fields else "vex_text"


# -- writing --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Addressed:
    """Where records go: ids and namespaces as Pinecone takes them, and the metadata of each."""

    ids: Sequence[str]
    namespaces: Sequence[str]
    metadata: Sequence[Payload]


class Later(Sequence[Payload]):
    """The metadata of records, made when one is asked for."""

    def __init__(self, rows: int, make: Callable[[], Sequence[Payload]]) -> None:
        self._rows = rows
        self._make = make

    @cached_property
    def _made(self) -> Sequence[Payload]:
        return self._make()

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, row: Any) -> Any:
        return self._made[row]


@dataclass(frozen=True)
class Placed:
    """Ids and namespaces as Pinecone takes them; `encoded` and `renamed`: what they were before, by row, where that is
    not the same."""

    ids: Sequence[str]
    namespaces: Sequence[str]
    encoded: Mapping[int, str]
    renamed: Mapping[int, str | None]


def placed(batch: pa.RecordBatch, fixed: str | None) -> Placed:
    """Where the records of a batch go. `fixed`: the one Pinecone namespace that all go to."""
    originals = batch.column("id").to_pylist()
    spaces = batch.column("namespace").to_pylist()
    used = {space: to_namespace(space) if fixed is None else fixed for space in dict.fromkeys(spaces)}
    kept = {space for space, name in used.items() if (name or None) != space}
    ids = [to_id(one) for one in originals]
    encoded = {row: original for row, original in enumerate(originals) if ids[row] != original}
    renamed = {row: space for row, space in enumerate(spaces) if space in kept} if kept else {}
    return Placed(ids, [used[space] for space in spaces], encoded, renamed)


def addressed(
    batch: pa.RecordBatch, form: Form, fixed: str | None, notes: Sequence[Payload | None] | None
) -> Addressed:
    """The records of a batch. `fixed`: the one Pinecone namespace that all go to. `notes`: more to be kept of each."""
    place = placed(batch, fixed)
    metadata = pack(batch, form.shape)
    allowed: set[str] = set()
    for row, payload in enumerate(metadata):
        note = dict(notes[row] or {}) if notes is not None else {}
        if row in place.renamed:
            note["namespace"] = place.renamed[row]
        if not payload.keys() <= allowed:
            _unbarred(payload, form, note)
            if not form.typed:
                allowed.update(payload)
        hidden = payload.pop(HIDDEN, None)
        payload[form.hidden] = _joined(hidden, note) if note else hidden or "{}"
        if row in place.encoded:
            payload[form.original] = place.encoded[row]
    return Addressed(place.ids, place.namespaces, metadata)


def _joined(hidden: str | None, note: Payload) -> str:
    """A JSON object with more members."""
    if hidden == "{}":
        hidden = None
    if "metadata" in note and hidden is not None:
        before = orjson.loads(hidden)
        note = {**before, **note, "metadata": {**before.get("metadata", {}), **note["metadata"]}}
        hidden = None
    more = orjson.dumps(note).decode()
    return more if hidden is None else f"{hidden[:-1]},{more[1:]}"


def _unbarred(payload: Payload, form: Form, note: Payload) -> None:
    """Take members out whose keys Pinecone refuses, or whose type the schema does."""
    barred = form.barred
    out = [key for key in payload if not key or key[0] in barred]
    if form.typed:
        out += [key for key in payload if key in form.typed and not _fits(payload[key], form.typed[key])]
    out = [key for key in out if key != HIDDEN]
    if out:
        note["metadata"] = {key: payload.pop(key) for key in out}


def _fits(value: Any, kind: str) -> bool:
    return {
        "string": value.__class__ is str,
        "boolean": value.__class__ is bool,
        "float": value.__class__ in (int, float),
        "integer": value.__class__ in (int, float),
        "string_list": value.__class__ is list,
    }.get(kind, False)


# -- reading --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """The columns of records (`vexarrow.records.build`), and the notes that were kept with each."""

    columns: dict[str, list[Any]]
    notes: Sequence[Payload]


def read(ids: Sequence[str], payloads: Sequence[Payload], space: str, form: Form, found: Found) -> Read:
    """The records of one Pinecone namespace."""
    said_of = [_note(payload, form) for payload in payloads]
    key = found.id or form.original
    originals = [_identity(payload.get(key), one) for payload, one in zip(payloads, ids, strict=True)]
    if form.original != ORIGINAL_ID:
        for payload in payloads:
            if is_id(payload.get(form.original)):
                del payload[form.original]
    spaces = [_namespace(payload, note, space, found) for payload, note in zip(payloads, said_of, strict=True)]
    columns = unpack(payloads, form.shape, found)
    columns["id"] = originals
    columns["source_store"] = [
        store or STORE if note is None else store for store, note in zip(columns["source_store"], said_of, strict=True)
    ]
    columns["namespace"] = [
        own if own is not None else given for own, given in zip(columns["namespace"], spaces, strict=True)
    ]
    return Read(columns, [note or {} for note in said_of])


def _identity(value: Any, own: str) -> str:
    """The id that a key holds, else the record's own. All numbers of Pinecone are floats: 5.0 is the id 5."""
    kind = value.__class__
    if kind is str:
        return str(value)
    if kind is float and value.is_integer():
        return str(int(value))
    return str(value) if kind in (int, float) else own


def _note(payload: Payload, form: Form) -> Payload | None:
    """What our own key says; the key becomes the one that `unpack` knows. None when it is not ours."""
    note = said(payload.get(form.hidden), form.shape.kinds)
    if note is not None and form.hidden != HIDDEN:
        payload[HIDDEN] = payload.pop(form.hidden)
    return note


def _namespace(payload: Payload, note: Payload | None, space: str, found: Found) -> str | None:
    if note is not None:
        kept: str | None = note.get("namespace", space or None)
        return kept
    if found.namespace is None and payload.get("namespace", _MISSING) in ("", space):
        del payload["namespace"]  # as the original tool writes null, or what is known
    elif found.namespace is None and not space and isinstance(payload.get("namespace"), str):
        return str(payload.pop("namespace"))
    return space or None
