"""Requests over HTTP to a store's API: JSON in and out, errors translated once, keys never shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from vexarrow.errors import AccessError, DataError, NotFound, Refused, TransientError, UsageError, VexError
from vexarrow.location import HIDDEN, redact

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
THROTTLED = 429
_REFUSED = frozenset({400, 409, 413, 422})
_SHOWN = 300
# A key is hidden before the message is cut: half a key would be shown otherwise.
_LONGEST = 1 << 16


def keyless(text: str, key: str) -> str:
    """A message about credentials that were refused, with what to look at."""
    return f"{text}; check {key}" if key else text


class Http:
    """One server. Thread-safe; TLS certificates are verified; every request ends within `timeout` seconds of silence.

    `headers` go with every request; their values are hidden where a message of the server repeats them. `key`: where
    the credentials come from, as a message names it when they are refused. Raises
    AccessError for 401 and 403, NotFound for 404, Refused for 400, 409, 413 and 422, TransientError for `transient`
    statuses and when the connection fails, VexError for any other status but 2xx.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        connections: int = 8,
        transient: frozenset[int] = TRANSIENT,
        key: str = "",
    ) -> None:
        import urllib3

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{redact(url)}: the address of a server looks like https://host:port")
        self.url = url.rstrip("/")
        self._headers = dict(headers or {})
        self._secrets = [value for value in self._headers.values() if len(value) > 5]
        self._transient = transient
        self._key = key
        self._timeout = timeout
        limits = urllib3.Timeout(connect=min(timeout, 10.0), read=timeout)
        proxy = _proxy(parts.scheme, parts.hostname)
        self._pool = (
            urllib3.PoolManager(maxsize=connections, block=True, timeout=limits, retries=False)
            if proxy is None
            else urllib3.ProxyManager(proxy, maxsize=connections, block=True, timeout=limits, retries=False)
        )

    def __str__(self) -> str:
        return redact(self.url)

    def json(self, method: str, path: str, body: object = None) -> Any:
        """Send a JSON body, or none, and return the JSON answer; None for an empty one."""
        data = None if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        answer = self.send(method, path, data)
        if not answer:
            return None
        try:
            return orjson.loads(answer)
        except orjson.JSONDecodeError:
            raise DataError(f"{self}: {method} {path}: the answer is not JSON") from None

    def send(self, method: str, path: str, data: bytes | None = None, kind: str = "application/json") -> bytes:
        """Send bytes, or none, and return the bytes of the answer."""
        import urllib3

        headers = {"Accept": "application/json", **self._headers}
        if data is not None:
            headers["Content-Type"] = kind
        try:
            answer = self._pool.request(method, self.url + path, body=data, headers=headers, redirect=False)
        except urllib3.exceptions.SSLError as error:
            raise AccessError(f"{self}: the TLS certificate cannot be trusted ({error})") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TransientError(f"{self}: {_reason(error, self._timeout)}") from None
        if 200 <= answer.status < 300:
            return bytes(answer.data)
        raise self._error(method, path.split("?")[0], answer)

    def _error(self, method: str, path: str, answer: Any) -> VexError:
        text = f"{self}: {method} {path}: HTTP {answer.status}: {self._hidden(_message(answer.data))[:_SHOWN]}"
        if answer.status in (401, 403):
            return AccessError(keyless(f"{self}: the server refused the credentials (HTTP {answer.status})", self._key))
        if answer.status == 404:
            return NotFound(text)
        if answer.status in self._transient:
            return TransientError(text, _retry_after(answer.headers), throttled=answer.status == THROTTLED)
        return Refused(text) if answer.status in _REFUSED else VexError(text)

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN).replace(secret.removeprefix("Bearer "), HIDDEN)
        return text

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()


def _proxy(scheme: str, host: str) -> str | None:
    """The proxy that the environment names for a host (HTTPS_PROXY, HTTP_PROXY, NO_PROXY); none for this machine."""
    from urllib.request import getproxies, proxy_bypass

    if host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host):
        return None
    return getproxies().get(scheme)


def _reason(error: BaseException, seconds: float) -> str:
    """What went wrong with a connection, in a few words. `seconds`: how long an answer was waited for."""
    import urllib3

    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "no such host is known"
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "nothing listens there"
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        return "no connection in time"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return f"no answer within {seconds:g} s"
    return f"the connection broke ({type(error).__name__})"


def _message(data: bytes) -> str:
    """What a server says in the body of an error, at most a few hundred characters."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return data[:_LONGEST].decode(errors="replace").strip()
    for key in ("message", "error", "detail", "status"):
        value = found.get(key) if isinstance(found, dict) else None
        if isinstance(value, dict):
            value = value.get("error") or value.get("message")
        if isinstance(value, str) and value:
            return value[:_LONGEST]
    return orjson.dumps(found)[:_LONGEST].decode(errors="replace")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; the form with a date is rare, and answered with our own pause."""
    try:
        return float(headers.get("Retry-After", ""))
    except ValueError:
        return None
