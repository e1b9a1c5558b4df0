"""A second process that shares the work on a large file: reading and writing JSON hold the interpreter, so that a
thread would not make them faster.

Requests and answers are short lines through pipes, each with the number of a slot; what they speak of lies in the slot,
memory that both processes have. A slot is used again once its answer was taken, so neither side waits for the other to
read. Whatever goes wrong with the process, the work is done without it.

This module imports nothing heavy, so that the process is started before pyarrow is imported here.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vexarrow.files import compression
from vexarrow.location import STANDARD_STREAM, is_url

if TYPE_CHECKING:
    import pyarrow as pa

SLOTS = 3
READING = f"{__package__}._companion"
WRITING = f"{__package__}._encoder"
# A process takes half a second of a processor to start: bytes of input from which on that pays.
WORTH = 96 << 20
STARTED = b"started\n"
_PIECES = 1024  # that a system writes at once


# Processes that were started early, by what they do.
_waiting: dict[tuple[str, ...], Helper] = {}


def begin(module: str, *arguments: str) -> None:
    """Start a process that `helper` will give out; one that nobody asks for ends with this one."""
    if (os.cpu_count() or 1) > 1:
        with suppress(OSError):  # there are too many processes already
            _waiting[(module, *arguments)] = Helper(module, *arguments)


def helper(module: str, *arguments: str) -> Helper | None:
    """A process that does what `module` does with `arguments`; None where there can be none or it would not pay."""
    if (module, *arguments) not in _waiting:
        begin(module, *arguments)
    return _waiting.pop((module, *arguments), None)


def worth_sharing(path: str, start: int = 0) -> bool:
    """Whether a second process pays for reading: a large local file, not compressed."""
    if is_url(path) or path == STANDARD_STREAM or compression(path) or not Path(path).is_file():
        return False
    return Path(path).stat().st_size - start >= WORTH


class Helper:
    """The process, as seen from here. `ask` and `answer` may be called from different threads, in the same order."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._asked = 0
        self._answered = 0
        self._started = False
        self._ended = False
        self._slots = [_slot() for _ in range(SLOTS)]
        # A session of its own: Ctrl-C is ours to handle, and the end of its input ends the process.
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, self._slots), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self._slots,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    @property
    def free(self) -> bool:
        """Whether it can be asked: it has started, and a slot is free."""
        answers: Any = self._process.stdout
        self._started = self._started or bool(select.select([answers], [], [], 0)[0])
        return self._started and not self._ended and self.waiting < SLOTS

    @property
    def waiting(self) -> int:
        """How many answers have not been taken."""
        return self._asked - self._answered

    def ask(self, words: str, batch: pa.RecordBatch | None = None) -> None:
        """Ask for something, about a batch or not. Raises OSError when the process has ended."""
        slot = self._asked % SLOTS
        if batch is not None:
            put_batch(self._slots[slot], batch)
        pipe: Any = self._process.stdin
        try:
            pipe.write(f"{slot} {words}\n".encode())
            pipe.flush()
        except OSError:
            self._ended = True
            raise
        self._asked += 1

    def answer(self) -> memoryview | None:
        """The bytes of the oldest answer; None when it is that there is none, or the process has ended."""
        with self._answered_by(_take) as data:
            return data

    def answered(self) -> AbstractContextManager[memoryview | None]:
        """As `answer`, without a copy: the bytes are there until the context is left."""
        return self._answered_by(_mapped)

    @contextmanager
    def _answered_by(self, take: Callable[[int, int], memoryview]) -> Iterator[memoryview | None]:
        data = None
        try:
            with suppress(OSError, ValueError):
                pipe: Any = self._process.stdout
                line = self._line(pipe)
                if line.strip() and line.endswith(b"\n"):
                    data = take(self._slots[self._answered % SLOTS], int(line))
            yield data
        finally:
            self._answered += 1

    def _line(self, pipe: IO[bytes]) -> bytes:
        line = pipe.readline()
        return pipe.readline() if line == STARTED else line

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # a request that nobody reads any more
                    pipe.close()
        for slot in self._slots:
            os.close(slot)


def serve(slots: list[int], work: Callable[[list[str], int], int | None]) -> None:
    """In the process: answer requests until its input ends. `work` gets the words and the slot, and says how many bytes
    of the slot are the answer, or None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout.buffer.write(STARTED)
    sys.stdout.flush()
    for request in sys.stdin:
        slot, *words = request.split()
        size = work(words, slots[int(slot)])
        sys.stdout.write("\n" if size is None else f"{size}\n")
        sys.stdout.flush()


def _slot() -> int:
    """A file descriptor of memory that a child inherits, or of a file without a name where there is no such memory."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("vex")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def put_batch(slot: int, batch: pa.RecordBatch) -> int:
    """Write a batch into a slot; the number of bytes."""
    import pyarrow as pa

    os.lseek(slot, 0, os.SEEK_SET)
    with _file(slot) as file, pa.ipc.new_stream(file, batch.schema) as stream:
        stream.write_batch(batch)
        stream.close()
        return file.tell()


def put_bytes(slot: int, pieces: list[bytes]) -> int:
    """Write pieces into a slot, one after the other; the number of bytes."""
    os.lseek(slot, 0, os.SEEK_SET)
    size = 0
    for start in range(0, len(pieces), _PIECES):
        some = pieces[start : start + _PIECES]
        wanted, done = sum(map(len, some)), os.writev(slot, some)
        while done < wanted:  # the rest of one that was cut short
            done += os.write(slot, b"".join(some)[done:])
        size += wanted
    return size


def take_batch(data: memoryview) -> pa.RecordBatch:
    """The batch of an answer, without a copy."""
    import pyarrow as pa

    with pa.ipc.open_stream(pa.py_buffer(data)) as stream:
        return stream.read_next_batch()


def read_batch(slot: int) -> pa.RecordBatch:
    """The batch of a request, without a copy: it is gone when the slot is written to."""
    return take_batch(_mapped(slot, os.fstat(slot).st_size))


def _take(slot: int, size: int) -> memoryview:
    """A copy of the first bytes of a slot. Raises OSError when it is shorter."""
    data = memoryview(bytearray(size))
    at = 0
    while at < size:
        read = os.preadv(slot, [data[at:]], at)
        if not read:
            raise OSError("the slot is shorter than it should be")
        at += read
    return data


def _mapped(slot: int, size: int) -> memoryview:
    """The first bytes of a slot. Raises ValueError when it is shorter."""
    return memoryview(mmap.mmap(slot, size, prot=mmap.PROT_READ))


def _file(slot: int) -> IO[bytes]:
    return os.fdopen(slot, "wb", closefd=False)
