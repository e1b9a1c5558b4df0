"""Pinecone's gRPC messages: records and requests as bytes, answers read without a Python float of any vector.

Field numbers are those of the public protocol file of version 2026-07 (VectorService); the tests have the official
client speak to an emulator that reads and writes messages by the whole of it. Metadata are a google.protobuf.Struct:

Vector   id 1, values 2 (packed floats), metadata 3 (Struct), sparse_values 4 (indices 1, values 2, both packed)
Struct   map<string, Value> 1        ListValue  repeated Value 1
Value    null 1, number 2 (double), string 3, bool 4, struct 5, list 6
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import count, repeat
from operator import itemgetter
from typing import Any

from ._protobuf import classes, sized, varint, varint_at

PACKAGE = "vexarrow.pinecone"
_DOUBLE = struct.Struct("<d")
_pack = _DOUBLE.pack
_SHORT = 64
_KEPT_SIZES = 512
_FIRST = itemgetter(0)
_MESSAGES = {
    "Pagination": "string next 1",
    "Sparse": "*bytes indices 1, *bytes values 2",
    "Struct": "*bytes fields 1",
    "Vector": "*bytes values 2, Struct metadata 3, Sparse sparse 4",
    "Pair": "string key 1, Vector value 2",
    "Fetched": "*Pair vectors 1, Pagination pagination 4",
    "Entry": "string key 1, bytes value 2",
    "List": "*bytes values 1",
    # As other writers may have packed numbers: one by one.
    "Floats": "*float values 2",
    "SparseNumbers": "*uint32 indices 1, *float values 2",
}


@cache
def messages() -> Mapping[str, Any]:
    """The message classes by name. Raises ImportError without protobuf."""
    return classes(PACKAGE, _MESSAGES)


# -- writing --------------------------------------------------------------------------------------------


def vectors_bytes(
    ids: Sequence[str],
    values: memoryview,
    metadata: Sequence[bytes | memoryview],
    sparse: Sequence[bytes | None] | None,
) -> list[bytes]:
    """Each Vector of an UpsertRequest; joined they are the request, but for its namespace. `values`: the bytes of all
    vectors, one after the other; `metadata`: of `struct_bytes`; `sparse`: indices and values as fields."""
    size = len(values) // max(len(ids), 1)
    head = b"\x12" + varint(size)
    fixed = len(head) + size + 2  # and the tags of id and metadata
    found = []
    more = sparse or repeat(None)
    for name, fields, pair, at in zip(map(str.encode, ids), metadata, more, count(0, size)):
        long, wide = varint(len(name)), varint(len(fields))
        end = b"" if pair is None else sized(b"\x22", pair)
        length = varint(fixed + len(long) + len(name) + len(wide) + len(fields) + len(end))
        vector = values[at : at + size]
        found.append(b"".join((b"\x0a", length, b"\x0a", long, name, head, vector, b"\x1a", wide, fields, end)))
    return found


def namespace_bytes(namespace: str) -> bytes:
    """The namespace of an UpsertRequest; the default one is not said."""
    return sized(b"\x12", namespace.encode()) if namespace else b""


def struct_bytes(values: Mapping[str, Any]) -> bytes:
    """A JSON object as a Struct."""
    out: list[bytes] = []
    for key, member in values.items():
        kind = member.__class__
        if kind is str:
            text = member.encode()
            heads, size = _heads(key), len(text)
            head = heads.get(size) or text_head(key, size)
            if size < _KEPT_SIZES:
                heads[size] = head
            out += (head, text)
        elif kind is float or kind is int:
            out += (number_head(key), _pack(member))
        else:
            out.append(sized(b"\x0a", _name(key) + sized(b"\x12", _value(member))))
    return b"".join(out)


@lru_cache(4096)
def _name(key: str) -> bytes:
    return sized(b"\x0a", key.encode())


@lru_cache(512)
def _heads(key: str) -> dict[int, bytes]:
    """What `text_head` has made for a key, by the size of the text."""
    return {}


def text_head(key: str, size: int) -> bytes:
    """What stands before a text of so many bytes in an entry of a key."""
    name, text = _name(key), b"\x1a" + varint(size)
    value = b"\x12" + varint(len(text) + size) + text
    return b"\x0a" + varint(len(name) + len(value) + size) + name + value


@lru_cache(4096)
def number_head(key: str) -> bytes:
    """What stands before the eight bytes of a number in an entry of a key."""
    name = _name(key)
    return b"\x0a" + varint(len(name) + 11) + name + b"\x12\x09\x11"


def boolean_entry(key: str, *, value: bool) -> bytes:
    """The entry of a key with true or false."""
    return sized(b"\x0a", _name(key) + sized(b"\x12", _value(value)))


def _value(value: Any) -> bytes:
    kind = value.__class__
    if kind is str:
        return sized(b"\x1a", value.encode())
    if kind is bool:
        return b"\x20\x01" if value else b"\x20\x00"
    if kind is int or kind is float:
        return b"\x11" + _pack(value)
    if value is None:
        return b"\x08\x00"
    if kind is dict:
        return sized(b"\x2a", struct_bytes(value))
    return sized(b"\x32", b"".join(sized(b"\x0a", _value(member)) for member in value))


# -- reading --------------------------------------------------------------------------------------------


def payload(raw: Iterable[bytes]) -> dict[str, Any]:
    """A JSON object from the entries of a Struct, sorted, for these have no order. All numbers are floats."""
    members = [_known(entry) if len(entry) < _SHORT else _member(entry) for entry in raw]
    members.sort(key=_FIRST)
    return dict(members)


def _member(entry: bytes) -> tuple[str, Any]:
    """Key and value of an entry; mostly the length of its key takes one byte."""
    if entry[:1] != b"\x0a" or not (end := entry[1] + 2) < min(0x80, len(entry) - 2) or entry[end] != 0x12:
        found = messages()["Entry"].FromString(entry)
        return found.key, _read(found.value)
    key, size = entry[2:end].decode(), entry[end + 1]
    if size >= 0x80:
        return key, _read(entry[varint_at(entry, end + 1)[1] :])
    return key, _read(entry[end + 2 :])


# Short members are often the same from record to record. Nobody changes what is inside a value.
_known = lru_cache(8192)(_member)


def _read(body: bytes) -> Any:
    """The JSON value in the body of one Value; a value of no kind is null."""
    if not body or body[0] == 0x08:
        return None
    tag = body[0]
    if tag == 0x1A:
        return body[varint_at(body, 1)[1] :].decode()
    if tag == 0x11:
        return _DOUBLE.unpack_from(body, 1)[0]
    if tag == 0x20:
        return body[1] != 0
    return value_of(tag, body[varint_at(body, 1)[1] :])


def value_of(tag: int, inside: bytes) -> Any:
    """The object or list in a Value. Raises ValueError for other kinds, and DecodeError."""
    if tag == 0x2A:
        return payload(messages()["Struct"].FromString(inside).fields)
    if tag == 0x32:
        return [_read(member) for member in messages()["List"].FromString(inside).values]
    raise ValueError(f"a value of a kind that is not known, {tag >> 3}")


def joined(parts: Sequence[bytes]) -> bytes:
    """A packed list: mostly in one part, but it may come in several."""
    return parts[0] if len(parts) == 1 else b"".join(parts)
