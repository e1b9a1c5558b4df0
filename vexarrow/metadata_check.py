"""Rules of metadata: an object of scalars, each key once, integers that every tool reads alike.

Nearly all records pass by a text search and by their keys alone. The others are read exactly, one by one.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import simdjson

from vexarrow import records

EXACT = 2**53
SHAPES = 10_000
# An array, an object inside, not an object at all, or a number of 16 digits. Also hits text that looks alike: exact
# reading decides.
_SUSPECT = r"(?s)\[|.\{|^[^{]|[0-9]{16}"
_INT_DIGITS = 4300  # Python refuses to make an int of more


class Fault(NamedTuple):
    """A rule that the metadata of a row breaks."""

    row: int
    rule: str
    message: str


class MetadataCheck:
    """Checks metadata columns, batch after batch. Remembers the sets of keys that it has seen to be without fault."""

    def __init__(self) -> None:
        self._parser = simdjson.Parser()
        self._shapes: set[tuple[str, ...]] = set()

    def faults(self, column: pa.Array) -> list[Fault]:
        """The faults of a column of JSON texts, in order of the rows."""
        texts = records.storage(column)
        suspect = pc.match_substring_regex(texts, _SUSPECT).fill_null(False).to_pylist()
        found: list[Fault] = []
        for row, (text, suspicious) in enumerate(zip(texts.to_pylist(), suspect, strict=True)):
            if text is not None and (suspicious or not self._keys_differ(text)):
                found += (Fault(row, rule, message) for rule, message in examine(text))
        return found

    def _keys_differ(self, text: str) -> bool:
        """Whether this is JSON, and an object in which no key occurs twice."""
        try:
            # The parser refuses to go on while a value of its last document lives, so the keys are copied out.
            keys = tuple(self._parser.parse(text.encode()).keys())  # type: ignore[union-attr]
        except (ValueError, AttributeError):
            return False
        if keys in self._shapes:
            return True
        if len(set(keys)) < len(keys):
            return False
        if len(self._shapes) < SHAPES:
            self._shapes.add(keys)
        return True


class _Object(list[tuple[str, Any]]):
    """The members of an object, told apart from an array."""


class _Big(str):
    """The digits of an integer that a float64 may not hold."""


def _integer(text: str) -> _Big | None:
    return _Big(text) if len(text) > _INT_DIGITS or abs(int(text)) > EXACT else None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_int=_integer, parse_constant=_refuse)


def examine(text: str) -> list[tuple[str, str]]:
    """Every rule that a metadata text breaks, with a message. Exact, and slower than looking for what is usual."""
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        return [("metadata-not-json", "metadata is nested too deeply to be read")]
    except ValueError as error:
        return [("metadata-not-json", f"metadata is not JSON: {error}")]
    if not isinstance(value, _Object):
        return [("metadata-type", f"metadata is {_kind(value)}, not an object")]
    found = [
        ("metadata-nested", f"metadata key {_name(key)} must be scalar, not {_kind(one)}")
        for key, one in value
        if isinstance(one, list)
    ]
    return found + _deeper(value)


def _deeper(value: list[Any]) -> list[tuple[str, str]]:
    """Duplicate keys, big integers and lone surrogates at any depth."""
    found: list[tuple[str, str]] = []
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        name, one = waiting.pop()
        if isinstance(one, _Object):
            twice = [key for key, count in Counter(key for key, _ in one).items() if count > 1]
            found += (("metadata-duplicate-key", f"metadata key {_name(key)} occurs more than once") for key in twice)
            found += (("lone-surrogate", f"metadata key {_name(key)} {_NOT_UTF8}") for key, _ in one if _broken(key))
            waiting += reversed(one)
        elif isinstance(one, list):
            waiting += ((name, part) for part in reversed(one))
        elif isinstance(one, _Big):
            message = f"metadata key {_name(name)} holds the integer {_short(one)}, which many tools round"
            found.append(("metadata-big-integer", message))
        elif isinstance(one, str) and _broken(one):
            found.append(("lone-surrogate", f"metadata key {_name(name)} holds text that {_NOT_UTF8}"))
    return found


_NOT_UTF8 = "has half a surrogate pair, which UTF-8 cannot hold"


def _broken(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)


def _name(key: str) -> str:
    return json.dumps(_short(key), ensure_ascii=_broken(key))


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _kind(value: Any) -> str:
    if isinstance(value, _Object):
        return "an object"
    kinds = {list: "an array", str: "text", bool: "a boolean", float: "a number", _Big: "a number"}
    # An integer was read as None, and so was null.
    return kinds.get(type(value), "null or a number")
