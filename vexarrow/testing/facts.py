"""Records as plain values that are equal exactly when nothing was lost."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from vexarrow import records
from vexarrow.jsontext import canonical, members


class Fact(NamedTuple):
    """A record. `id` is its JSON form (`5` or `"5"`), vectors and score are bits, `created_at` is in microseconds."""

    id: str
    text: str | None
    vector: bytes | None
    model: str | None
    namespace: str | None
    metadata: str | None
    created_at: int | None
    score: bytes | None
    source_store: str | None
    modality: str
    vex_version: str | None
    extra: str | None
    further: tuple[tuple[str, object], ...]


def facts(batches: pa.RecordBatch | Iterable[pa.RecordBatch], *, verbatim: bool = True) -> list[Fact]:
    """Every record of the batches, in their order.

    A null modality is "text", a null vex_version the version of the specification: that is what null means there.
    `verbatim=False` compares JSON by its value and leaves out source_store and vex_version, just as the content
    digest does: a store need not keep the spelling of JSON, and may say that the records are its own now.
    """
    found = [batches] if isinstance(batches, pa.RecordBatch) else batches
    rows = [fact for batch in found for fact in _facts(batch)]
    return rows if verbatim else [_by_value(fact) for fact in rows]


def _by_value(fact: Fact) -> Fact:
    metadata, extra = _canonical(fact.metadata), _canonical(fact.extra)
    return fact._replace(metadata=metadata, extra=extra, source_store=None, vex_version=None)


def _canonical(text: str | None) -> str | None:
    return None if text is None else canonical(text).decode()


def _facts(batch: pa.RecordBatch) -> Iterable[Fact]:
    plain = {name: records.storage(batch.column(name)).to_pylist() for name in records.BASE_NAMES}
    marks = [_marked(extra) for extra in plain["extra"]]
    kind = records.id_type(batch.schema)
    moments = batch.column("created_at").cast(pa.int64()).to_pylist()
    vectors = _vectors(batch.column("vector"))
    further = [name for name in batch.schema.names if name.startswith(records.EXTRA_VECTORS)]
    for row in range(batch.num_rows):
        identity = plain["id"][row]
        score = plain["score"][row]
        yield Fact(
            id=marks[row][0] or (identity if kind == "int" else json.dumps(identity, ensure_ascii=False)),
            text=plain["text"][row],
            vector=vectors[row],
            model=plain["model"][row],
            namespace=plain["namespace"][row],
            metadata=plain["metadata"][row],
            created_at=moments[row],
            score=None if score is None else struct.pack("<d", score),
            source_store=plain["source_store"][row],
            modality=_or(plain["modality"][row], "text"),
            vex_version=_or(plain["vex_version"][row], records.VMIG_VERSION),
            extra=marks[row][1],
            further=tuple((name, value) for name in sorted(further) if (value := _bits(batch.column(name), row))),
        )


def _or(value: str | None, default: str) -> str:
    return default if value is None else value


def _marked(extra: str | None) -> tuple[str | None, str | None]:
    """The verbatim id in `extra`, if there is one, and the rest; an empty object is nothing."""
    if extra is None:
        return None, None
    found = members(extra)
    mark = next((value for key, _, value in found if key == "id"), None)
    rest = ",".join(f"{written}:{value}" for key, written, value in found if key != "id")
    return mark, (extra if mark is None and rest else f"{{{rest}}}" if rest else None)


def _vectors(column: pa.FixedSizeListArray) -> Sequence[bytes | None]:
    matrix, there = records.matrix(column), records.present(column)
    return [row.astype("<f4").tobytes() if is_there else None for row, is_there in zip(matrix, there, strict=True)]


def _bits(column: pa.Array, row: int) -> object:
    """A further vector of one record as bytes and lengths, None when it has none."""
    value = column[row]
    if not value.is_valid:
        return None
    if isinstance(value, pa.StructScalar):
        return _array(value["indices"].values, "<u4"), _array(value["values"].values, "<f4")
    if not pa.types.is_floating(value.values.type):
        return len(value.values), _array(value.values.flatten(), "<f4")
    return _array(value.values, "<f4")


def _array(values: pa.Array, kind: str) -> bytes:
    return np.asarray(values).astype(kind).tobytes()
