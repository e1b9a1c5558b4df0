"""Lines of `.vmig.jsonl` to rows: fast for the usual line, exact for every other one.

A usual line is cut at its vector and its metadata, each replaced by a marker that occurs nowhere else. When what is
left parses with the markers as values of just these keys, and the two pieces parse on their own, then the line is
valid and the pieces are verbatim. Whatever is not proven by that goes through `jsontext.members`, which keeps every
value as text and can say what is wrong and where.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
import simdjson

from vexarrow.jsontext import Malformed, members
from vexarrow.protocols import Reject

KEYS = ("id", "text", "vector", "model", "dims", "namespace", "metadata", "created_at", "source_store", "modality")
KEYS += ("score", "vex_version")
WRAPPER = frozenset({"line", "file", "id", "code", "message", "record", "record_base64"})

_MARK = os.urandom(16).hex()
_MARKER = f'"{_MARK}"'.encode()
_VECTOR = b'"vector":['
_METADATA = b',"metadata":{'
_AFTER_METADATA = b'},"created_at":'
_ANY_VECTOR = re.compile(rb'"vector"[ \t]*:[ \t]*\[')
_MINUS_ZERO = re.compile(rb"-0[ ,\]]")
_FIELDS = itemgetter(
    "id", "text", "model", "dims", "namespace", "created_at", "source_store", "modality", "score", "vex_version"
)
_PIECES = itemgetter("vector", "metadata")


class Row(NamedTuple):
    """The values of a line. `vector` is a memoryview of the bytes of float64, `metadata` and `extra` are JSON text."""

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
    extra: str | None = None


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
                    rejects.append(Reject(bad.code, str(bad), line=number, id=bad.id, record=line.rstrip(b"\r")))
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
        at = tail.find(_METADATA) + 12
        if at < 12:
            document, rest = None, b"".join((line[:start], _MARKER, tail))
        else:
            end = tail.find(_AFTER_METADATA, at) + 1
            document = tail[at:end]
            rest = b"".join((line[:start], _MARKER, tail[:at], _MARKER, tail[end:]))
        try:
            record = orjson.loads(rest)
            pieces = _PIECES(record)
            if len(record) != 12 or len(orjson.dumps(record)) != len(rest) - rest.endswith(b"\r"):
                return None
            if document is None:
                if pieces != (_MARK, None):
                    return None
            elif pieces != (_MARK, _MARK) or orjson.loads(document).__class__ is not dict:
                return None
            vector = self._numbers(line[start:stop])
            return Row(*_FIELDS(record), vector, document and document.decode())
        except (ValueError, KeyError, TypeError):
            return None

    def _exact(self, line: bytes) -> Row:
        """The row of any line. Raises BadLine."""
        cut = self._cut(line)
        values = _members(cut[0] if cut else line)
        if cut and values.get("vector", ("", ""))[1] != f'"{_MARK}"':
            cut, values = None, _members(line)
        if "code" in values and values.keys() <= WRAPPER and values.keys() & {"record", "record_base64"}:
            return self._exact(_unwrapped(values))
        raw = {key: value for key, (_, value) in values.items()}
        name = _scalar(raw.get("id"))
        try:
            vector = self._vector(cut[1] if cut else raw.get("vector", "null").encode())
        except BadLine as bad:
            raise BadLine(bad.code, str(bad), name) from None
        metadata = raw.get("metadata", "null")
        if metadata != "null" and not metadata.startswith("{"):
            raise BadLine("metadata-type", f"metadata is {_kind(metadata)}, not an object", name)
        unknown = [f"{key}:{value}" for name, (key, value) in values.items() if name not in KEYS]
        extra = "{" + ",".join(unknown) + "}" if unknown else None
        fields = [_scalar(raw.get(key)) for key in ("id", "text", "model", "dims", "namespace", "created_at")]
        fields += [_scalar(raw.get(key)) for key in ("source_store", "modality", "score", "vex_version")]
        row = Row(*fields, vector, None if metadata == "null" else metadata, extra)
        return _encodable(row)

    def _cut(self, line: bytes) -> tuple[bytes, bytes] | None:
        """The line with a marker for its vector, and the vector."""
        found = _ANY_VECTOR.search(line)
        stop = line.find(b"]", found.end()) + 1 if found else 0
        if not found or not stop:
            return None
        start = found.end() - 1
        return line[:start] + _MARKER + line[stop:], line[start:stop]

    def _vector(self, raw: bytes) -> Any:
        """The numbers of a JSON array as a float64 bytes; None for null."""
        if raw == b"null":
            return None
        try:
            return self._numbers(raw)
        except (ValueError, TypeError, AttributeError, RuntimeError):
            return _vector_exact(raw)

    def _numbers(self, raw: bytes) -> memoryview:
        """A JSON array of numbers as the bytes of float64; the sign of the integer -0 is lost, see `signed_zeros`.
        Raises ValueError or TypeError."""
        return memoryview(self._simd.parse(raw).as_buffer(of_type="d"))


def signed_zeros(line: bytes) -> bytes | None:
    """The vector of a line as the bytes of float64 if it holds the integer -0, which simdjson reads as 0; else None.

    Only asked for lines whose vector holds a zero: searching every line would cost as much as parsing it.
    """
    found = _ANY_VECTOR.search(line)
    raw = line[found.end() - 1 : line.find(b"]", found.end()) + 1] if found else b""
    return bytes(_vector_exact(raw)) if _MINUS_ZERO.search(raw) else None


def _vector_exact(raw: bytes) -> Any:
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
    return memoryview(values.tobytes())


def _members(line: bytes) -> dict[str, tuple[str, str]]:
    try:
        found = members(line.decode())
    except UnicodeDecodeError as error:
        raise BadLine("not-utf8", f"not UTF-8: byte 0x{line[error.start]:02x} at byte {error.start + 1}") from None
    except Malformed as error:
        code = "not-an-object" if str(error) == "not a JSON object" else "malformed-json"
        raise BadLine(code, str(error)) from None
    values = {key: (written, value) for key, written, value in found}
    if len(values) != len(found):
        twice = next(key for at, (key, _, _) in enumerate(found) if key in {one[0] for one in found[:at]})
        raise BadLine("duplicate-key", f"the key {twice!r} occurs twice")
    return values


def _unwrapped(values: dict[str, tuple[str, str]]) -> bytes:
    """The record in a line of a rejects file: an object, or text that somebody has mended by now."""
    if "record_base64" in values:
        return base64.b64decode(values["record_base64"][1])
    raw = values["record"][1]
    if not raw.startswith('"'):
        return raw.encode()
    text: str = orjson.loads(raw)
    return text.encode()


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
