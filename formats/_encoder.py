"""The process that encodes batches as lines, see `_helper`: a request is a batch in its slot, the answer its lines."""

from __future__ import annotations

import sys

from vexarrow.process import settle, without_arithmetic

from ._helper import SLOTS, put_bytes, read_batch, serve


def main() -> None:
    """Answer with the lines of a batch whose records JSON can hold."""
    settle()
    without_arithmetic()
    from vexarrow.lines import encode

    def work(words: list[str], slot: int) -> int:
        return put_bytes(slot, encode(read_batch(slot)))

    serve([int(slot) for slot in sys.argv[1 : 1 + SLOTS]], work)


if __name__ == "__main__":
    main()
