"""Which projection two names mean, and where it is looked for."""

from __future__ import annotations

import json
import sys
import types
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest

from vexarrow.adapt import Projection, catalog, shelf
from vexarrow.adapt.model import Adapter, ModelCard
from vexarrow.adapt.truncation import Truncation
from vexarrow.embedding_models import KNOWN_DIMENSIONS
from vexarrow.errors import DataError, UsageError

SMALL, LARGE = "text-embedding-3-small", "text-embedding-3-large"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's data directory of its own, with the folder of projections in it, and no settings from outside."""
    for name in ("VEX_PROJECTIONS", "VEX_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    folder = tmp_path / "data" / "vexarrow" / "projections"
    folder.mkdir(parents=True)
    return folder


def some(source: str = "a", target: str = "b", dims: tuple[int, int] = (4, 6), seed: int = 0) -> Projection:
    """A projection of any weights."""
    random = np.random.default_rng(seed)
    weight = random.standard_normal(dims).astype(np.float32)
    bias = random.standard_normal(dims[1]).astype(np.float32)
    return Projection(weight, bias, ModelCard(source, dims[0]), ModelCard(target, dims[1]))


def put(folder: Path, name: str = "x.safetensors", **made: object) -> Projection:
    """A projection in a folder."""
    projection = some(**made)  # type: ignore[arg-type]  # what a test gives is what `some` takes
    folder.mkdir(parents=True, exist_ok=True)
    projection.save(str(folder / name))
    return projection


def of_folders() -> list[shelf.Item]:
    """What is at hand without what comes with the package."""
    return [item for item in shelf.at_hand() if item.origin == "folder"]


def checksum(found: Adapter | None) -> str | None:
    return None if found is None else found.checksum


# -- truncations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "dim", "lengths"),
    [
        (SMALL, f"{SMALL}@512", None, (1536, 512)),
        (LARGE, f"{LARGE}@1", None, (3072, 1)),
        (f"openai:{SMALL}", f"{SMALL}@1535", None, (1536, 1535)),
        (SMALL, f"{SMALL}@256", 512, (512, 256)),
        (f"{LARGE}@1024", f"{LARGE}@256", None, (1024, 256)),
        ("google/gemini-embedding-001", "gemini-embedding-001@768", None, (3072, 768)),
        ("voyage-3-large", "voyage-3-large@256", 1024, (1024, 256)),
    ],
)
def test_a_model_at_fewer_dimensions_is_a_truncation(
    source: str, target: str, dim: int | None, lengths: tuple[int, int]
) -> None:
    found = shelf.find(source, target, dim=dim)
    assert isinstance(found, Truncation)
    assert (found.source.dim, found.target.dim) == lengths
    assert found.source.name == found.target.name == catalog.split(target)[0]


@pytest.mark.parametrize(
    ("source", "target", "dim"),
    [
        (SMALL, f"{SMALL}@1536", None),  # nothing to cut
        (SMALL, f"{SMALL}@512", 512),
        (SMALL, f"{SMALL}@512", 256),  # too short already
        (SMALL, f"{SMALL}@512", 3000),  # no vector of that model
        (SMALL, SMALL, None),
        (SMALL, f"{LARGE}@512", None),
        ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2@100", None),
        ("voyage-3-large", "voyage-3-large@300", None),  # not published
        ("jina-embeddings-v3", "jina-embeddings-v3@16", None),
        ("nomic-ai/nomic-embed-text-v1.5", "nomic-embed-text-v1.5@256", None),  # wants a layer norm before
    ],
)
def test_what_is_no_truncation_is_not_found(source: str, target: str, dim: int | None) -> None:
    assert shelf.find(source, target, dim=dim) is None


def test_why_nothing_is_found_names_the_fix() -> None:
    assert "layer norm" in catalog.why_not("nomic-embed-text-v1.5", "nomic-embed-text-v1.5@256")
    assert "256, 512, 1024" in catalog.why_not("voyage-3-large", "voyage-3-large@300")
    assert "trained for that" in catalog.why_not("all-MiniLM-L6-v2", "all-MiniLM-L6-v2@100")
    assert f"train --from x/a --to {SMALL} " in catalog.why_not("x/a", SMALL)
    assert f"-o a--{SMALL}.safetensors" in catalog.why_not("x/a", SMALL)


@pytest.mark.parametrize("name", [f"{SMALL}@", f"{SMALL}@x", f"{SMALL}@0", f"{SMALL}@-1", "@12", f"{SMALL}@5²"])
def test_a_number_of_dimensions_that_is_none_is_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError, match="number of dimensions"):
        shelf.find(SMALL, name)


def test_the_catalog_has_the_pairs_of_the_original_and_agrees_with_itself() -> None:
    assert [(one.source, one.target) for one in catalog.PAIRS] == [
        *((name, SMALL) for name in ("bge-small-en-v1.5", "bge-base-en-v1.5", "all-MiniLM-L6-v2", "all-mpnet-base-v2")),
        ("text-embedding-ada-002", SMALL),
        ("e5-base-v2", SMALL),
        ("bge-large-en-v1.5", LARGE),
    ]
    for pair in catalog.PAIRS:
        assert pair.target_dim == KNOWN_DIMENSIONS[pair.target]
        assert pair.embedder.endswith(pair.source)
    for model in catalog.MATRYOSHKA:
        assert model.said.startswith("https://")
        assert all(length < model.dim for length in model.only)
        assert model.gives(model.least)
        assert not model.gives(model.dim)


# -- where is looked ---------------------------------------------------------------------------------------------------


def test_a_file_in_the_data_directory_is_found_by_the_names_in_it(data: Path) -> None:
    ours = put(data, "any name.safetensors", source="org/A", target="b")
    for source, target in (("a", "b"), ("org/a", "B"), ("openai:A", "x/b")):
        assert checksum(shelf.find(source, target)) == ours.checksum
    assert shelf.find("other/a", "b") is None
    assert shelf.find("b", "a") is None


def test_only_a_projection_of_these_lengths_is_found(data: Path) -> None:
    put(data, dims=(4, 6))
    other = put(data, "y.safetensors", dims=(8, 6), seed=1)
    assert checksum(shelf.find("a", "b", dim=8)) == checksum(shelf.find("a@8", "b@6")) == other.checksum
    assert shelf.find("a", "b", dim=5) is None
    assert shelf.find("a", "b@7") is None


def test_the_first_name_of_a_folder_goes_before_and_its_own_folder_before_the_data_directory(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(data, "0.safetensors", seed=1)
    put(tmp_path / "one", "b.safetensors", seed=2)
    first = put(tmp_path / "one", "a.safetensors", seed=3)
    monkeypatch.setenv("VEX_PROJECTIONS", f"{tmp_path / 'not there'}:{tmp_path / 'one'}")
    assert checksum(shelf.find("a", "b")) == first.checksum
    assert [Path(item.location).name for item in of_folders()] == ["a.safetensors", "b.safetensors", "0.safetensors"]


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_found(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = put(data)
    (data / "broken.safetensors").write_bytes(b"\xff" * 40)
    (data / "a.json").write_text("{}")
    (data / ".hidden.safetensors").write_bytes(b"")
    (data / "notes.txt").write_text("no projection")
    (data / "index.json").write_text("[]")  # a folder may be a registry as well
    assert checksum(shelf.find("a", "b")) == ours.checksum
    assert shelf.find("a", "c") is None
    said = capsys.readouterr().err
    assert "broken.safetensors cannot be used" in said
    assert "hidden" not in said
    assert "index.json" not in said


def test_the_file_that_is_meant_and_damaged_is_an_error(data: Path) -> None:
    put(data)
    whole = bytearray((data / "x.safetensors").read_bytes())
    whole[-1] ^= 1
    (data / "x.safetensors").write_bytes(whole)
    with pytest.raises(DataError, match=r"x\.safetensors.*damaged"):
        shelf.find("a", "b")


def test_the_original_tools_files_are_found_as_well(data: Path) -> None:
    said = {
        "from": "a",
        "to": "b",
        "d_source": 2,
        "d_target": 3,
        "pairs": 5,
        "eval_cos": 0.9,
        "W": [[1, 0, 0], [0, 1, 0]],
    }
    (data / "old.json").write_text(json.dumps(said))
    found = shelf.find("a", "b")
    assert isinstance(found, Projection)
    assert found.matrix(np.array([[3, 4]], np.float32)).tolist() == [[np.float32(0.6), np.float32(0.8), 0.0]]
    assert [item.quality.verdict for item in of_folders()] == ["unknown"]


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, "{home}/.local/share"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "{home}/.local/share"),
        ("darwin", {"XDG_DATA_HOME": "/ignored"}, "{home}/Library/Application Support"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local"),
        ("win32", {}, "{home}/AppData/Local"),
    ],
)
def test_the_folder_is_where_the_platform_keeps_data(
    platform: str, variables: dict[str, str], folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert shelf.folders() == [f"{folder.format(home=tmp_path)}/vexarrow/projections"]


# -- packages ----------------------------------------------------------------------------------------------------------


def install(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    """Packages that bring projections, as installed ones are seen: by their entry points."""
    module = types.ModuleType("acme_projections")
    for name, value in values.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "acme_projections", module)
    entries = [EntryPoint(name, f"acme_projections:{name}", shelf.GROUP) for name in values]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: EntryPoints(entries).select(group=group))


def test_packages_bring_projections_as_folders_files_and_packages(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "p", source="a", target="folder")
    put(tmp_path / "q", "one.safetensors", source="a", target="files")
    put(tmp_path / "r", source="a", target="package")
    package = types.ModuleType("package")
    package.__path__ = [str(tmp_path / "r")]

    def broken() -> str:
        raise RuntimeError("no such thing")

    install(
        monkeypatch,
        f=lambda: tmp_path / "p",
        g=lambda: [str(tmp_path / "q" / "one.safetensors")],
        h=package,
        i=broken,
    )
    assert [(item.origin, item.target.name) for item in shelf.at_hand()] == [
        ("f", "folder"),
        ("g", "files"),
        ("h", "package"),
    ]
    assert shelf.find("a", "package") is not None
    assert "acme_projections:i cannot be used: no such thing" in capsys.readouterr().err


def test_the_users_folder_goes_before_packages(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "p", seed=1)
    install(monkeypatch, f=lambda: tmp_path / "p")
    ours = put(data, seed=2)
    assert checksum(shelf.find("a", "b")) == ours.checksum


def test_what_ships_with_vexarrow_comes_through_its_own_entry_point_and_can_be_used() -> None:
    from importlib.metadata import entry_points

    assert [entry.value for entry in entry_points(group=shelf.GROUP, name="vexarrow")] == ["vexarrow.adapt.weights"]
    for item in shelf.at_hand():
        found = item.load()
        assert (item.origin, found.source, found.target) == ("vexarrow", item.source, item.target)
        assert item.quality.verdict in ("usable", "usable with care")


# -- shorter than the target -------------------------------------------------------------------------------------------


def test_a_projection_to_a_whole_model_is_cut_to_the_length_that_is_asked_for(data: Path) -> None:
    whole = put(data, source="a", target=SMALL, dims=(4, 1536))
    short = shelf.find("a", f"{SMALL}@512")
    assert isinstance(short, Projection)
    assert (short.target.name, short.target.dim, short.report) == (SMALL, 512, None)
    assert short.header["cut_from"] == {"checksum": whole.checksum, "dim": 1536}
    x = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    cut = Truncation(whole.target, 512).matrix(whole.matrix(x))
    np.testing.assert_allclose(short.matrix(x), cut, atol=1e-6)
    assert short.checksum != whole.checksum
    assert shelf.find("a", f"{SMALL}@2000") is None


def test_a_projection_to_the_shorter_model_goes_before_a_cut_of_the_whole(data: Path) -> None:
    put(data, "a.safetensors", source="a", target=SMALL, dims=(4, 1536))
    own = put(data, "b.safetensors", source="a", target=SMALL, dims=(4, 512))
    assert checksum(shelf.find("a", f"{SMALL}@512")) == own.checksum


def test_a_target_that_cannot_be_cut_is_not(data: Path) -> None:
    put(data, source="a", target="text-embedding-ada-002", dims=(4, 1536))
    assert shelf.find("a", "text-embedding-ada-002@512") is None
