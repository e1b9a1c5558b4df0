"""Ids of points: an integer from 0 to 2^64 - 1, or a UUID. Any other id becomes a UUID, and is kept in the payload.

`__id__` holds the original id, a text or an integer; `__id_type__` "int" tells that a text there was an integer which
is too large for a payload.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from vexarrow import records
from vexarrow.ids import ORIGINAL_ID, to_uuid
from vexarrow.payload import is_id

from ._protobuf import sized, varint
from ._qdrant_values import point_number

ID_TYPE = "__id_type__"
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_MARK = '{"id":'


class Ids(NamedTuple):
    """The ids of a batch: on the wire (the body of a PointId), what of each goes into the payload, and the `extra`
    column without what the ids say now."""

    wire: list[bytes]
    kept: list[dict[str, Any]]
    extra: pa.Array


def ids_of(batch: pa.RecordBatch) -> Ids:
    """The ids of a batch in its order."""
    integers = records.id_type(batch.schema) == "int"
    extra = records.storage(batch.column("extra"))
    texts = extra.to_pylist()
    wire, kept, marked = [], [], False
    for row, identity in enumerate(batch.column("id").to_pylist()):
        integer, text = integers, texts[row]
        if text is not None and text.startswith(_MARK):
            bare, mark = records.without_id_mark(text)
            if mark is not None and (mark.startswith('"') or _INTEGER.fullmatch(mark)):
                integer, texts[row], marked = not mark.startswith('"'), bare, True
        point, original = _integer(identity) if integer else _text(identity)
        wire.append(point)
        kept.append(original)
    return Ids(wire, kept, records.json_array(texts) if marked else batch.column("extra"))


def _text(identity: str) -> tuple[bytes, dict[str, Any]]:
    used = to_uuid(identity)
    return uuid_wire(used), {} if used == identity else {ORIGINAL_ID: identity}


def _integer(identity: str) -> tuple[bytes, dict[str, Any]]:
    if not _INTEGER.fullmatch(identity):
        return _text(identity)
    number = int(identity)
    if 0 <= number < 1 << 64:
        return b"\x08" + varint(number), {}
    point = uuid_wire(to_uuid(f"int:{identity}"))  # the text of the same digits is another id
    if -(1 << 63) <= number < 1 << 63:
        return point, {ORIGINAL_ID: number}
    return point, {ORIGINAL_ID: identity, ID_TYPE: "int"}


def uuid_wire(text: str) -> bytes:
    """The body of a PointId that is a UUID."""
    return sized(b"\x12", text.encode())


def point_id(raw: bytes) -> tuple[str, bool]:
    """The id that the server has, as text, and whether it is a number."""
    return (raw[2:].decode(), False) if raw[:1] == b"\x12" else (str(point_number(raw)), True)


def original(raw: bytes, payload: Mapping[str, Any], key: str = ORIGINAL_ID) -> tuple[str, bool]:
    """The id of a record as it was, and whether it was an integer."""
    value = payload.get(key)
    if not is_id(value):
        return point_id(raw)
    return str(value), (value.__class__ is int) or payload.get(ID_TYPE) == "int"


def with_marks(ids: Sequence[str], integer: Sequence[bool], extra: list[Any], kind: str) -> list[Any]:
    """`extra` texts in a stream whose ids are of `kind`: an id that is none of these is in it verbatim."""
    whole = kind == "int"
    return [
        text if is_integer == whole else _with_mark(identity, is_integer, text)
        for identity, is_integer, text in zip(ids, integer, extra, strict=True)
    ]


def _with_mark(identity: str, is_integer: bool, text: str | None) -> str:
    mark = identity if is_integer else json.dumps(identity, ensure_ascii=False)
    return f"{_MARK}{mark}" + ("}" if text is None or text == "{}" else f",{text[1:]}")
