"""What is asked of a class over gRPC: pages with all that objects have, and the UUIDs of namespaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vexarrow.errors import Refused
from vexarrow.selection import Selection

from ._weaviate_client import Client
from ._weaviate_schema import Layout
from ._weaviate_wire import CONTAINS_ANY, EQUAL, messages

LARGEST_PAGE = 10_000  # QUERY_MAXIMUM_RESULTS


def search(collection: str, layout: Layout, *, tenant: str, after: str, limit: int) -> Any:
    """The request for a page with all that objects have. Without `after` it is the first, in the order of the UUIDs."""
    kinds = messages()
    names = sorted(layout.vectors)
    return kinds["SearchRequest"](
        collection=collection,
        tenant=tenant,
        limit=limit,
        after=after,
        properties=_wanted(layout.schema.get("properties") or ()),
        metadata=kinds["MetadataRequest"](uuid=True, vector=layout.unnamed, vectors=names),
        uses_123_api=True,
        uses_125_api=True,
        uses_127_api=True,
    )


def _wanted(properties: Sequence[Any]) -> Any:
    """Every property by its name: a request for all of them would leave out blobs, objects and references."""
    kinds = messages()
    wanted = kinds["PropertiesRequest"]()
    for one in properties:
        kind = one["dataType"][0]
        if kind in ("object", "object[]"):
            wanted.object_properties.append(_object(one))
        elif kind[0].isupper():
            for target in one["dataType"]:
                wanted.ref_properties.add(
                    reference_property=one["name"],
                    target_collection=target,
                    properties=kinds["PropertiesRequest"](),
                    metadata=kinds["MetadataRequest"](uuid=True),
                )
        else:
            wanted.non_ref_properties.append(one["name"])
    return wanted


def _object(one: Any) -> Any:
    inside = one.get("nestedProperties") or ()
    plain = [each["name"] for each in inside if each["dataType"][0] not in ("object", "object[]")]
    deeper = [_object(each) for each in inside if each["dataType"][0] in ("object", "object[]")]
    made: Any = messages()["ObjectPropertiesRequest"](
        prop_name=one["name"], primitive_properties=plain, object_properties=deeper
    )
    return made


def found_by_namespace(client: Client, layout: Layout, wanted: Selection) -> list[str] | None:
    """The UUIDs of the wanted namespaces, sorted, where an index of the server finds them and they are few enough for
    one answer; None when the class has to be read as a whole: cursors know no filter, and no namespace is in no index.
    """
    names = wanted.namespaces
    if names is None or not layout.finds_namespaces or not all(name and name == name.strip() for name in names):
        return None
    found: set[str] = set()
    for name in names:
        try:
            ids = _ids_of(client, name or "")
        except Refused:
            return None  # this server takes fewer for one answer, or does not search for such a name
        if ids is None:
            return None
        found.update(ids)
    return sorted(found)


def _ids_of(client: Client, namespace: str) -> list[str] | None:
    """The UUIDs of a namespace, None when they are too many."""
    kinds = messages()
    equal = kinds["Filters"](operator=EQUAL, value_text=namespace, target={"property": "namespace"})
    counting = kinds["AggregateRequest"](collection=client.collection, objects_count=True, filters=equal)
    count = client.requests.call(lambda: client.call("Aggregate", counting)).single_result.objects_count
    if count >= LARGEST_PAGE:
        return None
    asking = kinds["SearchRequest"](collection=client.collection, limit=LARGEST_PAGE, filters=equal, uses_127_api=True)
    asking.metadata.uuid = asking.uses_123_api = asking.uses_125_api = True
    asking.properties.SetInParent()  # none of them
    return [one.metadata.id for one in client.requests.call(lambda: client.call("Search", asking)).results]


def any_of(ids: Sequence[str]) -> Any:
    """The filter for objects with these UUIDs."""
    kinds = messages()
    return kinds["Filters"](operator=CONTAINS_ANY, value_text_array={"values": ids}, target={"property": "_id"})
