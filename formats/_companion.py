"""A second process that cuts lines: reading JSON holds the interpreter, so that a thread would not make it faster.

The two talk through pipes in a format of their own: requests are `start end` lines of offsets in a local file, answers
a fixed head followed by the bytes of the pieces. Whatever goes wrong with the process, the lines are read without it.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from typing import IO, Any

import numpy as np

from ._cut import STYLES, Cut, Cutter
from ._lines import LineFile

# rows, dimension, bytes of the rest, bytes of the documents; rows is -1 for lines that have to be looked at closely.
_HEAD = struct.Struct("<qqqq")
_NONE = -1


class Companion:
    """The process, as seen from here. `ask` and `receive` may be called from different threads, in the same order."""

    def __init__(self, path: str, mark: bytes, style: int) -> None:
        self.asked = 0
        self.received = 0
        command = [sys.executable, "-m", __name__, path, mark.decode(), str(style)]
        # A session of its own: Ctrl-C is ours to handle, and the end of its input ends the process.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    @property
    def free(self) -> bool:
        """Whether it would start soon with what it is asked now."""
        return self.asked - self.received < 2

    def ask(self, start: int, end: int) -> None:
        """Ask for the lines between two offsets. Raises OSError when the process has ended."""
        self._pipe(self._process.stdin).write(b"%d %d\n" % (start, end))
        self._pipe(self._process.stdin).flush()
        self.asked += 1

    def receive(self) -> Cut | None:
        """The oldest answer; None when the lines are unusual or the process has ended."""
        try:
            return _read(self._pipe(self._process.stdout))
        except (OSError, EOFError, ValueError):
            return None
        finally:
            self.received += 1

    def _pipe(self, pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            raise EOFError("the process has no pipe")
        return pipe

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # a request that nobody reads any more
                    pipe.close()


def _read(pipe: IO[bytes]) -> Cut | None:
    rows, dim, rest, documents = _HEAD.unpack(_exactly(pipe, _HEAD.size))
    if rows < 0:
        return None
    present = np.frombuffer(_exactly(pipe, rows), dtype=bool)
    matrix = np.frombuffer(_exactly(pipe, 4 * rows * dim), dtype=np.float32).reshape(rows, dim)
    text = _exactly(pipe, rest)
    lengths = np.frombuffer(_exactly(pipe, 8 * rows), dtype=np.int64)
    ends = np.cumsum(np.maximum(lengths, 0)).tolist()
    raw = _exactly(pipe, documents)
    pieces = [None if n < 0 else raw[end - n : end] for n, end in zip(lengths.tolist(), ends, strict=True)]
    return Cut(text, matrix, present, pieces)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) != size:
        raise EOFError("the process has ended")
    return data


def _write(pipe: IO[bytes], cut: Cut | None) -> None:
    if cut is None:
        pipe.write(_HEAD.pack(-1, 0, 0, 0))
        pipe.flush()
        return
    documents = b"".join([document for document in cut.documents if document is not None])
    lengths = np.array([_NONE if one is None else len(one) for one in cut.documents], dtype=np.int64)
    pipe.write(_HEAD.pack(len(cut.present), cut.matrix.shape[1], len(cut.rest), len(documents)))
    pieces: tuple[Any, ...] = (cut.present.data, cut.matrix.data.cast("B"), cut.rest, lengths.data, documents)
    for piece in pieces:
        pipe.write(piece)
    pipe.flush()


def main() -> None:
    """The process: answers requests until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path, mark, style = sys.argv[1:]
    cutter = Cutter(mark.encode(), STYLES[int(style)])
    with LineFile(path) as file:
        for request in sys.stdin.buffer:
            start, end = map(int, request.split())
            _write(sys.stdout.buffer, cutter.cut(file.lines(start, end)))


if __name__ == "__main__":
    main()
