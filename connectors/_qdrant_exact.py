"""Vectors that a cosine collection would change, kept so that they come back bit for bit.

Such a collection keeps vectors at length 1, but leaves alone those that have it (within 1e-6), and those that are
nearly 0. Therefore others are brought to length 1 here, and what they were is kept in the payload: the length, and for
every component whether the product of both has to be rounded up or down, in two bits; or, where that does not do, the
vector as it was. As text, that is about a twelfth of the vector, and a third more than the vector at worst.

    kept = base64("n" + crc + length as float64 + two bits a component)  or  base64("x" + crc + float32, little-endian)

crc is the CRC-32 (little-endian) of the vector that the server holds then: a vector that another program has put there
since is left alone. It is 0 where the datatype of the collection rounds vectors in a way that is not known here.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

EXACT, NORM = "__exact__", "__norm__"
_NEARLY_ONE, _NEARLY_ZERO = 5e-7, 1e-7  # within what the server takes for 1 and 0, of the square of the length
_CRC, _HEAD = 5, 13  # where the CRC-32 and the length end
_UNTIED = bytes(4)
# How the server rounds the components by datatype (seen in 1.19.0); others than these are not known.
_HELD = {"Default": "<f4", "Float32": "<f4", "Float16": "<f2"}


class Kept(NamedTuple):
    """What goes into the payload beside a vector: its length, and the text from which it is restored."""

    length: float
    text: str


def at_length_one(matrix: NDArray[np.float32], datatype: str) -> tuple[NDArray[np.float32], dict[int, Kept]]:
    """The vectors (n, d) as a cosine collection leaves them alone, and what to keep, by row.

    `datatype`: that of the collection, a name of the protocol's enum Datatype.
    """
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
    ties = [tie(row, datatype) for row in after]
    packed = _packed(steps, lengths, ties)
    sent = np.array(matrix)
    sent[rows] = after
    kept = {}
    for at, row in enumerate(rows.tolist()):
        text = _encoded(packed[at].tobytes()) if small[at] else verbatim(before[at], ties[at])
        kept[row] = Kept(float(lengths[at]), text)
    return sent, kept


def tie(sent: NDArray[np.float32], datatype: str) -> bytes:
    """What ties a kept text to a vector, or to all those of a multi-vector, that is sent to a collection."""
    held = _HELD.get(datatype)
    return _crc(sent.astype(held).astype("<f4").tobytes()) if held is not None else _UNTIED


def _crc(held: bytes) -> bytes:
    return zlib.crc32(held).to_bytes(4, "little")


def verbatim(vectors: NDArray[np.float32], tied: bytes) -> str:
    """A text that restores vectors, tied to what is sent instead of them."""
    return _encoded(b"x" + tied + vectors.astype("<f4").tobytes())


def _encoded(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _restored(vectors: NDArray[np.float32], lengths: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors.astype(np.float64) * lengths[:, None]).astype(np.float32)


def _packed(steps: NDArray[np.int32], lengths: NDArray[np.float64], ties: Iterable[bytes]) -> NDArray[np.uint8]:
    rows, dim = steps.shape
    codes = np.zeros((rows, -(-dim // 4) * 4), np.uint8)
    codes[:, :dim] = (steps + 1).astype(np.uint8) & 3
    out = np.empty((rows, _HEAD + codes.shape[1] // 4), np.uint8)
    out[:, 0] = ord("n")
    out[:, 1:_CRC] = np.frombuffer(b"".join(ties), np.uint8).reshape(rows, 4)
    out[:, _CRC:_HEAD] = lengths.astype("<f8").view(np.uint8).reshape(rows, 8)
    out[:, _HEAD:] = codes[:, 0::4] | codes[:, 1::4] << 2 | codes[:, 2::4] << 4 | codes[:, 3::4] << 6
    return out


def restore(matrix: NDArray[np.float32], texts: Sequence[Any]) -> NDArray[np.float32]:
    """The vectors as they were, from those that the server holds and what was kept of each, None for nothing.

    A vector that is another one than that which was sent stays as it is.
    """
    kept = [(row, data) for row, text in enumerate(texts) if (data := _decoded(text, matrix[row])) is not None]
    if not kept:
        return matrix
    out, dim = np.array(matrix), matrix.shape[1]
    scaled = [(row, data) for row, data in kept if data[:1] == b"n" and len(data) == _HEAD + -(-dim // 4)]
    if scaled:
        rows = [row for row, _ in scaled]
        raw = np.frombuffer(b"".join(data for _, data in scaled), np.uint8).reshape(len(rows), -1)
        lengths = np.ascontiguousarray(raw[:, _CRC:_HEAD]).view("<f8")[:, 0]
        codes = np.stack([raw[:, _HEAD:] >> shift & 3 for shift in (0, 2, 4, 6)], axis=2).reshape(len(rows), -1)
        bits = _restored(out[rows], lengths).view(np.int32) - (codes[:, :dim].astype(np.int32) - 1)
        out[rows] = bits.view(np.float32)
    for row, data in kept:
        if data[:1] == b"x" and len(data) == _CRC + 4 * dim:
            out[row] = np.frombuffer(data, "<f4", offset=_CRC)
    return out


def restored(held: bytes, text: Any) -> bytes:
    """The vectors of a multi-vector as they were, from those that the server holds and what was kept of them."""
    data = _decoded(text, np.frombuffer(held, "<f4"))
    return data[_CRC:] if data is not None and data[:1] == b"x" and len(data) == _CRC + len(held) else held


def _decoded(text: Any, held: NDArray[np.float32]) -> bytes | None:
    """The bytes of a kept text that fits the vectors which are there; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        data = binascii.a2b_base64(text)
    except (binascii.Error, ValueError):
        return None
    tied = data[1:_CRC]
    return data if tied == _UNTIED or tied == _crc(held.astype("<f4").tobytes()) else None
