"""Rows of a table of memories to pages of canonical records."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from vexarrow import records, timestamps
from vexarrow.protocols import Page, Reject

from ._vektor_chunks import CREATED_AT, FIELDS, ID, METADATA, NAMESPACE, ROWID, TEXT, VECTOR, Chunk
from ._vektor_metadata import NOTHING, Merger, Note, encoded, from_columns, verbatim_key
from ._vektor_schema import Table
from ._vektor_vec0 import Vec0

Fault = tuple[str, str]
Check = Callable[[Any], Fault | None]
_NONE = type(None)


class _Group(NamedTuple):
    """Rows of one dimension, by their position in the chunk; None means all of them."""

    dim: int
    rows: list[int] | None
    vectors: Any


class Assembler:
    """Makes pages of rows: rowid, id, text, vector, namespace, created_at, metadata, then the fields."""

    def __init__(self, table: Table, id_type: str, vec0: Vec0) -> None:
        self._table = table
        self._id_type = id_type
        self._vec0 = vec0
        self._merger = Merger(table.fields)

    def pages(self, chunk: Chunk, first: int | None) -> list[tuple[Page, int]]:
        """A page and its dimension for each dimension among the rows, smallest first; rejects are in the first page.

        `first` is the rowid that the rows come after, for the cursor. Rows without a vector go with the first page.
        """
        if not chunk:
            return []
        last = chunk.last
        chunk, rejects = self._accepted(chunk)
        groups, endless = _groups(chunk)
        message = "the vector holds NaN or infinity"
        rejects += [self._reject(chunk, at, ("vector-not-finite", message)) for at in endless]
        arrays = self._arrays(chunk) if groups else {}
        pages: list[tuple[Page, int]] = []
        for group in groups:
            batch = self._batch(arrays, group, len(chunk))
            cursor = str(last) if group is groups[-1] else f"{'' if first is None else first},{last},{group.dim}"
            pages.append((Page(batch, cursor, rejects if not pages else ()), group.dim))
        return pages or [(Page(records.empty(id_type=self._id_type), str(last), rejects), 0)]

    def _batch(self, arrays: dict[str, pa.Array], group: _Group, rows: int) -> pa.RecordBatch:
        if group.rows is not None and len(group.rows) != rows:
            wanted = pa.array(group.rows, type=pa.int64())
            arrays = {name: array.take(wanted) for name, array in arrays.items()}
        return records.build(arrays, group.vectors, id_type=self._id_type)

    # -- rows that are no records -----------------------------------------------------------------------------------

    def _accepted(self, chunk: Chunk) -> tuple[Chunk, list[Reject]]:
        """The rows that are records as far as can be seen without decoding vectors, and the others."""
        if not chunk.width:
            chunk = chunk.replaced(self._vec0.completed(chunk.columns[ROWID], chunk.blobs()))
        faults: dict[int, Fault] = {}
        for index, values in enumerate(chunk.columns):
            for check in self._checks(chunk, index):
                found = ((at, check(value)) for at, value in enumerate(values))
                faults |= {at: fault for at, fault in found if fault is not None and at not in faults}
        if not faults:
            return chunk, []
        if chunk.joined is not None:
            chunk = chunk.replaced(chunk.blobs())
        return chunk.without(faults), [self._reject(chunk, at, fault) for at, fault in sorted(faults.items())]

    def _checks(self, chunk: Chunk, index: int) -> list[Check]:
        checks = [self._check(chunk, index, chunk.kinds[index]), _check_utf8 if chunk.marked else None]
        return [check for check in checks if check is not None]

    def _check(self, chunk: Chunk, index: int, kinds: set[type]) -> Check | None:
        """The check that every value of a column has to undergo, None when they are fine as a whole."""
        values = chunk.columns[index]
        if index == ROWID or (index == VECTOR and chunk.width):
            return None
        if index == ID:
            plain = kinds == {int} or (kinds == {str} and "" not in values)
            return None if plain else _check_id
        if index == VECTOR:
            if not kinds <= {bytes, memoryview, _NONE}:
                return _check_blob
            return _check_blob if any(size & 3 for size in set(map(len, filter(None, values)))) else None
        if index == CREATED_AT:
            return None if kinds <= {int, _NONE} or _times(values) is not None else _check_time
        if index < FIELDS:
            name = ("text", "namespace", "metadata")[(index > TEXT) + (index > NAMESPACE)]
            return None if kinds <= {str, _NONE} else lambda value: _check_text(name, value)
        return _check_finite if float in kinds else None

    def _reject(self, chunk: Chunk, at: int, fault: Fault) -> Reject:
        row = [values[at] for values in chunk.columns]
        row[VECTOR] = chunk.blobs()[at]
        identity = None if row[ID] is None else _shown(row[ID])
        return Reject(fault[0], f"{fault[1]} (rowid {row[ROWID]})", id=identity, record=self._line(row))

    def _line(self, row: Sequence[Any]) -> bytes:
        """A row that is no record as a line of JSON; what is binary is base64."""
        names = [column.name for column in self._table.fields]
        members = dict(zip(names, row[FIELDS:], strict=True))
        members |= {} if row[METADATA] is None else {"metadata": row[METADATA]}
        record = {
            "id": row[ID],
            "text": row[TEXT],
            "vector": row[VECTOR],
            "namespace": row[NAMESPACE],
            "metadata": {name: _json(value) for name, value in members.items() if value is not None},
            "created_at": row[CREATED_AT],
            "source_store": "vektor",
            "vex_version": records.VMIG_VERSION,
        }
        plain = {name: value if isinstance(value, dict) else _json(value) for name, value in record.items()}
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()

    # -- rows that are records --------------------------------------------------------------------------------------

    def _arrays(self, chunk: Chunk) -> dict[str, pa.Array]:
        _, _, texts, _, namespaces, created, notes, *fields = chunk.columns
        rows = len(chunk)
        columns: dict[str, Any] = {
            "text": texts,
            "namespace": namespaces,
            "created_at": _times(created),
            "metadata": from_columns(self._table.fields, fields, chunk.kinds[FIELDS:], rows),
            "modality": pa.repeat("text", rows),
            "vex_version": pa.repeat(records.VMIG_VERSION, rows),
            "source_store": pa.repeat("vektor", rows),
            "extra": [None] * rows,
        }
        if columns["created_at"] is None:
            self._odd_times(created, columns)
        if chunk.kinds[METADATA] != {_NONE}:
            self._merge(notes, list(zip(*fields, strict=True)) or [()] * rows, columns)
        columns["id"] = self._ids(chunk.columns[ID], chunk.kinds[ID], columns["extra"])
        json_names = ("metadata", "extra")
        types = {field.name: pa.string() if field.name in json_names else field.type for field in records.BASE_FIELDS}
        return {
            name: column if isinstance(column, pa.Array) else pa.array(column, type=types[name])
            for name, column in columns.items()
        }

    def _ids(self, ids: Sequence[Any], kinds: set[type], extras: list[str | None]) -> Sequence[str]:
        """Ids as text; integers among text are marked in `extra`."""
        if kinds == {str}:
            return ids
        out = []
        for at, value in enumerate(ids):
            text = value if isinstance(value, str) else str(int(value))
            if self._id_type != "int" and not isinstance(value, str) and not (extras[at] or "").startswith('{"id":'):
                extras[at] = verbatim_key("id", text, extras[at])
            out.append(text)
        return out

    def _odd_times(self, created: Sequence[Any], columns: dict[str, Any]) -> None:
        """Times one by one; one finer than a microsecond stays verbatim in `extra`."""
        times: list[int | None] = []
        for at, value in enumerate(created):
            moment, exact = (None, True) if value is None else timestamps.microseconds(_number(value))
            times.append(moment)
            if not exact:
                columns["extra"][at] = verbatim_key("created_at", encoded(value), None)
        columns["created_at"] = pa.array(times, type=pa.int64()).cast(records.TIMESTAMP)

    def _merge(self, texts: Sequence[str | None], fields: Sequence[Sequence[Any]], columns: dict[str, Any]) -> None:
        """Bring in the column `metadata` and its notes."""
        metadata, extra, merged = columns["metadata"], columns["extra"], self._merger.merged
        noted: list[tuple[int, Note]] = []
        for at, (text, values) in enumerate(zip(texts, fields, strict=True)):
            if text is None:
                continue
            metadata[at], note, contradictions = merged(text, values)
            if note is not NOTHING:
                noted.append((at, note))
            elif contradictions is not None:
                extra[at] = contradictions[:-1] + ("," + extra[at][1:] if extra[at] else "}")
        if noted:
            self._apply(noted, columns, len(texts))

    def _apply(self, noted: list[tuple[int, Note]], columns: dict[str, Any], rows: int) -> None:
        usual = {"model": None, "score": None, "modality": "text", "vex_version": records.VMIG_VERSION}
        lists = [(name, [value] * rows) for name, value in usual.items()]
        columns |= lists
        columns |= {name: list(columns[name]) for name in ("text", "namespace")}
        times: list[int | None] | None = None
        for at, note in noted:
            for name, values in lists:
                if name in note:
                    values[at] = note[name]
            if "extra" in note:
                columns["extra"][at] = note["extra"]
            for name in ("text", "namespace"):
                if name in note and not columns[name][at]:
                    columns[name][at] = note[name]
            if "created_at" in note:
                times = columns["created_at"].cast(pa.int64()).to_pylist() if times is None else times
                times[at] = note["created_at"]
        if times is not None:
            columns["created_at"] = pa.array(times, type=pa.int64()).cast(records.TIMESTAMP)


def _groups(chunk: Chunk) -> tuple[list[_Group], list[int]]:
    """The vectors by dimension, smallest first, and the positions of those that are not finite, which are left out."""
    if chunk.width:
        matrix = np.frombuffer(chunk.joined or b"", dtype="<f4").reshape(len(chunk), chunk.width >> 2)
        if np.isfinite(matrix).all():
            return [_Group(chunk.width >> 2, None, records.from_matrix(matrix))], []
    blobs = chunk.blobs()
    lengths = [len(blob) if blob else 0 for blob in blobs]
    distinct = sorted(set(lengths) - {0})
    if not distinct:
        return ([_Group(0, None, None)] if blobs else []), []
    groups, endless = [], []
    for size in distinct:
        riders = 0 if size == distinct[0] else size
        rows = [at for at, length in enumerate(lengths) if length in (size, riders)]
        group, bad = _group(blobs, rows, size)
        endless += bad
        if group.rows:
            groups.append(group)
    return groups, sorted(endless)


def _group(blobs: Sequence[Any], rows: list[int], size: int) -> tuple[_Group, list[int]]:
    blank = bytes(size)
    matrix = np.frombuffer(b"".join([blobs[at] or blank for at in rows]), dtype="<f4").reshape(len(rows), size >> 2)
    valid = np.array([bool(blobs[at]) for at in rows])
    fine = np.isfinite(matrix).all(axis=1)
    bad = [rows[at] for at in np.flatnonzero(~fine).tolist()]
    rows = [rows[at] for at in np.flatnonzero(fine).tolist()]
    return _Group(size >> 2, rows, records.from_matrix(matrix[fine], valid[fine])), bad


def _times(values: Sequence[Any]) -> pa.Array | None:
    try:
        return timestamps.array(values)
    except ValueError:
        return None


def _number(value: Any) -> Any:
    """Text that is a number, which is what a TEXT column makes of an epoch time, as that number."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


# -- checks of one value ----------------------------------------------------------------------------------------------


def _check_id(value: Any) -> Fault | None:
    if value is None or value == "":
        return "missing-id", "id is null or empty"
    whole = isinstance(value, (str, int)) or (isinstance(value, float) and value.is_integer() and abs(value) < 2**63)
    return None if whole else ("id-type", f"id is {_kind(value)}, neither text nor an integer")


def _check_blob(value: Any) -> Fault | None:
    if value is None or value == b"":
        return None
    if not isinstance(value, (bytes, memoryview)):
        return "vector-blob", f"the vector is {_kind(value)}, not a blob of float32"
    if len(value) & 3:
        return "vector-blob", f"the vector's blob of {len(value)} bytes is no whole number of float32"
    return None


def _check_text(name: str, value: Any) -> Fault | None:
    return None if value is None or isinstance(value, str) else (f"{name}-type", f"{name} is {_kind(value)}, not text")


def _check_time(value: Any) -> Fault | None:
    try:
        if value is not None:
            timestamps.microseconds(_number(value))
    except ValueError as error:
        return "created-at", str(error)
    return None


def _check_finite(value: Any) -> Fault | None:
    endless = isinstance(value, float) and not math.isfinite(value)
    return ("not-finite", "a column holds infinity, which JSON cannot hold") if endless else None


def _check_utf8(value: Any) -> Fault | None:
    try:
        if isinstance(value, str):
            value.encode()
    except UnicodeEncodeError:
        return "not-utf8", "a column holds text that is not UTF-8"
    return None


def _kind(value: Any) -> str:
    return "a blob" if isinstance(value, bytes) else f"{value!r}"[:60]


def _shown(value: Any) -> str:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else str(value)


def _json(value: Any) -> Any:
    """A value of SQLite for a reject's line: what JSON cannot hold is base64 or text."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            value = value.encode("utf-8", "surrogateescape")
    if isinstance(value, (bytes, memoryview)):
        return "base64:" + base64.b64encode(value).decode()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
