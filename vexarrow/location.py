"""Where records are: one value for a URI, a path, or a connector's name with options; its text hides secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from vexarrow.errors import UsageError

STANDARD_STREAM = "-"
HIDDEN = "***"
_SECRET = re.compile(
    r"(pass(word|wd)?|secret|token|api[-_]?key|credential|signature|^sig$|^key$|access[-_]?key|authorization)", re.I
)
_ASSIGNED = re.compile(r"(?i)((?:^|[\s;?&])(?:password|passwd|pwd|secret|token|api[-_]?key)=)[^\s;&#]+")
_USER = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.\-]*://[^/?#@:]*):(?P<rest>.*)@(?P<tail>[^@]*)$", re.S)
_PORT = re.compile(r"\d{1,5}([/?#]|$)")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]*(::[A-Za-z][A-Za-z0-9+.\-]*)*://")


@dataclass(frozen=True, slots=True)
class Location:
    """A place that records are read from or written to.

    `kind` is the name of the connector or format, `target` a path or URL ("" when the options say it all, "-" for
    stdin and stdout), `options` what was given to that connector or format, by canonical option name.
    `store` tells a connector from a format; `overwrite` allows a sink to replace what is there; `label` is what a place
    without a target is called, e.g. "qdrant collection memories".
    `str()` is fit for messages, reports and journals.
    """

    kind: str
    target: str = ""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    store: bool = False
    overwrite: bool = False
    label: str = field(default="", compare=False)

    def __str__(self) -> str:
        return redact(self.target) if self.target else self.label or self.kind

    def __repr__(self) -> str:
        return f"Location({self.kind}, {redact(self.target)!r})"

    def option(self, name: str, default: str | None = None) -> str | None:
        """The value of an option, or `default`."""
        return self.options.get(name, default)

    def with_target(self, target: str) -> Location:
        """The same kind and options elsewhere."""
        return replace(self, target=target)


def is_url(text: str) -> bool:
    """True for `scheme://…`, with fsspec's chained `a::b://…` as well; a Windows drive letter is no scheme."""
    return bool(_URL.match(text))


def scheme(text: str) -> str:
    """The scheme of a URL in lower case, "" for a path."""
    return text.split("://", 1)[0].split("::")[0].lower() if is_url(text) else ""


def expand(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Replace every `${NAME}` by that environment variable. Raises UsageError, naming the variable, if it is unset."""
    known = os.environ if environ is None else environ

    def value(found: re.Match[str]) -> str:
        if found[1] not in known:
            raise UsageError(f"the environment variable {found[1]} is not set")
        return known[found[1]]

    return _VARIABLE.sub(value, text)


def is_secret(name: str) -> bool:
    """True for the name of an option or URL parameter whose value must never be shown."""
    return bool(_SECRET.search(name))


def redact(text: str) -> str:
    """A URL without its password and secret parameters; in any other text what is assigned to a password is hidden."""
    text = _ASSIGNED.sub(rf"\1{HIDDEN}", text)
    if not is_url(text):
        return text
    text = _without_password(text)
    parts = urlsplit(text)
    host = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0].partition(":")
    netloc = host if not user[0] else f"{user[0]}{':' + HIDDEN if user[1] else ''}@{host}"
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    query = urlencode([(k, HIDDEN if is_secret(k) else v) for k, v in pairs], safe="*/:") if pairs else parts.query
    shown = urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))
    # urlunsplit drops the slashes of a URL without a host.
    return shown if netloc or "://" in shown else shown.replace(":", "://", 1)


def _without_password(text: str) -> str:
    """A URL without what stands between the user and the last "@": a password that was not encoded may hold "/", "#" or
    "?", and a URL is then not what its parser takes it for."""
    found = _USER.match(text)
    if found is None or (scheme(text) in ("http", "https") and _PORT.match(found["rest"])):
        return text
    return f"{found['head']}:{HIDDEN}@{found['tail']}"


def is_loopback(host: str) -> bool:
    """Whether what is sent to a host stays on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check_password(text: str) -> None:
    """Raise UsageError for a URL whose password hides where the host is, before any part of it is taken for more."""
    if _USER.match(text) and urlsplit(_without_password(text)).hostname != urlsplit(text).hostname:
        raise UsageError(f"{redact(text)}: in a password / has to be written %2F, # as %23, ? as %3F and @ as %40")


def query_options(text: str) -> dict[str, str]:
    """The options in the query of a store's URI; `-` and `_` in names are the same."""
    pairs = parse_qsl(urlsplit(text).query, keep_blank_values=True)
    return {unquote(name).replace("_", "-"): value for name, value in pairs}
