"""A registry of projections: a folder anywhere that fsspec reaches, with the files and an index of their SHA-256 sums.

`index.json` holds `{"format": "vexarrow.registry", "version": 1, "projections": {name: entry}}`; an entry says `sha256`
and `bytes` of the file, its `source` and `target` model and its `quality`. What else stands there is kept. A file is
written before the index speaks of it. Of two that push at the same moment one may miss in the index: push it again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from vexarrow import files
from vexarrow.adapt import loading
from vexarrow.adapt.model import ModelCard
from vexarrow.adapt.quality import Quality
from vexarrow.embedding_models import same_model
from vexarrow.errors import AccessError, DataError, NotFound, TransientError, UsageError
from vexarrow.location import expand, is_url, redact

if TYPE_CHECKING:
    from vexarrow.adapt.projection import Projection

INDEX, FORMAT, VERSION = "index.json", "vexarrow.registry", 1
SUFFIX = ".safetensors"
_NAME = re.compile(r"[A-Za-z0-9][\w.+@-]*", re.ASCII)
_SUM = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A projection in a registry. `sha256`: of its file, as 64 hexadecimal digits; `size`: in bytes."""

    name: str
    sha256: str
    size: int
    source: ModelCard
    target: ModelCard
    quality: Quality


class Registry:
    """The registry at a path or URL, in which `${NAME}` is that environment variable. Nothing is read yet."""

    def __init__(self, location: str) -> None:
        self._at = expand(location).rstrip("/" if is_url(location) else "/" + os.sep)

    def __str__(self) -> str:
        return redact(self._at)

    def entries(self) -> list[Entry]:
        """All projections, by name. Raises NotFound where no registry is, DataError for an index that is none, and
        TransientError or AccessError where the place cannot be reached."""
        try:
            index = self._index()
        except NotFound as error:
            raise NotFound(
                f"{self}: no registry of projections is there ({error}); `vex-adapt push FILE` begins one"
            ) from error
        except (AccessError, TransientError) as error:
            raise type(error)(
                f"the registry cannot be read ({error}): see that --registry, or VEX_REGISTRY, names the right place "
                "and that it can be reached; without either, only projections on this machine are taken"
            ) from error
        said = index["projections"]
        return [self._entry(name, said[name]) for name in sorted(said) if name.endswith(SUFFIX)]

    def location(self, name: str) -> str:
        """Where the file of that name is."""
        return f"{self._at}/{name}"

    def fetch(self, entry: Entry) -> bytes:
        """The file of a projection. Raises DataError when it is not the one that the index speaks of."""
        data = loading.read(self.location(entry.name))
        found = sha256(data).hexdigest()
        if found != entry.sha256:
            raise DataError(
                f"{self}: the checksum of {entry.name} differs: its index says {entry.sha256[:16]}..., the file has "
                f"{found[:16]}...; it is damaged, or was changed: push it again"
            )
        return data

    def load(self, entry: Entry) -> Projection:
        """The projection itself. Raises DataError when it is not between the models that the index names."""
        return self.checked(entry, self.fetch(entry))

    def checked(self, entry: Entry, data: bytes) -> Projection:
        """The projection of a file that was fetched."""
        from vexarrow.adapt.projection import Projection

        found = Projection.from_bytes(data, f"{self}/{entry.name}")
        if (found.source, found.target) != (entry.source, entry.target):
            raise DataError(f"{self}: {entry.name} is not between the models that the index names")
        return found

    def push(self, location: str, *, overwrite: bool = False) -> tuple[Entry, bool]:
        """Add the file of a projection; False where the very same was there. Raises UsageError where another file has
        its name, unless `overwrite`, and DataError for a file that is no projection."""
        data = loading.read(expand(location))
        entry = self._new(location, data)
        index = self._index_or_new()
        there = index["projections"].get(entry.name)
        same = isinstance(there, Mapping) and there.get("sha256") == entry.sha256
        if there is not None and not same and not overwrite:
            raise UsageError(f"{self} has another {entry.name}; --overwrite replaces it")
        self._write(entry, data, overwrite=overwrite)
        if same:
            return entry, False
        index = self._index_or_new()  # another one may have been added by now
        index["projections"][entry.name] = {
            "sha256": entry.sha256,
            "bytes": entry.size,
            "source": entry.source.to_json(),
            "target": entry.target.to_json(),
            "quality": entry.quality.to_json(),
        }
        text = json.dumps(index, ensure_ascii=False, indent=2) + "\n"
        loading.write(self.location(INDEX), text.encode(), overwrite=True)
        return entry, True

    def _new(self, location: str, data: bytes) -> Entry:
        from vexarrow.adapt.projection import Projection

        name = os.path.basename(location.split("?")[0])
        if not name.endswith(SUFFIX):
            raise UsageError(
                f"{redact(location)}: a registry holds {SUFFIX} files; Projection.load(...).save(...) makes one"
            )
        _check(name, UsageError)
        found = Projection.from_bytes(data, redact(location))
        digest = sha256(data).hexdigest()
        return Entry(name, digest, len(data), found.source, found.target, Quality.of_header(found.header))

    def _write(self, entry: Entry, data: bytes, *, overwrite: bool) -> None:
        """Write the file and read it again, unless it is there already, as after a push that was interrupted."""
        place = self.location(entry.name)
        if files.exists(place) and sha256(loading.read(place)).hexdigest() == entry.sha256:
            return
        loading.write(place, data, overwrite=overwrite)
        self.fetch(entry)

    # -- the index --------------------------------------------------------------------------------------

    def _index_or_new(self) -> dict[str, Any]:
        try:
            return self._index()
        except NotFound:
            return {"format": FORMAT, "version": VERSION, "projections": {}}

    def _index(self) -> dict[str, Any]:
        where = f"{self}/{INDEX}"
        try:
            index = json.loads(loading.read(self.location(INDEX)))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: damaged: {error}") from error
        if not isinstance(index, dict) or index.get("format") != FORMAT:
            raise DataError(f"{where}: no index of projections")
        if index.get("version") != VERSION:
            raise DataError(f"{where}: version {index.get('version')} is newer than this vexarrow; upgrade it")
        if not isinstance(index.get("projections"), dict):
            raise DataError(f"{where}: damaged: it lists no projections")
        for name in index["projections"]:
            _check(name, DataError, where)
        return index

    def _entry(self, name: str, said: Any) -> Entry:
        try:
            digest, size = said["sha256"], said["bytes"]
            source, target = (ModelCard.from_json(said[side]) for side in ("source", "target"))
        except (KeyError, TypeError, DataError) as error:
            raise DataError(f"{self}/{INDEX}: its entry {name} is not complete") from error
        if not isinstance(digest, str) or not _SUM.fullmatch(digest) or type(size) is not int:
            raise DataError(f"{self}/{INDEX}: its entry {name} has no SHA-256 sum")
        return Entry(name, digest, size, source, target, Quality.from_json(said.get("quality")))


def _check(name: str, error: type[DataError] | type[UsageError], where: str = "") -> None:
    """Let no name lead out of the folder."""
    if ".." in name or not _NAME.fullmatch(name):
        hint = f"{where}: refused: its entry {name!r}" if where else repr(name)
        raise error(f"{hint} is no name for a file in a registry (letters, digits and - _ . + @)")


def chosen(entries: list[Entry], words: tuple[str, ...]) -> list[Entry]:
    """Those of one name, or between two models; all for no words. Raises NotFound, which names what there is."""
    if not words:
        return entries
    if len(words) == 1:
        found = [one for one in entries if one.name in (words[0], words[0] + SUFFIX)]
    else:
        source, target = words
        fitting = (one for one in entries if same_model(one.source.name, source))
        found = [one for one in fitting if same_model(one.target.name, target)]

    if not found:
        there = ", ".join(one.name for one in entries) or "nothing"
        raise NotFound(f"the registry has nothing for {' '.join(words)}; it has {there}")
    return found
