"""A source seen through transforms."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa

from vexarrow import rejects as rejected
from vexarrow.errors import VexError
from vexarrow.protocols import Changed, Description, Page, Partition, Source

Step = Callable[[pa.RecordBatch], pa.RecordBatch | Changed]


class Transformed:
    """A source whose pages went through `steps`, in their order, on their way out.

    Pages keep their order and their cursors. They are changed where they are read, while earlier ones are written: by
    one thread at a time, or, with `ahead`, so many pages of a partition at once.
    """

    def __init__(self, source: Source, steps: Sequence[Step], ahead: int = 1) -> None:
        self._source = source
        self._steps = steps
        self._ahead = ahead
        self._lock = threading.Lock()

    def describe(self) -> Description:
        """What the source says, before the transforms."""
        return self._source.describe()

    def partitions(self, wanted: int) -> Sequence[Partition]:
        """Those of the source."""
        return self._source.partitions(wanted)

    def extract(self, part: Partition, *, rows: int, after: str | None = None) -> Iterator[Page]:
        """The pages of the source, changed."""
        pages = self._source.extract(part, rows=rows, after=after)
        if self._ahead > 1:
            yield from self._several(pages)
            return
        for page in pages:
            with self._lock:
                done = changed(page, self._steps)
            yield done

    def _several(self, pages: Iterator[Page]) -> Iterator[Page]:
        waiting: deque[Future[Page]] = deque()
        errors: list[Exception] = []
        pool = ThreadPoolExecutor(self._ahead, "vex-transform")
        try:
            for page in _until_error(pages, errors):
                waiting.append(pool.submit(changed, page, self._steps))
                if len(waiting) >= self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
            if errors:
                raise errors[0]
        finally:
            pool.shutdown(cancel_futures=True)


def _until_error(pages: Iterator[Page], errors: list[Exception]) -> Iterator[Page]:
    """The pages up to an error, which is put aside until those before it are through."""
    try:
        yield from pages
    except Exception as error:  # noqa: BLE001 - raised again after the pages that came before it
        errors.append(error)


def changed(page: Page, steps: Sequence[Step]) -> Page:
    """A page after all steps; records that a step rejects are among its rejects. Raises VexError for a step that loses
    records."""
    for step in steps:
        done = step(page.batch)
        if not isinstance(done, Changed):
            done = Changed(done)
        if done.batch.num_rows + len(done.rejects) != page.batch.num_rows:
            raise VexError(f"{type(step).__name__} made {done.batch.num_rows} records of {page.batch.num_rows}")
        page = _after(page, done)
    return page


def _after(page: Page, done: Changed) -> Page:
    if not done.rejects:
        return page._replace(batch=done.batch)
    rejects = rejected.completed(done.rejects, page.batch, page.lines, page.file)
    gone = {reject.row for reject in done.rejects}
    lines = None if page.lines is None else [line for row, line in enumerate(page.lines) if row not in gone]
    return page._replace(batch=done.batch, rejects=[*page.rejects, *rejects], lines=lines)
