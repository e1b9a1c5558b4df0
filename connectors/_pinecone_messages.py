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
from operator import itemgetter
from typing import Any

from ._protobuf import classes, sized, varint, varint_at

PACKAGE = "vexarrow.pinecone"
_DOUBLE = struct.Struct("<d")
_pack = _DOUBLE.pack
_SHORT = 64
_FIRST = itemgetter(0)
_MESSAGES = {
    "Pagination": "string next 1",
    "Item": "string id 1",
    "Listed": "*Item vectors 1, Pagination pagination 2",
    "Space": "string name 1, uint64 count 2",
    "SpacesListed": "*Space namespaces 1, Pagination pagination 2",
    "Sparse": "*bytes indices 1, *bytes values 2",
    "Struct": "*bytes fields 1",
    "Vector": "*bytes values 2, Struct metadata 3, Sparse sparse 4",
    "Pair": "string key 1, Vector value 2",
    "Fetched": "*Pair vectors 1, Pagination pagination 4",
    "Entry": "string key 1, bytes value 2",
    "List": "*bytes values 1",
    "Count": "uint32 count 1",
    "SpaceCount": "string key 1, Count value 2",
    "Stats": "*SpaceCount namespaces 1, uint32 dimension 2, string metric 5, string kind 6",
    # As other writers may have packed numbers: one by one.
    "Floats": "*float values 2",
    "SparseNumbers": "*uint32 indices 1, *float values 2",
}


@cache
def messages() -> Mapping[str, Any]:
    """The message classes by name. Raises ImportError without protobuf."""
    return classes(PACKAGE, _MESSAGES)


# -- writing --------------------------------------------------------------------------------------------


def vector_bytes(identity: str, values: bytes, metadata: bytes, sparse: bytes | None) -> bytes:
    """A Vector in an UpsertRequest; joined they are the request, but for its namespace. `metadata`: of
    `struct_bytes`."""
    head = sized(b"\x0a", identity.encode()) + b"\x12" + varint(len(values))
    inside = [head, values, sized(b"\x1a", metadata)]
    if sparse is not None:
        inside.append(sized(b"\x22", sparse))
    return b"\x0a" + varint(sum(map(len, inside))) + b"".join(inside)


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
            heads = _heads(key)
            if len(text) < len(heads):
                out += (heads[len(text)], text)
                continue
            body = sized(b"\x1a", text)
        elif kind is float or kind is int:
            out += (_number_head(key), _pack(member))
            continue
        else:
            body = _value(member)
        out.append(sized(b"\x0a", _name(key) + sized(b"\x12", body)))
    return b"".join(out)


@lru_cache(4096)
def _name(key: str) -> bytes:
    return sized(b"\x0a", key.encode())


@lru_cache(512)
def _heads(key: str) -> list[bytes]:
    """What stands before a text in an entry of a key, by the length of the text, as long as all lengths take a byte."""
    name = _name(key)
    most = 0x80 - len(name) - 4
    return [b"\x0a%c%b\x12%c\x1a%c" % (size + len(name) + 4, name, size + 2, size) for size in range(most)]


@lru_cache(4096)
def _number_head(key: str) -> bytes:
    """What stands before the eight bytes of a number in an entry of a key."""
    name = _name(key)
    return b"\x0a" + varint(len(name) + 11) + name + b"\x12\x09\x11"


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
    inside = body[varint_at(body, 1)[1] :]
    if tag == 0x2A:
        return payload(messages()["Struct"].FromString(inside).fields)
    if tag == 0x32:
        return [_read(member) for member in messages()["List"].FromString(inside).values]
    raise ValueError(f"a value of a kind that is not known, {tag >> 3}")


def joined(parts: Sequence[bytes]) -> bytes:
    """A packed list: mostly in one part, but it may come in several."""
    return parts[0] if len(parts) == 1 else b"".join(parts)
