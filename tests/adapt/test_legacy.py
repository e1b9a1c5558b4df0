"""Projections in the files of others: the original tool's JSON, and matrices of numpy."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vexarrow.adapt import Projection
from vexarrow.errors import DataError, UsageError

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3) / 7 + 1


def original(tmp_path: Path, **changed: Any) -> str:
    """The original tool's file."""
    said = {"from": "a", "to": "b", "d_source": 2, "d_target": 3, "pairs": 50_000, "eval_cos": 0.87, "trained": "2026"}
    said |= {"W": WEIGHT.tolist(), **changed}
    path = tmp_path / "old.json"
    path.write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
    return str(path)


@pytest.mark.parametrize(
    "rows",
    [WEIGHT.tolist(), WEIGHT.T.tolist(), WEIGHT.ravel().tolist()],
    ids=["rows of the source", "rows of the target", "flat"],
)
def test_the_originals_file_is_read_whichever_way_its_matrix_lies(tmp_path: Path, rows: Any) -> None:
    found = Projection.load(original(tmp_path, W=rows))
    np.testing.assert_array_equal(found.weight, WEIGHT)
    assert not found.bias.any()
    assert (found.source.name, found.source.dim, found.target.name, found.target.dim) == ("a", 2, "b", 3)
    assert (found.source.prefix, found.target.normalised) == (None, None)


def test_a_square_matrix_has_a_row_for_each_component_of_the_source(tmp_path: Path) -> None:
    square = [[0.0, 1.0], [0.0, 0.0]]
    found = Projection.load(original(tmp_path, d_target=2, W=square))
    assert found.matrix(np.array([[1, 0]], np.float32)).tolist() == [[0.0, 1.0]]


def test_the_originals_numbers_are_kept_as_words_and_not_as_a_report(tmp_path: Path) -> None:
    found = Projection.load(original(tmp_path))
    assert found.report is None
    assert found.header == {"original": {"pairs": 50_000, "eval_cos": 0.87, "trained": "2026"}}
    found.save(str(tmp_path / "new.safetensors"))
    again = Projection.load(str(tmp_path / "new.safetensors"))
    assert (again.checksum, again.header["original"]) == (found.checksum, found.header["original"])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"d_source": 4}, "4 to 3 dimensions, its W has 2 rows of 3"),
        ({"W": [1.0] * 5}, "its W has 5 numbers"),
        ({"W": [[1.0, 2.0, 3.0], [1.0, 2.0]]}, "not of one length"),
        ({"W": [[[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]]]}, "W"),
        ({"W": [[1.0, 2.0, 3.0], 4.0]}, "W is no matrix"),
        ({"W": [[1.0, 2.0, None], [1.0, 2.0, 3.0]]}, "W is no matrix"),
        ({"W": [["1", "2", "3"], ["1", "2", "3"]]}, "W is no matrix"),
        ({"W": "AAAA"}, "W is no matrix"),
        ({"W": []}, "its W has 0 numbers"),
        ({"W": [[1e39, 2.0, 3.0], [1.0, 2.0, 3.0]]}, "NaN or infinity"),
        ({"W": None}, "from, to, d_source"),
        ({"from": None}, "'from' has to be"),
        ({"to": 3}, "'to' has to be"),
        ({"d_source": None}, "'d_source' a number"),
        ({"d_target": "3"}, "'d_target' a number"),
        ({"d_target": -3}, "'d_target' a number"),
    ],
)
def test_a_file_that_lies_is_refused_with_the_reason(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        Projection.load(original(tmp_path, **changed))
    assert "old.json" in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"3", b'{"W": [[1', b"\xff\xfe", b"\x93NUMPY"])
def test_a_file_that_is_no_json_of_a_projection_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "old.json").write_bytes(text)
    with pytest.raises(DataError, match=r"old\.json"):
        Projection.load(str(tmp_path / "old.json"))


# -- numpy -------------------------------------------------------------------------------------------------------------


def npz(tmp_path: Path, **arrays: Any) -> str:
    np.savez(tmp_path / "w.npz", **arrays)
    return str(tmp_path / "w.npz")


def npy(tmp_path: Path, array: Any) -> str:
    np.save(tmp_path / "w.npy", array)
    return str(tmp_path / "w.npy")


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", "int32", ">f4"])
def test_a_matrix_of_numpy_is_a_projection_between_the_models_that_are_named(tmp_path: Path, kind: str) -> None:
    matrix = np.arange(6).reshape(2, 3).astype(kind)
    for array in (matrix, np.asfortranarray(matrix)):
        found = Projection.load(npy(tmp_path, array), source="a", target="b")
        assert found.weight.dtype == np.float32
        assert found.weight.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert (found.source.name, found.target.name, found.report) == ("a", "b", None)


def test_arrays_by_either_name_and_with_or_without_a_bias(tmp_path: Path) -> None:
    bias = np.ones(3)
    for arrays in ({"weight": WEIGHT, "bias": bias}, {"W": WEIGHT, "b": bias}, {"W": WEIGHT.T, "b": bias}):
        found = Projection.load(npz(tmp_path, **arrays), source="a", target="b")
        np.testing.assert_array_equal(found.weight, WEIGHT)
        assert found.bias.tolist() == [1, 1, 1]
    assert not Projection.load(npz(tmp_path, W=WEIGHT), source="a", target="b").bias.any()


def test_a_matrix_does_not_say_its_models(tmp_path: Path) -> None:
    for names in ({}, {"source": "a"}, {"target": "b"}):
        with pytest.raises(UsageError, match="--from and --to"):
            Projection.load(npy(tmp_path, WEIGHT), **names)


class Exploding:
    """Leaves a file behind where somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    array = np.array([[Exploding(tmp_path / "exploded")]], object)
    for path in (npy(tmp_path, array), npz(tmp_path, weight=array)):
        with pytest.raises(DataError, match="pickle"):
            Projection.load(path, source="a", target="b")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"weights": WEIGHT}, r"weight or W; it has \['weights'\]"),
        ({"weight": np.ones(3)}, "shape"),
        ({"weight": np.ones((2, 3, 4))}, "shape"),
        ({"weight": np.ones((0, 3))}, "shape"),
        ({"weight": np.ones((2, 3)) * 1j}, "numbers"),
        ({"weight": np.array([["a"]])}, "numbers"),
        ({"weight": WEIGHT, "bias": np.ones(4)}, "bias"),
        ({"weight": WEIGHT, "bias": np.ones((3, 1))}, "bias"),
        ({"weight": WEIGHT * np.nan}, "NaN"),
    ],
)
def test_arrays_that_are_no_projection_are_refused(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        Projection.load(npz(tmp_path, **arrays), source="a", target="b")
    assert "w.npz" in str(caught.value)


def test_a_damaged_file_of_numpy_is_refused(tmp_path: Path) -> None:
    held = io.BytesIO()
    np.savez_compressed(held, weight=np.random.default_rng(0).random((40, 40)))
    whole = held.getvalue()
    broken = bytearray(whole)
    broken[200] ^= 255
    for at, data in enumerate((b"", b"\x93NUMPY\x01\x00", whole[:-30], bytes(broken), whole[len(whole) // 2 :])):
        path = tmp_path / f"{at}.npz"
        path.write_bytes(data)
        with pytest.raises(DataError, match=rf"{at}\.npz"):
            Projection.load(str(path), source="a", target="b")
