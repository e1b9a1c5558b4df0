"""JSON as text: the members of an object verbatim, and the canonical form that digests are made of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from math import isfinite
from typing import Any

import orjson

_SPACE = re.compile(r"[ \t\n\r]*").match


class Malformed(ValueError):
    """Text that is not the JSON that was asked for; the message says what and at which character, from 1."""


def _no_constant(name: str) -> Any:
    raise Malformed(f"{name} is not a JSON number")


# Numbers stay text: nobody needs their values here, and a vector must not become Python floats.
_SCAN = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant, strict=True).scan_once  # type: ignore[attr-defined]
_LOADS_PAIRS = json.JSONDecoder(
    object_pairs_hook=lambda pairs: _Pairs(pairs),
    parse_int=lambda digits: _Digits(digits),
    parse_float=lambda digits: float(digits) if isfinite(float(digits)) else _Digits(digits),
    parse_constant=_no_constant,
    strict=True,
).decode


def members(text: str) -> list[tuple[str, str, str]]:
    """The members of a JSON object in their order: (key, key as written with its quotes, value verbatim).

    Keys that occur twice are listed twice. Raises Malformed for anything but one whole JSON object.
    """
    at = _SPACE(text, 0).end()  # type: ignore[union-attr]
    if at >= len(text):
        raise Malformed("there is no JSON value")
    if text[at] != "{":
        raise Malformed("not a JSON object")
    found: list[tuple[str, str, str]] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] != "}":
        at = _members(text, at, found)
    if _skip(text, at + 1) != len(text):
        raise Malformed(f"more text after the object at character {at + 2}")
    return found


def _members(text: str, at: int, found: list[tuple[str, str, str]]) -> int:
    while True:
        if text[at : at + 1] != '"':
            raise Malformed(f"a key in double quotes is missing at character {at + 1}")
        key, after = _scan_string(text, at)
        colon = _skip(text, after)
        if text[colon : colon + 1] != ":":
            raise Malformed(f"':' is missing at character {colon + 1}")
        start = _skip(text, colon + 1)
        end = _scan_value(text, start)
        found.append((key, text[at:after], text[start:end]))
        at = _skip(text, end)
        if text[at : at + 1] == "}":
            return at
        if text[at : at + 1] != ",":
            raise Malformed(f"',' or '}}' is missing at character {at + 1}")
        at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    return _SPACE(text, at).end()  # type: ignore[union-attr]


def _scan_string(text: str, at: int) -> tuple[str, int]:
    try:
        found: tuple[str, int] = scanstring(text, at + 1, True)
    except json.JSONDecodeError as error:
        raise Malformed(_located(error)) from None
    return found


def _located(error: json.JSONDecodeError) -> str:
    message = error.msg[0].lower() + error.msg[1:].removesuffix(" at")
    return f"{message} at character {error.pos + 1}"


def _scan_value(text: str, at: int) -> int:
    try:
        end: int = _SCAN(text, at)[1]
    except StopIteration as stop:
        raise Malformed(f"a value is missing or malformed at character {stop.value + 1}") from None
    except json.JSONDecodeError as error:
        raise Malformed(_located(error)) from None
    except RecursionError:
        raise Malformed("nested too deeply") from None
    return end


# -- canonical form -------------------------------------------------------------------------------------

_SORTED = orjson.OPT_SORT_KEYS
_CONTAINERS: frozenset[type] = frozenset({dict, list})


def canonical(text: str | bytes) -> bytes:
    """The canonical UTF-8 form of a JSON text: equal for equal values, whatever the key order and white space.

    Object members sorted by key (code points; members of equal keys stay, in their order), no white space, strings
    with the fewest escapes, integers in full, other numbers as the shortest decimal that gives the same double, which
    is what `json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)` of Python writes. 1 and 1.0
    differ; a number beyond a double stays as it is written. Raises Malformed when the text is not JSON.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        value = orjson.loads(raw)
        short = orjson.dumps(value, option=_SORTED)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _canonical_slow(raw)
    # Same length after sorting means: no key was dropped as a duplicate, no white space, nothing respelt.
    if len(short) == len(raw) and _plain(value):
        return short
    return _canonical_slow(raw)


def _plain(value: Any) -> bool:
    """Whether orjson read all numbers of the value exactly and writes them as Python does (no exponents)."""
    values: Any = value.values() if value.__class__ is dict else value if value.__class__ is list else (value,)
    kinds = set(map(type, values))
    if float in kinds and not all(_plainly_written(one) for one in values if one.__class__ is float):
        return False
    return not kinds & _CONTAINERS or all(_plain(one) for one in values if type(one) in _CONTAINERS)


def _plainly_written(number: float) -> bool:
    return 1e-4 <= number < 1e16 or -1e16 < number <= -1e-4


class _Digits(str):
    """A number as it is written: an integer, of which Python reads 4,300 digits at most, or one beyond a double."""

    __slots__ = ()


class _Pairs(list[tuple[str, Any]]):
    """An object's members, told apart from an array."""


def _canonical_slow(raw: bytes) -> bytes:
    try:
        value = _LOADS_PAIRS(raw.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from None
    return "".join(_write(value)).encode("utf-8", "surrogatepass")


def _write(value: Any) -> Iterator[str]:
    if isinstance(value, _Pairs):
        parts = (f"{_scalar(key)}:{''.join(_write(one))}" for key, one in sorted(value, key=lambda pair: pair[0]))
        yield "{" + ",".join(parts) + "}"
    elif isinstance(value, list):
        yield "[" + ",".join("".join(_write(one)) for one in value) + "]"
    else:
        yield _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, _Digits):
        return "0" if value == "-0" else value
    return json.dumps(value, ensure_ascii=False)
