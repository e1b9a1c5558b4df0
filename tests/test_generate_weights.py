"""The recipe for the seven projections, against a local endpoint and source models that stand for the real ones."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import types
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tests.commands import Done, names
from tests.engines.embedding import MODELS, Embeddings, Fault, embedding_server
from vexarrow.adapt import Projection, shelf
from vexarrow.adapt.catalog import PAIRS

SCRIPT = Path(__file__).parent.parent / "scripts" / "generate_weights.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="runs in a checkout")
TOPICS, COUNT = 12, 100


@cache
def script() -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("generate_weights", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate_weights"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def seed(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "little")


def meaning(text: str) -> NDArray[np.float64]:
    """What a text is about, whatever its prefix."""
    return np.random.default_rng(seed(text.rpartition(": ")[2])).standard_normal(TOPICS)


@cache
def spread(model: str, dim: int) -> NDArray[np.float64]:
    """How a model spreads topics over dimensions: each makes more of some topics than of others."""
    random = np.random.default_rng(seed(model))
    return random.standard_normal((TOPICS, dim)) * np.exp(random.standard_normal((TOPICS, 1)))


def modelled(text: str, model: str, dim: int) -> NDArray[np.float32]:
    """A vector of length 1 that is near those of texts about the same."""
    vector = meaning(text) @ spread(model, dim)
    noise = np.random.default_rng(seed(model + text)).standard_normal(dim)
    vector += 0.02 * np.linalg.norm(vector) / np.sqrt(dim) * noise
    unit: NDArray[np.float32] = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


class SentenceTransformer:
    """Stands for the library with the few members that are used. `seen`: texts by model."""

    max_seq_length = 8
    seen: dict[str, list[str]] = {}  # noqa: RUF012 - emptied by a fixture

    def __init__(self, name: str, truncate_dim: int | None = None) -> None:
        self.name = name.rpartition("/")[2]
        self.dim = next(pair.source_dim for pair in PAIRS if pair.source == self.name)

    def tokenizer(self, texts: list[str], *, truncation: bool) -> dict[str, list[list[int]]]:
        assert not truncation
        return {"input_ids": [[0] * len(text.split()) for text in texts]}

    def encode(self, texts: list[str], *, convert_to_numpy: bool, show_progress_bar: bool) -> Any:
        self.seen.setdefault(self.name, []).extend(texts)
        return np.stack([modelled(text, self.name, self.dim) for text in texts])


@pytest.fixture(scope="module")
def shared() -> Iterator[Embeddings]:
    # Small matrices: threads that wait for each other cost more than they do.
    with threadpool_limits(1, "blas"), embedding_server() as one:
        yield one


@pytest.fixture
def server(shared: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embeddings:
    """An endpoint, source models, a cache and a working directory, all of one test."""
    shared.forget()
    shared.vector = modelled
    SentenceTransformer.seen = {}
    library = types.ModuleType("sentence_transformers")
    library.SentenceTransformer = SentenceTransformer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return shared


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Texts, one a line; two that the source models would trim, one twice and an empty one."""
    path = tmp_path / "corpus.txt"
    lines = [f"text number {at}" for at in range(COUNT)]
    lines += ["word " * 20 + str(at) for at in range(2)] + ["text number 3", "", "  "]
    path.write_text("\n".join(lines))
    return path


def run(*words: str | Path, server: Embeddings | None = None) -> Done:
    """The script, in this process."""
    out, err = io.StringIO(), io.StringIO()
    url = () if server is None else ("--url", server.openai)
    before, sys.argv = sys.argv, ["generate_weights", *map(str, words), *url]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            script().main()
        code: object = 0
    except SystemExit as left:
        code = left.code or 0
    finally:
        sys.argv = before
    assert isinstance(code, int)
    return Done(code, out.getvalue().encode(), err.getvalue())


@pytest.mark.slow
def test_all_seven_are_made_judged_and_say_where_they_come_from(
    server: Embeddings, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"--corpus-name": "numbers", "--language": "en", "--pairs-licence": "CC0-1.0", "--weights-licence": "MIT"}
    more = [word for option in said.items() for word in option]
    run(corpus, *more, server=server).ok()
    assert names(tmp_path / "weights") == {f"{pair.source}--{pair.target}.safetensors" for pair in PAIRS}
    for pair in PAIRS:
        made = Projection.load(f"weights/{pair.source}--{pair.target}.safetensors")
        assert (made.source.name, made.source.dim) == (pair.source, pair.source_dim)
        assert (made.target.name, made.target.dim) == (pair.target, pair.target_dim)
        assert (made.source.prefix, made.target.prefix) == (pair.prefix, "")
        assert (made.source.provider, made.target.provider) == (pair.embedder.partition(":")[0], "openai")
        assert made.report is not None
        assert made.report.overlap.value > made.report.source_overlap.value
        pairs = made.header["pairs"]
        # What a source model on this machine would trim is left out before the target is paid for.
        wanted = COUNT if made.source.provider != "openai" else COUNT + 2
        assert pairs["count"] + sum(pairs["dropped"].values()) == wanted
        assert (pairs["chosen"], pairs["corpus"], pairs["language"]) == ("random", "numbers", "en")
        assert made.header["licences"] == {"pairs": "CC0-1.0", "weights": "MIT"}
        assert made.header["created_at"].endswith("+00:00")
    monkeypatch.setenv("VEX_PROJECTIONS", "weights")
    assert shelf.find("intfloat/e5-base-v2", "text-embedding-3-small") is not None


def test_a_prefix_is_that_of_the_models_card_or_of_the_user(server: Embeddings, corpus: Path) -> None:
    for words, prefix in (((), "passage: "), (("--prefix", "e5-base-v2=query: ", "--overwrite"), "query: ")):
        SentenceTransformer.seen.clear()
        run(corpus, "--only", "e5-base-v2", *words, server=server).ok()
        seen = [text for text in SentenceTransformer.seen["e5-base-v2"] if text != "vector"]
        assert seen == [f"{prefix}{text.removeprefix(prefix)}" for text in seen]
        assert Projection.load("weights/e5-base-v2--text-embedding-3-small.safetensors").source.prefix == prefix
    assert not any(":" in text for text in server.texts())


def test_nothing_is_paid_twice_and_the_estimate_knows(server: Embeddings, corpus: Path) -> None:
    run(corpus, "--only", "all-MiniLM-L6-v2", server=server).ok()
    assert len(server.texts()) == COUNT
    foreseen = run(corpus, "--only", "all-mpnet-base-v2", "--estimate", server=server).ok()
    (line,) = [line for line in foreseen.out.splitlines() if line.startswith("text-embedding-3-small")]
    assert f"{COUNT + 2} texts, {COUNT} cached" in line
    run(corpus, "--only", "all-mpnet-base-v2", server=server).ok()
    again = run(corpus, "--only", "all-MiniLM-L6-v2", "--only", "all-mpnet-base-v2", server=server).ok()
    assert again.out.count("there already") == 2
    path = Path("weights/all-MiniLM-L6-v2--text-embedding-3-small.safetensors")
    whole = path.stat().st_size
    run(corpus, "--only", "all-MiniLM-L6-v2", "--overwrite", "--half", server=server).ok()
    assert path.stat().st_size < 0.51 * whole
    assert len(server.texts()) == COUNT


def test_a_run_that_failed_goes_on_where_it_stopped(server: Embeddings, corpus: Path, tmp_path: Path) -> None:
    server.faults.extend([Fault(), Fault(), Fault(401)])  # the probe, one request, then the key is gone
    words = (corpus, "--only", "all-MiniLM-L6-v2", "--concurrency", "1")
    lines = corpus.read_text().splitlines()
    corpus.write_text("\n".join([*lines, *(f"text number {COUNT + at}" for at in range(200))]))
    done = run(*words, server=server)
    assert (done.code, len(done.err.strip().splitlines()[-1:])) == (1, 1)
    assert "error: " in done.err
    assert not (tmp_path / "weights").exists()
    paid = len(server.texts())
    assert 0 < paid < COUNT + 200
    run(*words, server=server).ok()
    assert sorted(server.texts()) == sorted(f"text number {at}" for at in range(COUNT + 200))


def test_the_estimate_sends_nothing_and_the_budget_stops_before_anything_is_sent(
    server: Embeddings, corpus: Path, tmp_path: Path
) -> None:
    for flag in ("--estimate", "--dry-run"):
        done = run(corpus, flag, server=server).ok()
    assert "text-embedding-3-large" in done.out
    assert "$0.13 a million" in done.out
    assert "at most, for 102 texts" in done.out
    assert run(corpus, "--budget", "0", server=server).code == 2
    dear = run(corpus, "--estimate", "--price", "text-embedding-3-large=1000000", server=server).ok()
    assert "$1e+06 a million" in dear.out
    assert (server.bodies, SentenceTransformer.seen, names(tmp_path)) == ([], {}, {"corpus.txt"})


def test_texts_come_from_any_place_and_as_many_as_asked_for(server: Embeddings, tmp_path: Path) -> None:
    rows = [{"id": str(at), "text": f"text number {at}", "vex_version": "1.0.0"} for at in range(300)]
    (tmp_path / "in.vmig.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("in.vmig.jsonl", "--only", "all-MiniLM-L6-v2", "--pairs", "80", "-o", "a/b", server=server).ok()
    first = set(server.texts())
    assert len(first) == 80
    made = Projection.load("a/b/all-MiniLM-L6-v2--text-embedding-3-small.safetensors")
    assert made.header["pairs"]["corpus"] == "in.vmig.jsonl"


def test_a_sample_is_the_same_in_any_order_and_has_no_text_twice() -> None:
    texts = [f"text {at}" for at in range(1000)]
    first = script().sample(texts, 100, 0)
    assert len(set(first)) == 100
    assert script().sample([*texts[::-1], *texts], 100, 0) == first
    assert script().sample(texts, 100, 1) != first
    assert sorted(script().sample(texts, 5000, 0)) == sorted(texts)
    drawn = [int(text.split()[1]) for at in range(30) for text in script().sample(texts, 100, at)]
    assert abs(np.mean(drawn) - 499.5) < 25  # five standard errors


def test_a_projection_that_would_hurt_is_not_written_and_the_others_are(
    server: Embeddings, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = SentenceTransformer.encode

    def useless(self: SentenceTransformer, texts: list[str], **options: Any) -> Any:
        found = whole(self, texts, **options)
        if self.name == "bge-small-en-v1.5":
            found = np.random.default_rng(0).standard_normal(found.shape).astype(np.float32)
        return found

    monkeypatch.setattr(SentenceTransformer, "encode", useless)
    words = (corpus, "--only", "bge-small-en-v1.5", "--only", "all-MiniLM-L6-v2")
    done = run(*words, server=server)
    assert (done.code, "bge-small-en-v1.5 to text-embedding-3-small: the projection is refused" in done.out) == (
        1,
        True,
    )
    assert names(tmp_path / "weights") == {"all-MiniLM-L6-v2--text-embedding-3-small.safetensors"}
    run(corpus, "--only", "bge-small-en-v1.5", "--force", server=server).ok()
    assert len(names(tmp_path / "weights")) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "nobody"), "bge-small-en-v1.5"),
        (("--price", "text-embedding-3-small"), "MODEL=VALUE"),
        (("--price", "text-embedding-3-small=cheap"), "cheap"),
        (("--prefix", "nobody=x"), "MODEL=VALUE"),
    ],
)
def test_words_that_make_no_sense_are_wrong_usage(
    server: Embeddings, corpus: Path, words: tuple[str, ...], said: str
) -> None:
    done = run(corpus, *words, server=server)
    assert (done.code, said in done.err, server.bodies) == (2, True, [])


def test_without_a_key_openai_itself_is_not_asked(server: Embeddings, corpus: Path) -> None:
    done = run(corpus, "--only", "all-MiniLM-L6-v2")
    assert (done.code, "OPENAI_API_KEY" in done.err, server.bodies) == (1, True, [])


def test_what_is_said_to_be_the_most_is_not_less() -> None:
    money = script().money
    assert [money(one) for one in (0, 0.0003, 0.13, 1234.501)] == ["$0.00", "$0.01", "$0.13", "$1,234.51"]


def test_prices_and_models_are_those_of_the_endpoint() -> None:
    assert set(script().PRICES) <= set(MODELS)
    assert {pair.target for pair in PAIRS} <= set(script().PRICES)
