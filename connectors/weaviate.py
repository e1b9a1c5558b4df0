"""Weaviate collections."""

from __future__ import annotations

from vexarrow.protocols import Connector

connector = Connector(name="weaviate", summary="Weaviate collections", source=None, sink=None, aliases=())
