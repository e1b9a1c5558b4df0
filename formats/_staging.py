"""Files of a directory, written in a hidden folder beside their places, and moved all at once or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from vexarrow.errors import UsageError
from vexarrow.files import TEMPORARY, Output, filesystem, translated
from vexarrow.location import Location, is_url

OURS = re.compile(r"(?:[^/=]+=[^/]*/)*part-\d{5,}\.parquet")
CHUNK = 8 << 20


class Staging:
    """The new content of a directory. A remote one is put together on this machine and uploaded at the end.

    What is there stays until the new files are complete; then only files that a former run wrote are replaced. Raises
    UsageError when the directory holds something and may not be overwritten, or holds data files of other names.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._target = location.target.rstrip("/") or "/"
        self._place = Path(self._target)
        self._remote = is_url(location.target)
        self.names: list[str] = []
        self._old = self._existing()
        with translated(self._target):
            self._made = not self._remote and _make(self._place)
            if self._remote:
                self._folder = Path(tempfile.mkdtemp(suffix=TEMPORARY))
            else:
                self._folder = self._place / f".{os.getpid()}{TEMPORARY}"
                self._folder.mkdir()

    def _existing(self) -> list[str]:
        """The files that will be replaced, relative to the target."""
        if not self._remote and os.path.lexists(self._target) and not self._place.is_dir():
            raise UsageError(f"{self._location} is a file, and a directory is to be written")
        found = _remote_files(self._target) if self._remote else _local_files(self._place)
        if found and not self._location.overwrite:
            raise UsageError(f"{self._location} is not empty; --overwrite replaces the data in it")
        foreign = [name for name in found if name.endswith((".parquet", ".pq")) and not OURS.fullmatch(name)]
        if foreign:
            raise UsageError(
                f"{self._location} holds data files of other names ({foreign[0]}), which would mix with the new ones"
            )
        return [name for name in found if OURS.fullmatch(name)]

    def create(self, name: str) -> IO[bytes]:
        """A new file, open for writing. It has another suffix, so that no reader takes it for data."""
        self.names.append(name)
        return self._staged(len(self.names) - 1).open("wb")

    def complete(self, file: IO[bytes]) -> None:
        """Close a file for good, durably."""
        file.flush()
        os.fsync(file.fileno())
        file.close()

    def publish(self) -> None:
        """Give every file its place, and take away the old ones that have none any more."""
        with translated(self._target):
            if self._remote:
                self._upload()
            else:
                self._move()
        self.discard()

    def _move(self) -> None:
        aside, placed = [], []
        try:
            for name in self._old:
                _rename(self._place / name, self._folder / "old" / name)
                aside.append(name)
            for number, name in enumerate(self.names):
                _rename(self._staged(number), self._place / name)
                placed.append(name)
        except BaseException:
            self._undo(aside, placed)
            raise
        self._made = False
        _remove_empty(self._place, [name for name in self._old if name not in set(self.names)])

    def _undo(self, aside: Sequence[str], placed: Sequence[str]) -> None:
        with suppress(OSError):
            for name in placed:
                (self._place / name).unlink()
            for name in aside:
                _rename(self._folder / "old" / name, self._place / name)
            _remove_empty(self._place, placed)

    def _upload(self) -> None:
        fs, _ = filesystem(self._target)
        placed: list[str] = []
        try:
            for number, name in enumerate(self.names):
                _put(self._staged(number), f"{self._target}/{name}")
                placed.append(name)
        except BaseException:
            with suppress(Exception):
                for name in placed:
                    fs.rm(filesystem(f"{self._target}/{name}")[1])
            raise
        for name in sorted(set(self._old) - set(self.names)):
            fs.rm(filesystem(f"{self._target}/{name}")[1])

    def _staged(self, number: int) -> Path:
        return self._folder / f"{number}{TEMPORARY}"

    def discard(self) -> None:
        """Remove what was not moved, and the directory if it was made for nothing. Never raises."""
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._made:
            with suppress(OSError):
                self._place.rmdir()


def _make(path: Path) -> bool:
    """Make a directory; False when it was there."""
    if path.is_dir():
        return False
    path.mkdir(parents=True)
    return True


def _rename(old: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    old.replace(new)


def _remove_empty(root: Path, names: Sequence[str]) -> None:
    """Remove the folders of files that are gone, where nothing else is in them."""
    for name in names:
        for folder in Path(name).parents:
            if folder != Path():
                with suppress(OSError):
                    (root / folder).rmdir()


def _local_files(root: Path) -> list[str]:
    paths = (path.relative_to(root) for path in root.rglob("*") if not path.is_dir())
    return sorted(path.as_posix() for path in paths if not path.parts[0].endswith(TEMPORARY))


def _remote_files(root: str) -> list[str]:
    fs, inner = filesystem(root)
    with translated(root):
        base = inner.rstrip("/") + "/"
        return sorted(name[len(base) :] for name in fs.find(inner) if name.startswith(base))


def _put(path: Path, target: str) -> None:
    output: Any = Output(target, overwrite=True)
    try:
        with path.open("rb") as source:
            while chunk := source.read(CHUNK):
                output.stream.write(chunk)
        output.publish()
    except BaseException:
        output.discard()
        raise
