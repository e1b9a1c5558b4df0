"""The cache of vectors: shared by threads and processes, careful with files of others."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from vexarrow.embedding_cache import Cache, default_path
from vexarrow.errors import AccessError, DataError, UsageError

KEYS = [bytes([at]) * 32 for at in range(200)]


def test_vectors_are_found_again_by_model_dimensions_and_text(tmp_path: Path) -> None:
    path = str(tmp_path / "cache.db")
    one = Cache(path, "model", None)
    one.keep({KEYS[0]: b"abcd", KEYS[1]: b"efgh"})
    one.close()
    assert Cache(path, "model", None).found(KEYS) == {KEYS[0]: b"abcd", KEYS[1]: b"efgh"}
    assert Cache(path, "model", 256).found(KEYS) == {}
    assert Cache(path, "other", None).found(KEYS) == {}


def test_what_comes_after_the_end_is_forgotten(tmp_path: Path) -> None:
    one = Cache(str(tmp_path / "cache.db"), "model", None)
    one.close()
    one.keep({KEYS[0]: b"abcd"})
    assert one.trouble is None


def test_processes_share_a_file_from_its_first_moment(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from vexarrow.embedding_cache import Cache
        path, number = sys.argv[1], int(sys.argv[2])
        cache = Cache(path, "model", None)
        for at in range(50):
            cache.keep({bytes([at]) * 32: b"same", bytes([number, at]) * 16: b"mine"})
        sys.exit(cache.trouble)
    """
    path = tmp_path / "cache.db"
    every = [subprocess.Popen([sys.executable, "-c", code, path, str(200 + at)]) for at in range(6)]
    assert [one.wait(60) for one in every] == [0] * 6
    own = [bytes([200 + number, at]) * 16 for number in range(6) for at in range(50)]
    there = Cache(str(path), "model", None).found([*KEYS, *own])
    assert len(there) == 50 + 6 * 50


def test_the_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE memories (id)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="memories"):
        Cache(str(path), "model", None)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_an_error_that_says_what_helps(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    path.write_bytes(b"what is this?" * 100)
    with pytest.raises(DataError, match="--no-embed-cache"):
        Cache(str(path), "model", None)
    assert path.read_bytes() == b"what is this?" * 100


def test_a_place_where_no_file_can_be_is_an_error_that_says_what_helps(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AccessError, match="--no-embed-cache"):
        Cache(str(tmp_path / "file" / "cache.db"), "model", None)


def test_a_disk_that_is_full_costs_the_cache_and_not_the_run(tmp_path: Path) -> None:
    """The limit of a process on the size of its files stands in for the disk."""
    code = """if True:
        import resource, signal, sys
        from vexarrow.embedding_cache import Cache
        cache = Cache(sys.argv[1], "model", None)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for at in range(100):
            cache.keep({bytes([at]) * 32: bytes(6144)})
        assert cache.trouble, "nothing was full"
        print(len(cache.found([bytes([at]) * 32 for at in range(100)])))
    """
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "cache.db"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) < 100


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have folders of their own")
def test_the_users_cache_is_where_the_platform_has_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert default_path() == "/home/me/.cache/vexarrow/embeddings.sqlite3"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert default_path() == "/var/cache/me/vexarrow/embeddings.sqlite3"
