"""Payloads of pages made into columns: `vexarrow.payload.unpack`, with a shorter way for the records that are plainest.

A record is plain when its fields are texts, `__vex__` keeps no metadata, and nothing looks like another tool's: then
what is left of the payload is the metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson
import pyarrow as pa

from vexarrow import timestamps
from vexarrow.fields import Found
from vexarrow.hidden import said
from vexarrow.ids import ORIGINAL_ID
from vexarrow.payload import FIELDS, HIDDEN, Payload, Shape, is_id, unpack

_TEXTS = tuple(FIELDS[name] for name in ("text", "namespace", "model"))
_MOMENT = FIELDS["created_at"]
_OTHERS = {"source_store": None, "modality": "text", "vex_version": None, "score": None, "extra": None}
_DEFAULTS = tuple(_OTHERS.values())
_NESTED = "page_content"  # LangChain's, with the metadata in a key of its own
_NAMES = ("text", "namespace", "model", "metadata", *_OTHERS)
_SHORT = 500
_ANYWHERE = Found()


def columns_of(rows: Sequence[Payload], shape: Shape, found: Found) -> dict[str, Any]:
    """The columns of records.build but `id`. The payloads are used up."""
    plain = [found == _ANYWHERE and _is_plain(values) for values in rows]
    moments = _moments(
        [values.get(_MOMENT) if is_plain else None for values, is_plain in zip(rows, plain, strict=True)]
    )
    if moments is None or not any(plain):
        return unpack([_sorted(values) for values in rows], shape, found)
    lines = [_line(values) if is_plain else None for values, is_plain in zip(rows, plain, strict=True)]
    if all(plain):
        return {"created_at": moments, **dict(zip(_NAMES, map(list, zip(*lines, strict=True)), strict=True))}
    others = unpack(
        [_sorted(values) for values, is_plain in zip(rows, plain, strict=True) if not is_plain], shape, found
    )
    rest = iter(zip(*(others[name] for name in _NAMES), strict=True))
    merged = zip(*(next(rest) if line is None else line for line in lines), strict=True)
    numbers, later = moments.cast(pa.int64()).to_pylist(), iter(others["created_at"])
    times = [one if is_plain else next(later) for one, is_plain in zip(numbers, plain, strict=True)]
    return {"created_at": times, **dict(zip(_NAMES, map(list, merged), strict=True))}


def _sorted(values: Payload) -> Payload:
    """The payload in the order of its keys: it comes in another one each time."""
    return dict(sorted(values.items()))


def _is_plain(values: Payload) -> bool:
    hidden = values.get(HIDDEN)
    if hidden is None:
        if _NESTED in values or not values.get(_TEXTS[0]):
            return False
    elif hidden.__class__ is not str or _others(hidden) is None:
        return False
    if ORIGINAL_ID in values and not is_id(values[ORIGINAL_ID]):
        return False
    for key in _TEXTS:
        value = values.get(key)
        if value is not None and (value.__class__ is not str or not value):
            return False
    return values.get(_MOMENT, "x").__class__ is str


def _moments(texts: list[Any]) -> pa.Array | None:
    """Timestamps; None where one has to be looked at."""
    try:
        return timestamps.from_texts(pa.array(texts, pa.string()))
    except ValueError:
        return None


def _line(values: Payload) -> tuple[Any, ...]:
    """A plain record in the order of `_NAMES`."""
    pop = values.pop
    hidden = pop(HIDDEN, None)
    others = _DEFAULTS if hidden is None else _others(hidden)
    texts = (pop(_TEXTS[0], None), pop(_TEXTS[1], None), pop(_TEXTS[2], None))
    pop(_MOMENT, None)
    pop(ORIGINAL_ID, None)
    return (*texts, orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode() if values else None, *(others or ()))


def _others(text: str) -> tuple[Any, ...] | None:
    return _known(text) if len(text) < _SHORT else _read(text)


def _read(text: str) -> tuple[Any, ...] | None:
    """The values of `_OTHERS` in a `__vex__`, None when there is more in it."""
    found = said(text)
    if found is None or not found.keys() <= _OTHERS.keys():
        return None
    return tuple(default if found.get(name) is None else found[name] for name, default in _OTHERS.items())


_known = lru_cache(4096)(_read)
