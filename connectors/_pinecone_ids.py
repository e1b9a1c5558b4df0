"""Ids of a namespace in their order, from any point on.

Pinecone lists ids in ASCII order, 100 a page, those of a prefix or all; a page is found by the token of the page before
it. How long a token lives is not documented, so that a position is the last id as well: where the token is not taken
any more, the ids after it are those below longer prefixes, found character by character (`after`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from string import ascii_letters, digits

from vexarrow.errors import Refused
from vexarrow.patience import Requests

from ._pinecone_api import MOST_LISTED, Data
from ._pinecone_names import LONGEST

_CHARACTERS = [chr(code) for code in range(1, 128)]
_DEEPEST = 64


@dataclass(frozen=True)
class Listed:
    """One page of ids; `prefix` and `token` are what it was asked with."""

    ids: Sequence[str]
    prefix: str
    token: str | None


class Lister:
    """Lists the ids of one namespace. One of them is used by one thread."""

    def __init__(self, data: Data, requests: Requests, namespace: str) -> None:
        self._data = data
        self._requests = requests
        self._namespace = namespace

    def _page(self, prefix: str, token: str | None, limit: int = MOST_LISTED) -> tuple[list[str], str | None]:
        return self._requests.call(lambda: self._data.listed(self._namespace, prefix, token, limit))

    def pages(self, start: str, end: str | None) -> Iterator[Listed]:
        """The pages with the ids from `start`, included, up to `end`, excluded; None: no end."""
        if not start:
            yield from self._ending(self._chain("", None), end)
            return
        prefix = self._near(start)
        yield from self._ending(self._chain(prefix, None, start), end)
        yield from self._following(prefix, end)

    def resumed(self, last: str, prefix: str, token: str | None, end: str | None) -> Iterator[Listed]:
        """The pages with the ids after `last`, which was on the page of that prefix and token."""
        rest = self._chain(prefix, token, last + "\1")
        try:
            first = list(islice(rest, 1))
        except Refused:
            yield from self.pages(last + "\1", end)
            return
        yield from self._ending(chain(first, rest), end)
        yield from self._following(prefix, end)

    def _chain(self, prefix: str, token: str | None, start: str = "") -> Iterator[Listed]:
        """The pages of a prefix, without ids before `start`."""
        while True:
            ids, following = self._page(prefix, token)
            if start:
                ids = [one for one in ids if one >= start]
            if ids:
                yield Listed(ids, prefix, token)
            if following is None:
                return
            token = following

    def _ending(self, pages: Iterator[Listed], end: str | None) -> Iterator[Listed]:
        for page in pages:
            if end is None or page.ids[-1] < end:
                yield page
                continue
            left = [one for one in page.ids if one < end]
            if left:
                yield Listed(left, page.prefix, page.token)
            return

    def _following(self, prefix: str, end: str | None) -> Iterator[Listed]:
        """The pages of all ids after those of a prefix."""
        for length in range(len(prefix) - 1, -1, -1):
            above = prefix[:length]
            nexts = [above + one for one in _CHARACTERS if one > prefix[length]]
            nexts = [one for one in nexts if end is None or one < end]
            for one, (ids, following) in zip(nexts, self._firsts(nexts), strict=True):
                if ids:
                    yield from self._ending(iter([Listed(ids, one, None)]), end)
                if following is not None:
                    yield from self._ending(self._chain(one, following), end)

    def _firsts(self, prefixes: Sequence[str]) -> list[tuple[list[str], str | None]]:
        return self._requests.map(lambda one: self._data.listed(self._namespace, one, None), prefixes)

    def _near(self, start: str) -> str:
        """The shortest beginning of `start` below which `start` is on the first page."""
        low, high = 0, min(len(start), LONGEST)
        while low < high:
            middle = (low + high) // 2
            ids, following = self._page(start[:middle], None)
            if following is None or (ids and ids[-1] >= start):
                high = middle
            else:
                low = middle + 1
        return start[:low]

    # -- splitting ----------------------------------------------------------------------------------------------------

    def splits(self, wanted: int) -> list[str]:
        """At most `wanted - 1` points between ids, in order, that split them into parts of about the same size as far
        as a few requests can tell. The same for the same ids."""
        found = [""]
        while len(found) < wanted:
            longer = [child for prefix in found for child in self._children(prefix)]
            if not longer or len(longer[0]) > _DEEPEST:
                break
            found = longer
        step = len(found) / wanted
        return sorted({found[int(at * step)] for at in range(1, wanted)} - {found[0]})

    def _children(self, prefix: str) -> list[str]:
        """Longer prefixes that ids have; none where all ids fit on one page."""
        first, following = self._page(prefix, None)
        if following is None or len(first[0]) <= len(prefix):
            return []
        wanted = [prefix + one for one in _alike(first[0][len(prefix)])]
        kept = self._requests.map(lambda one: self._data.listed(self._namespace, one, None, 1)[0], wanted)
        return [one for one, ids in zip(wanted, kept, strict=True) if ids]


def _alike(character: str) -> list[str]:
    """Characters that ids are likely to have where one of them has this one; it need not be all of them."""
    if character in digits or character in "abcdef":
        return sorted(digits + "abcdef")
    return sorted(ascii_letters) if character in ascii_letters else [character]
