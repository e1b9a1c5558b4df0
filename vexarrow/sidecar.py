"""`.vmig.meta.json`: the statistics that lie beside an export, as the original tool defines them, and more.

Keys of the original: exported_at, source_store (of the first record), record_count, checksum (SHA-256 of the lines
joined by LF, without a last LF), vex_version. Ours: file_sha256 (what `sha256sum` prints for the file), content_digest
(see `vexarrow.digest`), tool. After an import: imported_to, imported_at, imported_records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vexarrow import files
from vexarrow.errors import NotFound, UsageError
from vexarrow.location import redact

_DATA = ".vmig.jsonl"
_SIDECAR = ".vmig.meta.json"
_BLOCK = 1 << 20


def path_for(data: str) -> str:
    """The sidecar of a data file: `x.vmig.meta.json` for `x.vmig.jsonl`, else the whole name and `.meta.json`."""
    if data.endswith(_DATA):
        return data[: -len(_DATA)] + _SIDECAR
    return data + ".meta.json"


def read(data: str) -> dict[str, Any] | None:
    """The sidecar of a data file, None when there is none. Raises UsageError when a file of its name is no sidecar."""
    path = path_for(data)
    try:
        with files.open_input(path) as stream:
            found = json.loads(stream.read())
    except NotFound:
        return None
    except ValueError:
        found = None
    if not isinstance(found, dict) or "vex_version" not in found:
        raise UsageError(f"{redact(path)} has the name of a sidecar but is none")
    return found


def check_free(data: str) -> None:
    """Refuse to write `data` when a file that is no sidecar has the name of its sidecar."""
    try:
        read(data)
    except UsageError as error:
        raise UsageError(f"{error}; writing {redact(data)} would overwrite it") from None


def write_export(
    data: str, manifest: Mapping[str, object], *, records: int, store: str | None, digest: str, tool: str
) -> str:
    """Write the sidecar of a file just exported; returns its path."""
    body = {
        "exported_at": _now(),
        "source_store": store,
        "record_count": records,
        "checksum": manifest["checksum"] if records else None,
        "vex_version": "1.0.0",
        "file_sha256": manifest["file_sha256"],
        "content_digest": digest,
        "tool": tool,
    }
    return _write(data, body)


def mark_imported(data: str, target: str, records: int) -> str | None:
    """Add to an existing sidecar that its file was imported; all that it says already stays. Returns its path."""
    body = read(data)
    if body is None:
        return None
    return _write(data, {**body, "imported_to": target, "imported_at": _now(), "imported_records": records})


def _write(data: str, body: Mapping[str, object]) -> str:
    path = path_for(data)
    files.write_text(path, json.dumps(body, indent=2, ensure_ascii=False) + "\n")
    return path


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def hashes(data: str) -> tuple[str, str]:
    """(checksum as the sidecar has it, file_sha256) of a data file as it is now."""
    lines = _hash(data, packed=True)
    packed = files.compression(data) is not None
    return f"sha256:{lines[0]}", _hash(data, packed=False)[1] if packed else lines[1]


def _hash(data: str, *, packed: bool) -> tuple[str, str]:
    """SHA-256 without the last LF and of all bytes; `packed`: of what is inside the compression."""
    state = hashlib.sha256()
    last = b""
    with files.open_input(data) if packed else files.open_raw(data) as stream:
        while block := stream.read(_BLOCK):
            state.update(last + block[:-1])
            last = block[-1:]
    whole = state.copy()
    whole.update(last)
    return (state if last == b"\n" else whole).hexdigest(), whole.hexdigest()


def compare(data: str) -> list[str]:
    """What a file's sidecar says that is not so; empty when all of it is, or when there is no sidecar."""
    body = read(data)
    if body is None or not body.get("checksum"):
        return []
    checksum, whole = hashes(data)
    found = []
    if body["checksum"] != checksum:
        found.append(f"the checksum of the lines is {checksum}, the sidecar says {body['checksum']}")
    if body.get("file_sha256") not in (None, whole):
        found.append(f"the SHA-256 of the file is {whole}, the sidecar says {body['file_sha256']}")
    return found
