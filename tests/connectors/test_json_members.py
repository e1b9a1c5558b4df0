"""Flat JSON objects are read as columns, and what is anything else is said to be."""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
import pytest

inside = importlib.import_module("vexarrow.connectors._json_members")
members: Any = inside.members
FLOAT, INTEGER, TEXT, TRUE = inside.FLOAT, inside.INTEGER, inside.TEXT, inside.TRUE

MALFORMED = (
    "",
    "{",
    "}",
    "1",
    '"a"',
    "[]",
    "null",
    '{"a":1,"a":2}',
    '{"a":1,2}',
    '{"a":"b"c"}',
    '{"a":}',
    '{"a":1}}',
    "{:1}",
    '{"a","b"}',
    '{"a":1,}',
    '{"a":"x",}',
    '{,"a":1}',
    '{"a":"b":"c"}',
    '{"a":"b""c":1}',
    '{"a":tru}',
    '{"a":trux}',
    '{"a":"\\u0041"}',
    '{"a": 1}',
    '{"a":null}',
    '{"a":[1]}',
    '{"a":["b"]}',
    '{"a":{"b":"c"}}',
    '{"a":1.50}',
    '{"a":-0}',
    '{"a":01}',
    '{"a":"\x01"}',
    '{"a":"\\ud800"}',
)
FLAT = (
    "{}",
    '{"a":1}',
    '{"":""}',
    '{"a":"{,:\\"}","b":true,"c":false}',
    '{"é":-1.5,"b":"\\\\","c":1e+22}',
    '{"a":"\\n"}',
)


def back(found: Any) -> list[dict[str, Any]]:
    """The objects again."""
    objects: list[dict[str, Any]] = [{} for _ in found.flat]
    texts, numbers = iter(found.texts.to_pylist()), iter(found.numbers.tolist())
    for owner, key, kind in zip(found.owner.tolist(), found.key.tolist(), found.kind.tolist(), strict=True):
        value = next(texts) if kind == TEXT else next(numbers) if kind in (FLOAT, INTEGER) else kind == TRUE
        assert found.names[key] not in objects[owner]
        objects[owner][found.names[key]] = int(value) if kind == INTEGER else value
    assert [*texts, *numbers] == []
    return objects


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_flat_object_of_orjson_has_no_members_and_leaves_those_of_others(text: str) -> None:
    found = members(pa.array([text]))
    assert (found.flat.tolist(), back(found)) == ([False], [{}])
    among = members(pa.array([FLAT[3], text, FLAT[4]]))
    assert not among.flat[1]
    for row, one in ((0, FLAT[3]), (2, FLAT[4])):
        assert back(among)[row] == (orjson.loads(one) if among.flat[row] else {})


def test_flat_objects_are_read_as_they_are() -> None:
    found = members(pa.array(FLAT))
    assert found.flat.all()
    assert [orjson.dumps(one).decode() for one in back(found)] == [*FLAT]
    assert members(pa.array([], pa.string())).flat.tolist() == []


def random_texts(rng: random.Random) -> Iterator[str]:
    """JSON objects, a few of them broken."""
    for _ in range(rng.randrange(1, 12)):
        value = {rng.choice(["a", "b", "a long key", "é", ""]): random_value(rng) for _ in range(rng.randrange(5))}
        text = json.dumps(value, separators=(",", ":") if rng.random() < 0.9 else None, ensure_ascii=False)
        if rng.random() < 0.2:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(["", *'"\\,:{} 1.e-\x01']) + text[at + rng.randrange(2) :]
        yield text


def random_value(rng: random.Random) -> Any:
    text = "".join(rng.choice('abc,:{}[] "\\é\n01"😀') for _ in range(rng.randrange(6)))
    number = rng.choice([0, 1, -12, 2**53, 2**63, 10**25, 0.0, -0.0, 1.5, 1e-7, 1e22, rng.random(), 5e-324])
    return rng.choice([text, text, number, number, rng.random() < 0.5, None, [text], {"k": number}])


def flat_of(text: str) -> dict[str, Any] | None:
    """The object that a text is as orjson writes it, if it is one of texts, numbers and booleans alone."""
    try:
        value = orjson.loads(text)
        same = orjson.dumps(value) == text.encode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    flat = same and isinstance(value, dict) and all(isinstance(one, str | int | float) for one in value.values())
    return value if flat else None


@pytest.mark.parametrize("seed", range(300))
def test_members_are_those_that_orjson_reads(seed: int) -> None:
    texts = [*random_texts(random.Random(seed))]
    column = pa.array(["before", *texts]).slice(1)
    found = members(column)
    for text, flat, read in zip(texts, found.flat.tolist(), back(found), strict=True):
        expected = flat_of(text)
        if flat:
            assert expected is not None, text
            assert [*map(type, read.values())] == [*map(type, expected.values())]
            exact = {key: float(one) if type(one) is int else one for key, one in expected.items()}
            assert [*read.items()] == [*exact.items()]
        elif expected is not None and all(flat_of(one) is not None for one in texts):
            assert any('"' in key or "\\" in key for key in expected), text
