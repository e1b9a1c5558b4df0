"""`vex-adapt train`: pairs in, a projection with its report out, or a refusal that says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.adapt.real import CODE, SOURCE, TARGET, code, games, write_pairs, write_records
from tests.commands import Done, names, vex
from vexarrow.adapt import Projection
from vexarrow.adapt.training import attempt
from vexarrow.errors import DataError, SchemaError, Unfit, UsageError

CAUTIONS = ("Thresholds on scores", "must not be mixed unmarked", "Keep the source vectors", "are approximate")


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "aligned.jsonl", *code())


def train(*arguments: str | Path, source: str = SOURCE, target: str = TARGET) -> Done:
    return vex("adapt", "train", "--from", source, "--to", target, *arguments)


def test_good_pairs_make_a_projection_with_its_report(aligned: Path, tmp_path: Path) -> None:
    output = tmp_path / "my.safetensors"
    done = train("--pairs", aligned, "-o", output).ok()
    made = Projection.load(str(output))
    pairs = code()
    same = Projection.train(pairs.source, pairs.target, source_model=SOURCE, target_model=TARGET)
    assert (made.source.name, made.source.dim, made.target.name, made.target.dim) == (SOURCE, 128, TARGET, 384)
    assert made.report == same.report
    assert made.header["pairs"]["count"] == CODE - sum(made.header["pairs"]["dropped"].values())
    assert made.checksum in done.out
    for words in ("verdict: usable with care", "staying on the source model", *CAUTIONS):
        assert words in done.out


def test_the_report_is_one_json_object_too(aligned: Path, tmp_path: Path) -> None:
    said = train("--pairs", aligned, "-o", tmp_path / "my.safetensors", "--json").ok().report
    assert said["verdict"] == "usable with care"
    assert said["report"]["overlap"]["value"] > said["report"]["source_overlap"]["value"]
    assert said["checksum"] == Projection.load(str(tmp_path / "my.safetensors")).checksum
    assert said["thresholds"]["fewest_pairs"] == 50
    assert len(said["always"]) == 4


def test_the_same_pairs_and_seed_give_the_same_bytes(aligned: Path, tmp_path: Path) -> None:
    """In this process, and in processes of their own, which may take other kernels of BLAS than this one has."""
    script = "from vexarrow.cli import adapt_main; adapt_main()"
    arguments = ["--from", SOURCE, "--to", TARGET, "--pairs", str(aligned), "-o"]
    for name in ("a", "b"):
        train("--pairs", aligned, "-o", tmp_path / f"{name}.safetensors").ok()
        output = str(tmp_path / f"{name}-alone.safetensors")
        subprocess.run([sys.executable, "-c", script, "train", *arguments, output], check=True, capture_output=True)
    for kind in ("", "-alone"):
        one, other = (tmp_path / f"{name}{kind}.safetensors" for name in ("a", "b"))
        assert one.read_bytes() == other.read_bytes()


def test_another_seed_holds_out_others(aligned: Path, tmp_path: Path) -> None:
    train("--pairs", aligned, "-o", tmp_path / "a.safetensors").ok()
    train("--pairs", aligned, "--seed", "1", "-o", tmp_path / "b.safetensors").ok()
    one, other = (Projection.load(str(tmp_path / name)) for name in ("a.safetensors", "b.safetensors"))
    assert one.header["pairs"]["held_out_sha256"] != other.header["pairs"]["held_out_sha256"]
    assert one.header["pairs"]["sha256"] == other.header["pairs"]["sha256"]


def test_where_it_comes_from_is_in_the_header(aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    said = ["--from-prefix", "", "--to-prefix", "passage: ", "--from-provider", "x", "--to-revision", "r2"]
    said += ["--corpus", "Debian packages", "--language", "en", "--pairs-licence", "MIT", "--weights-licence", "CC0"]
    done = train("--pairs", aligned, "-o", tmp_path / "my.safetensors", *said).ok()
    made = Projection.load(str(tmp_path / "my.safetensors"))
    assert (made.source.prefix, made.source.provider, made.target.prefix, made.target.revision) == (
        *("", "x", "passage: ", "r2"),
    )
    assert made.header["pairs"]["corpus"] == "Debian packages"
    assert made.header["licences"] == {"pairs": "MIT", "weights": "CC0"}
    assert made.header["created_at"] == "2023-11-14T22:13:20+00:00"
    assert "prefix" not in done.out


def test_the_checksum_that_is_printed_is_that_of_the_file(aligned: Path, tmp_path: Path) -> None:
    """Rounding to float16 changes it, and records carry that of the file."""
    said = train("--pairs", aligned, "-o", tmp_path / "h.safetensors", "--half", "--json").ok().report
    assert said["checksum"] == Projection.load(str(tmp_path / "h.safetensors")).checksum


def test_half_is_half_the_size(aligned: Path, tmp_path: Path) -> None:
    train("--pairs", aligned, "-o", tmp_path / "whole.safetensors").ok()
    train("--pairs", aligned, "--half", "-o", tmp_path / "half.safetensors").ok()
    sizes = [(tmp_path / name).stat().st_size for name in ("half.safetensors", "whole.safetensors")]
    assert sizes[0] < 0.55 * sizes[1]
    whole, half = (Projection.load(str(tmp_path / name)) for name in ("whole.safetensors", "half.safetensors"))
    np.testing.assert_allclose(whole.matrix(code().source), half.matrix(code().source), atol=2e-3)


def test_a_prior_is_corrected(aligned: Path, tmp_path: Path) -> None:
    train("--pairs", aligned, "-o", tmp_path / "prior.safetensors").ok()
    own = write_pairs(tmp_path / "own.jsonl", *games())
    arguments: list[str | Path] = [
        "--pairs",
        own,
        "--prior",
        tmp_path / "prior.safetensors",
        "-o",
        tmp_path / "own.safetensors",
    ]
    train(*arguments, "--force").ok()
    made = Projection.load(str(tmp_path / "own.safetensors"))
    assert made.header["method"]["prior"] == Projection.load(str(tmp_path / "prior.safetensors")).checksum


def test_a_prior_of_other_models_is_refused(aligned: Path, tmp_path: Path) -> None:
    train("--pairs", aligned, "-o", tmp_path / "prior.safetensors").ok()
    done = train(
        "--pairs", aligned, "--prior", tmp_path / "prior.safetensors", "-o", tmp_path / "x.safetensors", source="y"
    )
    assert done.code == 1
    assert f"the prior is from {SOURCE} (128)" in done.err
    unknown = train("--pairs", aligned, "--prior", "nobody", "-o", tmp_path / "x.safetensors")
    assert unknown.code == 2
    assert "--prior nobody: no file of a projection" in unknown.err


# -- the gate ---------------------------------------------------------------------------------------------


def test_a_refused_projection_is_reported_and_not_written(tmp_path: Path) -> None:
    """Pairs that were shuffled."""
    source, target, _ = code()
    mixed = write_pairs(tmp_path / "mixed.jsonl", source, target[np.random.default_rng(0).permutation(CODE)])
    done = train("--pairs", mixed, "-o", tmp_path / "my.safetensors")
    assert done.code == 1
    assert "verdict: refused" in done.out
    assert "the projection is refused" in done.err
    assert "see that both vectors of a pair are of one text" in done.err
    assert "--force" in done.err
    assert names(tmp_path) == {"mixed.jsonl"}


def test_force_writes_what_is_refused(tmp_path: Path) -> None:
    source, target, _ = code()
    mixed = write_pairs(tmp_path / "mixed.jsonl", source, target[np.random.default_rng(0).permutation(CODE)])
    done = train("--pairs", mixed, "-o", tmp_path / "my.safetensors", "--force").ok()
    assert "verdict: refused" in done.out
    assert Projection.load(str(tmp_path / "my.safetensors")).header["verdict"]["verdict"] == "refused"


@pytest.mark.parametrize("count", [20, 30])
def test_too_few_pairs_are_refused(count: int, tmp_path: Path) -> None:
    source, target, _ = code()
    few = write_pairs(tmp_path / "few.jsonl", source[:count], target[:count])
    done = train("--pairs", few, "-o", tmp_path / "my.safetensors")
    assert done.code == 1
    assert f"{count} pairs are too few" in done.err
    assert "at least 50 are needed, and 256, twice the source's dimensions, are good" in done.err


def test_few_pairs_are_measured_when_forced(tmp_path: Path) -> None:
    source, target, _ = code()
    few = write_pairs(tmp_path / "few.jsonl", source[:20], target[:20])
    done = train("--pairs", few, "-o", tmp_path / "my.safetensors", "--force").ok()
    assert "measured on 4 others" in done.out
    assert "20 pairs are too few" in done.out


def test_python_refuses_with_the_report() -> None:
    source, target, _ = code()
    with pytest.raises(Unfit, match="are of one text") as caught:
        Projection.train(source, target[::-1], source_model=SOURCE, target_model=TARGET)
    assert caught.value.verdict is not None
    assert "shuffled" in {reason.code for reason in caught.value.verdict.refused}
    assert caught.value.report is not None


def test_a_corpus_unlike_the_pairs_is_refused(aligned: Path, tmp_path: Path) -> None:
    other = games()
    corpus = write_records(tmp_path / "games.vmig.jsonl", other.ids, other.source)
    done = train("--pairs", aligned, "-o", tmp_path / "my.safetensors", "--corpus-from", corpus)
    assert done.code == 1
    assert "of the vectors are unlike anything it was trained on: add pairs of such texts" in done.err
    assert "of 100 vectors" in done.out


# -- bad input --------------------------------------------------------------------------------------------


def test_the_same_model_on_both_sides_is_refused(aligned: Path, tmp_path: Path) -> None:
    done = train("--pairs", aligned, "-o", tmp_path / "x.safetensors", source="one", target="one")
    assert done.code == 2
    assert "both sides are vectors of one: there is nothing to translate" in done.err
    done = train("--pairs", aligned, "-o", tmp_path / "x.safetensors", source="one", target="Maker/One")
    assert "both sides are vectors of one" in done.err  # records of the one would pass as native ones of the other
    two = ["--from-revision", "1", "--to-revision", "2"]
    train("--pairs", aligned, "-o", tmp_path / "x.safetensors", *two, source="one", target="one").ok()


def bad(**changed: Any) -> dict[str, Any]:
    source, target, _ = code()
    return {"source": source, "target": target, "source_model": SOURCE, "target_model": TARGET, **changed}


def test_sides_of_unequal_length_are_refused() -> None:
    with pytest.raises(SchemaError, match="240 source vectors and 239 target vectors: pairs need one of each"):
        Projection.train(**bad(target=code().target[1:]))


@pytest.mark.parametrize("side", ["source", "target"])
def test_constant_vectors_are_refused(side: str) -> None:
    same = np.repeat(getattr(code(), side)[:1], CODE, axis=0)
    with pytest.raises(DataError, match=f"all 240 {side} vectors are the same; pairs of different texts are needed"):
        Projection.train(**bad(**{side: same}))


def test_rows_that_teach_nothing_are_left_out_and_counted() -> None:
    source, target, _ = code()
    source[3], target[5] = np.nan, 0
    source[7], target[7] = source[6], target[6]
    source[9] = source[8] * 1.5
    clean = attempt(**bad(), force=True)
    done = attempt(**bad(source=source, target=target), force=True)
    before = clean.finish().header["pairs"]["dropped"]
    after = done.finish().header["pairs"]["dropped"]
    gained = {reason: after.get(reason, 0) - before.get(reason, 0) for reason in {*before, *after}}
    assert gained == {"not finite or zero": 2, "duplicates": 1, "near duplicates": 1}


def test_vectors_that_are_not_normalised_are_projected_as_if_they_were_and_said_so() -> None:
    source = code().source
    lengths = np.linspace(0.5, 20, CODE, dtype=np.float32)[:, None]
    plain, scaled = attempt(**bad()), attempt(**bad(source=source * lengths))
    assert scaled.report.overlap.value == pytest.approx(plain.report.overlap.value, abs=0.01)
    assert (plain.judged.source.normalised, scaled.judged.source.normalised) == (True, False)
    assert [reason.code for reason in scaled.verdict.warnings].count("norms") == 1


def test_a_vector_of_zeros_that_is_left_out_says_nothing_of_the_lengths_of_others() -> None:
    source = code().source.copy()
    source[7] = 0
    trial = attempt(**bad(source=source))
    assert trial.judged.source.normalised
    assert "norms" not in [reason.code for reason in trial.verdict.warnings]


def test_the_curve_looks_for_as_many_neighbours_as_the_report() -> None:
    """Of ten held-out rows all are neighbours of all, so five are looked for, and the report says five."""
    report = attempt(**bad(), held_out=10).report
    assert report.neighbours == 5
    assert report.curve[-1].overlap == pytest.approx(report.overlap.value)
    assert attempt(**bad(), held_out=11).report.neighbours == 10


@pytest.mark.parametrize("held_out", [1, CODE - 2, CODE + 1])
def test_a_hold_out_that_leaves_nothing_is_refused(held_out: int) -> None:
    with pytest.raises(UsageError, match="cannot be held out"):
        attempt(**bad(held_out=held_out))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "pairs come from --pairs, or from --source and --target"),
        (["--source", "a.parquet"], "pairs come from --pairs, or from --source and --target"),
        (["--pairs", "x.jsonl", "--source", "y"], "--pairs holds both sides"),
        (["--pairs", "x.jsonl", "--source-url", "y"], "--pairs holds both sides"),
        (["--pairs", "x.jsonl", "--nonsense", "y"], "no such option: --nonsense"),
    ],
)
def test_where_pairs_come_from_has_to_be_clear(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = train(*arguments, "-o", tmp_path / "x.safetensors")
    assert done.code == 2
    assert said in done.err


def test_an_output_is_a_safetensors_file_and_not_replaced_by_accident(aligned: Path, tmp_path: Path) -> None:
    done = train("--pairs", aligned, "-o", tmp_path / "my.json")
    assert done.code == 2
    assert "ends in .safetensors" in done.err
    (tmp_path / "my.safetensors").write_bytes(b"mine")
    done = train("--pairs", aligned, "-o", tmp_path / "my.safetensors")
    assert done.code == 2
    assert "--overwrite replaces it" in done.err
    assert (tmp_path / "my.safetensors").read_bytes() == b"mine"
    train("--pairs", aligned, "-o", tmp_path / "my.safetensors", "--overwrite").ok()
    assert Projection.load(str(tmp_path / "my.safetensors")).source.name == SOURCE


def test_a_time_that_is_none_is_refused(aligned: Path, tmp_path: Path) -> None:
    done = train("--pairs", aligned, "-o", tmp_path / "x.safetensors", "--created-at", "yesterday")
    assert done.code == 2
    assert "--created-at yesterday: no time" in done.err


def test_models_that_are_not_named_are_asked_for(aligned: Path, tmp_path: Path) -> None:
    done = vex("adapt", "train", "--pairs", aligned, "-o", tmp_path / "x.safetensors", "--to", "b")
    assert done.code == 2
    assert "--from names the model of the source vectors" in done.err


# -- two places -------------------------------------------------------------------------------------------


def test_two_places_are_joined_on_their_ids(tmp_path: Path) -> None:
    """In whatever order, in whatever format, and with records that are on one side alone."""
    source, target, ids = code()
    a = write_records(tmp_path / "a.vmig.jsonl", ids, source, model=SOURCE)
    turned = np.arange(CODE)[::-1]
    b = write_records(tmp_path / "b.vmig.jsonl", [ids[row] for row in turned[:-20]], target[turned[:-20]], model=TARGET)
    vex("convert", b, tmp_path / "b.parquet").ok()
    joined: list[str | Path] = ["--source", a, "--target", tmp_path / "b.parquet", "-o", tmp_path / "my.safetensors"]
    done = vex("adapt", "train", *joined).ok()
    made = Projection.load(str(tmp_path / "my.safetensors"))
    assert (made.source.name, made.target.name) == (SOURCE, TARGET)  # as the records name them
    assert made.header["pairs"]["count"] + sum(made.header["pairs"]["dropped"].values()) == CODE - 20
    assert "220 ids are on both sides: of 240 records of" in done.err
    assert "and of 220 of" in done.err


def test_the_order_of_records_in_a_place_does_not_matter(tmp_path: Path) -> None:
    """Stores give records in orders of their own."""
    source, target, ids = code()
    b = write_records(tmp_path / "b.jsonl", ids, target, model=TARGET)
    made = []
    for name, order in (("one", np.arange(CODE)), ("two", np.arange(CODE)[::-1])):
        a = write_records(tmp_path / f"{name}.jsonl", [ids[row] for row in order], source[order], model=SOURCE)
        output = tmp_path / f"{name}.safetensors"
        train("--source", a, "--target", b, "-o", output).ok()
        made.append(output.read_bytes())
    assert made[0] == made[1]


def test_vectors_of_several_dimensions_name_their_place_and_the_way_out(tmp_path: Path) -> None:
    source, target, ids = code()
    a = write_records(tmp_path / "a.jsonl", ids, source)
    b = write_records(tmp_path / "b.jsonl", ids, [*target[:-5], *target[-5:, :100]])
    done = train("--source", a, "--target", b, "-o", tmp_path / "x.safetensors")
    assert done.code == 1
    assert f"{b}: vectors have " in done.err
    assert f"vex convert {b} one.parquet --where 'dims = N'" in done.err


def test_records_of_several_models_are_noted(tmp_path: Path) -> None:
    source, target, ids = code()
    a = write_records(tmp_path / "a.jsonl", ids[:200], source[:200], model=SOURCE)
    others = write_records(tmp_path / "others.jsonl", ids[200:], source[200:], model="something-else")
    a.write_text(a.read_text() + others.read_text())
    b = write_records(tmp_path / "b.jsonl", ids, target)
    done = train("--source", a, "--target", b, "-o", tmp_path / "x.safetensors").ok()
    assert f"name 2 models (something-else, {SOURCE}), and all of them were taken" in done.err


def test_a_plain_matrix_can_be_a_prior(aligned: Path, tmp_path: Path) -> None:
    """It does not say which models it is between; --from and --to do."""
    weight = Projection.train(code().source, code().target, source_model=SOURCE, target_model=TARGET).weight
    np.save(tmp_path / "prior.npy", weight)
    train("--pairs", aligned, "--prior", tmp_path / "prior.npy", "-o", tmp_path / "x.safetensors", "--force").ok()


def test_a_secret_in_the_output_is_not_shown(aligned: Path) -> None:
    done = train("--pairs", aligned, "-o", "memory://me:hunter2@there/my.safetensors").ok()
    assert "written: memory://me:***@there" in done.out


def test_a_place_may_be_a_store(tmp_path: Path) -> None:
    source, target, ids = code()
    a = write_records(tmp_path / "a.vmig.jsonl", ids, source, model=SOURCE)
    b = write_records(tmp_path / "b.vmig.jsonl", ids, target)
    vex("import", "--from", a, "--to", "vektor", "--db", tmp_path / "a.db").ok()
    named: list[str | Path] = ["--source", "vektor", "--source-db", tmp_path / "a.db", "--target", b]
    train(*named, "-o", tmp_path / "my.safetensors").ok()
    assert Projection.load(str(tmp_path / "my.safetensors")).header["pairs"]["sha256"]


def test_ids_that_do_not_join_are_shown(tmp_path: Path) -> None:
    source, target, ids = code()
    a = write_records(tmp_path / "a.jsonl", ids, source)
    b = write_records(tmp_path / "b.jsonl", [f"row-{at}" for at in range(CODE)], target)
    done = train("--source", a, "--target", b, "-o", tmp_path / "x.safetensors")
    assert done.code == 1
    assert "no id is on both sides" in done.err
    assert f"has 240 records ({ids[0]}, {ids[1]}, {ids[2]}, ...)" in done.err
    assert "has 240 (row-0, row-1, row-2, ...)" in done.err


def test_records_without_vectors_are_counted(tmp_path: Path) -> None:
    source, target, ids = code()
    a = write_records(tmp_path / "a.jsonl", ids, source)
    b = write_records(tmp_path / "b.jsonl", ids, [*target[:-5], *[None] * 5])
    done = train("--source", a, "--target", b, "-o", tmp_path / "x.safetensors").ok()
    assert "5 records of" in done.err
    none = write_records(tmp_path / "none.jsonl", ids, [None] * CODE)
    done = train("--source", a, "--target", none, "-o", tmp_path / "y.safetensors")
    assert done.code == 1
    assert "none of the 240 records of" in done.err


def test_records_that_name_another_model_are_noted(tmp_path: Path) -> None:
    source, target, ids = code()
    a = write_records(tmp_path / "a.jsonl", ids, source, model="something-else")
    b = write_records(tmp_path / "b.jsonl", ids, target)
    done = train("--source", a, "--target", b, "-o", tmp_path / "x.safetensors").ok()
    assert f"the records name the model something-else, not {SOURCE}" in done.err


def test_the_header_of_a_file_is_shown(aligned: Path, tmp_path: Path) -> None:
    train("--pairs", aligned, "-o", tmp_path / "my.safetensors", "--corpus", "Debian").ok()
    made = Projection.load(str(tmp_path / "my.safetensors"))
    shown = vex("adapt", "info", tmp_path / "my.safetensors").ok().out
    for words in (SOURCE, TARGET, made.checksum, "Debian", "verdict when it was trained: usable with care", "penalty"):
        assert words in shown
    said = json.loads(vex("adapt", "info", tmp_path / "my.safetensors", "--json").ok().out)
    assert said == {**made.header, "checksum": made.checksum}


@pytest.mark.parametrize("command", ["train", "sample", "evaluate", "info", "detect"])
def test_help_ends_with_examples(command: str) -> None:
    shown = vex("adapt", command, "--help").ok().out
    assert f"vex-adapt {command} " in shown.partition("Examples:")[2]
