"""Which collection of which database on which server, or in which folder, a location means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from vexarrow.errors import UsageError
from vexarrow.location import Location, is_loopback, is_url

CLOUD = "trychroma.com"
PORT = 8000
METADATA, COLLECTION = "metadata", "collection"
# What Chroma accepts as the name of a collection (and what is safe in the path of a URL).
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,510}[A-Za-z0-9]")


@dataclass(frozen=True)
class Address:
    """`url` of a server or `folder` of a local database, one of them None; `collection` None: all of the database."""

    place: str
    url: str | None
    folder: Path | None
    tenant: str
    database: str
    collection: str | None
    key: str | None

    @property
    def cloud(self) -> bool:
        """Whether this is Chroma Cloud, which has smaller limits than a server of one's own."""
        host = urlsplit(self.url).hostname if self.url else None
        return host is not None and (host == CLOUD or host.endswith(f".{CLOUD}"))

    def __str__(self) -> str:
        return self.place


def is_name(text: str) -> bool:
    """Whether a collection may have this name."""
    return _NAME.fullmatch(text) is not None and ".." not in text


def several(location: Location) -> bool:
    """Whether a location means a collection for every namespace. Raises UsageError."""
    way = location.option("namespace-as") or METADATA
    if way not in (METADATA, COLLECTION):
        raise UsageError(f"--namespace-as {way}: has to be {METADATA} or {COLLECTION}")
    return way == COLLECTION


def address(location: Location, *, one: bool = True) -> Address:
    """What a location means. `one`: it has to name a collection. Raises UsageError."""
    parts = urlsplit(location.target)
    names = [unquote(part) for part in parts.path.split("/") if part] if parts.netloc else []
    if len(names) not in (0, 1, 3):
        raise UsageError(f"{location}: chroma://host:8000/collection or chroma://host:8000/tenant/database/collection")
    named = names[-1] if names else None
    collection = named or location.option("collection") or None
    if collection is None and one:
        raise UsageError("chroma: which collection? Give --collection NAME or set CHROMA_COLLECTION")
    if collection is not None and not is_name(collection):
        raise UsageError(
            f"{location}: {collection!r} cannot be the name of a collection: 3 to 512 characters of a-z, A-Z, 0-9, "
            "'.', '_' and '-', the first and the last a letter or digit"
        )
    tenant, database = names[:2] if len(names) == 3 else (None, None)
    folder = _folder(location, parts)
    return Address(
        place=str(location),
        url=None if folder else _url(location, parts),
        folder=folder,
        tenant=tenant or location.option("tenant") or "default_tenant",
        database=database or location.option("database") or "default_database",
        collection=collection,
        key=_key(location, parts),
    )


def _folder(location: Location, parts: SplitResult) -> Path | None:
    if parts.netloc:
        return None
    path = unquote(parts.path) if is_url(location.target) else location.option("path")
    if is_url(location.target) and path in (None, "", "/"):
        raise UsageError(f"{location}: no host and no folder: chroma://host:8000/collection, chroma:///path/to/folder")
    return Path(path) if path else None


def _url(location: Location, parts: SplitResult) -> str:
    if not parts.netloc:
        return location.option("url") or f"http://localhost:{PORT}"
    host, port = parts.hostname, _port(location, parts)
    if not host:
        raise UsageError(f"{location}: the host is missing")
    secure = _is_secure(location, parts, host)
    port = port or (443 if secure else PORT)
    return f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _is_secure(location: Location, parts: SplitResult, host: str) -> bool:
    """Whether to speak https: as --tls says, else where that is usual, and whenever a key leaves this machine."""
    if host == CLOUD or host.endswith(f".{CLOUD}"):
        return True
    flag = location.option("tls")
    if flag is not None:
        return flag.lower() not in ("", "0", "false", "no")
    return _port(location, parts) == 443 or (_key(location, parts) is not None and not is_loopback(host))


def _port(location: Location, parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        raise UsageError(f"{location}: the port is not a number up to 65535") from None


def _key(location: Location, parts: SplitResult) -> str | None:
    """The key: an option, or in the place of a password."""
    key = location.option("api-key") or (unquote(parts.password) if parts.password else None)
    if key is None and parts.username:
        raise UsageError(
            f"{location}: a key goes to --api-key or CHROMA_API_KEY, or into chroma://:KEY@host/collection"
        )
    return key
