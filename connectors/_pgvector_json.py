"""JSON that jsonb holds exactly, and JSON that it does not: the latter is kept as text beside it.

jsonb keeps the value of a JSON text: order of keys, white space and spelling go, which is all right. But it takes the
last of equal keys, writes 1e5 as 100000 (an integer) and -0.0 as 0.0, and refuses U+0000 and lone surrogates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow.jsontext import Malformed

from ._json_members import escaped

# Numbers begin where a value may, which keeps most texts with a "-0" or a "1e5," in them out.
_SUSPECT = (
    r"\\u0000|\\u[dD]|[0-9]{300}"
    r"|(?:^|[:,\[])\s*(?:-0(?:\.0*)?(?:[^0-9.]|$)|-?[0-9.]+[eE][-+]?[0-9]+\s*(?:[,}\]]|$))"
)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_MINUS_ZERO = re.compile(r"-0(?:\.0+)?(?:[eE][-+]?[0-9]+)?(?![0-9.eE])")
_EXPONENT = re.compile(r"[0-9]+(?:\.([0-9]+))?[eE]([-+]?[0-9]+)")
_QUOTE, _BACKSLASH, _SPACE, _COLON, _COMMA = (ord(one) for one in '"\\ :,')


def inexact(column: pa.Array) -> tuple[list[int], list[int]]:
    """The rows of a column of JSON texts that jsonb does not hold exactly, and the rows that are not JSON at all."""
    if column.null_count == len(column):
        return [], []
    suspect = set(pc.indices_nonzero(pc.match_substring_regex(column, _SUSPECT).fill_null(False)).to_pylist())
    plain = [] if _all_plain(column) else _not_plain(column.to_pylist())
    lossy, bad = [], []
    for row in sorted(suspect.union(plain)):
        exact = _exact(column[row].as_py())
        if exact is None:
            bad.append(row)
        elif not exact:
            lossy.append(row)
    return lossy, bad


def _all_plain(column: pa.Array) -> bool:
    """Whether orjson writes all texts just as they are: then no key is there twice."""
    whole = "[" + ",".join(column.drop_null().to_pylist()) + "]"
    try:
        return bool(orjson.dumps(orjson.loads(whole)) == whole.encode())
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, UnicodeEncodeError):
        return False


def _not_plain(texts: Sequence[str | None]) -> list[int]:
    rows = []
    for row, text in enumerate(texts):
        if text is not None:
            try:
                if orjson.dumps(orjson.loads(text)) == text.encode():
                    continue
            except (orjson.JSONDecodeError, orjson.JSONEncodeError):
                pass
            rows.append(row)
    return rows


def _exact(text: str) -> bool | None:
    """Whether jsonb holds a text exactly; None when it is not JSON."""
    bare = _STRING.sub('""', text)
    lossy = "\\u0000" in text or bool(_MINUS_ZERO.search(bare)) or any(map(_loses, _EXPONENT.finditer(bare)))
    try:
        value = _LOADS(text)
        json.dumps(value, ensure_ascii=False).encode()
    except _Twice:
        return False
    except (UnicodeEncodeError, RecursionError):
        return False
    except (Malformed, ValueError):
        return None
    return not (lossy or re.search(r"[0-9]{300}", bare))


def _loses(number: re.Match[str]) -> bool:
    """Whether a number with an exponent comes back without a fraction, and so as an integer; or is very long."""
    places = len(number[1] or "") - int(number[2])
    return places <= 0 or places > 1000


class _Twice(Exception):
    """A key is there twice."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def _no_constant(name: str) -> Any:
    raise Malformed(f"{name} is not a JSON number")


_LOADS = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=str, parse_float=str, parse_constant=_no_constant, strict=True
).decode


def compact(column: pa.Array) -> pa.Array:
    """The texts that jsonb gives, without the spaces that it puts between members.

    Such a space comes after a comma or a colon and an even number of quotes, not counting those behind a backslash.
    """
    if column.null_count == len(column):
        return column
    _, offsets, buffer = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(buffer, np.uint8)[ends[0] : ends[-1]]
    quotes = data == _QUOTE
    if (data == _BACKSLASH).any():
        quotes &= ~escaped(data)
    spaces = np.flatnonzero(data == _SPACE)
    before = data[spaces - 1]
    spaces = spaces[(before == _COLON) | (before == _COMMA)]
    # Every text has an even number of quotes, so that counting can go on from one to the next.
    gone = spaces[np.searchsorted(np.flatnonzero(quotes), spaces) % 2 == 0]
    kept = np.ones(len(data), np.bool_)
    kept[gone] = False
    shorter = (ends - ends[0]) - np.searchsorted(gone, ends - ends[0])
    bounds, texts = pa.py_buffer(shorter.astype(np.int32)), pa.py_buffer(data[kept])
    return pa.Array.from_buffers(pa.string(), len(column), [_validity(column), bounds, texts])


def _validity(column: pa.Array) -> Any:
    if not column.null_count:
        return None
    return pa.py_buffer(np.packbits(np.asarray(column.is_valid()), bitorder="little"))
