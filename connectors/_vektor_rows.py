"""Canonical batches to rows of a table of memories."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from vexarrow import records, timestamps
from vexarrow.protocols import Reject

from ._vektor_metadata import Splitter, encoded, verbatim_key, without_key
from ._vektor_schema import Column, Table

_NONE = type(None)


class Rows(NamedTuple):
    """Rows to write: `values` in the order of `names`, the text for `metadata` apart, positions in the batch."""

    values: list[tuple[Any, ...]]
    notes: list[str | None]
    at: list[int]

    def only(self, wanted: Sequence[bool]) -> Rows:
        """Some of the rows."""
        return Rows(
            list(compress(self.values, wanted)), list(compress(self.notes, wanted)), list(compress(self.at, wanted))
        )


class Composer:
    """Makes rows of one table. `defaults` are the values that fields get when a record says nothing about them."""

    def __init__(self, table: Table, iso: bool, milliseconds: bool, defaults: Sequence[Any]) -> None:
        self._table = table
        self._iso = iso
        self._milliseconds = milliseconds
        self._splitter = Splitter(table.fields, defaults)
        self._heads: dict[tuple[Any, ...], str] = {}

    @property
    def names(self) -> list[str]:
        """The columns of a row, without `metadata`."""
        table = self._table
        roles = (table.id, table.text, table.vector, table.namespace, table.created_at, *table.fields)
        return [column.name for column in roles if column is not None]

    def rows(self, batch: pa.RecordBatch) -> tuple[Rows, list[Reject]]:
        """The rows of a batch and the records that are none."""
        rejects: dict[int, Reject] = {}
        extras = records.storage(batch.column("extra")).to_pylist()
        ids = self._ids(batch, extras, rejects)
        vectors = self._vectors(batch, rejects)
        columns = {name: batch.column(name).to_pylist() for name in ("text", "namespace")}
        self._refuse_scores(batch, rejects)
        notes = self._heads_of(batch, extras, columns)
        created, inexact = self._times(batch.column("created_at"))
        for at, moment in inexact.items():
            notes[at] += f'{"," if notes[at] else ""}"created_at":{"null" if moment is None else moment}'
        roles = zip(ids, *self._present(columns["text"], vectors, columns["namespace"], created), strict=True)
        metadata = records.storage(batch.column("metadata")).to_pylist()
        rows = Rows([], [], [])
        for at, (base, document, note) in enumerate(zip(roles, metadata, notes, strict=True)):
            if at not in rejects:
                fields, text = self._splitter.split(document, note)
                rows.values.append((*base, *fields))
                rows.notes.append(text)
                rows.at.append(at)
        return rows, [rejects[at] for at in sorted(rejects)]

    def _present(self, *columns: Sequence[Any]) -> list[Sequence[Any]]:
        table = self._table
        roles = (table.text, table.vector, table.namespace, table.created_at)
        return [values for values, column in zip(columns, roles, strict=True) if column is not None]

    # -- ids --------------------------------------------------------------------------------------------------------

    def _ids(self, batch: pa.RecordBatch, extras: list[str | None], rejects: dict[int, Reject]) -> list[Any]:
        """Ids as the column keeps them; an id that changes its type by that is marked in `extra`."""
        ids: list[Any] = batch.column("id").to_pylist()
        whole = records.id_type(batch.schema) == "int"
        kind = self._table.id_kind
        if kind == "text" and not whole:
            return ids
        for at, identity in enumerate(ids):
            number = integer(identity)
            mark = f'{{"id":{identity}'
            marked = number is not None and (extras[at] or "").startswith((mark + ",", mark + "}"))
            if kind == "text":
                extras[at] = (
                    extras[at]
                    if marked
                    else verbatim_key("id", encoded(identity if number is None else number), extras[at])
                )
            elif kind == "any" and not whole and not marked:
                self._refuse_numeric(at, identity, rejects)
            elif number is None:
                message = f"id {identity!r} is no integer, and the table {self._table.name} takes only integers"
                rejects[at] = Reject("id-type", message, id=identity, row=at)
            else:
                ids[at] = number
                extras[at] = self._unmarked(identity, extras[at], marked, whole)
        return ids

    @staticmethod
    def _unmarked(identity: str, extra: str | None, marked: bool, whole: bool) -> str | None:
        """`extra` for an id that is stored as an integer: marked when the record's own id is text."""
        if marked and extra is not None:
            return without_key("id", extra)
        if whole or (extra or "").startswith('{"id":'):
            return extra
        return verbatim_key("id", encoded(identity), extra)

    def _refuse_numeric(self, at: int, identity: str, rejects: dict[int, Reject]) -> None:
        if self._table.id.affinity != "BLOB" and integer(identity.strip()) is not None:
            message = f"id {identity!r} is text, and the column {self._table.id.name} would make a number of it"
            rejects[at] = Reject("id-type", message, id=identity, row=at)

    # -- vectors and times ------------------------------------------------------------------------------------------

    def _vectors(self, batch: pa.RecordBatch, rejects: dict[int, Reject]) -> list[Any]:
        """Little-endian float32 blobs, as views of one buffer; None where a record has no vector."""
        column = batch.column("vector")
        missing: Any = b"" if self._table.vector and self._table.vector.required else None
        valid = records.present(column)
        length = records.dim(batch)
        if not length or not valid.any():
            return [missing] * batch.num_rows
        matrix = np.ascontiguousarray(records.matrix(column), dtype="<f4")
        whole = memoryview(matrix.data).cast("B")
        size = 4 * length
        blobs: list[Any] = [whole[start : start + size] for start in range(0, size * batch.num_rows, size)]
        for at in np.flatnonzero(~valid).tolist():
            blobs[at] = missing
        if not np.isfinite(matrix).all():
            for at in np.flatnonzero(~np.isfinite(matrix).all(axis=1) & valid).tolist():
                rejects[at] = Reject("vector-not-finite", "the vector holds NaN or infinity", row=at)
        return blobs

    @staticmethod
    def _refuse_scores(batch: pa.RecordBatch, rejects: dict[int, Reject]) -> None:
        scores = np.asarray(batch.column("score").fill_null(0.0))
        for at in np.flatnonzero(~np.isfinite(scores)).tolist():
            rejects[at] = Reject("score-type", "the score is NaN or infinite, which JSON cannot hold", row=at)

    def _times(self, column: pa.Array) -> tuple[list[Any], dict[int, int | None]]:
        """`created_at` as the column keeps it, and the microseconds of those that it cannot give back."""
        home = self._table.created_at
        valid = records.present(column)
        numbers = column.cast(pa.int64()).fill_null(0).to_numpy()
        if home is None:
            return [None] * len(column), {at: int(numbers[at]) for at in np.flatnonzero(valid).tolist()}
        values: list[Any]
        if self._iso:
            values, odd = list(timestamps.texts(column)), np.zeros(len(column), dtype=bool)
        else:
            values, odd = self._epochs(numbers)
        lost: dict[int, int | None] = {at: int(numbers[at]) for at in np.flatnonzero(odd & valid).tolist()}
        for at in np.flatnonzero(~valid).tolist():
            values[at] = None
            if home.required:
                values[at] = "" if self._iso else 0
                lost[at] = None
        return values, lost

    def _epochs(self, numbers: Any) -> tuple[list[Any], Any]:
        """Epoch numbers, integers where they are whole, and which of them a reader would take for something else."""
        scale = 1_000 if self._milliseconds else 1_000_000
        values: list[Any] = (numbers // scale).tolist()
        fine = numbers % scale != 0
        for at in np.flatnonzero(fine).tolist():
            values[at] = int(numbers[at]) / scale
        least = timestamps.MILLISECONDS_FROM * (1_000 if self._milliseconds else 0)
        most = (timestamps.MICROSECONDS_FROM * 1_000) if self._milliseconds else timestamps.MILLISECONDS_FROM * scale
        size = np.abs(numbers)
        odd = (size < least) | (size >= most)
        for at in np.flatnonzero(fine & ~odd).tolist():
            odd[at] = timestamps.microseconds(values[at]) != (int(numbers[at]), True)
        return values, odd

    # -- what has no column -----------------------------------------------------------------------------------------

    def _heads_of(self, batch: pa.RecordBatch, extras: list[str | None], columns: dict[str, list[Any]]) -> list[str]:
        """The members of each row's note that do not depend on its metadata."""
        rows = batch.num_rows
        lists: list[list[Any]] = [_list(batch, name) for name in ("model", "score", "modality", "vex_version")]
        # As text, because 0.0 and -0.0 are equal and must not be taken for each other below.
        lists[1] = [None if score is None else encoded(score) for score in lists[1]]
        lists.append(extras)
        lists.append(self._lost(columns, "text", self._table.text))
        lists.append(self._lost(columns, "namespace", self._table.namespace))
        if all(values.count(values[0]) == rows for values in lists if rows):
            return [self._head(tuple(values[0] for values in lists))] * rows if rows else []
        known = self._heads
        if len(known) > 4096:
            known.clear()
        heads = []
        for key in zip(*lists, strict=True):
            head = known.get(key)
            if head is None:
                head = known[key] = self._head(key)
            heads.append(head)
        return heads

    @staticmethod
    def _lost(columns: dict[str, list[Any]], name: str, home: Column | None) -> list[Any]:
        """What the column cannot hold: all of it when there is none, nulls when it must not be null. `...`: nothing."""
        values = columns[name]
        if home is None:
            return [... if value is None else value for value in values]
        if not home.required:
            return [...] * len(values)
        columns[name] = ["" if value is None else value for value in values]
        return [None if value is None else ... for value in values]

    @staticmethod
    def _head(key: tuple[Any, ...]) -> str:
        model, score, modality, version, extra, text, namespace = key
        usual = {"model": None, "score": None, "modality": "text", "vex_version": records.VMIG_VERSION, "extra": None}
        number = None if score is None else orjson.Fragment(score)
        note: dict[str, Any] = dict(zip(usual, (model, number, modality, version, extra), strict=True))
        note = {name: value for name, value in note.items() if value != usual[name]}
        note |= {name: value for name, value in (("text", text), ("namespace", namespace)) if value is not ...}
        return orjson.dumps(note).decode()[1:-1]


def integer(text: str) -> int | None:
    """The integer of 64 bits that a text is in its usual form, else None."""
    if len(text) > 20 or not text.removeprefix("-").isdecimal() or not text.isascii():
        return None
    number = int(text)
    return number if str(number) == text and -(2**63) <= number < 2**63 else None


def _list(batch: pa.RecordBatch, name: str) -> list[Any]:
    column = batch.column(name)
    values: list[Any] = [None] * len(column) if column.null_count == len(column) else column.to_pylist()
    return values


def default_of(db: sqlite3.Connection, column: Column) -> Any:
    """What a column gets when nobody gives a value: its constant DEFAULT, or any DEFAULT if it must not be null."""
    if column.default is None:
        return None
    constant = "(" not in column.default and not column.default.upper().startswith("CURRENT_")
    return db.execute(f"SELECT {column.default}").fetchone()[0] if constant or column.required else None
