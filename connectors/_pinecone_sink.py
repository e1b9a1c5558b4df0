"""Writing an index: upserts of at most 1,000 records and 2 MB, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import orjson
import pyarrow as pa

from vexarrow import records, sound
from vexarrow.delivery import Rows, by_size, deliver, last_of_each
from vexarrow.errors import SchemaError, Unsupported
from vexarrow.location import Location
from vexarrow.payload import Payload
from vexarrow.protocols import Description, Reject

from ._pinecone_index import METRICS, Opened, Service, Wish
from ._pinecone_packed import packed
from ._pinecone_shape import MOST_METADATA, Addressed, Form, addressed, form_of
from ._pinecone_wire import Written, sparse_name, written

MOST_ROWS, MOST_BYTES = 1_000, 2_000_000
_ROOM = 1_000  # for the namespace and what stands around the records
MOST_SPARSE = 2_048
_MEND = "project with `vex adapt`, or use --reembed"


class Prepared:
    """Records of a batch, encoded: those in `order` go, by namespace; `rejects` do not."""

    def __init__(self, to: Addressed, texts: Sequence[bytes], order: Sequence[int], rejects: list[Reject]) -> None:
        self.to = to
        self.texts = texts
        self.order = order
        self.rejects = rejects


class PineconeSink:
    """The index of one location, made when the dimension is known: with the plan, or with the first vector."""

    def __init__(self, service: Service, location: Location) -> None:
        self._service = service
        self._wish = Wish.of(location)
        self._place = service.where.place
        self._asked = False
        self._opened: Opened | None = None
        self._plan = Description()
        self._form: Form | None = None

    def existing(self) -> Description | None:
        """The index as it is, None when there is none."""
        found = self._look()
        return found.description() if found else None

    def _look(self) -> Opened | None:
        if not self._asked:
            self._opened = self._service.found()
            self._asked = True
        return self._opened

    def prepare(self, plan: Description) -> Description:
        """Create or check the index."""
        self._plan = plan
        found = self._look()
        if found is None and not plan.dim:
            return Description(metric=plan.metric or "cosine", source_store="pinecone")
        return self._ready(plan).description()

    def _ready(self, plan: Description) -> Opened:
        """The index, created when there is none."""
        if self._opened is None:
            self._opened = self._service.create(plan, self._wish)
        if self._form is None:
            self._check(self._opened)
            self._form = form_of(self._opened.index)
        return self._opened

    def _check(self, opened: Opened) -> None:
        index = opened.index
        if index.embeds:
            raise SchemaError(f"{self._place}: Pinecone embeds the text of this index itself and takes no vectors")
        if index.dense is None:
            raise SchemaError(f"{self._place}: the index holds sparse vectors alone, and no dense ones")

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        """Upsert by id within the namespace. What Pinecone refuses comes back."""
        return self.begin(batch)()

    def begin(self, batch: pa.RecordBatch) -> Callable[[], Sequence[Reject]]:
        """Start to `load` a batch; it is there when what is returned returns."""
        if not batch.num_rows:
            return list
        ready = self._prepared(batch)
        if isinstance(ready, list):
            return lambda: ready
        opened, order, texts = self._ready(self._plan), ready.order, ready.texts
        spaces = [ready.to.namespaces[row] for row in order]
        parts = _parts(spaces, [len(texts[row]) for row in order])

        def send(part: Rows) -> None:
            opened.data.upsert(spaces[part[0]], [texts[order[at]] for at in part])

        def sent() -> list[Reject]:
            refused = deliver(opened.requests, send, parts)
            return ready.rejects + [Reject(one.code, one.message, row=order[one.row or 0]) for one in refused]

        return opened.requests.in_turn(sent)

    def _prepared(self, batch: pa.RecordBatch) -> Prepared | list[Reject]:
        """The records as they are sent, or rejects when no record has a vector that fits."""
        batch = records.with_id_type(batch, "string")
        present = records.present(batch.column("vector"))
        rejects = sound.unsound(batch) + [
            Reject("no-vector", f"{self._place}: Pinecone holds no record without a vector", row=row)
            for row in np.flatnonzero(~present).tolist()
        ]
        if not present.any():
            return _once(rejects)
        plan = self._plan
        opened = self._ready(plan if plan.dim else replace(plan, dim=records.dim(batch)))
        form = self._form or form_of(opened.index)
        if records.dim(batch) != opened.index.dim:
            said = f"the vector has {records.dim(batch)} dimensions, {self._place} holds {opened.index.dim}; {_MEND}"
            return _once(rejects + [Reject("dimension", said, row=row) for row in range(batch.num_rows)])
        name = self._sparse(batch, opened)
        column = batch.column(name) if name else None
        notes = _notes(column, name, opened)
        if opened.data.packed:
            to, as_sent = packed(batch, form, opened.namespace, notes, column)
        else:
            to = addressed(batch, form, opened.namespace, notes)
            as_sent = written(batch, to, opened.index, column)
        rejects = _once(rejects + _too_large(to, as_sent, opened) + _too_many(column))
        gone = {reject.row for reject in rejects}
        rows = [row for row in range(batch.num_rows) if row not in gone]
        keys = list(zip(to.namespaces, to.ids, strict=True))
        last = last_of_each([keys[row] for row in rows])
        rows = rows if last is None else [rows[at] for at in last]
        return Prepared(to, as_sent.texts, sorted(rows, key=to.namespaces.__getitem__), rejects)

    def _sparse(self, batch: pa.RecordBatch, opened: Opened) -> str | None:
        """The further column that the index holds. Raises Unsupported for any other."""
        further = [name for name in batch.schema.names if name.startswith(records.EXTRA_VECTORS)]
        if not further:
            return None
        if len(further) > 1 or not further[0].startswith("sparse:"):
            raise Unsupported(
                f"{self._place} holds a dense and a sparse vector a record and not {', '.join(further)}; "
                "--drop-vectors leaves these out"
            )
        if opened.index.sparse is None:
            mend = "has no field for them" if opened.index.documents else f"has the metric {opened.index.metric}"
            raise Unsupported(
                f"{self._place} {mend}: Pinecone holds sparse vectors in indexes of the metric {METRICS['dot']} "
                "(--metric dot) or with a field for them; --drop-vectors leaves them out"
            )
        return str(further[0])

    def finish(self) -> None:
        """Nothing is left to do: Pinecone indexes on its own."""


def _notes(column: pa.Array | None, name: str | None, opened: Opened) -> list[Payload | None] | None:
    """What has to be kept of sparse vectors: another name than Pinecone's, and that one is empty."""
    if column is None or name is None:
        return None
    plain = sparse_name(opened.index)
    own = name.removeprefix("sparse:")
    notes: list[Payload | None] = []
    for value in column:
        if not value.is_valid:
            notes.append(None)
        elif not len(value["indices"]):
            notes.append({"sparse": own, "empty_sparse": True})
        else:
            notes.append({"sparse": own} if own != plain else None)
    return notes


def _parts(spaces: Sequence[str], sizes: Sequence[int]) -> list[Rows]:
    """Requests: ranges of records of one namespace that are not too large."""
    parts: list[Rows] = []
    for _, group in groupby(range(len(spaces)), key=lambda at: spaces[at]):
        rows = list(group)
        mine = [sizes[at] + 1 for at in rows]
        parts += [
            range(rows[0] + part.start, rows[0] + part.stop)
            for part in by_size(mine, most_bytes=MOST_BYTES - _ROOM, most_rows=MOST_ROWS)
        ]
    return parts


def _too_large(to: Addressed, as_sent: Written, opened: Opened) -> list[Reject]:
    found = []
    for row, (text, most) in enumerate(zip(as_sent.texts, as_sent.sizes, strict=True)):
        if most > MOST_METADATA and (size := _counted(to.metadata[row], opened)) > MOST_METADATA:
            said = f"text and metadata take {size:,} bytes, Pinecone holds {MOST_METADATA:,} a record"
            found.append(Reject("too-large", said, row=row))
        elif len(text) > MOST_BYTES - _ROOM:
            found.append(Reject("too-large", f"the record takes {len(text):,} bytes, more than a request", row=row))
    return found


def _counted(fields: Payload, opened: Opened) -> int:
    """The size of metadata for the limit, which texts that are searched do not count for."""
    return len(orjson.dumps({key: value for key, value in fields.items() if key not in opened.index.texts}))


def _too_many(column: pa.Array | None) -> list[Reject]:
    if column is None:
        return []
    return [
        Reject(
            "too-large",
            f"the sparse vector has {len(one['indices']):,} numbers, Pinecone holds {MOST_SPARSE:,}",
            row=row,
        )
        for row, one in enumerate(column)
        if one.is_valid and len(one["indices"]) > MOST_SPARSE
    ]


def _once(rejects: Sequence[Reject]) -> list[Reject]:
    """One reject a row."""
    first: dict[int | None, Reject] = {}
    for one in rejects:
        first.setdefault(one.row, one)
    return sorted(first.values(), key=lambda one: one.row or 0)
