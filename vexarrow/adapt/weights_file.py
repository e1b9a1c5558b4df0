"""The file of a projection: safetensors, everything that is known of it in one JSON text of its header.

Tensors: `weight` [d_in, d_out], `bias` [d_out], and of a trained one `source_mean` [d_in], `target_mean` [d_out] and
`whitening` [d_in, d_in], which the leverage needs. Local corrections have the tensors of `vexarrow.adapt.local`: a file
with them has version 2 of the format, so that whoever does not know them refuses it, all others have version 1.
float32, or float16 at half the size. The same projection gives the same bytes: there is one metadata key, its JSON is
sorted, and no clock is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from vexarrow.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[np.floating[Any]]]

KEY, FORMAT, VERSION, LOCAL_VERSION = "vexarrow.projection", "vexarrow.projection", 1, 2
LOCAL = "local_"
MOST_BYTES = 4 << 30
AGAIN = "copy or pull the file again, or train it anew"


def checksum(tensors: Tensors) -> str:
    """As "sha256:...", over name, type, shape and little-endian bytes of every tensor, in the order of their names."""
    digest = sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype.name} {tensor.shape} ".encode())
        digest.update(tensor.astype(tensor.dtype.newbyteorder("<"), order="C").tobytes())
    return f"sha256:{digest.hexdigest()}"


def dumps(tensors: Tensors, header: Mapping[str, Any]) -> bytes:
    """The file, with the format's name and version and the checksum of the tensors in its header."""
    from safetensors.numpy import save

    whole = {**header, "format": FORMAT, "version": _version(tensors), "tensors_sha256": checksum(tensors)}
    text = json.dumps(whole, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # The library writes the memory below an array as it lies there, whatever its strides say.
    whole_rows = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return save(whole_rows, metadata={KEY: text})


def loads(data: bytes, name: str) -> tuple[dict[str, NDArray[np.floating[Any]]], dict[str, Any]]:
    """The tensors and the header of a file called `name`. Raises DataError for one that is corrupt, that is no
    projection, whose header does not fit its tensors, or that a newer version wrote."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    header = header_of(data, name)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{name}: no safetensors file, or a damaged one: {error}; {AGAIN}") from error
    found = checksum(tensors)
    if header.get("tensors_sha256") != found:
        raise DataError(
            f"{name}: the weights are not those that the header speaks of (damaged, or changed by hand); {AGAIN}"
        )
    if header["version"] != _version(tensors):
        raise DataError(f"{name}: the version in its header does not fit its tensors (changed by hand); {AGAIN}")
    return tensors, header


def _version(tensors: Tensors) -> int:
    return LOCAL_VERSION if any(name.startswith(LOCAL) for name in tensors) else VERSION


def header_of(data: bytes, name: str) -> dict[str, Any]:
    """The header of a file called `name`, of which only the beginning has to be there. Raises DataError."""
    size = int.from_bytes(data[:8], "little")
    try:
        text = json.loads(data[8 : 8 + size])["__metadata__"][KEY]
        header = json.loads(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{name}: no projection of vexarrow: its header does not say {KEY!r}; `vex-adapt train` makes one, and "
            "`vex-adapt --list` shows those at hand"
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise DataError(f"{name}: no projection of vexarrow")
    if header.get("version") not in (VERSION, LOCAL_VERSION):
        raise DataError(
            f"{name}: version {header.get('version')} of the format is newer than this vexarrow; upgrade it"
        )
    return header
