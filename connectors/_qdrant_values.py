"""Payloads on the wire: Qdrant's `Value` messages, made and read byte by byte, which is faster than by message objects.

Value   null 1, double 2, integer 3 (int64), string 4, bool 5, struct 6, list 7
Struct  map<string, Value> 1        ListValue  repeated Value 1
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from ._protobuf import sized, varint, varint_at
from ._qdrant_views import views

_WRAP = (1 << 64) - 1
_DOUBLE = struct.Struct("<d")
# Of the 100 levels of messages that the server reads, an object in an object takes three.
_DEEPEST = 16
_SHORT = 64


def holds(value: Any, deep: int = 0) -> bool:
    """Whether a JSON value comes back from a payload exactly as it was.

    The protocol has signed integers of 64 bits. The server keeps payloads as JSON text and reads numbers of more than
    15 digits, or far from 1, only nearly right.
    """
    kind = value.__class__
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-(1 << 63) <= value < 1 << 63)
    if kind is float:
        text: str = repr(abs(value))
        return len(text) <= 16 and "e" not in text
    if deep == _DEEPEST:
        return False
    return all(holds(member, deep + 1) for member in (value.values() if kind is dict else value))


def entries(values: Mapping[str, Any], tag: bytes) -> bytes:
    """A mapping as entries of a map field with this tag."""
    out: list[bytes] = []
    for key, member in values.items():
        name = _key(key)
        if member.__class__ is str:
            text = member.encode()
            size, inner = len(text), len(text) + len(name) + 4
            if inner < 0x80:  # all lengths take one byte
                out.append(b"%b%c%b\x12%c\x22%c%b" % (tag, inner, name, size + 2, size, text))
                continue
            body = b"\x22" + varint(size) + text
        else:
            body = _value(member)
        length = varint(len(body))
        out += (tag, varint(len(name) + 1 + len(length) + len(body)), name, b"\x12", length, body)
    return b"".join(out)


@lru_cache(4096)
def _key(key: str) -> bytes:
    return sized(b"\x0a", key.encode())


def _value(value: Any) -> bytes:
    kind = value.__class__
    if kind is str:
        return sized(b"\x22", value.encode())
    if kind is bool:
        return b"\x28\x01" if value else b"\x28\x00"
    if kind is int:
        return b"\x18" + varint(value & _WRAP)
    if kind is float:
        return b"\x11" + _DOUBLE.pack(value)
    if value is None:
        return b"\x08\x00"
    if kind is dict:
        return sized(b"\x32", entries(value, b"\x0a"))
    return sized(b"\x3a", b"".join(sized(b"\x0a", _value(member)) for member in value))


def payload(raw: Iterable[bytes]) -> dict[str, Any]:
    """The payload of a point of `views().Point`, from the entries of its map."""
    return dict([_known(entry) if len(entry) < _SHORT else _member(entry) for entry in raw])


def _member(entry: bytes) -> tuple[str, Any]:
    """Key and value of an entry; mostly the lengths take one byte each."""
    if entry[:1] != b"\x0a" or not (end := entry[1] + 2) < min(0x80, len(entry) - 2):
        found = views().Entry.FromString(entry)
        return found.key, read(found.value)
    key, size = entry[2:end].decode(), entry[end + 1]
    if size >= 0x80:
        return key, read(entry[varint_at(entry, end + 1)[1] :])
    if entry[end + 2] == 0x22:
        return key, entry[end + 4 :].decode()
    return key, read(entry[end + 2 :])


# Short members are often the same from record to record. Nobody changes what is inside a value.
_known = lru_cache(8192)(_member)


def read(body: bytes) -> Any:
    """The JSON value in the body of one `Value`; a value of no kind is null."""
    if not body or body[0] == 0x08:
        return None
    tag = body[0]
    if tag == 0x11:
        return _DOUBLE.unpack_from(body, 1)[0]
    if tag == 0x28:
        return body[1] != 0
    number, at = varint_at(body, 1)
    if tag == 0x18:
        return number - (1 << 64) if number >> 63 else number
    if tag == 0x22:
        return body[at:].decode()
    if tag == 0x32:
        # The server gives members in another order each time.
        return dict(sorted(payload(views().Struct.FromString(body[at:]).fields).items()))
    if tag == 0x3A:
        return [read(member) for member in views().List.FromString(body[at:]).values]
    return None


def point_number(raw: bytes) -> int:
    """The number in a `PointId` that is one."""
    return varint_at(raw, 1)[0]
