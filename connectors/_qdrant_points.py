"""Records as points, and back: requests made of record batches, and record batches made of pages of points.

UpsertPoints  collection 1, wait 2, points 3 (PointStruct)
PointStruct   id 1, payload 3 (map<string, Value>), vectors 4
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from vexarrow import payload, records
from vexarrow.ids import ORIGINAL_ID

from . import _qdrant_vectors as vectors
from ._protobuf import sized, varint
from ._qdrant_exact import EXACT, NORM
from ._qdrant_ids import ID_TYPE, Ids, original, with_marks
from ._qdrant_rows import columns_of
from ._qdrant_schema import MAIN, Space
from ._qdrant_values import entries, holds
from ._qdrant_values import payload as decoded

RESERVED = frozenset({EXACT, NORM, ID_TYPE})
SHAPE = payload.Shape(holds=holds, reserved=RESERVED)
STORE = "qdrant"
_NOTHING: dict[str, Any] = {}
_WAIT = b"\x10\x01"


def upsert(name: str, batch: pa.RecordBatch, ids: Ids, first: int, spaces: Sequence[Space]) -> bytes:
    """The UpsertPoints message for a batch, which waits until the points are there. `first`: the row in `ids` of its
    first record."""
    columns = {one: batch.column(one) for one in batch.schema.names if one == MAIN or one.startswith(tuple(_FURTHER))}
    there, kept = vectors.encoded(columns, spaces, batch.num_rows)
    main = next((space.name for space in spaces if space.column == MAIN), None)
    out = [sized(b"\x0a", name.encode()), _WAIT]
    for row, values in enumerate(payload.pack(batch, SHAPE)):
        if payload.HIDDEN in values:
            _filterable(values)
        values.update(ids.kept[first + row])
        if kept[row]:
            values[EXACT] = {space: one.text for space, one in kept[row].items()}
            if main in kept[row]:
                values[NORM] = kept[row][main].length
        identity, members, vector = ids.wire[first + row], entries(values, b"\x1a"), there[row]
        size = len(identity) + 2 + len(members) + len(vector)
        out += (b"\x1a", varint(size), b"\x0a", varint(len(identity)), identity, members, vector)
    return b"".join(out)


_FURTHER = records.EXTRA_VECTORS


def _filterable(values: dict[str, Any]) -> None:
    """Floats that the server rounds have a key of their own all the same, so that it can filter by them."""
    if '"metadata":{' not in values[payload.HIDDEN]:
        return
    members = orjson.loads(values[payload.HIDDEN]).get("metadata", _NOTHING)
    for key, value in members.items():
        if value.__class__ is float and key not in values and key not in RESERVED and key != ORIGINAL_ID:
            values[key] = value


def batch_of(points: Sequence[Any], spaces: Sequence[Space], kind: str, found: payload.Found) -> pa.RecordBatch:
    """The records of `views().Point` messages, in a stream whose ids are of `kind`."""
    wire, raws, rows, kept = [], [], [], []
    for point in points:
        values = decoded(point.payload)
        wire.append(point.id)
        raws.append(point.vectors)
        rows.append(values)
        kept.append(_kept(values) if EXACT in values else _NOTHING)
    key = found.id or ORIGINAL_ID
    ids = [original(raw, values, key) for raw, values in zip(wire, rows, strict=True)]
    for values in rows:
        values.pop(ID_TYPE, None)
    columns = columns_of(rows, SHAPE, found)
    columns["source_store"] = [one or STORE for one in columns["source_store"]]
    texts, integer = [one for one, _ in ids], [one for _, one in ids]
    columns["extra"] = with_marks(texts, integer, columns["extra"], kind)
    more = vectors.decoded(raws, spaces, kept)
    return records.build({"id": texts, **columns}, more.pop(MAIN, None), id_type=kind, more=more)


def _kept(values: dict[str, Any]) -> Mapping[str, Any]:
    """Take out of a payload what was kept of vectors. A key of that name that is not ours stays."""
    held = values[EXACT]
    if not isinstance(held, dict) or not all(isinstance(text, str) for text in held.values()):
        return _NOTHING
    del values[EXACT]
    values.pop(NORM, None)
    return held
