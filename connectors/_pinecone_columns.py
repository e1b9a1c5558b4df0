"""The records of answers over gRPC as columns, without a Python object for any member of their metadata.

It reads what a server of Pinecone writes and records that this tool wrote and whose `__vex__` says nothing but which
numbers were floats and what Pinecone does not hold: `plain` ones. The metadata of others are for
`_pinecone_shape.read`, and answers that are unusual in any way for protobuf's own parser (`_pinecone_packed`): what
columns say is always what these would say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from vexarrow import timestamps
from vexarrow.hidden import said
from vexarrow.ids import ORIGINAL_ID
from vexarrow.payload import HIDDEN

from ._arrow_numbers import int64
from ._json_columns import Members, Rest, inner, numbers, objects
from ._pinecone_messages import value_of
from ._protobuf import fields, varint_at
from ._protobuf_columns import Unusual, doubles, each_of, texts, walk
from ._protobuf_struct import entries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._protobuf_columns import Places

NAMES = ("id", "text", "model", "created_at", "metadata")
_PLACED = (HIDDEN, ORIGINAL_ID, "text", "model", "created_at")
_PAIR, _PAGINATION = 0x0A, 0x22  # tags in an answer
_NUMBER, _TEXT, _BOOLEAN, _STRUCT = 2, 3, 4, 5
_LITERALS = pa.array(["null", "false", "true"])
_MOST_BYTES = 1 << 31
_INTEGER = 2.0**63


@dataclass(frozen=True)
class Cut:
    """The records of one answer: `ids`, and where the vector and the metadata of each are, as starts and stops."""

    ids: Sequence[str]
    vectors: tuple[Places, Places]
    metadata: tuple[Places, Places]
    more: str | None


def cut(data: bytes) -> Cut:
    """Find the records of an answer. Raises Unusual, also for answers that cannot be read."""
    if len(data) >= _MOST_BYTES:
        raise Unusual("a large answer")
    starts, stops, more = _cut(data)
    keys, vectors = each_of(data, starts, stops, (1, 2), (1, 2))
    ids = texts(data, *keys).to_pylist()
    if len(set(ids)) != len(ids):
        raise Unusual("an id that is there twice")
    (start, stop), metadata = each_of(data, *vectors, (1, 2, 3), (2, 3))
    if ids and (not (stop > start).all() or ((stop - start) % 4).any()):
        raise Unusual("a vector that is none")
    return Cut(ids, (start, stop), metadata, more)


def _cut(data: bytes) -> tuple[Places, Places, str | None]:
    """Where the pairs of id and vector are in an answer, and the token of the next page."""
    starts: list[int] = []
    stops: list[int] = []
    token = None
    at, end = 0, len(data)
    try:
        while at < end:
            tag, low = data[at], data[at + 1]
            if tag == _PAIR and low >= 0x80 > (high := data[at + 2]):  # as nearly all are
                at += 3
                starts.append(at)
                at += low - 0x80 + (high << 7)
                stops.append(at)
                continue
            size, start = varint_at(data, at + 1)
            at = start + size
            if tag == _PAIR:
                starts.append(start)
                stops.append(at)
            elif tag == _PAGINATION:
                token = dict(fields(data[start:at])).get(1, b"").decode()
            elif tag & 7 != 2 or tag >= 0x80:
                raise Unusual("an answer with other fields")
    except (IndexError, ValueError, AttributeError) as error:
        raise Unusual(str(error)) from None
    if at != end:
        raise Unusual("an answer that is cut off")
    return np.array(starts, np.int64), np.array(stops, np.int64), token or None


@dataclass(frozen=True)
class Columns:
    """Records as columns by NAMES. `plain`: which they are; the columns have a row for each of these."""

    plain: NDArray[np.bool_]
    columns: Sequence[pa.Array]


def columns(ids: Sequence[str], metadata: Sequence[memoryview]) -> Columns:
    """The records of these ids and metadata. Raises Unusual, and ValueError or DecodeError for what cannot be read."""
    data = b"".join(metadata)
    if len(data) >= _MOST_BYTES:
        raise Unusual("large metadata")
    bounds = np.cumsum([0, *map(len, metadata)])
    members = _members(data, (bounds[:-1], bounds[1:]))
    order = _in_order(members)
    hidden = _hidden(members, len(ids))
    plain = hidden.plain
    row = np.cumsum(plain) - 1
    rows = int(plain.sum())
    text, model, created, original = (
        _column(members, name, plain, row, rows) for name in ("text", "model", "created_at", ORIGINAL_ID)
    )
    if original.null_count:
        original = original.fill_null(pa.array(compress(ids, plain.tolist()), pa.string()))
    try:
        moments = timestamps.from_texts(created)
    except ValueError as error:
        raise Unusual(str(error)) from None
    placed = np.array([name in _PLACED for name in members.names], dtype=bool)
    chosen = order[(~placed[members.key] & plain[members.owner])[order]]
    values, place = _values(data, members, chosen, hidden)
    own = Members(row[members.owner[chosen]], members.key[chosen], place, members.kind[chosen] == _TEXT)
    rest = Rest([said.rest for said in hidden.said], hidden.which[plain])
    return Columns(plain, [original, text, model, moments, objects(own, members.names, values, rest)])


@dataclass(frozen=True)
class _Members:
    """The members of all metadata in their order: of which record each is, the place of its key in `names`, the kind of
    its value and where that is; `texts` are those of kind text, and `at` the place of each in them."""

    owner: Places
    key: Places
    names: Sequence[str]
    kind: Places
    start: Places
    stop: Places
    texts: pa.StringArray
    at: Places

    def named(self, name: str) -> Places:
        """The members of a key."""
        if name not in self.names:
            return np.empty(0, np.int64)
        return np.flatnonzero(self.key == self.names.index(name))


def _members(data: bytes, metadata: tuple[Places, Places]) -> _Members:
    owner, _, _, start, stop = walk(np.frombuffer(data, np.uint8), *metadata).every(1)
    found = entries(data, start, stop)
    key = texts(data, *found.key).dictionary_encode()
    start, stop = found.value
    text = np.flatnonzero(found.kind == _TEXT)
    at = np.empty(len(owner), np.int64)
    at[text] = np.arange(len(text))
    place = key.indices.to_numpy().astype(np.int64)
    names = key.dictionary.to_pylist()
    return _Members(owner, place, names, found.kind, start, stop, texts(data, start[text], stop[text]), at)


def _in_order(members: _Members) -> Places:
    """The members of each record by key. Raises Unusual when one has a key twice."""
    rank = np.empty(len(members.names), np.int64)
    rank[sorted(range(len(rank)), key=members.names.__getitem__)] = np.arange(len(rank))
    code = members.owner * len(rank) + rank[members.key]
    order = np.argsort(code)
    if (np.diff(code[order]) == 0).any():
        raise Unusual("a key that is there twice")
    return order


class _Said(NamedTuple):
    """What a `__vex__` says: keys of floats, members that Pinecone does not hold, and these as JSON without braces."""

    floats: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    rest: str | None = None


class _Hidden(NamedTuple):
    """Which records are plain, what their `__vex__` say, and the place of each record's in that."""

    plain: NDArray[np.bool_]
    said: Sequence[_Said]
    which: Places

    def among(self, members: _Members, chosen: Places | slice, keys: Sequence[frozenset[str]]) -> NDArray[np.bool_]:
        """Which of the chosen members have a key that is among those of their record's `__vex__`."""
        places = {name: place for place, name in enumerate(members.names)}
        pairs = [at * len(places) + places[name] for at, names in enumerate(keys) for name in names if name in places]
        mine = self.which[members.owner[chosen]] * len(places) + members.key[chosen]
        return np.isin(mine, pairs) if pairs else np.zeros(len(mine), dtype=bool)


def _hidden(members: _Members, count: int) -> _Hidden:
    plain, which = np.zeros(count, dtype=bool), np.full(count, -1, np.int64)
    at = members.named(HIDDEN)
    at = at[members.kind[at] == _TEXT]
    texts_said = members.texts.take(int64(members.at[at])).dictionary_encode()
    said = [_said(text) for text in texts_said.dictionary.to_pylist()]
    which[members.owner[at]] = texts_said.indices.to_numpy()
    known = np.array([one is not None for one in said], dtype=bool)
    plain[members.owner[at]] = known[which[members.owner[at]]]
    for name in _PLACED:
        at = members.named(name)
        plain[members.owner[at[members.kind[at] != _TEXT]]] = False
    found = _Hidden(plain, [one or _Said() for one in said], which)
    both = found.among(members, slice(None), [one.others for one in found.said])
    plain[members.owner[both]] = False
    return found


def _said(text: str) -> _Said | None:
    """What a `__vex__` says; None when it says more than which numbers were floats and what is not held, or is none of
    ours."""
    if text == "{}":
        return _Said()
    known = said(text)
    if known is None or not known.keys() <= {"floats", "metadata"}:
        return None
    floats = frozenset(known.get("floats", ()))
    if "metadata" not in known:
        return _Said(floats)
    others = known["metadata"]
    return _Said(floats, frozenset(others) - set(_PLACED), orjson.dumps(others)[1:-1].decode())


def _column(members: _Members, name: str, plain: NDArray[np.bool_], row: Places, rows: int) -> pa.StringArray:
    """The texts of a key, one for each plain record; "" is null but for the id."""
    at = members.named(name)
    at = at[plain[members.owner[at]]]
    if name != ORIGINAL_ID:
        at = at[members.stop[at] > members.start[at]]
    place = np.zeros(rows, np.int64)
    valid = np.zeros(rows, dtype=bool)
    place[row[members.owner[at]]] = members.at[at]
    valid[row[members.owner[at]]] = True
    return members.texts.take(int64(place, valid))


def _values(
    data: bytes,
    members: _Members,
    chosen: Places,
    hidden: _Hidden,
) -> tuple[list[pa.StringArray], Places]:
    """The values of chosen members as JSON, texts without their quotes: arrays, and the place of each in these."""
    kind = members.kind[chosen]
    text, number, boolean = (kind == one for one in (_TEXT, _NUMBER, _BOOLEAN))
    order = np.zeros(len(chosen), np.int64)
    order[boolean] = 1 + (np.frombuffer(data, np.uint8)[members.start[chosen[boolean]]] != 0)
    parts = [_LITERALS]

    def put(mask: NDArray[np.bool_], made: tuple[pa.StringArray, Places]) -> None:
        order[mask] = sum(map(len, parts)) + made[1]
        parts.append(made[0])

    put(text, inner(members.texts.take(int64(members.at[chosen[text]]))))
    if number.any():
        mine = chosen[number]
        given = doubles(data, members.start[mine])
        marked = hidden.among(members, mine, [said.floats for said in hidden.said])
        if not np.isfinite(given).all() or np.abs(given[~marked]).max(initial=0) >= _INTEGER:
            raise Unusual("numbers that JSON has not")
        put(number, numbers(given, marked))
    others = kind >= _STRUCT
    if others.any():
        some = chosen[others]
        spans = zip(members.kind[some].tolist(), members.start[some].tolist(), members.stop[some].tolist(), strict=True)
        made = [_other(data, *span) for span in spans]
        put(others, (pa.array(made, pa.string()), np.arange(len(made))))
    return parts, order


def _other(data: bytes, kind: int, start: int, stop: int) -> str:
    """An object or a list as JSON. Raises ValueError and DecodeError where it cannot be read."""
    try:
        return orjson.dumps(value_of(kind << 3 | 2, data[start:stop])).decode()
    except orjson.JSONEncodeError as error:
        raise Unusual(str(error)) from None
