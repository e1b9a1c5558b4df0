"""On what it was measured: enough to judge the numbers by, nothing that names the machine or its owner."""

import os
import platform
import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("vexarrow", "pyarrow", "polars", "duckdb", "numpy", "orjson", "pysimdjson", "click")


def processor() -> str:
    """The model that the processor reports."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def versions() -> dict[str, str]:
    """What is installed, by name."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if node := shutil.which("node"):
        found["node"] = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    return found


def describe() -> dict[str, object]:
    """The machine, and how busy others kept it when the run started."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_at_start": os.getloadavg()[0],
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions(),
    }
