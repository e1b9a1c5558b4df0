"""Rules of the house: who imports whom, what `--help` costs, and names that have to agree with each other."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from vexarrow._version import __version__

HERE = Path(__file__).parent
ROOT = HERE.parent
IS_CHECKOUT = (ROOT / "vexarrow").is_dir()
in_checkout = pytest.mark.skipif(not IS_CHECKOUT, reason="runs in a checkout")
PLUGINS = ("connectors", "formats")
HEAVY = (
    *("pyarrow", "numpy", "polars", "pandas", "duckdb", "orjson", "simdjson"),
    *("fsspec", "s3fs", "boto3", "rich", "stamina", "importlib.metadata"),
    *("vexarrow.connectors", "vexarrow.formats"),
)


def folder(package: str) -> Path:
    """Where a package is, in a checkout as well as installed."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.origin is not None, f"{package} has no __init__.py"
    return Path(spec.origin).parent


def engine_files() -> Iterator[Path]:
    """The modules of vexarrow/; an installed copy has the plug-ins below it, which are not the engine."""
    top = folder("vexarrow")
    return (file for file in top.rglob("*.py") if file.relative_to(top).parts[0] not in PLUGINS)


def imports(file: Path, package: str) -> Iterator[str]:
    """The full name of all that a module imports, at any depth; relative names are resolved in `package`."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def is_in(name: str, *packages: str) -> bool:
    """Whether a dotted name is one of the packages or something in one."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def test_the_engine_imports_no_connector_and_no_format() -> None:
    top = folder("vexarrow")
    for file in engine_files():
        package = ".".join(("vexarrow", *file.relative_to(top).parent.parts))
        named = [name for name in imports(file, package) if is_in(name, "vexarrow.connectors", "vexarrow.formats")]
        assert not named, f"{file}: go through the registry"


def test_the_engine_names_no_module_of_a_connector_or_format_in_a_string() -> None:
    """An `import_module("vexarrow.connectors.vektor")` would pass the test above."""
    module = re.compile(r"vexarrow\.(connectors|formats)\.[\w.:]*")
    for file in engine_files():
        constants = (node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.Constant))
        named = [node.value for node in constants if isinstance(node.value, str) and module.fullmatch(node.value)]
        assert not named, f"{file}: go through the registry"


@pytest.mark.parametrize("plugins", PLUGINS)
def test_a_plugin_imports_the_engine_absolutely_and_only_private_neighbours(plugins: str) -> None:
    """What two of them share is in a module that starts with an underscore, so each can be removed alone."""
    package = f"vexarrow.{plugins}"
    for file in folder(package).glob("*.py"):
        for name in imports(file, package):
            assert not is_in(name, *PLUGINS), f"{file} imports {name}, which loads a second copy"
            if is_in(name, "vexarrow.connectors", "vexarrow.formats"):
                assert name.startswith(f"{package}._"), f"{file} imports {name}"


@in_checkout
@pytest.mark.parametrize("plugins", PLUGINS)
def test_nothing_imports_a_plugin_folder_under_its_name_in_the_checkout(plugins: str) -> None:
    """`connectors` can be imported from the top of a checkout, but is not there once installed."""
    for top in ("vexarrow", "tests", "benchmarks", "scripts"):
        for file in (ROOT / top).rglob("*.py"):
            package = ".".join(file.relative_to(ROOT).parent.parts)
            assert not any(is_in(name, plugins) for name in imports(file, package)), file


@pytest.fixture(scope="module")
def modules_of_help() -> set[str]:
    """The modules in memory after `vex --help`."""
    code = """if True:
        import sys
        from vexarrow.cli import main
        try:
            main(["--help"])
        finally:
            print(*sys.modules, file=sys.stderr)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE)
    assert done.stdout.startswith("Usage: vex ")
    return set(done.stderr.split())


@pytest.mark.parametrize("heavy", HEAVY)
def test_help_imports_nothing_heavy(heavy: str, modules_of_help: set[str]) -> None:
    assert "vexarrow.cli" in modules_of_help
    assert heavy not in modules_of_help


def installed(command: str) -> Path:
    """A console script of the environment that runs the tests."""
    return Path(sysconfig.get_path("scripts"), command)


@pytest.mark.parametrize(
    "command",
    [[sys.executable, "-m", "vexarrow"], [installed("vex")], [installed("vex-adapt")]],
    ids=["python -m vexarrow", "vex", "vex-adapt"],
)
def test_every_command_is_installed_and_helps(command: list[str | Path]) -> None:
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, cwd=HERE)
    assert done.stdout.startswith("Usage: ")
    assert not done.stderr


def test_every_entry_point_leads_somewhere() -> None:
    entries = importlib.metadata.distribution("vexarrow").entry_points
    assert {entry.group for entry in entries} == {
        "console_scripts",
        "vexarrow.connectors",
        "vexarrow.formats",
        "vexarrow.projections",
    }
    for entry in entries:
        entry.load()


@in_checkout
@pytest.mark.parametrize("plugins", PLUGINS)
def test_every_plugin_has_an_entry_point_that_is_installed(plugins: str) -> None:
    """An editable install does not notice a new entry point: `make venv` has to run."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][f"vexarrow.{plugins}"]
    entries = importlib.metadata.distribution("vexarrow").entry_points.select(group=f"vexarrow.{plugins}")
    assert {entry.name: entry.value for entry in entries} == declared
    modules = {value.split(":")[0].rpartition(".")[2] for value in declared.values()}
    assert modules == {file.stem for file in (ROOT / plugins).glob("[!_]*.py")}


@in_checkout
def test_every_package_is_listed_for_the_wheel() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    inside = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "vexarrow").rglob("__init__.py")}
    assert listed == inside | {f"vexarrow.{plugins}" for plugins in PLUGINS}


def test_every_library_imported_is_declared() -> None:
    distributions = importlib.metadata.packages_distributions()
    requires = importlib.metadata.requires("vexarrow") or ()
    declared = {re.split(r"[^\w.-]", line)[0].lower() for line in requires if not re.search("extra == .dev", line)}
    files = [
        *engine_files(),
        *(file for plugins in PLUGINS for file in folder(f"vexarrow.{plugins}").glob("*.py")),
    ]
    for file in files:
        tops = {name.split(".")[0] for name in imports(file, "vexarrow.x")} - {
            "vexarrow",
            *sys.stdlib_module_names,
        }
        for top in tops & distributions.keys():
            assert declared & {name.lower() for name in distributions[top]}, f"{file} imports {top}"


@in_checkout
@pytest.mark.parametrize(
    "name", ["pyproject.toml", "README.md", "vexarrow", "connectors", "formats", "tests", "benchmarks", "scripts"]
)
def test_the_top_level_is_what_the_owner_gave(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.skipif(IS_CHECKOUT, reason="runs on an installed package, see `make package`")
def test_the_installed_package_is_tested_and_not_a_checkout() -> None:
    for package in ("vexarrow", "vexarrow.connectors", "vexarrow.formats"):
        assert folder(package).is_relative_to(sysconfig.get_path("purelib"))
    assert not [entry for entry in sys.path if Path(entry, "connectors").is_dir()]


def test_the_version_is_one_everywhere() -> None:
    assert importlib.metadata.version("vexarrow") == __version__


@in_checkout
def test_the_changelog_starts_with_this_version() -> None:
    headings = re.findall(r"^## \[?v?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == __version__


def test_the_demo_runs() -> None:
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    done = subprocess.run(
        [HERE / "demo.sh"], capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, done.stderr
    assert "memories.parquet" in done.stdout


@in_checkout
def test_the_readme_lists_the_places_as_they_declare_themselves() -> None:
    from vexarrow.cli.listing import markdown

    assert markdown() in (ROOT / "README.md").read_text(encoding="utf-8")
