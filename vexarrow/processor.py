"""Which kernels of OpenBLAS suit the processor: a matter of two times in speed where it takes the wrong ones.

AMD's processors have AVX-512 since Zen 4, and OpenBLAS has kernels for it, made for Intel's Skylake-X. The OpenBLAS of
numpy's wheels (0.3.27, 0.3.31 and 0.3.33 were tried) finds them by itself when the processor says that it is a Zen 4
or a Zen 5; all the same it has been seen to take those for AVX2 on such a machine, and builds of others know fewer
processors. To name the kernels changes nothing where the choice is right. But a name is taken as it is: OpenBLAS does
not look at the processor then, so that we have to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

VARIABLE = "OPENBLAS_CORETYPE"
_KERNELS = "SKYLAKEX"
# What these kernels are compiled for. Linux lists a flag only where it saves the wide registers, too.
_NEEDED = frozenset({"avx2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
_FIRST_BYTES = 8192  # of /proc/cpuinfo, where all processors follow each other: enough for one


def take_wide_kernels() -> None:
    """Choose the kernels for this process, if numpy was not imported before. For the command line: what a process of
    the Python API computes with is its owner's choice."""
    if sys.platform != "linux" or "numpy" in sys.modules:
        return
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            cpuinfo = file.read(_FIRST_BYTES)
    except OSError:
        return
    kernels = wide_kernels(os.uname().machine, cpuinfo, os.environ)
    if kernels is not None:
        os.environ[VARIABLE] = kernels


def wide_kernels(machine: str, cpuinfo: str, environment: Mapping[str, str]) -> str | None:
    """The name of the kernels to ask for, None to leave the choice to OpenBLAS: for machines that are not x86-64,
    processors that are not AMD's or lack a part of AVX-512, and where the user chose.

    `cpuinfo`: the beginning of /proc/cpuinfo, with the first processor in it.
    """
    if machine != "x86_64" or VARIABLE in environment:
        return None
    first = cpuinfo.split("\n\n", 1)[0]
    lines = (line.partition(":") for line in first.splitlines())
    said = {name.strip(): value.split() for name, _, value in lines}
    able = said.get("vendor_id") == ["AuthenticAMD"] and _NEEDED.issubset(said.get("flags", ()))
    return _KERNELS if able else None
