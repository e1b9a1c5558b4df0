"""What the control plane says of an index, and which of the two data APIs serves it.

An index made with a dimension and a metric has the fields `_values` and `_sparse_values` and is served by the vectors
API, every other one by the documents API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vexarrow.errors import SchemaError
from vexarrow.metrics import metric

DENSE, SPARSE = "_values", "_sparse_values"
Json = dict[str, Any]


@dataclass(frozen=True)
class Index:
    """What an index is. `dense` and `sparse`: the names of its vector fields, None where there is none; `texts`: its
    string fields whose text can be read back; `documents`: the documents API serves it; `embeds`: Pinecone makes the
    vectors itself; `pods`: it runs on pods; `cloud`: where it runs."""

    name: str | None
    host: str
    dim: int | None
    metric: str | None
    dense: str | None = DENSE
    sparse: str | None = None
    documents: bool = False
    embeds: bool = False
    texts: tuple[str, ...] = ()
    ready: bool = True
    pods: bool = False
    cloud: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)


def index_of(answer: Json, wanted: str | None = None) -> Index:
    """What the control plane says of an index. `wanted`: the vector field chosen among several."""
    schema = answer.get("schema") or {}
    fields: Json = schema.get("fields") or {}
    kinds = {name: str(one.get("type", "")) for name, one in fields.items()}
    if not kinds or DENSE in kinds or SPARSE in kinds or "semantic_text" in kinds.values():
        return _legacy(answer, fields)
    dense = _chosen([name for name, kind in kinds.items() if kind == "dense_vector"], wanted, answer)
    return Index(
        **_common(answer),
        dim=fields[dense].get("dimension") if dense else None,
        metric=metric(fields[dense].get("metric")) if dense else None,
        dense=dense,
        sparse=next((name for name, kind in kinds.items() if kind == "sparse_vector"), None),
        documents=True,
        embeds=any(one.get("embed") for one in fields.values()),
        texts=tuple(
            name for name, kind in kinds.items() if kind == "string" and fields[name].get("store_text") is not False
        ),
        settings={"schema": schema, "deployment": answer.get("deployment")},
        fields=kinds,
    )


def _chosen(dense: Sequence[str], wanted: str | None, answer: Json) -> str | None:
    if wanted is not None and wanted not in dense:
        raise SchemaError(
            f"the index {answer.get('name')} has no vector {wanted!r}; it has {', '.join(dense) or 'none'}"
        )
    if len(dense) > 1 and wanted is None:
        raise SchemaError(f"the index {answer.get('name')} has several vectors: --vector-name {' or '.join(dense)}")
    return wanted or next(iter(dense), None)


def _legacy(answer: Json, fields: Json) -> Index:
    dense, only_sparse = fields.get(DENSE) or {}, answer.get("vector_type") == "sparse"
    semantic: Json = next((one for one in fields.values() if one.get("type") == "semantic_text"), {})
    if SPARSE in fields and DENSE not in fields:
        only_sparse = True
    named = metric(dense.get("metric") or answer.get("metric") or semantic.get("metric"))
    return Index(
        **_common(answer),
        dim=dense.get("dimension") or answer.get("dimension"),
        metric="dot" if only_sparse else named,
        dense=None if only_sparse else DENSE,
        sparse=SPARSE if only_sparse or named == "dot" else None,
        settings={"deployment": answer.get("deployment") or (answer.get("spec") or {}).get("serverless")},
    )


def _common(answer: Json) -> Json:
    deployment = answer.get("deployment") or (answer.get("spec") or {}).get("serverless") or {}
    status = answer.get("status") or {}
    return {
        "name": answer.get("name"),
        "host": answer.get("host") or "",
        "ready": bool(status.get("ready", True)),
        "pods": deployment.get("deployment_type") == "pod" or "pod" in (answer.get("spec") or {}),
        "cloud": deployment.get("cloud"),
    }
