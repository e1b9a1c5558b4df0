"""Lines of `.vmig.jsonl` to rows: fast for the usual line, exact for every other one.

A usual line is cut at its vector, which is replaced by a marker that occurs nowhere else. When what is left parses with
the marker as value of just that key, and the vector parses on its own, then the line is valid and the vector is whole;
the keys in their usual order tell where the metadata starts and ends, so that its text is kept verbatim. Whatever is
not proven by that goes through `jsontext.members`, which keeps every value as text and can say what is wrong and where.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
import simdjson

from vexarrow.jsontext import Malformed, members
from vexarrow.protocols import Reject

KEYS: tuple[str, ...] = (
    "id",
    "text",
    "vector",
    "model",
    "dims",
    "namespace",
    "metadata",
    "created_at",
    "source_store",
    "modality",
)
KEYS += ("score", "vex_version")
WRAPPER = frozenset({"line", "file", "id", "code", "message", "record", "record_base64"})

_MARK = os.urandom(16).hex()
_MARKER = f'"{_MARK}"'.encode()
_VECTOR = b'"vector":['
_METADATA = b',"metadata":{'
_AFTER_METADATA = b'},"created_at":'
_CREATED_AT = b'"created_at":'
_ANY_VECTOR = re.compile(rb'"vector"[ \t]*:[ \t]*\[')
_MINUS_ZERO = re.compile(rb"-0[ ,\]]")
_FIELDS = itemgetter(
    "id", "text", "model", "dims", "namespace", "created_at", "source_store", "modality", "score", "vex_version"
)


class Row(NamedTuple):
    """The values of a line. `metadata` and `extra` are JSON text. `vector` is float64: as bytes where it is exact, as a
    memoryview where the sign of the integer -0 is still to be looked for, see `signed_zeros`."""

    id: Any
    text: Any
    model: Any
    dims: Any
    namespace: Any
    created_at: Any
    source_store: Any
    modality: Any
    score: Any
    vex_version: Any
    vector: Any
    metadata: Any
    extra: Any


class BadLine(ValueError):
    """A line that is no record. `code` is the rule that it breaks."""

    def __init__(self, code: str, message: str, id: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.id = None if id is None else str(id)


class Parser:
    """Turns lines into rows. One parser is used by one thread."""

    def __init__(self) -> None:
        self._simd = simdjson.Parser()

    def rows(self, lines: Sequence[bytes], first: int) -> tuple[list[Row], list[int], list[Reject]]:
        """The rows of the lines, the line number of each, and the rejects. Blank lines and comments are no rows."""
        rows: list[Row] = []
        numbers: list[int] = []
        rejects: list[Reject] = []
        fast = self._fast
        for number, line in enumerate(lines, first):
            row = fast(line)
            if row is None:
                trimmed = line.strip()
                if not trimmed or trimmed.startswith(b"#"):
                    continue
                try:
                    row = self._exact(line)
                except BadLine as bad:
                    rejects.append(Reject(bad.code, str(bad), line=number, id=bad.id, record=line.rstrip(b"\r\n")))
                    continue
            rows.append(row)
            numbers.append(number)
        return rows, numbers, rejects

    def _fast(self, line: bytes) -> Row | None:
        """The row of a usual line, None for one that has to be looked at closely."""
        start = line.find(_VECTOR) + 9
        if start < 10:
            return None
        stop = line.find(b"]", start) + 1
        tail = line[stop:]
        rest = b"".join((line[:start], _MARKER, tail))
        try:
            record = orjson.loads(rest)
            # An integer that orjson reads as a float, for it has more than 64 bits, is no id to trust.
            if tuple(record) != KEYS or record["vector"] != _MARK or record["id"].__class__ is float:
                return None
            metadata, document = record["metadata"], None
            pairs = 12
            if metadata is not None:
                document = _document(tail)
                pairs += len(metadata)
            # As many `":` as members, and none of another spelling, means that no key occurs twice; where a text holds
            # one, the lengths tell.
            plain = rest.count(b'":') == pairs and not (b'" ' in rest or b'"\t' in rest or b'"\r' in rest)
            if not plain and len(orjson.dumps(record)) != len(rest.rstrip()):
                return None
            return Row._make((*_FIELDS(record), self._numbers(line[start:stop]), document, None))
        except (ValueError, KeyError, TypeError, RuntimeError):
            return None

    def _exact(self, line: bytes) -> Row:
        """The row of any line. Raises BadLine."""
        cut, values = _apart(line)
        if "code" in values and values.keys() <= WRAPPER and values.keys() & {"record", "record_base64"}:
            return self._exact(_unwrapped(values))
        raw = {key: value for key, (_, value) in values.items()}
        name = _scalar(raw.get("id"))
        try:
            vector = self._vector(cut or raw.get("vector", "null").encode())
        except BadLine as bad:
            raise BadLine(bad.code, str(bad), name) from None
        metadata = raw.get("metadata", "null")
        if metadata != "null" and not metadata.startswith("{"):
            raise BadLine("metadata-type", f"metadata is {_kind(metadata)}, not an object", name)
        unknown = [f"{key}:{value}" for name, (key, value) in values.items() if name not in KEYS]
        extra = "{" + ",".join(unknown) + "}" if unknown else None
        scalars = {key: _scalar(raw.get(key)) for key in KEYS if key not in ("vector", "metadata")}
        return _encodable(Row(**scalars, vector=vector, metadata=None if metadata == "null" else metadata, extra=extra))

    def _vector(self, raw: bytes) -> bytes | None:
        """The numbers of a JSON array as the bytes of float64; None for null."""
        if raw == b"null":
            return None
        # simdjson would flatten an array of arrays.
        if raw.find(b"[", 1) > 0 or _MINUS_ZERO.search(raw):
            return _vector_exact(raw)
        try:
            return bytes(self._numbers(raw))
        except (ValueError, TypeError, AttributeError, RuntimeError):
            return _vector_exact(raw)

    def _numbers(self, raw: bytes) -> memoryview:
        """A JSON array of numbers as the bytes of float64; the sign of the integer -0 is lost, see `signed_zeros`.
        Raises ValueError or TypeError."""
        array: Any = self._simd.parse(raw)
        return memoryview(array.as_buffer(of_type="d"))


def _document(tail: bytes) -> str:
    """The metadata object, verbatim, of a line whose keys are in the usual order. Raises ValueError when unsure.

    It starts where the key is and ends before `"created_at"`, the next key of the record, which may not occur within.
    """
    at = tail.find(_METADATA) + 12
    end = tail.find(_AFTER_METADATA, at) + 1
    if at < 12 or end < 1 or tail.find(_CREATED_AT, end + 2) >= 0:
        raise ValueError("metadata that is no object, or that has a member created_at")
    return tail[at:end].decode()


def _apart(line: bytes) -> tuple[bytes | None, dict[str, tuple[str, str]]]:
    """The vector of a line, cut out because its numbers need not be scanned one by one, and the members of the line.

    None for the vector where it stays among the members: positions in messages are then those of the line.
    """
    found = _ANY_VECTOR.search(line)
    stop = line.find(b"]", found.end()) + 1 if found else 0
    if found and stop:
        start = found.end() - 1
        with suppress(BadLine):
            values = _members(line[:start] + _MARKER + line[stop:])
            if values.get("vector", ("", ""))[1] == f'"{_MARK}"':
                return line[start:stop], values
    return None, _members(line)


def signed_zeros(line: bytes) -> bytes | None:
    """The vector of a usual line as the bytes of float64 if it holds the integer -0, which simdjson reads as 0.

    Only asked for lines whose vector holds a zero: searching every line would cost as much as parsing it.
    """
    start = line.find(_VECTOR) + len(_VECTOR) - 1
    raw = line[start : line.find(b"]", start) + 1]
    return _vector_exact(raw) if _MINUS_ZERO.search(raw) else None


def _vector_exact(raw: bytes) -> bytes:
    """A vector that simdjson refuses: the reason as BadLine, or the numbers when they only are unusually written."""
    import numpy as np

    text = raw.decode("utf-8", "replace")
    if not text.startswith("["):
        raise BadLine("vector-type", f"vector is {_kind(text)}, not an array of numbers")
    for at, part in enumerate(re.split(r"[ \t\r\n]*,[ \t\r\n]*", text[1:-1].strip())):
        if not re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", part):
            code = "vector-not-finite" if re.fullmatch(r"-?(NaN|Infinity|nan|inf)", part) else "vector-type"
            raise BadLine(code, f"vector[{at}] is {_kind(part)}, not a number")
    values = np.array(text[1:-1].split(","), dtype=np.str_).astype(np.float64)
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise BadLine("vector-not-finite", f"vector[{at}] is beyond the range of a float32")
    return values.tobytes()


def _members(line: bytes) -> dict[str, tuple[str, str]]:
    try:
        found = members(line.decode())
    except UnicodeDecodeError as error:
        raise BadLine("not-utf8", f"not UTF-8: byte 0x{line[error.start]:02x} at byte {error.start + 1}") from None
    except Malformed as error:
        raise _no_object(line) or BadLine("malformed-json", str(error)) from None
    values = {key: (written, value) for key, written, value in found}
    if len(values) != len(found):
        twice = next(key for at, (key, _, _) in enumerate(found) if key in {one[0] for one in found[:at]})
        raise BadLine("duplicate-key", f"the key {twice!r} occurs twice")
    return values


def _no_object(line: bytes) -> BadLine | None:
    """What is wrong with a line that is JSON, but no object; None for any other line."""
    text = line.strip().decode()
    if text.startswith("{"):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return BadLine("not-an-object", f"the line is {_kind(text)}, not an object")


def _unwrapped(values: dict[str, tuple[str, str]]) -> bytes:
    """The record in a line of a rejects file: an object, or text that somebody has mended by now. Raises BadLine."""
    try:
        if "record_base64" in values:
            return base64.b64decode(orjson.loads(values["record_base64"][1]), validate=True)
        raw = values["record"][1]
        return orjson.loads(raw).encode() if raw.startswith('"') else raw.encode()
    except (ValueError, TypeError) as error:
        raise BadLine("malformed-json", f"there is no record in the line of a rejects file: {error}") from None


def _scalar(raw: str | None) -> Any:
    """A JSON value other than a container as Python has it; containers stay text in a tuple, for the message."""
    if raw is None:
        return None
    if raw[0] in "{[":
        return (raw,)
    try:
        return json.loads(raw)
    except ValueError as error:  # an integer of more than 4,300 digits
        raise BadLine("malformed-json", str(error)) from None


def _kind(text: str) -> str:
    known = {"": "missing", "null": "null", "true": "true", "false": "false"}
    names = {"{": "an object", "[": "an array", '"': "a string"}
    return known.get(text) or names.get(text[0]) or (text if len(text) < 40 else text[:37] + "...")


def _encodable(row: Row) -> Row:
    for name, value in zip(row._fields, row, strict=True):
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                message = f"{name} holds half of a surrogate pair, which UTF-8 cannot hold"
                raise BadLine("lone-surrogate", message, None if name == "id" else row.id) from None
    return row
