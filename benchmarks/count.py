"""How many records a file holds, independent of vex: `python -m benchmarks.count FILE`."""

import sqlite3
import sys
from pathlib import Path


def lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def memories(path: Path) -> int:
    database = sqlite3.connect(path)
    (found,) = database.execute("SELECT count(*) FROM memories").fetchone()
    database.close()
    return int(found)


COUNT = {".jsonl": lines, ".parquet": rows, ".db": memories}

if __name__ == "__main__":
    path = Path(sys.argv[1])
    print(COUNT[path.suffix](path))
