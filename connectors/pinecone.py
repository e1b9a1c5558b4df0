"""Pinecone indexes."""

from __future__ import annotations

from vexarrow.protocols import Connector

connector = Connector(name="pinecone", summary="Pinecone indexes", source=None, sink=None, aliases=())
