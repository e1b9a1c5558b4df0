"""Projection on the way from one place to another: which records go through what, and what becomes of the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import vexarrow
from tests.projections import DIM_IN, DIM_OUT, SOURCE, TARGET, pairs, projection, records, vectors, write
from vexarrow import records as record_batches
from vexarrow.adapt import Projection
from vexarrow.adapt.adapting import Adapt, Adapting
from vexarrow.adapt.adapting_batch import with_notes
from vexarrow.adapt.model import ModelCard
from vexarrow.errors import NotFound, SchemaError, TooManyRejects, Unfit, UsageError, VexError
from vexarrow.protocols import Description


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No projections but those in a folder of the test's own."""
    monkeypatch.setenv("VEX_PROJECTIONS", str(tmp_path / "projections"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("VEX_REGISTRY", raising=False)
    (tmp_path / "projections").mkdir()
    return tmp_path / "projections"


def batch(
    matrix: Any, models: list[str | None] | str | None = SOURCE, extra: list[str | None] | None = None
) -> pa.RecordBatch:
    rows = len(matrix)
    named = models if isinstance(models, list) else [models] * rows
    columns: Mapping[str, Any] = {"id": [f"r{at}" for at in range(rows)], "model": named, "extra": extra}
    return record_batches.build({key: value for key, value in columns.items() if value is not None}, matrix)


def bound(wish: Adapt, *shown: pa.RecordBatch, **plan: Any) -> Adapting:
    transform = wish.transform()
    for one in shown:
        transform.look(one)
    transform.bind(Description(**plan))
    return transform


def real(count: int = 50) -> Any:
    return vectors(records()[:count])


def other_matrix(rows: int, dim: int) -> Any:
    return np.random.default_rng(1).standard_normal((rows, dim)).astype(np.float32)


# -- which record goes where ---------------------------------------------------------------------------------------


def test_every_record_of_the_source_model_is_projected_and_marked() -> None:
    changed = bound(Adapt(projections=[projection()]))(batch(real()))
    assert not changed.rejects
    assert np.array_equal(record_batches.matrix(changed.batch.column("vector")), projection().matrix(real()))
    assert set(changed.batch.column("model").to_pylist()) == {TARGET}
    note = json.loads(record_batches.storage(changed.batch.column("extra"))[0].as_py())
    assert note == {"adapted": {"from": SOURCE, "projection": projection().checksum, "dims": DIM_IN}}


def test_bind_makes_the_plan_that_of_the_target() -> None:
    transform = Adapt(projections=[projection()]).transform()
    plan = transform.bind(Description(dim=DIM_IN, model=SOURCE, metric="cosine", rows=9))
    assert plan == Description(dim=DIM_OUT, model=TARGET, metric="cosine", rows=9)
    assert transform.dim == DIM_OUT


def test_names_are_compared_as_names_of_models() -> None:
    names: list[str | None] = [f"sentence-transformers/{SOURCE}", SOURCE.upper(), SOURCE]
    changed = bound(Adapt(projections=[projection()]))(batch(real(3), names))
    notes = [json.loads(text)["adapted"]["from"] for text in record_batches.storage(changed.batch["extra"]).to_pylist()]
    assert notes == names


def test_models_may_mix_in_a_batch_and_each_goes_its_own_way() -> None:
    turned = Projection.train(pairs()[0] * 2, pairs()[1][:, ::-1], source_model="another", target_model=TARGET)
    names: list[str | None] = [SOURCE, "another", SOURCE, "unknown", None, "another"]
    changed = bound(Adapt(projections=[projection(), turned]))(batch(real(6), names))
    assert changed.batch.column("id").to_pylist() == ["r0", "r1", "r2", "r5"]
    made = record_batches.matrix(changed.batch.column("vector"))
    assert np.array_equal(made[[0, 2]], projection().matrix(real(6)[[0, 2]]))
    assert np.array_equal(made[[1, 3]], turned.matrix(real(6)[[1, 5]]))
    assert [(reject.row, reject.code) for reject in changed.rejects] == [(3, "no-projection"), (4, "no-model")]


def test_rejects_name_the_fix() -> None:
    changed = bound(Adapt(projections=[projection()]))(batch(real(2), ["unknown model", None]))
    unknown, unnamed = changed.rejects
    assert f"vex-adapt train --from 'unknown model' --to {TARGET}" in unknown.message
    assert "--from MODEL" in unnamed.message


def test_records_without_a_model_are_of_the_one_that_is_said() -> None:
    changed = bound(Adapt(projections=[projection()], source=SOURCE))(batch(real(3), [None, "", SOURCE]))
    assert not changed.rejects
    assert changed.batch.column("model").to_pylist() == [TARGET] * 3
    note = json.loads(record_batches.storage(changed.batch["extra"])[1].as_py())
    assert note["adapted"]["from"] == SOURCE


def test_the_model_that_is_said_stands_in_for_no_other() -> None:
    changed = bound(Adapt(projections=[projection()], source=SOURCE))(batch(real(2), ["other", None]))
    assert [(reject.row, reject.code) for reject in changed.rejects] == [(0, "no-projection")]


def test_vectors_of_the_target_pass_as_they_are() -> None:
    given = batch(pairs()[1][:5], TARGET, ['{"b": 1.0}', None, None, None, None])
    changed = bound(Adapt(projections=[projection()]))(given)
    assert changed.batch.equals(given)
    assert not changed.rejects


def test_twice_equals_once() -> None:
    transform = bound(Adapt(projections=[projection()]))
    once = transform(batch(real())).batch
    assert transform(once).batch.equals(once)


def test_a_vector_of_a_length_that_its_model_does_not_have_is_rejected() -> None:
    transform = bound(Adapt(projections=[projection()]))
    for name, dim in ((SOURCE, 100), (TARGET, DIM_IN)):
        changed = transform(batch(other_matrix(3, dim), name))
        assert [reject.code for reject in changed.rejects] == ["dimension"] * 3
        assert str(dim) in changed.rejects[0].message
        assert record_batches.dim(changed.batch) == DIM_OUT


def test_what_has_no_direction_is_rejected_and_the_others_stay_exact() -> None:
    matrix = real(7).copy()
    matrix[1], matrix[3, 5], matrix[5, 0] = 0, np.nan, np.inf
    given = batch(record_batches.from_matrix(matrix, np.arange(7) != 6))
    changed = bound(Adapt(projections=[projection()]))(given)
    assert sorted((reject.row, reject.code) for reject in changed.rejects) == [
        (1, "zero-vector"),
        (3, "vector-not-finite"),
        (5, "vector-not-finite"),
        (6, "no-vector"),
    ]
    made = record_batches.matrix(changed.batch.column("vector"))
    assert np.array_equal(made, projection().matrix(real(7)[[0, 2, 4]]))


def test_a_batch_without_any_vector_is_rejected_whole() -> None:
    changed = bound(Adapt(projections=[projection()]))(
        record_batches.build({"id": ["a", "b"], "model": [SOURCE, None]})
    )
    assert [reject.code for reject in changed.rejects] == ["no-vector", "no-vector"]
    assert changed.batch.num_rows == 0


def test_an_empty_batch_stays_empty() -> None:
    changed = bound(Adapt(projections=[projection()]))(record_batches.empty())
    assert (changed.batch.num_rows, changed.rejects) == (0, [])


def test_slices_of_a_batch_are_projected_as_what_they_show() -> None:
    transform = bound(Adapt(projections=[projection()]))
    whole = transform(batch(real(20))).batch
    part = transform(batch(real(20)).slice(7, 5)).batch
    assert np.allclose(record_batches.matrix(part["vector"]), record_batches.matrix(whole["vector"])[7:12], atol=1e-6)
    assert part.column("id").to_pylist() == [f"r{at}" for at in range(7, 12)]


# -- extra ---------------------------------------------------------------------------------------------------------


def noted(text: str | None, note: str | None = '"adapted":{"from":"m"}') -> str | None:
    found = with_notes(record_batches.json_array([text]), pa.array([note], pa.string()))
    value: str | None = record_batches.storage(found)[0].as_py()
    return value


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, '{"adapted":{"from":"m"}}'),
        ("{}", '{"adapted":{"from":"m"}}'),
        (" { } \n", '{"adapted":{"from":"m"}}'),
        ('{"id":5,"b": 1.0}', '{"id":5,"b": 1.0,"adapted":{"from":"m"}}'),
        ('{"ä": {"b":[1, 2]} }', '{"ä": {"b":[1, 2]},"adapted":{"from":"m"}}'),
        ('{"dims":384,"b":1}', '{"b":1,"adapted":{"from":"m"}}'),
        ('{"b":{"dims":384}}', '{"b":{"dims":384},"adapted":{"from":"m"}}'),
        ('{"adapted":{"from":"a"},"b":1}', '{"b":1,"adapted":{"from":"m","before":{"from":"a"}}}'),
        ('{"dims":384', '{"dims":384'),
        ("[1]", "[1]"),
    ],
)
def test_the_note_joins_what_extra_says_already(before: str | None, after: str) -> None:
    assert noted(before) == after


def test_a_row_without_a_note_keeps_its_extra() -> None:
    assert noted('{"dims":384, "adapted":1}', None) == '{"dims":384, "adapted":1}'
    assert noted(None, None) is None


def test_records_that_were_projected_before_are_counted_and_keep_the_older_note() -> None:
    first = bound(Adapt(projections=[projection()]))(batch(real())).batch
    x, y = projection().matrix(pairs()[0]), pairs()[0][:, :64]
    further = Projection.train(x, y, source_model=TARGET, target_model="third", force=True)
    transform = bound(Adapt(projections=[further], force=True))
    second = transform(first).batch
    note = json.loads(record_batches.storage(second.column("extra"))[0].as_py())["adapted"]
    assert (note["from"], note["before"]["from"]) == (TARGET, SOURCE)
    assert any("50 records" in said and "projected before" in said for said in transform.warnings)


def test_cuts_are_exact_and_errors_do_not_add_up() -> None:
    """Neither a projection of vectors that were cut nor a cut of projected ones is warned of."""
    model, whole = "text-embedding-3-small", other_matrix(10, 1536)
    short = bound(Adapt(f"{model}@512"), batch(whole, model))(batch(whole, model)).batch
    weight, bias = other_matrix(512, 1536), other_matrix(1, 1536)[0]
    there = Projection(weight, bias, ModelCard(model, 512), ModelCard("text-embedding-3-large", 1536))
    back = Projection(weight, bias, ModelCard("x", 512), ModelCard(model, 1536))
    for first, wish in (
        (short, Adapt(projections=[there])),
        (back(batch(whole[:, :512], "x")), Adapt(f"{model}@512")),
    ):
        transform = bound(wish, first)
        assert transform(first).batch.num_rows == 10
        assert not any("projected before" in said for said in transform.warnings)


# -- before anything is written ------------------------------------------------------------------------------------


def test_projections_at_hand_are_found_by_name(nothing_at_hand: Path) -> None:
    projection().save(str(nothing_at_hand / "a.safetensors"))
    transform = bound(Adapt(TARGET), batch(real()))
    assert transform.dim == DIM_OUT
    assert not transform(batch(real())).rejects


def test_a_model_cut_short_needs_no_file() -> None:
    x = other_matrix(10, 1536)
    transform = bound(Adapt("openai:text-embedding-3-small@512"), batch(x, "text-embedding-3-small"))
    changed = transform(batch(x, "text-embedding-3-small")).batch
    made = record_batches.matrix(changed.column("vector"))
    assert np.allclose(made, x[:, :512] / np.linalg.norm(x[:, :512], axis=1, keepdims=True), atol=1e-6)
    assert set(changed.column("model").to_pylist()) == {"text-embedding-3-small"}
    assert "the first 512 components" in transform.said()[0]
    assert not any("thresholds" in said for said in transform.said())


def test_without_a_projection_nothing_starts() -> None:
    with pytest.raises(NotFound, match=f"vex-adapt train --from {SOURCE} --to target"):
        bound(Adapt("target"), batch(real()))
    with pytest.raises(NotFound, match="vex-adapt train --from said --to target"):
        bound(Adapt("target", source="said"))
    with pytest.raises(UsageError, match="names no model"):
        bound(Adapt("target"), batch(real(), None))
    with pytest.raises(UsageError, match="names no model"):
        bound(Adapt(projections=[projection()]), batch(real(), None))
    with pytest.raises(SchemaError, match="384 dimensions, this one has 100"):
        bound(Adapt(projections=[projection()]), batch(other_matrix(30, 100), SOURCE))


def test_a_model_of_ones_own_words_must_lead_somewhere() -> None:
    with pytest.raises(NotFound, match="no projection from other"):
        bound(Adapt(projections=[projection()], source="other"), batch(real()))


@pytest.mark.parametrize("wanted", [64, 5000])
def test_a_cut_to_more_dimensions_than_there_are_says_so(wanted: int) -> None:
    name = "text-embedding-3-small"
    with pytest.raises(SchemaError, match=f"cut, not lengthened: {wanted} dimensions are wanted, this one has 32"):
        bound(Adapt(f"{name}@{wanted}"), batch(other_matrix(3, 32), name))


def test_two_projections_from_one_model_are_refused() -> None:
    again = replace(projection(), source=replace(projection().source, name=f"maker/{SOURCE}"))
    with pytest.raises(UsageError, match=f"two projections from maker/{SOURCE}"):
        Adapt(projections=[projection(), again]).transform()


def test_projections_must_lead_to_one_space() -> None:
    other = replace(projection(), target=replace(projection().target, name="elsewhere"))
    with pytest.raises(UsageError, match="different spaces"):
        Adapt(projections=[projection(), other]).transform()
    with pytest.raises(UsageError, match="leads to wordllama-l2-128"):
        Adapt("elsewhere", [projection()]).transform()
    with pytest.raises(UsageError, match="where to"):
        Adapt().transform()
    with pytest.raises(UsageError, match="one space"):
        Adapt.of(["one", "two"])


def test_a_projection_that_keeps_the_name_of_its_model_is_refused() -> None:
    square = Projection(np.eye(4, dtype=np.float32), np.zeros(4, np.float32), ModelCard("m", 4), ModelCard("M", 4))
    with pytest.raises(UsageError, match="could not be told apart"):
        Adapt(projections=[square]).transform()


def refused() -> Projection:
    reason = {"code": "source", "message": "stay on the source model"}
    return projection().with_header(verdict={"verdict": "refused", "refused": [reason]})


def test_a_projection_that_was_refused_is_refused_again(nothing_at_hand: Path) -> None:
    with pytest.raises(Unfit, match="stay on the source model"):
        Adapt(projections=[refused()]).transform()
    refused().save(str(nothing_at_hand / "a.safetensors"))
    with pytest.raises(Unfit, match="stay on the source model"):
        bound(Adapt(TARGET), batch(real()))
    with pytest.raises(Unfit, match="stay on the source model"):
        bound(Adapt(TARGET, source=SOURCE))
    transform = bound(Adapt(TARGET, force=True), batch(real()))
    assert not transform(batch(real())).rejects
    assert any("was refused, and used all the same" in said for said in transform.warnings)


def test_a_refused_projection_that_is_found_on_the_way_rejects_its_records(nothing_at_hand: Path) -> None:
    refused().save(str(nothing_at_hand / "a.safetensors"))
    good = replace(projection(), source=replace(projection().source, name="good"))
    changed = bound(Adapt(projections=[good]), batch(real(), "good"))(batch(real(2), ["good", SOURCE]))
    assert [(reject.row, reject.code) for reject in changed.rejects] == [(1, "unfit-projection")]


def narrow() -> tuple[Projection, Any, Any]:
    """A projection trained on vectors that lie near a plane of six dimensions, more of these, and others."""
    chance = np.random.default_rng(3)
    plane, onto = chance.standard_normal((6, 32)), chance.standard_normal((32, 16))
    x = chance.standard_normal((600, 6)) @ plane + 0.3 * chance.standard_normal((600, 32)) + 1
    y = np.tanh(x @ onto / 8) + 0.01 * chance.standard_normal((600, 16))
    made = Projection.train(x[:400], y[:400], source_model="narrow", target_model="t", force=True)
    return made, x[400:].astype(np.float32), chance.standard_normal((200, 32)).astype(np.float32)


def test_vectors_unlike_anything_trained_on_are_refused_before_and_warned_of_after() -> None:
    made, alike, strange = narrow()
    made = made.with_header(verdict={"refused": []})
    with pytest.raises(Unfit, match=r"% of 200 vectors of narrow are unlike anything"):
        bound(Adapt(projections=[made]), batch(strange, "narrow"))
    transform = bound(Adapt(projections=[made], force=True), batch(strange, "narrow"))
    assert len(transform(batch(strange, "narrow")).rejects) == 0
    assert any("not to be trusted" in said for said in transform.warnings)
    familiar = bound(Adapt(projections=[made]), batch(alike, "narrow"))
    familiar(batch(alike, "narrow"))
    assert not familiar.warnings


def test_few_strange_vectors_are_no_reason() -> None:
    made, _, strange = narrow()
    transform = bound(Adapt(projections=[made.with_header(verdict={"refused": []})]), batch(strange[:19], "narrow"))
    assert transform.dim == 16


# -- what is said --------------------------------------------------------------------------------------------------


def test_what_always_has_to_be_said_is_said() -> None:
    transform = bound(Adapt(projections=[projection()]))
    transform(batch(real()))
    transform(batch(pairs()[1][:5], TARGET))
    said = " ".join(transform.said())
    report = projection().report
    assert report is not None
    assert f"50 records were projected from {SOURCE} to {TARGET}: an approximation; expect " in said
    assert f"{1 - report.overlap.value:.0%} of a record's 10 nearest neighbours to differ" in said
    assert f"5 records were vectors of {TARGET} already" in said
    for words in ("thresholds have to be tuned again", "do not mix", "keep the source vectors"):
        assert words in said


def test_a_projection_that_does_not_say_how_good_it_is_is_called_so() -> None:
    plain = Projection(projection().weight, projection().bias, projection().source, projection().target)
    transform = bound(Adapt(projections=[plain]), batch(real()))
    transform(batch(real()))
    assert "nobody knows how good" in transform.said()[0]
    assert "its file does not say" in " ".join(transform.warnings)
    measured = bound(Adapt(projections=[projection()]), batch(real()))
    measured(batch(real()))
    assert not measured.warnings


def test_further_vectors_are_left_and_that_is_said() -> None:
    title = record_batches.from_matrix(other_matrix(50, 3))
    given = record_batches.build(
        {"id": [str(at) for at in range(50)], "model": [SOURCE] * 50}, real(), more={"vector:title": title}
    )
    transform = bound(Adapt(projections=[projection()]), vectors={"vector:title": 3})
    assert transform(given).batch.column("vector:title").equals(title)
    assert any("vector:title" in said for said in transform.warnings)


def test_facts_hold_the_counts() -> None:
    transform = bound(Adapt(projections=[projection()]))
    transform(batch(real(4), [SOURCE, SOURCE, "other", SOURCE]))
    (facts,) = transform.facts.values()
    assert isinstance(facts, dict)
    assert (facts["projected"], facts["passed"], facts["dimension"]) == (3, 0, DIM_OUT)
    assert facts["models"][0]["projection"] == projection().checksum
    assert facts["refused"] == [{"model": "other", "dimension": DIM_IN, "records": 1, "code": "no-projection"}]


# -- one batch on its own ------------------------------------------------------------------------------------------


def test_a_projection_takes_a_record_batch() -> None:
    changed = projection()(batch(real(3)))
    assert np.array_equal(record_batches.matrix(changed.column("vector")), projection().matrix(real(3)))
    assert changed.column("model").to_pylist() == [TARGET] * 3


def test_null_vectors_of_a_batch_stay_null() -> None:
    given = batch(record_batches.from_matrix(real(3), np.array([True, False, True])))
    changed = projection()(given)
    assert record_batches.present(changed.column("vector")).tolist() == [True, False, True]
    assert changed.column("model").to_pylist() == [TARGET, SOURCE, TARGET]
    empty = projection()(record_batches.build({"id": ["a"], "model": [SOURCE]}))
    assert (record_batches.dim(empty), empty.column("vector").null_count) == (DIM_OUT, 1)


@pytest.mark.parametrize("name", ["other", None, ""])
def test_a_batch_of_another_model_is_refused_whole(name: str | None) -> None:
    with pytest.raises(SchemaError, match="the projection is for records of all-MiniLM-L6-v2"):
        projection()(batch(real(2), [SOURCE, name]))


def test_what_is_no_batch_of_records_is_told_from_one() -> None:
    vector = record_batches.from_matrix(real(2))
    for other in (real(2), vector, pa.record_batch({"vector": vector})):
        with pytest.raises(SchemaError, match=r"columns vector, model and extra.*projection\.matrix"):
            projection()(other)


# -- the public function -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", ["object", "file", "several", "target"])
def test_copy_projects(tmp_path: Path, wish: str) -> None:
    source = write(tmp_path / "in.vmig.jsonl", [dict(row) for row in records()])
    file = str(tmp_path / "my.safetensors")
    projection().save(file)
    wishes: dict[str, Any] = {
        "object": projection(),
        "file": file,
        "several": [file],
        "target": Adapt(TARGET, [projection()]),
    }
    report = vexarrow.copy(str(source), str(tmp_path / "out.parquet"), adapt=wishes[wish])
    assert report.counts.written == 160
    made = record_batches.matrix(vexarrow.read(str(tmp_path / "out.parquet")).read_all().column("vector"))
    assert np.allclose(made, projection().matrix(vectors(records())), atol=1e-6)


def test_copy_takes_no_two_ways_to_new_vectors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="contradict"):
        vexarrow.copy("a.vmig.jsonl", str(tmp_path / "b.vmig.jsonl"), adapt=projection(), reembed="openai:x")


def test_strict_ends_at_the_first_record_that_cannot_be_projected(tmp_path: Path) -> None:
    rows = [dict(row) for row in records()[:30]]
    rows[7]["model"] = "other"
    source = write(tmp_path / "in.vmig.jsonl", rows)
    with pytest.raises(TooManyRejects, match="line 8: there is no projection from other"):
        vexarrow.copy(str(source), str(tmp_path / "out.parquet"), adapt=projection(), strict=True)
    assert not (tmp_path / "out.parquet").exists()


def test_a_run_that_rejects_all_says_why(tmp_path: Path) -> None:
    rows = [{**row, "vector": None} for row in records()[:3]]
    with pytest.raises(VexError, match=r"not one of the 3 records .* no vector to project"):
        vexarrow.copy(str(write(tmp_path / "in.vmig.jsonl", rows)), str(tmp_path / "o.parquet"), adapt=projection())
