"""Lines of JSON that hold vectors under names of their own, such as `{"source": [...], "target": [...]}`.

Every location and compression that `vexarrow.files` knows is read. The numbers go from the text to numpy at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import simdjson
from numpy.typing import NDArray

from vexarrow import files
from vexarrow.errors import DataError, SchemaError
from vexarrow.location import expand, redact

Matrix = NDArray[np.float32]
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Shape:
    """What a line holds. `needed` and `optional` vectors by their keys; `others`: further keys whose values are kept;
    `example`: how a line looks, for messages."""

    needed: tuple[str, ...]
    optional: tuple[str, ...]
    others: tuple[str, ...]
    example: str


@dataclass(frozen=True)
class Lines:
    """All lines of a file. `vectors`: [n, d] by key; an optional key is missing where no line has it.

    `values`: n values for each of the further keys. `numbers`: the number of each line, from 1. `name`: of the file.
    """

    name: str
    vectors: dict[str, Matrix]
    values: dict[str, list[Any]]
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.numbers)


def read(location: str, shape: Shape) -> Lines:
    """Read a file of such lines; blank lines and lines that start with # are passed over. Raises NotFound, AccessError,
    DataError and SchemaError, which name the line that is at fault."""
    name = "stdin" if location == "-" else redact(location)
    reader = _Reader(name, shape)
    with files.open_input(expand(location)) as stream, files.translated(location):
        for number, line in enumerate(_lines(stream), 1):
            trimmed = line.strip()
            if trimmed and not trimmed.startswith(b"#"):
                reader.add(number, trimmed)
    return reader.done()


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    rest: list[bytes] = []
    while block := stream.read(_BLOCK):
        *whole, last = block.split(b"\n")
        if whole:
            yield b"".join([*rest, whole[0]])
            yield from whole[1:]
            rest = []
        rest.append(last)
    yield b"".join(rest)


class _Reader:
    def __init__(self, name: str, shape: Shape) -> None:
        self._name, self._shape = name, shape
        self._simd = simdjson.Parser()
        self._rows: dict[str, list[Matrix]] = {key: [] for key in (*shape.needed, *shape.optional)}
        self._values: dict[str, list[Any]] = {key: [] for key in shape.others}
        self._numbers: list[int] = []

    def add(self, number: int, line: bytes) -> None:
        """One more line."""
        where = f"{self._name}, line {number}"
        try:
            record: Any = self._simd.parse(line)
        except (ValueError, RuntimeError) as error:
            raise DataError(f"{where}: {_why_no_json(line, error)}; {self._looks}") from None
        if not isinstance(record, simdjson.Object):
            raise DataError(f"{where}: not a JSON object; {self._looks}")
        # An array within an array would be flattened; only a line with more brackets than usual can hold one.
        deep = line.count(b"[") > sum(key in record for key in self._rows)
        for key in self._shape.needed:
            if key not in record:
                raise SchemaError(f"{where}: there is no {key!r}; {self._looks}")
            self._keep(key, self._vector(record, key, where, deep=deep), where)
        for key in self._shape.optional:
            if key in record and record[key] is not None:
                self._keep(key, self._vector(record, key, where, deep=deep), where)
        for key, values in self._values.items():
            values.append(_plain(record[key]) if key in record else None)
        self._numbers.append(number)
        del record  # the parser is only free for the next line when nothing points to this one

    @property
    def _looks(self) -> str:
        return f"a line looks like {self._shape.example}"

    def _vector(self, record: Any, key: str, where: str, *, deep: bool) -> Matrix:
        value = record[key]
        if not isinstance(value, simdjson.Array):
            raise DataError(
                f"{where}: {key!r} is {_kind(value)}, not an array of numbers; mend the line or leave it out"
            )
        try:
            exact = np.frombuffer(value.as_buffer(of_type="d"), np.float64)
        except TypeError:
            exact = None
        if exact is None or (deep and any(isinstance(one, simdjson.Array) for one in value)):
            raise DataError(f"{where}: {key!r} holds something that is no number; mend the line or leave it out")
        with np.errstate(over="ignore"):
            row = exact.astype(np.float32)
        if not np.isfinite(row).all():
            raise DataError(f"{where}: {key!r} holds a number beyond the range of float32; leave the line out")
        return row

    def _keep(self, key: str, row: Matrix, where: str) -> None:
        rows = self._rows[key]
        if not len(row):
            raise SchemaError(f"{where}: {key!r} is empty; leave the line out")
        if rows and len(rows[0]) != len(row):
            raise SchemaError(
                f"{where}: {key!r} has {len(row)} numbers, on the lines before it had {len(rows[0])}; "
                "all vectors of a side have to be of one model"
            )
        rows.append(row)

    def done(self) -> Lines:
        """All that was read."""
        if not self._numbers:
            raise DataError(f"{self._name}: no lines; {self._looks}")
        for key in self._shape.optional:
            found = len(self._rows[key])
            if 0 < found < len(self._numbers):
                raise SchemaError(f"{self._name}: {found:,} of {len(self._numbers):,} lines have {key!r}; all or none")
        vectors = {key: np.stack(rows) for key, rows in self._rows.items() if rows}
        return Lines(self._name, vectors, self._values, self._numbers)


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Array):
        return value.as_list()
    return value.as_dict() if isinstance(value, simdjson.Object) else value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {"str": "text", "Object": "an object", "bool": "true or false"}.get(type(value).__name__, "a number")


def _why_no_json(line: bytes, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    unusual = next((word for word in (b"NaN", b"Infinity") if word in line), None)
    if unusual:
        return f"{unusual.decode()} is no number of JSON: the text was not embedded well, leave the line out"
    if line.startswith((b"PAR1", b"ARROW1", b"\x1f\x8b", b"(\xb5/\xfd")):
        return "not text: files of records are given as --source and --target, compressed ones end in .gz or .zst"
    if "NUMBER" in str(error):
        return "a number that is none, or too large"
    return "not JSON" + (" (cut short?)" if line.startswith(b"{") and not line.endswith(b"}") else "")


def texts(values: Sequence[Any]) -> list[str] | None:
    """Ids as text, None where no line has one."""
    if all(value is None for value in values):
        return None
    return ["" if value is None else str(value) for value in values]
