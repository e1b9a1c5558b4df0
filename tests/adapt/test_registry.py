"""Registries of projections: pushed to, listed, pulled from, and not trusted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.adapt.test_shelf import checksum, put, some
from tests.commands import Done, names, vex
from tests.engines.moto import client_environment, moto_server
from vexarrow.adapt import Projection, shelf
from vexarrow.adapt.registry import Registry
from vexarrow.errors import AccessError, DataError, NotFound, TransientError, UsageError, VexError

SMALL = "text-embedding-3-small"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, empty, and no settings from outside."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("VEX_PROJECTIONS", str(tmp_path / "mine"))
    monkeypatch.delenv("VEX_REGISTRY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine"


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A registry with two projections."""
    there = tmp_path / "registry"
    put(tmp_path / "made", "a--b.safetensors", seed=1)
    put(tmp_path / "made", "a--c.safetensors", target="c", dims=(4, 9), seed=2)
    for name in ("a--b", "a--c"):
        adapt("push", tmp_path / "made" / f"{name}.safetensors", "--registry", there).ok()
    return there


def adapt(*words: str | Path) -> Done:
    return vex("adapt", *words)


def index(registry: Path) -> Any:
    return json.loads((registry / "index.json").read_text())


def change(registry: Path, **changed: Any) -> None:
    (registry / "index.json").write_text(json.dumps({**index(registry), **changed}))


# -- there and back ----------------------------------------------------------------------------------------------------


def test_what_was_pushed_is_pulled_again(registry: Path, folder: Path, tmp_path: Path) -> None:
    done = adapt("pull", "a", "b", "--registry", registry, "--json").ok()
    (pulled,) = done.report["pulled"]
    assert (pulled["path"], pulled["new"]) == (str(folder / "a--b.safetensors"), True)
    data = (folder / "a--b.safetensors").read_bytes()
    assert data == (tmp_path / "made" / "a--b.safetensors").read_bytes()
    assert (pulled["sha256"], pulled["bytes"]) == (sha256(data).hexdigest(), len(data))
    assert checksum(shelf.find("a", "b")) == some(seed=1).checksum
    again = adapt("pull", "a", "b", "--registry", registry).ok()
    assert "was there already" in again.out


def test_pull_takes_a_name_two_models_or_all(registry: Path, folder: Path, tmp_path: Path) -> None:
    adapt("pull", "a--c", "--registry", registry, "-o", "one.safetensors").ok()
    assert Projection.load("one.safetensors").target.name == "c"
    adapt("pull", "a--b.safetensors", "--registry", registry, "-o", "some/").ok()
    assert names(tmp_path / "some") == {"a--b.safetensors"}
    adapt("pull", "--registry", registry).ok()
    assert names(folder) == {"a--b.safetensors", "a--c.safetensors"}


def test_another_file_is_not_replaced_unasked(registry: Path, folder: Path) -> None:
    put(folder, "a--b.safetensors", seed=7)
    done = adapt("pull", "a", "b", "--registry", registry)
    assert (done.code, "--overwrite" in done.err) == (2, True)
    assert checksum(shelf.find("a", "b")) == some(seed=7).checksum
    adapt("pull", "a", "b", "--registry", registry, "--overwrite").ok()
    assert checksum(shelf.find("a", "b")) == some(seed=1).checksum


def test_a_push_replaces_no_other_file_of_the_same_name_unasked(registry: Path, tmp_path: Path) -> None:
    put(tmp_path / "new", "a--b.safetensors", seed=5)
    done = adapt("push", tmp_path / "new" / "a--b.safetensors", "--registry", registry)
    assert (done.code, "--overwrite replaces it" in done.err) == (2, True)
    assert Registry(str(registry)).entries()[0].sha256 != sha256(b"").hexdigest()
    adapt("pull", "a", "b", "--registry", registry, "-o", "old.safetensors").ok()
    assert Projection.load("old.safetensors").checksum == some(seed=1).checksum
    adapt("push", tmp_path / "new" / "a--b.safetensors", "--registry", registry, "--overwrite").ok()
    adapt("pull", "a", "b", "--registry", registry, "-o", "new.safetensors").ok()
    assert Projection.load("new.safetensors").checksum == some(seed=5).checksum


def test_the_same_file_again_changes_nothing(registry: Path, tmp_path: Path) -> None:
    before = index(registry)
    done = adapt("push", tmp_path / "made" / "a--b.safetensors", "--registry", registry, "--json").ok()
    assert done.report["new"] is False
    assert index(registry) == before


def test_a_push_goes_on_where_one_was_interrupted_before_the_index(registry: Path, tmp_path: Path) -> None:
    projections = index(registry)["projections"]
    del projections["a--b.safetensors"]
    change(registry, projections=projections)
    put(tmp_path / "other", "a--b.safetensors", seed=9)
    assert adapt("push", tmp_path / "other" / "a--b.safetensors", "--registry", registry).code == 2
    adapt("push", tmp_path / "made" / "a--b.safetensors", "--registry", registry).ok()
    assert sorted(index(registry)["projections"]) == ["a--b.safetensors", "a--c.safetensors"]


def test_what_the_index_says_beyond_is_kept(registry: Path, tmp_path: Path) -> None:
    projections = index(registry)["projections"]
    projections["a--b.safetensors"]["more"] = 1
    projections["later.kind"] = {"of": "another version"}
    change(registry, projections=projections, note="ours")
    put(tmp_path / "new", "d--e.safetensors", source="d", target="e")
    adapt("push", tmp_path / "new" / "d--e.safetensors", "--registry", registry).ok()
    after = index(registry)
    assert after["note"] == "ours"
    assert after["projections"]["a--b.safetensors"]["more"] == 1
    assert after["projections"]["later.kind"] == {"of": "another version"}
    assert [one.name for one in Registry(str(registry)).entries()] == [
        f"{one}.safetensors" for one in ("a--b", "a--c", "d--e")
    ]


def test_no_half_written_file_stays_behind(registry: Path) -> None:
    assert names(registry) == {"index.json", "a--b.safetensors", "a--c.safetensors"}


# -- looked up ---------------------------------------------------------------------------------------------------------


def test_a_registry_is_looked_in_after_the_users_folder(
    registry: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shelf.find("a", "b") is None
    assert checksum(shelf.find("a", "b", registry=str(registry))) == some(seed=1).checksum
    monkeypatch.setenv("VEX_REGISTRY", str(registry))
    assert checksum(shelf.find("a", "b")) == some(seed=1).checksum
    put(folder, "x.safetensors", seed=3)
    assert checksum(shelf.find("a", "b")) == some(seed=3).checksum


def test_a_variable_in_the_address_is_that_of_the_environment(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", str(registry))
    adapt("pull", "a", "b", "--registry", "${WHERE}/", "-o", "x.safetensors").ok()


def test_a_registry_in_memory() -> None:
    put(Path(), "m.safetensors", seed=4)
    there = Registry("memory://registry-test/deep")
    assert there.push("m.safetensors")[1]
    assert not there.push("m.safetensors")[1]
    assert checksum(shelf.find("a", "b", registry="memory://registry-test/deep/")) == some(seed=4).checksum


# -- what is not trusted -----------------------------------------------------------------------------------------------


def test_a_file_whose_checksum_differs_is_not_used_and_not_pulled(registry: Path, folder: Path) -> None:
    some(seed=8).save(str(registry / "a--b.safetensors"), overwrite=True)
    done = adapt("pull", "a", "b", "--registry", registry)
    assert (done.code, "checksum of a--b.safetensors differs" in done.err) == (1, True)
    assert not folder.exists()
    with pytest.raises(DataError, match="checksum"):
        shelf.find("a", "b", registry=str(registry))


def test_a_file_that_is_not_between_the_models_of_the_index_is_not_used(registry: Path, folder: Path) -> None:
    projections = index(registry)["projections"]
    projections["a--b.safetensors"]["target"]["name"] = "c"
    change(registry, projections=projections)
    assert "not between the models" in adapt("pull", "a--b", "--registry", registry).err
    assert not folder.exists()


@pytest.mark.parametrize(
    "name", ["../up.safetensors", "a/b.safetensors", "a\\b.safetensors", "/abs.safetensors", "..", "", ".x"]
)
def test_names_that_lead_out_of_the_folder_are_refused(registry: Path, folder: Path, name: str) -> None:
    projections = index(registry)["projections"]
    projections[name] = projections["a--b.safetensors"]
    change(registry, projections=projections)
    for words in (("pull",), ("list",), ("push", "made/a--b.safetensors")):
        done = adapt(*words, "--registry", registry)
        assert (done.code, "refused" in done.err) == (1, True)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "damaged"),
        ("{", "damaged"),
        ("[]", "no index of projections"),
        ("{}", "no index of projections"),
        ('{"format": "vexarrow.registry", "version": 2}', "upgrade"),
        ('{"format": "vexarrow.registry", "version": 1}', "lists no projections"),
        ('{"format": "vexarrow.registry", "version": 1, "projections": []}', "lists no projections"),
        ('{"format": "vexarrow.registry", "version": 1, "projections": {"a.safetensors": {}}}', "not complete"),
        ('{"format": "vexarrow.registry", "version": 1, "projections": {"a.safetensors": 3}}', "not complete"),
    ],
)
def test_a_corrupt_index_is_refused(registry: Path, text: str, said: str) -> None:
    (registry / "index.json").write_text(text)
    for words in (("pull",), ("list",)):
        done = adapt(*words, "--registry", registry)
        assert (done.code, said in done.err) == (1, True)


def test_an_index_that_cannot_be_read_is_not_replaced(registry: Path) -> None:
    (registry / "index.json").write_text("{")
    assert adapt("push", "made/a--b.safetensors", "--registry", registry).code == 1
    assert (registry / "index.json").read_text() == "{"


@pytest.mark.parametrize("digest", ["", "0" * 63, "x" * 64, 3])
def test_an_entry_without_a_checksum_is_refused(registry: Path, digest: object) -> None:
    projections = index(registry)["projections"]
    projections["a--b.safetensors"]["sha256"] = digest
    change(registry, projections=projections)
    assert "SHA-256" in adapt("pull", "--registry", registry).err


def test_a_folder_that_is_no_registry_says_so(tmp_path: Path) -> None:
    for words in (("pull",), ("list",)):
        done = adapt(*words, "--registry", tmp_path / "nowhere")
        assert (done.code, "no registry of projections" in done.err) == (1, True)


def test_a_registry_that_cannot_be_reached_says_so() -> None:
    done = adapt("pull", "--registry", "http://127.0.0.1:1/projections")
    assert (done.code, "127.0.0.1:1" in done.err) == (1, True)
    assert "see that --registry, or VEX_REGISTRY, names the right place" in done.err
    with pytest.raises(TransientError):
        shelf.find("a", "b", registry="http://127.0.0.1:1/projections")


def test_which_registry_has_to_be_said(tmp_path: Path) -> None:
    put(tmp_path, "x.safetensors")
    for words in (("pull",), ("push", "x.safetensors")):
        done = adapt(*words)
        assert (done.code, "VEX_REGISTRY" in done.err) == (2, True)


def test_what_the_registry_does_not_have_is_said_with_what_it_has(registry: Path) -> None:
    for words in (("z",), ("b", "a")):
        done = adapt("pull", *words, "--registry", registry)
        assert (done.code, "it has a--b.safetensors, a--c.safetensors" in done.err) == (1, True)
    assert adapt("pull", "a", "b", "c", "--registry", registry).code == 2


def test_many_projections_do_not_go_into_one_file(registry: Path, tmp_path: Path) -> None:
    done = adapt("pull", "--registry", registry, "-o", tmp_path / "one.safetensors")
    assert (done.code, "folder" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("x.safetensors", b"no projection", DataError),
        ("x.json", b"{}", UsageError),
        ("x y.safetensors", None, UsageError),
        ("-x.safetensors", None, UsageError),
    ],
)
def test_only_projections_with_plain_names_are_pushed(
    tmp_path: Path, name: str, data: bytes | None, error: type[VexError]
) -> None:
    some().save(str(tmp_path / name)) if data is None else (tmp_path / name).write_bytes(data)
    there = tmp_path / "registry"
    with pytest.raises(error, match=name):
        Registry(str(there)).push(str(tmp_path / name))
    assert not there.exists()
    with pytest.raises(NotFound):
        Registry(str(there)).push(str(tmp_path / "missing.safetensors"))


def test_a_password_in_an_address_is_not_shown() -> None:
    there = Registry("ftp://me:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in str(there)
    with pytest.raises(VexError) as caught:
        there.entries()
    assert "hunter2" not in str(caught.value)


# -- an object store ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket, reached by the usual environment variables."""
    import boto3

    for name, value in client_environment(server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    boto3.client("s3").create_bucket(Bucket="projections")
    return "projections"


@pytest.mark.s3
def test_a_registry_in_an_object_store(bucket: str, folder: Path, tmp_path: Path) -> None:
    there = f"s3://{bucket}/team"
    put(tmp_path, "a--b.safetensors", seed=1)
    put(tmp_path, "a--c.safetensors", target="c", seed=2)
    adapt("push", "a--b.safetensors", "--registry", there).ok()
    adapt("push", "a--c.safetensors", "--registry", there).ok()
    assert [one.name for one in Registry(there).entries()] == ["a--b.safetensors", "a--c.safetensors"]
    adapt("pull", "--registry", there).ok()
    assert names(folder) == {"a--b.safetensors", "a--c.safetensors"}
    assert checksum(shelf.find("a", "c", registry=there)) == some(target="c", seed=2).checksum
    put(tmp_path / "other", "a--b.safetensors", seed=3)
    assert adapt("push", "other/a--b.safetensors", "--registry", there).code == 2
    with pytest.raises(NotFound):
        Registry("s3://no-such-bucket-here/x").entries()


@pytest.mark.s3
def test_an_object_store_without_credentials_says_so(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(tmp_path, "a--b.safetensors")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(AccessError, match="credentials"):
        Registry(f"s3://{bucket}/team").push("a--b.safetensors")


# -- the list ----------------------------------------------------------------------------------------------------------


def listed(*words: str | Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = vex("adapt", *words, "--json").ok().report["projections"]
    return rows


def test_the_list_has_the_seven_pairs_and_the_truncations_with_their_states() -> None:
    rows = listed("--list")
    assert rows == listed("list")
    assert [row["state"] for row in rows[:7]] == ["to be trained"] * 7
    assert rows[6]["command"] == (
        "vex-adapt train --from bge-large-en-v1.5 --to text-embedding-3-large --pairs aligned.jsonl "
        "-o bge-large-en-v1.5--text-embedding-3-large.safetensors"
    )
    cut = {row["source"]: row for row in rows if row["lengths"]}
    assert cut[SMALL]["target"] == f"{SMALL}@N"
    assert {row["state"] for row in cut.values()} == {"built in"}
    text = adapt("--list").ok().out
    for row in rows:
        assert row["source"] in text
        assert row["command"] is None or row["command"] in text


def test_the_list_has_what_is_installed_with_its_quality(folder: Path, registry: Path) -> None:
    measured = {
        "report": {"overlap": {"value": 0.71}, "source_overlap": {"value": 0.52}},
        "verdict": {"verdict": "usable"},
        "pairs": {"count": 2000},
    }
    projection = some("all-MiniLM-L6-v2", SMALL, (384, 1536)).with_header(**measured)
    projection.save(str(folder / "b.safetensors"))
    put(folder, "c.safetensors", source="all-MiniLM-L6-v2", target=SMALL, dims=(384, 1536), seed=1)
    rows = listed("list", "--registry", registry)
    ours = [row for row in rows if (row["source"], row["target"]) == ("all-MiniLM-L6-v2", SMALL)]
    assert [(row["state"], row["used"]) for row in ours] == [("installed", True), ("installed", False)]
    assert ours[0]["quality"] == {"overlap": 0.71, "source_overlap": 0.52, "pairs": 2000, "verdict": "usable"}
    assert ours[1]["quality"]["verdict"] == "unknown"
    there = [row for row in rows if row["state"] == "in the registry"]
    assert [row["command"] for row in there] == [
        f"vex-adapt pull {name}.safetensors --registry {registry}" for name in ("a--b", "a--c")
    ]
    text = adapt("list", "--registry", registry).ok().out
    assert "installed: 71% of native neighbours (source alone: 52%), usable" in text
    assert "nothing is known of its quality" in text
    assert "not used" in text


def test_the_command_that_the_list_gives_for_a_registry_works(folder: Path, registry: Path) -> None:
    (command,) = {row["command"] for row in listed("list", "--registry", registry) if row["target"] == "c"}
    adapt(*command.split()[1:]).ok()
    assert names(folder) == {"a--c.safetensors"}


def test_a_refused_projection_is_pushed_with_a_warning(tmp_path: Path) -> None:
    some().with_header(verdict={"verdict": "refused"}).save("r.safetensors")
    done = adapt("push", "r.safetensors", "--registry", tmp_path / "registry").ok()
    assert "warning: r.safetensors was refused" in done.err
    assert Registry(str(tmp_path / "registry")).entries()[0].quality.verdict == "refused"


def test_help_ends_in_examples() -> None:
    for command in ("list", "push", "pull"):
        assert f"vex-adapt {'--list' if command == 'list' else command}" in adapt(command, "--help").ok().out
