"""Chroma collections, on a server or in a folder."""

from __future__ import annotations

from vexarrow.protocols import Connector

connector = Connector(
    name="chroma", summary="Chroma collections, on a server or in a folder", source=None, sink=None, aliases=()
)
