"""What a class looks like: the classes that we create, and what is to be known of any other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vexarrow import records
from vexarrow.errors import SchemaError, Unsupported, UsageError
from vexarrow.ids import ORIGINAL_ID
from vexarrow.metrics import metric
from vexarrow.payload import HIDDEN
from vexarrow.protocols import Description

STORE = "weaviate"
# The properties of npm vex, which has to find them all, then ours.
FIELDS = ("text", "model", "namespace", "created_at", "metadata")
SOURCE_STORE = "source_store"
TEXTS = ("text", "model", "namespace", "metadata", SOURCE_STORE)
OURS = (*FIELDS, SOURCE_STORE, ORIGINAL_ID, HIDDEN)
_DISTANCES = {
    "cosine": "cosine",
    "dot": "dot",
    "euclidean": "l2-squared",
    "manhattan": "manhattan",
    "hamming": "hamming",
}
_KIND = re.compile(r"kind: (\w+)")
_VECTOR_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,229}")
_CARRIED = ("vectorIndexType", "vectorIndexConfig", "invertedIndexConfig")
READABLE = frozenset({"HOT", "ACTIVE"})
_WAKING = frozenset({"COLD", "INACTIVE"})


@dataclass(frozen=True)
class Layout:
    """A class as the server describes it. `properties`: their types by name, in their order; `vectors`: the named
    ones and whether each is a multi-vector; `unnamed`: there is a vector without a name."""

    schema: Mapping[str, Any] = field(repr=False)
    properties: Mapping[str, Sequence[str]]
    vectors: Mapping[str, bool]
    unnamed: bool

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> Layout:
        """From the answer of /v1/schema/<class>."""
        named = schema.get("vectorConfig") or {}
        return cls(
            schema,
            {one["name"]: tuple(one["dataType"]) for one in schema.get("properties") or ()},
            {name: _is_multi(one) for name, one in named.items()},
            not named or bool(schema.get("vectorIndexType")),
        )

    @property
    def tenants(self) -> bool:
        """Whether every record belongs to a tenant."""
        return bool((self.schema.get("multiTenancyConfig") or {}).get("enabled"))

    @property
    def ours(self) -> bool:
        """Whether the class was created by us, or prepared for our records."""
        return HIDDEN in self.properties

    @property
    def id_type(self) -> str:
        """What ids were before they became UUIDs, as the class notes it."""
        if not self.ours:
            return "uuid"
        said: Mapping[str, Any] = next((one for one in self.schema["properties"] if one["name"] == ORIGINAL_ID), {})
        found = _KIND.search(said.get("description") or "")
        return found[1] if found and found[1] in records.ID_TYPES else "string"

    def holds(self, name: str) -> bool:
        """Whether a field has a property that takes its text."""
        kind = self.properties.get(name)
        return kind in (("text",), ("string",)) or (name == "created_at" and kind == ("date",))

    @property
    def finds_namespaces(self) -> bool:
        """Whether an index of the server finds exactly the records of a namespace, as in classes of ours."""
        known: Sequence[Mapping[str, Any]] = self.schema.get("properties") or ()
        found: Mapping[str, Any] = next((one for one in known if one["name"] == "namespace"), {})
        whole: bool = found.get("tokenization") == "field" and bool(found.get("indexFilterable", True))
        return whole and self.holds("namespace") and not self.tenants

    def readable(self, tenant: str, state: str) -> bool:
        """Whether the server reads a tenant in this state, or makes it readable by itself."""
        waking = (self.schema.get("multiTenancyConfig") or {}).get("autoTenantActivation")
        return state in READABLE or (bool(waking) and state in _WAKING)

    def main(self, wanted: str | None, place: str) -> str:
        """The name of the vector that is `vector`, "" for the one without a name. Raises UsageError."""
        single = [name for name, multi in self.vectors.items() if not multi]
        known = [*([""] if self.unnamed else []), *single]
        if wanted is not None:
            if wanted not in known:
                raise UsageError(f"{place} has no vector {wanted!r}; there are {', '.join(filter(None, known))}")
            return wanted
        return "" if self.unnamed or not single else "default" if "default" in single else sorted(single)[0]

    def config(self, name: str) -> Mapping[str, Any]:
        """The index of a vector: `vectorIndexType` and `vectorIndexConfig`."""
        found: Mapping[str, Any] = (self.schema.get("vectorConfig") or {}).get(name) or {} if name else self.schema
        return found

    def metric(self, name: str) -> str | None:
        """The metric of a vector, Weaviate's default is cosine."""
        return metric((self.config(name).get("vectorIndexConfig") or {}).get("distance") or "cosine")

    def settings(self, name: str) -> dict[str, object]:
        """Index parameters that another class of Weaviate can take over."""
        said = {**self.schema, **self.config(name)}
        found: dict[str, object] = {key: said[key] for key in _CARRIED if said.get(key)}
        if name:
            found["vectorName"] = name
        others = {key: one for key, one in (self.schema.get("vectorConfig") or {}).items() if key != name}
        return {**found, "vectorConfig": others} if others else found


def _is_multi(config: Mapping[str, Any]) -> bool:
    return bool(((config.get("vectorIndexConfig") or {}).get("multivector") or {}).get("enabled"))


# -- creating ---------------------------------------------------------------------------------------------


def new_class(name: str, plan: Description, *, tenants: bool) -> dict[str, Any]:
    """The body that creates a class for the records of a plan. Raises SchemaError for a metric without a name here."""
    settings = dict(plan.settings.get(STORE) or {})
    index = dict(_mapping(settings.get("vectorIndexConfig")))
    index.pop("multivector", None)
    vector = {
        "vectorIndexType": settings.get("vectorIndexType") or "hnsw",
        "vectorIndexConfig": {**index, "distance": distance(plan.metric or "cosine")},
    }
    body: dict[str, Any] = {
        "class": name,
        "description": "Records of vexarrow",
        "properties": [prop(one, plan.id_type) for one in OURS if not (tenants and one == "namespace")],
    }
    main = settings.get("vectorName")
    if isinstance(main, str) and _VECTOR_NAME.fullmatch(main):
        body["vectorConfig"] = {main: {"vectorizer": {"none": {}}, **vector}}
    else:
        body |= {"vectorizer": "none", **vector}
    if settings.get("invertedIndexConfig"):
        body["invertedIndexConfig"] = settings["invertedIndexConfig"]
    if tenants:
        body["multiTenancyConfig"] = {"enabled": True, "autoTenantCreation": True, "autoTenantActivation": True}
    return body


def distance(name: str) -> str:
    """Weaviate's name of a metric. Raises SchemaError."""
    found = _DISTANCES.get(metric(name) or "")
    if found is None:
        raise SchemaError(f"Weaviate has no metric {name}; --metric chooses one of {', '.join(_DISTANCES)}")
    return found


def prop(name: str, id_type: str = "string") -> dict[str, Any]:
    """One of our properties. All but the text are matched as a whole or, being no words, not indexed at all."""
    if name == "text":
        return {"name": name, "dataType": ["text"]}
    indexed = name not in ("metadata", ORIGINAL_ID, HIDDEN)
    said = f"The id before it became a UUID, where it was another; kind: {id_type}" if name == ORIGINAL_ID else ""
    return {
        "name": name,
        "dataType": ["text"],
        "description": said,
        "tokenization": "field",
        "indexFilterable": indexed,
        "indexSearchable": False,
    }


def named_vectors(columns: Sequence[str], plan: Description, known: Mapping[str, object]) -> dict[str, Any]:
    """The configuration of further vector columns that a class does not have yet.

    Raises Unsupported for sparse vectors, and SchemaError for names that Weaviate does not take.
    """
    kept = _mapping((plan.settings.get(STORE) or {}).get("vectorConfig"))
    found: dict[str, Any] = {}
    for column in columns:
        kind, _, name = column.partition(":")
        if kind == "sparse":
            raise Unsupported(f"Weaviate has no sparse vectors: {column}; --drop-vectors leaves further vectors out")
        if name in known:
            continue
        if not _VECTOR_NAME.fullmatch(name):
            raise SchemaError(f"{column}: Weaviate's names of vectors have letters, digits and _ alone")
        index: dict[str, Any] = {"distance": distance(plan.metric or "cosine")}
        if kind == "multi":
            index = {"distance": "cosine" if index["distance"] == "cosine" else "dot", "multivector": {"enabled": True}}
        found[name] = kept.get(name) or {
            "vectorizer": {"none": {}},
            "vectorIndexType": "hnsw",
            "vectorIndexConfig": index,
        }
        found[name] = {**_mapping(found[name]), "vectorizer": {"none": {}}}
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
