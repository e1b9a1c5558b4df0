"""All projections that there are or could be, each with its state: what `vex-adapt --list` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vexarrow.adapt import catalog, shelf
from vexarrow.adapt.quality import Quality
from vexarrow.location import redact

BUILT_IN, INSTALLED, REGISTRY, TO_TRAIN = "built in", "installed", "in the registry", "to be trained"


@dataclass(frozen=True, slots=True)
class Row:
    """A projection from `source` to `target` and the lengths of their vectors; None for any of `lengths`.

    `state`: one of the four above. `location`: where its file is, None without one. `quality`: None for a truncation,
    which is exact, and for what is to be trained. `command`: what makes or fetches it, None where it can be used.
    `said`: the page where a maker says that vectors may be cut. `used`: False for one that another file of the same two
    models goes before.
    """

    source: str
    target: str
    source_dim: int
    target_dim: int | None
    state: str
    lengths: str | None = None
    location: str | None = None
    quality: Quality | None = None
    command: str | None = None
    said: str | None = None
    used: bool = True

    def to_json(self) -> dict[str, Any]:
        """All fields, JSON-like."""
        return asdict(self)


def rows(registry: str | None = None) -> list[Row]:
    """The seven pairs of the original, the truncations, then whatever else is at hand. Raises what reading the registry
    raises."""
    items = list(shelf.at_hand(registry))
    at_hand = [_of_item(item, items[:at], registry) for at, item in enumerate(items)]
    found: list[Row] = []
    for pair in catalog.PAIRS:
        fitting = [row for row, item in zip(at_hand, items, strict=True) if item.fits(pair.source, pair.target)]
        found += fitting or [_to_train(pair)]
    return [*found, *_truncations(), *(row for row in at_hand if row not in found)]


def _of_item(item: shelf.Item, before: Sequence[shelf.Item], registry: str | None) -> Row:
    hidden = any(one.fits(item.source.name, item.target.name, item.source.dim, item.target.dim) for one in before)
    state = {shelf.OURS: BUILT_IN, shelf.REGISTRY_ORIGIN: REGISTRY}.get(item.origin, INSTALLED)
    name = item.location.rpartition("/")[2]
    return Row(
        item.source.name,
        item.target.name,
        item.source.dim,
        item.target.dim,
        state,
        location=item.location,
        quality=item.quality,
        command=f"vex-adapt pull {name} --registry {redact(registry)}" if state == REGISTRY and registry else None,
        used=not hidden,
    )


def _to_train(pair: catalog.Pair) -> Row:
    command = catalog.training(pair.source, pair.target)
    return Row(pair.source, pair.target, pair.source_dim, pair.target_dim, TO_TRAIN, command=command)


def _truncations() -> Iterator[Row]:
    for one in catalog.MATRYOSHKA:
        yield Row(one.name, f"{one.name}{catalog.MARK}N", one.dim, None, BUILT_IN, lengths=one.lengths, said=one.said)
