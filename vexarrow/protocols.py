"""The shapes that connectors, formats and the engine share.

A connector or a format is a *value* exported by one module and found through an entry point; it is no subclass, it is
not registered by a decorator, and importing its module imports no client library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import pyarrow as pa

    from vexarrow.location import Location
    from vexarrow.selection import Selection


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that could not be read or written, with all that is needed to mend it.

    `record` is the record verbatim: the bytes of its line where it was text, else the record as one `.vmig.jsonl`
    line. None lets the engine fill it in from the batch, found by `row`, the position in the batch given to `load`.
    """

    code: str
    message: str
    line: int | None = None
    id: str | None = None
    record: bytes | None = None
    row: int | None = None
    file: str | None = None


class Page(NamedTuple):
    """Some records of a partition.

    `cursor` is opaque and resumes right after this page; only the source that made it reads it. `rejects` are records
    met on the way that could not be read; `skipped` counts records that the source itself dropped because the
    selection did not want them. Records read by this page = batch.num_rows + len(rejects) + skipped. `lines` are the
    line numbers of the batch's rows, counted from 1, where the place has lines, and `file` is the file they are in.
    """

    batch: pa.RecordBatch
    cursor: str
    rejects: Sequence[Reject] = ()
    skipped: int = 0
    lines: Sequence[int] | None = None
    file: str | None = None


class Partition(NamedTuple):
    """A part of a source that can be read on its own. `key` is stable from run to run; `rows` None means unknown."""

    key: str
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a place without reading its records; None or empty means unknown.

    dim: length of the vectors. metric: one of vexarrow.metrics.METRICS. rows: number of records. id_type: "string",
    "int" or "uuid" (records.ID_TYPES), what ids were before they travelled as text. vectors: further vector columns by
    name, with their dimension. size: bytes on disk. details: anything else worth showing to a user, JSON-like.
    settings: index parameters by the name of the store that they are for, JSON-like; a sink takes those of its own name
    and leaves others alone.
    """

    dim: int | None = None
    metric: str | None = None
    rows: int | None = None
    namespaces: Sequence[str | None] = ()
    id_type: str = "string"
    model: str | None = None
    source_store: str | None = None
    vectors: Mapping[str, int | None] = field(default_factory=dict)
    size: int | None = None
    details: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@runtime_checkable
class Source(Protocol):
    """A place that records are read from."""

    def describe(self) -> Description:
        """Say what is known without reading the records."""
        ...

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """Split into at least one and about `wanted` partitions that together hold every record exactly once."""
        ...

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """Yield every record of the partition exactly once, at most `rows` a page, in an order that is the same
        when resumed. `after` is the cursor of a page from an earlier run with the same `rows`."""
        ...


@runtime_checkable
class Sink(Protocol):
    """A place that records are written to."""

    def prepare(self, plan: Description) -> Description:
        """Create or check the target before any record is sent, and return what the target is. Raises SchemaError."""
        ...

    def load(self, batch: pa.RecordBatch) -> Sequence[Reject]:
        """Write a batch; return the records refused (with `row` set). Durable and idempotent as declared.

        The engine sends only sound records (see `vexarrow.sound`): vectors and scores are finite, metadata and extra
        are JSON objects. Raises Unsupported for further vector columns that the place cannot hold.
        """
        ...

    def finish(self) -> None:
        """Build indexes, restore settings, publish files. Called once, only when every record was loaded."""
        ...


@runtime_checkable
class Target(Protocol):
    """A sink that can say what is there before it changes anything.

    The engine asks before `prepare` and sees to `--metric`, `--no-create` and `--allow-metric-change`; opening the sink
    and asking change nothing in the store, so that `--dry-run` is safe.
    """

    def existing(self) -> Description | None:
        """What the target is; None when there is none yet, and `prepare` would create it."""
        ...


@runtime_checkable
class Beginning(Protocol):
    """A sink that makes a batch ready while the one before is still on its way."""

    def begin(self, batch: pa.RecordBatch) -> Callable[[], Sequence[Reject]]:
        """Do what `load` does, but return before the batch is written: with what waits for that and then returns or
        raises as `load` does. The engine begins the next batch before it has waited for this one, and never more.
        Batches are written in the order in which they were begun, one after another; after one that failed no further
        one is."""
        ...


@runtime_checkable
class Manifest(Protocol):
    """A sink that can say what it has published. With an attribute `digests` that is true, it also makes the content
    digest of the records that it did not refuse, which the engine would make otherwise."""

    def manifest(self) -> Mapping[str, object]:
        """Facts for the sidecar and the report, after `finish`: `records` (checked against the engine's count),
        `checksum`, `file_sha256`, `content_digest`, `file`; each may be missing."""
        ...


class Changed(NamedTuple):
    """What a transform made of a batch: the changed records in their order, and a reject (with `row`, the position in
    the batch that was given) for every other one."""

    batch: pa.RecordBatch
    rejects: Sequence[Reject] = ()


class Transform(Protocol):
    """A change made to every batch on its way, such as a projection of the vectors.

    One thread at a time uses it, unless it has an attribute `ahead`: so many pages of a partition at once, by several
    threads. With an attribute `dim`, all vectors it returns are of that length, and a target that holds others is
    refused before anything is written. `warnings` (sentences) and `facts` (JSON-like, by one key of its own, for the
    report), if there, are asked for after the run.
    """

    def bind(self, plan: Description) -> Description:
        """Check the plan and return what it becomes. Runs before the target is created, so it may refuse safely."""
        ...

    def __call__(self, batch: pa.RecordBatch, /) -> pa.RecordBatch | Changed:
        """Return the changed batch, the same number of rows in the same order; or what was changed and what had to be
        rejected. All vectors returned have one length, which may be another than before."""
        ...


@runtime_checkable
class Looking(Protocol):
    """A transform that has to see some records before it is bound. It is shown some where the source can be read twice,
    and none where it cannot (standard input, data in memory)."""

    def look(self, batch: pa.RecordBatch) -> None:
        """See the first records of a partition, none of which is changed or counted yet."""
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """A transform that tells, for `--dry-run`, what it would do."""

    def foresee(self, batch: pa.RecordBatch) -> None:
        """Count what the transform would do to a batch of the source."""
        ...

    @property
    def foreseen(self) -> Mapping[str, object]:
        """What was counted, JSON-like, by one key of its own."""
        ...

    @property
    def sentences(self) -> Sequence[str]:
        """The same for a terminal, a line each."""
        ...


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a connector or format, e.g. `--db`.

    `names`: the option's name and its aliases, without dashes, the first is canonical. `env`: environment variables
    that stand in, in this order. `flag`: takes no value, or true or false. `secret`: never shown. `side`: "source",
    "sink" or "both". `shared`: means both sides where it names none. `says`: the word by which messages name the place
    with the value where no URI names it, e.g. "collection"; "at" of an address, shown only where a user has given it.
    """

    names: tuple[str, ...]
    help: str
    env: tuple[str, ...] = ()
    default: str | None = None
    flag: bool = False
    secret: bool = False
    side: str = "both"
    shared: bool = False
    says: str | None = None

    @property
    def name(self) -> str:
        """The canonical name."""
        return self.names[0]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a place can hold and do; the documentation's table and the contract suite are made from it.

    idempotent: loading a record twice equals loading it once (upsert by id). mixed_dims: records of several dimensions
    live side by side. null_vectors: a record may have no vector. pushdown: parts of the selection that the source
    applies itself ("namespace", "where"). resumable: extract accepts a cursor. max_rows: most rows in one load.
    parallel: partitions that are read at once where nothing else is said; then `partitions` and `extract` are used by
    several threads, and records come in any order. further: kinds of further vectors that it holds ("vector",
    "sparse", "multi"). by_namespace: records of different namespaces may have one id; a sink may say otherwise of
    itself in an attribute of that name. in_order: of records of one id in a batch each is written, one after another;
    else only the last one is sent.
    """

    source: bool = True
    sink: bool = True
    idempotent: bool = False
    mixed_dims: bool = True
    null_vectors: bool = True
    resumable: bool = True
    pushdown: frozenset[str] = frozenset()
    max_rows: int | None = None
    parallel: int = 1
    further: frozenset[str] = frozenset()
    by_namespace: bool = False
    in_order: bool = False


SourceOpener = Callable[["Location", "Selection"], AbstractContextManager[Source]]
SinkOpener = Callable[["Location"], AbstractContextManager[Sink]]
MemoryOpener = Callable[["pa.RecordBatchReader", "Location", "Selection"], AbstractContextManager[Source]]


@dataclass(frozen=True, slots=True)
class Connector:
    """A store. `source` and `sink` open a location as a context manager that closes every client in its `finally`;
    a sink's context left by an exception leaves nothing half-written under a final name.

    `suffixes`: file names that mean this store (".db"). `magic`: the first bytes of such a file. `encodings`: one
    sentence for every kind of value that the store does not hold as it is, saying how it is kept instead; users see
    them before the first write.
    """

    name: str
    summary: str
    source: SourceOpener | None
    sink: SinkOpener | None
    options: tuple[Option, ...] = ()
    capabilities: Capabilities = Capabilities()
    aliases: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    magic: bytes | None = None
    path_option: str | None = None
    encodings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Format:
    """A file layout; it reads and writes through `vexarrow.files`, so that every URL and compression works.

    `suffixes`: longest first. `compressions`: suffixes that may follow (".gz"). `streams`: works on stdin and stdout.
    `directory`: is what a directory is written as when nothing else is said. `sidecar`: a file of statistics is written
    beside each output. `open_memory`: opens Arrow data that is in memory as a source. `begin`: called by the command
    line before anything heavy is imported, with the side ("source" or "sink") and the bytes of the source, so that the
    format can start what takes time.
    """

    name: str
    summary: str
    suffixes: tuple[str, ...]
    open_reader: SourceOpener | None
    open_writer: SinkOpener | None
    options: tuple[Option, ...] = ()
    capabilities: Capabilities = Capabilities()
    aliases: tuple[str, ...] = ()
    compressions: tuple[str, ...] = ()
    streams: bool = False
    directory: bool = False
    sidecar: bool = False
    magic: bytes | None = None
    open_memory: MemoryOpener | None = None
    begin: Callable[[Location, str, int], None] | None = None
