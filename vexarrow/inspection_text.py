"""An inspection as a report for a terminal."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vexarrow.distinct import Duplicate, Occurrence
    from vexarrow.inspection import Inspection
    from vexarrow.metadata_keys import Key
    from vexarrow.norms import NormReport
    from vexarrow.tally import Frequencies

WIDTH = 80
NARROWEST = 60
TOP = 10
KEYS = 30
LABEL = 14
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_SIZES = ("bytes", "kB", "MB", "GB", "TB")


def render(inspection: Inspection, width: int = WIDTH, *, top: int = TOP) -> str:
    """The report, at most `width` columns wide (60 at least) and without a final newline.

    Control characters of the data are shown as escapes, so that nothing in it can drive the terminal. `top`: values of
    a column to list; how many there are besides is said.
    """
    width = max(width, NARROWEST)
    found = inspection
    lines = [_heading("┌", found.name or "records", width), *_general(found)]
    for store, settings in dict(found.declared.get("settings", {})).items():
        lines += _settings(store, settings, width)
    lines += [_heading("├", "vectors", width), *_vectors(found, width)]
    lines += [_heading("├", "texts", width), *_texts(found)]
    for name, values in _columns(found, several=True):
        lines += _values(name, values, found.records, width, top)
    lines += [_heading("├", _title("metadata keys", _key_count(found)), width), *_metadata(found)]
    return "\n".join([*(fit(line, width).rstrip() for line in lines), "└" + "─" * (width - 1)])


# -- sections -------------------------------------------------------------------------------------------


def _general(found: Inspection) -> Iterator[str]:
    yield _row("records", f"{found.records:,}")
    if found.rejected:
        yield _row("rejected", f"{sum(found.rejected.values()):,} that could not be read")
        yield from (f"│   {code}: {count:,}" for code, count in found.rejected.items())
        for reject in found.rejects:
            yield f"│   {'' if reject.line is None else f'line {reject.line}: '}{shown(reject.message)}"
    if found.skipped:
        yield _row("not selected", f"{found.skipped:,}")
    if found.size is not None:
        each = f", {found.bytes_per_record:,.0f} bytes a record" if found.bytes_per_record is not None else ""
        yield _row("size", size(found.size) + each)
    yield from _ids(found)
    times = found.created_at
    if times.min is not None:
        yield _row("created_at", f"{times.min} to {times.max}" + (f"; {times.null:,} without" if times.null else ""))
    elif found.records:
        yield _row("created_at", "none")
    if found.score.min is not None:
        yield _row("score", f"{found.score.min:.6g} to {found.score.max:.6g}; {found.score.null:,} without")
    yield from (
        _row(name, f"{shown(values.top[0][0])} in all records") for name, values in _columns(found, several=False)
    )
    if metric := found.declared.get("metric"):
        yield _row("metric", str(metric))
    if found.content_digest:
        yield _row("content digest", "")
        yield f"│   {found.content_digest}"


def _settings(store: str, settings: Mapping[str, object], width: int) -> Iterator[str]:
    """What a store says of its index, a line a value; nothing where it says nothing."""
    leaves = dict(_leaves("", settings))
    if leaves:
        yield _heading("├", f"{store} settings", width)
    label = max(map(len, leaves), default=0)
    yield from (f"│ {name:<{label}} : {shown(value)}" for name, value in leaves.items())


def _leaves(path: str, value: object) -> Iterator[tuple[str, str]]:
    """The values in nested settings by their paths, as in "hnsw_config.m"; what is null or empty is left out."""
    if isinstance(value, Mapping):
        for name, inside in value.items():
            yield from _leaves(f"{path}.{shown(name)}" if path else shown(name), inside)
    elif value is not None and value != []:
        yield path, value if isinstance(value, str) else json.dumps(value, default=str)


def _ids(found: Inspection) -> Iterator[str]:
    same = found.duplicates
    kinds = found.id_types
    kind = next(iter(kinds), "") if len(kinds) < 2 else ", ".join(f"{name} {count:,}" for name, count in kinds.items())
    if not same.duplicates:
        yield _row("ids", f"{kind}; all different" if found.records else "none")
        return
    yield _row("ids", f"{kind}; {same.distinct:,} different")
    yield _row("duplicate ids", f"{same.duplicates:,} records repeat {_some(same.repeated, 'id')} of earlier ones")
    yield from (f"│   {_duplicate(one)}" for one in same.examples)
    if same.repeated > len(same.examples):
        yield f"│   … and {same.repeated - len(same.examples):,} more ids"


def _duplicate(one: Duplicate) -> str:
    return f"{shown(one.id)}: {_where(one.first)} and {_where(one.later)}"


def _where(at: Occurrence) -> str:
    return f"record {at.row + 1:,}" if at.line is None else f"line {at.line:,}"


def _vectors(found: Inspection, width: int) -> Iterator[str]:
    if len(found.dims) == 1 and not found.null_vectors:
        yield _row("dimension", f"{next(iter(found.dims))} in all records")
    else:
        yield from (_row("dimension", f"{dim}: {_some(count, 'record')}") for dim, count in found.dims.items())
        yield _row("no vector", _some(found.null_vectors, "record"))
    for further in found.further_vectors:
        dims = ", ".join(
            f"{count:,}" + (f" of {dim}" if dim is not None else "") for dim, count in further.dims.items()
        )
        yield _row("further", f"{shown(further.name)}: {dims}")
    yield from _norms(found.norms, width)


def _norms(norms: NormReport, width: int) -> Iterator[str]:
    if norms.zero:
        yield _row("zero vectors", f"{norms.zero:,}, without a direction and not in the norms")
    if norms.not_finite:
        yield _row("not finite", f"{norms.not_finite:,} vectors hold NaN or infinity and are not in the norms")
    if norms.min is None:
        return
    yield _row("norm", f"min {norms.min:.6g}   mean {norms.mean:.6g}   max {norms.max:.6g}   std {norms.std:.3g}")
    yield _row("unit length", f"{_percent(norms.unit, norms.measured)} within 0.001 of 1")
    digits = _figures(edge for one in norms.histogram for edge in (one.low, one.high))
    labels = [f"{one.low:.{digits}g} to {one.high:.{digits}g}" for one in norms.histogram]
    yield from _bars(labels, [one.count for one in norms.histogram], norms.measured, width)


def _texts(found: Inspection) -> Iterator[str]:
    texts = found.texts
    if texts.min is not None:
        span = f"min {texts.min:,}   mean {texts.mean:,.1f}   max {texts.max:,}"
        yield _row("characters", span)
    if texts.empty:
        yield _row("empty text", _some(texts.empty, "record"))
    if texts.null or not found.records:
        yield _row("no text", _some(texts.null, "record"))


def _columns(found: Inspection, *, several: bool) -> Iterator[tuple[str, Frequencies]]:
    """The columns that have several values, or those that have one alone."""
    known = {"namespace": found.namespaces, "model": found.models, "source_store": found.source_stores}
    known |= {"modality": found.modalities, "vex_version": found.versions}
    yield from (
        (name, values) for name, values in known.items() if values.distinct and (values.distinct > 1) == several
    )


def _values(name: str, values: Frequencies, total: int, width: int, top: int) -> Iterator[str]:
    yield _heading("├", _title(f"{name}s" if name[-1] != "y" else name, values.distinct), width)
    listed = values.top[:top]
    yield from _bars([shown(value) for value, _ in listed], [count for _, count in listed], total, width)
    if values.distinct > len(listed):
        rest = values.rest + sum(count for _, count in values.top[top:])
        yield f"│ … and {values.distinct - len(listed):,} more with {_some(rest, 'record')}"


def _key_count(found: Inspection) -> int:
    return len(found.metadata.keys) + found.metadata.more_keys


def _metadata(found: Inspection) -> Iterator[str]:
    metadata = found.metadata
    if metadata.null:
        yield _row("no metadata", _some(metadata.null, "record"))
    if metadata.other:
        yield _row("not an object", _some(metadata.other, "record"))
    if metadata.unreadable:
        yield _row("not JSON", _some(metadata.unreadable, "record"))
    listed = metadata.keys[:KEYS]
    if not listed:
        return
    name = min(max(len("key"), *(columns(shown(key.name)) for key in listed)), 24)
    kind = min(max(len("types"), *(columns(_types(key)) for key in listed)), 26)
    yield f"│ {fit('key', name)}  {fit('types', kind)}  {'filled':>7}  example"
    for key in listed:
        filled = _percent(key.filled, found.records)
        yield f"│ {fit(shown(key.name), name)}  {fit(_types(key), kind)}  {filled:>7}  {shown(key.example or '')}"
    if _key_count(found) > len(listed):
        yield f"│ … and {_key_count(found) - len(listed):,} more keys"


def _types(key: Key) -> str:
    if len(key.types) == 1:
        return next(iter(key.types))
    return ", ".join(f"{kind} {_percent(count, key.records)}" for kind, count in key.types.items())


# -- parts ----------------------------------------------------------------------------------------------


def _heading(corner: str, title: str, width: int) -> str:
    head = f"{corner}─ {fit(shown(title), min(columns(shown(title)), width - 6))} "
    return head + "─" * (width - columns(head))


def _title(name: str, count: int) -> str:
    return f"{name} ({count:,})"


def _row(label: str, value: str) -> str:
    return f"│ {label:<{LABEL}} : {value}"


def _bars(labels: list[str], counts: list[int], total: int, width: int) -> Iterator[str]:
    """Label, count, share of the total and a bar, whose full length is the greatest count."""
    label = min(max(map(columns, labels), default=0), width // 2 - 6)
    number = max((len(f"{count:,}") for count in counts), default=0)
    room = width - label - number - 15
    most = max(counts, default=0) or 1
    for name, count in zip(labels, counts, strict=True):
        share = _percent(count, total)
        yield f"│ {fit(name, label)}  {count:>{number},}  {share:>7}  {_bar(count / most, room)}"


def _bar(share: float, room: int) -> str:
    eighths = max(round(share * room * 8), 1) if share else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _percent(count: int, total: int) -> str:
    """A share that says 100 % only of all and 0 % only of none."""
    if not total or count in (0, total):
        return "100 %" if total and count else "0 %"
    return f"{min(max(100 * count / total, 0.1), 99.9):.1f} %"


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _figures(values: Iterable[float]) -> int:
    """The significant figures, 4 to 9, that tell the values apart."""
    known = set(values)
    return next((n for n in range(4, 9) if len({f"{one:.{n}g}" for one in known}) == len(known)), 9)


def size(count: int) -> str:
    """A number of bytes for a reader, in powers of 1000: "516.6 MB"."""
    power, value = 0, float(count)
    while value >= 999.95 and power < len(_SIZES) - 1:
        power, value = power + 1, value / 1000
    return f"{value:.1f} {_SIZES[power]}" if power else _some(count, "byte")


def shown(value: str | None) -> str:
    """A value of the data for a terminal: "(none)" when absent, in quotes where it would mislead, controls escaped."""
    if value is None:
        return "(none)"
    safe = printable(value)
    return safe if value and value == value.strip() and value != "(none)" else f'"{safe}"'


def printable(text: str) -> str:
    """A text with every control and other invisible character as its JSON escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def columns(text: str) -> int:
    """The columns that a text takes in a terminal; wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(map(_columns_of, text))


def _columns_of(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, width: int) -> str:
    """A text padded or cut to just `width` columns; a cut shows as "…"."""
    missing = width - columns(text)
    if missing >= 0:
        return text + " " * missing
    kept, used = [], 0
    for char in islice(text, width):
        if used + _columns_of(char) > width - 1:
            break
        kept.append(char)
        used += _columns_of(char)
    return "".join(kept) + "…" + " " * (width - 1 - used)
