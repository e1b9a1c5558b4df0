"""Places of the Pinecone emulator, as tests write and read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa

from tests.engines._pinecone_rules import Json, Record
from tests.engines._pinecone_store import Index
from tests.engines.pinecone import KEY, Emulator
from vexarrow import records
from vexarrow.protocols import Page, Source
from vexarrow.selection import Selection
from vexarrow.testing import Spot, read, samples

SPARSE = pa.struct([("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))])
DENSE: Json = {"_values": {"type": "dense_vector", "dimension": 2, "metric": "cosine"}}


def spot(emulator: Emulator, name: str, *, target: Mapping[str, str] = {}, **options: str) -> Spot:
    given = {"api-key": KEY, "controller-host": emulator.url, "index": name}
    given |= {key.replace("_", "-"): value for key, value in options.items()}
    return Spot("pinecone", given, {**given, **target})


def store(index: Index, ids: Sequence[str], space: str = "", **metadata: Any) -> None:
    """Records as another tool would have written them."""
    vectors = samples.vectors(len(ids), 2)
    index.write(space, [Record(one, vector, None, dict(metadata)) for one, vector in zip(ids, vectors, strict=True)])


def opened(place: Spot, selection: Selection = Selection()) -> AbstractContextManager[Source]:
    return place.source().source(selection)


def ids_of(found: Iterable[Page]) -> list[str]:
    return [one for page in found for one in page.batch.column("id").to_pylist()]


def records_of(place: Spot, selection: Selection = Selection()) -> list[Json]:
    """Every record as a dictionary, sorted by id, without its vector."""
    found = [records.plain(batch.drop_columns("vector")) for batch in read(place, selection=selection)]
    rows = [
        {key: value for key, value in row.items() if value is not None} for batch in found for row in batch.to_pylist()
    ]
    return sorted(rows, key=lambda row: str(row["id"]))
