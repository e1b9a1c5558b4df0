"""The process that encodes batches as lines, see `_helper`: a request is a batch in its slot, the answer its lines and,
in the last bytes, its content digest where the request is `digest`."""

from __future__ import annotations

import sys

from vexarrow.process import settle, without_arithmetic

from ._helper import SLOTS, put_bytes, read_batch, serve


def main() -> None:
    """Answer with the lines and the digest of a batch whose records JSON can hold."""
    settle()
    without_arithmetic()
    from vexarrow.digest import ContentDigest
    from vexarrow.lines import encode

    def work(words: list[str], slot: int) -> int:
        batch, digest = read_batch(slot), ContentDigest()
        if words == ["digest"]:
            digest.update(batch)
        return put_bytes(slot, [*encode(batch), digest.to_bytes()])

    serve([int(slot) for slot in sys.argv[1 : 1 + SLOTS]], work)


if __name__ == "__main__":
    main()
