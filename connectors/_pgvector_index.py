"""The index of the vectors of a table that we made."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from vexarrow.errors import SchemaError, UsageError, VexError
from vexarrow.metrics import metric

from ._pgvector_roles import roles, table_metric
from ._pgvector_table import Column, Table, extension, found
from ._pgvector_wire import quoted

if TYPE_CHECKING:
    from vexarrow.location import Location
    from vexarrow.protocols import Description

    from ._pgvector_address import Address
    from ._pgvector_wire import Session

METHODS = ("hnsw", "ivfflat", "none")
_OPCLASSES = {"cosine": "cosine_ops", "dot": "ip_ops", "euclidean": "l2_ops", "manhattan": "l1_ops"}
_PARAMETERS = {"hnsw": ("m", "ef_construction"), "ivfflat": ("lists",)}
# HNSW and IVFFlat hold this many dimensions of vector, and twice as many of halfvec.
_MOST_VECTOR = 2000
_MEMORY_KB = 512 << 10


def wanted(location: Location) -> str:
    """The method that the options ask for, "" when they do not say. Raises UsageError."""
    method = location.option("index") or ""
    if location.option("no-index") not in (None, "false"):
        method = "none"
    if method and method not in METHODS:
        raise UsageError(f"--index {method}: has to be one of {', '.join(METHODS)}")
    return method


def checked_metric(name: str | None, place: str) -> str:
    """The metric of a new table, cosine when none is said. Raises SchemaError for one that pgvector does not have."""
    known = metric(name or "cosine") or "cosine"
    if known not in _OPCLASSES:
        raise SchemaError(f"{place}: pgvector has no metric {known} for vectors; {', '.join(_OPCLASSES)} it has")
    return known


def build(session: Session, address: Address, name: str, method: str, plan: Description, location: Location) -> None:
    """Build the index, if the table is noted to wait for one. Takes as long as it takes."""
    for parallel in ("", "SET LOCAL max_parallel_maintenance_workers = 0; "):
        table = found(session, address, [name])
        if table is None or not table.own or _pending(table, address, location) is None:
            return
        # Of several runs that end at once, the others wait here, and then find the index.
        session.run(f"BEGIN; LOCK TABLE {table.sql} IN SHARE UPDATE EXCLUSIVE MODE", patient=True)
        try:
            table = found(session, address, [name])
            column = None if table is None else _pending(table, address, location)
            sql = "" if table is None or column is None else _statements(session, table, column, method, plan)
            session.run(f"{parallel}{sql}COMMIT", patient=True)
        except VexError as error:
            session.run("ROLLBACK")
            # A container's shared memory is often too small for parallel builds: try once more without.
            if parallel or "53100" not in str(error):
                raise
        else:
            return


def _pending(table: Table, address: Address, location: Location) -> Column | None:
    """The column of vectors that waits for its index."""
    column = roles(table, location, address.place).vector
    waits = column is not None and "index pending" in (column.comment or "") and column.dim is not None
    return column if waits else None


def _statements(session: Session, table: Table, column: Column, method: str, plan: Description) -> str:
    distance = table_metric(table, column) or "cosine"
    sql = _statement(session, table, column, distance, method, dict(plan.settings.get("pgvector", {})))
    noted = f"COMMENT ON COLUMN {table.sql}.{column.sql} IS {session.literal(f'vex: metric={distance}')}"
    namespaces = f"CREATE INDEX ON {table.sql} (namespace)"
    memory = f"SET LOCAL maintenance_work_mem = '{_memory(session, table)}kB'"
    return f"{memory}; {sql}{namespaces}; {noted}; "


def _memory(session: Session, table: Table) -> int:
    """Kilobytes for the build: what the graph may need, at most half a gigabyte and at least what is set."""
    now = int(session.value("SELECT setting FROM pg_settings WHERE name = 'maintenance_work_mem'") or 65_536)
    return max(now, min(_MEMORY_KB, table.pages * 10))


def _statement(
    session: Session, table: Table, column: Column, distance: str, method: str, settings: dict[str, Any]
) -> str:
    """CREATE INDEX with its semicolon, "" when pgvector has none for such vectors."""
    method = method or (str(settings.get("index")) if settings.get("index") in METHODS else "hnsw")
    version = tuple(int(part) for part in (extension(session)[0] or "0").split(".")[:2])
    dim, types = column.dim or 0, quoted(extension(session)[1])
    if method == "none" or (distance == "manhattan" and (method == "ivfflat" or version < (0, 7))):
        return ""
    if dim <= _MOST_VECTOR:
        expression, kind = column.sql, "vector"
    elif dim <= 2 * _MOST_VECTOR and version >= (0, 7):
        expression, kind = f"({column.sql}::{types}.halfvec({dim}))", "halfvec"
    else:
        return ""
    given = {name: settings[name] for name in _PARAMETERS[method] if isinstance(settings.get(name), int)}
    if method == "ivfflat" and "lists" not in given:
        given["lists"] = _lists(int(session.value(f"SELECT count(*) FROM {table.sql}") or 0))
    options = ", ".join(f"{name} = {value}" for name, value in given.items())
    ops = f"{types}.{kind}_{_OPCLASSES[distance]}"
    return f"CREATE INDEX ON {table.sql} USING {method} ({expression} {ops}){f' WITH ({options})' if options else ''}; "


def _lists(rows: int) -> int:
    """What pgvector's documentation advises: rows / 1000 up to a million rows, then their square root."""
    return max(1, rows // 1000 if rows <= 1_000_000 else int(math.sqrt(rows)))
