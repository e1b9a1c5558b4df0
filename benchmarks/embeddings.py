"""Real embeddings of the same texts, to train and judge projections: `python -m benchmarks.embeddings --out DIR`.

The long descriptions of Debian packages are the documents, the one-line synopses of some of them the queries; every
model embeds the same. Into DIR go texts.jsonl, queries.json, and a folder for each model with docs.npy and queries.npy
(float32, unit length) and model.json. What is there already is kept, and a run that was stopped goes on where it was.
"""

import argparse
import importlib.metadata
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.descriptions import Description, descriptions
from benchmarks.embedders import MODELS, SEED, Facts, Place
from benchmarks.needed import module

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 500  # texts between two writes
FIT = 12_000  # descriptions that a model may learn from, none of them among the texts


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embeddings", description="Make pairs of embeddings.")
    parser.add_argument("--out", type=Path, required=True, help="the folder that is written to")
    parser.add_argument("--texts", type=int, default=8000, help="documents; default: %(default)s")
    parser.add_argument("--queries", type=int, default=1000, help="queries among them; default: %(default)s")
    parser.add_argument("--model", action="append", choices=list(MODELS), help="default: all of them")
    args = parser.parse_args()
    documents, others = chosen(descriptions(args.out / "apt"), args.texts)
    write_texts(args.out, documents, args.queries)
    texts = [one.text for one in documents]
    queries = [one.synopsis for one in documents[: args.queries]]
    place = Place(args.out / "models", [f"{one.synopsis}. {one.text}" for one in others])
    for name in args.model or MODELS:
        embedder = MODELS[name].build(place)
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        continued(folder / "queries.npy", queries, embedder.queries)
        vectors = continued(folder / "docs.npy", texts, embedder.documents)
        write_json(folder / "model.json", facts(MODELS[name].facts, vectors.shape[1]))
        print(name, report(vectors, continued(folder / "queries.npy", queries, embedder.queries)))


def chosen(found: Sequence[Description], wanted: int) -> tuple[list[Description], list[Description]]:
    """The documents, in an order that makes their first rows a sample too, and the descriptions to learn from."""
    if len(found) < wanted:
        raise SystemExit(f"apt has {len(found)} descriptions that differ, fewer than --texts {wanted}")
    order = random.Random(SEED).sample(found, len(found))
    return order[:wanted], order[-min(FIT, len(found) - wanted) :] if len(found) > wanted else []


def write_texts(out: Path, documents: Sequence[Description], queries: int) -> None:
    """The documents, one a line, and the queries with the row of the one document that each is about.

    Exits when the folder holds other texts: embeddings of those must not go on with these.
    """
    rows = [one._asdict() | {"id": one.package} for one in documents]
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    file = out / "texts.jsonl"
    kept = file.read_text(encoding="utf-8") if file.exists() else ""
    if not lines.startswith(kept) and not kept.startswith(lines):
        raise SystemExit(f"{file} holds other texts, as apt's lists change: pass another --out")
    file.write_text(max(lines, kept, key=len), encoding="utf-8")
    asked = [{"query": one.synopsis, "row": row} for row, one in enumerate(documents[:queries])]
    write_json(out / "queries.json", asked)


def continued(
    file: Path, texts: Sequence[str], embed: "Callable[[Sequence[str]], NDArray[np.float32]]"
) -> "NDArray[np.float32]":
    """The embeddings of the texts; rows that the file has already are taken for those of the first texts."""
    import numpy as np

    blocks = [np.load(file)] if file.exists() else []
    for start in range(sum(map(len, blocks)), len(texts), BLOCK):
        blocks.append(embed(texts[start : start + BLOCK]))
        unfinished = file.with_suffix(".part")
        with unfinished.open("wb") as target:
            np.save(target, np.concatenate(blocks))
        unfinished.rename(file)
    return np.concatenate(blocks)[: len(texts)]


def facts(known: Facts, dimension: int) -> dict[str, Any]:
    """What is known about the vectors of a model, the versions of its packages included."""
    versions = {package: importlib.metadata.version(package) for package in known.packages}
    return known._asdict() | {"packages": versions, "dimension": dimension, "normalised": True}


def report(documents: "NDArray[np.float32]", queries: "NDArray[np.float32]") -> str:
    """How well queries find their own document, which is the one in the same row."""
    import numpy as np

    scores = queries @ documents.T
    own = scores[np.arange(len(queries)), np.arange(len(queries))]
    ranks = (scores > own[:, None]).sum(axis=1)
    return (
        f"{documents.shape[0]} x {documents.shape[1]}: cosine with its own document {own.mean():.3f}, with any "
        f"{scores.mean():.3f}; first {np.mean(ranks == 0):.3f}, among ten {np.mean(ranks < 10):.3f}"
    )


def write_json(file: Path, content: Any) -> None:
    """Indented JSON, readable in any language."""
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    module("numpy")
    main()
