"""`vex-adapt evaluate`: other pairs and real queries, as a table, as JSON and as a page."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tests.adapt.real import SOURCE, TARGET, code, games, line, write_pairs
from tests.commands import vex
from vexarrow.adapt import Projection


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good projection, trained with the first 180 pairs of code."""
    path = tmp_path_factory.mktemp("projection") / "my.safetensors"
    source, target, _ = code()
    Projection.train(source[:180], target[:180], source_model=SOURCE, target_model=TARGET, force=True).save(str(path))
    return path


def test_other_pairs_of_the_same_kind_pass(made: Path, tmp_path: Path) -> None:
    source, target, _ = code()
    held = write_pairs(tmp_path / "held.jsonl", source[180:], target[180:])
    done = vex("adapt", "evaluate", made, "--pairs", held)
    assert "measured on 60 others" in done.out
    assert "measured on 60 pairs only, so the intervals are wide" in done.out
    assert "Keep the source vectors" in done.out
    assert "too good to be true" not in done.err


def test_a_projection_of_another_domain_is_refused(made: Path, tmp_path: Path) -> None:
    """Games, for one that was trained with libraries: the source space serves them better."""
    done = vex("adapt", "evaluate", made, "--pairs", write_pairs(tmp_path / "games.jsonl", *games()), "--json")
    assert done.code == 1
    said = done.report
    assert said["verdict"] == "refused"
    assert "source" in {reason["code"] for reason in said["refused"]}
    assert said["report"]["overlap"]["value"] < said["report"]["source_overlap"]["value"]
    assert said["report"]["held_out"] == 100


def test_pairs_that_it_was_trained_with_are_noticed(made: Path, tmp_path: Path) -> None:
    source, target, _ = code()
    done = vex("adapt", "evaluate", made, "--pairs", write_pairs(tmp_path / "known.jsonl", source[:180], target[:180]))
    assert "pairs that the projection was trained with: the numbers are too good to be true" in done.err


def test_queries_are_measured_among_the_pairs(made: Path, tmp_path: Path) -> None:
    source, target, ids = code()
    held = write_pairs(tmp_path / "held.jsonl", source[180:], target[180:], ids[180:])
    queries = tmp_path / "queries.jsonl"
    rows = range(180, 200)
    queries.write_text("".join(line(source=source[at], target=target[at], relevant=[ids[at]]) for at in rows))
    done = vex("adapt", "evaluate", made, "--pairs", held, "--queries", queries, "--json")
    asked = done.report["report"]["queries"]
    assert (asked["count"], asked["labelled"], asked["native_recall"], asked["source_mrr"]) == (20, True, 1, 1)
    assert 0.5 < asked["recall"]["value"] <= 1
    shown = vex("adapt", "evaluate", made, "--pairs", held, "--queries", queries).out
    assert "recall@10, projected" in shown
    assert "20 queries over" in shown


def test_pairs_of_other_dimensions_say_so(made: Path, tmp_path: Path) -> None:
    source, target, _ = code()
    turned = write_pairs(tmp_path / "turned.jsonl", target, source)
    done = vex("adapt", "evaluate", made, "--pairs", turned)
    assert done.code == 1
    assert f"{TARGET} has vectors of 384 dimensions, those of the target side have 128" in done.err


# -- files that are none ------------------------------------------------------------------------------------


def test_a_damaged_file_is_refused(made: Path, tmp_path: Path) -> None:
    data = bytearray(made.read_bytes())
    data[-100] ^= 1
    (tmp_path / "bad.safetensors").write_bytes(data)
    done = vex("adapt", "info", tmp_path / "bad.safetensors")
    assert done.code == 1
    assert "the weights are not those that the header speaks of" in done.err


@pytest.mark.parametrize("kept", [0, 5, 200, -1])
def test_a_file_cut_short_is_refused(kept: int, made: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(made.read_bytes()[:kept])
    done = vex("adapt", "info", tmp_path / "bad.safetensors")
    assert done.code == 1
    assert "bad.safetensors: no " in done.err


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes(save({"weight": code().source}))
    done = vex("adapt", "info", tmp_path / "other.safetensors")
    assert done.code == 1
    assert "no projection of vexarrow" in done.err


def test_a_header_that_lies_about_shapes_is_refused(made: Path, tmp_path: Path) -> None:
    data = made.read_bytes()
    lie = data.replace(b'\\"dim\\":384', b'\\"dim\\":385')
    assert lie != data
    (tmp_path / "lie.safetensors").write_bytes(lie)
    done = vex("adapt", "info", tmp_path / "lie.safetensors")
    assert done.code == 1
    assert "the header speaks of 128 to 385 dimensions" in done.err


@pytest.mark.parametrize(
    ("true", "false", "said"),
    [
        (b'\\"limit\\":', b'\\"limit\\":\\"many\\",\\"was\\":', "its header is not complete"),
        (b'\\"report\\":', b'\\"report\\":5,\\"was\\":', "the report in its header is not complete"),
    ],
)
def test_a_header_of_other_kinds_of_values_is_refused_with_the_name_of_the_file_and_what_to_do(
    true: bytes, false: bytes, said: str, made: Path, tmp_path: Path
) -> None:
    data = made.read_bytes()
    assert true in data
    changed = data[8:].replace(true, false)
    length = int.from_bytes(data[:8], "little") + len(changed) - len(data[8:])
    (tmp_path / "lie.safetensors").write_bytes(length.to_bytes(8, "little") + changed)
    done = vex("adapt", "info", tmp_path / "lie.safetensors")
    assert done.code == 1
    assert f"lie.safetensors: {said}; copy or pull the file again, or train it anew" in done.err


def test_a_plain_matrix_is_measured_when_its_models_are_named(made: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "matrix.npy", Projection.load(str(made)).weight)
    models = ["--from", SOURCE, "--to", TARGET]
    held = write_pairs(tmp_path / "held.jsonl", *code())
    said = vex("adapt", "evaluate", tmp_path / "matrix.npy", *models, "--pairs", held, "--json").report
    assert (said["source"]["name"], said["target"]["name"]) == (SOURCE, TARGET)
    assert SOURCE in vex("adapt", "info", tmp_path / "matrix.npy", *models).ok().out
    assert "--from and --to" in vex("adapt", "info", tmp_path / "matrix.npy").err


# -- the page -----------------------------------------------------------------------------------------------


class _Page(html.parser.HTMLParser):
    """What is in a page: tags that open and do not close, ids, addresses, and the words."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.labelled: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "data", "action", "xlink:href"):
                self.addresses.append(value or "")
            if name == "aria-labelledby":
                self.labelled += (value or "").split()

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def parsed(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text())
    page.close()
    assert page.open == []
    return page


def test_the_page_stands_alone(made: Path, tmp_path: Path) -> None:
    """No script, no address outside of it, pictures with titles, and every number in a table as well."""
    vex(
        "adapt", "evaluate", made, "--pairs", write_pairs(tmp_path / "g.jsonl", *games()), "--html", tmp_path / "r.html"
    )
    page = parsed(tmp_path / "r.html")
    assert page.tags.count("svg") == 5
    assert page.tags.count("table") >= 9
    assert page.tags.count("title") == 6  # the page's and one a picture
    assert len(set(page.ids)) == len(page.ids)
    assert set(page.labelled) <= set(page.ids)
    assert page.addresses == ["data:,"]
    assert "script" not in page.tags
    text = (tmp_path / "r.html").read_text()
    assert not re.search(r"url\(|@import|https?://", text)
    assert "prefers-color-scheme: dark" in text
    for words in (SOURCE, TARGET, "Verdict: refused", "source model", "Thresholds on scores"):
        assert words in page.words


def test_train_writes_the_page_even_of_what_it_refuses(tmp_path: Path) -> None:
    source, target, _ = code()
    mixed = write_pairs(tmp_path / "mixed.jsonl", source, target[::-1])
    models = ["--from", "<b>one</b>", "--to", 'two"&']
    done = vex(
        "adapt", "train", *models, "--pairs", mixed, "-o", tmp_path / "x.safetensors", "--html", tmp_path / "r.html"
    )
    assert done.code == 1
    page = parsed(tmp_path / "r.html")
    assert "b" in page.tags  # those of the large numbers
    assert "<b>one</b>" in page.words
    assert 'two"&' in page.words
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("count", [2, 3, 12])
def test_a_page_of_few_pairs_can_be_drawn(count: int, made: Path, tmp_path: Path) -> None:
    source, target, _ = code()
    few = write_pairs(tmp_path / "few.jsonl", source[-count:], target[-count:])
    done = vex("adapt", "evaluate", made, "--pairs", few, "--html", tmp_path / "r.html")
    assert "measured on" in done.out
    assert "nan" not in re.sub(r"[a-z]nan|nan[a-z]", "", (tmp_path / "r.html").read_text().lower())
    assert (tmp_path / "r.html").stat().st_size < 400_000
    parsed(tmp_path / "r.html")


def test_a_projection_at_hand_is_known_by_its_name(tmp_path: Path) -> None:
    """Those that come with the package among them; what is neither file nor name is told what there is."""
    name = "all-MiniLM-L6-v2--wordllama-l2-256"
    assert "wordllama-l2-256 (256 dimensions)" in vex("adapt", "info", name).ok().out
    strange = vex("adapt", "evaluate", name, "--pairs", write_pairs(tmp_path / "held.jsonl", *code()))
    assert "wordllama-l2-256 has vectors of 256 dimensions" in strange.err
    nobody = vex("adapt", "info", "nobody")
    assert nobody.code == 2
    assert "nobody: no file of a projection" in nobody.err
    assert name in nobody.err
