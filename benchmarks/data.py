"""What the benchmarks read.

The texts, namespaces and metadata of a sample of real records, repeated up to the wanted number with ids
`<id>-0`, `<id>-1`, ...; each with a random unit vector of its own, from a fixed seed. The same records as
`.vmig.jsonl`, as Parquet and as a VEKTOR database. Made once and kept in a folder named after the sample's
digest, below VEX_BENCH_DIR or else `.cache/bench` in the repository.
"""

import argparse
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIMENSION = 384
SEED = 20260101
BLOCK = 10_000  # rows held in memory at a time; also a Parquet row group
ROOT = Path(__file__).resolve().parent.parent

# Of a record on disk, for the check of free space.
BYTES = {".vmig.jsonl": 5_300, ".parquet": 1_700, ".db": 2_200}
Record = dict[str, Any]


class Block(NamedTuple):
    """Consecutive records: where they start, and their vectors as one (rows, DIMENSION) float32 matrix."""

    start: int
    vectors: "NDArray[np.float32]"


class Inputs(NamedTuple):
    """The three files that hold the same `records` records, made from `sample`."""

    sample: Path
    records: int
    jsonl: Path
    parquet: Path
    vektor: Path


def find_sample(given: Path | None = None) -> Path:
    """The sample that was asked for, else the largest `.vmig.jsonl` in tests/data."""
    if given:
        return given
    found = list((ROOT / "tests/data").glob("*.vmig.jsonl"))
    if not found:
        raise SystemExit("no .vmig.jsonl in tests/data: pass one with --sample")
    return max(found, key=lambda path: path.stat().st_size)


def work_folder() -> Path:
    """Where inputs are kept and outputs are written: never committed, may be deleted at any time."""
    return Path(os.environ.get("VEX_BENCH_DIR") or ROOT / ".cache/bench")


def digest(sample: Path) -> str:
    """What tells one sample from another: the first 12 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(sample.read_bytes()).hexdigest()[:12]


def inputs(sample: Path, records: int) -> Inputs:
    """Where the inputs made from `sample` are; they need not exist yet."""
    stem = work_folder() / digest(sample)
    return Inputs(sample, records, *(stem / f"{records}{suffix}" for suffix in BYTES))


def blocks(records: int) -> Iterator[Block]:
    """The same vectors in the same order each time, whichever file they are written to."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    for start in range(0, records, BLOCK):
        vectors = rng.standard_normal((min(BLOCK, records - start), DIMENSION), dtype=np.float32)
        yield Block(start, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def read_sample(sample: Path) -> list[Record]:
    """The records of the sample, in their order, without comments and blank lines."""
    import orjson

    lines = (line.strip() for line in sample.read_bytes().splitlines())
    return [orjson.loads(line) for line in lines if line and not line.startswith(b"#")]


def require_space(folder: Path, needed: int) -> None:
    """Stop before the disk is full, and leave 2 GB to others.

    `needed` is in bytes.
    """
    free = shutil.disk_usage(folder).free - 2 * 10**9
    if needed > free:
        raise SystemExit(f"{needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free: set VEX_BENCH_DIR")


def make(sample: Path, records: int, suffixes: list[str]) -> None:
    """Write the files that do not exist yet; each appears under its name when it is whole."""
    from benchmarks import writers

    writer: dict[str, Callable[[Path, list[Record], Iterator[Block]], None]] = {
        ".vmig.jsonl": writers.jsonl,
        ".parquet": writers.parquet,
        ".db": writers.vektor,
    }
    base = inputs(sample, records).jsonl.parent
    base.mkdir(parents=True, exist_ok=True)
    missing = [suffix for suffix in suffixes if not (base / f"{records}{suffix}").exists()]
    output = BYTES[".vmig.jsonl"]  # the largest that a question writes
    require_space(base, records * (output + sum(BYTES[suffix] for suffix in missing)))
    rows = read_sample(sample)
    for suffix in missing:
        unfinished = base / f"{records}{suffix}.part"
        unfinished.unlink(missing_ok=True)
        writer[suffix](unfinished, rows, blocks(records))
        unfinished.rename(base / f"{records}{suffix}")


def main() -> None:
    """Make inputs; a process of its own, so that the process that measures stays small."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description="Make the inputs of the benchmarks.")
    parser.add_argument("--records", type=int, action="append", help="default: 100000 and 1000000")
    parser.add_argument("--sample", type=Path, help="default: the largest .vmig.jsonl in tests/data")
    parser.add_argument("--only", choices=list(BYTES), action="append", help="default: all three")
    args = parser.parse_args()
    for records in args.records or [100_000, 1_000_000]:
        make(find_sample(args.sample), records, args.only or list(BYTES))


if __name__ == "__main__":
    main()
