"""What messages call a place: its URI, else the store with what names the place, and no secret."""

from __future__ import annotations

import pytest

from vexarrow.location import HIDDEN
from vexarrow.places import SINK, SOURCE, resolve

NAMES = [
    ("qdrant", {"collection": "memories"}, "qdrant collection memories"),
    ("qdrant", {"url": "http://h:6333", "collection": "c"}, "qdrant collection c at http://h:6333"),
    ("qdrant", {"url": "http://u:secret@h", "collection": "c"}, f"qdrant collection c at http://u:{HIDDEN}@h"),
    ("qdrant", {"collection": "c", "api-key": "secret"}, "qdrant collection c"),
    ("qdrant://h:6333/c", {}, "qdrant://h:6333/c"),
    ("chroma", {"collection": "notes", "path": "./db"}, "chroma collection notes in ./db"),
    ("pgvector", {"pg-url": "postgresql://u:secret@h/db", "table": "public.b"}, "pgvector table public.b"),
    ("postgresql://u:secret@h/db#b", {}, f"postgresql://u:{HIDDEN}@h/db#b"),
    ("pinecone", {"index": "mine", "api-key": "secret"}, "pinecone index mine"),
    ("pinecone", {"host": "https://h.example"}, "pinecone at https://h.example"),
    ("weaviate", {"class": "Notes", "url": "http://h"}, "weaviate collection Notes at http://h"),
    ("vektor", {"db": "memory.db"}, "memory.db"),
    ("vektor", {}, "vektor"),
]


@pytest.mark.parametrize("side", [SOURCE, SINK])
@pytest.mark.parametrize(("text", "options", "called"), NAMES)
def test_a_place_is_called_by_what_names_it(text: str, options: dict[str, str], called: str, side: str) -> None:
    assert str(resolve(text, options, side=side)) == called


def test_a_collection_of_the_environment_is_named_and_its_address_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_URL", "http://h:1")
    monkeypatch.setenv("QDRANT_COLLECTION", "theirs")
    assert str(resolve("qdrant", {}, side=SOURCE)) == "qdrant collection theirs"
