"""Embedding models behind HTTP: OpenAI's protocol, which many servers speak, and Ollama's own.

OpenAI: `POST /embeddings` takes at most 2,048 texts and 300,000 tokens; a text of more than 8,192 tokens is refused
with 400, and so is an empty one (its API reference). A token is at least one byte, so that 300,000 bytes are never too
many. Vectors are asked for in base64, the bytes of their float32; a server that does not know that answers with
numbers, which simdjson turns into a buffer of float64, and the nearest float32 of each is the one that was meant.

Ollama: `POST /api/embed` with `truncate: false`, because it would otherwise embed the beginning of a text that is too
long; its endpoint for OpenAI's protocol always does. A text that is too long is then refused with 400.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import orjson
import simdjson

from vexarrow.errors import AccessError, Refused, TransientError, UsageError, VexError
from vexarrow.http import Http
from vexarrow.location import redact

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPENAI_URL = "https://api.openai.com/v1"
OLLAMA_URL = "http://localhost:11434"
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_QUOTA = ("exceeded your current quota", "insufficient_quota")


class OpenAI:
    """A server with OpenAI's protocol. `url` ends where `/embeddings` follows, as in `https://api.openai.com/v1`.

    Without `key`, the one in OPENAI_API_KEY goes to OpenAI itself, to this machine and to OPENAI_BASE_URL, and to
    nobody else.
    """

    most_texts, most_bytes = 2048, 300_000
    alone_bytes = 3 * 8192
    usual_texts, usual_timeout = 256, 60.0

    def __init__(
        self,
        name: str,
        *,
        url: str | None = None,
        key: str | None = None,
        dimensions: int | None = None,
        timeout: float = usual_timeout,
        connections: int = 4,
    ) -> None:
        self.name = name
        address = openai_url(url)
        self.identity = f"openai:{name}" if address == OPENAI_URL else f"openai:{name} at {redact(address)}"
        self._more = {} if dimensions is None else {"dimensions": dimensions}
        self._base64 = True
        key = _sound_key(key or _own_key(address))
        self._wants_key = not key and _is_openai(address)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = Http(
            address, headers=headers, timeout=timeout, connections=connections, key="--embed-key or OPENAI_API_KEY"
        )

    def __str__(self) -> str:
        return str(self._http)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text. Raises AccessError, without asking, when OpenAI itself is meant and there is no key."""
        if self._wants_key:
            raise AccessError(f"{self} wants a key: set OPENAI_API_KEY or give --embed-key")
        body: dict[str, object] = {"model": self.name, "input": list(texts), **self._more}
        if self._base64:
            body["encoding_format"] = "base64"
        try:
            answer = self._http.send("POST", "/embeddings", orjson.dumps(body))
        except Refused as error:
            if not self._base64 or "encoding_format" not in str(error):
                raise
            self._base64 = False
            return self.embed(texts)
        except TransientError as error:
            raise _lasting(error) from None
        return _matrix(answer, "data", len(texts), str(self))

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


class Ollama:
    """An Ollama server. `url` None: where OLLAMA_HOST says, else this machine's port 11434."""

    most_texts, most_bytes = 1024, 4 << 20
    alone_bytes = 16_384
    usual_texts, usual_timeout = 64, 300.0  # the first request waits for the model to be loaded, later ones for a CPU

    def __init__(
        self,
        name: str,
        *,
        url: str | None = None,
        key: str | None = None,
        dimensions: int | None = None,
        timeout: float = usual_timeout,
        connections: int = 4,
    ) -> None:
        self.name = name
        address = ollama_url(url)
        self.identity = f"ollama:{name} at {redact(address)}"
        self._more = {} if dimensions is None else {"dimensions": dimensions}
        headers = {"Authorization": f"Bearer {key}"} if (key := _sound_key(key)) else {}
        self._http = Http(address, headers=headers, timeout=timeout, connections=connections, key="--embed-key")

    def __str__(self) -> str:
        return str(self._http)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text."""
        body = {"model": self.name, "input": list(texts), "truncate": False, **self._more}
        answer = self._http.send("POST", "/api/embed", orjson.dumps(body))
        return _matrix(answer, "embeddings", len(texts), str(self))

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


# -- addresses and keys ---------------------------------------------------------------------------------


def openai_url(url: str | None) -> str:
    """Where OpenAI's protocol is spoken: what is given, else OPENAI_BASE_URL, else OpenAI. `/v1` is added to a server
    that is given without any path. Raises UsageError."""
    address = _bare(url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).removesuffix("/embeddings")
    return address if urlsplit(address).path not in ("", "/") else f"{address}/v1"


def _bare(url: str) -> str:
    """An address that a path can follow."""
    if urlsplit(url).query or urlsplit(url).fragment:
        raise UsageError(f"{redact(url)}: the address ends with its path; a key is given as --embed-key")
    return url.rstrip("/")


def ollama_url(url: str | None) -> str:
    """Where Ollama listens: what is given, else OLLAMA_HOST, which may be no more than a host, else this machine."""
    if url is not None:
        return _bare(url).removesuffix("/v1").removesuffix("/api")
    host = os.environ.get("OLLAMA_HOST", "").strip().rstrip("/")
    if not host:
        return OLLAMA_URL
    parts = urlsplit(host if "://" in host else f"http://{host}")
    name = "localhost" if parts.hostname in (None, "0.0.0.0", "::") else parts.hostname  # noqa: S104 - binds nothing
    name = f"[{name}]" if ":" in name else name
    # Ollama's own rule: a port that is missing is that of the scheme where there is one, else 11434.
    port = f":{parts.port}" if parts.port else "" if "://" in host else ":11434"
    return f"{parts.scheme}://{name}{port}{parts.path}"


def _is_openai(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    return host == "openai.com" or host.endswith(".openai.com")


def _own_key(address: str) -> str | None:
    """The key of the environment, if this address may see it."""
    named = os.environ.get("OPENAI_BASE_URL")
    chosen = bool(named) and openai_url(named) == address
    if _is_openai(address) or urlsplit(address).hostname in _HERE or chosen:
        return os.environ.get("OPENAI_API_KEY")
    return None


def _sound_key(key: str | None) -> str | None:
    """The key without the line break that a file ends with. Raises UsageError, which does not show it, where it would
    be no header."""
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError("the API key holds a character that no key has")
    return key or None


def _lasting(error: TransientError) -> VexError:
    """An account without credit answers as one that is too fast does, and waiting does not help."""
    return VexError(str(error)) if any(sign in str(error) for sign in _QUOTA) else error


# -- answers --------------------------------------------------------------------------------------------


def _matrix(answer: bytes, member: str, count: int, where: str) -> NDArray[np.float32]:
    """The vectors of an answer. Raises TransientError for one that is cut off or does not hold one vector a text."""
    try:
        # A parser for every answer: one must not go on while a value of its last document lives.
        items: Any = simdjson.Parser().parse(answer)[member]  # type: ignore[index]
        rows = [_vector(item) for item in items]
        order = (
            [item["index"] for item in items] if count and member == "data" and "index" in items[0] else range(count)
        )
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError, IndexError):
        raise TransientError(f"{where}: the answer cannot be read") from None
    if len(rows) != count or sorted(order) != list(range(count)):
        raise TransientError(f"{where}: {len(rows)} vectors came back for {count} texts")
    if len({len(row) for row in rows}) > 1 or not len(rows[0]):
        raise TransientError(f"{where}: vectors of several lengths came back")
    matrix = np.empty((count, len(rows[0])), np.float32)
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is looked for later
        for at, row in zip(order, rows, strict=True):
            matrix[at] = row
    return matrix


def _vector(item: Any) -> NDArray[Any]:
    """A vector, as the text of its bytes or as an array of numbers, alone or in an object."""
    if isinstance(item, simdjson.Object):
        item = item["embedding"]
    if isinstance(item, str):
        return np.frombuffer(base64.b64decode(item, validate=True), "<f4")
    numbers = np.frombuffer(memoryview(item.as_buffer(of_type="d")), np.float64)
    if len(numbers) != len(item):
        raise ValueError("an array of arrays")
    return numbers
