"""Records to what Chroma holds beside a vector (document, metadata, URI), and back.

The text is the document; the rest is in the metadata as `vexarrow.payload` puts it there, with these rules of Chroma:
keys are not empty and start with none of "#", "$" and "chroma:"; numbers are 64-bit integers or finite floats. The URI
of a record is the member "uri" of its `extra`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pyarrow as pa

from vexarrow import payload, records, timestamps
from vexarrow.fields import Found
from vexarrow.hidden import KINDS, is_text, said
from vexarrow.ids import ORIGINAL_ID
from vexarrow.payload import HIDDEN, Payload, Shape

_DOCUMENT_FIELDS = ("document", "documents")
_RESERVED = ("#", "$", "chroma:")
_MOST_POWER = 308
_CREATED, _NAMESPACE, _MODEL = (payload.FIELDS[name] for name in ("created_at", "namespace", "model"))
_COLUMNS = ("text", "namespace", "model", "metadata", "extra", "score", "source_store", "modality", "vex_version")
# What may be hidden in a usual record, besides the note of `_chroma_bits`; and the keys that are no metadata in one.
_USUAL = frozenset({"bits", "extra", "score", "source_store", "modality", "vex_version"})
_TAKEN = frozenset({HIDDEN, _CREATED, _NAMESPACE, _MODEL})


def holds(value: Any) -> bool:
    """Whether metadata gives a value back exactly as it was."""
    kind = value.__class__
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    if kind is float:
        return _is_read_exactly(value)
    return kind is str or kind is bool


def _is_read_exactly(value: float) -> bool:
    """Whether the server reads the number that we write as the same number.

    It multiplies or divides the digits by a power of ten, once (serde_json without its feature float_roundtrip), which
    is off by a bit for one number in four. -0.0 becomes 0.0 in SQLite.
    """
    if not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0):
        return False
    digits, _, exponent = orjson.dumps(value).decode().partition("e")
    whole, _, fraction = digits.partition(".")
    power = int(exponent or 0) - len(fraction)
    number = int(whole + fraction)
    if abs(number) >= 2**64 or abs(power) > _MOST_POWER:
        return False
    ten = float(f"1e{abs(power)}")
    return (number / ten if power < 0 else number * ten) == value


SHAPE = Shape(
    holds=holds,
    names={name: key for name, key in payload.FIELDS.items() if name != "text"},
    kinds={**KINDS, "bits": is_text},
)


# -- writing ------------------------------------------------------------------------------------------------------


class Packed:
    """The documents, metadatas and URIs of a batch; `uris` is None when there are none."""

    def __init__(self, batch: pa.RecordBatch, most_keys: int, longest_key: int | None = None) -> None:
        self.documents: list[str | None] = batch.column("text").to_pylist()
        self.metadatas = payload.pack(batch, SHAPE)
        self.uris = _uris(batch)
        for text, metadata in zip(self.documents, self.metadatas, strict=True):
            _mark_text(text, metadata)
            strange = [key for key in metadata if not _is_key(key, longest_key)]
            if len(metadata) - len(strange) > most_keys:
                strange += _too_many(metadata, strange, most_keys)
            if strange:
                _hide(metadata, strange)


def _mark_text(text: str | None, metadata: Payload) -> None:
    """Note what the document does not tell: that "" is no null."""
    if text == "":
        hidden = _read(metadata)
        hidden["empty"] = [*hidden.get("empty", ()), "text"]
        metadata[HIDDEN] = orjson.dumps(hidden).decode()


def _is_key(key: str, longest: int | None) -> bool:
    if not key or key.startswith(_RESERVED):
        return False
    return longest is None or len(key.encode()) <= longest


def _too_many(metadata: Payload, strange: Sequence[str], most: int) -> list[str]:
    """The last of the members that can be hidden, so that `most` keys are left, one of them the hidden one."""
    kept = {HIDDEN, *SHAPE.names.values(), *strange}
    members = [key for key in metadata if key not in kept]
    fixed = len(metadata) - len(members) - len(strange) + (HIDDEN not in metadata)
    return members[max(0, most - fixed) :]


def _hide(metadata: Payload, keys: Sequence[str]) -> None:
    hidden = _read(metadata)
    members = {key: metadata.pop(key) for key in keys}
    if "metadata_text" not in hidden:
        hidden["metadata"] = {**hidden.get("metadata", {}), **members}
    metadata[HIDDEN] = orjson.dumps(hidden).decode()


def _read(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The hidden object of ours, empty if there is none."""
    return said(metadata.get(HIDDEN), SHAPE.kinds) or {}


def _uris(batch: pa.RecordBatch) -> list[str | None] | None:
    column = records.storage(batch.column("extra"))
    if column.null_count == len(column):
        return None
    uris = [_uri(extra) if extra is not None and '"uri"' in extra else None for extra in column.to_pylist()]
    return uris if any(uri is not None for uri in uris) else None


def _uri(extra: str) -> str | None:
    try:
        value = orjson.loads(extra).get("uri")
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, str) and value else None


# -- reading ------------------------------------------------------------------------------------------------------


def unpacked(
    documents: Sequence[str | None],
    metadatas: Sequence[Mapping[str, Any] | None],
    uris: Sequence[str | None] | None,
    found: Found,
) -> dict[str, Any]:
    """The columns of records.build but `id`; `created_at` is an Arrow array, the others are lists."""
    moments = _moments(metadatas)
    plain = moments is not None and found == payload.ANYWHERE
    pairs = list(zip(documents, metadatas, strict=True))
    rows = [_usual(*pair) if plain else None for pair in pairs]
    others = [row for row, values in enumerate(rows) if values is None]
    if others:
        gone = None if moments is None else _CREATED
        columns = _any([documents[row] for row in others], [metadatas[row] for row in others], found, gone)
        for row, values in zip(others, zip(*(columns[name] for name in _COLUMNS), strict=True), strict=True):
            rows[row] = values
        if moments is None:
            moments = pa.array(columns["created_at"], type=pa.int64()).cast(records.TIMESTAMP)
    found_columns = zip(*(values for values in rows if values is not None), strict=True)
    whole: dict[str, Any] = dict(zip(_COLUMNS, map(list, found_columns), strict=False)) if rows else {}
    whole["created_at"] = moments
    if uris is not None and any(uri is not None for uri in uris):
        whole["extra"] = [_with_uri(*pair) for pair in zip(whole["extra"], uris, strict=True)]
    return whole


def _usual(document: str | None, metadata: Mapping[str, Any] | None) -> tuple[Any, ...] | None:
    """The columns of a record with a text and with nothing that needs a closer look; else None."""
    if not document or not metadata or ORIGINAL_ID in metadata:
        return None
    hidden: Mapping[str, Any] = {}
    if HIDDEN in metadata:
        hidden = _read(metadata)
        if not hidden or not hidden.keys() <= _USUAL:
            return None
    elif "text" in metadata:
        return None
    namespace, model = metadata.get(_NAMESPACE), metadata.get(_MODEL)
    if not (_is_name(namespace) and _is_name(model)):
        return None
    members = {key: value for key, value in metadata.items() if key not in _TAKEN}
    get = hidden.get
    return (
        document,
        namespace,
        model,
        orjson.dumps(members, option=orjson.OPT_SORT_KEYS).decode() if members else None,
        get("extra"),
        get("score"),
        get("source_store") or "chroma",
        get("modality", "text"),
        get("vex_version"),
    )


def _is_name(value: Any) -> bool:
    """Whether this is a namespace or model as it is, or none."""
    return value is None or (value.__class__ is str and value != "")


def _any(
    documents: Sequence[str | None], metadatas: Sequence[Mapping[str, Any] | None], found: Found, gone: str | None
) -> dict[str, list[Any]]:
    """The columns of any records, without the key `gone` of their metadata."""
    if found.text in _DOCUMENT_FIELDS:
        found = replace(found, text=None)
    sources = [_source(*pair, found, gone) for pair in zip(documents, metadatas, strict=True)]
    columns = payload.unpack([one[0] for one in sources], SHAPE, found)
    texts, members = columns["text"], columns["metadata"]
    for row, (_, text, kept) in enumerate(sources):
        if text is not None:
            texts[row] = text
        if kept:
            members[row] = _with(members[row], kept)
    columns["source_store"] = [store or "chroma" for store in columns["source_store"]]
    return columns


def _moments(metadatas: Sequence[Mapping[str, Any] | None]) -> pa.Array | None:
    """All `created_at` at once, None when one of them has to be looked at."""
    values = [metadata.get(_CREATED) if metadata else None for metadata in metadatas]
    try:
        return timestamps.array(values)
    except ValueError:
        return None


def _source(
    document: str | None, metadata: Mapping[str, Any] | None, found: Found, gone: str | None
) -> tuple[Mapping[str, Any] | None, str | None, Payload | None]:
    """The payload for payload.unpack, the text where that is known already, and members that go back afterwards."""
    # Chroma gives keys in an order that is another each time.
    metadata = {key: metadata[key] for key in sorted(metadata) if key != gone} if metadata else {}
    if document is None:
        return metadata, None, None
    if HIDDEN in metadata:
        if document == "" and "text" not in _read(metadata).get("empty", ()):
            return metadata, None, None
        return metadata, document, None
    if found.text is not None:
        if not isinstance(metadata.get(found.text), str):
            return metadata, document or None, None
        key = next(name for name in ("document", "chroma:document") if name not in metadata)
        return metadata, None, {key: document} if document else None
    # First among the keys that a text is looked for under; a member of the same name waits until the text is found.
    kept = {"text": metadata["text"]} if "text" in metadata else None
    return {**metadata, "text": document}, document or None, kept


def _with(text: str | None, members: Payload) -> str:
    return orjson.dumps({**orjson.loads(text or "{}"), **members}).decode()


def _with_uri(extra: str | None, uri: str | None) -> str | None:
    """`extra` with the URI, after the id that it may start with."""
    if not uri or (extra is not None and _uri(extra) == uri):
        return extra
    member = f'"uri":{orjson.dumps(uri).decode()}'
    if extra is None or extra == "{}":
        return f"{{{member}}}"
    if '"uri"' in extra:
        return _with(extra, {"uri": uri})
    return f"{extra.rstrip()[:-1]},{member}}}"
