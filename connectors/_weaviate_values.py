"""Typed values of properties as JSON has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

BEACON = "weaviate://localhost/"
Row = dict[str, Any]


def properties_of(result: Any) -> Row:
    """The properties of an object, cross-references among them."""
    found = {entry.key: value_of(entry.value) for entry in result.non_ref_props.fields}
    for reference in result.ref_props:
        beacons = [f"{BEACON}{one.target_collection}/{one.metadata.id}" for one in reference.properties]
        if beacons:
            found[reference.prop_name] = [*(found.get(reference.prop_name) or ()), *beacons]
    return found


def value_of(value: Any) -> Any:
    """A typed value as JSON has it; None for null."""
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    reader = _READERS.get(kind)
    inside = getattr(value, kind)
    return inside if reader is None else reader(inside)


def _members(value: Any) -> Row:
    return {entry.key: value_of(entry.value) for entry in value.fields}


def _list(value: Any) -> list[Any]:
    kind = value.WhichOneof("kind")
    if kind is None:
        return []
    inside = getattr(value, kind).values
    if kind == "number_values":
        return _numbers(inside, "<f8")
    if kind == "int_values":
        return _numbers(inside, "<i8")
    return [_members(one) for one in inside] if kind == "object_values" else list(inside)


def _numbers(data: bytes, kind: str) -> list[Any]:
    found: list[Any] = np.frombuffer(data, kind).tolist()
    return found


def _geo(value: Any) -> Row:
    return {"latitude": _short(value.latitude), "longitude": _short(value.longitude)}


def _short(value: float) -> float:
    """A float32 as the shortest decimal that is that float32."""
    return float(str(np.float32(value)))


def _phone(value: Any) -> Row:
    return {
        "input": value.input,
        "defaultCountry": value.default_country,
        "countryCode": value.country_code,
        "national": value.national,
        "internationalFormatted": value.international_formatted,
        "nationalFormatted": value.national_formatted,
        "valid": value.valid,
    }


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "object_value": _members,
    "list_value": _list,
    "geo_value": _geo,
    "phone_value": _phone,
}
