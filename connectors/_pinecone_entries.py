"""The metadata of many records as the bytes of a google.protobuf.Struct each, put together as columns.

What comes out is what `_pinecone_shape.addressed` and `_pinecone_messages.struct_bytes` make of the same records, for
those that need nothing but which numbers are floats, and where they came from, in `__vex__`; others are left to these.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records, timestamps
from vexarrow.ids import ORIGINAL_ID
from vexarrow.payload import HIDDEN, read_json, usual

from ._arrow_numbers import int64
from ._json_members import FLOAT, INTEGER, TEXT, TRUE, Flat
from ._json_members import members as flat_members
from ._pinecone_messages import boolean_entry, number_head, text_head

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]

_FIELDS = ("text", "model", "created_at")
_BARRED = frozenset({HIDDEN, ORIGINAL_ID, *_FIELDS})
_EXACT = 2.0**53
_LONGEST = 1 << 32  # more than the bytes of any text
_NUMBER, _NO, _YES = -1, -2, -3  # instead of the size of a text


class Entries(NamedTuple):
    """`done`: the rows whose metadata are in `structs`; those of the others are empty there."""

    done: NDArray[np.bool_]
    structs: Sequence[memoryview]


def entries(batch: pa.RecordBatch, without: Collection[int]) -> Entries:
    """The metadata of the records of a batch, but for those rows."""
    rows = batch.num_rows
    members = _Members(records.storage(batch.column("metadata")))
    done = members.done
    done[list(without)] = False
    columns = {name: _texts(batch.column(name), name) for name in _FIELDS}
    for column in columns.values():
        done &= _sizes(column) != 0
    for name in ("extra", "score"):
        done &= np.asarray(batch.column(name).is_null())
    hidden = _hidden(batch, members)
    parts = _Parts(rows)
    parts.add(members.owner, members.key, members.size, members.body, members.values)
    for name, column in (*columns.items(), (HIDDEN, hidden)):
        there = np.flatnonzero(np.asarray(column.is_valid()))
        parts.add(there, np.full(len(there), members.place(name)), _sizes(column)[there], there, column)
    return Entries(done, parts.structs(members.names, done))


# -- the members of the metadata ------------------------------------------------------------------------


class _Members:
    """The members of all metadata: the row of each, the place of its key in `names`, the size of its text (or what it
    is instead), and the place of its value in `values`. `done`: rows of which these are all members."""

    def __init__(self, metadata: pa.StringArray) -> None:
        found = _spelt(metadata.fill_null("{}"))
        self.owner, self.key = found.owner, found.key
        self._places = {name: place for place, name in enumerate(dict.fromkeys([*found.names, *_FIELDS, HIDDEN]))}
        self.names = list(self._places)
        kind, count = found.kind, len(found.owner)
        text, number = kind == TEXT, (kind == FLOAT) | (kind == INTEGER)
        self.size = np.where(kind == TRUE, _YES, _NO)
        self.size[text] = _sizes(found.texts)
        self.size[number] = _NUMBER
        self.body = np.full(count, len(found.texts) + len(found.numbers))
        self.body[text] = np.arange(len(found.texts))
        self.body[number] = len(found.texts) + np.arange(len(found.numbers))
        nothing = pa.array([b""], pa.binary())
        self.values = pa.concat_arrays([found.texts.cast(pa.binary()), _doubles(found.numbers), nothing])
        value = np.zeros(count)
        value[number] = found.numbers
        self.whole = np.flatnonzero((kind == FLOAT) & (np.floor(value) == value))
        barred = np.array([not name or name[0] == "$" or name in _BARRED for name in self.names], dtype=bool)
        unfit = ((kind == INTEGER) & (np.abs(value) >= _EXACT)) | barred[self.key]
        empty = np.bincount(self.owner, minlength=len(metadata)) == 0
        self.done = found.flat & ~(empty & np.asarray(metadata.is_valid()))
        self.done[self.owner[unfit]] = False

    def place(self, name: str) -> int:
        """The place of a key in `names`."""
        return self._places[name]


def _spelt(objects: pa.StringArray) -> Flat:
    """The members of objects, also of those that are not spelt as orjson does, but say the same."""
    found = flat_members(objects)
    odd = np.flatnonzero(~found.flat)
    told = objects.take(int64(odd)).to_pylist()
    again = [*map(_as_orjson, told)]
    if again == told:
        return found
    order = np.arange(len(objects))
    order[odd] = len(objects) + np.arange(len(odd))
    return flat_members(pa.concat_arrays([objects, pa.array(again, pa.string())]).take(int64(order)))


def _as_orjson(text: str) -> str:
    """A JSON object as orjson writes it, where that says the same."""
    value, exact = read_json(text)
    return orjson.dumps(value).decode() if exact else text


def _texts(column: pa.Array, name: str) -> pa.StringArray:
    if name != "created_at" or column.null_count == len(column):
        return column.cast(pa.string())
    return pa.array(timestamps.texts(column), pa.string())


def _hidden(batch: pa.RecordBatch, members: _Members) -> pa.StringArray:
    """What `__vex__` says in each row."""
    told = usual(batch)
    owner, key, names = members.owner[members.whole], members.key[members.whole], members.names
    counts = np.bincount(owner, minlength=batch.num_rows)
    index = np.zeros(batch.num_rows, np.int64)
    index[owner] = 1 + key
    several = counts > 1 if told is None else np.ones(len(counts), dtype=bool)
    floats: dict[int, list[str]] = {row: [] for row in np.flatnonzero(several).tolist()}
    some = several[owner]
    for row, at in zip(owner[some].tolist(), key[some].tolist(), strict=True):
        floats[row].append(names[at])
    texts = [_said(tuple(keys), told[row] if told else ()) for row, keys in floats.items()]
    index[several] = 1 + len(names) + np.arange(len(texts))
    return pa.array(["{}", *(_said((name,)) for name in names), *texts], pa.string()).take(int64(index))


@lru_cache(1024)
def _said(floats: tuple[str, ...], told: tuple[tuple[str, str], ...] = ()) -> str:
    return orjson.dumps(({"floats": floats} if floats else {}) | dict(told)).decode()


# -- putting together -----------------------------------------------------------------------------------


class _Parts:
    """Members of rows, group after group."""

    def __init__(self, rows: int) -> None:
        self._counts = np.zeros(rows, np.int64)
        self._groups: list[tuple[Places, ...]] = []
        self._values: list[pa.Array] = []
        self._known = 0

    def add(self, owner: Places, key: Places, size: Places, body: Places, values: pa.Array) -> None:
        """Members, those of a row together, after those that the rows have already. `body`: their places in values."""
        counts = np.bincount(owner, minlength=len(self._counts))
        within = np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
        self._groups.append((owner, self._counts[owner] + within, key * _LONGEST + size, self._known + body))
        self._counts += counts
        self._values.append(values.cast(pa.binary()))
        self._known += len(values)

    def structs(self, names: Sequence[str], done: NDArray[np.bool_]) -> list[memoryview]:
        """The bytes of all members of each row, of one that is not done none."""
        owner, within, code, body = map(np.concatenate, zip(*self._groups, strict=True))
        mine = done[owner]
        owner, within, code, body = owner[mine], within[mine], code[mine], body[mine]
        stops = np.cumsum(np.where(done, self._counts, 0))
        place = 2 * ((stops - self._counts)[owner] + within)
        heads = int64(code).dictionary_encode()
        made = [_head(names[(one + 3) // _LONGEST], (one + 3) % _LONGEST - 3) for one in heads.dictionary.to_pylist()]
        order = np.empty(2 * len(owner), np.int64)
        order[place] = self._known + heads.indices.to_numpy()
        order[place + 1] = body
        joined = pa.concat_arrays([*self._values, pa.array(made, pa.binary())]).take(int64(order))
        bounds = np.frombuffer(joined.buffers()[1], np.int32, len(joined) + 1)[np.append(0, 2 * stops)].tolist()
        whole = memoryview(joined.buffers()[2] or b"")
        return [whole[start:stop] for start, stop in pairwise(bounds)]


def _head(name: str, size: int) -> bytes:
    """What stands before the value of a member, of a boolean all of it."""
    if size >= 0:
        return text_head(name, size)
    return number_head(name) if size == _NUMBER else boolean_entry(name, value=size == _YES)


def _sizes(texts: pa.StringArray) -> Places:
    """The bytes of each text; -1 where there is none."""
    sizes: Places = pc.binary_length(texts).fill_null(-1).to_numpy().astype(np.int64)
    return sizes


def _doubles(numbers: NDArray[np.float64]) -> pa.BinaryArray:
    bounds = pa.py_buffer(np.arange(0, 8 * len(numbers) + 1, 8, dtype=np.int32))
    return pa.Array.from_buffers(pa.binary(), len(numbers), [None, bounds, pa.py_buffer(numbers.astype("<f8"))])
