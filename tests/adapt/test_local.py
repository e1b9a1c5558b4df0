"""Local corrections: kept where one linear map is not enough, left out where it is, and part of the file."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load as tensors_of

from tests.adapt.real import code, games, write_pairs, write_records
from tests.commands import Done, json_lines, vex
from vexarrow.adapt import Projection, shelf, weights_file
from vexarrow.adapt.local import NEAREST, SHARPNESS, TENSORS, Local
from vexarrow.adapt.model import ModelCard
from vexarrow.adapt.training import attempt
from vexarrow.errors import DataError, Unfit, UsageError

Matrix = NDArray[np.float32]
GROUPS, D_IN, D_OUT, PAIRS = 4, 24, 10, 2000
MODELS: dict[str, Any] = {"source_model": "bent", "target_model": "target"}


@cache
def bent() -> tuple[Matrix, Matrix]:
    """Vectors of four kinds, each of which another linear map leads to the target."""
    random = np.random.default_rng(0)
    kind = random.integers(GROUPS, size=PAIRS)
    x = random.standard_normal((GROUPS, D_IN))[kind] + random.standard_normal((PAIRS, D_IN))
    maps = random.standard_normal((GROUPS, D_IN, D_OUT))
    y = np.einsum("nd,ndk->nk", x, maps[kind]) + 0.1 * random.standard_normal((PAIRS, D_OUT))
    return x.astype(np.float32), y.astype(np.float32)


@cache
def straight() -> tuple[Matrix, Matrix]:
    """Vectors that one linear map leads to the target, but for noise."""
    random = np.random.default_rng(1)
    x = random.standard_normal((PAIRS, D_IN))
    y = x @ random.standard_normal((D_IN, D_OUT)) + 0.3 * random.standard_normal((PAIRS, D_OUT))
    return x.astype(np.float32), y.astype(np.float32)


@cache
def corrected() -> Projection:
    return Projection.train(*bent(), **MODELS, local=GROUPS)


@cache
def plain() -> Projection:
    return Projection.train(*bent(), **MODELS, force=True)


def some(d_in: int = 6, d_out: int = 5, groups: int = 4, rank: int = 2) -> Projection:
    """Weights by chance."""
    random = np.random.default_rng(2)

    def drawn(*shape: int) -> Matrix:
        return random.standard_normal(shape, dtype=np.float32)

    centres = drawn(groups, d_in)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    local = Local(centres, drawn(groups), drawn(groups, d_in, rank), drawn(groups, rank, d_out), drawn(groups, d_out))
    cards = ModelCard("a", d_in), ModelCard("text-embedding-3-small", d_out)
    return Projection(drawn(d_in, d_out), drawn(d_out), *cards, local=local)


def exact(projection: Projection, x: Matrix) -> NDArray[np.float64]:
    """What the corrections are by definition, row by row in float64."""
    local = projection.local
    assert local is not None
    rows = []
    for row in x.astype(np.float64):
        unit = row / np.linalg.norm(row)
        along = local.centres.astype(np.float64) @ unit - local.offsets
        made = unit @ projection.weight + projection.bias
        nearest = np.argsort(-along)[:NEAREST]
        weights = np.exp(SHARPNESS * along[nearest])
        for group, weight in zip(nearest, weights / weights.sum(), strict=True):
            made += weight * (unit @ local.into[group] @ local.out[group] + local.bias[group])
        rows.append(made / np.linalg.norm(made))
    return np.array(rows)


def train(pairs: Path, output: Path, *words: str | Path) -> Done:
    return vex("adapt", "train", "--from", "bent", "--to", "target", "--pairs", pairs, "-o", output, *words)


# -- training ------------------------------------------------------------------------------------------------------


def test_corrections_are_kept_where_one_linear_map_is_not_enough() -> None:
    report, before = corrected().report, plain().report
    assert report is not None
    assert before is not None
    assert report.local is not None
    assert (report.local.groups, report.local.kept) == (GROUPS, True)
    assert report.local.gain.low > 0.1
    assert report.overlap == report.local.overlap
    assert before.overlap.value == pytest.approx(report.local.global_overlap.value)
    assert report.cosine.value > before.cosine.value
    assert corrected().header["method"]["local"] == GROUPS
    np.testing.assert_array_equal(corrected().weight, plain().weight)


def test_corrections_are_left_out_where_they_hardly_find_more() -> None:
    """The projection is the one that would have been trained without them; the report says what was tried."""
    done = attempt(*straight(), **MODELS, local=GROUPS).finish()
    alone = Projection.train(*straight(), **MODELS)
    assert done.local is None
    assert done.checksum == alone.checksum
    assert done.report is not None
    assert done.report.local is not None
    assert not done.report.local.kept
    assert abs(done.report.local.gain.value) < 0.002
    assert replace(done.report, local=None) == alone.report


def test_force_keeps_them_all_the_same() -> None:
    done = Projection.train(*straight(), **MODELS, local=GROUPS, force=True)
    assert done.local is not None
    assert done.report is not None
    assert done.report.local is not None
    assert done.report.local.kept


def test_the_command_says_whether_they_won(tmp_path: Path) -> None:
    won = train(write_pairs(tmp_path / "bent.jsonl", *bent()), tmp_path / "a.safetensors", "--local", "4").ok()
    lost = train(write_pairs(tmp_path / "line.jsonl", *straight()), tmp_path / "b.safetensors", "--local", "4").ok()
    for done, word in ((won, "kept"), (lost, "left out")):
        assert "corrections near 4 groups of vectors" in done.out
        assert f"corrections are {word}" in " ".join(done.out.split())
    assert "they hardly find more: the linear map is alone" in lost.out
    versions = [said(tmp_path / name)["version"] for name in ("a.safetensors", "b.safetensors")]
    assert versions == [2, 1]
    assert "corrected near 4 groups of vectors" in vex("adapt", "info", tmp_path / "a.safetensors").ok().out
    assert Projection.load(str(tmp_path / "a.safetensors")).checksum == corrected().checksum


def test_the_same_pairs_and_seed_give_the_same_bytes() -> None:
    again, other = (Projection.train(*bent(), **MODELS, local=GROUPS, seed=seed) for seed in (0, 1))
    assert again.to_bytes() == corrected().to_bytes()
    assert other.checksum != corrected().checksum


def test_pairs_that_are_too_few_are_named() -> None:
    source, target = bent()
    with pytest.raises(Unfit, match=r"for 4 groups need 2,000 pairs, these are 1,9\d\d: .*leave out --local"):
        Projection.train(source[:1990], target[:1990], **MODELS, local=4)
    with pytest.raises(Unfit, match="for 30 groups need 3,000 pairs"):
        Projection.train(source, target, **MODELS, local=30)
    with pytest.raises(UsageError, match="2 are the least, 16 are usual"):
        Projection.train(source, target, **MODELS, local=1)


def test_few_real_pairs_are_corrected_when_forced() -> None:
    """A group of a few pairs gets no correction of its own; no row loses its direction."""
    source, target, _ = code()
    done = Projection.train(source, target, **MODELS, local=5, force=True)
    made = done.matrix(games().source)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, rtol=1e-5)
    with pytest.raises(Unfit, match="for 16 groups need 640 pairs, these are 240"):
        Projection.train(source, target, **MODELS, local=16, force=True)


def test_with_a_prior() -> None:
    """A linear prior can be corrected locally; what has corrections is no prior."""
    done = Projection.train(*bent(), plain(), **MODELS, local=GROUPS)
    assert done.local is not None
    assert done.header["method"]["prior"] == plain().checksum
    with pytest.raises(UsageError, match="has local corrections: train it without --local"):
        Projection.train(*bent(), corrected(), **MODELS)


# -- the map -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 7, 9001])
def test_is_the_map_to_float32(rows: int) -> None:
    projection = some(groups=7)
    x = 3 * np.random.default_rng(3).standard_normal((rows, 6), dtype=np.float32)
    found = projection.matrix(x)
    assert found.dtype == np.float32
    assert found.shape == (rows, 5)
    np.testing.assert_allclose(found[:500], exact(projection, x[:500]).reshape(-1, 5), atol=3e-6)


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
def test_fewer_groups_than_a_row_takes_from(groups: int) -> None:
    projection = some(groups=groups)
    x = np.random.default_rng(3).standard_normal((50, 6), dtype=np.float32)
    np.testing.assert_allclose(projection.matrix(x[::2]), exact(projection, x[::2]), atol=3e-6)


def test_a_row_without_a_direction_is_an_error() -> None:
    x = np.ones((5, 6), np.float32)
    x[2] = 0
    with pytest.raises(DataError, match=r"1 of 5 vectors have no direction .*, the first is row 2"):
        some().matrix(x)


def test_records_go_through_the_corrections(tmp_path: Path) -> None:
    source = bent()[0][:300]
    ids = [f"r{at}" for at in range(len(source))]
    write_records(tmp_path / "in.vmig.jsonl", ids, source, model="bent")
    corrected().save(str(tmp_path / "a.safetensors"))
    vex(
        "adapt", "--projection", tmp_path / "a.safetensors", tmp_path / "in.vmig.jsonl", tmp_path / "out.vmig.jsonl"
    ).ok()
    written = json_lines(tmp_path / "out.vmig.jsonl")
    found = np.array([one["vector"] for one in written], np.float32)
    order = [ids.index(one["id"]) for one in written]
    np.testing.assert_allclose(found, corrected().matrix(source)[order], atol=1e-6)
    assert {one["adapted"]["projection"] for one in written} == {corrected().checksum}


def test_cut_to_shorter_vectors_of_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The corrections are cut as the map is: the first components of the whole, at length 1."""
    monkeypatch.setenv("VEX_PROJECTIONS", str(tmp_path))
    whole = some(d_out=1536)
    whole.save(str(tmp_path / "a.safetensors"))
    short = shelf.find("a", "text-embedding-3-small@512")
    assert short is not None
    x = np.random.default_rng(3).standard_normal((50, 6), dtype=np.float32)
    first = whole.matrix(x)[:, :512]
    np.testing.assert_allclose(short.matrix(x), first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-5)


# -- the file ------------------------------------------------------------------------------------------------------


def said(path: Path) -> Any:
    return weights_file.header_of(path.read_bytes(), "a")


def test_the_file_holds_them() -> None:
    read = Projection.from_bytes(corrected().to_bytes(), "a")
    x = bent()[0]
    assert read.report == corrected().report
    assert read.checksum == corrected().checksum != plain().checksum
    np.testing.assert_array_equal(read.matrix(x), corrected().matrix(x))
    half = Projection.from_bytes(corrected().to_bytes(half=True), "a")
    np.testing.assert_allclose(half.matrix(x), corrected().matrix(x), atol=5e-3)


def test_the_version_says_whether_there_are_any() -> None:
    """What reads version 1 alone must not take the linear map for the whole."""
    for projection, version in ((corrected(), 2), (plain(), 1)):
        assert weights_file.header_of(projection.to_bytes(), "a")["version"] == version


def file(version: int | None = None, **changed: Matrix | None) -> bytes:
    """The file of some projection with other tensors (None: without it), as if it had been written so."""
    data = some().to_bytes()
    tensors: dict[str, Any] = {**tensors_of(data), **changed}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    made = weights_file.dumps(kept, weights_file.header_of(data, "a"))
    if version is None:
        return made
    size = int.from_bytes(made[:8], "little")
    head = json.loads(made[8 : 8 + size])
    inside = json.loads(head["__metadata__"][weights_file.KEY]) | {"version": version}
    head["__metadata__"][weights_file.KEY] = json.dumps(inside)
    text = json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + made[8 + size :]


def test_the_file_of_these_tests_is_one() -> None:
    x = np.ones((1, 6), np.float32)
    np.testing.assert_array_equal(Projection.from_bytes(file(2), "a").matrix(x), some().matrix(x))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda: file(1), "the version in its header does not fit its tensors"),
        (lambda: file(3), "version 3 of the format is newer than this vexarrow; upgrade it"),
        (lambda: file(2, **dict.fromkeys(TENSORS)), "the version in its header does not fit its tensors"),
        (lambda: file(local_bias=None), "its header is not complete"),
        (lambda: file(local_bias=np.zeros((4, 6), "f")), "contradict each other"),
        (lambda: file(local_centres=np.zeros((4, 5), "f")), "contradict each other"),
        (lambda: file(local_offsets=np.zeros((3,), "f")), "contradict each other"),
        (lambda: file(local_into=np.zeros((4, 6), "f")), "contradict each other"),
        (lambda: file(local_out=np.zeros((4, 3, 5), "f")), "contradict each other"),
        (
            lambda: file(local_into=np.zeros((4, 6, 0), "f"), local_out=np.zeros((4, 0, 5), "f")),
            "contradict each other",
        ),
        (lambda: file(local_offsets=np.full((4,), np.nan, "f")), "hold NaN or infinity"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(data: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Projection.from_bytes(data(), "a.safetensors")
