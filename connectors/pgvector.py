"""PostgreSQL tables with a pgvector column."""

from __future__ import annotations

from vexarrow.protocols import Connector

connector = Connector(
    name="pgvector",
    summary="PostgreSQL tables with a pgvector column",
    source=None,
    sink=None,
    aliases=("postgres", "postgresql"),
)
