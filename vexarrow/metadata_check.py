"""Rules of metadata: an object of scalars, each key once, integers that every tool reads alike.

Nearly all records pass by a pattern, or by a text search and their keys. The others are read exactly, one by one.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simdjson

from vexarrow import records

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT = 2**53
PATTERNS = 4
# An array, an object inside, not an object at all, or a number of 16 digits. Also hits text that looks alike: exact
# reading decides.
_SUSPECT = r"(?s)\[|.\{|^[^{]|[0-9]{16}"
# A scalar that breaks no rule: text without half of a surrogate pair, a number of 15 digits before the point at most.
_TEXT = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u(?:[0-9a-cefA-CEF][0-9a-fA-F]|[dD][0-7])[0-9a-fA-F]{2}))*"'
_SCALAR = rf"(?:{_TEXT}|-?(?:0|[1-9][0-9]{{0,14}})(?:\.[0-9]+)?|true|false|null)"
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_ :/@-]*").fullmatch  # nothing that JSON or a pattern would escape
_MOST_KEYS = 32
_INT_DIGITS = 4300  # Python refuses to make an int of more


class Fault(NamedTuple):
    """A rule that the metadata of a row breaks."""

    row: int
    rule: str
    message: str


class MetadataCheck:
    """Checks metadata columns, batch after batch.

    Learns the shapes (the keys in their order) that are frequent: a record that fits the pattern of one is without
    fault, at a fourth of the time.
    """

    def __init__(self) -> None:
        self._parser = simdjson.Parser()
        self._patterns: dict[tuple[str, ...], str] = {}

    def faults(self, column: pa.Array) -> list[Fault]:
        """The faults of a column of JSON texts, in order of the rows."""
        texts = records.storage(column)
        rows = self._unproven(texts)
        rest = texts.take(pa.array(rows))
        suspects = pc.match_substring_regex(rest, _SUSPECT).to_pylist()
        shapes: Counter[tuple[str, ...]] = Counter()
        found: list[Fault] = []
        for row, text, suspect in zip(rows.tolist(), rest.to_pylist(), suspects, strict=True):
            keys = None if suspect else self._keys(text)
            if keys is None:
                found += (Fault(row, rule, message) for rule, message in examine(text))
            else:
                shapes[keys] += 1
        self._learn(shapes, len(texts))
        return found

    def _unproven(self, texts: pa.Array) -> NDArray[np.intp]:
        """The rows whose text fits no pattern; not those that are null."""
        rows = np.flatnonzero(records.present(texts))
        for pattern in self._patterns.values():
            if len(rows):
                fits = pc.match_substring_regex(texts.take(pa.array(rows)), pattern)
                rows = rows[~fits.to_numpy(zero_copy_only=False)]
        return rows

    def _keys(self, text: str) -> tuple[str, ...] | None:
        """The keys of an object in which none occurs twice, else None."""
        try:
            # The parser refuses to go on while a value of its last document lives, so the keys are copied out.
            parsed: Any = self._parser.parse(text.encode())
            keys = tuple(parsed.keys())
        except (ValueError, AttributeError):
            return None
        return keys if len(set(keys)) == len(keys) else None

    def _learn(self, shapes: Counter[tuple[str, ...]], rows: int) -> None:
        for keys, count in shapes.most_common(PATTERNS - len(self._patterns)):
            if count * 8 >= rows and len(keys) <= _MOST_KEYS and all(map(_PLAIN_KEY, keys)):
                members = ", ?".join(f'"{key}": ?{_SCALAR}' for key in keys)
                self._patterns[keys] = rf"^\{{{members}\}}$"


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
