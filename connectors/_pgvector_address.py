"""Which server, database and table a location means, and how far the connection is to be trusted."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from vexarrow.errors import UsageError
from vexarrow.location import Location, is_url, redact, scheme

from ._pgvector_wire import psycopg

DEFAULT_TABLE = "vex_vectors"
# Where libpq takes these from a URI's query, so do we: places.resolve reads every name in it as an option of ours.
LIBPQ = (
    *("application_name", "channel_binding", "connect_timeout", "dbname", "gssencmode", "host", "hostaddr"),
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "options", "passfile", "password"),
    *("port", "require_auth", "service", "sslcert", "sslcrl", "sslkey", "sslmode", "sslnegotiation", "sslpassword"),
    *("sslrootcert", "target_session_attrs", "tcp_user_timeout", "user"),
)
_PART = re.compile(r'"((?:[^"]|"")+)"|([^."]+)')
_SCHEMES = ("postgresql", "postgres", "pgvector")


@dataclass(frozen=True)
class Address:
    """`conninfo` and `parameters` are for libpq and hold secrets; `place` is fit for messages.

    `table` is None where the location names none; `schema` is None for the search path of the server.
    """

    place: str
    conninfo: str
    parameters: Mapping[str, str]
    schema: str | None
    table: str | None

    @classmethod
    def of(cls, location: Location) -> Address:
        """The address of a location. Raises UsageError."""
        url, fragment = _split(location.target or location.option("url") or "")
        named = location.option("table")
        if fragment and named and fragment != named:
            raise UsageError(f"{location}: the URI names the table {redact(fragment)}, --table names {redact(named)}")
        schema, table = parsed_table(fragment or named)
        parameters = {name: value for name in LIBPQ if (value := location.option(name.replace("_", "-"))) is not None}
        place = str(location) if location.target else f"{location.kind} table {fragment or named or DEFAULT_TABLE}"
        return cls(place, url, {**_trust(url, parameters), **parameters}, schema, table)


def _split(text: str) -> tuple[str, str]:
    """A URI without its query and fragment, and the fragment; other conninfo is left alone."""
    if not is_url(text):
        return text, ""
    if scheme(text) not in _SCHEMES:
        raise UsageError(f"pgvector: a database is postgresql://…, not {scheme(text)}://…")
    parts = _sound(text)
    # Options of ours in the query are none of libpq's; what libpq knows comes back through `parameters`.
    known = [pair for pair in parts.query.split("&") if pair.split("=", 1)[0].replace("-", "_") in LIBPQ]
    query = "&".join(pair.split("=", 1)[0].replace("-", "_") + "=" + pair.partition("=")[2] for pair in known)
    # urlunsplit leaves out the slashes of an empty host, which libpq needs.
    return f"postgresql://{parts.netloc}{parts.path}" + (f"?{query}" if query else ""), unquote(parts.fragment)


def _sound(text: str) -> SplitResult:
    """The parts of a URI. Raises UsageError where a password that is not encoded makes them other than was meant: a
    piece of it would be taken for a host, a database or a table, and shown as one."""
    try:
        parts, shown = urlsplit(text), urlsplit(redact(text))
    except ValueError:  # whose text has the URI in it
        raise UsageError("pgvector: the URI of the database is malformed") from None
    meant = (shown.netloc.rpartition("@")[2], shown.path, shown.fragment)
    if (parts.netloc.rpartition("@")[2], parts.path, parts.fragment) != meant:
        where = redact(text)
        raise UsageError(f"{where}: in a password / has to be written %2F, # as %23, ? as %3F and @ as %40")
    return parts


def parsed_table(text: str | None) -> tuple[str | None, str | None]:
    """Schema and table of `table`, `schema.table` or `"schema"."ta.ble"`. Raises UsageError."""
    if not text:
        return None, None
    found, at = [], 0
    while match := _PART.match(text, at):
        found.append(match[1].replace('""', '"') if match[1] else match[2])
        at = match.end()
        if text[at : at + 1] != ".":
            break
        at += 1
    if at != len(text) or not 1 <= len(found) <= 2 or text.endswith("."):
        raise UsageError(
            f"--table {redact(text)}: has to be table or schema.table, with double quotes where a name has a dot"
        )
    return (found[0], found[1]) if len(found) == 2 else (None, found[0])


def _trust(url: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """TLS with a verified certificate for servers that are not on this machine, unless something else is said.

    libpq itself would take any certificate, or none.
    """
    library = psycopg()
    try:
        said = library.conninfo.conninfo_to_dict(url)
    except library.Error:  # whose text has the URI in it
        raise UsageError("pgvector: the URI of the database is malformed") from None
    known = {**said, **parameters}
    host = str(known.get("host") or known.get("hostaddr") or os.environ.get("PGHOST") or "")
    if known.get("sslmode") or os.environ.get("PGSSLMODE") or known.get("service") or os.environ.get("PGSERVICE"):
        return {}
    if all(_is_local(one) for one in host.split(",")):
        return {}
    trusted = {"sslmode": "verify-full"}
    named = known.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")
    if not named and not Path("~/.postgresql/root.crt").expanduser().exists():
        import ssl

        trusted["sslrootcert"] = ssl.get_default_verify_paths().cafile or "system"
    return trusted


def _is_local(host: str) -> bool:
    return host in ("", "localhost", "::1") or host.startswith(("/", "@", "127."))
