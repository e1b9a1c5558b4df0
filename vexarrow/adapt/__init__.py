"""Projection: vectors of one embedding model translated into the space of another, without embedding again.

>>> from vexarrow.adapt import Projection
>>> projection = Projection.train(minilm, static, source_model="all-MiniLM-L6-v2", target_model="minilm-static")
>>> projection.matrix(minilm[:3]).shape
(3, 384)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vexarrow.adapt.projection import Projection

__all__ = ["Projection"]


def __getattr__(name: str) -> Any:
    # numpy and pyarrow come with the first use, as everywhere in the package.
    if name not in __all__:
        raise AttributeError(f"module 'vexarrow.adapt' has no attribute {name!r}")
    from vexarrow.adapt.projection import Projection

    return Projection
