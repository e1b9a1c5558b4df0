"""The rejects file: every record that could not be read or written, with the reason, ready to be mended and imported.

One JSON object a line: `line` and `file` (where it was), `id`, `code`, `message`, and `record`: the record itself where
it is a JSON object, the line as text where it is not, `record_base64` where it is not even UTF-8. Reading
`.vmig.jsonl` takes such a line for the record in it.
"""

from __future__ import annotations

import base64
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

import orjson

from vexarrow.errors import TooManyRejects
from vexarrow.files import translated
from vexarrow.lines import line as line_of
from vexarrow.location import STANDARD_STREAM, is_url, redact
from vexarrow.protocols import Reject

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".rejects.jsonl"


class Rejects:
    """Counts rejects and writes each one down at once. `most`: the N-th reject raises TooManyRejects."""

    def __init__(self, path: str, *, most: int | None = None) -> None:
        self.path = path
        self.total = 0
        self.codes: Counter[str] = Counter()
        self.first = "", ""  # code and message
        self._most = most
        self._file: IO[bytes] | None = None

    def add(self, rejects: Iterable[Reject]) -> None:
        """Write the rejects down. Raises TooManyRejects after the one that is too many was written too."""
        for reject in rejects:
            if not self.total:
                self.first = reject.code, reject.message
            self.total += 1
            self.codes[reject.code] += 1
            with translated(self.path):
                if self._file is None:
                    self._file = open(self.path, "wb")  # noqa: SIM115 - stays open between rejects
                self._file.write(as_json(reject))
                self._file.flush()
            if self._most is not None and self.total >= self._most:
                where = f"line {reject.line}: " if reject.line else f"record {reject.id}: " if reject.id else ""
                raise TooManyRejects(
                    f"{where}{reject.message} ({reject.code}); reject {self.total}, written to {self.path}"
                )

    def close(self) -> None:
        """Close the file, if there was anything to write."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()  # every line is flushed; what a full disk refused was an error when it was written


def as_json(reject: Reject) -> bytes:
    """The line of a reject, with its LF."""
    head: dict[str, object] = {"line": reject.line, "file": redact(reject.file) if reject.file else None}
    head |= {"id": reject.id, "code": reject.code, "message": reject.message}
    text = orjson.dumps({key: value for key, value in head.items() if value is not None or key == "id"})
    if reject.record is None:
        return text + b"\n"
    return text[:-1] + b"," + _record(reject.record) + b"}\n"


def _record(raw: bytes) -> bytes:
    try:
        if orjson.loads(raw).__class__ is dict:
            return b'"record":' + raw.strip()
    except orjson.JSONDecodeError:
        pass
    try:
        return b'"record":' + orjson.dumps(raw.decode())
    except UnicodeDecodeError:
        return b'"record_base64":"' + base64.b64encode(raw) + b'"'


def completed(
    rejects: Sequence[Reject], batch: pa.RecordBatch, lines: Sequence[int] | None, file: str | None
) -> list[Reject]:
    """Rejects of a sink, with the id, line and record of their row filled in."""
    ids = batch.column("id")
    done = []
    for reject in rejects:
        row = reject.row
        if row is None:
            done.append(reject)
            continue
        done.append(
            replace(
                reject,
                id=reject.id or ids[row].as_py(),
                line=reject.line or (lines[row] if lines is not None else None),
                file=reject.file or file,
                record=reject.record or line_of(batch, row),
            )
        )
    return done


def path_for(target: str, sources: Sequence[str]) -> str:
    """Where the rejects of a run go: beside its target, never over a file that exists or that the run reads."""
    local = not is_url(target) and target not in ("", STANDARD_STREAM)
    base = target.rstrip("/") if local else "vex"
    if not local and target and is_url(target):
        # The path alone: what stands before it may hold a password.
        base = re.sub(r"[^\w.\-]", "_", urlsplit(target).path.rstrip("/").rsplit("/", 1)[-1]) or "vex"
    taken = {os.path.abspath(path) for path in sources}
    path, number = base + SUFFIX, 2
    while os.path.exists(path) or os.path.abspath(path) in taken:
        path, number = f"{base}.{number}{SUFFIX}", number + 1
    return path
