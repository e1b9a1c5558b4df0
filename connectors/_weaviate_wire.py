"""Weaviate's gRPC messages, as far as records need them, and the calls that they travel in.

Field numbers are those of `weaviate.v1` (Weaviate 1.27 and later), which the wire protocol keeps stable; the tests
compare each with the stubs of the official client. Building the messages here leaves that client out, whose import
takes ten times as long. What is sent in masses, objects, is put together as bytes (`object_bytes`), which takes a
fraction of the time of building messages. A map is a list of entries on the wire, and is one here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

from ._protobuf import classes, sized, varint

PACKAGE = "weaviate.v1"
SINGLE, MULTI = 1, 2
EQUAL, CONTAINS_ANY = 1, 12

# name of the message: its fields; "*" repeats a field, "?" makes it one of several kinds.
MESSAGES: Mapping[str, str] = {
    "Vectors": "string name 1, bytes vector_bytes 3, int32 type 4",
    "BatchError": "int32 index 1, string error 2",
    "BatchObjectsReply": "*BatchError errors 2",
    "ObjectPropertiesRequest": "string prop_name 1, *string primitive_properties 2, "
    "*ObjectPropertiesRequest object_properties 3",
    "RefPropertiesRequest": "string reference_property 1, PropertiesRequest properties 2, MetadataRequest metadata 3, "
    "string target_collection 4",
    "PropertiesRequest": "*string non_ref_properties 1, *RefPropertiesRequest ref_properties 2, "
    "*ObjectPropertiesRequest object_properties 3",
    "MetadataRequest": "bool uuid 1, bool vector 2, *string vectors 10",
    "FilterTarget": "string property 1",
    "TextArray": "*string values 1",
    "Filters": "int32 operator 1, string value_text 4, TextArray value_text_array 9, FilterTarget target 20",
    "SearchRequest": "string collection 1, string tenant 10, PropertiesRequest properties 20, "
    "MetadataRequest metadata 21, uint32 limit 30, string after 33, Filters filters 40, bool uses_123_api 100, "
    "bool uses_125_api 101, bool uses_127_api 102",
    "NumberValues": "bytes values 1",
    "IntValues": "bytes values 1",
    "BoolValues": "*bool values 1",
    "ObjectValues": "*Properties values 1",
    "DateValues": "*string values 1",
    "UuidValues": "*string values 1",
    "TextValues": "*string values 1",
    "ListValue": "?NumberValues number_values 2, ?BoolValues bool_values 3, ?ObjectValues object_values 4, "
    "?DateValues date_values 5, ?UuidValues uuid_values 6, ?IntValues int_values 7, ?TextValues text_values 8",
    "GeoCoordinate": "float longitude 1, float latitude 2",
    "PhoneNumber": "uint64 country_code 1, string default_country 2, string input 3, "
    "string international_formatted 4, uint64 national 5, string national_formatted 6, bool valid 7",
    "Value": "?double number_value 1, ?bool bool_value 3, ?Properties object_value 4, ?ListValue list_value 5, "
    "?string date_value 6, ?string uuid_value 7, ?int64 int_value 8, ?GeoCoordinate geo_value 9, "
    "?string blob_value 10, ?PhoneNumber phone_value 11, ?int32 null_value 12, ?string text_value 13",
    "Entry": "string key 1, Value value 2",
    "Properties": "*Entry fields 1",
    "RefPropertiesResult": "*PropertiesResult properties 1, string prop_name 2",
    "PropertiesResult": "*RefPropertiesResult ref_props 2, string target_collection 3, MetadataResult metadata 4, "
    "Properties non_ref_props 11",
    "MetadataResult": "string id 1, bytes vector_bytes 19, *Vectors vectors 23",
    "SearchResult": "PropertiesResult properties 1, MetadataResult metadata 2",
    "SearchReply": "*SearchResult results 2",
    "AggregateRequest": "string collection 1, string tenant 10, bool objects_count 20, Filters filters 40",
    "Single": "int64 objects_count 1",
    "AggregateReply": "Single single_result 2",
}
CALLS: Mapping[str, tuple[str, str]] = {
    "Search": ("SearchRequest", "SearchReply"),
    "BatchObjects": ("", "BatchObjectsReply"),
    "Aggregate": ("AggregateRequest", "AggregateReply"),
}
Call = Literal["Search", "BatchObjects", "Aggregate"]


@cache
def messages() -> Mapping[str, Any]:
    """The message classes by name. Raises ImportError without protobuf."""
    return classes(PACKAGE, MESSAGES)


def stub(channel: Any, call: Call) -> Callable[..., Any]:
    """One call of the service `Weaviate` over a channel of grpc; BatchObjects takes bytes."""
    request, reply = CALLS[call]
    method: Callable[..., Any] = channel.unary_unary(
        f"/{PACKAGE}.Weaviate/{call}",
        request_serializer=messages()[request].SerializeToString if request else None,
        response_deserializer=messages()[reply].FromString,
    )
    return method


# -- objects as bytes -------------------------------------------------------------------------------------


def key_bytes(key: str) -> bytes:
    """The key of an entry of `Struct.fields`, for `text_bytes`."""
    return sized(b"\x0a", key.encode())


def text_bytes(key: bytes, text: str) -> bytes:
    """An entry of `Struct.fields`: a property that is a text."""
    return sized(b"\x0a", key + sized(b"\x12", sized(b"\x1a", text.encode())))


def vector_bytes(name: str, data: bytes, kind: int) -> bytes:
    """A vector of a BatchObject. The one without a name is its `vector_bytes`."""
    if not name:
        return sized(b"\x32", data)
    inside = sized(b"\x0a", name.encode()) + sized(b"\x1a", data) + b"\x20" + varint(kind)
    return sized(b"\xba\x01", inside)


def home_bytes(collection: str, tenant: str) -> bytes:
    """Where a BatchObject belongs."""
    return sized(b"\x22", collection.encode()) + (sized(b"\x2a", tenant.encode()) if tenant else b"")


def object_bytes(identity: str, properties: bytes, home: bytes, vectors: bytes) -> bytes:
    """A BatchObject in a BatchObjectsRequest; joined they are the request. `properties` are entries of `text_bytes`."""
    inside = sized(b"\x1a", sized(b"\x0a", properties))
    return sized(b"\x0a", b"".join((sized(b"\x0a", identity.encode()), inside, home, vectors)))
