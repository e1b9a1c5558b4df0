"""JSON as text: the members of an object verbatim, and the canonical form that digests are made of."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from itertools import chain
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
# Of members of one key, orjson keeps the last. Then there are fewer colons, unless a string had them written like this.
_COLON = "\\u003"
_CONTAINERS: frozenset[type] = frozenset({dict, list})
# A number that nobody can know.
_BETWEEN = int.from_bytes(os.urandom(7))


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
    colons = -1 if _COLON.encode() in raw else raw.count(b":")
    return short if colons == short.count(b":") and _plain([value]) else _canonical_slow(raw)


def canonical_all(texts: Sequence[str]) -> list[bytes] | None:
    """`canonical` of every text, in a fraction of the time; None when they have to be looked at one by one."""
    values, whole = loads_all(texts), "".join(texts)
    if values is None or _COLON in whole or not _plain(values):
        return None
    try:
        short = [orjson.dumps(value, option=_SORTED) for value in values]
    except orjson.JSONEncodeError:
        return None
    return short if whole.count(":") == b"".join(short).count(b":") else None


def loads_all(texts: Sequence[str]) -> list[Any] | None:
    """The values of many JSON texts; None when orjson does not read one of them. Integers beyond 64 bits are floats."""
    joined = f",{_BETWEEN},".join(texts)
    try:
        values: list[Any] = orjson.loads(f"[{joined}]")
    except orjson.JSONDecodeError:
        return None
    # Pieces of two values may be one value together, or one text two: then the marks are elsewhere.
    alone = len(values) == max(2 * len(texts) - 1, 0) and values[1::2].count(_BETWEEN) == len(values) // 2
    return values[::2] if alone else None


def _plain(values: list[Any]) -> bool:
    """Whether orjson read all numbers of some values exactly and writes them as Python does (no exponents)."""
    layer = values
    while layer:
        kinds = set(map(type, layer))
        if float in kinds and not _plainly_written([abs(one) for one in layer if one.__class__ is float]):
            return False
        inner: list[Any] = [one for one in layer if one.__class__ in _CONTAINERS] if kinds & _CONTAINERS else []
        layer = list(chain.from_iterable([one.values() if one.__class__ is dict else one for one in inner]))
    return True


def _plainly_written(sizes: list[float]) -> bool:
    return min(sizes) >= 1e-4 and max(sizes) < 1e16


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
