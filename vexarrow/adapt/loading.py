"""Projections in files: read by the kind of the file, written whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vexarrow import files
from vexarrow.adapt.weights_file import MOST_BYTES
from vexarrow.errors import DataError, UsageError
from vexarrow.location import expand, redact

if TYPE_CHECKING:
    from vexarrow.adapt.projection import Projection

SUFFIXES = (".safetensors", ".json", ".npy", ".npz")


def is_file_name(text: str) -> bool:
    """Whether a text names the file of a projection, and not a model."""
    return text.lower().endswith(SUFFIXES)


def load(location: str, *, source: str | None = None, target: str | None = None) -> Projection:
    """The projection in a file; see `Projection.load`."""
    from vexarrow.adapt.projection import Projection

    name = redact(location)
    suffix = os.path.splitext(location.split("?")[0])[1].lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{name}: a projection is a file that ends in {', '.join(SUFFIXES)}")
    data = read(expand(location))
    if suffix == ".safetensors":
        return Projection.from_bytes(data, name)
    from vexarrow.adapt.legacy import from_json, from_numpy

    return from_json(data, name) if suffix == ".json" else from_numpy(data, name, source, target)


def read(location: str) -> bytes:
    """All bytes of a small file. Raises NotFound, AccessError, DataError for one of more than 4 GiB."""
    with files.open_raw(location) as raw:
        parts: list[bytes] = []
        left = MOST_BYTES
        while part := raw.read(min(left, 1 << 24)):
            parts.append(part)
            left -= len(part)
            if left <= 0:
                raise DataError(f"{redact(location)}: larger than any projection")
    return b"".join(parts)


def write(location: str, data: bytes, *, overwrite: bool = False) -> None:
    """Write bytes under a name, whole or not at all. Raises UsageError where there is a file, unless `overwrite`."""
    output = files.Output(location, overwrite=overwrite)
    try:
        with files.translated(location):
            output.stream.write(data)
        output.publish()
    except BaseException:
        output.discard()
        raise
