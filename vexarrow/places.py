"""From what a user writes to a place that can be opened: plugin, path, and options with their defaults."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from vexarrow import files, plugins
from vexarrow.errors import NotFound, Unsupported, UsageError
from vexarrow.location import STANDARD_STREAM, Location, check_password, expand, is_url, query_options, redact, scheme
from vexarrow.protocols import Capabilities, Connector, Format, Option, Sink, Source
from vexarrow.selection import Selection

SOURCE, SINK = "source", "sink"
_WHERE = ("at", "in")


@dataclass(frozen=True, slots=True)
class Place:
    """A location together with the connector or format that opens it."""

    location: Location
    plugin: Connector | Format

    def __str__(self) -> str:
        return str(self.location)

    @property
    def capabilities(self) -> Capabilities:
        """What the place can hold and do."""
        return self.plugin.capabilities

    @property
    def is_stream(self) -> bool:
        """True for stdin and stdout."""
        return self.location.target == STANDARD_STREAM

    def source(self, selection: Selection) -> AbstractContextManager[Source]:
        """Open for reading. Raises Unsupported when the place cannot be read."""
        opener = self.plugin.source if isinstance(self.plugin, Connector) else self.plugin.open_reader
        if opener is None:
            raise Unsupported(f"{self.plugin.name} cannot be read from")
        if self.is_stream and isinstance(self.plugin, Format) and not self.plugin.streams:
            raise Unsupported(
                f"{self.plugin.name} cannot be read from stdin: it is read from its end, so it has to be a file"
            )
        return opener(self.location, selection)

    def sink(self) -> AbstractContextManager[Sink]:
        """Open for writing. Raises Unsupported when the place cannot be written."""
        opener = self.plugin.sink if isinstance(self.plugin, Connector) else self.plugin.open_writer
        if opener is None:
            raise Unsupported(f"{self.plugin.name} cannot be written to")
        return opener(self.location)


def begin(source: Place, target: Place | None = None) -> None:
    """Let the plugins start what takes time, while the caller goes on with its imports."""
    size = os.path.getsize(source.location.target) if os.path.isfile(source.location.target) else 0
    for place, side in ((source, SOURCE), (target, SINK)):
        if place is not None and isinstance(place.plugin, Format) and place.plugin.begin is not None:
            place.plugin.begin(place.location, side, size)


@dataclass(frozen=True, slots=True)
class Memory:
    """Arrow data in memory as a place to read from, once. `data` is anything with `__arrow_c_stream__`."""

    data: Any
    options: Mapping[str, str]

    def __str__(self) -> str:
        return "memory"

    @property
    def location(self) -> Location:
        """A location that names nothing on disk."""
        return Location(self.plugin.name, "", self.options)

    @property
    def plugin(self) -> Format:
        """The format that reads Arrow data."""
        return next(one for one in plugins.formats().values() if one.open_memory)

    @property
    def capabilities(self) -> Capabilities:
        """What the format can hold and do."""
        return self.plugin.capabilities

    def source(self, selection: Selection) -> AbstractContextManager[Source]:
        """Open for reading. Raises SchemaError when no column can be the id or the vector."""
        import pyarrow as pa

        assert self.plugin.open_memory is not None  # noqa: S101 - how the plugin was found
        return self.plugin.open_memory(pa.RecordBatchReader.from_stream(self.data), self.location, selection)


def resolve(
    text: str,
    options: Mapping[str, str] | None = None,
    *,
    side: str,
    format: str | None = None,
    overwrite: bool = False,
) -> Place:
    """The place that `text` and `options` mean on one side of a run ("source" or "sink").

    `text` is a path, a URL, "-" or the name of a connector or format; `format` names the format where the path does not
    tell. Raises UsageError for what cannot be understood, with the nearest thing that can.
    """
    given = {name: expand(value) for name, value in (options or {}).items()}
    text = expand(text)
    plugin = _plugin(text, given, side, format)
    named = text.lower() in (plugin.name, *plugin.aliases)
    if isinstance(plugin, Connector) and is_url(text):
        check_password(text)
        given = {**query_options(text), **given}
    if isinstance(plugin, Connector):
        target = "" if named else text
    else:
        target = _format_target(plugin, given, side) if named else text
    known = _known(plugin, given, side)
    if isinstance(plugin, Connector) and plugin.path_option and not target:
        target = known.pop(plugin.path_option, "")
    label = _label(plugin, known, given)
    location = Location(plugin.name, target, known, isinstance(plugin, Connector), overwrite, label)
    return Place(location, plugin)


def _label(plugin: Connector | Format, known: Mapping[str, str], given: Mapping[str, str]) -> str:
    """What messages call a place that no URI names: the store, what in it, and where, if that was given."""
    said = [option for option in plugin.options if option.says and option.name in known]
    here = [option for option in said if option.says != "at" or any(name in given for name in option.names)]
    words = [
        f"{option.says} {redact(known[option.name])}" for option in sorted(here, key=lambda one: one.says in _WHERE)
    ]
    return " ".join([plugin.name, *words])


def plugin_for(text: str, options: Mapping[str, str], *, side: str, format: str | None = None) -> Connector | Format:
    """The connector or format that a text means; of the options only their presence counts. Raises UsageError."""
    return _plugin(expand(text), options, side, format)


def _plugin(text: str, options: Mapping[str, str], side: str, format: str | None) -> Connector | Format:
    if format is not None:
        return _format(format)
    if not text:
        raise UsageError(f"the {'source' if side == SOURCE else 'target'} is missing")
    if text == STANDARD_STREAM:
        return next(one for one in plugins.formats().values() if one.streams and one.sidecar)
    if is_url(text):
        return plugins.connector(scheme(text)) or _by_path(text, options, side)
    return plugins.connector(text) or plugins.format_named(text) or _by_path(text, options, side)


def _format(name: str) -> Format:
    found = plugins.format_named(name)
    if found is None:
        raise UsageError(f"there is no format {name!r}; known are {', '.join(plugins.formats())}")
    return found


def _by_path(text: str, options: Mapping[str, str], side: str) -> Connector | Format:
    if side == SINK and (text.endswith("/") or os.path.isdir(text) or "partition-by" in options):
        return _directory_format()
    found = plugins.format_of(text) or plugins.connector_of(text)
    if found is not None and not os.path.isdir(text):
        return found
    if side == SOURCE:
        inside = _format_inside(text) or _by_magic(text)
        if inside is not None:
            return inside
    raise UsageError(_unclear(text))


def _directory_format() -> Format:
    found = next((one for one in plugins.formats().values() if one.directory), None)
    if found is None:
        raise UsageError("no installed format writes directories; --to-format chooses one")
    return found


def _format_inside(text: str) -> Format | None:
    """The one format of the data files in a directory or below a glob or prefix."""
    suffixes = {
        suffix + packed
        for one in plugins.formats().values()
        for suffix in one.suffixes
        for packed in ("", *one.compressions)
    }
    if not (is_url(text) or os.path.isdir(text) or any(mark in text for mark in "*?[")):
        return None
    found = {one.name: one for info in files.find(text, sorted(suffixes)) if (one := plugins.format_of(info.path))}
    if len(found) > 1:
        raise UsageError(
            f"{redact(text)} holds files of several formats ({', '.join(sorted(found))}); --from-format chooses"
        )
    return next(iter(found.values()), None)


def _by_magic(text: str) -> Connector | Format | None:
    """The plugin whose magic bytes a file starts with. Raises NotFound."""
    if not is_url(text) and not os.path.lexists(text):
        raise UsageError(_unclear(text)) if _near(text) else NotFound(_missing(text))
    with files.open_input(text) as stream:
        head = stream.read(16)
    every: list[Connector | Format] = [*plugins.formats().values(), *plugins.connectors().values()]
    return next((one for one in every if one.magic and head.startswith(one.magic)), None)


def _missing(text: str) -> str:
    if "." in text or "/" in text:
        return f"{text}: no such file"
    return f"{text}: no such file, and no store of that name; known are {', '.join(plugins.connectors())}"


def _near(text: str) -> list[str]:
    """The plugin name that somebody may have meant, unless the text looks like a path."""
    names = [*plugins.connectors(), *plugins.formats()]
    return [] if "." in text or "/" in text else difflib.get_close_matches(text.lower(), names, n=1)


def _unclear(text: str) -> str:
    near = _near(text)
    if near:
        return f"there is no connector or format {text!r}; did you mean {near[0]!r}?"
    suffixes = ", ".join(suffix for one in plugins.formats().values() for suffix in one.suffixes)
    what = f"cannot tell what {redact(text)!r} is: its name ends in none of {suffixes}"
    stores = "" if "." in text or "/" in text else f", and it is no store ({', '.join(plugins.connectors())})"
    return f"{what}{stores}; --from-format or --to-format says so, and the name of a new directory ends in /"


def _format_target(plugin: Format, options: dict[str, str], side: str) -> str:
    """The path of a format that is named like a connector: `--from jsonl --file x`."""
    paths = ("file", "input") if side == SOURCE else ("output",)
    found = [options.pop(name) for name in paths if name in options]
    if len(found) != 1:
        raise UsageError(f"{plugin.name} needs --{paths[0]} with the path of the file")
    return found[0]


def _known(plugin: Connector | Format, given: Mapping[str, str], side: str) -> dict[str, str]:
    """The options by canonical name, environment and defaults filled in. Raises UsageError for an unknown one."""
    known = [option for option in plugin.options if option.side in ("both", side)]
    names = {name: option for option in known for name in option.names}
    values: dict[str, str] = {}
    for name, value in given.items():
        if name not in names:
            raise UsageError(_unknown_option(plugin, name, names))
        values[names[name].name] = value
    for option in known:
        fallback = next((os.environ[name] for name in option.env if os.environ.get(name)), option.default)
        if option.name not in values and fallback is not None:
            values[option.name] = fallback
    return values


def _unknown_option(plugin: Connector | Format, name: str, names: Mapping[str, Option]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean --{near[0]}?" if near else ""
    return f"{plugin.name} has no option --{name}{hint}"
