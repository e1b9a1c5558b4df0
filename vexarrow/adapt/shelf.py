"""Projections at hand, found by the names of their models.

In this order: the user's folders (`VEX_PROJECTIONS`, then `vexarrow/projections` where the platform keeps data), the
registry in `VEX_REGISTRY`, and what installed packages bring through the entry-point group `vexarrow.projections`,
this package among them. In a folder the first name in alphabetical order wins.

A model may be named with a number of dimensions, `text-embedding-3-small@512`. Where both names are of one model that
can be cut short, the adapter is a truncation, which is exact and needs no file. Records that it made carry the plain
name, as those do that the provider made with `dimensions=512`; their `dims` tell them apart.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vexarrow.adapt import catalog, weights_file
from vexarrow.adapt.model import Adapter, ModelCard
from vexarrow.embedding_models import same_model
from vexarrow.errors import DataError, VexError

if TYPE_CHECKING:
    from vexarrow.adapt.projection import Projection

GROUP = "vexarrow.projections"
FOLDERS, DATA = "VEX_PROJECTIONS", os.path.join("vexarrow", "projections")
_HEAD = 16 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """A projection at hand, of which only the header was read. `origin`: "folder" or the name of the package that
    brings it."""

    origin: str
    location: str
    source: ModelCard
    target: ModelCard
    header: Mapping[str, Any]

    def fits(self, source: str, target: str, source_dim: int | None, target_dim: int | None) -> bool:
        """Whether it is between these models; None means any number of dimensions."""
        return (
            same_model(self.source.name, source)
            and same_model(self.target.name, target)
            and source_dim in (None, self.source.dim)
            and target_dim in (None, self.target.dim)
        )

    def load(self) -> Projection:
        """The projection itself. Raises DataError for a file that is damaged."""
        from vexarrow.adapt.loading import load

        return load(self.location)


def find(source: str, target: str, *, dim: int | None = None) -> Adapter | None:
    """The adapter from one model to another; None when there is none at hand.

    `source` and `target` are names of models, with `@N` for N dimensions; case, provider and organisation do not count.
    `dim`: the length of the source's vectors at hand, None for what is usual. Raises UsageError for a name that is
    malformed, and DataError for the file that is meant and damaged.
    """
    source_name, said = catalog.split(source)
    target_name, wanted = catalog.split(target)
    exact = _truncation(source_name, target_name, dim or said, wanted)
    if exact is not None:
        return exact
    for item in at_hand():
        if item.fits(source_name, target_name, dim or said, wanted):
            return item.load()
    return None


def _truncation(source: str, target: str, dim: int | None, wanted: int | None) -> Adapter | None:
    known = catalog.matryoshka(source)
    if known is None or wanted is None or not same_model(source, target):
        return None
    whole = dim or known.dim
    if not known.least <= wanted < whole <= known.dim:
        return None
    from vexarrow.adapt.truncation import Truncation

    return Truncation(ModelCard(known.name, whole, provider=known.provider), wanted)


def at_hand() -> Iterator[Item]:
    """Every projection at hand, those that are found first first. A file that cannot be read is named on stderr and
    passed over: it must not take down the others."""
    for folder in folders():
        yield from _in_folder("folder", folder)
    yield from _in_packages()


def folders() -> list[str]:
    """The user's folders, those of `VEX_PROJECTIONS` first; they need not exist. New files go to the first one."""
    given = [name for name in os.environ.get(FOLDERS, "").split(os.pathsep) if name]
    return [*given, os.path.join(_data_home(), DATA)]


def _data_home() -> str:
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Application Support")
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/AppData/Local")
    given = os.environ.get("XDG_DATA_HOME", "")  # a relative one is to be ignored, as its specification says
    return given if os.path.isabs(given) else os.path.expanduser("~/.local/share")


def _in_folder(origin: str, folder: str) -> Iterator[Item]:
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for name in names:
        if name.endswith(".safetensors") and not name.startswith("."):
            yield from _item(origin, os.path.join(folder, name))


def _item(origin: str, location: str) -> Iterator[Item]:
    try:
        header = read_header(location)
        source, target = (ModelCard.from_json(header[side]) for side in ("source", "target"))
    except (VexError, OSError, KeyError, TypeError) as error:
        sys.stderr.write(f"vex: warning: {location} cannot be used: {error}\n")
        return
    yield Item(origin, location, source, target, header)


def read_header(location: str) -> dict[str, Any]:
    """The header of a file on this machine, without its tensors. Raises DataError, OSError."""
    with open(location, "rb") as file:
        length = int.from_bytes(start := file.read(8), "little")
        if length > _HEAD:
            raise DataError(f"{location}: no projection of vexarrow")
        return weights_file.header_of(start + file.read(length), location)


def _in_packages() -> Iterator[Item]:
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            places = _places(entry.load())
        except Exception as error:  # noqa: BLE001 - foreign code, of which anything may come
            sys.stderr.write(f"vex: warning: projections of {entry.value} cannot be used: {error}\n")
            continue
        for place in places:
            yield from _in_folder(entry.name, place) if os.path.isdir(place) else _item(entry.name, place)


def _places(value: Any) -> list[str]:
    """The folders and files that an entry point gives: a package is a folder, a function returns one or several."""
    if hasattr(value, "__path__"):
        return list(value.__path__)
    found = value() if callable(value) else value
    return [os.fspath(found)] if isinstance(found, str | os.PathLike) else [os.fspath(one) for one in found]
