"""Protocol buffers without generated code: messages put together as bytes, and message classes for what is read.

What is sent in masses is joined from bytes, which takes a fraction of the time of filling message objects. What is read
is parsed by protobuf's own parser into classes of our own: a field that is a message or a packed list in the protocol
may be declared as bytes, for the wire is the same, and so no vector becomes Python floats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TYPES = {
    "double": 1,
    "float": 2,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "bool": 8,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3
_TABLE = 1 << 14
_SMALL = [bytes([number]) for number in range(0x80)]
_SMALL += [bytes((number & 0x7F | 0x80, number >> 7)) for number in range(0x80, _TABLE)]


# -- writing --------------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    """A number of at most 64 bits, seven bits a byte, the lowest first."""
    if number < _TABLE:
        return _SMALL[number]
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def sized(tag: bytes, data: bytes | memoryview) -> bytes:
    """A field that has a length, text, bytes or a message: its tag, its length and what it holds."""
    length = len(data)
    return tag + (_SMALL[length] if length < _TABLE else varint(length)) + data


def varints(numbers: NDArray[np.uint32]) -> bytes:
    """Numbers of 32 bits as varints, one after the other."""
    wide = numbers.astype(np.uint64)
    groups = (wide[:, None] >> (7 * np.arange(5, dtype=np.uint64))).astype(np.uint64)
    last = np.maximum((groups > 0).sum(axis=1) - 1, 0)
    place = np.arange(5)
    coded = (groups & np.uint64(0x7F)).astype(np.uint8) | ((place < last[:, None]) << 7).astype(np.uint8)
    raw: bytes = coded[place <= last[:, None]].tobytes()
    return raw


# -- reading --------------------------------------------------------------------------------------------


def varint_at(body: bytes, at: int) -> tuple[int, int]:
    """A number, and where the bytes after it start."""
    number = shift = 0
    while body[at] >= 0x80:
        number |= (body[at] & 0x7F) << shift
        shift += 7
        at += 1
    return number | body[at] << shift, at + 1


def fields(body: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a message, for those that are too few to load protobuf for: integers, and
    bytes for all else. Raises ValueError when it is cut off."""
    at = 0
    while at < len(body):
        try:
            tag, at = varint_at(body, at)
            kind = tag & 7
            if kind == 0:
                value, at = varint_at(body, at)
                yield tag >> 3, value
                continue
            size, at = varint_at(body, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        except (IndexError, KeyError):
            raise ValueError("a message that is cut off") from None
        if at + size > len(body):
            raise ValueError("a message that is cut off")
        yield tag >> 3, body[at : at + size]
        at += size


def from_varints(raw: bytes) -> NDArray[np.uint32]:
    """The inverse of `varints`."""
    data = np.frombuffer(raw, np.uint8)
    if not data.size:
        return np.empty(0, np.uint32)
    ends = np.flatnonzero(data < 0x80)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(data.size) - np.repeat(starts, ends - starts + 1)
    bits = (data & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.add.reduceat(bits, starts).astype(np.uint32)


def classes(package: str, fields: Mapping[str, str]) -> Mapping[str, Any]:
    """Message classes by name. `fields`: those of each message, as "kind name number" with commas between; "*" before
    the kind repeats a field, "?" makes it one of several kinds. Raises ImportError without protobuf."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name=f"vexarrow/{package}.proto", package=package, syntax="proto3")
    for name, said in fields.items():
        message = file.message_type.add(name=name)
        if "?" in said:
            message.oneof_decl.add(name="kind")
        for field in said.split(", "):
            _add(package, message, *field.split())
    pool = descriptor_pool.DescriptorPool()  # of our own: official clients fill the shared one
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"{package}.{name}") for name in fields}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


def _add(package: str, message: Any, kind: str, name: str, number: str) -> None:
    bare = kind.lstrip("*?")
    field = message.field.add(name=name, number=int(number), label=_REPEATED if kind[0] == "*" else _OPTIONAL)
    if bare in _TYPES:
        field.type = _TYPES[bare]
    else:
        field.type, field.type_name = _MESSAGE, f".{package}.{bare}"
    if kind[0] == "?":
        field.oneof_index = 0
