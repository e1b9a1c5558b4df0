"""Ids for stores that take UUIDs alone: the same on every run and in every tool that follows the rule."""

from __future__ import annotations

import hashlib
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
    return _version_5(SCHEMES[scheme], identity)


def _version_5(space: uuid.UUID, name: str) -> str:
    """What `str(uuid.uuid5(space, name))` is, without its two objects: 3.7 us less a record."""
    raw = bytearray(hashlib.sha1(space.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    raw[6], raw[8] = raw[6] & 0x0F | 0x50, raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def original(identity: str, used: str) -> str | None:
    """What has to be kept beside the UUID `used`: the id, unless it is that UUID letter by letter."""
    return None if identity == used else identity
