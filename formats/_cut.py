"""Usual lines cut at their vectors and metadata; needs numpy and simdjson alone, so that a process starts fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import simdjson

from ._parse import signed_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Style(NamedTuple):
    """How a file spells what the cuts are made at: compact as JavaScript does, or spaced as Python does."""

    vector: bytes
    metadata: bytes
    after: bytes


STYLES = (
    Style(b'"vector":[', b',"metadata":{', b'},"created_at":'),
    Style(b'"vector": [', b', "metadata": {', b'}, "created_at": '),
)


class Unusual(ValueError):
    """A line that has to be looked at closely."""


UNUSUAL = (ValueError, TypeError, KeyError, RuntimeError)


class Cut(NamedTuple):
    """Lines without their vectors and metadata, and these: a row of the matrix and a JSON text for every line that has
    one, as `present` and a document other than None tell."""

    rest: bytes
    matrix: NDArray[np.float32]
    present: NDArray[np.bool_]
    documents: list[bytes | None]


class Cutter:
    """Cuts lines of one style; `mark` is the JSON string that takes the places. One of them is used by one thread."""

    def __init__(self, mark: bytes, style: Style) -> None:
        self._mark = mark
        self._style = style
        self._simd: Any = simdjson.Parser()

    def cut(self, lines: Sequence[bytes]) -> Cut | None:
        """The pieces of the lines, None when one of them is unusual."""
        try:
            with np.errstate(over="ignore"):
                cut = self._cut(lines)
            _sign_zeros(cut, lines)
        except UNUSUAL:
            return None
        return cut

    def _cut(self, lines: Sequence[bytes]) -> Cut:
        vector, metadata, after = self._style
        to_vector, to_metadata = len(vector) - 1, len(metadata) - 1
        parse, frombuffer, mark = self._simd.parse, np.frombuffer, self._mark
        rest: list[bytes] = []
        documents: list[bytes | None] = []
        present = np.zeros(len(lines), dtype=bool)
        matrix = np.zeros((len(lines), 0), dtype=np.float32)
        for row, line in enumerate(lines):
            start = line.find(vector)
            stop = 0
            if start >= 0:
                start += to_vector
                stop = line.find(b"]", start) + 1
                numbers = frombuffer(parse(line[start:stop]).as_buffer(of_type="d"))
                if not matrix.size:
                    matrix = np.zeros((len(lines), len(numbers)), dtype=np.float32)
                if len(numbers) != matrix.shape[1]:
                    raise Unusual("several dimensions")  # numpy would repeat a single number
                # Straight into the matrix: keeping the buffers of a page costs more than parsing them.
                matrix[row] = numbers
                present[row] = True
                rest += (line[:start], mark)
            at = line.find(metadata, stop)
            if at < 0:
                documents.append(None)
            else:
                at += to_metadata
                end = line.find(after, at) + 1
                document = line[at:end]
                parse(document)
                documents.append(document)
                rest += (line[stop:at], mark)
                stop = end
            rest.append(line[stop:])
        return Cut(b"".join(rest), matrix, present, documents)


def _sign_zeros(cut: Cut, lines: Sequence[bytes]) -> None:
    """Give the integer -0 its sign, which simdjson loses."""
    matrix = cut.matrix
    if matrix.all():
        return
    for row in np.flatnonzero((matrix == 0).any(axis=1) & cut.present).tolist():
        exact = signed_zeros(lines[row])
        if exact is not None:
            matrix[row] = np.frombuffer(exact, dtype=np.float64)
