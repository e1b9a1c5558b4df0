"""Connectors and formats by name, scheme and suffix, found through the entry-point groups alone."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from vexarrow.errors import UsageError
from vexarrow.protocols import Connector, Format

CONNECTORS = "vexarrow.connectors"
FORMATS = "vexarrow.formats"
Plugin = TypeVar("Plugin", Connector, Format)


@cache
def connectors() -> dict[str, Connector]:
    """Every installed connector by its name, in alphabetical order."""
    return _load(CONNECTORS, Connector)


@cache
def formats() -> dict[str, Format]:
    """Every installed format by its name, in alphabetical order."""
    return _load(FORMATS, Format)


def _load(group: str, kind: type[Plugin]) -> dict[str, Plugin]:
    found: dict[str, Plugin] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        try:
            plugin = _value(entry, kind)
        except Exception as error:  # noqa: BLE001 - foreign code, of which anything may come
            # One broken plugin must not take down the others; naming it is all that can be done for it.
            sys.stderr.write(f"vex: warning: plugin {entry.value} cannot be used: {error}\n")
            continue
        found[plugin.name] = plugin
    return found


def _value(entry: EntryPoint, kind: type[Plugin]) -> Plugin:
    plugin = entry.load()
    if not isinstance(plugin, kind):
        raise UsageError(f"entry point {entry.value} of {entry.group} is no {kind.__name__}")
    return plugin


def connector(name: str) -> Connector | None:
    """The connector of that name or alias, if there is one."""
    return _named(connectors(), name)


def format_named(name: str) -> Format | None:
    """The format of that name or alias, if there is one."""
    return _named(formats(), name)


def _named(known: dict[str, Plugin], name: str) -> Plugin | None:
    name = name.lower()
    return known.get(name) or next((one for one in known.values() if name in one.aliases), None)


def format_of(path: str) -> Format | None:
    """The format that a file name's suffix means, compression suffixes taken off; the longest suffix wins."""
    name = path.split("?")[0].rstrip("/").lower()
    best: tuple[int, Format] | None = None
    for one in formats().values():
        for suffix in one.suffixes:
            for packed in ("", *one.compressions):
                if name.endswith(suffix + packed) and (best is None or len(suffix) > best[0]):
                    best = (len(suffix), one)
    return best[1] if best else None


def connector_of(path: str) -> Connector | None:
    """The connector that a file name's suffix means (".db"), if there is one."""
    name = path.lower()
    return next((one for one in connectors().values() if name.endswith(one.suffixes or ("\0",))), None)
