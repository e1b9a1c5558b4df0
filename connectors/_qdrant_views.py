"""Messages of Qdrant's protocol as we read them: cut short at the bytes, so that no vector becomes Python floats.

A field that is a message or a packed list in the protocol may be declared as bytes by the reader: the wire is the same.
So the C parser of protobuf walks a page of points, and hands out vectors and payload values as the bytes they came in.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import SimpleNamespace
from typing import Any

# name:number:type, "*" for repeated, "{type}" for a map from strings.
_MESSAGES = {
    "Scrolled": ("next:1:bytes", "points:2:*Point"),
    "Point": ("id:1:bytes", "payload:2:*bytes", "vectors:4:bytes"),
    "Vectors": ("one:1:Vector", "named:2:Named"),
    "Named": ("vectors:1:{Vector}",),
    "Vector": (
        *("data:1:bytes", "indices:2:Indices", "count:3:uint32"),  # what older servers answer
        *("dense:101:Dense", "sparse:102:Sparse", "multi:103:Multi"),
    ),
    "Indices": ("data:1:bytes",),
    "Dense": ("data:1:bytes",),
    "Sparse": ("values:1:bytes", "indices:2:bytes"),
    "Multi": ("vectors:1:*Dense",),
    "Struct": ("fields:1:*bytes",),
    "Entry": ("key:1:string", "value:2:bytes"),
    "List": ("values:1:*bytes",),
}
_PACKAGE = "vexarrow.qdrant"
_TYPES = {"bytes": 12, "string": 9, "uint32": 13}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3


@cache
def views() -> Any:
    """The message classes by name."""
    descriptors: Any = importlib.import_module("google.protobuf.descriptor_pb2")
    pools: Any = importlib.import_module("google.protobuf.descriptor_pool")
    factory: Any = importlib.import_module("google.protobuf.message_factory")
    file = descriptors.FileDescriptorProto(name="vexarrow/qdrant.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for spec in fields:
            _add(message, *spec.split(":"))
    pool = pools.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    found = {name: factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}
    return SimpleNamespace(**found)


def _add(message: Any, name: str, number: str, kind: str) -> None:
    field = message.field.add(name=name, number=int(number), label=_OPTIONAL)
    if kind.startswith("{"):
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add(entry, "key", "1", "string")
        _add(entry, "value", "2", kind[1:-1])
        kind = f"*{message.name}.{entry.name}"
    if kind.startswith("*"):
        field.label, kind = _REPEATED, kind[1:]
    field.type = _TYPES.get(kind, _MESSAGE)
    if field.type == _MESSAGE:
        field.type_name = f".{_PACKAGE}.{kind}"
