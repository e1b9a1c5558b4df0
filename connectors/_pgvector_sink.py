"""Writing a table: pages in parts, side by side, each a COPY and a transaction of its own.

A new or empty table of ours is copied into directly, until an id turns out to be there already. Everything else is
copied into a temporary table and goes from there into its place, replacing the rows of the same ids.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from vexarrow import records
from vexarrow.delivery import by_size, deliver, last_of_each_id
from vexarrow.errors import NotFound, Refused, SchemaError, Unsupported
from vexarrow.location import Location
from vexarrow.patience import Requests
from vexarrow.protocols import Description, Reject

from . import _pgvector_index as index
from ._pgvector_address import DEFAULT_TABLE, Address
from ._pgvector_create import MOST_DIMENSIONS, check_own, column_for, create, upsert
from ._pgvector_errors import Duplicate
from ._pgvector_into import Foreign, writable
from ._pgvector_layout import Prepared, prepared
from ._pgvector_pool import Pool
from ._pgvector_roles import Roles, index_settings, roles, table_metric
from ._pgvector_table import Column, Table, extension, found
from ._pgvector_wire import Session, quoted

# Of a COPY. Two at a time keep this process busy, and each takes locks and a transaction of its own: a page in four
# parts of 2 MB took a tenth more time than in two of 4 MB.
_PART_BYTES = 4 << 20
_CLASHES = 3
_COUNTED_BLOCKS = 1 << 17


@dataclass(frozen=True)
class Target:
    """A table that records can go into. `types` is the schema of pgvector's types, quoted; `foreign` is None for a
    table of ours."""

    table: Table
    roles: Roles
    vector: Column
    types: str
    vector_oid: int
    foreign: Foreign | None


class TableSink:
    """One table. Calls come one after the other; within `load`, parts are sent by several threads."""

    def __init__(self, location: Location, address: Address, requests: Requests, pool: Pool) -> None:
        self._location = location
        self._address = address
        self._requests = requests
        self._pool = pool
        self._name = address.table or DEFAULT_TABLE
        self._made: Target | None = None
        self._plan = Description()
        self._direct = False
        self._clashes = 0
        self._index = index.wanted(location)

    @classmethod
    @contextmanager
    def opened(cls, location: Location) -> Iterator[TableSink]:
        """The sink; nothing is connected before it is used. Raises UsageError."""
        address, requests = Address.of(location), Requests.of(location)
        pool = Pool(address, requests)
        try:
            yield cls(location, address, requests, pool)
        finally:
            requests.close()
            pool.close()

    # -- before the first record ------------------------------------------------------------------------------------

    def existing(self) -> Description | None:
        """The table as it is; None when there is none."""
        return self._pool.do(self._existing)

    def _existing(self, session: Session) -> Description | None:
        table = found(session, self._address, [self._name])
        if table is None:
            return None
        known = roles(table, self._location, self._address.place)
        settings = index_settings(table, known.vector)
        counted = table.kind == "r" and table.pages <= _COUNTED_BLOCKS
        return Description(
            dim=known.vector.dim if known.vector is not None else None,
            metric=table_metric(table, known.vector),
            rows=int(session.value(f"SELECT count(*) FROM {table.sql}") or 0) if counted else None,
            id_type=known.id_type,
            vectors={name: column.dim for name, column in known.further.items()},
            settings={"pgvector": settings} if settings else {},
            details={"table": f"{table.schema}.{table.name}"},
        )

    def prepare(self, plan: Description) -> Description:
        """Create the table, or see whether records can go into the one that is there.

        Raises SchemaError for a table without a fitting vector column, halfvec without `--allow-lossy` and unknown
        metrics, Unsupported for views and for further vectors that the table has no columns for.
        """
        self._plan = plan
        self._pool.do(self._prepare)
        made = self._target
        return replace(
            plan, dim=made.vector.dim or plan.dim, id_type=made.roles.id_type, details={"table": made.table.name}
        )

    @property
    def _target(self) -> Target:
        assert self._made is not None  # noqa: S101 - the engine prepares first
        return self._made

    def _prepare(self, session: Session) -> None:
        if found(session, self._address, [self._name]) is None:
            indexed = self._index != "none"
            create(session, self._address, self._name, self._plan, self._location, indexed=indexed)
        self._inspect(session)
        table = self._target.table
        if table.own:
            check_own(table, self._address.place)
        self._add_columns(session, self._plan.vectors)
        self._direct = table.own and session.value(f"SELECT 1 FROM {table.sql} LIMIT 1") is None

    def _inspect(self, session: Session) -> None:
        """Look at the table. Raises what `prepare` raises for one that records cannot go into."""
        place = self._address.place
        table = found(session, self._address, [self._name])
        if table is None:
            raise NotFound(f"{place}: the table {self._name} has gone")
        if table.kind not in "rp":
            raise Unsupported(f"{place}: records can be loaded into tables only, and {table.name} is none")
        known = roles(table, self._location, place)
        if known.vector is None:
            raise SchemaError(f"{place}: the table has no column of dense vectors")
        if known.vector.type == "halfvec" and self._location.option("allow-lossy") in (None, "false"):
            name = known.vector.name
            raise SchemaError(f"{place}: {name} is halfvec, which rounds every number; --allow-lossy allows it")
        types = quoted(extension(session)[1])
        oid = int(session.value("SELECT to_regtype($1)::oid", f"{types}.vector") or 0)
        foreign = None if table.own else Foreign(table, known, writable(session, table))
        self._made = Target(table, known, known.vector, types, oid, foreign)

    def _add_columns(self, session: Session, vectors: Mapping[str, int | None]) -> None:
        """Columns for further vectors that the table has none for, where it is ours."""
        made, place = self._target, self._address.place
        wanted = {name: dim for name, dim in vectors.items() if name not in made.roles.further}
        if not wanted:
            return
        if not made.table.own:
            names = ", ".join(wanted)
            raise Unsupported(f"{place}: the table has no columns for {names}; --drop-vectors leaves these out")
        columns = [column_for(name, dim, made.table, made.types, session, place) for name, dim in wanted.items()]
        session.run(f"ALTER TABLE {made.table.sql} " + ", ".join(f"ADD COLUMN {column}" for column in columns))
        self._inspect(session)

    # -- records ----------------------------------------------------------------------------------------------------

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        """Upsert the records of a batch, committed on return. Of records of one id the last one counts."""
        return self.begin(batch)()

    def begin(self, batch: pa.RecordBatch) -> Callable[[], Sequence[Reject]]:
        """Start to `load` a batch; it is committed when what is returned returns."""
        rejects, ready = self._prepared(batch)
        if ready is None or not len(ready):
            return lambda: rejects
        return self._requests.in_turn(lambda: _in_order([*rejects, *self._deliver(ready)]))

    def _prepared(self, batch: pa.RecordBatch) -> tuple[list[Reject], Prepared | None]:
        """What the table cannot hold, and the other records as they are sent."""
        if not batch.num_rows:
            return [], None
        every = range(batch.num_rows)
        rows: Sequence[int] = every
        last = last_of_each_id(batch.column("id"))
        if last is not None:
            batch, rows = batch.take(pa.array(last, pa.int64())), last
        self._fit(batch)
        made = self._target
        if made.vector.dim is not None and records.dim(batch) not in (0, made.vector.dim):
            message = f"the vector has {records.dim(batch)} dimensions, {self._address.place} holds {made.vector.dim}"
            return [Reject("dimension", message, row=row) for row in every], None
        batch = records.with_id_type(batch, made.roles.id_type)
        if made.foreign is not None:
            ready, rejects = made.foreign.prepared(batch, rows, made.vector_oid)
        else:
            ready, rejects = prepared(batch, made.roles, rows, made.vector_oid)
        return _in_order(rejects), ready

    def _fit(self, batch: pa.RecordBatch) -> None:
        """Give a table of ours what a batch is the first to need: the dimension, columns for further vectors."""
        names = [name for name in batch.schema.names if name.startswith(records.EXTRA_VECTORS)]
        if not set(names) <= set(self._target.roles.further):
            dims = {name: _dim(batch.column(name)) for name in names}
            self._pool.do(lambda session: self._add_columns(session, dims))
        made, dim = self._target, records.dim(batch)
        if made.vector.dim is None and dim and made.table.own:
            if dim > MOST_DIMENSIONS:
                raise SchemaError(f"{self._address.place}: pgvector holds {MOST_DIMENSIONS:,} dimensions, not {dim:,}")
            kind = f"{made.types}.vector({dim})"
            sql = f"ALTER TABLE {made.table.sql} ALTER COLUMN {made.vector.sql} TYPE {kind}"
            self._pool.do(lambda session: session.run(sql, patient=True))
            self._pool.do(self._inspect)

    def _deliver(self, ready: Prepared) -> list[Reject]:
        sizes = ready.sizes()
        count = max(1, -(-sum(sizes) // _PART_BYTES))
        parts = by_size(sizes, most_bytes=_PART_BYTES, most_rows=-(-len(ready) // count))
        refused = deliver(self._requests, lambda part: self._send(ready, part), parts)
        return [replace(reject, row=ready.rows[reject.row or 0]) for reject in refused]

    def _send(self, ready: Prepared, part: range) -> None:
        stream = ready.stream(part)
        with self._pool.session() as session:
            if self._direct:
                try:
                    session.copy_in(_copy(ready, self._target.table.sql), stream)
                except Duplicate:
                    self._clashes += 1
                    self._direct = self._clashes < _CLASHES
                else:
                    return
            self._staged(session, ready, stream)

    def _staged(self, session: Session, ready: Prepared, stream: list[Any]) -> None:
        """Copy into a temporary table, and from there into place; all in one transaction."""
        made = self._target
        name = f"vex_staging_{zlib.crc32(repr((made.table.oid, ready.names)).encode()):08x}"
        if made.foreign is not None:
            shape, moved = made.foreign.staging(f"pg_temp.{name}", ready.names, made.types)
            kind = f"({shape}) ON COMMIT DELETE ROWS"
        else:
            columns = ", ".join(map(quoted, ready.names))
            kind = f"ON COMMIT DELETE ROWS AS SELECT {columns} FROM {made.table.sql} WITH NO DATA"
            moved = upsert(made.table, made.roles.id, ready.names, f"SELECT {columns} FROM pg_temp.{name}")
        try:
            session.run(f"BEGIN; CREATE TEMP TABLE IF NOT EXISTS {name} {kind}")
            session.copy_in(_copy(ready, f"pg_temp.{name}"), stream)
            session.run(f"{moved}; COMMIT")
        except Refused:
            session.run("ROLLBACK")
            raise

    def finish(self) -> None:
        """Build the index of a table that we made, in its metric, with the parameters of the source if it had some."""
        if self._index != "none":
            self._pool.do(self._build)

    def _build(self, session: Session) -> None:
        index.build(session, self._address, self._name, self._index, self._plan, self._location)


def _in_order(rejects: Iterable[Reject]) -> list[Reject]:
    return sorted(rejects, key=lambda reject: reject.row or 0)


def _copy(ready: Prepared, table: str) -> str:
    return f"COPY {table} ({', '.join(map(quoted, ready.names))}) FROM STDIN (FORMAT BINARY)"


def _dim(column: pa.Array) -> int | None:
    """The dimension of a further vector column, None for a sparse one."""
    kind = column.type.value_type if pa.types.is_list(column.type) else column.type
    return (int(kind.list_size) or None) if pa.types.is_fixed_size_list(kind) else None
