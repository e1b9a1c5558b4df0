"""Pairs and queries from lines of JSON: every mistake is named with its line and what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from tests.commands import vex
from vexarrow.adapt.pairs_files import read_pairs
from vexarrow.adapt.queries import read_queries
from vexarrow.errors import DataError, NotFound, SchemaError

GOOD = b'{"source": [1, 2.5], "target": [3]}\n'
TWO = GOOD + b'\n# a remark\n{"target": [4], "id": 7, "vex_role": "held-out", "source": [-1e-3, 0]}'


def check(data: bytes, path: Path) -> None:
    given = read_pairs(str(path))
    np.testing.assert_array_equal(given.pairs.source, np.array([[1, 2.5], [-1e-3, 0]], np.float32))
    np.testing.assert_array_equal(given.pairs.target, np.array([[3], [4]], np.float32))
    assert given.pairs.source.dtype == np.float32
    assert given.pairs.ids == ["", "7"]
    assert given.held_out is not None
    assert given.held_out.tolist() == [False, True]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_pairs_are_read_compressed_or_not(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"pairs.jsonl{suffix}"
    packed = {"": TWO, ".gz": gzip.compress(TWO), ".zst": pa.compress(TWO, "zstd", asbytes=True)}
    path.write_bytes(packed[suffix])
    check(TWO, path)


def test_pairs_are_read_from_any_url() -> None:
    with fsspec.open("memory://pairs/aligned.jsonl", "wb") as file:
        file.write(TWO)
    assert len(read_pairs("memory://pairs/aligned.jsonl").pairs) == 2


def test_lines_longer_than_a_block_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    text = '{"text": "%s", "source": [1], "target": [2]}\n' % ("x" * (3 << 20))
    path.write_text(text * 2)
    assert len(read_pairs(str(path)).pairs) == 2


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"{", "not JSON"),
        (b'{"source": [1, 2', "cut short"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"source": [1, NaN], "target": [3]}', "NaN is no number of JSON"),
        (b'{"source": [1, Infinity], "target": [3]}', "Infinity is no number of JSON"),
        (b'{"source": [1, 1e40], "target": [3]}', "beyond the range of float32"),
        (b'{"source": [1, null], "target": [3]}', "holds something that is no number"),
        (b'{"source": [1, "2"], "target": [3]}', "holds something that is no number"),
        (b'{"source": [[1], [2]], "target": [3]}', "holds something that is no number"),
        (b'{"source": null, "target": [3]}', "'source' is null"),
        (b'{"source": "x", "target": [3]}', "'source' is text"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_line_that_holds_no_vectors_is_named_by_its_number(bad: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(GOOD + b"\n" + bad + b"\n")
    with pytest.raises(DataError, match=f"line 3: .*{said}"):
        read_pairs(str(path))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b'{"source": [1, 2]}', "there is no 'target'"),
        (b'{"target": [1]}', "there is no 'source'"),
        (b'{"id": "a", "vector": [1, 2]}', "there is no 'source'; a line looks like"),
        (b'{"source": [], "target": [1]}', "'source' is empty"),
        (b'{"source": [1, 2, 3], "target": [1]}', "'source' has 3 numbers, on the lines before it had 2"),
        (b'{"source": [1, 2], "target": [1, 2]}', "'target' has 2 numbers, on the lines before it had 1"),
    ],
)
def test_a_line_that_does_not_fit_is_named_by_its_number(bad: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(GOOD + bad)
    with pytest.raises(SchemaError, match=f"line 2: {said}"):
        read_pairs(str(path))


def test_a_file_of_another_kind_is_told_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    path.write_bytes(b"PAR1\x00\x15")
    with pytest.raises(DataError, match="--source and --target"):
        read_pairs(str(path))


def test_no_lines_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b"\n\n")
    with pytest.raises(DataError, match="no lines; a line looks like"):
        read_pairs(str(path))


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        read_pairs(str(tmp_path / "pairs.jsonl"))


def test_pairs_come_from_stdin() -> None:
    done = vex("adapt", "train", "--from", "a", "--to", "b", "--pairs", "-", "-o", "x.safetensors", stdin=TWO + b"\n{")
    assert done.code == 1
    assert "stdin, line 5: not JSON" in done.err


@pytest.mark.parametrize("said", [b'"relevant": "a"', b'"relevant": []', b'"other": 1'])
def test_labels_are_on_every_line_or_on_none(said: bytes, tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_bytes(b'{"target": [1], "relevant": ["a"]}\n{"target": [1], ' + said + b"}\n")
    with pytest.raises(DataError, match="line 2: 'relevant' is a list of ids"):
        read_queries(str(path))


def test_source_vectors_of_queries_are_on_every_line_or_on_none(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_bytes(b'{"target": [1], "source": [2]}\n{"target": [1]}\n')
    with pytest.raises(SchemaError, match="1 of 2 lines have 'source'"):
        read_queries(str(path))
