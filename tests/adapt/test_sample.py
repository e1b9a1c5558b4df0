"""`vex-adapt sample` chooses what to embed; `detect` says which model wrote what there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.adapt.real import SOURCE, TARGET, code, games, write_records
from tests.commands import DEBIAN, json_lines, vex
from tests.engines.embedding import embedding_server
from vexarrow.adapt import Projection
from vexarrow.adapt.detect import Fingerprint, detect
from vexarrow.adapt.joined import Origin
from vexarrow.adapt.sample import draw, medoids


def roles(path: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in json_lines(path):
        found.setdefault(record["vex_role"], set()).add(record["id"])
    return found


def test_medoids_and_a_hold_out_are_chosen_and_no_record_is_in_both(tmp_path: Path) -> None:
    done = vex(
        "adapt", "sample", DEBIAN, "--pairs", "40", "--held-out", "25", "-o", tmp_path / "to-embed.vmig.jsonl"
    ).ok()
    records = json_lines(tmp_path / "to-embed.vmig.jsonl")
    chosen = roles(tmp_path / "to-embed.vmig.jsonl")
    assert {role: len(ids) for role, ids in chosen.items()} == {"train": 40, "held-out": 25}
    assert not chosen["train"] & chosen["held-out"]
    given = {record["id"]: record for record in json_lines(DEBIAN)}
    assert all(record["text"] == given[record["id"]]["text"] for record in records)
    assert all(record["vector"] == given[record["id"]]["vector"] for record in records)
    assert "40 records to train with and 25 to measure on, of 160" in done.out
    assert f"{sum(len(record['text']) for record in records):,} characters" in done.out


def test_the_same_seed_chooses_the_same_and_another_one_others(tmp_path: Path) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        vex(
            "adapt",
            "sample",
            DEBIAN,
            "--pairs",
            "20",
            "--held-out",
            "20",
            "--seed",
            seed,
            "-o",
            tmp_path / f"{name}.jsonl",
        ).ok()
    a, b, c = (roles(tmp_path / f"{name}.jsonl") for name in "abc")
    assert a == b
    assert a != c


def test_records_that_are_too_few_are_counted(tmp_path: Path) -> None:
    done = vex("adapt", "sample", DEBIAN, "--output", tmp_path / "x.jsonl")
    assert done.code == 1
    assert "300 records are asked for (200 to train with, 100 held out), and only 160 of 160" in done.err


def test_records_without_text_or_vector_are_passed_over(tmp_path: Path) -> None:
    source, _, ids = code()
    vectors = [None, *source[1:10], np.zeros(128, np.float32)]
    path = write_records(tmp_path / "some.jsonl", ids[:11], vectors)
    drawn = draw(Origin(str(path)), 100, 0)
    assert (drawn.rows, drawn.passed_over, len(drawn)) == (11, 2, 9)
    bare = write_records(tmp_path / "bare.jsonl", ids[:11], [None] * 11)
    done = vex("adapt", "sample", bare, "-o", tmp_path / "x.jsonl")
    assert done.code == 1
    assert "none of its 11 records has text and a vector" in done.err


def test_a_draw_is_by_chance_and_bounded(tmp_path: Path) -> None:
    source, _, ids = code()
    path = write_records(tmp_path / "some.jsonl", ids, source)
    counts = np.zeros(len(ids))
    for seed in range(200):
        drawn = draw(Origin(str(path)), 24, seed, texts=False)
        assert len(drawn) == 24
        rows = [ids.index(one) for one in drawn.columns["id"]]
        assert rows == sorted(rows)
        counts[rows] += 1
    # Each of 240 records is drawn 20 times of 200, give or take five standard deviations.
    assert counts.min() >= 1
    assert counts.max() <= 42


def test_medoids_stand_for_groups() -> None:
    """Of eight groups of unequal size each has a medoid, which chance would hardly give."""
    random = np.random.default_rng(3)
    centres = random.standard_normal((8, 32))
    group = np.repeat(np.arange(8), [400, 200, 100, 50, 20, 20, 20, 20])
    rows = centres[group] + 0.05 * random.standard_normal((len(group), 32))
    unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    found = medoids(unit, 16, 0)
    assert len(set(found.tolist())) == 16
    assert set(group[found].tolist()) == set(range(8))


def test_as_many_medoids_as_rows_are_all_of_them() -> None:
    unit: NDArray[np.float32] = np.eye(6, dtype=np.float32)
    assert medoids(unit, 6).tolist() == [0, 1, 2, 3, 4, 5]
    assert len(set(medoids(np.full((6, 4), 0.5, np.float32), 3).tolist())) == 3


def test_from_a_sample_to_a_projection(tmp_path: Path) -> None:
    """The loop of the help, with a server whose vectors are noise: the gate has to notice that."""
    chosen, embedded, output = (
        tmp_path / name for name in ("to-embed.vmig.jsonl", "embedded.vmig.jsonl", "my.safetensors")
    )
    vex("adapt", "sample", DEBIAN, "--pairs", "90", "--held-out", "50", "--output", chosen).ok()
    with embedding_server() as server:
        model = ["--embed-model", "openai:text-embedding-3-small", "--embed-url", server.openai, "--no-embed-cache"]
        vex("convert", chosen, embedded, "--reembed", "--force-reembed", *model).ok()
    train: list[str | Path] = ["--source", chosen, "--target", embedded, "--to", "text-embedding-3-small", "-o", output]
    done = vex("adapt", "train", *train)
    assert done.code == 1
    assert "vectors fit those of other texts as well as their own" in done.err
    vex("adapt", "train", *train, "--force").ok()
    made = Projection.load(str(output))
    assert (made.source.name, made.source.dim, made.target.dim) == ("all-MiniLM-L6-v2", 384, 1536)
    assert made.report is not None
    assert (made.report.pairs, made.report.held_out) == (90, 50)  # as sample marked them
    assert made.header["pairs"]["chosen"] == "medoids"


# -- which model ----------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> Path:
    source, target, _ = code()
    path = tmp_path / "my.safetensors"
    Projection.train(source, target, source_model=SOURCE, target_model=TARGET, force=True).save(str(path))
    return path


@pytest.mark.parametrize(("side", "model"), [("source", SOURCE), ("target", TARGET)])
def test_the_model_of_other_texts_is_known_by_the_mean(side: str, model: str, made: Path, tmp_path: Path) -> None:
    """Games, by means that were learnt from libraries."""
    other = games()
    path = write_records(tmp_path / "games.jsonl", other.ids, getattr(other, side), model=model)
    done = vex("adapt", "detect", path, "--projection", made)
    assert f"likely written by {model}" in done.ok().out
    assert "all of length 1" in done.out
    assert not done.err


def test_a_model_that_is_named_wrongly_is_noticed(made: Path, tmp_path: Path) -> None:
    other = code()
    path = write_records(tmp_path / "code.jsonl", other.ids, other.target, model="e5-small-v2")
    done = vex("adapt", "detect", path, "--projection", made, "--json").ok()
    assert f"the records name e5-small-v2, their vectors look like those of {TARGET}" in done.err
    said = done.report
    assert (said["model"], said["confidence"], said["named"]) == (TARGET, "very likely", ["e5-small-v2"])
    assert said["warnings"]


def test_vectors_of_an_unknown_model_are_called_unknown(made: Path, tmp_path: Path) -> None:
    """Of the right dimension, but in other directions; and what the records say is doubted."""
    turned, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((384, 384)))
    other = code()
    vectors = (other.target @ turned).astype(np.float32) * 3
    done = vex(
        "adapt", "detect", write_records(tmp_path / "x.jsonl", other.ids, vectors, model=TARGET), "--projection", made
    ).ok()
    assert "written by none of the models that are known" in done.out
    assert "lengths 3 to 3" in done.out
    assert f"the records name {TARGET}, their vectors do not look like those of it" in done.err


def test_two_models_that_look_alike_are_not_decided_between() -> None:
    rows = code().source
    mean = rows.mean(0)
    found = detect(rows, [Fingerprint("one", mean, "a"), Fingerprint("two", mean, "b")])
    assert (found.model, found.confidence) == (None, "none")
    assert [one.model for one in found.candidates] == ["one", "two"]


def test_a_dimension_tells_something_by_itself(tmp_path: Path) -> None:
    path = write_records(tmp_path / "x.jsonl", ["a", "b"], np.ones((2, 768), np.float32))
    done = vex("adapt", "detect", path, "--json").ok()
    assert "bge-base-en-v1.5" in json.loads(done.out)["catalogued"]
    assert done.report["named"] == []
