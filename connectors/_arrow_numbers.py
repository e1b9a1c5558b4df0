"""numpy's integers as Arrow's, without a copy and without `pa.array`, whose first call loads numpy.ma: 20 ms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray


def int64(numbers: NDArray[np.int64], valid: NDArray[np.bool_] | None = None) -> pa.Int64Array:
    """An array of the numbers, null where they are not valid."""
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    data = pa.py_buffer(np.ascontiguousarray(numbers, dtype=np.int64))
    return pa.Array.from_buffers(pa.int64(), len(numbers), [bitmap, data])
