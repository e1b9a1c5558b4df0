"""The transform of a run: every record projected into the target's space, or rejected with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from vexarrow.adapt.model import Adapter


def project_batch(batch: pa.RecordBatch, adapter: Adapter) -> pa.RecordBatch:
    """See `Projection.__call__`."""
    raise NotImplementedError
