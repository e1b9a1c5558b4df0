"""Bad input of each kind: a reject with its line, reason and text, or a clear error, and nothing else lost."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vexarrow
from tests.commands import DEBIAN, MEMORY, Done, json_lines, lines, names, vex
from vexarrow.errors import AccessError, DataError, NotFound, SchemaError, TooManyRejects, VexError

KEYS: tuple[str, ...] = (
    "id",
    "text",
    "vector",
    "model",
    "dims",
    "namespace",
    "metadata",
    "created_at",
    "source_store",
    "modality",
)
KEYS += ("score", "vex_version")


def record(**values: str) -> bytes:
    """A line with all keys in their order; the values are JSON text, an empty one leaves the key out."""
    usual = {"id": '"it"', "text": '"a text"', "vector": "[1.0,-2.5]", "dims": "2", "modality": '"text"'}
    texts = {**dict.fromkeys(KEYS, "null"), **usual, "vex_version": '"1.0.0"', **values}
    return ("{" + ",".join(f'"{key}":{text}' for key, text in texts.items() if text) + "}").encode()


FIRST, LAST = record(id='"first"'), record(id='"last"', text='"other"')
MENDED = record()


class Bad(NamedTuple):
    """A line that is no record, and why: the code of its reject and a part of the message."""

    name: str
    line: bytes
    code: str
    says: str


def vector(text: str, dims: str = "2") -> bytes:
    return record(vector=text, dims=dims)


def metadata(text: str) -> bytes:
    return record(metadata=text)


def created(text: str) -> bytes:
    return record(created_at=text)


BAD = (
    Bad("malformed JSON", b'{"id":"it","text" "a"}', "malformed-json", "':' is missing at character 19"),
    Bad("malformed after the vector", record()[:-1] + b",}", "malformed-json", "character 194"),
    Bad("no JSON at all", b"Segmentation fault", "malformed-json", "not a JSON object"),
    Bad("a bare NUL", b"\0", "malformed-json", "not a JSON object"),
    Bad("a record cut off", record()[:60], "malformed-json", "character"),
    Bad("a record cut off within its vector", record()[:40], "malformed-json", "character"),
    Bad("two records in a line", record() + record(), "malformed-json", "more text after the object"),
    Bad("a control character", record(text='"\x01"'), "malformed-json", "control character"),
    Bad("not UTF-8", record().replace(b"a text", b"caf\xe9"), "not-utf8", "byte 0xe9 at byte 23"),
    Bad("an array", b"[1,2]", "not-an-object", "an array"),
    Bad("a number", b"5", "not-an-object", "is 5"),
    Bad("null", b"null", "not-an-object", "null"),
    Bad("no id", record(id=""), "missing-id", "id"),
    Bad("a null id", record(id="null"), "missing-id", "null"),
    Bad("an empty id", record(id='""'), "missing-id", "empty"),
    Bad("a boolean id", record(id="true"), "id-type", "true"),
    Bad("an object id", record(id='{"$oid":1}'), "id-type", '"$oid"'),
    Bad("an array id", record(id="[1]"), "id-type", "[1]"),
    Bad("an id 4.0", record(id="4.0"), "id-type", "4.0"),
    Bad("an id 1e5", record(id="1e5"), "id-type", "100000"),
    Bad("an id of 5,000 digits", record(id="9" * 5000), "malformed-json", "5000 digits"),
    Bad("NaN in a vector", vector("[1,NaN]"), "vector-not-finite", "vector[1] is NaN"),
    Bad("Infinity in a vector", vector("[Infinity,1]"), "vector-not-finite", "vector[0] is Infinity"),
    Bad("-Infinity in a vector", vector("[-Infinity,1]"), "vector-not-finite", "vector[0] is -Infinity"),
    Bad("1e400 in a vector", vector("[0,1e400]"), "vector-not-finite", "vector[1] is beyond"),
    Bad("1e39 in a vector", vector("[0,1e39]"), "vector-not-finite", "beyond the range of a float32"),
    Bad("an integer of 60 digits in a vector", vector(f"[1{'0' * 60},1]"), "vector-not-finite", "float32"),
    Bad("text in a vector", vector('["1","2"]'), "vector-type", "vector[0] is a string"),
    Bad("null in a vector", vector("[1,null]"), "vector-type", "vector[1] is null"),
    Bad("a boolean in a vector", vector("[1,true]"), "vector-type", "vector[1] is true"),
    Bad("an array in a vector", vector("[1,[2]]"), "vector-type", "vector[1] is an array"),
    Bad("an object in a vector", vector("[{},2]"), "vector-type", "vector[0] is an object"),
    Bad("a vector in an array", vector("[[1,2]]"), "vector-type", "vector[0] is an array"),
    Bad("vectors in an array", vector("[[1,2],[3,4]]"), "vector-type", "vector[0] is an array"),
    Bad("a vector with a hole", vector("[1,,2]"), "vector-type", "vector[1] is missing"),
    Bad("+1 in a vector", vector("[+1,2]"), "vector-type", "vector[0] is +1"),
    Bad("01 in a vector", vector("[01,2]"), "vector-type", "vector[0] is 01"),
    Bad("a vector that is text", vector('"AACAPwAAAEA="'), "vector-type", "a string"),
    Bad("a vector that is an object", vector('{"0":1,"1":2}'), "vector-type", "an object"),
    Bad("a vector that is a number", vector("1"), "vector-type", "1"),
    Bad("an empty vector", vector("[]", "0"), "empty-vector", "no components"),
    Bad("dims too large", vector("[1,2]", "3"), "dims-mismatch", "dims is 3 but the vector has 2"),
    Bad("dims that are text", vector("[1,2]", '"2"'), "dims-mismatch", '"2"'),
    Bad("dims that are a boolean", vector("[1]", "true"), "dims-mismatch", "true"),
    Bad("neither text nor vector", record(text="null", vector="null", dims=""), "empty-record", "text and vector"),
    Bad("neither of the keys", record(text="", vector="", dims=""), "empty-record", "text and vector"),
    Bad("text that is a number", record(text="5"), "text-type", "5"),
    Bad("text that is an object", record(text="{}"), "text-type", "{}"),
    Bad("half a surrogate pair in the text", record(text='"\\ud83d x"'), "lone-surrogate", "text"),
    Bad("half a surrogate pair in the id", record(id='"\\ude00"'), "lone-surrogate", "id"),
    Bad("a namespace that is a number", record(namespace="7"), "namespace-type", "7"),
    Bad("a model that is an array", record(model='["a"]'), "model-type", '["a"]'),
    Bad("a metadata list", metadata('["a"]'), "metadata-type", "an array"),
    Bad("metadata that is text", metadata('"a"'), "metadata-type", "a string"),
    Bad("metadata that is a number", metadata("5"), "metadata-type", "5"),
    Bad("NaN in the metadata", metadata('{"a":NaN}'), "malformed-json", "NaN"),
    Bad(
        "metadata nested 100,000 deep", metadata('{"a":' + "[" * 10**5 + "]" * 10**5 + "}"), "malformed-json", "nested"
    ),
    Bad("created_at that is garbage", created('"yesterday"'), "created-at", "yesterday"),
    Bad("created_at that is empty", created('""'), "created-at", "ISO 8601"),
    Bad("created_at that is a boolean", created("true"), "created-at", "created_at"),
    Bad("created_at that is an object", created("{}"), "created-at", "created_at"),
    Bad("created_at beyond all years", created("1e30"), "created-at", "1e+30"),
    Bad("created_at in the year 10000", created('"10000-01-01T00:00:00Z"'), "created-at", "10000"),
    Bad("a score that is text", record(score='"0.5"'), "score-type", '"0.5"'),
    Bad("a score that is a boolean", record(score="true"), "score-type", "true"),
    Bad("a score of 1e400", record(score="1e400"), "score-type", "finite"),
    Bad("a score of 400 digits", record(score="9" * 400), "score-type", "9999"),
    Bad("a key twice", record()[:-1] + b',"text":"b"}', "duplicate-key", "'text' occurs twice"),
    Bad("two vectors", record()[:-1] + b',"vector":[3,4]}', "duplicate-key", "'vector' occurs twice"),
    Bad("two ids", b'{"id" : "other",' + record()[1:], "duplicate-key", "'id' occurs twice"),
    Bad("a line of a rejects file that holds nothing", b'{"code":"x","record":null}', "not-an-object", "null"),
    Bad("broken base64 of a rejects file", b'{"code":"x","record_base64":"!"}', "malformed-json", "rejects file"),
)
NAMES = [one.name for one in BAD]


def written(folder: Path, *body: bytes, name: str = "in.vmig.jsonl") -> Path:
    """A file of these lines."""
    path = folder / name
    path.write_bytes(b"".join(line + b"\n" for line in body))
    return path


def ids(path: Path) -> list[Any]:
    return [one["id"] for one in json_lines(path)]


def mend(rejects: Path, by: bytes) -> None:
    """What a user does with a rejects file: put a right record in the place of every wrong one."""
    mended = [
        {**{k: v for k, v in one.items() if k != "record_base64"}, "record": json.loads(by)}
        for one in json_lines(rejects)
    ]
    rejects.write_text("".join(json.dumps(one) + "\n" for one in mended))


@pytest.mark.parametrize("bad", BAD, ids=NAMES)
def test_a_bad_line_is_a_reject_and_the_good_ones_around_it_arrive(bad: Bad, tmp_path: Path) -> None:
    source, target = written(tmp_path, FIRST, bad.line, LAST), tmp_path / "out.vmig.jsonl"
    report = vexarrow.copy(str(source), str(target))
    assert lines(target) == [FIRST, LAST]
    assert (report.counts.read, report.counts.written, report.counts.rejected, report.counts.skipped) == (3, 2, 1, 0)
    assert report.codes == {bad.code: 1}
    assert report.rejects_file == f"{target}.rejects.jsonl"
    assert bad.says in json_lines(Path(report.rejects_file))[0]["message"]


@pytest.mark.parametrize("bad", BAD, ids=NAMES)
def test_a_reject_has_its_line_its_file_and_its_text_verbatim(bad: Bad, tmp_path: Path) -> None:
    source = written(tmp_path, FIRST, b"", b"# a comment", bad.line, LAST)
    vexarrow.copy(str(source), str(tmp_path / "out.parquet"))
    [raw] = lines(tmp_path / "out.parquet.rejects.jsonl")
    one = json.loads(raw)
    assert (one["line"], one["file"], one["code"]) == (4, str(source), bad.code)
    if "record_base64" in one:
        import base64

        assert base64.b64decode(one["record_base64"]) == bad.line
    elif isinstance(one["record"], str):
        assert one["record"].encode() == bad.line
    else:
        assert b'"record":' + bad.line + b"}" in raw, "an object stands there as it was written"


@pytest.mark.parametrize("bad", BAD, ids=NAMES)
def test_a_mended_rejects_file_imports(bad: Bad, tmp_path: Path) -> None:
    source, target = written(tmp_path, FIRST, bad.line, LAST), tmp_path / "out.vmig.jsonl"
    rejects = vexarrow.copy(str(source), str(target)).rejects_file
    assert rejects is not None
    mend(Path(rejects), MENDED)
    again = vexarrow.copy(rejects, str(tmp_path / "rest.vmig.jsonl"))
    assert again.rejects_file is None
    assert lines(tmp_path / "rest.vmig.jsonl") == [MENDED]


@pytest.mark.parametrize("bad", BAD, ids=NAMES)
def test_validate_finds_a_bad_line_by_the_same_rule(bad: Bad, tmp_path: Path) -> None:
    found = vexarrow.validate(str(written(tmp_path, FIRST, bad.line, LAST)))
    assert not found.ok
    assert [(one.line, one.rule) for one in found.findings] == [(2, bad.code)]


def test_all_bad_lines_together_are_rejects_each_in_its_place(tmp_path: Path) -> None:
    body = [FIRST, *(one.line for one in BAD), LAST]
    report = vexarrow.copy(str(written(tmp_path, *body)), str(tmp_path / "out.vmig.jsonl"))
    assert ids(tmp_path / "out.vmig.jsonl") == ["first", "last"]
    found = json_lines(Path(str(report.rejects_file)))
    assert [one["line"] for one in found] == list(range(2, len(BAD) + 2))
    assert [one["code"] for one in found] == [one.code for one in BAD]


def test_a_rejects_file_that_nobody_mended_is_rejected_again_and_whole(tmp_path: Path) -> None:
    body = [one.line for one in BAD]
    first = vexarrow.copy(str(written(tmp_path, FIRST, *body)), str(tmp_path / "a.vmig.jsonl"))
    with Path(str(first.rejects_file)).open("ab") as file:
        file.write(FIRST + b"\n")  # a run in which nothing at all can be read fails
    again = vexarrow.copy(str(first.rejects_file), str(tmp_path / "b.vmig.jsonl"))
    assert (again.counts.rejected, again.counts.written) == (len(BAD), 1)
    assert again.codes == first.codes


def test_strict_stops_at_the_first_reject_and_publishes_nothing(tmp_path: Path) -> None:
    source, target = written(tmp_path, FIRST, b"[]", LAST), tmp_path / "out.vmig.jsonl"
    with pytest.raises(TooManyRejects, match=r"line 2: the line is an array, not an object \(not-an-object\)"):
        vexarrow.copy(str(source), str(target), strict=True)
    assert names(tmp_path) == {"in.vmig.jsonl", "out.vmig.jsonl.rejects.jsonl"}


@pytest.mark.parametrize(("most", "fails"), [(2, True), (3, True), (4, False)])
def test_max_rejects_stops_at_that_many(most: int, fails: bool, tmp_path: Path) -> None:
    source = written(tmp_path, FIRST, b"[]", b"{}", LAST, b"5")
    done = vex("convert", source, tmp_path / "out.parquet", "--max-rejects", str(most))
    assert done.code == int(fails), done.err
    assert (tmp_path / "out.parquet").exists() is not fails
    assert len(lines(tmp_path / "out.parquet.rejects.jsonl")) == min(most, 3)


# -- lines that look odd and are records ---------------------------------------------------------------------------


class Odd(NamedTuple):
    """A line that is a record, and the line that it is written as again; None for the same."""

    name: str
    line: bytes
    again: bytes | None = None


ODD = (
    Odd("an integer id", record(id="5")),
    Odd("the id 0", record(id="0")),
    Odd("the id -1", record(id="-1")),
    Odd("the id 2^63", record(id=str(2**63))),
    Odd("the id 2^64", record(id=str(2**64))),
    Odd("an id of 40 digits", record(id="1" * 40)),
    Odd("an id that looks like a number", record(id='"0007"')),
    Odd("text with every kind of character", record(text=json.dumps('é\u2028😀"\\/\n\t', ensure_ascii=False))),
    Odd("text that contains a record", record(text=json.dumps(MENDED.decode()))),
    Odd("text that contains keys", record(text=json.dumps('"vector":[9,9],"metadata":{"a":1},"created_at":1'))),
    Odd("an empty text", record(text='""')),
    Odd("an empty namespace", record(namespace='""')),
    Odd("text without a vector", record(vector="null", dims="null")),
    Odd("text without a vector, with dims", record(vector="null", dims="384")),
    Odd("a vector without text", record(text="null")),
    Odd("nested metadata", metadata('{"a":{"b":[1,{"c":null}]}}')),
    Odd("metadata with an array", metadata('{"tags":["a","b"]}')),
    Odd("metadata with a key twice", metadata('{"a":1,"a":2}')),
    Odd("metadata with 2^63 and more", metadata('{"a":9223372036854775808,"b":123456789012345678901234567890}')),
    Odd("metadata with half a surrogate pair", metadata('{"a":"\\ud800"}')),
    Odd("metadata with 1, 1.0 and 1e2", metadata('{"a":1,"b":1.0,"c":1e2,"d":-0,"e":1.10}')),
    Odd("metadata with white space", metadata('{ "a" : [ 1 ,2 ] }')),
    Odd("metadata with escapes", metadata('{"a\\/":"\\u00e9"}')),
    Odd("metadata with a vector", metadata('{"vector":[5,6],"dims":2}')),
    Odd("metadata with created_at", metadata('{"a":{},"created_at":5}')),
    Odd("empty metadata", metadata("{}")),
    Odd("unknown keys", record()[:-1] + b',"agent_id":"a","x":{"b":[1, 2.0]},"importance":1.0}'),
    Odd("unknown key with an escape", record()[:-1] + b',"\\u00e9":1}'),
    Odd("-0.0 in a vector", vector("[-0.0,0.0]")),
    Odd("-0 in a vector", vector("[-0,0]"), vector("[-0.0,0.0]")),
    Odd("integers in a vector", vector("[1,2]"), vector("[1.0,2.0]")),
    Odd("white space in a vector", vector("[ 1 ,\t2 ]"), vector("[1.0,2.0]")),
    Odd("integers beyond 2^64 in a vector", vector(f"[{2**64},{2**100}]"), vector("[1.8446744e+19,1.2676506e+30]")),
    Odd("doubles in a vector", vector("[0.10000000149011612,0.1]"), vector("[0.1,0.1]")),
    Odd("the smallest float32", vector("[1.4e-45,-1.1754942e-38]"), vector("[1e-45,-1.1754942e-38]")),
    Odd(
        "the largest float32",
        vector("[3.4028235e38,-3.4028234663852886e+38]"),
        vector("[3.4028235e+38,-3.4028235e+38]"),
    ),
    Odd("epoch seconds", created("1736936580"), created('"2025-01-15T10:23:00.000Z"')),
    Odd("epoch seconds with a fraction", created("1736936580.25"), created('"2025-01-15T10:23:00.250Z"')),
    Odd("epoch milliseconds", created("1736936580123"), created('"2025-01-15T10:23:00.123Z"')),
    Odd("microseconds", created('"2025-01-15T10:23:00.123456Z"')),
    Odd("nanoseconds", created('"2025-01-15T10:23:00.123456789Z"')),
    Odd("another offset", created('"2025-01-15T10:23:00+05:30"'), created('"2025-01-15T04:53:00.000Z"')),
    Odd("a date", created('"2025-01-15"'), created('"2025-01-15T00:00:00.000Z"')),
    Odd("before 1970", created('"1901-02-03T04:05:06.007Z"')),
    Odd("a score", record(score="0.25")),
    Odd("an integer score", record(score="1"), record(score="1.0")),
    Odd("another modality", record(modality='"image"')),
    Odd("another vex_version", record(vex_version='"0.3.0"')),
    Odd("a v0.3 record", b'{"id":"it","text":"a text","vector":[1,-2.5],"dims":2}', record()),
    Odd("a record of three keys", b'{"id":"it","text":"a text","vector":[1,-2.5]}', record()),
    Odd("keys in another order", b'{"vector":[1,-2.5],"text":"a text","id":"it"}', record()),
    Odd("white space everywhere", b' { "id" : "it" , "text" : "a text" , "vector" : [ 1 , -2.5 ] } ', record()),
    Odd(
        "metadata with a vector before the vector",
        b'{"id":"it","metadata":{"vector":[-0,7]},"text":"a text","vector":[0,1]}',
        record(vector="[0.0,1.0]", metadata='{"vector":[-0,7]}'),
    ),
)


@pytest.mark.parametrize("odd", ODD, ids=[one.name for one in ODD])
def test_an_odd_record_is_read_whole(odd: Odd, tmp_path: Path) -> None:
    """Whatever is written for it reads as the same again."""
    source, target = written(tmp_path, FIRST, odd.line, LAST), tmp_path / "out.vmig.jsonl"
    report = vexarrow.copy(str(source), str(target))
    assert report.rejects_file is None
    assert lines(target) == [FIRST, odd.again or odd.line, LAST]
    vexarrow.copy(str(target), str(tmp_path / "again.vmig.jsonl"))
    assert (tmp_path / "again.vmig.jsonl").read_bytes() == target.read_bytes()


@pytest.mark.parametrize("odd", ODD, ids=[one.name for one in ODD])
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_an_odd_record_survives_another_format(odd: Odd, suffix: str, tmp_path: Path) -> None:
    source = written(tmp_path, FIRST, odd.line, LAST)
    vexarrow.copy(str(source), str(tmp_path / f"out.{suffix}"))
    vexarrow.copy(str(tmp_path / f"out.{suffix}"), str(tmp_path / "back.vmig.jsonl"))
    assert lines(tmp_path / "back.vmig.jsonl") == [FIRST, odd.again or odd.line, LAST]


# -- whole files of lines ------------------------------------------------------------------------------------------


def test_bom_crlf_comments_and_blank_lines_are_no_records(tmp_path: Path) -> None:
    path = tmp_path / "in.vmig.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + FIRST + b"\r\n\r\n# comment\r\n  # another\r\n \t\r\n" + LAST + b"\r\n#")
    report = vexarrow.copy(str(path), str(tmp_path / "out.vmig.jsonl"))
    assert lines(tmp_path / "out.vmig.jsonl") == [FIRST, LAST]
    assert (report.counts.read, report.counts.rejected) == (2, 0)


def test_the_reject_of_a_crlf_line_after_a_bom_is_the_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "in.vmig.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"[1]\r\n" + FIRST + b"\r\n")
    report = vexarrow.copy(str(path), str(tmp_path / "out.vmig.jsonl"))
    assert json_lines(Path(str(report.rejects_file)))[0]["record"] == "[1]"
    assert lines(tmp_path / "out.vmig.jsonl") == [FIRST]


def test_the_last_line_needs_no_newline(tmp_path: Path) -> None:
    path = tmp_path / "in.vmig.jsonl"
    path.write_bytes(FIRST + b"\n" + LAST)
    vexarrow.copy(str(path), str(tmp_path / "out.vmig.jsonl"))
    assert (tmp_path / "out.vmig.jsonl").read_bytes() == FIRST + b"\n" + LAST + b"\n"


def test_a_truncated_last_line_is_a_reject(tmp_path: Path) -> None:
    path = tmp_path / "in.vmig.jsonl"
    path.write_bytes(FIRST + b"\n" + LAST[:50])
    report = vexarrow.copy(str(path), str(tmp_path / "out.vmig.jsonl"))
    [reject] = json_lines(Path(str(report.rejects_file)))
    assert (reject["line"], reject["code"], reject["record"]) == (2, "malformed-json", LAST[:50].decode())
    assert lines(tmp_path / "out.vmig.jsonl") == [FIRST]


def test_habits_of_the_npm_tool_are_read_as_they_were(tmp_path: Path) -> None:
    """Integer ids next to text ids and created_at in seconds next to ISO text, in one file."""
    body = [
        record(id="1", created_at="1736936580"),
        record(id='"two"', created_at='"2025-01-15T10:23:00.000Z"'),
        record(id="3"),
        record(id='"4"'),
    ]
    vexarrow.copy(str(written(tmp_path, *body)), str(tmp_path / "out.vmig.jsonl"))
    assert ids(tmp_path / "out.vmig.jsonl") == [1, "two", 3, "4"]
    assert [one["created_at"] for one in json_lines(tmp_path / "out.vmig.jsonl")][:2] == [
        "2025-01-15T10:23:00.000Z"
    ] * 2


@pytest.mark.parametrize("name", ["0007", "-", "-0", "\u0663", "5", "1e5", " 5", "007.5"])
def test_a_text_id_among_integers_stays_what_it_is(name: str, tmp_path: Path) -> None:
    source = written(tmp_path, record(id="5"), record(id=json.dumps(name)), record(id="6"))
    for suffix in ("vmig.jsonl", "parquet", "arrow"):
        vexarrow.copy(str(source), str(tmp_path / f"out.{suffix}"))
        vexarrow.copy(str(tmp_path / f"out.{suffix}"), str(tmp_path / f"{suffix}.back.vmig.jsonl"))
        assert ids(tmp_path / f"{suffix}.back.vmig.jsonl") == [5, name, 6]


def test_duplicate_ids_are_copied_and_validate_tells(tmp_path: Path) -> None:
    """A file may hold an id twice, and dropping one of them would be a loss; a store keeps the last."""
    source = written(tmp_path, FIRST, LAST, FIRST)
    assert vexarrow.copy(str(source), str(tmp_path / "out.vmig.jsonl")).counts.written == 3
    assert lines(tmp_path / "out.vmig.jsonl") == [FIRST, LAST, FIRST]
    [finding] = vexarrow.validate(str(source)).findings
    assert (finding.rule, finding.line, finding.id) == ("duplicate-id", 3, "first")


def test_validate_finds_what_readers_let_through(tmp_path: Path) -> None:
    rules = {
        "metadata-nested": metadata('{"a":[1]}'),
        "metadata-duplicate-key": metadata('{"a":1,"a":2}'),
        "metadata-big-integer": metadata('{"a":9223372036854775808}'),
        "lone-surrogate": metadata('{"a":"\\ud800"}'),
        "no-vector": record(vector="null", dims="null"),
        "zero-vector": vector("[0,-0.0]"),
        "unknown-version": record(vex_version='"9"'),
        "mixed-dims": vector("[1,2,3]", "3"),
    }
    body = [line.replace(b'"it"', f'"{rule}"'.encode()) for rule, line in rules.items()]
    found = vexarrow.validate(str(written(tmp_path, FIRST, *body)))
    assert {one.rule for one in found.findings if one.id == one.rule} == rules.keys()
    assert [one.line for one in found.findings if one.id == "mixed-dims"] == [9]


def test_a_text_of_10_mb_arrives_whole(tmp_path: Path) -> None:
    text = "0123456789äöü" * (10**7 // 16)
    long = record(text=json.dumps(text, ensure_ascii=False))
    source = written(tmp_path, FIRST, long, LAST)
    vexarrow.copy(str(source), str(tmp_path / "out.parquet"))
    vexarrow.copy(str(tmp_path / "out.parquet"), str(tmp_path / "back.vmig.jsonl"))
    assert lines(tmp_path / "back.vmig.jsonl") == [FIRST, long, LAST]


def test_a_line_of_64_mb_arrives_whole(tmp_path: Path) -> None:
    long = record(text='"' + "x" * (64 << 20) + '"')
    source = written(tmp_path, FIRST, long, LAST)
    vexarrow.copy(str(source), str(tmp_path / "out.vmig.jsonl"))
    assert (tmp_path / "out.vmig.jsonl").read_bytes() == source.read_bytes()


def test_a_bad_line_of_64_mb_is_a_reject_and_verbatim(tmp_path: Path) -> None:
    source = written(tmp_path, FIRST, b'{"id":"' + b"x" * (64 << 20), LAST)
    report = vexarrow.copy(str(source), str(tmp_path / "out.vmig.jsonl"))
    assert lines(tmp_path / "out.vmig.jsonl") == [FIRST, LAST]
    assert Path(str(report.rejects_file)).stat().st_size > 64 << 20


MIXED = (FIRST, vector("[1,2,3]", "3"), LAST, record(id='"without"', vector="null", dims="null"))


@pytest.mark.parametrize("suffix", ["vmig.jsonl"])
def test_mixed_dimensions_are_kept_where_the_target_can_hold_them(suffix: str, tmp_path: Path) -> None:
    source, target = written(tmp_path, *MIXED), tmp_path / f"out.{suffix}"
    report = vexarrow.copy(str(source), str(target))
    assert report.counts.written == 4
    assert sorted(lines(target)) == sorted([FIRST, vector("[1.0,2.0,3.0]", "3"), LAST, MIXED[3]])


def test_a_target_of_one_dimension_rejects_the_others_with_their_lines(tmp_path: Path) -> None:
    report = vexarrow.copy(str(written(tmp_path, *MIXED)), str(tmp_path / "out.parquet"))
    assert (report.counts.written, report.counts.rejected) == (3, 1)
    [reject] = json_lines(Path(str(report.rejects_file)))
    assert (reject["line"], reject["id"], reject["code"]) == (2, "it", "dimension")
    assert "3 dimensions" in reject["message"]
    assert reject["record"]["vector"] == [1.0, 2.0, 3.0]


# -- files that are no good as a whole -----------------------------------------------------------------------------


def fails(source: str | Path, folder: Path, error: type[VexError], *says: str) -> Done:
    """Converting `source` ends with this error in the API and on the command line, and leaves nothing behind."""
    target = folder / "target" / "out.parquet"
    target.parent.mkdir()
    with pytest.raises(VexError) as caught:
        vexarrow.copy(str(source), str(target))
    assert type(caught.value) is error, repr(caught.value)
    done = vex("convert", source, target)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"vex: error: {caught.value}\n"
    for text in says:
        assert text in done.err
    assert names(target.parent) == set()
    return done


def compressed(folder: Path, suffix: str) -> Path:
    path = folder / f"in.vmig.jsonl.{suffix}"
    codec = {"gz": "gzip", "zst": "zstd"}[suffix]
    with pa.output_stream(str(path), compression=codec) as stream:
        stream.write(DEBIAN.read_bytes())
    return path


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("keep", [0.001, 0.5, 0.999])
def test_a_truncated_compressed_file_is_an_error(suffix: str, keep: float, tmp_path: Path) -> None:
    path = compressed(tmp_path, suffix)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    fails(path, tmp_path, DataError, path.name)


@pytest.mark.parametrize(
    ("suffix", "at"), [*(("gz", at) for at in (0, 3, 12, 20, 5000, -3, -7)), ("zst", 0), ("zst", 3)]
)
def test_a_compressed_file_with_a_wrong_byte_is_an_error(suffix: str, at: int, tmp_path: Path) -> None:
    """Within its blocks a zstd file need not have a checksum, so that only the sidecar can tell."""
    path = compressed(tmp_path, suffix)
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0xFF
    path.write_bytes(raw)
    fails(path, tmp_path, DataError, path.name)


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_file_that_is_not_compressed_as_its_name_says_is_an_error(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"in.vmig.jsonl.{suffix}"
    path.write_bytes(DEBIAN.read_bytes())
    fails(path, tmp_path, DataError, path.name)


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_files_put_one_behind_the_other_are_read_to_the_end(suffix: str, tmp_path: Path) -> None:
    path = compressed(tmp_path, suffix)
    path.write_bytes(path.read_bytes() * 3)
    assert vexarrow.copy(str(path), str(tmp_path / "out.parquet")).counts.written == 480


def test_an_empty_file_is_a_file_of_no_records(tmp_path: Path) -> None:
    source = written(tmp_path)
    for suffix in ("parquet", "arrow", "vmig.jsonl"):
        target = tmp_path / f"out.{suffix}"
        assert vexarrow.copy(str(source), str(target)).counts.read == 0
        assert vexarrow.inspect(str(target)).to_json()["records"] == 0
    assert vexarrow.validate(str(source)).ok
    assert (tmp_path / "out.vmig.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    "name", ["nothing.vmig.jsonl", "nothing.parquet", "nothing.arrow", "nothing.db", "nothing/", "*.jsonl"]
)
def test_a_file_that_is_not_there_is_an_error(name: str, tmp_path: Path) -> None:
    fails(f"{tmp_path}/{name}", tmp_path, NotFound, "no such file")


@pytest.mark.parametrize("inside", [None, "README.txt", "_hidden.vmig.jsonl", ".hidden.parquet"])
def test_a_directory_without_data_is_an_error(inside: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    if inside:
        (folder / inside).write_bytes(FIRST)
    with pytest.raises(VexError, match="in"):
        vexarrow.copy(str(folder), str(tmp_path / "out.parquet"))
    assert names(tmp_path) == {"in"}


def test_a_parquet_file_without_a_vector_column_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), tmp_path / "in.parquet")
    fails(tmp_path / "in.parquet", tmp_path, SchemaError, "vector")


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, 0.9999])
def test_a_truncated_parquet_file_is_an_error(keep: float, tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    vexarrow.copy(str(DEBIAN), str(path))
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: int(size * keep) if keep < 1 else int(keep)])
    fails(path, tmp_path, DataError, "in.parquet")


def test_a_parquet_file_with_broken_pages_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    vexarrow.copy(str(DEBIAN), str(path))
    raw = bytearray(path.read_bytes())
    raw[4 : len(raw) // 2] = bytes(len(raw) // 2 - 4)
    path.write_bytes(raw)
    fails(path, tmp_path, DataError, "in.parquet")


def test_an_arrow_file_cut_off_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "in.arrow"
    vexarrow.copy(str(DEBIAN), str(path))
    path.write_bytes(path.read_bytes()[:-200])
    fails(path, tmp_path, DataError, "in.arrow")


def test_a_sqlite_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "in.db"
    path.write_bytes(DEBIAN.read_bytes()[:8192])
    fails(path, tmp_path, DataError, "not a SQLite database")


def test_a_sqlite_database_cut_off_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "in.db"
    path.write_bytes(MEMORY.read_bytes()[:100_000])
    fails(path, tmp_path, DataError, "in.db")


def test_a_sqlite_database_without_memories_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "in.db"
    database(path, "CREATE TABLE other (id INTEGER)")
    fails(path, tmp_path, NotFound, "memories", "other")


def database(path: Path, *statements: str, rows: Sequence[tuple[object, ...]] = ()) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    if rows:
        connection.executemany("INSERT INTO memories (id, content, vector) VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()


def test_a_locked_database_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "out.db"
    shutil.copy(MEMORY, path)
    holder = sqlite3.connect(path)
    try:
        holder.execute("PRAGMA journal_mode = DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        for arguments in (("convert", path, tmp_path / "x.parquet"), ("import", "--from", DEBIAN, "--to", path)):
            done = vex(*arguments, "--timeout", "0.2")
            assert (done.code, done.out) == (1, "")
            assert "locked" in done.err
            assert str(path) in done.err
    finally:
        holder.close()
    assert not (tmp_path / "x.parquet").exists()


def test_vector_blobs_of_odd_sizes_are_no_vectors_or_rejects(tmp_path: Path) -> None:
    """0 bytes is no vector; 3 and 6 are no float32 and must not become numbers, as they do in the npm tool."""
    path = tmp_path / "in.db"
    rows = [("0", "none", b""), ("3", "three", b"abc"), ("6", "six", b"abcdef"), ("8", "eight", b"\0\0\x80?\0\0\0@")]
    database(path, "CREATE TABLE memories (id TEXT, content TEXT, vector BLOB, created_at NUM)", rows=rows)
    report = vexarrow.copy(str(path), str(tmp_path / "out.vmig.jsonl"))
    assert report.counts.read == 4
    vectors = {one["id"]: one["vector"] for one in json_lines(tmp_path / "out.vmig.jsonl")}
    assert vectors.get("8") == [1.0, 2.0]
    assert vectors.get("0", "absent") is None
    rejects = {one["id"]: one["code"] for one in json_lines(tmp_path / "out.vmig.jsonl.rejects.jsonl")}
    assert rejects.keys() == {"3", "6"}


# -- no permission -------------------------------------------------------------------------------------------------


def as_nobody(*arguments: str | Path, cwd: Path) -> Done:
    """`vex` in a process without root's right to read and write everything."""
    command = [sys.executable, "-m", "vexarrow", *map(str, arguments)]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may read everything, and setpriv is not there to give that up")
        command = [setpriv, "--bounding-set=-all", "--inh-caps=-all", *command]
    done = subprocess.run(command, capture_output=True, check=False, cwd=cwd)
    return Done(done.returncode, done.stdout, done.stderr.decode())


@pytest.mark.parametrize("name", ["in.vmig.jsonl", "in.vmig.jsonl.gz", "in.parquet", "in.arrow", "in.db"])
def test_a_file_that_may_not_be_read_is_an_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    shutil.copy(MEMORY, path) if name.endswith(".db") else path.write_bytes(gzip.compress(FIRST))
    path.chmod(0)
    done = as_nobody("convert", path, tmp_path / "out.vmig.jsonl", cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert f"{path}" in done.err
    assert "permission denied" in done.err
    assert names(tmp_path) == {name}


@pytest.mark.parametrize(
    "name", ["out.vmig.jsonl", "out.parquet", "out.arrow", "out.db", "out/", "deep/er/out.parquet"]
)
def test_a_folder_that_may_not_be_written_is_an_error(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    arguments: list[str | Path] = ["import", "--from", DEBIAN, "--to"] if name.endswith(".db") else ["convert", DEBIAN]
    done = as_nobody(*arguments, f"{folder}/{name}", cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert ("may it be read and written" if name.endswith(".db") else "permission denied") in done.err
    assert str(folder) in done.err
    assert names(folder) == set()


def test_a_directory_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    written(folder, FIRST)
    folder.chmod(0)
    done = as_nobody("convert", folder, tmp_path / "out.parquet", cwd=tmp_path)
    folder.chmod(0o700)
    assert (done.code, done.out) == (1, "")
    assert "permission denied" in done.err


def test_a_rejects_file_that_may_not_be_written_ends_the_run(tmp_path: Path) -> None:
    """A reject that cannot be written down would be a record lost."""
    source = written(tmp_path, FIRST, b"[]", LAST)
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    done = as_nobody("convert", source, tmp_path / "out.parquet", "--rejects", folder / "r.jsonl", cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert "permission denied" in done.err
    assert names(tmp_path) == {"in.vmig.jsonl", "closed"}


def test_access_errors_are_access_errors_in_the_api(tmp_path: Path) -> None:
    """/proc/1/mem is closed to everybody, whatever the user."""
    with pytest.raises((AccessError, VexError)):
        vexarrow.copy("/proc/self/mem", str(tmp_path / "out.parquet"), source_format="jsonl")
    assert names(tmp_path) == set()
