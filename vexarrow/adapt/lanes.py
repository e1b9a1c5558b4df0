"""Which records of a run go through which projection, and what is said of those that go through none."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vexarrow.adapt import catalog, shelf
from vexarrow.embedding_models import KNOWN_DIMENSIONS, same_model
from vexarrow.errors import NotFound, SchemaError, Unfit, UsageError, VexError

if TYPE_CHECKING:
    from vexarrow.adapt.model import Adapter

NO_MODEL, NO_PROJECTION, DIMENSION, UNFIT = "no-model", "no-projection", "dimension", "unfit-projection"
_ERRORS: Mapping[str, type[VexError]] = {
    NO_MODEL: UsageError,
    NO_PROJECTION: NotFound,
    DIMENSION: SchemaError,
    UNFIT: Unfit,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why records are rejected. `message` is a sentence that names the fix."""

    code: str
    message: str

    def error(self) -> VexError:
        """The same as an error, for a run that would come to nothing."""
        return _ERRORS[self.code](self.message)


@dataclass(frozen=True, slots=True)
class Lane:
    """The way of all records of a model and a length of vectors: through `adapter`, into the rejects with a `refusal`,
    or, with neither, on as they are. `model` is how the records name it, None where they do not."""

    model: str | None
    dim: int
    adapter: Adapter | None = None
    refusal: Refusal | None = None


class Lanes:
    """The lanes to one target. `given`: adapters that come before those at hand. `target`: the model's name, perhaps
    with `@N`. `source`: the model of records that name none. `force`: projections that were refused are used.

    `name` and `dim` are those of the target; `dim` is 0 until `settle` was called. Thread-safe.
    """

    def __init__(self, given: Sequence[Adapter], target: str, *, source: str | None, force: bool) -> None:
        self.source = source
        self._given = given
        self._wanted = target
        self._force = force
        self.name, said = catalog.split(target)
        self.dim = said or 0
        self._lanes: dict[tuple[str | None, int], Lane] = {}
        self._lock = threading.Lock()
        if given:
            self.name, self.dim = given[0].target.name, given[0].target.dim

    def settle(self, seen: Iterable[tuple[str | None, int | None]]) -> None:
        """Find out the length of the target's vectors, from the adapters of these models: each the name in a record and
        the length of its vector. Raises NotFound when no adapter tells, Unfit when it is one that was refused."""
        self._check_source()
        every = list(dict.fromkeys([*((name or self.source, dim) for name, dim in seen), (self.source, None)]))
        if self._given:
            return
        for name, dim in every:
            adapter = self._found(name, dim) if name else None
            if adapter is not None:
                self.name, self.dim = adapter.target.name, adapter.target.dim
                return
        native = [dim for name, dim in every if name and dim and same_model(name, self.name)]
        self.dim = self.dim or next((n for m, n in KNOWN_DIMENSIONS.items() if same_model(m, self.name)), 0)
        self.dim = self.dim or (native[0] if native else 0)
        if not self.dim:
            names = [name for name, _ in every if name]
            raise (self._missing(names[0]) if names else _nameless()).error()

    def _check_source(self) -> None:
        """Refuse a model of the user's own words that nothing leads on from."""
        if not self.source or same_model(self.source, self.name):
            return
        adapter = self._found(self.source, None)
        if adapter is None:
            raise self._missing(self.source).error()
        if (refused := refusals(adapter)) and not self._force:
            raise Unfit(f"the projection from {self.source} to {self.name} was refused: {refused}; --force uses it")

    def of(self, name: str | None, dim: int) -> Lane:
        """The lane of records that name this model (None and "" are no name) and have vectors of this length."""
        with self._lock:
            if (name, dim) not in self._lanes:
                self._lanes[name, dim] = self._lane(name, dim)
            return self._lanes[name, dim]

    def _lane(self, name: str | None, dim: int) -> Lane:
        model = name or self.source
        if not model:
            return Lane(None, dim, refusal=_nameless())
        if same_model(model, self.name) and dim == self.dim:
            return Lane(name, dim)
        adapter = self._found(model, dim)
        if adapter is None:
            return Lane(name, dim, refusal=self._why_not(model, dim))
        if (refused := refusals(adapter)) and not self._force:
            said = f"the projection from {model} to {self.name} was refused: {refused}; --force uses it all the same"
            return Lane(name, dim, refusal=Refusal(UNFIT, said))
        return Lane(name or model, dim, adapter)

    def _found(self, model: str, dim: int | None) -> Adapter | None:
        """The adapter of a model, by its name and the length of its vectors."""
        for adapter in self._given:
            if same_model(adapter.source.name, model) and dim in (None, adapter.source.dim):
                return adapter
        try:
            found = shelf.find(model, self._wanted, dim=dim)
        except UsageError:
            return None  # a name in a record that reads like a number of dimensions gone wrong
        return found if found is None or self.dim in (0, found.target.dim) else None

    def _why_not(self, model: str, dim: int) -> Refusal:
        if same_model(model, self.name) and dim < self.dim and catalog.matryoshka(model):
            return Refusal(
                DIMENSION,
                f"vectors of {model} can be cut, not lengthened: {self.dim} dimensions are wanted, this one has {dim}; "
                f"--to {self.name}@N takes an N below that",
            )
        known = self._found(model, None)
        usual = self.dim if same_model(model, self.name) else 0 if known is None else known.source.dim
        if usual and usual != dim:
            return Refusal(DIMENSION, f"the vectors of {model} have {usual} dimensions, this one has {dim}")
        return self._missing(model)

    def _missing(self, model: str) -> Refusal:
        return Refusal(
            NO_PROJECTION,
            f"there is no projection from {model} to {self._wanted} at hand: {catalog.why_not(model, self._wanted)}",
        )


def _nameless() -> Refusal:
    return Refusal(
        NO_MODEL,
        "the record names no model: `vex-adapt --from MODEL`, or --adapt-from MODEL of other commands, says what such "
        "records are from",
    )


def refusals(adapter: Adapter) -> str:
    """Why a projection was refused when it was trained, "" where it was not, or where its file does not say."""
    header: Mapping[str, Any] = getattr(adapter, "header", None) or {}
    said = header.get("verdict")
    reasons = said.get("refused") if isinstance(said, Mapping) else None
    return "; ".join(str(one.get("message", one)) if isinstance(one, Mapping) else str(one) for one in reasons or ())


def check_given(given: Sequence[Adapter], target: str | None, *, force: bool) -> str:
    """The target's name that all given adapters agree on, and a wish if there is one. Raises UsageError where they do
    not, and Unfit for one that was refused, unless `force`."""
    for adapter in given:
        here, there = adapter.source, adapter.target
        if same_model(here.name, there.name) and here.dim == there.dim:
            raise UsageError(
                f"the projection is from {here.name} to {there.name}: records before and after it could not be told "
                "apart; train it with another name for one of them"
            )
        if (refused := refusals(adapter)) and not force:
            raise Unfit(f"the projection from {here.name} to {there.name} was refused: {refused}; --force uses it")
    ends = {(one.target.name.casefold(), one.target.dim): one.target for one in given}
    if len(ends) > 1:
        names = " and ".join(f"{card.name} ({card.dim})" for card in ends.values())
        raise UsageError(f"the projections lead to different spaces: {names}")
    for place, one in enumerate(given):
        for other in given[:place]:
            if same_model(one.source.name, other.source.name) and one.source.dim == other.source.dim:
                raise UsageError(
                    f"two projections from {one.source.name} ({one.source.dim} dimensions) are given, and only one of "
                    "them can be used: name one"
                )
    for card in ends.values():
        return _agreed(card.name, card.dim, target)
    if not target:
        raise UsageError("where to? name the target's model with --to, or a projection")
    return target


def _agreed(name: str, dim: int, wished: str | None) -> str:
    wanted, length = catalog.split(wished or name)
    if not same_model(wanted, name) or length not in (None, dim):
        raise UsageError(f"the projection leads to {name} ({dim} dimensions), not to {wished}")
    return name
