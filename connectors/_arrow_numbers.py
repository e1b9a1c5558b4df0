"""numpy's numbers as Arrow's, without a copy and without `pa.array`, whose first call loads numpy.ma: 20 ms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray


def int64(numbers: NDArray[np.int64], valid: NDArray[np.bool_] | None = None) -> pa.Int64Array:
    """An array of the numbers, null where they are not valid."""
    return _made(pa.int64(), np.ascontiguousarray(numbers, dtype=np.int64), valid)


def float64(numbers: NDArray[np.float64], valid: NDArray[np.bool_] | None = None) -> pa.DoubleArray:
    """An array of the numbers, null where they are not valid."""
    return _made(pa.float64(), np.ascontiguousarray(numbers, dtype=np.float64), valid)


def _made(kind: pa.DataType, numbers: NDArray[Any], valid: NDArray[np.bool_] | None) -> pa.Array:
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(numbers), [bitmap, pa.py_buffer(numbers)])
