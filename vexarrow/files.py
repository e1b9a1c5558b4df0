"""Files anywhere: local paths, any fsspec URL, stdin and stdout; compression by suffix; whole or not at all.

Local paths never import fsspec. Every foreign error is translated here, once: see `translated`.
"""

from __future__ import annotations

import errno
import glob
import gzip
import hashlib
import io
import os
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vexarrow.errors import (
    AccessError,
    DataError,
    MissingDependency,
    NotFound,
    TransientError,
    Unsupported,
    UsageError,
    VexError,
)
from vexarrow.location import STANDARD_STREAM, is_url, redact
from vexarrow.process import start_writing

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
TEMPORARY = ".vex-part"
_UNREACHABLE = ("ClientConnectorError", "ClientConnectorDNSError", "ClientConnectorCertificateError")
_STEP = 8 << 20


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file to read: a path or URL and its size in bytes, None for a stream."""

    path: str
    size: int | None = None


def compression(path: str) -> str | None:
    """The codec that the file name's suffix means: "gzip", "zstd" or None."""
    return next((codec for suffix, codec in COMPRESSIONS.items() if path.lower().endswith(suffix)), None)


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn the errors of file systems, compression and object stores into our own, naming the place."""
    name = redact(path) if path != STANDARD_STREAM else "the standard stream"
    try:
        yield
    except (VexError, BrokenPipeError):
        raise  # a reader of our stdout that has seen enough is no error of ours
    except _corrupt() as error:
        raise DataError(f"{name}: {_first_line(error)}") from error
    except ImportError as error:
        wanted = re.search(r"(?:[Ii]nstall|requires) \"?(\w+)", str(error))
        hint = f" (pip install {wanted[1]})" if wanted else ""
        raise MissingDependency(f"{name}: {_first_line(error)}{hint}") from error
    except OSError as error:
        raise _from_os_error(name, error) from error
    except Exception as error:
        known = _from_object_store(name, error)
        if known is None:
            raise
        raise known from error


def _corrupt() -> tuple[type[Exception], ...]:
    """What bytes that are not as they should be raise; of Arrow once it was imported, before which helper processes
    start."""
    arrow = sys.modules.get("pyarrow")
    known = (EOFError, gzip.BadGzipFile, zlib.error)
    return known if arrow is None else (*known, arrow.ArrowException)


def _from_os_error(name: str, error: OSError) -> VexError:
    text = _first_line(error)
    if isinstance(error, FileNotFoundError):
        # fsspec says so of a web server that cannot be reached, too.
        reason = None if error.__cause__ is None else _from_object_store(name, error.__cause__)
        missing = NotFound(f"{name}: no such file, directory or bucket")
        return reason if isinstance(reason, TransientError) else missing
    if isinstance(error, PermissionError):
        return AccessError(f"{name}: permission denied")
    if isinstance(error, IsADirectoryError):
        return UsageError(f"{name}: is a directory")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return VexError(f"{name}: no space left on the device; nothing was published under the final name")
    if isinstance(error, (ConnectionError, TimeoutError)):
        return TransientError(f"{name}: {text}")
    if any(word in text.lower() for word in ("truncated", "zstd", "gzip", "zlib", "unexpected end", "end of stream")):
        return DataError(f"{name}: {text}")
    return _from_object_store(name, error) or VexError(f"{name}: {text}")


def _from_object_store(name: str, error: BaseException) -> VexError | None:
    """The error of a botocore client, recognised by its name so that nothing has to be imported."""
    kind, text = type(error).__name__, _first_line(error)
    if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        return AccessError(f"{name}: no usable credentials ({text})")
    if kind in ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", *_UNREACHABLE):
        return TransientError(f"{name}: {text}")
    if kind == "ClientError" or "An error occurred (" in text:
        denied = any(word in text for word in ("AccessDenied", "InvalidAccessKeyId", "Signature", "403", "Forbidden"))
        if denied:
            return AccessError(f"{name}: the credentials were refused ({text})")
        missing = any(word in text for word in ("NoSuchBucket", "NoSuchKey", "404"))
        return NotFound(f"{name}: {text}") if missing else VexError(f"{name}: {text}")
    return None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def filesystem(path: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path within. Raises MissingDependency for a protocol not installed."""
    import fsspec

    with translated(path):
        try:
            fs, inner = fsspec.core.url_to_fs(path)
        except ValueError as error:
            raise UsageError(f"{redact(path)}: {_first_line(error)}") from error
        return fs, inner


# -- reading --------------------------------------------------------------------------------------------


def find(target: str, suffixes: Sequence[str]) -> list[FileInfo]:
    """The files that a path, a glob or a directory means, in sorted order; directories are searched in depth.

    In a directory, names that start with "." or "_" are passed over. Raises NotFound when there is none.
    """
    with translated(target):
        if target == STANDARD_STREAM:
            return [FileInfo(target)]
        found = _find_remote(target, suffixes) if is_url(target) else _find_local(target, suffixes)
    if not found:
        raise NotFound(_nothing(target, suffixes))
    return found


def _nothing(target: str, suffixes: Sequence[str]) -> str:
    if not is_url(target) and not os.path.isdir(target):
        return f"{target}: no such file"
    plain = sorted({s for s in suffixes if not s.endswith(tuple(COMPRESSIONS))})
    return f"{redact(target)}: no such file, or nothing in it that ends in {', '.join(plain)}"


def _find_local(target: str, suffixes: Sequence[str]) -> list[FileInfo]:
    path = Path(target)
    if path.is_dir():
        names = [name for name in _walk(path) if _is_data(name.relative_to(path).parts, suffixes)]
    elif path.exists():
        names = [path]
    else:
        names = [Path(name) for name in glob.glob(target, recursive=True) if Path(name).is_file()]
    return [FileInfo(str(name), name.stat().st_size if name.is_file() else None) for name in sorted(names)]


def _walk(top: Path) -> Iterator[Path]:
    """Every file below a directory. Raises OSError for a directory that may not be listed."""

    def refused(error: OSError) -> None:
        raise error

    for folder, _, names in os.walk(top, onerror=refused):
        yield from (Path(folder, name) for name in names)


def _find_remote(target: str, suffixes: Sequence[str]) -> list[FileInfo]:
    fs, inner = filesystem(target)
    if any(mark in inner for mark in "*?["):
        names = sorted(fs.glob(inner))
    elif target.endswith("/") or (not fs.isfile(inner) and fs.isdir(inner)):
        base = inner.rstrip("/") + "/"
        names = [n for n in sorted(fs.find(inner)) if _is_data(n[len(base) :].split("/"), suffixes)]
    else:
        names = [inner]
    return [FileInfo(fs.unstrip_protocol(name), fs.info(name).get("size")) for name in names]


def _is_data(parts: Sequence[str], suffixes: Sequence[str]) -> bool:
    hidden = any(part.startswith((".", "_")) for part in parts)
    return not hidden and parts[-1].lower().endswith(tuple(suffixes))


@contextmanager
def open_input(path: str) -> Iterator[IO[bytes]]:
    """The decompressed bytes of a file as a stream with `read(n)`. Raises NotFound, AccessError, DataError."""
    with open_raw(path) as raw:
        codec = compression(path)
        yield _decompressed(raw, codec) if codec else raw


@contextmanager
def open_raw(path: str) -> Iterator[IO[bytes]]:
    """The bytes of a file as they are stored. Raises NotFound, AccessError."""
    with translated(path):
        raw = _open_raw(path)
        try:
            yield raw
        finally:
            if path != STANDARD_STREAM:
                raw.close()


def _open_raw(path: str) -> Any:
    if path == STANDARD_STREAM:
        return _stdin()
    if is_url(path):
        fs, inner = filesystem(path)
        return fs.open(inner, "rb")
    return open(path, "rb", buffering=0)


def _stdin() -> Any:
    """Standard input without Python's buffer, whose lock a thread that still waits for input would keep at the end."""
    try:
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    except (OSError, AttributeError, ValueError):
        return sys.stdin.buffer


def _decompressed(raw: Any, codec: str) -> Any:
    if codec == "gzip":
        return gzip.GzipFile(fileobj=raw, mode="rb")
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), codec)


def exists(path: str) -> bool:
    """True when there is a file, a non-empty directory or a non-empty prefix of that name."""
    with translated(path):
        if path == STANDARD_STREAM:
            return False
        if is_url(path):
            fs, inner = filesystem(path)
            return bool(fs.exists(inner)) and (bool(fs.isfile(inner)) or bool(fs.find(inner, maxdepth=2)))
        return any(os.scandir(path)) if os.path.isdir(path) else os.path.lexists(path)


# -- writing --------------------------------------------------------------------------------------------


class Output:
    """A file that appears under its name whole, at `publish`, or not at all.

    Locally it is written beside its name and renamed; on an object store it is one put or a multipart upload that is
    completed by `publish`. stdout is written as it comes. `stream` takes the bytes, uncompressed; `packed.sha256` is
    the hash of the file when it is compressed.
    """

    def __init__(self, path: str, *, overwrite: bool = False) -> None:
        self.path = path
        self.packed = _Hashing(self)
        if not overwrite and exists(path):
            raise UsageError(f"{redact(path)} exists already; --overwrite replaces it")
        with translated(path):
            self._raw: Any = self._opened()
        self.stream: Any = self._raw
        codec = compression(path)
        if codec == "gzip":
            self.stream = gzip.GzipFile(fileobj=self.packed, mode="wb", compresslevel=6, mtime=0, filename="")
        elif codec:
            import pyarrow as pa

            self.stream = pa.CompressedOutputStream(pa.PythonFile(self.packed, mode="w"), codec)

    def _opened(self) -> Any:
        try:
            return self._open()
        except NotImplementedError as error:  # fsspec's word for a file system without files to write, such as http
            raise Unsupported(f"{redact(self.path)}: this place can be read, and not be written to") from error

    def _open(self) -> Any:
        if self.path == STANDARD_STREAM:
            return sys.stdout.buffer
        if is_url(self.path):
            fs, inner = filesystem(self.path)
            return fs.open(inner, "wb", autocommit=False)
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        return io.BufferedWriter(_Steady(self.temporary, "wb"))

    @property
    def temporary(self) -> str:
        """The name that a local file has until it is published."""
        folder, name = os.path.split(self.path)
        return os.path.join(folder, f".{name}.{os.getpid()}{TEMPORARY}")

    def publish(self) -> None:
        """Flush to disk and give the file its name. Durable on return."""
        with translated(self.path):
            if self.stream is not self._raw:
                self.stream.close()
            if self.path == STANDARD_STREAM:
                self._raw.flush()
            elif is_url(self.path):
                self._raw.close()
                self._raw.commit()
            else:
                self._raw.flush()
                os.fsync(self._raw.fileno())
                self._raw.close()
                os.replace(self.temporary, self.path)

    def discard(self) -> None:
        """Remove what was written. Never raises: it runs while another error is on its way."""
        with suppress(Exception):
            if self.path == STANDARD_STREAM:
                self._raw.flush()
            elif is_url(self.path):
                try:
                    self._raw.discard()
                finally:
                    # Else fsspec flushes once more when the object is collected: an upload that nobody finishes.
                    self._raw.closed = True
            else:
                with suppress(OSError):
                    self._raw.close()  # flushes, which a full disk refuses
                os.unlink(self.temporary)


class _Steady(io.FileIO):
    """A file that goes to the disk while it is written, so that little is left to wait for when it is synced."""

    _begun = 0

    def write(self, data: Any) -> int:
        done = super().write(data)
        at = self.tell()
        if at - self._begun >= _STEP:
            start_writing(self.fileno(), self._begun, at - self._begun)
            self._begun = at
        return done


class _Hashing(io.RawIOBase):
    """What a compressor writes: hashed and passed on, and not closed with the compressor: the file is synced later."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.sha256.update(view)
        self._output._raw.write(view)
        return len(view)


def write_text(path: str, text: str) -> None:
    """Replace a small text file whole."""
    output = Output(path, overwrite=True)
    try:
        with translated(path):
            output.stream.write(text.encode())
        output.publish()
    except BaseException:
        output.discard()
        raise
