"""Move vectors between stores and files, and prove that all of them arrived.

>>> import vexarrow
>>> vexarrow.copy("memories.vmig.jsonl", "memories.parquet").counts.written
160
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vexarrow._version import __version__

if TYPE_CHECKING:
    from vexarrow.api import copy, inspect, read, validate, write
    from vexarrow.errors import VexError
    from vexarrow.report import Report

__all__ = ["Report", "VexError", "__version__", "copy", "inspect", "read", "validate", "write"]

_HOMES = {"Report": "vexarrow.report", "VexError": "vexarrow.errors"}


def __getattr__(name: str) -> Any:
    # Importing the package costs nothing: pyarrow and numpy come with the first use.
    if name not in __all__:
        raise AttributeError(f"module 'vexarrow' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "vexarrow.api")), name)
