"""Ids for stores that take UUIDs alone: the same on every run and in every tool that follows the rule."""

from __future__ import annotations

import uuid

# The rule of qdrant/migration, bit for bit: a text that is no UUID becomes UUIDv5 of the URL namespace, and the
# original is kept in the payload under this key.
ORIGINAL_ID = "__id__"
# Weaviate's own helper: the DNS namespace.
SCHEMES = {"url": uuid.NAMESPACE_URL, "weaviate": uuid.NAMESPACE_DNS}


def to_uuid(identity: str, scheme: str = "url") -> str:
    """The canonical UUID of an id: itself where it is one in any spelling, else the UUIDv5 of its scheme."""
    if len(identity) >= 32:
        try:
            return str(uuid.UUID(identity))
        except ValueError:
            pass
    return str(uuid.uuid5(SCHEMES[scheme], identity))


def original(identity: str, used: str) -> str | None:
    """What has to be kept beside the UUID `used`: the id, unless it is that UUID letter by letter."""
    return None if identity == used else identity
