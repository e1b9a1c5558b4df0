"""The messages of Pinecone's VectorService as its public protocol file of version 2026-07 has them, all of their fields
that the emulator knows. They are made here, as no package on PyPI holds the generated code: the official client's is
compiled into it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

PACKAGE = "emulator.pinecone"
# Name and fields: "*" repeats, "?" may be absent, "{kind}" is a map from strings, "Struct" that of google.protobuf.
MESSAGES: Mapping[str, str] = {
    "SparseValues": "*uint32 indices 1, *float values 2",
    "Vector": "string id 1, *float values 2, SparseValues sparse_values 4, Struct metadata 3",
    "UpsertRequest": "*Vector vectors 1, string namespace 2",
    "UpsertResponse": "uint32 upserted_count 1",
    "DeleteRequest": "*string ids 1, bool delete_all 2, string namespace 3, Struct filter 4",
    "DeleteResponse": "",
    "FetchRequest": "*string ids 1, string namespace 2",
    "Usage": "?uint32 read_units 1",
    "FetchResponse": "{Vector} vectors 1, string namespace 2, Usage usage 3",
    "FetchByMetadataRequest": "string namespace 1, Struct filter 2, ?uint32 limit 3, ?string pagination_token 4",
    "Pagination": "string next 1",
    "FetchByMetadataResponse": "{Vector} vectors 1, string namespace 2, Usage usage 3, Pagination pagination 4",
    "ListRequest": "?string prefix 1, ?uint32 limit 2, ?string pagination_token 3, string namespace 4",
    "ListItem": "string id 1",
    "ListResponse": "*ListItem vectors 1, Pagination pagination 2, string namespace 3, Usage usage 4",
    "DescribeIndexStatsRequest": "Struct filter 1",
    "NamespaceSummary": "uint32 vector_count 1",
    "DescribeIndexStatsResponse": "{NamespaceSummary} namespaces 1, ?uint32 dimension 2, float index_fullness 3, "
    "uint32 total_vector_count 4, ?string metric 5, ?string vector_type 6",
    "ListNamespacesRequest": "?string pagination_token 1, ?uint32 limit 2, ?string prefix 3",
    "NamespaceDescription": "string name 1, uint64 record_count 2",
    "ListNamespacesResponse": "*NamespaceDescription namespaces 1, Pagination pagination 2, int32 total_count 3",
}
_TYPES = {"float": 2, "uint64": 4, "int32": 5, "bool": 8, "string": 9, "uint32": 13}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3


@cache
def messages() -> Mapping[str, Any]:
    """The message classes by name."""
    descriptors: Any = importlib.import_module("google.protobuf.descriptor_pb2")
    pools: Any = importlib.import_module("google.protobuf.descriptor_pool")
    factory: Any = importlib.import_module("google.protobuf.message_factory")
    struct: Any = importlib.import_module("google.protobuf.struct_pb2")
    file = descriptors.FileDescriptorProto(name="emulator/pinecone.proto", package=PACKAGE, syntax="proto3")
    file.dependency.append("google/protobuf/struct.proto")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for said in fields.split(", ") if fields else ():
            _add(message, *said.split())
    pool = pools.DescriptorPool()
    pool.AddSerializedFile(struct.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"{PACKAGE}.{name}") for name in MESSAGES}
    return {name: factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


def _add(message: Any, kind: str, name: str, number: str) -> None:
    field = message.field.add(name=name, number=int(number), label=_REPEATED if kind[0] in "*{" else _OPTIONAL)
    if kind[0] == "{":
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add(entry, "string", "key", "1")
        _add(entry, kind[1:-1], "value", "2")
        kind = f"{message.name}.{entry.name}"
    if kind[0] == "?":
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
    bare = kind.lstrip("*?")
    if bare in _TYPES:
        field.type = _TYPES[bare]
    else:
        field.type = _MESSAGE
        field.type_name = ".google.protobuf.Struct" if bare == "Struct" else f".{PACKAGE}.{bare}"
