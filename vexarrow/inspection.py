"""`vex inspect`: what is in a place, in one pass, with exact counts and bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records
from vexarrow.distinct import Distinct, Duplicates
from vexarrow.metadata_keys import MetadataKeys, MetadataReport
from vexarrow.norms import NormReport, Norms
from vexarrow.tally import Frequencies, Tally
from vexarrow.timestamps import texts

if TYPE_CHECKING:
    from vexarrow.protocols import Description, Page, Reject, Source

ROWS = 4096
TOP = 100
EXAMPLES = 5
TALLIED = ("namespace", "model", "source_store", "modality", "vex_version")


class Digest(Protocol):
    """What a content digest has to offer."""

    def update(self, batch: pa.RecordBatch) -> None:
        """Take the records of a batch."""
        ...

    def hexdigest(self) -> str:
        """The digest of all records so far."""
        ...


@dataclass(frozen=True, slots=True)
class Texts:
    """Lengths of the texts in characters; null texts are not among them. None when there is no text."""

    count: int = 0
    null: int = 0
    empty: int = 0
    min: int | None = None
    mean: float | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Least and greatest value of a column (times in ISO 8601 UTC), None when it has none, and how many are null."""

    min: str | float | None = None
    max: str | float | None = None
    null: int = 0


@dataclass(frozen=True, slots=True)
class FurtherVectors:
    """A further vector column: how many records have a value in it, by dimension (None: it varies by record)."""

    name: str
    dims: dict[int | None, int]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a place holds. Every count is exact; only lists are cut, and then what is not listed is counted.

    records: records that could be read. rejected: the others, by reason; `rejects` are the first few of them. skipped:
    records that the selection did not want. dims: vectors by dimension. bytes_per_record is of all that the place
    holds. declared: what the place says of itself: dimension, metric, index settings and further details.
    """

    name: str
    records: int
    rejected: dict[str, int]
    rejects: tuple[Reject, ...]
    skipped: int
    size: int | None
    bytes_per_record: float | None
    content_digest: str | None
    id_types: dict[str, int]
    duplicates: Duplicates
    dims: dict[int, int]
    null_vectors: int
    norms: NormReport
    further_vectors: tuple[FurtherVectors, ...]
    texts: Texts
    namespaces: Frequencies
    models: Frequencies
    source_stores: Frequencies
    modalities: Frequencies
    versions: Frequencies
    created_at: Span
    score: Span
    metadata: MetadataReport
    declared: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The same as an object that any JSON writer takes; dimensions become text where they are keys."""
        plain = {name: _plain(getattr(self, name)) for name in self.__slots__}
        plain["duplicates"]["duplicates"] = self.duplicates.duplicates
        for reject in plain["rejects"]:
            del reject["record"], reject["row"]
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Frequencies):
        return value.to_json()
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def inspect(
    source: Source,
    description: Description | None = None,
    *,
    digest: Digest | None = None,
    name: str = "",
    rows: int = ROWS,
    top: int = TOP,
) -> Inspection:
    """Read every record of an opened source once and say what is there.

    description: what the source says of itself; asked for when not given. digest: is given every batch, and its result
    becomes `content_digest`. name: how the report calls the place. rows: records a page. top: how many values of a
    column are listed. Besides the pages, some 100 MB of memory are used at most.
    """
    description = description or source.describe()
    with closing(_Inspector(digest)) as inspector:
        for part in source.partitions(1):
            for page in source.extract(part, rows=rows):
                inspector.add(page)
        return inspector.result(name, description, top)


class _Inspector:
    def __init__(self, digest: Digest | None) -> None:
        self._digest = digest
        self._records = self._skipped = self._null_vectors = 0
        self._rejected: Counter[str] = Counter()
        self._rejects: list[Reject] = []
        self._id_types: Counter[str] = Counter()
        self._dims: Counter[int] = Counter()
        self._further: dict[str, Counter[int | None]] = {}
        self._ids = Distinct()
        self._norms = Norms()
        self._keys = MetadataKeys()
        self._tallies = {name: Tally() for name in TALLIED}
        self._texts = _Texts()
        self._times, self._scores = _Extremes(), _Extremes()

    def add(self, page: Page) -> None:
        self._skipped += page.skipped
        self._rejected.update(reject.code for reject in page.rejects)
        self._rejects += page.rejects[: EXAMPLES - len(self._rejects)]
        if page.batch.num_rows:
            self._add_batch(page.batch)
            self._ids.add(page.batch.column("id"), lines=page.lines, file=page.file)

    def _add_batch(self, batch: pa.RecordBatch) -> None:
        self._records += batch.num_rows
        self._id_types[records.id_type(batch.schema)] += batch.num_rows
        self._add_vectors(batch)
        for name, tally in self._tallies.items():
            tally.add(batch.column(name))
        self._keys.add(batch.column("metadata"))
        self._texts.add(batch.column("text"))
        self._times.add(batch.column("created_at").cast(pa.int64()))
        self._scores.add(batch.column("score"))
        if self._digest is not None:
            self._digest.update(batch)

    def _add_vectors(self, batch: pa.RecordBatch) -> None:
        column = batch.column("vector")
        self._null_vectors += column.null_count
        if column.null_count < len(column):
            self._dims[records.dim(batch)] += len(column) - column.null_count
            self._norms.add(records.matrix(column), records.present(column))
        for name in batch.schema.names:
            if name.startswith(records.EXTRA_VECTORS):
                further = batch.column(name)
                dim = further.type.list_size if pa.types.is_fixed_size_list(further.type) else None
                self._further.setdefault(name, Counter())[dim] += len(further) - further.null_count

    def result(self, name: str, description: Description, top: int) -> Inspection:
        # A source that filters on its own need not count what it passes over.
        stored = description.rows or self._records + self._rejected.total() + self._skipped
        size = description.size
        counted = {name: tally.result(top) for name, tally in self._tallies.items()}
        return Inspection(
            name=name,
            records=self._records,
            rejected=dict(self._rejected.most_common()),
            rejects=tuple(self._rejects),
            skipped=self._skipped,
            size=size,
            bytes_per_record=size / stored if size is not None and stored else None,
            content_digest=self._digest.hexdigest() if self._digest is not None else None,
            id_types=dict(self._id_types.most_common()),
            duplicates=self._ids.result(EXAMPLES, once=True),
            dims=dict(sorted(self._dims.items())),
            null_vectors=self._null_vectors,
            norms=self._norms.result(),
            further_vectors=tuple(FurtherVectors(name, dict(dims)) for name, dims in self._further.items()),
            texts=self._texts.result(),
            namespaces=counted["namespace"],
            models=counted["model"],
            source_stores=counted["source_store"],
            modalities=counted["modality"],
            versions=counted["vex_version"],
            created_at=self._times.result(as_time=True),
            score=self._scores.result(),
            metadata=self._keys.result(),
            declared=_declared(description),
        )

    def close(self) -> None:
        self._ids.close()
        self._keys.close()
        for tally in self._tallies.values():
            tally.close()


def _declared(description: Description) -> dict[str, Any]:
    said = {
        "dim": description.dim,
        "metric": description.metric,
        "rows": description.rows,
        "namespaces": list(description.namespaces),
        "settings": description.settings,
        "details": description.details,
    }
    return {name: value for name, value in said.items() if value not in (None, [], {})}


class _Extremes:
    """Least and greatest of a numeric column."""

    def __init__(self) -> None:
        self._found: list[Any] = []
        self._null = 0

    def add(self, column: pa.Array) -> None:
        self._null += column.null_count
        both = pc.min_max(column)
        found = [*self._found, *(both[end].as_py() for end in ("min", "max") if both[end].is_valid)]
        self._found = [min(found), max(found)] if found else []

    def result(self, *, as_time: bool = False) -> Span:
        if not self._found:
            return Span(null=self._null)
        low, high = texts(pa.array(self._found, pa.int64()).cast(records.TIMESTAMP)) if as_time else self._found
        return Span(low, high, self._null)


class _Texts:
    """Lengths of texts in characters."""

    def __init__(self) -> None:
        self._null = self._empty = self._total = self._count = 0
        self._extremes = _Extremes()

    def add(self, column: pa.Array) -> None:
        lengths = pc.utf8_length(column)
        self._null += column.null_count
        self._count += len(column) - column.null_count
        self._empty += pc.sum(pc.equal(lengths, 0)).as_py() or 0
        self._total += pc.sum(lengths).as_py() or 0
        self._extremes.add(lengths)

    def result(self) -> Texts:
        span = self._extremes.result()
        low, high = (None if end is None else int(end) for end in (span.min, span.max))
        mean = self._total / self._count if self._count else None
        return Texts(self._count, self._null, self._empty, low, mean, high)
