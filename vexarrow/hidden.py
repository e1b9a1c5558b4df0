"""The JSON text that stores keep under `__vex__`: whether it is ours, and what it says.

Anybody may write a key of that name. A text is ours when every member is one that we write, of the kind that we write;
any other is a member of the record's metadata like all others.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from vexarrow import timestamps

__all__ = ["HIDDEN", "KINDS", "Kinds", "is_json_text", "is_moment", "is_name", "is_names", "is_text", "said"]

HIDDEN = "__vex__"
_DEPTH = 200  # what orjson writes is 254 deep at most
Kinds = Mapping[str, Callable[[Any], bool]]


def is_text(value: Any) -> bool:
    """Any text."""
    return value.__class__ is str


def is_name(value: Any) -> bool:
    """Any text, or null."""
    return value is None or value.__class__ is str


def is_names(value: Any) -> bool:
    """A list of texts."""
    return value.__class__ is list and all(one.__class__ is str for one in value)


def is_json_text(value: Any) -> bool:
    """The text of a JSON value, of those too that orjson does not take: huge numbers, lone surrogates."""
    if value.__class__ is not str:
        return False
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return _is_odd_json(value)
    return True


def _is_odd_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def is_moment(value: Any) -> bool:
    """A time as ISO 8601, or null."""
    if value.__class__ is not str:
        return value is None
    try:
        timestamps.microseconds(value)
    except ValueError:
        return False
    return True


def _is_object(value: Any) -> bool:
    return value.__class__ is dict


def is_score(value: Any) -> bool:
    """A finite number, or null."""
    return value is None or (value.__class__ in (int, float) and math.isfinite(value))


# What `vexarrow.payload` keeps.
KINDS: Kinds = {
    "metadata": _is_object,
    "metadata_text": is_json_text,
    "floats": is_names,
    "empty": is_names,
    "extra": is_json_text,
    "score": is_score,
    "source_store": is_name,
    "modality": is_name,
    "vex_version": is_name,
}


def _is_writable(found: Any, text: str) -> bool:
    """Whether orjson writes what it has read: it reads deeper values than it writes, and we write none such."""
    if text.count("[") + text.count("{") < _DEPTH:
        return True
    try:
        orjson.dumps(found)
    except orjson.JSONEncodeError:
        return False
    return True


def said(text: Any, kinds: Kinds = KINDS) -> dict[str, Any] | None:
    """What a `__vex__` of ours says; None for everything else. `kinds`: what its members may be, by name."""
    if text.__class__ is not str:
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if found.__class__ is not dict or not _is_writable(found, text):
        return None
    for name, value in found.items():
        fits = kinds.get(name)
        if fits is None or not fits(value):
            return None
    return dict(found)
