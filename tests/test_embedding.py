"""Re-embedding against a server that speaks OpenAI's and Ollama's protocols and misbehaves as it is told."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vexarrow
from tests.commands import DEBIAN, VEX, Done, json_lines, vex
from tests.engines.embedding import KEY, LONGEST, MODELS, OLLAMA_LONGEST, Embeddings, Fault, embedding_server, vector
from vexarrow import records
from vexarrow.embedding import Reembed
from vexarrow.embedding_http import OLLAMA_URL, OPENAI_URL, OpenAI, ollama_url, openai_url
from vexarrow.embedding_models import Model, same_model
from vexarrow.embedding_texts import tokens
from vexarrow.errors import SchemaError, TooManyRejects, UsageError, VexError

SMALL = "text-embedding-3-small"
DIM = MODELS["tiny"]


@pytest.fixture(scope="module")
def shared() -> Iterator[Embeddings]:
    with embedding_server() as one:
        yield one


@pytest.fixture
def server(shared: Embeddings) -> Embeddings:
    shared.forget()
    return shared


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache of its own, and no settings from outside."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vexarrow" / "embeddings.sqlite3"


def write(path: Path, *given: dict[str, Any]) -> Path:
    """A file of records: what is not given is as the format has it."""
    base = {"text": None, "vector": None, "model": None, "dims": None, "namespace": None, "metadata": None}
    more = {"created_at": None, "source_store": None, "modality": "text", "score": None, "vex_version": "1.0.0"}
    rows = [{"id": str(at), **base, **one, **more, **one} for at, one in enumerate(given)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def some(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"text": f"text number {at}", **more} for at in range(count)]


def reembed(server: Embeddings, source: Path, target: Path, *more: str | Path, model: str = "openai:tiny") -> Done:
    """`vex convert` with new vectors."""
    url = server.address if model.startswith("ollama") else server.openai
    return vex("convert", source, target, "--reembed", "--embed-model", model, "--embed-url", url, *more)


@dataclass(frozen=True)
class Read:
    """What is in a file, by id."""

    vectors: dict[str, np.ndarray[Any, Any] | None]
    rows: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, path: Path) -> Read:
        vectors: dict[str, np.ndarray[Any, Any] | None] = {}
        rows: dict[str, dict[str, Any]] = {}
        for batch in vexarrow.read(str(path)):
            there = records.present(batch.column("vector"))
            matrix = records.matrix(batch.column("vector"))
            for at, row in enumerate(batch.select(["id", "text", "model", "namespace", "extra"]).to_pylist()):
                vectors[row["id"]] = matrix[at] if there[at] else None
                rows[row["id"]] = row
        return cls(vectors, rows)

    def check(self, model: str, dim: int, ids: Sequence[str] | None = None) -> None:
        """The vectors, to the last bit, and the model of these records are those of a model."""
        for key in self.rows if ids is None else ids:
            found = self.vectors[key]
            assert found is not None
            assert np.array_equal(found, vector(self.rows[key]["text"], model, dim))
            assert self.rows[key]["model"] == model


# -- what is done --------------------------------------------------------------------------------------------------


def test_a_file_loads_into_a_store_with_the_vectors_of_another_model(server: Embeddings, tmp_path: Path) -> None:
    parquet, database = tmp_path / "memories.parquet", tmp_path / "new.db"
    vex("convert", DEBIAN, parquet).ok()
    words = ("import", "--from", parquet, "--to", "vektor", "--db", database, "--reembed")
    done = vex(*words, "--embed-model", f"openai:{SMALL}", "--embed-url", server.openai, "--json").ok()
    assert done.report["written"] == 160
    assert f"160 different texts were embedded with {SMALL}" in done.err
    vex("export", "--from", "vektor", "--db", database, "--output", tmp_path / "back.parquet").ok()
    back, given = Read.of(tmp_path / "back.parquet"), Read.of(parquet)
    back.check(SMALL, 1536)
    assert {key: row["text"] for key, row in back.rows.items()} == {key: row["text"] for key, row in given.rows.items()}


def test_everything_but_vector_model_and_dims_stays_as_it_was(server: Embeddings, tmp_path: Path) -> None:
    before = json_lines(DEBIAN)
    reembed(server, DEBIAN, tmp_path / "out.vmig.jsonl").ok()
    after = json_lines(tmp_path / "out.vmig.jsonl")
    for old, new in zip(before, after, strict=True):
        assert (new.pop("model"), new.pop("dims"), len(new.pop("vector"))) == ("tiny", DIM, DIM)
        assert new == {key: value for key, value in old.items() if key not in ("model", "dims", "vector")}


def test_a_number_of_dimensions_that_a_record_gave_for_a_vector_it_had_not_is_replaced(
    server: Embeddings, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.vmig.jsonl", {"text": "a", "dims": 384, "more": 1}, {"text": "b", "dims": 384})
    reembed(server, source, tmp_path / "out.vmig.jsonl").ok()
    one, two = json_lines(tmp_path / "out.vmig.jsonl")
    assert (one["dims"], one["more"], two["dims"]) == (DIM, 1, DIM)


def test_only_records_whose_vector_is_missing_or_does_not_fit_are_embedded(server: Embeddings, tmp_path: Path) -> None:
    fits = [0.5] * DIM
    source = write(
        tmp_path / "in.vmig.jsonl",
        {"id": "missing", "text": "a"},
        {"id": "length", "text": "b", "vector": [1.0, 2.0], "model": "tiny"},
        {"id": "model", "text": "c", "vector": fits, "model": "another"},
        {"id": "same", "text": "d", "vector": fits, "model": "tiny"},
        {"id": "spelling", "text": "e", "vector": fits, "model": "openai:Tiny"},
        {"id": "no text", "vector": fits, "model": "tiny"},
        {"id": "unnamed", "text": "f", "vector": fits},
    )
    done = reembed(server, source, tmp_path / "out.parquet", "--json").ok()
    assert sorted(server.texts()) == ["a", "b", "c"]
    out = Read.of(tmp_path / "out.parquet")
    out.check("tiny", DIM, ["missing", "length", "model"])
    for key in ("same", "spelling", "no text", "unnamed"):
        assert np.array_equal(out.vectors[key], fits)  # type: ignore[arg-type]
    assert out.rows["unnamed"]["model"] is None
    assert "1 records name no model and kept their vectors" in done.report["warnings"][0]


def test_force_embeds_records_that_fit_as_well(server: Embeddings, tmp_path: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(3, vector=[0.5] * DIM, model="tiny"))
    assert "no record needed" in reembed(server, source, tmp_path / "kept.parquet").ok().err
    words = ("--embed-model", "openai:tiny", "--embed-url", server.openai)
    vex("convert", source, tmp_path / "out.parquet", "--force-reembed", *words).ok()
    Read.of(tmp_path / "out.parquet").check("tiny", DIM)


def test_a_record_without_text_is_rejected_with_all_it_holds_and_the_others_go_on(
    server: Embeddings, tmp_path: Path
) -> None:
    bare = {"id": "bare", "metadata": {"a": [1]}, "vector": [1.0, 2.0]}
    source = write(tmp_path / "in.vmig.jsonl", {"text": "a"}, bare, {"text": ""}, {"text": "b"})
    done = reembed(server, source, tmp_path / "out.vmig.jsonl", "--json").ok()
    assert (done.report["written"], done.report["codes"]) == (2, {"no-text": 2})
    first, second = json_lines(Path(done.report["rejects_file"]))
    assert (first["line"], first["id"], first["record"]["metadata"]) == (2, "bare", {"a": [1]})
    assert first["record"]["vector"] == [1, 2]
    assert second["line"] == 3
    assert [one["text"] for one in json_lines(tmp_path / "out.vmig.jsonl")] == ["a", "b"]


def test_strict_fails_at_the_first_record_without_text(server: Embeddings, tmp_path: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", {"text": "a"}, {"id": "bare", "vector": [1.0]})
    done = reembed(server, source, tmp_path / "out.vmig.jsonl", "--strict")
    assert done.code == 1
    assert "no text" in done.err
    assert not (tmp_path / "out.vmig.jsonl").exists()


@pytest.mark.parametrize(("model", "longest"), [("openai:tiny", LONGEST), ("ollama:tiny", OLLAMA_LONGEST)])
def test_a_text_that_is_too_long_is_rejected_and_never_trimmed(
    server: Embeddings, tmp_path: Path, model: str, longest: int
) -> None:
    long = "word " * (longest + 1)
    texts = [*some(60), {"id": "long", "text": long}, {"id": "dense", "text": "." * (longest + 1)}]
    fits = {"id": "fits", "text": "word " * longest}
    source = write(tmp_path / "in.vmig.jsonl", *texts, fits)
    done = reembed(server, source, tmp_path / "out.parquet", "--json", model=model).ok()
    assert (done.report["written"], done.report["codes"]) == (61, {"text-too-long": 2})
    assert json_lines(Path(done.report["rejects_file"]))[0]["record"]["text"] == long
    Read.of(tmp_path / "out.parquet").check("tiny", DIM)
    assert sum(len(body["input"]) == 1 and body["input"][0] == long for body in server.bodies) == 1


def test_a_vector_that_is_not_a_number_is_rejected_and_not_remembered(server: Embeddings, tmp_path: Path) -> None:
    server.poisoned = {"text number 3"}
    source = write(tmp_path / "in.vmig.jsonl", *some(10))
    done = reembed(server, source, tmp_path / "out.parquet", "--json").ok()
    assert (done.report["written"], done.report["codes"]) == (9, {"vector-not-finite": 1})
    server.poisoned = set()
    assert reembed(server, source, tmp_path / "again.parquet", "--json").ok().report["written"] == 10


# -- nothing is paid for twice -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [(), ("--no-embed-cache",)], ids=["cache", "no cache"])
def test_equal_texts_are_embedded_once_in_a_run(server: Embeddings, tmp_path: Path, cache: tuple[str, ...]) -> None:
    server.delay = 0.01  # several pages are on their way at once
    source = write(tmp_path / "in.vmig.jsonl", *[{"text": f"text {at % 7}"} for at in range(300)])
    reembed(server, source, tmp_path / "out.parquet", "--batch-size", "20", *cache).ok()
    assert sorted(server.texts()) == [f"text {at}" for at in range(7)]
    Read.of(tmp_path / "out.parquet").check("tiny", DIM)


def test_a_second_run_asks_for_nothing(server: Embeddings, tmp_path: Path, own_cache: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(50))
    reembed(server, source, tmp_path / "one.parquet").ok()
    server.bodies.clear()
    done = reembed(server, source, tmp_path / "two.parquet").ok()
    assert server.bodies == []
    assert "50 were known already" in done.err
    Read.of(tmp_path / "two.parquet").check("tiny", DIM)
    assert own_cache.stat().st_mode & 0o077 == 0, "texts can be guessed from vectors"


def test_a_run_that_failed_goes_on_where_it_stopped(server: Embeddings, tmp_path: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(200))
    server.faults.extend([*[Fault()] * 3, Fault(401)])
    words = ("--batch-size", "32", "--embed-concurrency", "1")
    assert reembed(server, source, tmp_path / "out.parquet", *words).code == 1
    before = server.texts()
    assert 0 < len(before) < 200
    reembed(server, source, tmp_path / "out.parquet", *words).ok()
    assert sorted(server.texts()) == sorted(f"text number {at}" for at in range(200)), "every text was sent once"
    Read.of(tmp_path / "out.parquet").check("tiny", DIM)


def test_models_dimensions_and_servers_do_not_share_vectors(server: Embeddings, tmp_path: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(3))
    for name, more, model, dim in (
        ("a", (), SMALL, 1536),
        ("b", ("--embed-dimensions", "256"), SMALL, 256),
        ("c", (), "text-embedding-ada-002", 1536),
        ("d", (), "tiny", DIM),
    ):
        out = tmp_path / f"{name}.parquet"
        reembed(server, source, out, *more, model=f"openai:{model}").ok()
        Read.of(out).check(model, dim)
    reembed(server, source, tmp_path / "e.parquet", model="ollama:tiny").ok()
    assert [body.get("truncate") for body in server.bodies][-1] is False


def test_without_a_cache_no_file_is_made(server: Embeddings, tmp_path: Path, own_cache: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(3))
    reembed(server, source, tmp_path / "out.parquet", "--no-embed-cache").ok()
    assert not own_cache.parent.exists()


def test_a_cache_may_be_elsewhere(server: Embeddings, tmp_path: Path, own_cache: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(3))
    reembed(server, source, tmp_path / "out.parquet", "--embed-cache", tmp_path / "deep" / "er.db").ok()
    assert (tmp_path / "deep" / "er.db").exists()
    assert not own_cache.parent.exists()


def test_an_interrupted_run_ends_soon_and_keeps_what_was_paid_for(server: Embeddings, tmp_path: Path) -> None:
    server.delay = 0.1
    source = write(tmp_path / "in.vmig.jsonl", *some(2000))
    words: list[str | Path] = ["convert", source, tmp_path / "out.parquet", "--reembed", "--embed-model", "openai:tiny"]
    command: list[str | Path] = [
        VEX,
        *words,
        "--embed-url",
        server.openai,
        "--embed-batch",
        "32",
        "--batch-size",
        "500",
    ]
    usual = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 - a background run ignores it
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=usual)
    while len(server.texts()) < 200:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    paid = set(server.texts())
    server.forget()
    reembed(server, source, tmp_path / "out.parquet", "--embed-batch", "500").ok()
    assert not paid & set(server.texts())


# -- servers that misbehave ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["openai:tiny", "ollama:tiny"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, {"Retry-After": "0.2"}),
        Fault(500, {"Retry-After": "0"}),
        Fault(503),
        Fault(kind="half"),
        Fault(kind="short"),
        Fault(kind="reset"),
        Fault(kind="garbage"),
    ],
    ids=lambda fault: fault.kind or str(fault.status),
)
def test_a_fault_that_passes_changes_nothing(server: Embeddings, tmp_path: Path, model: str, fault: Fault) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(100))
    vex("convert", source, tmp_path / "warm.parquet").ok()
    server.faults.append(fault)
    done = reembed(server, source, tmp_path / "out.parquet", "--json", model=model).ok()
    assert (done.report["written"], done.report["rejected"]) == (100, 0)
    assert not server.faults
    Read.of(tmp_path / "out.parquet").check("tiny", DIM)


def test_the_time_that_the_server_says_is_waited_for(server: Embeddings, tmp_path: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(3))
    server.faults.append(Fault(429, {"Retry-After": "0.7"}))
    reembed(server, source, tmp_path / "out.parquet").ok()
    assert server.times[1] - server.times[0] >= 0.7


def test_an_account_without_credit_is_not_asked_again(server: Embeddings, tmp_path: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(3))
    server.faults.append(Fault(429, message="You exceeded your current quota, please check your plan."))
    done = reembed(server, source, tmp_path / "out.parquet")
    assert done.code == 1
    assert "exceeded your current quota" in done.err
    assert len(server.bodies) == 1


@pytest.mark.parametrize("kind", ["floats", "no_base64"])
def test_a_server_that_knows_no_base64_gives_the_same_vectors(server: Embeddings, tmp_path: Path, kind: str) -> None:
    setattr(server, kind, True)
    source = write(tmp_path / "in.vmig.jsonl", *some(40))
    reembed(server, source, tmp_path / "out.parquet", model=f"openai:{SMALL}").ok()
    Read.of(tmp_path / "out.parquet").check(SMALL, 1536)


def test_requests_stay_within_the_limits_of_the_protocol(server: Embeddings, tmp_path: Path) -> None:
    texts = [{"text": f"text {at}"} for at in range(5000)]
    texts += [{"text": f"{at} " + "a b . " * 2700} for at in range(50)]  # two bytes a token
    source = write(tmp_path / "in.vmig.jsonl", *texts)
    words = ("--embed-batch", "100000", "--batch-size", "6000", "--embed-concurrency", "1", "--json")
    done = reembed(server, source, tmp_path / "out.parquet", *words).ok()
    assert done.report["written"] == 5050
    assert max(len(body["input"]) for body in server.bodies) == 2048
    assert len(server.bodies) < 20, "nothing was refused and split"


def test_a_server_that_takes_fewer_texts_at_once_gets_fewer(server: Embeddings, tmp_path: Path) -> None:
    server.most_texts = 32
    source = write(tmp_path / "in.vmig.jsonl", *some(2000))
    words = ("--embed-concurrency", "1", "--batch-size", "200", "--json")
    assert reembed(server, source, tmp_path / "out.parquet", *words).ok().report["written"] == 2000
    assert len(server.bodies) < 2 * 2000 / 25, "the size is learnt once"


def test_requests_run_side_by_side_and_no_more_than_allowed(server: Embeddings, tmp_path: Path) -> None:
    server.delay = 0.05
    source = write(tmp_path / "in.vmig.jsonl", *some(1200))
    words = ("--embed-batch", "32", "--embed-concurrency", "3", "--batch-size", "300")
    reembed(server, source, tmp_path / "out.parquet", *words).ok()
    assert server.at_once == 3
    Read.of(tmp_path / "out.parquet").check("tiny", DIM)


@pytest.mark.parametrize("rate", [("--embed-rate", "600"), ("--embed-token-rate", "78000")], ids=["requests", "tokens"])
def test_a_rate_is_kept(server: Embeddings, tmp_path: Path, rate: tuple[str, str]) -> None:
    """Ten requests, of about 130 tokens each, a second."""
    source = write(tmp_path / "in.vmig.jsonl", *some(320))
    reembed(server, source, tmp_path / "out.parquet", "--embed-batch", "32", *rate).ok()
    _, *times = server.times
    assert len(times) == 10
    assert times[-1] - times[0] >= 0.8


# -- before anything is written ------------------------------------------------------------------------------------


def test_a_dry_run_counts_texts_and_tokens_and_sends_nothing(
    server: Embeddings, tmp_path: Path, own_cache: Path
) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "one two three"},
        {"text": "one two three"},
        {"text": "漢字"},
        {"vector": [1.0], "text": "x"},
    ]
    rows.append({"vector": [1.0]})
    source = write(tmp_path / "in.vmig.jsonl", *rows)
    done = reembed(server, source, tmp_path / "out.parquet", "--dry-run", "--json", model=f"openai:{SMALL}").ok()
    assert done.report["dimension"] == 1536
    counted = tokens("one two three") + tokens("漢字") + tokens("x")
    assert done.report["embedding"] == {
        "model": SMALL,
        "dimension": 1536,
        "read": 5,
        "records": 5,
        "no_text": 1,
        "cached": 0,
        "tokens": counted,
        "texts": 3,
        "unnamed": 0,
    }
    assert server.bodies == []
    assert not own_cache.parent.exists()
    assert not (tmp_path / "out.parquet").exists()


def test_a_dry_run_knows_what_is_in_the_cache(server: Embeddings, tmp_path: Path) -> None:
    reembed(server, write(tmp_path / "in.vmig.jsonl", *some(3)), tmp_path / "out.parquet").ok()
    server.bodies.clear()
    source = write(tmp_path / "more.vmig.jsonl", *some(5), {"text": "f", "vector": [0.5] * DIM}, {"vector": [1.0]})
    done = reembed(server, source, tmp_path / "more.parquet", "--dry-run").ok()
    assert "embed    6 of 7 records with tiny: 5 different texts, 3 of them in the cache" in done.out
    assert "reject   1 records" in done.out
    assert "1 records name no model" in done.out
    assert server.bodies == []


def test_a_key_that_is_refused_shows_before_the_target_is_made_and_in_no_output(
    server: Embeddings, tmp_path: Path
) -> None:
    server.key = KEY
    source, wrong = write(tmp_path / "in.vmig.jsonl", *some(3)), "sk-wrong-123456789"
    for name in ("out.parquet", "out.db"):
        done = reembed(server, source, tmp_path / name, "--embed-key", wrong)
        assert done.code == 1
        assert "refused the credentials (HTTP 401); check --embed-key or OPENAI_API_KEY" in done.err
        assert wrong not in done.out + done.err
        assert not (tmp_path / name).exists()


def test_the_key_comes_from_the_environment(
    server: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = KEY
    source = write(tmp_path / "in.vmig.jsonl", *some(3))
    monkeypatch.setenv("OTHER_KEY", f"{KEY}\n")
    reembed(server, source, tmp_path / "a.parquet", "--embed-key", "${OTHER_KEY}", "--no-embed-cache").ok()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    reembed(server, source, tmp_path / "b.parquet", "--no-embed-cache").ok()
    assert KEY not in repr(Reembed("openai:tiny", key=KEY))


def test_the_key_of_openai_goes_to_no_other_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    source = write(tmp_path / "in.vmig.jsonl", *some(3))
    with embedding_server("127.0.0.2") as elsewhere:
        reembed(elsewhere, source, tmp_path / "a.parquet").ok()
        assert set(elsewhere.keys) == {None}
        monkeypatch.setenv("OPENAI_BASE_URL", elsewhere.openai)
        reembed(elsewhere, source, tmp_path / "b.parquet", "--no-embed-cache").ok()
        assert set(elsewhere.keys) == {None, f"Bearer {KEY}"}


def test_a_key_with_a_line_break_inside_is_an_error_that_does_not_show_it(tmp_path: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(3))
    words = ("--reembed", "--embed-model", "openai:tiny", "--embed-key", "sk-first\nsk-second")
    done = vex("convert", source, tmp_path / "out.parquet", *words)
    assert done.code == 2
    assert "sk-" not in done.err


def test_openai_without_a_key_is_an_error_that_says_where_it_comes_from(tmp_path: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(3))
    done = vex("convert", source, tmp_path / "out.parquet", "--reembed", "--embed-model", f"openai:{SMALL}")
    assert done.code == 1
    assert "OPENAI_API_KEY" in done.err


def test_a_model_that_there_is_not_is_an_error(server: Embeddings, tmp_path: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(3))
    for model in ("openai:nope", "ollama:nope"):
        done = reembed(server, source, tmp_path / "out.parquet", model=model)
        assert done.code == 1
        assert "nope" in done.err
        assert not (tmp_path / "out.parquet").exists()


def test_dimensions_that_a_model_does_not_give_are_an_error(server: Embeddings, tmp_path: Path) -> None:
    source = write(tmp_path / "in.vmig.jsonl", *some(3))
    done = reembed(server, source, tmp_path / "out.parquet", "--embed-dimensions", "4")
    assert done.code == 1
    assert "does not support specifying dimensions" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--reembed",), "--embed-model"),
        (("--embed-model", "openai:tiny"), "does nothing without --reembed"),
        (("--embed-rate", "5"), "--embed-rate does nothing without --reembed"),
        (("--reembed", "--embed-model", "tiny"), "who computes it"),
        (("--reembed", "--embed-model", "openai:"), "who computes it"),
        (("--reembed", "--embed-model", "a:b", "--embed-url", "localhost:1"), "https://host:port"),
        (("--reembed", "--embed-model", "a:b", "--embed-url", "http://a/v1?api_key=b"), "api_key=***"),
        (("--reembed", "--embed-model", "openai:tiny", "--embed-key", "${NOT_SET_AT_ALL}"), "NOT_SET_AT_ALL"),
        (("--reembed", "--embed-model", "sentence-transformers:a", "--embed-url", "http://b"), "this machine"),
        (("--reembed", "--embed-model", "openai:a", "--embed-cache", "b", "--no-embed-cache"), "contradict"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_that_make_no_sense_are_wrong_usage(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = vex("convert", DEBIAN, tmp_path / "out.parquet", *words)
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "out.parquet").exists()


def test_sentence_transformers_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    words = ("--reembed", "--embed-model", "sentence-transformers:all-MiniLM-L6-v2")
    done = vex("convert", DEBIAN, tmp_path / "out.parquet", *words)
    assert done.code == 1
    assert "pip install sentence-transformers" in done.err


def test_sentence_transformers_embeds_on_this_machine_and_refuses_what_it_would_trim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library stands for itself with the few members that are used."""

    class SentenceTransformer:
        max_seq_length = 4

        def __init__(self, name: str, truncate_dim: int | None = None) -> None:
            self.name = name

        def tokenizer(self, texts: list[str], *, truncation: bool) -> dict[str, list[list[int]]]:
            assert not truncation
            return {"input_ids": [[0] * len(text.split()) for text in texts]}

        def encode(self, texts: list[str], *, convert_to_numpy: bool, show_progress_bar: bool) -> Any:
            return np.stack([vector(text, self.name, DIM) for text in texts])

    library = types.ModuleType("sentence_transformers")
    library.SentenceTransformer = SentenceTransformer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    source = write(tmp_path / "in.vmig.jsonl", *some(20), {"text": "one two three four five"})
    words = ("--reembed", "--embed-model", "sentence-transformers:tiny", "--json")
    done = vex("convert", source, tmp_path / "out.parquet", *words).ok()
    assert (done.report["written"], done.report["codes"]) == (20, {"text-too-long": 1})
    Read.of(tmp_path / "out.parquet").check("tiny", DIM)


# -- from Python ---------------------------------------------------------------------------------------------------


def test_copy_takes_a_model_or_all_that_there_is_to_say_about_it(server: Embeddings, tmp_path: Path) -> None:
    source = str(write(tmp_path / "in.vmig.jsonl", *some(5)))
    wish = Reembed("openai:tiny", url=server.openai, cached=False)
    assert vexarrow.copy(source, str(tmp_path / "a.parquet"), reembed=wish).counts.written == 5
    os.environ["OLLAMA_HOST"] = server.address.removeprefix("http://")
    assert vexarrow.copy(source, str(tmp_path / "b.parquet"), reembed="ollama:tiny").counts.written == 5
    for name in ("a", "b"):
        Read.of(tmp_path / f"{name}.parquet").check("tiny", DIM)


def test_rejects_of_a_transform_count_as_all_do(server: Embeddings, tmp_path: Path) -> None:
    source = str(write(tmp_path / "in.vmig.jsonl", {"text": "a"}, {"vector": [1.0]}))
    wish = Reembed("openai:tiny", url=server.openai)
    with pytest.raises(TooManyRejects, match="no text"):
        vexarrow.copy(source, str(tmp_path / "a.parquet"), reembed=wish, strict=True)


def test_vectors_that_change_their_length_on_the_way_are_an_error(server: Embeddings, tmp_path: Path) -> None:
    source = str(write(tmp_path / "in.vmig.jsonl", {"text": "a"}))
    wish = Reembed("openai:tiny", url=server.openai)
    vexarrow.copy(source, str(tmp_path / "a.parquet"), reembed=wish)
    with sqlite3.connect(wish.cache_path() or "") as cache:
        cache.execute("UPDATE vectors SET vector = ?", (bytes(4 * 5),))
    cache.close()
    source = str(write(tmp_path / "in.vmig.jsonl", {"text": "b"}))
    with pytest.raises(SchemaError, match="--no-embed-cache"):
        vexarrow.copy(source, str(tmp_path / "b.parquet"), reembed=wish)


# -- names, addresses, tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "provider", "name"),
    [
        ("openai:text-embedding-3-small", "openai", "text-embedding-3-small"),
        ("text-embedding-3-large", "openai", "text-embedding-3-large"),
        ("ollama:nomic-embed-text:v1.5", "ollama", "nomic-embed-text:v1.5"),
        ("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers", "all-MiniLM-L6-v2"),
        ("Sentence-Transformers:BAAI/bge-m3", "sentence-transformers", "BAAI/bge-m3"),
    ],
)
def test_a_model_is_named_with_its_provider(text: str, provider: str, name: str) -> None:
    assert Model.parse(text) == Model(provider, name)


def test_a_server_of_ones_own_has_any_model() -> None:
    assert Model.parse("BAAI/bge-m3", served=True) == Model("openai", "BAAI/bge-m3")
    with pytest.raises(UsageError):
        Model.parse("BAAI/bge-m3")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("text-embedding-3-small", "openai:text-embedding-3-small", True),
        ("nomic-embed-text:latest", "nomic-embed-text", True),
        ("nomic-embed-text:v1.5", "nomic-embed-text", False),
        ("all-MiniLM-L6-v2", "sentence-transformers/all-minilm-l6-v2", True),
        ("BAAI/bge-m3", "bge-m3", True),
        ("BAAI/bge-m3", "other/bge-m3", False),
        ("text-embedding-3-small", "text-embedding-3-large", False),
    ],
)
def test_names_of_one_model_are_told_from_names_of_two(one: str, other: str, same: bool) -> None:
    assert same_model(one, other) is same
    assert same_model(other, one) is same


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (None, OPENAI_URL),
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("https://a.example/v1/embeddings", "https://a.example/v1"),
        ("https://a.example/api/openai", "https://a.example/api/openai"),
    ],
)
def test_the_address_of_openais_protocol(given: str | None, address: str) -> None:
    assert openai_url(given) == address


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("", OLLAMA_URL),
        ("0.0.0.0", "http://localhost:11434"),  # noqa: S104 - what Ollama itself is often told
        ("gpu.example", "http://gpu.example:11434"),
        ("gpu.example:80", "http://gpu.example:80"),
        ("https://gpu.example", "https://gpu.example"),
        ("[::1]:11434", "http://[::1]:11434"),
    ],
)
def test_ollama_is_where_its_own_variable_says(monkeypatch: pytest.MonkeyPatch, host: str, address: str) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert ollama_url(None) == address
    assert ollama_url("http://other:1/v1") == "http://other:1"


@pytest.mark.parametrize(("text", "count"), [("x", 1), ("four words are here", 5), ("漢字漢字", 4), ("a" * 400, 100)])
def test_tokens_are_estimated(text: str, count: int) -> None:
    assert tokens(text) == count


def test_a_server_that_sends_strange_vectors_is_an_error(server: Embeddings) -> None:
    """What no fault above makes: vectors of several lengths, an array of arrays, an index twice."""
    from vexarrow.embedding_http import _matrix

    for answer in (
        b'{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1,2]}]}',
        b'{"data":[{"index":0,"embedding":[[1,2]]},{"index":1,"embedding":[[1,2]]}]}',
        b'{"data":[{"index":1,"embedding":[1]},{"index":1,"embedding":[2]}]}',
        b'{"data":[{"index":0,"embedding":null},{"index":1,"embedding":[2]}]}',
        b'{"data":[{"index":0,"embedding":"?"},{"index":1,"embedding":[2]}]}',
        b'{"error":"no"}',
    ):
        with pytest.raises(VexError):
            _matrix(answer, "data", 2, "there")
    assert OpenAI("tiny", url=server.openai).embed(["a"]).shape == (1, DIM)
