"""What the Weaviate emulator holds: classes, tenants and objects, with the checks that a server makes."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.engines import _weaviate_schema as rules
from tests.engines._weaviate_schema import Problem, ShardProblem

MAXIMUM_RESULTS = 10_000
MAXIMUM_BYTES = 104_858_000
MAXIMUM_DIMENSION = 65_535


@dataclass
class Thing:
    """An object. `vectors`: bytes by name, "" for the one without."""

    id: str
    properties: dict[str, Any]
    vectors: dict[str, bytes]
    created: int = field(default_factory=lambda: int(time.time() * 1000))


@dataclass
class Shard:
    """The objects of a tenant, or of a class without tenants; each vector index has the dimension of its first."""

    state: str = "HOT"
    status: str = "READY"
    things: dict[str, Thing] = field(default_factory=dict)
    dims: dict[str, int] = field(default_factory=dict)
    order: list[str] | None = None

    def sorted(self) -> list[str]:
        """The UUIDs in the order of cursors."""
        if self.order is None:
            self.order = sorted(self.things)
        return self.order


def is_multi(config: Mapping[str, Any]) -> bool:
    """Whether an index is for multi-vectors."""
    return bool((config.get("multivector") or {}).get("enabled"))


def _lengths(config: Mapping[str, Any], length: int, known: int) -> str:
    """The words of an index for a vector of another length than those that it has."""
    if "ef" not in config:
        return f"insert called with a vector of the wrong size: {length}. Saved length: {known}, path: /data/a/b"
    message = f"new node has a vector with length {length}. Existing nodes have vectors with length {known}"
    return f"{message}: vector dimensions do not match the index dimensions"


class Collection:
    """A class."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.schema = rules.completed(body)
        self.shards: dict[str, Shard] = {} if self.tenancy["enabled"] else {"": Shard()}

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.schema["class"])

    @property
    def tenancy(self) -> Mapping[str, Any]:
        """How it has tenants."""
        found: Mapping[str, Any] = self.schema["multiTenancyConfig"]
        return found

    @property
    def named(self) -> Mapping[str, Any]:
        """Its named vectors."""
        return self.schema.get("vectorConfig") or {}

    def types(self) -> dict[str, str]:
        """The type of every property; a class is a reference."""
        return {one["name"]: one["dataType"][0] for one in self.schema["properties"]}

    def shard(self, tenant: str, *, writing: bool = False) -> Shard:
        """Where the objects of a tenant are. Raises Problem as a server words it."""
        if not self.tenancy["enabled"]:
            if tenant:
                raise Problem(f"class {self.name} has multi-tenancy disabled, but request was with tenant")
            return self.shards[""]
        if not tenant:
            raise Problem(f"class {self.name} has multi-tenancy enabled, but request was without tenant")
        if tenant not in self.shards and writing and self.tenancy["autoTenantCreation"]:
            self.shards[tenant] = Shard()
        if tenant not in self.shards:
            raise Problem(f'tenant not found: "{tenant}"')
        found = self.shards[tenant]
        if found.state == "COLD" and self.tenancy["autoTenantActivation"]:
            found.state = "HOT"
        if found.state != "HOT":
            raise Problem(f"tenant not active: '{tenant}'")
        return found

    def put(self, tenant: str, thing: Thing) -> None:
        """Insert or replace an object as a whole. Raises Problem."""
        if not rules.is_uuid(thing.id):
            raise Problem(f"invalid UUID length: {len(thing.id)}")
        thing.id = str(UUID(thing.id))
        shard = self.shard(tenant, writing=True)
        if shard.status == "READONLY":
            raise ShardProblem("store is read-only due to: manually set by user")
        thing.properties = self._checked(thing.properties)
        if "" in thing.vectors and "vectorIndexType" not in self.schema and len(self.named) == 1:
            thing.vectors[next(iter(self.named))] = thing.vectors.pop("")  # as a server does for older clients
        for name, data in thing.vectors.items():
            self._check_vector(shard, thing.id, name, data)
        if thing.id not in shard.things:
            shard.order = None
        shard.things[thing.id] = thing

    def _checked(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        types = self.types()
        found = {}
        for name, value in properties.items():
            if name not in types:
                if name in rules.RESERVED:
                    raise Problem(f"auto-schema: update collection: '{name}' is a reserved property name")
                types[name] = rules.guessed(value)
                rules.add_property(self.schema, {"name": name, "dataType": [types[name]]})
            found[name] = rules.checked(self.schema, name, types[name], value)
            if value and types[name] in ("object", "object[]"):
                rules.widen(next(one for one in self.schema["properties"] if one["name"] == name), value)
        return {name: value for name, value in found.items() if value is not None}

    def _check_vector(self, shard: Shard, identity: str, name: str, data: bytes) -> None:
        if name and name not in self.named:
            raise Problem(f"collection {self.name} does not have configuration for vector {name}")
        if not name and "vectorIndexType" not in self.schema:
            raise Problem(f"collection {self.name} configuration does not have single vector index")
        config = (self.named[name] if name else self.schema)["vectorIndexConfig"]
        multi = is_multi(config)
        length = int.from_bytes(data[:2], "little") if multi else len(data) // 4
        if not 0 < length <= MAXIMUM_DIMENSION:
            raise Problem(f"vector of {length} dimensions")
        known = length if config.get("skip") else shard.dims.setdefault(name, length)
        if known != length:
            raise Problem(f"Validate vector index for {identity}: {_lengths(config, length, known)}")

    def listed(self, tenant: str, limit: int, after: str, wanted: Callable[[Thing], bool] | None) -> list[Thing]:
        """A page in the order of the UUIDs. Raises Problem."""
        if limit > MAXIMUM_RESULTS:
            raise Problem(
                "explorer: list class: search: invalid pagination params: query maximum results exceeded: the total "
                f"limit calculated from the provided offset '0' and limit '{limit}' exceeds the configured value for "
                f"QUERY_MAXIMUM_RESULTS '{MAXIMUM_RESULTS}'."
            )
        if after and wanted is not None:
            raise Problem("cursor api: invalid 'after' parameter: where cannot be set with after and limit parameters")
        if after and not rules.is_uuid(after):
            raise Problem(f"cursor api: invalid 'after' parameter: after parameter '{after}' is not a valid uuid")
        shard = self.shard(tenant)
        order = shard.sorted()
        start = bisect_right(order, str(UUID(after))) if after else 0
        if wanted is not None:
            return [one for key in order if wanted(one := shard.things[key])][: limit or 25]
        return [shard.things[key] for key in order[start : start + (limit or 25)]]


class Store:
    """All classes. Thread-safe where the servers hold `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.classes: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}

    def create(self, body: Mapping[str, Any]) -> Collection:
        """A new class. Raises Problem."""
        made = Collection(body)
        if made.name in self.classes:
            raise Problem(f"class name {made.name} already exists")
        if made.name in self.aliases:
            raise Problem(f"alias name {made.name} already exists")
        self.classes[made.name] = made
        return made

    def find(self, name: str) -> Collection | None:
        """A class or that of an alias, whatever the case of its first letter."""
        name = name[:1].upper() + name[1:]
        return self.classes.get(self.aliases.get(name, name))

    def writable(self, name: str) -> Collection:
        """A class to write to, made by auto-schema where there is none."""
        return self.find(name) or self.create({"class": name})

    def add_tenants(self, of: Collection, bodies: Sequence[Mapping[str, Any]]) -> None:
        """Add tenants; those that are there stay. Raises Problem."""
        if not of.tenancy["enabled"]:
            raise Problem(f'multi-tenancy is not enabled for class "{of.name}"')
        for at, one in enumerate(bodies):
            if not rules.TENANT.fullmatch(one["name"]):
                raise Problem(f"tenant name at index {at}:  '{one['name']}' is not a valid tenant name.")
        names = [one["name"] for one in bodies]
        for name in names:
            if names.count(name) > 1:
                raise Problem(f"tenant name {name} existed multiple times")
        for one in bodies:
            state = {"ACTIVE": "HOT", "INACTIVE": "COLD"}.get(one.get("activityStatus", "HOT"))
            of.shards.setdefault(one["name"], Shard(state or one.get("activityStatus", "HOT")))
