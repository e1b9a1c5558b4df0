"""Ids and namespaces as Pinecone takes them: ASCII without NUL, 1 to 512 characters, and back."""

from __future__ import annotations

import uuid
from urllib.parse import quote

LONGEST = 512
# The default namespace has two spellings: requests may leave it out, answers may say this.
DEFAULT = "__default__"
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def fits(name: str) -> bool:
    """Whether an id or a namespace can be used as it is."""
    return 0 < len(name) <= LONGEST and name.isascii() and "\0" not in name


def to_id(identity: str) -> str:
    """The id itself where Pinecone takes it, else the UUIDv5 of its text; the original is kept beside it."""
    return identity if fits(identity) else str(uuid.uuid5(uuid.NAMESPACE_URL, identity))


def to_namespace(name: str | None) -> str:
    """The Pinecone namespace of a record's namespace: "" for null and "", itself where Pinecone takes it, else
    readable with %-escapes; the original is kept in the record where it is not this."""
    if not name:
        return ""
    # Dots alone would be taken for folders of a URL, and the alias for the default namespace.
    if fits(name) and name != DEFAULT and not name.isspace() and name.strip("."):
        return name
    escaped = "%5F" + name[1:] if name == DEFAULT else quote(name, safe=_PLAIN.strip())
    escaped = escaped.replace(".", "%2E") if not name.strip(".") else escaped
    return escaped if fits(escaped) else str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def canonical(name: str | None) -> str:
    """One spelling for the default namespace of answers, ""."""
    return "" if name in (None, DEFAULT) else str(name)


def in_path(name: str) -> str:
    """A namespace as a part of a URL's path."""
    return quote(name or DEFAULT, safe="")
