"""What makes a process of the command line lean; the Python API leaves the process of its caller alone."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys
from contextlib import suppress
from functools import cache
from typing import NoReturn

# Python looks for cycles after so many new containers more than were freed: by default 700, of which a batch has more,
# and what is imported has 70,000.
_NEW_CONTAINERS = 200_000
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_BEGIN_WRITING = 2  # SYNC_FILE_RANGE_WRITE
_KEPT_BYTES, _MAPPED_BYTES = 128 << 20, 1 << 30


def settle() -> None:
    """Do without pandas, and keep freed memory for the next batch. To be called before pyarrow is imported."""
    sys.meta_path.insert(0, _NoPandas())
    gc.set_threshold(_NEW_CONTAINERS)
    # Batches come and go by the megabyte. Returned to the system each time, they cost a page fault every 4 kB when
    # they come again: half of the processor time that the system takes in a run.
    if sys.platform == "linux":
        if os.uname().machine == "x86_64":  # the wheels of other machines come without it
            os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
        _keep_freed_memory()


def without_arithmetic() -> None:
    """Keep BLAS from starting threads, in a process that multiplies no matrices: they would spin for a tenth of a
    second, on a processor that others need. To be called before numpy is imported; what the user set stays."""
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def leave(code: int) -> NoReturn:
    """End the process at once, after what was registered for its end, with its streams flushed. Python would take all
    that it has imported apart before, a tenth of a second of work that nobody sees."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _keep_freed_memory() -> None:
    mallopt = getattr(_libc(), "mallopt", None)  # glibc has it, musl has not
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def start_writing(file: int, start: int, size: int) -> None:
    """Have the system write a part of an open file to the disk, without waiting. It is a hint: nothing happens where
    the system cannot do that."""
    begin = getattr(_libc(), "sync_file_range", None) if sys.platform == "linux" else None
    if begin is not None:
        begin(file, start, size, _BEGIN_WRITING)


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "sync_file_range"):
        libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return libc


class _NoPandas:
    """Says to this process alone that pandas is not installed.

    Where it is, pyarrow imports it (0.4 s, 60 MB) to see whether an argument is one of its objects. None ever is here.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse pandas; leave every other module to the other finders."""
        if name == "pandas":
            raise ModuleNotFoundError("vex does without pandas", name=name)
