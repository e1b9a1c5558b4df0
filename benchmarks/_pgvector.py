"""What the questions about pgvector share: a server, inputs, and the same work without vex.

`python -m benchmarks._pgvector JOB ...` is a process that does the work of a contender:

    fresh TABLE COMMAND...   drops a table, then becomes the command
    load PATH TABLE          vexarrow loads a Parquet file into a new table, as `vex import` does
    copy PATH TABLE          one COPY FROM STDIN BINARY of a prebuilt buffer into a new table like ours
    upsert PATH TABLE WAY    psycopg's executemany of INSERT ... ON CONFLICT, vectors as "text" or by an "adapter"; of a
                             fifth of the records, because it takes so long
    out PATH TABLE           one COPY TO STDOUT BINARY, drained to nothing
    drain PATH TABLE         our source reads the table as the engine does, to nothing

All but the first do it `TIMES` times over: rates are compared, and starting a process takes about as long as a COPY.
Tables are without an index of vectors, whose making would be nearly all of the time; they have their primary key. The
buffer is what PostgreSQL itself gives for the table that vex has loaded: the warm-up makes it. The server runs with
fsync off, on this machine; VEX_TEST_PGVECTOR_URL names another.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks._pinecone import inputs_of
from benchmarks.goals import Measured, Verdict, spread, wall
from benchmarks.measure import Contender
from benchmarks.question import PYTHON, VEX

__all__ = ["Rate", "command", "copy", "drain", "inputs_of", "load", "out", "server", "upsert"]
URL = "PGVECTOR_URL"
TIMES = 3
PART = 5
CHUNK = 128 << 10  # what psycopg itself cuts a larger buffer into
PAGE = 1000
READERS = 2  # as the connector says itself


@contextmanager
def server() -> Iterator[None]:
    """A server, and the environment that leads to it."""
    from tests.engines.postgres import postgres

    given = os.environ.get("VEX_TEST_PGVECTOR_URL")
    if given:
        os.environ[URL] = given
        yield
        return
    with postgres("18", shared_buffers="1GB", max_wal_size="16GB") as url:
        os.environ[URL] = url
        yield


@dataclass(frozen=True)
class Rate:
    """`who` brings at least `times` as many records a second as `than`, which does a `PART`-th of the work."""

    who: str
    times: float
    than: str

    def judge(self, measured: Measured) -> Iterator[Verdict]:
        """One verdict for each number of records."""
        for records, by_name in measured.items():
            if {self.who, self.than} <= by_name.keys():
                ratio = PART * wall(by_name[self.than]) / wall(by_name[self.who])
                pairs = zip(by_name[self.who], by_name[self.than], strict=True)
                found = f"{ratio:.1f} times{spread([PART * b.wall / a.wall for a, b in pairs])}"
                yield Verdict(f"{records:,} records: {self}", found, ratio >= self.times)

    def __str__(self) -> str:
        return f"{self.who} at {self.times:g} times the rate of {self.than}"


def table_of(path: Path) -> str:
    """The table of ours for an input."""
    return f"ours_{path.stem}"


def job(name: str, *arguments: str | Path) -> tuple[str | Path, ...]:
    """The command of one of the jobs above."""
    return (PYTHON, "-m", "benchmarks._pgvector", name, *arguments)


def imported(path: str | Path, table: str) -> tuple[str | Path, ...]:
    """The command that loads a file."""
    return (VEX, "import", "--from", path, "--to", "pgvector", "--table", table, "--no-index", "--quiet")


def command(name: str, path: Path) -> Contender:
    """The command line loads a file into a new table, once."""
    return Contender(name, job("fresh", table_of(path), *imported(path, table_of(path))))


def load(name: str, path: Path) -> Contender:
    """We load a file into a new table."""
    return Contender(name, job("load", path, table_of(path)))


def copy(name: str, path: Path) -> Contender:
    """One COPY loads a prebuilt buffer into a new table."""
    return Contender(name, job("copy", path, f"theirs_{path.stem}"))


def upsert(name: str, path: Path, way: str) -> Contender:
    """The client library loads a file into a new table."""
    return Contender(name, job("upsert", path, f"theirs_{path.stem}", way))


def out(name: str, path: Path) -> Contender:
    """One COPY reads a table."""
    return Contender(name, job("out", path, table_of(path)))


def drain(name: str, path: Path) -> Contender:
    """We read a table."""
    return Contender(name, job("drain", path, table_of(path)))


# -- the jobs -------------------------------------------------------------------------------------------


def connected() -> Any:
    """A connection; every statement is a transaction."""
    import psycopg

    return psycopg.connect(os.environ[URL], autocommit=True)


def drop(table: str) -> None:
    with connected() as db:
        db.execute(f"DROP TABLE IF EXISTS {table}".encode())


def fresh(table: str, *command: str) -> None:
    drop(table)
    os.execv(command[0], command)  # noqa: S606 - the command of a contender


def ours(path: str, table: str) -> None:
    from vexarrow.process import settle, without_arithmetic

    settle()
    without_arithmetic()
    from vexarrow import copy

    for _ in range(TIMES):
        drop(table)
        copy(path, "pgvector", target_options={"table": table, "no-index": "true"})


def like_ours(db: Any, path: str, table: str) -> None:
    """A new table with the columns and the primary key of the one that vex has loaded."""
    db.execute(f"DROP TABLE IF EXISTS {table}".encode())
    db.execute(f"CREATE TABLE {table} (LIKE {table_of(Path(path))} INCLUDING ALL)".encode())


def copied(path: str, table: str) -> None:
    buffer = Path(path).with_suffix(".pgcopy")
    with connected() as db:
        if not buffer.exists():
            ours = f"COPY {table_of(Path(path))} TO STDOUT (FORMAT BINARY)".encode()
            with buffer.open("wb") as file, db.cursor().copy(ours) as reading:
                file.writelines(reading)
        whole = memoryview(buffer.read_bytes())
        for _ in range(TIMES):
            like_ours(db, path, table)
            with db.cursor().copy(f"COPY {table} FROM STDIN (FORMAT BINARY)".encode()) as writing:
                for start in range(0, len(whole), CHUNK):
                    writing.write(whole[start : start + CHUNK])


def upserted(path: str, table: str, way: str) -> None:
    """As a script for this would, a thousand rows a transaction. Psycopg itself knows no vectors: they are texts."""
    import pyarrow.parquet as pq
    from pgvector import Vector
    from pgvector.psycopg import register_vector

    names = ("id", "text", "namespace", "model", "metadata", "created_at", "source_store", "modality", "vex_version")
    columns = ["content" if name == "text" else name for name in (*names, "vector")]
    updates = ", ".join(f"{name} = EXCLUDED.{name}" for name in columns[1:])
    values = "%s, " * len(names) + "%b"
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values}) ON CONFLICT (id) DO UPDATE SET {updates}"
    made = str if way == "text" else Vector
    sql = sql if way == "adapter" else sql.replace("%b", "%s")
    with connected() as db:
        register_vector(db)
        for _ in range(TIMES):
            like_ours(db, path, table)
            file = pq.ParquetFile(path)
            for batch in islice(file.iter_batches(PAGE), max(1, file.metadata.num_rows // (PAGE * PART))):
                matrix = batch["vector"].flatten().to_numpy().reshape(batch.num_rows, -1)
                vectors = map(made, matrix.tolist() if way == "text" else matrix)
                rows = zip(*(batch[name].to_pylist() for name in names), vectors, strict=True)
                with db.transaction(), db.cursor() as cursor:
                    cursor.executemany(sql.encode(), list(rows))


def loaded(path: str, table: str) -> None:
    """Load the table if it is not there yet, which the warm-up finds."""
    import subprocess

    with connected() as db:
        there = db.execute("SELECT to_regclass(%s)", (table,)).fetchone()[0]
    if there is None:
        subprocess.run(imported(path, table), check=True)


def outed(path: str, table: str) -> None:
    loaded(path, table)
    with connected() as db:
        for _ in range(TIMES):
            with db.cursor().copy(f"COPY {table} TO STDOUT (FORMAT BINARY)".encode()) as reading:
                assert sum(len(message) for message in reading) > 0


def drained(path: str, table: str) -> None:
    from functools import partial

    from vexarrow.process import settle, without_arithmetic

    settle()
    without_arithmetic()
    from vexarrow.engine import page_rows
    from vexarrow.places import SOURCE, resolve
    from vexarrow.readahead import read_ahead
    from vexarrow.selection import Selection

    loaded(path, table)
    for _ in range(TIMES):
        with resolve("pgvector", {"table": table}, side=SOURCE).source(Selection()) as source:
            known = source.describe()
            openers = [partial(source.extract, part, rows=page_rows(known.dim)) for part in source.partitions(READERS)]
            with read_ahead(openers, READERS) as pages:
                assert sum(page.batch.num_rows for _, page in pages) == known.rows


if __name__ == "__main__":
    jobs: dict[str, Callable[..., None]] = {
        "fresh": fresh,
        "load": ours,
        "copy": copied,
        "upsert": upserted,
        "out": outed,
        "drain": drained,
    }
    jobs[sys.argv[1]](*sys.argv[2:])
