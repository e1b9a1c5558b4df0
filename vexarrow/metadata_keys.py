"""Which keys the metadata of a stream has, of which JSON types, and how often.

Records of one shape (the same keys with values of the same types, in the same order) are counted together, so the work
for a record is one `orjson.loads` and one look-up.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa

from vexarrow import records
from vexarrow.tally import Tally

LISTED = 10_000
EXAMPLE = 60
_TYPES = {
    str: "string",
    int: "integer",
    Decimal: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
    dict: "object",
    list: "array",
}
_INT_DIGITS = 4300  # Python refuses to make an int of more


@dataclass(frozen=True, slots=True)
class Key:
    """A metadata key: `records` have it, in `filled` of them it is not null; `types` counts its JSON types.

    example: its first value that is not null, as JSON text of 60 characters at most.
    """

    name: str
    records: int
    filled: int
    types: dict[str, int]
    example: str | None


@dataclass(frozen=True, slots=True)
class MetadataReport:
    """What was found in the metadata of all records.

    objects + null + other + unreadable = records. other: JSON that is no object. unreadable: no JSON. keys: the most
    frequent first, equals in order of appearance. more_keys: different keys beyond the first 10,000, which are not
    listed.
    """

    objects: int = 0
    null: int = 0
    other: int = 0
    unreadable: int = 0
    keys: tuple[Key, ...] = ()
    more_keys: int = 0


@dataclass(slots=True)
class _Seen:
    types: Counter[str] = field(default_factory=Counter)
    example: str | None = None


class MetadataKeys:
    """Takes metadata columns, batch after batch. Call `close` in the end."""

    def __init__(self, listed: int = LISTED) -> None:
        self._listed = listed
        self._objects = self._null = self._other = self._unreadable = 0
        self._keys: dict[str, _Seen] = {}
        self._more = Tally()

    def add(self, column: pa.Array) -> None:
        """Count the keys of a column of JSON texts."""
        texts = records.storage(column)
        self._null += texts.null_count
        shapes: dict[tuple[Any, ...], list[Any]] = {}
        for text in texts.drop_null().to_pylist():
            value = _object(text)
            if value.__class__ is not dict:
                self._unreadable += value is _UNREADABLE
                self._other += value is not _UNREADABLE
                continue
            shape = (*value, *map(type, value.values()))
            seen = shapes.get(shape)
            if seen is None:
                shapes[shape] = [1, value]
            else:
                seen[0] += 1
        for shape, (count, value) in shapes.items():
            self._objects += count
            self._count(value, shape[len(value) :], count)

    def _count(self, value: dict[str, Any], types: tuple[type, ...], count: int) -> None:
        for (name, example), kind in zip(value.items(), types, strict=True):
            seen = self._keys.get(name)
            if seen is None:
                if len(self._keys) >= self._listed:
                    self._more.update({_printable(name): count})
                    continue
                seen = self._keys[name] = _Seen()
            seen.types[_TYPES[kind]] += count
            if seen.example is None and example is not None:
                seen.example = _example(example)

    def result(self) -> MetadataReport:
        """What was counted so far."""
        keys = [_key(name, seen) for name, seen in self._keys.items()]
        keys.sort(key=lambda key: -key.records)
        counts = (self._objects, self._null, self._other, self._unreadable)
        return MetadataReport(*counts, tuple(keys), self._more.result(0).distinct)

    def close(self) -> None:
        """Remove the temporary files, if there are any."""
        self._more.close()


def _key(name: str, seen: _Seen) -> Key:
    count = seen.types.total()
    types = dict(sorted(seen.types.items(), key=lambda item: (-item[1], item[0])))
    return Key(_printable(name), count, count - seen.types["null"], types, seen.example)


def _printable(text: str) -> str:
    """Lone surrogates, which JSON allows and UTF-8 does not, as their escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _example(value: Any) -> str:
    try:
        text = str(value) if isinstance(value, float | Decimal) else orjson.dumps(value).decode()
    except TypeError:
        text = json.dumps(value, default=str)
    return text if len(text) <= EXAMPLE else text[: EXAMPLE - 1] + "…"


_UNREADABLE = object()
_LARGE = 2.0**63


def _object(text: str) -> Any:
    """The JSON value of a text, `_UNREADABLE` when it is none. An integer stays one whatever its size."""
    try:
        value = orjson.loads(text)
    except ValueError:
        return _loads(text)
    if value.__class__ is dict:
        for one in value.values():
            # orjson reads integers beyond 64 bits as floats.
            if one.__class__ is float and not -_LARGE < one < _LARGE:
                return _loads(text)
    return value


def _loads(text: str) -> Any:
    """What orjson refuses or rounds, such as lone surrogates and huge integers; slower."""
    try:
        return json.loads(text, parse_int=_integer, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= _INT_DIGITS else Decimal(text)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
