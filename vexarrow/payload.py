"""Records in the flat key-value metadata that stores have beside a vector, and back, with nothing lost.

Members of a record's metadata are keys of their own, so that the store can filter by them; text, namespace, model and
created_at have keys, too, as the original tool writes them. What a store does not hold exactly as it is (nested
values, nulls, integers that it would round) and what has no key (extra, score, ...) is one JSON text under `__vex__`:

    metadata       members that the store does not hold, or whose key is taken; {} for metadata without members
    metadata_text  the whole metadata verbatim, where JSON readers do not agree on it (a key twice, huge numbers)
    floats         keys of whole numbers that are floats, where a store makes no difference (all others are integers)
    empty          names of fields that are "" (other tools write "" for null)
    extra, score, source_store, modality, vex_version

Collections of other tools have no `__vex__`: there the text is found under the keys of `TEXT_KEYS`, nested metadata of
LangChain is taken out of its key, and everything else is metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from vexarrow import records, timestamps
from vexarrow.fields import FIELD_OPTIONS, Found
from vexarrow.hidden import HIDDEN, KINDS, Kinds, said
from vexarrow.ids import ORIGINAL_ID
from vexarrow.jsontext import Malformed, canonical

__all__ = [
    "FIELDS",
    "FIELD_OPTIONS",
    "HIDDEN",
    "TEXT_KEYS",
    "Found",
    "Payload",
    "Shape",
    "is_id",
    "is_json",
    "original_ids",
    "pack",
    "unpack",
]

FIELDS = {"text": "text", "namespace": "namespace", "model": "model", "created_at": "created_at"}
# Where other tools keep the text: LangChain, Haystack, LlamaIndex and many scripts.
TEXT_KEYS = ("text", "page_content", "document", "content", "chunk_text")
_NODE = "_node_content"
ANYWHERE = Found()
_TEXTS = ("text", "namespace", "model")
_INSIDE = frozenset({"metadata", "metadata_text", "floats", "empty"})
_INTEGERS = 2.0**63  # from here on JSON readers do not take whole numbers for integers alike
_HIDDEN_TEXTS = {"source_store": None, "modality": "text", "vex_version": records.VMIG_VERSION}

Payload = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """How a store holds key-value metadata.

    `holds`: whether a value, as orjson reads it, comes back exactly as it was. `plain`: classes all of whose values do,
    which are not asked about. `names`: the keys of text, namespace,
    model and created_at; a field that the store keeps elsewhere is left out. `whole_floats`: all numbers are floats.
    `reserved`: further keys that members of the metadata may not have. `kinds`: what there may be under `__vex__`.
    """

    holds: Callable[[Any], bool]
    names: Mapping[str, str] = field(default_factory=lambda: dict(FIELDS))
    whole_floats: bool = False
    reserved: frozenset[str] = frozenset()
    plain: frozenset[type] = frozenset()
    kinds: Kinds = field(default_factory=lambda: KINDS)


def is_json(value: Any) -> bool:
    """Holds any JSON value."""
    return True


# -- writing --------------------------------------------------------------------------------------------


def pack(batch: pa.RecordBatch, shape: Shape) -> list[Payload]:
    """The payload of every record: all of it but id and vectors, which the store has places for."""
    payloads: list[Payload] = [{} for _ in range(batch.num_rows)]
    hidden: list[Payload] = [{} for _ in payloads]
    taken = {HIDDEN, ORIGINAL_ID, *shape.names.values(), *shape.reserved}
    for row, text in enumerate(_texts(batch, "metadata")):
        if text is not None:
            _members(text, shape, taken, payloads[row], hidden[row])
    for name, key in shape.names.items():
        _put_field(name, key, _texts(batch, name), payloads, hidden)
    for name in (*_HIDDEN_TEXTS, "extra", "score"):
        _hide(name, _texts(batch, name), hidden)
    texts = batch.column("text").is_valid().to_pylist()
    for payload, hid, there in zip(payloads, hidden, texts, strict=True):
        if hid or _looks_foreign(payload, text=there):
            payload[HIDDEN] = orjson.dumps(hid).decode()
    return payloads


def _texts(batch: pa.RecordBatch, name: str) -> list[Any]:
    """The values of a column as JSON has them; none where all are null."""
    column = batch.column(name)
    if column.null_count == len(column):
        return []
    return timestamps.texts(column) if name == "created_at" else records.storage(column).to_pylist()


def _put_field(
    name: str, key: str, values: Sequence[Any], payloads: Sequence[Payload], hidden: Sequence[Payload]
) -> None:
    """A column that has a key of its own."""
    for row, value in enumerate(values):
        if value is not None:
            payloads[row][key] = value
            if value == "":
                hidden[row].setdefault("empty", []).append(name)


def _hide(name: str, values: Sequence[Any], hidden: Sequence[Payload]) -> None:
    """A column that has no key; what is usual is not said."""
    usual = (None, _HIDDEN_TEXTS.get(name))
    if any(value not in usual for value in set(values)):
        for row, value in enumerate(values):
            if value not in usual:
                hidden[row][name] = value


def usual(batch: pa.RecordBatch) -> list[tuple[tuple[str, str], ...]] | None:
    """What is hidden of each record but for metadata, text, extra and score: names and values; None when nothing is of
    any."""
    hidden: list[Payload] = [{} for _ in range(batch.num_rows)]
    for name in _HIDDEN_TEXTS:
        _hide(name, _texts(batch, name), hidden)
    return [tuple(one.items()) for one in hidden] if any(hidden) else None


def _looks_foreign(payload: Payload, *, text: bool) -> bool:
    """Whether members of our metadata would be taken for the text or the metadata of another tool. `text`: whether the
    record has one."""
    if "page_content" in payload or _NODE in payload:
        return True
    return not text and any(key in payload for key in TEXT_KEYS)


def _members(text: str, shape: Shape, taken: set[str], payload: Payload, hidden: dict[str, Any]) -> None:
    value, exact = read_json(text)
    if not exact:
        hidden["metadata_text"] = text
    others, floats = {}, []
    plain, whole = shape.plain, shape.whole_floats
    for key, member in value.items():
        kind = member.__class__
        if key in taken or not (kind in plain or shape.holds(member)):
            others[key] = member
            continue
        payload[key] = member
        if whole and kind is float and member.is_integer():
            floats.append(key)
    if exact and (others or not value):
        hidden["metadata"] = others
    if exact and floats:
        hidden["floats"] = floats


def read_json(text: str) -> tuple[dict[str, Any], bool]:
    """A JSON object as Python has it, and whether that is all that the text says."""
    try:
        value = orjson.loads(text)
        written = orjson.dumps([value])[1:-1]  # with room for what is around it when it is hidden: orjson has a limit
        exact = written == text.encode() or canonical(written) == canonical(text)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, Malformed):
        return {}, False
    return (value, exact) if isinstance(value, dict) else ({}, False)


# -- reading --------------------------------------------------------------------------------------------


def unpack(payloads: Sequence[Mapping[str, Any] | None], shape: Shape, found: Found = ANYWHERE) -> dict[str, list[Any]]:
    """The columns of records.build from payloads, but without `id` (see `original_ids`); `created_at` is in
    microseconds, and JSON columns are texts."""
    copies = [dict(payload or {}) for payload in payloads]
    hidden = [_hidden(payload, shape) for payload in copies]
    ours = [payload for payload, hid in zip(copies, hidden, strict=True) if hid is not None]
    moments = _moments(ours, shape.names.get("created_at"))
    rows = [_unpacked(payload, hid, shape, found) for payload, hid in zip(copies, hidden, strict=True)]
    if moments is not None:
        mine = [row for row, hid in zip(rows, hidden, strict=True) if hid is not None]
        for row, moment in zip(mine, moments, strict=True):
            row.setdefault("created_at", moment)
    names = (*_TEXTS, "metadata", "created_at", "extra", "score", *_HIDDEN_TEXTS)
    return {name: [row.get(name) for row in rows] for name in names}


def _moments(payloads: Sequence[Payload], key: str | None) -> list[int | None] | None:
    """Take `created_at` out of payloads of ours, all at once where they are alike; None where each has to be looked
    at."""
    if key is None:
        return None
    values = [payload.get(key) or None for payload in payloads]
    try:
        found: list[int | None] = timestamps.array(values).cast(pa.int64()).to_pylist()
    except (ValueError, TypeError):
        return None
    for payload, value in zip(payloads, values, strict=True):
        if value is not None:
            del payload[key]
    return found


def is_id(value: Any) -> bool:
    """Whether a value can have been an id: a text or a number. Anything else under the key of ids is metadata."""
    return value.__class__ in (str, int, float)


def original_ids(
    payloads: Sequence[Mapping[str, Any] | None],
    ids: Sequence[str],
    found: Found = ANYWHERE,
) -> list[str]:
    """The ids as they were before the store took UUIDs for them."""
    key = found.id or ORIGINAL_ID
    return [
        str(kept) if is_id(kept := (p or {}).get(key)) else identity for p, identity in zip(payloads, ids, strict=True)
    ]


def _unpacked(payload: Payload, hidden: Payload | None, shape: Shape, found: Found) -> dict[str, Any]:
    if is_id(payload.get(ORIGINAL_ID)):
        del payload[ORIGINAL_ID]
    row: dict[str, Any] = {"modality": "text", "vex_version": None}
    if hidden is None:
        _foreign(payload, row, found)
    hidden = hidden or {}
    _fields(payload, row, shape, hidden.get("empty", ()))
    if shape.whole_floats:
        floats = set(hidden.get("floats", ()))
        for key, value in payload.items():
            if value.__class__ is float and abs(value) < _INTEGERS and value.is_integer() and key not in floats:
                payload[key] = int(value)
    if "metadata_text" in hidden:
        row["metadata"] = hidden["metadata_text"]
    elif payload or "metadata" in hidden:
        row["metadata"] = orjson.dumps({**payload, **hidden.get("metadata", {})}).decode()
    if not hidden.keys() <= _INSIDE:
        row |= {name: hidden[name] for name in ("extra", "score", *_HIDDEN_TEXTS) if hidden.get(name) is not None}
    return row


def _hidden(payload: Payload, shape: Shape) -> dict[str, Any] | None:
    """What `__vex__` says, taken out; None when it is not ours."""
    found = said(payload.get(HIDDEN), shape.kinds)
    if found is not None:
        del payload[HIDDEN]
    return found


def _fields(payload: Payload, row: dict[str, Any], shape: Shape, empty: Sequence[str]) -> None:
    """Take the fields with keys of their own out of a payload. A value of another type stays in the metadata."""
    for name, key in shape.names.items():
        value = payload.get(key)
        if name == "created_at":
            if value is not None and _moment(value, row):
                del payload[key]
        elif value is None or isinstance(value, str):
            payload.pop(key, None)
            if row.get(name) is None and (value or name in empty):
                row[name] = value
            elif value and row.get(name) != value:
                payload[key] = value  # the options chose another key


def _moment(value: Any, row: dict[str, Any]) -> bool:
    """Whether a `created_at` is understood; "" is null in other tools."""
    if value == "":
        return True
    try:
        moment, exact = timestamps.microseconds(value)
    except ValueError:
        return False
    if exact:
        row["created_at"] = moment
    return exact


def _foreign(payload: Payload, row: dict[str, Any], found: Found) -> None:
    """Find text, namespace and metadata where other tools have them."""
    nested = found.metadata or ("metadata" if "page_content" in payload else None)
    inside = payload.get(nested) if nested else None
    if nested and isinstance(inside, dict) and not (set(inside) & (set(payload) - {nested})):
        del payload[nested]
        payload.update(inside)
    if found.namespace and isinstance(payload.get(found.namespace), str):
        row["namespace"] = payload.pop(found.namespace)
    keys = (found.text,) if found.text else TEXT_KEYS
    key = next((key for key in keys if isinstance(payload.get(key), str)), None)
    if key is not None:
        row["text"] = payload.pop(key) or None
    elif isinstance(payload.get(_NODE), str):
        row["text"] = _node_text(payload[_NODE])


def _node_text(content: str) -> str | None:
    """The text in a node of LlamaIndex, which stays in the metadata as it is."""
    try:
        node = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    inside = node.get("text_resource") if isinstance(node, dict) else None
    text = inside.get("text") if isinstance(inside, dict) else node.get("text") if isinstance(node, dict) else None
    return text if isinstance(text, str) and text else None
