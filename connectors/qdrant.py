"""Qdrant collections, by gRPC."""

from __future__ import annotations

from vexarrow.protocols import Connector

connector = Connector(name="qdrant", summary="Qdrant collections, by gRPC", source=None, sink=None, aliases=())
