"""Corrections near groups of source vectors, on top of a projection's one linear map.

The directions of a unit row x from the mean of the training's source vectors fall into k groups; s_g is how far x lies
along the centre of group g. Of the `NEAREST` groups with the largest s a row takes what they add, weighted by
exp(`SHARPNESS` s): y = unit(x W + b + sum of w_g ((x P_g) Q_g + b_g)). P_g and Q_g are of a low rank r, so that all of
it are two products: x with every P side by side, and that, weighted, beside x itself, with every Q below W.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.adapt import blas, kernel
from vexarrow.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

# A part of the file's format: files do not say them.
NEAREST, SHARPNESS = 3, 10.0
TENSORS = ("local_centres", "local_offsets", "local_into", "local_out", "local_bias")


@dataclass(frozen=True, slots=True)
class Local:
    """For k groups, float32: `centres` [k, d_in], rows of length 1; `offsets` [k], how far the mean lies along them;
    `into` [k, d_in, r] and `out` [k, r, d_out], the P and Q of above; `bias` [k, d_out]."""

    centres: Matrix
    offsets: Matrix
    into: Matrix
    out: Matrix
    bias: Matrix

    def __len__(self) -> int:
        return len(self.centres)

    def check(self, d_in: int, d_out: int) -> None:
        """Raises DataError where the parts do not fit each other and a map between these dimensions, or are not
        finite."""
        k, r = (*self.into.shape, 0, 0, 0)[0:3:2]
        parts = (self.centres, self.offsets, self.into, self.out, self.bias)
        shapes = ((k, d_in), (k,), (k, d_in, r), (k, r, d_out), (k, d_out))
        if not k or not r or any(part.shape != shape for part, shape in zip(parts, shapes, strict=True)):
            raise DataError("the header and the shapes of its local corrections contradict each other")
        if not all(np.isfinite(part).all() for part in parts):
            raise DataError("the local corrections hold NaN or infinity")

    def tensors(self) -> dict[str, Matrix]:
        """As they are named in the file."""
        return dict(zip(TENSORS, (self.centres, self.offsets, self.into, self.out, self.bias), strict=True))

    @classmethod
    def of(cls, tensors: Mapping[str, Matrix]) -> Local | None:
        """The inverse; None where there are none. Raises KeyError where only some are."""
        return cls(*(tensors[name] for name in TENSORS)) if any(name in tensors for name in TENSORS) else None

    def cut(self, dim: int) -> Local:
        """Into the space of the first `dim` components of the target."""
        return replace(self, out=self.out[:, :, :dim].copy(), bias=self.bias[:, :dim].copy())

    def weights(self, unit: Matrix) -> Matrix:
        """How much of each group's correction unit rows [n, d_in] take: [n, k], rows of sum 1."""
        along = unit @ self.centres.T
        along -= self.offsets
        if len(self) > NEAREST:
            beyond = np.argpartition(-along, NEAREST - 1, axis=1)[:, NEAREST:]
            np.put_along_axis(along, beyond, -np.inf, axis=1)
        along -= along.max(1, keepdims=True)
        along *= np.float32(SHARPNESS)
        np.exp(along, out=along)
        along /= along.sum(1, keepdims=True)
        return along


class Corrected:
    """A linear map and its corrections, ready for many vectors."""

    def __init__(self, local: Local, weight: Matrix, bias: Matrix) -> None:
        k, d_in, r = local.into.shape
        self._local = local
        self._into = np.ascontiguousarray(local.into.transpose(1, 0, 2).reshape(d_in, k * r))
        # The weights of a row's groups add up to 1, and so does what they bring of the bias.
        self._whole = np.vstack([weight, local.out.reshape(k * r, -1), local.bias + bias])

    def project(self, x: Matrix, scales: Matrix) -> Matrix:
        """As `kernel.project` does: `scales` [n] receives the `inverse_lengths` of x."""
        made = np.empty((len(x), self._whole.shape[1]), np.float32)
        every = kernel.blocks(*made.shape)
        room = _Room(max(block.stop - block.start for block in every), len(self._whole))
        with blas.single_threaded():
            blas.each(lambda block: self._block(x[block], scales[block], made[block], room.rows), every)
        return made

    def _block(self, x: Matrix, scale: Matrix, out: Matrix, room: Matrix) -> None:
        scale[:] = kernel.inverse_lengths(x)
        k, d_in, r = self._local.into.shape
        beside = room[: len(x)]
        unit, inside, weights = np.split(beside, [d_in, d_in + k * r], axis=1)
        with np.errstate(all="ignore"):  # what is no direction shows in `scale`
            np.multiply(x, scale[:, None], out=unit)
            weights[:] = self._local.weights(unit)
            np.matmul(unit, self._into, out=inside)
            by_group = inside.reshape(len(x), k, r)
            by_group *= weights[:, :, None]
            np.matmul(beside, self._whole, out=out)
            out *= kernel.inverse_lengths(out)[:, None]


class _Room(threading.local):
    """Memory for what a block is multiplied with, one for each thread."""

    def __init__(self, rows: int, width: int) -> None:
        self.rows: Any = np.empty((rows, width), np.float32)
