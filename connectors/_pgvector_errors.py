"""What PostgreSQL says went wrong, sorted by what the caller must do about it."""

from __future__ import annotations

from vexarrow.errors import AccessError, NotFound, Refused, SchemaError, TransientError, Unsupported, VexError


class Duplicate(Refused):
    """A row is there already (SQLSTATE 23505)."""


# SQLSTATEs and their classes, the longest first: https://www.postgresql.org/docs/current/errcodes-appendix.html
_STATES: tuple[tuple[str, type[VexError]], ...] = (
    ("23505", Duplicate),
    ("25006", AccessError),  # a read-only server
    ("3D000", NotFound),
    ("3F000", NotFound),
    ("40001", TransientError),
    ("40P01", TransientError),
    ("42501", AccessError),
    ("42P01", NotFound),
    ("53300", TransientError),  # too many connections
    ("55P03", TransientError),  # a lock that somebody holds
    ("57014", TransientError),  # statement_timeout
    ("P0001", Refused),  # a trigger objects
    ("57P", TransientError),
    ("08", TransientError),
    ("0A", Unsupported),
    (
        "21",
        Refused,
    ),  # two rows of an upsert are one to the server, such as A and a in citext: apart they can be written
    ("22", Refused),  # also what pgvector refuses: NaN, infinity, another dimension
    ("23", Refused),
    ("28", AccessError),
    ("42", SchemaError),
    ("44", Refused),
    ("54", Refused),  # an id too long for its index, rows too wide
)
_LOGIN = ("authentication", "pg_hba.conf", "no password supplied", "is not permitted to log in", "role ")
_PASSING = ("starting up", "shutting down", "too many clients", "remaining connection slots", "recovery mode")


def sorted_error(place: str, state: str, message: str) -> VexError:
    """The error for a SQLSTATE ("" when there is none: the connection is gone)."""
    if not state:
        return TransientError(f"{place}: the connection was lost: {message}")
    kind = next((kind for start, kind in _STATES if state.startswith(start)), VexError)
    text = f"{place}: {message} (SQLSTATE {state})"
    if kind is TransientError:
        return TransientError(text, throttled=state == "53300")
    return kind(text)


def connecting_error(place: str, message: str) -> VexError:
    """The error for a connection that could not be made; libpq gives a text and no code."""
    line = _gist(message)
    if "certificate" in message or "SSL" in message:
        hint = "sslmode=require encrypts without that check, sslmode=disable does neither, sslrootcert names the CA"
        return AccessError(f"{place}: no connection whose certificate can be verified: {line}; {hint}")
    if "FATAL" in message and not any(text in message for text in _PASSING):
        if "database " in message and "does not exist" in message:
            return NotFound(f"{place}: {line}")
        if any(text in message for text in _LOGIN):
            return AccessError(f"{place}: the login was refused: {line}")
    if "no password supplied" in message:
        return AccessError(f"{place}: the server asks for a password: {line}")
    return TransientError(f"{place}: cannot be reached: {line}", throttled="too many clients" in message)


def _gist(message: str) -> str:
    """The first line that says something, without the addresses that libpq tried."""
    lines = [line.strip().lstrip("- ") for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if "failed:" in line or "FATAL" in line] or lines[:1]
    return telling[0].rpartition("failed: ")[2].replace("FATAL:  ", "") if telling else "no reason was given"
