"""Reading an index: ids are listed in their order, and the records of these ids fetched, several requests at a time.

A partition is a namespace, or of a large one a range of ids; its key is the query string `ns=...&from=...&to=...`. A
cursor is the JSON list [last id, prefix, token] of `_pinecone_ids`.

`fetch_by_metadata` answers with values and up to 10,000 records at once, but only 5 times a second a namespace, in no
documented order, and reaches only records with a known key. So it is asked where one answer is everything: for a small
namespace whose records are all ours, as the number of records tells. All else is listed and fetched, which has higher
limits and can go on after any id. Ids that are listed and not answered are asked for again, and are then rejects.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar
from urllib.parse import parse_qs, urlencode

import orjson
import pyarrow as pa

from vexarrow.errors import Refused, Unsupported, UsageError
from vexarrow.fields import Found
from vexarrow.patience import Requests
from vexarrow.protocols import Description, Page, Partition, Reject
from vexarrow.selection import Selection

from ._pinecone_api import MOST_FETCHED, MOST_MATCHED, Data, TooLong
from ._pinecone_ids import Listed, Lister
from ._pinecone_index import Opened
from ._pinecone_names import DEFAULT, to_namespace
from ._pinecone_packed import PackedReader
from ._pinecone_shape import STORE, form_of
from ._pinecone_wire import SPARSE_TYPE, Answer, Reader, sparse_name

ANSWER_BYTES = 4_000_000
_OTHER_BYTES = 1_000
SPLIT_ROWS = 10_000
_PROBED = 20
_PAUSE = 0.25  # what was just written may be listed before it can be fetched
_SHOWN = 50
T = TypeVar("T")
Position = tuple[str, str, str | None]


@dataclass(frozen=True)
class Span:
    """What a partition is: the ids from `start`, included, to `end`, excluded, of one namespace."""

    namespace: str
    start: str = ""
    end: str | None = None

    @property
    def key(self) -> str:
        """As the key of a partition."""
        known = {"ns": self.namespace, "from": self.start, "to": self.end}
        return urlencode({name: value for name, value in known.items() if value or name == "ns"})

    @classmethod
    def of(cls, part: Partition, place: str) -> Span:
        """What a key says. Raises UsageError."""
        said = parse_qs(part.key, keep_blank_values=True, errors="strict")
        if "ns" not in said:
            raise UsageError(f"{place}: {part.key!r} is no partition of a Pinecone index")
        return cls(said["ns"][0], said.get("from", [""])[0], said.get("to", [None])[0])


class PineconeSource:
    """The records of one index. Thread-safe."""

    def __init__(self, opened: Opened, requests: Requests, wanted: Selection, found: Found) -> None:
        if opened.index.pods:
            raise Unsupported(
                f"{opened.place}: indexes on pods do not list their records; Pinecone makes serverless ones of them"
            )
        self._opened = opened
        self._place = opened.place
        self._index = opened.index
        self._data: Data = opened.data
        self._requests = requests
        self._wanted = wanted
        self._form = form_of(opened.index)
        reader = PackedReader if opened.data.packed else Reader
        self._reader: Reader = reader(opened.index, self._form, found, opened.place)
        self._counts = self._chosen(opened.counts())
        size = _OTHER_BYTES + opened.data.number_bytes * (opened.index.dim or 0)
        self._at_once = max(1, min(MOST_FETCHED, ANSWER_BYTES // size))
        self._sparse: list[str] = []
        self._sparse = self._sparse_names()

    def _chosen(self, counts: dict[str, int]) -> dict[str, int]:
        """The namespaces to be read. The default one may hold records of other tools that name theirs in a key."""
        if self._opened.namespace is not None:
            return {self._opened.namespace: counts.get(self._opened.namespace, 0)}
        if self._wanted.namespaces is None:
            return counts
        asked = {to_namespace(name) for name in self._wanted.namespaces} | {""}
        return {name: count for name, count in counts.items() if name in asked}

    def _sparse_names(self) -> list[str]:
        """The columns of sparse vectors that every page has: those of the first records of namespaces. An index that
        has a field for them has its column always; one of the metric dotproduct may hold them, and mostly does not."""
        if self._index.sparse is None:
            return []
        spaces = [space for space, count in self._counts.items() if count][:_PROBED]
        found = dict.fromkeys(name for space in spaces for name in self._first_sparse(space))
        declared = self._index.documents or self._index.dense is None
        return list(found) or ([f"sparse:{sparse_name(self._index)}"] if declared else [])

    def _first_sparse(self, space: str) -> list[str]:
        with closing(self.extract(Partition(Span(space).key), rows=100)) as pages:
            first = next(pages, None)
        return [name for name in first.batch.schema.names if name.startswith("sparse:")] if first else []

    # -- what is known ----------------------------------------------------------------------------------------------

    def describe(self) -> Description:
        """Counts are those of the service, which may lag behind what was just written."""
        index = self._index
        largest = sorted(self._counts.items(), key=lambda one: (-one[1], one[0]))[:_SHOWN]
        return Description(
            dim=index.dim,
            metric=index.metric,
            rows=sum(self._counts.values()),
            namespaces=() if "" in self._counts else tuple(self._counts),
            source_store=STORE,
            vectors=dict.fromkeys(self._sparse),
            details={
                "index": index.name,
                "api": "documents" if index.documents else "vectors",
                "transport": "grpc" if self._data.packed else "rest",
                "fields": dict(index.fields),
                "namespaces": [{"name": name, "rows": rows} for name, rows in largest],
            },
            settings={"pinecone": index.settings},
        )

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """Namespaces; large ones in ranges of ids as long as there are fewer than wanted."""
        every = list(self._counts) or [self._opened.namespace or ""]
        each = -(-wanted // len(every))
        spans = [span for space in every for span in self._split(space, each)]
        return [Partition(span.key) for span in spans]

    def _split(self, space: str, wanted: int) -> list[Span]:
        if wanted < 2 or self._counts.get(space, 0) < SPLIT_ROWS:
            return [Span(space)]
        points = ["", *Lister(self._data, self._requests, space).splits(wanted), None]
        return [Span(space, start or "", end) for start, end in pairwise(points)]

    # -- reading ----------------------------------------------------------------------------------------------------

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Generator[Page]:
        """Pages in the order of the ids."""
        span = Span.of(part, self._place)
        position = _position(after)
        whole = self._whole(span)
        if whole is not None:
            last = position[0] if position else ""
            ids = sorted(one for one in whole.found if one > last)
            for at in range(0, len(ids), rows):
                some = ids[at : at + rows]
                yield self._page(self._reader.batch(some, [whole], span.namespace), (some[-1], "", None))
            return
        lister = Lister(self._data, self._requests, span.namespace)
        listed = lister.resumed(*position, span.end) if position else lister.pages(span.start, span.end)
        with _ahead(_pages(listed, rows)) as pages:
            for ids, end in pages:
                yield self._read(span.namespace, ids, end)

    def _read(self, space: str, ids: Sequence[str], end: Position) -> Page:
        """The page of these ids. Those that no answer holds, even when asked for again, are rejects."""
        answers = self._fetched(space, ids)
        missing = _missing(ids, answers)
        if missing:
            time.sleep(_PAUSE)
            answers += self._fetched(space, missing)
            missing = _missing(missing, answers)
        said = f"{self._place}: listed in the namespace {space or DEFAULT}, but not there when it was fetched"
        rejects = [Reject("missing", said, id=one) for one in missing]
        return self._page(self._reader.batch(ids, answers, space), end)._replace(rejects=rejects)

    def _whole(self, span: Span) -> Answer | None:
        """All records of a small namespace when all of them are ours; else None."""
        count = self._counts.get(span.namespace, 0)
        if span != Span(span.namespace) or not 0 < count <= min(self._at_once, MOST_MATCHED):
            return None
        asked = lambda: self._data.matched(span.namespace, self._form.own, MOST_MATCHED)  # noqa: E731
        try:
            answer = self._reader.answer(self._requests.call(asked))
        except Refused:
            return None  # the service does not take the filter, or the answer is too large for it
        return answer if answer.more is None and len(answer.found) == count else None

    def _fetched(self, space: str, ids: Sequence[str]) -> list[Answer]:
        """The answers that together hold the records of these ids."""
        parts: list[Sequence[str]] = []
        at = 0
        while at < len(ids):
            step = self._data.ids_at_once(ids[at : at + self._at_once], self._at_once)
            parts.append(ids[at : at + step])
            at += step
        return [one for answers in self._requests.map(lambda some: self._some(space, some), parts) for one in answers]

    def _some(self, space: str, ids: Sequence[str]) -> list[Answer]:
        try:
            return [self._reader.answer(self._data.fetched(space, ids))]
        except (TooLong, Refused):
            if len(ids) == 1:
                raise
            half = len(ids) // 2
            return [*self._some(space, ids[:half]), *self._some(space, ids[half:])]

    def _page(self, batch: pa.RecordBatch, end: Position) -> Page:
        """A page with the columns that all have, and without the namespaces that are not wanted."""
        for name in self._sparse:
            if name not in batch.schema.names:
                batch = batch.append_column(name, pa.nulls(batch.num_rows, SPARSE_TYPE))
        page = Page(batch, orjson.dumps(end).decode())
        if self._wanted.namespaces is None:
            return page
        mask = self._wanted.namespace_mask(batch.column("namespace"))
        kept = batch.filter(pa.array(mask))
        return page._replace(batch=kept, skipped=batch.num_rows - kept.num_rows)


def _missing(ids: Sequence[str], answers: Sequence[Answer]) -> list[str]:
    """The ids that no answer holds."""
    known = set().union(*(answer.found for answer in answers))
    return [one for one in ids if one not in known]


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    try:
        last, prefix, token = orjson.loads(cursor)
    except ValueError:
        raise UsageError(f"{cursor!r} is no cursor of a Pinecone index") from None
    return last, prefix, token


@contextmanager
def _ahead(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """The items, the next of which is always on its way in a thread of its own."""
    with ThreadPoolExecutor(1, "vex-pinecone-ids") as pool:
        yield _one_ahead(items, pool)


def _one_ahead(items: Iterator[T], pool: ThreadPoolExecutor) -> Iterator[T]:
    coming = pool.submit(next, items, None)
    while (item := coming.result()) is not None:
        coming = pool.submit(next, items, None)
        yield item


def _pages(listed: Iterator[Listed], rows: int) -> Iterator[tuple[list[str], Position]]:
    """Ids in pages of `rows`, each with the position right after it."""
    ids: list[str] = []
    for page in listed:
        taken = 0
        while taken < len(page.ids):
            some = page.ids[taken : taken + rows - len(ids)]
            taken += len(some)
            ids += some
            if len(ids) == rows:
                yield ids, (ids[-1], page.prefix, page.token)
                ids = []
        end = page.ids[-1], page.prefix, page.token
    if ids:
        yield ids, end
