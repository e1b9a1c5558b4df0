"""The process that reads blocks of a large file, see `_helper`: `start end` asks for the lines between two offsets."""

from __future__ import annotations

import sys

from vexarrow.process import settle, without_arithmetic

from ._helper import SLOTS, put_batch, serve
from ._lines import BOM, LineFile


def main() -> None:
    """Answer with the batch of the lines, or with none when one of them is unusual."""
    settle()
    without_arithmetic()
    from ._bulk import Bulk

    *slots, path = sys.argv[1:]
    bulk = Bulk()
    with LineFile(path) as file:
        bulk.learn(file.lines(0, 1)[0].removeprefix(BOM))

        def work(words: list[str], slot: int) -> int | None:
            start, end = map(int, words)
            cut = bulk.cut(file.lines(start, end))
            batch = None if cut is None else bulk.batch(cut)
            return None if batch is None else put_batch(slot, batch)

        serve([int(slot) for slot in slots[:SLOTS]], work)


if __name__ == "__main__":
    main()
