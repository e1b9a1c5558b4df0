"""Projections at hand, found by the names of their models.

In this order: the user's folders (`VEX_PROJECTIONS`, then `vexarrow/projections` where the platform keeps data), the
registry that is given or in `VEX_REGISTRY`, and what installed packages bring through the entry-point group
`vexarrow.projections`, this package among them: a package is the folder of its files, a function returns folders or
files. In a folder the first name in alphabetical order wins.

A model may be named with a number of dimensions, `text-embedding-3-small@512`. Where both names are of one model that
can be cut short, the adapter is a truncation, which is exact and needs no file. A projection to the whole model is cut
as well, where there is none to the shorter one. Records carry the plain name, as those do that the provider made with
`dimensions=512`; their `dims` tell them apart.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from vexarrow.adapt import catalog, weights_file
from vexarrow.adapt.model import Adapter, ModelCard
from vexarrow.adapt.quality import Quality
from vexarrow.embedding_models import same_model
from vexarrow.errors import DataError, VexError
from vexarrow.location import redact

if TYPE_CHECKING:
    from vexarrow.adapt.projection import Projection

GROUP = "vexarrow.projections"
FOLDERS, DATA = "VEX_PROJECTIONS", os.path.join("vexarrow", "projections")
REGISTRY = "VEX_REGISTRY"
FOLDER, REGISTRY_ORIGIN, OURS = "folder", "registry", "vexarrow"
_HEAD = 16 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """A projection at hand, of which no weights were read.

    `origin`: "folder", "registry", or the name under which a package brings it, "vexarrow" for this one. `location`: a
    path or URL. `header`: what its file says, empty for one in a registry. `load()` gives the projection itself; it
    raises DataError for a file that is damaged.
    """

    origin: str
    location: str
    source: ModelCard
    target: ModelCard
    quality: Quality
    load: Callable[[], Projection] = field(repr=False, compare=False)
    header: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def fits(self, source: str, target: str, source_dim: int | None = None, target_dim: int | None = None) -> bool:
        """Whether it is between these models; None means any number of dimensions."""
        return (
            same_model(self.source.name, source)
            and same_model(self.target.name, target)
            and source_dim in (None, self.source.dim)
            and target_dim in (None, self.target.dim)
        )


def find(source: str, target: str, *, dim: int | None = None, registry: str | None = None) -> Adapter | None:
    """The adapter from one model to another; None when there is none at hand (`catalog.why_not` says what to do then).

    `source` and `target` are names of models, with `@N` for N dimensions; case, provider and organisation do not count.
    `dim`: the length of the source's vectors at hand, None for what is usual. `registry`: its path or URL, None for the
    one in VEX_REGISTRY. Raises UsageError for a name that is malformed, DataError for the file that is meant and
    damaged, and what reading the registry raises.
    """
    source_name, said = catalog.split(source)
    target_name, wanted = catalog.split(target)
    exact = _truncation(source_name, target_name, dim or said, wanted)
    if exact is not None:
        return exact
    longer: Item | None = None
    for item in at_hand(registry or os.environ.get(REGISTRY)):
        if item.fits(source_name, target_name, dim or said, wanted):
            return item.load()
        if longer is None and wanted and item.fits(source_name, target_name, dim or said) and _cuts(item, wanted):
            longer = item
    return None if longer is None or wanted is None else _shortened(longer.load(), wanted)


def _cuts(item: Item, wanted: int) -> bool:
    known = catalog.matryoshka(item.target.name)
    return known is not None and known.gives(wanted) and wanted < item.target.dim


def _shortened(projection: Projection, dim: int) -> Projection:
    """The projection into the space of the shorter vectors: cutting and scaling its results is cutting its columns.

    What was measured of the whole is left out: nobody has measured this one.
    """
    kept = {name: said for name, said in projection.header.items() if name not in ("report", "verdict")}
    mean = projection.target_mean
    return replace(
        projection,
        weight=projection.weight[:, :dim].copy(),
        bias=projection.bias[:dim].copy(),
        target=replace(projection.target, dim=dim),
        target_mean=None if mean is None else mean[:dim].copy(),
        local=None if projection.local is None else projection.local.cut(dim),
        header={**kept, "cut_from": {"checksum": projection.checksum, "dim": projection.target.dim}},
    )


def _truncation(source: str, target: str, dim: int | None, wanted: int | None) -> Adapter | None:
    known = catalog.matryoshka(source)
    if known is None or wanted is None or not same_model(source, target):
        return None
    whole = dim or known.dim
    if not known.gives(wanted) or not wanted < whole <= known.dim:
        return None
    from vexarrow.adapt.truncation import Truncation

    return Truncation(ModelCard(known.name, whole, provider=known.provider), wanted)


def at_hand(registry: str | None = None) -> Iterator[Item]:
    """Every projection at hand, those that `find` prefers first; those of a registry only where one is given.

    A file that cannot be read is named on stderr and passed over: it must not take down the others.
    """
    for folder in folders():
        yield from _in_folder(FOLDER, folder)
    if registry:
        yield from _in_registry(registry)
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


def _in_registry(location: str) -> Iterator[Item]:
    from vexarrow.adapt.registry import Registry

    registry = Registry(location)
    for entry in registry.entries():
        where = redact(registry.location(entry.name))
        yield Item(REGISTRY_ORIGIN, where, entry.source, entry.target, entry.quality, partial(registry.load, entry))


def _in_folder(origin: str, folder: str) -> Iterator[Item]:
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for name in names:
        if name.endswith((".safetensors", ".json")) and not name.startswith(".") and name != "index.json":
            yield from _item(origin, os.path.join(folder, name))


def _item(origin: str, location: str) -> Iterator[Item]:
    from vexarrow.adapt.loading import load

    try:
        if location.endswith(".json"):  # the original tool's, which has no header
            from vexarrow.adapt.legacy import models_of

            source, target, header = *models_of(location), {}
        else:
            header = read_header(location)
            source, target = (ModelCard.from_json(header[side]) for side in ("source", "target"))
    except (VexError, OSError, KeyError, TypeError) as error:
        sys.stderr.write(f"vex: warning: {location} cannot be used: {error}\n")
        return
    yield Item(origin, location, source, target, Quality.of_header(header), partial(load, location), header)


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
