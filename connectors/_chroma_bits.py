"""Vectors of cosine collections, exact to the last bit.

Chroma's index keeps the unit vector and the length of a vector, and gives their product back: a fifth of all numbers
comes back as a neighbour of what was written. What will come back is known beforehand (hnswlib adds the squares up one
by one in float32; seen in 1.5.9 for 3 to 1536 dimensions), so that the difference is noted under `__vex__` as the last
member, "bits":

    "+cccccccc" and base64 of two bits a number, lowest first: the steps to the true float32, plus one
    "=cccccccc" and base64 of the float32 numbers, where one step is not enough (lengths beyond float32)

cccccccc is the CRC-32 of the vector as it comes back, so that the note of a vector that is another one by now is left
alone, and that of a server that computes in another way.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.payload import HIDDEN

from ._chroma_store import Raw

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MARK = '"bits":"'
_STEPS, _WHOLE = "+", "="
_LEAST = np.float32(1e-30)  # what hnswlib adds to a length before it divides by it


def note(matrix: NDArray[np.float32], metadatas: Sequence[dict[str, Any]]) -> None:
    """Add to the metadata of each record what its vector needs to be told exactly, if anything."""
    back = given_back(matrix)
    steps = matrix.view(np.int32).astype(np.int64) - back.view(np.int32)
    far = np.abs(steps).max(axis=1, initial=0) > 1
    packed = _packed((steps + 1).astype(np.uint8))
    for row in np.flatnonzero(steps.any(axis=1)).tolist():
        kind, data = (_WHOLE, matrix[row].tobytes()) if far[row] else (_STEPS, packed[row].tobytes())
        text = f"{kind}{zlib.crc32(back[row].tobytes()):08x}{binascii.b2a_base64(data, newline=False).decode()}"
        metadata = metadatas[row]
        hidden = metadata.get(HIDDEN, "{}")[:-1]
        metadata[HIDDEN] = f'{hidden}{"," if len(hidden) > 1 else ""}{_MARK}{text}"}}'


def given_back(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the index gives back for a matrix of vectors; a vector that is not finite then is all zeros."""
    with np.errstate(all="ignore"):
        squares = np.zeros(matrix.shape[0], dtype=np.float32)
        for column in np.ascontiguousarray(matrix.T):
            squares += column * column
        length = np.sqrt(squares)
        back: NDArray[np.float32] = matrix * (np.float32(1) / (length + _LEAST))[:, None] * length[:, None]
    back[~np.isfinite(back).all(axis=1)] = 0
    return back


def _packed(numbers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Numbers of two bits, four a byte."""
    rows, length = numbers.shape
    full = np.zeros((rows, -(-length // 4) * 4), dtype=np.uint8)
    full[:, :length] = numbers
    packed: NDArray[np.uint8] = full[:, 0::4] | full[:, 1::4] << 2 | full[:, 2::4] << 4 | full[:, 3::4] << 6
    return packed


def restored(raw: Raw) -> Raw:
    """The records with the vectors that were written, as far as there are notes that fit them."""
    notes = [(row, text) for row, metadata in enumerate(raw.metadatas) if (text := _noted(metadata)) is not None]
    if not notes:
        return raw
    matrix, bad = raw.matrix.copy(), set(raw.bad)
    crc = {row: f"{zlib.crc32(matrix[row].tobytes()):08x}" for row, _ in notes}
    fitting = [(row, text) for row, text in notes if text[1:9] == crc[row]]
    width = -(-matrix.shape[1] // 4)
    rows, data = _decoded(fitting, _STEPS, width)
    if rows:
        fours = np.frombuffer(b"".join(data), dtype=np.uint8).reshape(len(rows), width)
        steps = np.stack([fours >> shift & 3 for shift in (0, 2, 4, 6)], axis=2).reshape(len(rows), -1)
        matrix.view(np.int32)[rows] += steps[:, : matrix.shape[1]].astype(np.int32) - 1
    rows, data = _decoded(fitting, _WHOLE, 4 * matrix.shape[1])
    for row, whole in zip(rows, data, strict=True):
        matrix[row] = np.frombuffer(whole, dtype="<f4")
        bad.discard(row)
    return raw._replace(matrix=matrix, bad=sorted(bad))


def _noted(metadata: Mapping[str, Any] | None) -> str | None:
    """The note of a record. It is the last member, and a quote inside a JSON string is never bare."""
    hidden = (metadata or {}).get(HIDDEN)
    if not isinstance(hidden, str) or not hidden.endswith('"}'):
        return None
    start = hidden.rfind(_MARK)
    text = hidden[start + len(_MARK) : -2]
    return text if start > 0 and '"' not in text else None


def _decoded(notes: Sequence[tuple[int, str]], kind: str, size: int) -> tuple[list[int], list[bytes]]:
    """The rows with notes of a kind, and their data."""
    rows, data = [], []
    for row, text in notes:
        if text[0] == kind:
            try:
                one = binascii.a2b_base64(text[9:], strict_mode=True)
            except ValueError:
                continue
            if len(one) == size:
                rows.append(row)
                data.append(one)
    return rows, data
