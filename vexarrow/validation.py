"""`vex validate`: every rule of the `.vmig.jsonl` format, and what the format's own tool does not look at.

Errors of a record: what its reader refuses (the reject's code is the rule), and

    missing-id               the id is empty
    duplicate-id             the id occurred before
    missing-version          vex_version is null or empty
    empty-record             neither text nor vector
    vector-not-finite        a component is NaN or infinite
    metadata-type            metadata is not an object
    metadata-not-json        metadata is not JSON at all
    metadata-nested          a value of the metadata is an object or array; the format wants scalars
    metadata-duplicate-key   readers disagree on which of the values counts
    lone-surrogate           metadata text that cannot be written as UTF-8

An error of the whole: `mixed-dims`. Vectors of different lengths cannot be compared, and most stores refuse all but one
length. It is found once for every further dimension, at its first record.

Warnings: no-vector (text alone), zero-vector (cosine is undefined), unknown-version, mixed-models (found once, at the
first record of another model than before), mixed-id-types, metadata-big-integer (beyond 2^53, which JavaScript rounds).
A created_at, model, namespace or score that is null breaks no rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vexarrow import records
from vexarrow.distinct import Distinct, Duplicate
from vexarrow.findings import ERROR, Finding, Found, RuleCount, Validation, severity
from vexarrow.metadata_check import MetadataCheck

__all__ = ["Finding", "RuleCount", "Validation", "validate"]

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vexarrow.protocols import Page, Source

ROWS = 4096
LIMIT = 1000
MODELS = 1000
KNOWN_VERSIONS = (records.VMIG_VERSION,)


def validate(
    source: Source,
    *,
    max_findings: int = LIMIT,
    extra_findings: Iterable[Finding] = (),
    ignore: Collection[str] = (),
    name: str = "",
    rows: int = ROWS,
) -> Validation:
    """Read every record of an opened source once and check it.

    max_findings: how many are kept; all are counted, and no rule crowds out the others. extra_findings: what the caller
    found on its own, such as a checksum that does not fit. ignore: rules not to check. name: the place, for findings
    where the source does not say which file they are in. rows: records a page. Besides the pages, some 50 MB of memory
    are used at most.
    """
    with closing(_Validator(name, ignore, max_findings)) as validator:
        for finding in extra_findings:
            validator.found.add(finding)
        for part in source.partitions(1):
            for page in source.extract(part, rows=rows):
                validator.add(page)
        return validator.result()


Check = tuple[str, "NDArray[np.bool_]", Callable[[int], str]]


class _Validator:
    def __init__(self, name: str, ignore: Collection[str], limit: int) -> None:
        self.found = Found(ignore, limit)
        self._name = name or None
        self._limit = limit
        self._records = self._rejected = self._invalid = 0
        self._ids = Distinct()
        self._metadata = MetadataCheck()
        self._dims: Counter[int] = Counter()
        self._dim_places: dict[int, Finding] = {}
        self._models: set[str] = set()
        self._model_place: Finding | None = None

    def add(self, page: Page) -> None:
        self._rejected += len(page.rejects)
        for reject in page.rejects:
            file = reject.file or page.file or self._name
            self.found.add(Finding(reject.code, ERROR, reject.message, reject.line, reject.id, file))
        if page.batch.num_rows:
            self._add_batch(page, page.batch)

    def _add_batch(self, page: Page, batch: pa.RecordBatch) -> None:
        bad = np.zeros(batch.num_rows, dtype=bool)
        for rule, mask, message in _checks(batch):
            self._report(page, rule, mask, message, bad)
        self._check_metadata(page, bad)
        self._note_dims(page)
        self._note_models(page)
        self._records += batch.num_rows
        self._invalid += int(bad.sum())
        if self.found.wanted("duplicate-id"):
            self._ids.add(batch.column("id"), lines=page.lines, file=page.file, flags=bad)

    def _report(
        self, page: Page, rule: str, mask: NDArray[np.bool_], message: Callable[[int], str], bad: NDArray[np.bool_]
    ) -> None:
        if not self.found.wanted(rule) or not mask.any():
            return
        rows = np.flatnonzero(mask)
        kept = rows[: max(self.found.room(rule), 0)].tolist()
        for row in kept:
            self.found.add(self._finding(page, row, rule, message(row)))
        self.found.count(rule, len(rows) - len(kept))
        if severity(rule) == ERROR:
            bad |= mask

    def _finding(self, page: Page, row: int, rule: str, message: str) -> Finding:
        line = None if page.lines is None else int(page.lines[row])
        key = page.batch.column("id")[row].as_py()
        return Finding(rule, severity(rule), message, line, key, page.file or self._name)

    def _check_metadata(self, page: Page, bad: NDArray[np.bool_]) -> None:
        for row, rule, message in self._metadata.faults(page.batch.column("metadata")):
            if not self.found.wanted(rule):
                continue
            bad[row] |= severity(rule) == ERROR
            if self.found.room(rule) > 0:
                self.found.add(self._finding(page, row, rule, message))
            else:
                self.found.count(rule, 1)

    def _note_dims(self, page: Page) -> None:
        column = page.batch.column("vector")
        if column.null_count == len(column):
            return
        dim = records.dim(page.batch)
        if self._dims and dim not in self._dims:
            first = int(records.present(column).argmax())
            self._dim_places[dim] = self._finding(page, first, "mixed-dims", "")
        self._dims[dim] += len(column) - column.null_count

    def _note_models(self, page: Page) -> None:
        column = page.batch.column("model")
        names = [name for name in pc.unique(column).to_pylist() if name is not None and name not in self._models]
        if not names or len(self._models) > MODELS:
            return
        known = bool(self._models)
        self._models.update(names)
        if self._model_place is None and len(self._models) > 1:
            other = names[0] if known else names[1]
            row = pc.index(column, other).as_py()
            self._model_place = self._finding(
                page, row, "mixed-models", f"model {other!r} is not that of earlier records"
            )

    def result(self) -> Validation:
        self._report_mixed()
        same = self._ids.result(self._limit)
        for one in same.examples:
            self.found.add(self._duplicate(one))
        self.found.count("duplicate-id", same.duplicates - len(same.examples))
        total = self._records + self._rejected
        valid = self._records - self._invalid - same.unflagged
        return Validation(self._name or "", total, valid, self.found.rules(), self.found.findings())

    def _report_mixed(self) -> None:
        usual = next(iter(self._dims), 0)
        for dim, place in self._dim_places.items():
            message = (
                f"{self._dims[dim]:,} vectors have {dim} dimensions, the first ones {usual}; this is the first of them"
            )
            self.found.add(replace(place, message=message))
        if self._model_place is not None:
            count = f"{len(self._models)}" if len(self._models) <= MODELS else f"more than {MODELS}"
            message = f"{self._model_place.message}; there are {count} models"
            self.found.add(replace(self._model_place, message=message))

    def _duplicate(self, one: Duplicate) -> Finding:
        first, later = one.first, one.later
        where = f"record {first.row + 1}" if first.line is None else f"line {first.line}"
        if first.file != later.file:
            where += f" of {first.file}"
        message = f"id {one.id!r} occurred before, in {where}"
        return Finding("duplicate-id", ERROR, message, later.line, one.id, later.file or self._name)

    def close(self) -> None:
        self._ids.close()


def _checks(batch: pa.RecordBatch) -> Iterator[Check]:
    """The rules that need one record alone, each with the rows that break it."""
    yield "missing-id", _bools(pc.equal(batch.column("id"), "")), lambda _: "id is empty"
    versions = batch.column("vex_version")
    missing = _bools(pc.equal(versions, "").fill_null(True))
    yield "missing-version", missing, lambda _: "vex_version is missing"
    unknown = ~_bools(pc.is_in(versions, value_set=pa.array(KNOWN_VERSIONS))) & ~missing
    yield "unknown-version", unknown, lambda row: f"vex_version {versions[row].as_py()!r} is not known"
    extra = records.storage(batch.column("extra"))
    if extra.null_count < len(extra):
        # records.with_id_type writes it first.
        other = _bools(pc.starts_with(extra, '{"id":').fill_null(False))
        yield "mixed-id-types", other, lambda _: "the id is of another type than most: text and integers are mixed"
    yield from _vector_checks(batch)


def _vector_checks(batch: pa.RecordBatch) -> Iterator[Check]:
    text, vector = records.present(batch.column("text")), records.present(batch.column("vector"))
    yield "empty-record", ~text & ~vector, lambda _: "text and vector are both missing"
    yield "no-vector", text & ~vector, lambda _: "there is text but no vector"
    if not vector.any():
        return
    matrix = records.matrix(batch.column("vector"))
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        squares = np.vecdot(matrix, matrix)
    # A sum of squares may overflow or underflow: only where it did, the components decide.
    broken, zero = ~np.isfinite(squares) & vector, (squares == 0) & vector
    broken[broken] = ~np.isfinite(matrix[broken]).all(axis=1)
    zero[zero] = ~matrix[zero].any(axis=1)
    yield "vector-not-finite", broken, lambda row: f"vector{_at(matrix[row])} is not a finite number"
    yield "zero-vector", zero, lambda _: "all components of the vector are 0"


def _at(vector: NDArray[np.float32]) -> str:
    return f"[{int(np.isfinite(vector).argmin())}]"


def _bools(array: pa.Array) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = np.asarray(array.to_numpy(zero_copy_only=False), dtype=bool)
    return mask
