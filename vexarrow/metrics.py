"""Names of distances: one of ours for every spelling that stores have."""

from __future__ import annotations

from vexarrow.errors import UsageError

METRICS = ("cosine", "dot", "euclidean", "manhattan", "hamming", "jaccard")
_NAMES = {
    "cosine": "cosine cos cosinesimil cosine_distance vector_cosine_ops halfvec_cosine_ops sparsevec_cosine_ops",
    "dot": "dot dotproduct dot_product ip inner_product innerproduct max_inner_product vector_ip_ops halfvec_ip_ops "
    "sparsevec_ip_ops",
    "euclidean": "euclidean euclid l2 l2-squared l2_squared l2_norm euclidean_squared vector_l2_ops halfvec_l2_ops "
    "sparsevec_l2_ops",
    "manhattan": "manhattan l1 vector_l1_ops halfvec_l1_ops sparsevec_l1_ops",
    "hamming": "hamming bit_hamming_ops",
    "jaccard": "jaccard bit_jaccard_ops",
}
_KNOWN = {spelling: name for name, spellings in _NAMES.items() for spelling in spellings.split()}


def metric(name: str | None) -> str | None:
    """One of METRICS for the spelling of a store, the spelling itself when it is none that is known."""
    return None if name is None else _KNOWN.get(name.strip().lower(), name.strip().lower())


def known_metric(name: str) -> str:
    """One of METRICS for what a user wrote. Raises UsageError."""
    found = metric(name)
    if found not in METRICS:
        raise UsageError(f"--metric {name}: has to be one of {', '.join(METRICS)}")
    return found
