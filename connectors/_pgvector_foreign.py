"""Records in tables of other tools: metadata from a JSON column and from all columns that have no other meaning.

What such a table has no column for (model, score, extra, ...) is in its JSON column under `__vex__`, as JSON text, just
as in stores of key-value metadata (`vexarrow.payload`).
"""

from __future__ import annotations

import json
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import timestamps
from vexarrow.hidden import KINDS, Kinds, is_moment, is_name, is_names, said
from vexarrow.jsontext import Malformed, canonical, members
from vexarrow.payload import HIDDEN
from vexarrow.records import TIMESTAMP

_MARK = '"' + HIDDEN + '"'
# What `__vex__` may say: what the table has no column for, and which of its columns say nothing.
_KINDS: Kinds = {
    **{name: KINDS[name] for name in ("metadata_text", "extra", "score", "source_store", "modality", "vex_version")},
    "metadata": lambda value: value == {},
    **dict.fromkeys(("text", "namespace", "model"), is_name),
    "created_at": is_moment,
    "columns": is_names,
}
_FIELDS = ("text", "namespace", "model", "source_store", "modality", "vex_version", "extra")


def merged(metadata: pa.Array, others: pa.Array | None, columns: dict[str, Any], *, npm: bool) -> dict[str, pa.Array]:
    """Bring a JSON column and the other columns of a table together: the columns of the batch that this changes.

    `npm`: "" is null in the columns of texts.
    """
    changed: dict[str, pa.Array] = {}
    if npm:
        for name in ("text", "namespace", "model"):
            if columns.get(name) is not None:
                changed[name] = pc.if_else(pc.equal(columns[name], ""), pa.scalar(None, pa.string()), columns[name])
    marked = pc.match_substring(metadata, _MARK).fill_null(False)
    if not pc.any(marked).as_py() and (others is None or not pc.any(pc.not_equal(others, "{}")).as_py()):
        changed["metadata"] = metadata
        return changed
    rows = len(metadata)
    extras: list[str | None] = columns["extra"].to_pylist() if columns.get("extra") is not None else [None] * rows
    hidden: list[dict[str, Any]] = []
    texts: list[str | None] = []
    beside = others.to_pylist() if others is not None else ["{}"] * rows
    for row, text in enumerate(metadata.to_pylist()):
        body, found = _split(text) if marked[row].as_py() else (text, {})
        text, contradictions = _joined(body, beside[row] or "{}", found)
        if contradictions:
            extras[row] = _added(extras[row], contradictions)
        texts.append(text)
        hidden.append(found)
    changed["metadata"], changed["extra"] = pa.array(texts, pa.string()), pa.array(extras, pa.string())
    _restore(hidden, columns, changed)
    return changed


def _split(text: str | None) -> tuple[str | None, dict[str, Any]]:
    """A JSON object without `__vex__`, and what is in there."""
    try:
        every = members(text or "")
    except Malformed:
        return text, {}
    inside = next((value for key, _, value in every if key == HIDDEN), None)
    try:
        found = None if inside is None else said(orjson.loads(inside), _KINDS)
    except orjson.JSONDecodeError:
        return text, {}
    if found is None:
        return text, {}
    rest = [f"{written}:{value}" for key, written, value in every if key != HIDDEN]
    if "metadata_text" in found:
        return found["metadata_text"], found
    return "{" + ",".join(rest) + "}" if rest or "metadata" in found else None, found


def _joined(text: str | None, others: str, hidden: dict[str, Any]) -> tuple[str | None, list[str]]:
    """One object of metadata from the JSON column and the other columns; members that contradict each other."""
    beside = [one for one in members(others) if one[0] not in hidden.get("columns", ())]
    if not beside:
        return text, []
    try:
        known = {key: value for key, _, value in members(text)} if text is not None else {}
    except Malformed:  # not an object: a member of its own
        text, known = '{"metadata":' + str(text) + "}", {}
    added, against = [], []
    for key, written, value in beside:
        if key not in known:
            added.append(f"{written}:{value}")
        elif not _says_the_same(known[key], value):
            against.append(f"{written}:{value}")
    if not added:
        return text, against
    head = text.rstrip()[:-1] if text is not None else "{"
    return head + ("," if head.strip() != "{" else "") + ",".join(added) + "}", against


def _says_the_same(member: str, column: str) -> bool:
    """Whether a column only repeats a member: as it is, as text, or a list joined by commas, as npm vex writes them."""
    if canonical(member) == canonical(column):
        return True
    value, other = orjson.loads(member), orjson.loads(column)
    return other == derived(value) or (isinstance(value, (int, float)) and value == other)


def derived(value: Any) -> Any:
    """What npm vex writes into a column of text for a member of the metadata."""
    if isinstance(value, list):
        plain = all(isinstance(one, (str, int, float)) for one in value)
        return ",".join(map(str, value)) if plain else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value


def _added(extra: str | None, contradictions: list[str]) -> str:
    """`extra` with the columns that say something else than the metadata."""
    rest = "" if extra is None or extra == "{}" else "," + extra[1:-1]
    return '{"pgvector":{' + ",".join(contradictions) + "}" + rest + "}"


def _restore(hidden: list[dict[str, Any]], columns: dict[str, Any], changed: dict[str, pa.Array]) -> None:
    """Put fields that the table has no column for into the batch."""
    if not any(hidden):
        return
    rows = len(hidden)
    for name in _FIELDS:
        column = changed.get(name, columns.get(name))
        values = column.to_pylist() if column is not None else [None] * rows
        for row, found in enumerate(hidden):
            if name in found:
                values[row] = found[name]
        changed[name] = pa.array(values, "string")
    changed["score"] = pa.array([found.get("score") for found in hidden], pa.float64())
    moments = (
        columns["created_at"].cast(pa.int64()).to_pylist() if columns.get("created_at") is not None else [None] * rows
    )
    for row, found in enumerate(hidden):
        if "created_at" in found:
            moments[row] = timestamps.microseconds(found["created_at"])[0] if found["created_at"] is not None else None
    changed["created_at"] = pa.array(moments, pa.int64()).cast(TIMESTAMP)
