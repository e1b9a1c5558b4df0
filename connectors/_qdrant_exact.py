"""Vectors that a cosine collection would change, kept so that they come back bit for bit.

Such a collection keeps vectors at length 1, but leaves alone those that have it (within 1e-6), and those that are
nearly 0. Therefore others are brought to length 1 here, and what they were is kept in the payload: the length, and for
every component whether the product of both has to be rounded up or down, in two bits; or, where that does not do, the
vector as it was. As text, that is about a sixteenth of the vector, and a fifth more than the vector at worst.

    kept = base64("n" + length as float64 + two bits a component)  or  base64("x" + float32, little-endian)
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

EXACT, NORM = "__exact__", "__norm__"
_NEARLY_ONE, _NEARLY_ZERO = 5e-7, 1e-7  # within what the server takes for 1 and 0, of the square of the length
_HEAD = 9


class Kept(NamedTuple):
    """What goes into the payload beside a vector: its length, and the text from which it is restored."""

    length: float
    text: str


def at_length_one(matrix: NDArray[np.float32]) -> tuple[NDArray[np.float32], dict[int, Kept]]:
    """The vectors (n, d) as a cosine collection leaves them alone, and what to keep, by row."""
    squares = np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)
    changed: NDArray[np.bool_] = (np.abs(squares - 1) > _NEARLY_ONE) & (squares > _NEARLY_ZERO) & np.isfinite(squares)
    rows = np.flatnonzero(changed)
    if not rows.size:
        return matrix, {}
    lengths = np.sqrt(squares[rows])
    before = matrix[rows]
    after = (before / lengths[:, None]).astype(np.float32)
    steps = _restored(after, lengths).view(np.int32) - before.view(np.int32)
    small: NDArray[np.bool_] = np.abs(steps).max(axis=1, initial=0) <= 1
    packed = _packed(steps, lengths)
    sent = np.array(matrix)
    sent[rows] = after
    kept = {}
    for at, row in enumerate(rows.tolist()):
        data = packed[at].tobytes() if small[at] else b"x" + before[at].astype("<f4").tobytes()
        kept[row] = Kept(float(lengths[at]), encoded(data))
    return sent, kept


def encoded(data: bytes) -> str:
    """Bytes as base64 text."""
    return binascii.b2a_base64(data, newline=False).decode()


def verbatim(data: bytes) -> str:
    """Little-endian float32 as a text that restores them."""
    return encoded(b"x" + data)


def _restored(vectors: NDArray[np.float32], lengths: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors.astype(np.float64) * lengths[:, None]).astype(np.float32)


def _packed(steps: NDArray[np.int32], lengths: NDArray[np.float64]) -> NDArray[np.uint8]:
    rows, dim = steps.shape
    codes = np.zeros((rows, -(-dim // 4) * 4), np.uint8)
    codes[:, :dim] = (steps + 1).astype(np.uint8) & 3
    out = np.empty((rows, _HEAD + codes.shape[1] // 4), np.uint8)
    out[:, 0] = ord("n")
    out[:, 1:_HEAD] = lengths.astype("<f8").view(np.uint8).reshape(rows, 8)
    out[:, _HEAD:] = codes[:, 0::4] | codes[:, 1::4] << 2 | codes[:, 2::4] << 4 | codes[:, 3::4] << 6
    return out


def restore(matrix: NDArray[np.float32], texts: Sequence[Any]) -> NDArray[np.float32]:
    """The vectors as they were, from those that the server holds and what was kept of each, None for nothing."""
    kept = [(row, data) for row, text in enumerate(texts) if (data := decoded(text)) is not None]
    if not kept:
        return matrix
    out, dim = np.array(matrix), matrix.shape[1]
    scaled = [(row, data) for row, data in kept if data[:1] == b"n" and len(data) == _HEAD + -(-dim // 4)]
    if scaled:
        rows = [row for row, _ in scaled]
        raw = np.frombuffer(b"".join(data for _, data in scaled), np.uint8).reshape(len(rows), -1)
        lengths = np.ascontiguousarray(raw[:, 1:_HEAD]).view("<f8")[:, 0]
        codes = np.stack([raw[:, _HEAD:] >> shift & 3 for shift in (0, 2, 4, 6)], axis=2).reshape(len(rows), -1)
        bits = _restored(out[rows], lengths).view(np.int32) - (codes[:, :dim].astype(np.int32) - 1)
        out[rows] = bits.view(np.float32)
    for row, data in kept:
        if data[:1] == b"x" and len(data) == 1 + 4 * dim:
            out[row] = np.frombuffer(data, "<f4", offset=1)
    return out


def decoded(text: Any) -> bytes | None:
    """The bytes of a kept text; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        return binascii.a2b_base64(text)
    except (binascii.Error, ValueError):
        return None


def length(data: bytes) -> float:
    """The length in a kept text of the first kind."""
    return float(struct.unpack_from("<d", data, 1)[0])
