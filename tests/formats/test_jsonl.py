"""`.vmig.jsonl`: every line stands for itself, whatever is around it, wherever reading starts, however it is packed."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vexarrow
from tests.commands import DEBIAN, lines, vex
from tests.test_bad_input import BAD, FIRST, LAST, ODD, record
from vexarrow import plugins, records
from vexarrow.errors import UsageError
from vexarrow.lines import lines as encoded
from vexarrow.location import Location
from vexarrow.protocols import Page, Reject
from vexarrow.selection import Selection

quick = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Read(NamedTuple):
    """What a file holds: records as lines, with their numbers, and rejects as number, code and text."""

    records: list[tuple[int, bytes]]
    rejects: list[tuple[int | None, str, bytes | None]]


def pages(path: Path, *, rows: int = 4096, after: str | None = None) -> list[Page]:
    """Read a file with the format's own reader."""
    format = plugins.format_named("jsonl")
    assert format is not None
    assert format.open_reader is not None
    with format.open_reader(Location("jsonl", str(path)), Selection()) as source:
        [part] = source.partitions(1)
        return list(source.extract(part, rows=rows, after=after))


def content(found: Sequence[Page]) -> Read:
    numbered: list[tuple[int, bytes]] = []
    rejects: list[Reject] = []
    for page in found:
        assert page.lines is not None or not page.batch.num_rows
        written, refused = encoded(page.batch)
        assert not refused
        numbered += zip(page.lines or (), written, strict=True)
        rejects += page.rejects
    return Read(sorted(numbered), sorted((one.line, one.code, one.record) for one in rejects))


def put(folder: Path, body: Sequence[bytes]) -> Path:
    path = folder / "in.vmig.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in body))
    return path


# -- a line stands for itself --------------------------------------------------------------------------------------

USUAL = [record(id=f'"{at}"', vector=f"[{at}.5,-1]", metadata=f'{{"at":{at}}}') for at in range(4)]
LINES = [
    *USUAL,
    *(one.line for one in BAD if len(one.line) < 1000),
    *(one.line for one in ODD),
    b"",
    b"# comment",
    b" ",
]
MIXED = record(id='"three"', vector="[1,2,3]", dims="3")


def alone(folder: Path, body: Sequence[bytes]) -> Read:
    """Every line read from a file of its own, put together again."""
    together = Read([], [])
    for number, line in enumerate(body, 1):
        one = content(pages(put(folder, [line])))
        together.records.extend((number, written) for _, written in one.records)
        together.rejects.extend((number, code, text) for _, code, text in one.rejects)
    return together


@quick
@given(body=st.lists(st.sampled_from([*LINES, MIXED]), max_size=6), rows=st.sampled_from([1, 2, 3, 4096]))
def test_a_line_means_the_same_whatever_is_around_it(body: list[bytes], rows: int, tmp_path: Path) -> None:
    """Usual lines are read in bulk, and one unusual line among them must not change how the others are read."""
    want = alone(tmp_path, body)
    assert content(pages(put(tmp_path, body), rows=rows)) == want


@pytest.mark.parametrize("line", [b"null", b" null ", b"true", b"5", b'""', b"[]", b"{}", b"[null]"])
@pytest.mark.parametrize("around", [[], USUAL[:1]])
def test_a_page_that_starts_with_a_bare_value_is_read(line: bytes, around: list[bytes], tmp_path: Path) -> None:
    """Arrow's JSON reader takes the process down with a segmentation fault at a first line `null`."""
    found = content(pages(put(tmp_path, [line, *around])))
    assert [number for number, _, _ in found.rejects] == [1]
    assert len(found.records) == len(around)


@quick
@given(data=st.data())
def test_a_damaged_line_means_the_same_whatever_is_around_it(data: st.DataObject, tmp_path: Path) -> None:
    line = bytearray(data.draw(st.sampled_from([*USUAL, *(one.line for one in ODD)])))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(line) - 1))
        line[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from(
                [b"", b'"', b",", b":", b"{", b"}", b"[", b"]", b" ", b"\\", b"0", b"-", b"\xff", b"\t", b'","id":"z"']
            )
        )
    body = [USUAL[0], bytes(line).replace(b"\n", b""), b"", USUAL[1]]
    want = alone(tmp_path, body)
    assert content(pages(put(tmp_path, body))) == want
    assert {number for number, _ in want.records} | {number for number, _, _ in want.rejects} >= {1, 4}


@quick
@given(data=st.data())
def test_what_a_damaged_line_is_read_as_is_what_a_json_parser_sees(data: st.DataObject, tmp_path: Path) -> None:
    """A record that comes out of a damaged line is one that Python's parser finds there as well."""
    line = bytearray(data.draw(st.sampled_from(USUAL)))
    at = data.draw(st.integers(0, len(line) - 1))
    line[at : at + 1] = data.draw(st.binary(max_size=2)).replace(b"\n", b"")
    found = content(pages(put(tmp_path, [bytes(line)])))
    for _, written in found.records:
        truth, got = json.loads(bytes(line)), json.loads(written)
        assert got["id"] == truth["id"]
        assert got["text"] == truth.get("text")
        assert got["metadata"] == truth.get("metadata")
        want = truth.get("vector")
        assert got["vector"] == (None if want is None else [float(np.float32(one)) for one in want]) or np.allclose(
            got["vector"], want, rtol=1e-6
        )


# -- round trips ---------------------------------------------------------------------------------------------------

finite = st.integers(0, 2**32 - 1).map(lambda bits: struct.unpack("<f", struct.pack("<I", bits))[0]).filter(np.isfinite)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
scalar = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | text
)
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
)
document = st.fixed_dictionaries(
    {"id": text.filter(bool) | st.integers(-(2**66), 2**66), "vector": st.lists(finite, min_size=3, max_size=3)},
    optional={
        "text": text,
        "model": text,
        "namespace": text,
        "metadata": st.dictionaries(text, value, max_size=4),
        "created_at": st.integers(0, 10**10),
        "score": st.floats(allow_nan=False, allow_infinity=False),
        "modality": st.sampled_from(["text", "image"]),
        "agent_id": value,
    },
)


@quick
@given(
    body=st.lists(document, min_size=1, max_size=5),
    spaced=st.booleans(),
    escaped=st.booleans(),
    backwards=st.booleans(),
)
def test_every_record_comes_back(
    body: list[dict[str, Any]], spaced: bool, escaped: bool, backwards: bool, tmp_path: Path
) -> None:
    """However the JSON is spelt, and in whatever order its keys are."""
    separators = (", ", ": ") if spaced else (",", ":")
    ordered = [dict(reversed(one.items())) if backwards else one for one in body]
    source = put(tmp_path, [json.dumps(one, ensure_ascii=escaped, separators=separators).encode() for one in ordered])
    found = content(pages(source))
    assert not found.rejects
    assert len(found.records) == len(body)
    for want, (_, line) in zip(body, found.records, strict=True):
        got = json.loads(line)
        assert bits(got.pop("vector")) == bits(want["vector"])
        assert got.pop("created_at", None) is not None or "created_at" not in want
        for key in want.keys() - {"vector", "created_at"}:
            assert same(got[key], want[key]), key
    again = content(pages(put(tmp_path, [line.rstrip(b"\n") for _, line in found.records])))
    assert again == found, "what we wrote reads as just the same"


def bits(vector: Sequence[float]) -> bytes:
    return np.array(vector, np.float32).tobytes()


def same(left: object, right: object) -> bool:
    """Equal, and of the same types all the way down: 1 is not 1.0 and not true."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


# -- where reading starts ------------------------------------------------------------------------------------------

BODY = [
    b"# head",
    *USUAL,
    MIXED,
    b"[]",
    FIRST,
    record(id="7"),
    MIXED,
    b"",
    record(id='"without"', vector="null", dims="null"),
    b"{",
    MIXED.replace(b"three", b"four"),
    LAST,
    b"broken",
]


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 100])
def test_reading_goes_on_after_every_page(rows: int, packed: str, tmp_path: Path) -> None:
    """Everything exactly once, also where a page holds two dimensions, comments and rejects."""
    path = put(tmp_path, BODY)
    if packed:
        plain, path = path, tmp_path / f"in.vmig.jsonl{packed}"
        with pa.output_stream(str(path), compression={".gz": "gzip", ".zst": "zstd"}[packed]) as stream:
            stream.write(plain.read_bytes())
    every = pages(path, rows=rows)
    whole = content(every)
    assert (len(whole.records), [line for line, _, _ in whole.rejects]) == (11, [7, 13, 16])
    assert all(page.batch.num_rows <= rows for page in every)
    for at, page in enumerate(every):
        rest = pages(path, rows=rows, after=page.cursor)
        assert content([*every[: at + 1], *rest]) == whole


@pytest.mark.parametrize("cursor", ["", "x", "1:2", "1:2:3:4:5:6", "a:b:c:d:e"])
def test_a_cursor_of_somebody_else_is_refused(cursor: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no cursor"):
        pages(put(tmp_path, BODY), after=cursor)


def test_ids_keep_their_kind_when_reading_goes_on(tmp_path: Path) -> None:
    path = put(tmp_path, [record(id=str(at)) for at in range(3)] + [record(id='"4"'), record(id="5")])
    every = pages(path, rows=2)
    assert {records.id_type(page.batch.schema) for page in every} == {"int"}
    for page in every[:-1]:
        rest = pages(path, rows=2, after=page.cursor)
        assert {records.id_type(one.batch.schema) for one in rest} == {"int"}
    assert [json.loads(line)["id"] for _, line in content(every).records] == [0, 1, 2, "4", 5]


# -- what is written -----------------------------------------------------------------------------------------------


def test_the_twelve_keys_are_there_in_their_order_and_lines_end_in_lf(tmp_path: Path) -> None:
    source = tmp_path / "in.vmig.jsonl"
    source.write_text('{"vector":[1,0.1],"id":"x","agent_id":"a"}\r\n')
    vexarrow.copy(str(source), str(tmp_path / "out.vmig.jsonl"))
    assert (tmp_path / "out.vmig.jsonl").read_bytes() == (
        b'{"id":"x","text":null,"vector":[1.0,0.1],"model":null,"dims":2,"namespace":null,"metadata":null,'
        b'"created_at":null,"source_store":null,"modality":"text","score":null,"vex_version":"1.0.0","agent_id":"a"}\n'
    )


def test_real_records_come_back_byte_for_byte(tmp_path: Path) -> None:
    vexarrow.copy(str(DEBIAN), str(tmp_path / "out.vmig.jsonl"))
    assert lines(tmp_path / "out.vmig.jsonl") == lines(DEBIAN)


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_packed_output_is_the_same_every_time(suffix: str, tmp_path: Path) -> None:
    for name in "ab":
        vexarrow.copy(str(DEBIAN), str(tmp_path / f"{name}.vmig.jsonl.{suffix}"))
    assert (tmp_path / f"a.vmig.jsonl.{suffix}").read_bytes() == (tmp_path / f"b.vmig.jsonl.{suffix}").read_bytes()


def test_a_vector_that_json_cannot_hold_is_a_reject_that_shows_it(tmp_path: Path) -> None:
    """NaN comes from other formats."""
    nan = np.array([[1.0, np.nan], [2.0, 3.0], [np.inf, 0.0]], np.float32)
    batch = records.build({"id": ["nan", "good", "inf"], "text": ["a", "b", "c"]}, nan)
    with pa.ipc.new_file(str(tmp_path / "in.arrow"), batch.schema) as file:
        file.write_batch(batch)
    report = vexarrow.copy(str(tmp_path / "in.arrow"), str(tmp_path / "out.vmig.jsonl"))
    assert (report.counts.written, report.codes) == (1, {"vector-not-finite": 2})
    found = [json.loads(line) for line in lines(Path(str(report.rejects_file)))]
    assert [one["id"] for one in found] == ["nan", "inf"]
    assert '"vector":[1.0,NaN]' in found[0]["record"], "as text, ready to be mended"


def test_a_directory_is_all_its_files_packed_or_not(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    body = lines(DEBIAN)
    (folder / "a.vmig.jsonl").write_bytes(b"\n".join(body[:50]))
    with pa.output_stream(str(folder / "deep" / "b.jsonl.gz"), compression="gzip") as stream:
        stream.write(b"\n".join(body[50:100]))
    with pa.output_stream(str(folder / "c.ndjson.zst"), compression="zstd") as stream:
        stream.write(b"\n".join(body[100:]))
    report = vexarrow.copy(str(folder), str(tmp_path / "out.vmig.jsonl"))
    assert (report.counts.written, len(report.partitions)) == (160, 3)
    assert sorted(lines(tmp_path / "out.vmig.jsonl")) == sorted(body)


def test_the_sidecar_is_right_when_the_file_is_large_enough_for_many_blocks(tmp_path: Path) -> None:
    source = tmp_path / "in.vmig.jsonl"
    source.write_bytes(DEBIAN.read_bytes() * 12)
    vex("convert", source, tmp_path / "out.vmig.jsonl").ok()
    body = json.loads((tmp_path / "out.vmig.meta.json").read_text())
    data = (tmp_path / "out.vmig.jsonl").read_bytes()
    assert data == source.read_bytes()
    assert body["checksum"] == "sha256:" + hashlib.sha256(data[:-1]).hexdigest()
