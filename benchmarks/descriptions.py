"""Real texts for embeddings: the English descriptions of Debian's packages.

A description has a long text (the document) and a one-line synopsis that another person could have asked for (the query
whose only relevant document is that text). They are read with apt, into lists of their own: what apt knows about the
machine is not touched, and no root is needed.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.needed import command

LENGTHS = range(120, 501)  # characters of a long text: enough to say something, in few tokens
WORD = re.compile(r"[a-z0-9]+")


class Description(NamedTuple):
    """One binary package of Debian; `synopsis` is one line, `text` the paragraphs below it as one line."""

    package: str
    section: str
    synopsis: str
    text: str


def descriptions(lists: Path) -> list[Description]:
    """One description per source package, all different, sorted by package; `lists` keeps what apt downloads.

    Of a source the package of the same name counts, else the one with the shortest name. Texts that differ in nothing
    but the package's own name and numbers count once: they come from a template, and no synopsis tells them apart.
    """
    options = apt_options(lists)
    if not any(lists.glob("*Translation-en*")):
        command("apt-get", *options, "update")
    long_texts = translations(options)
    chosen = [describe(stanza, long_texts) for stanza in one_per_source(packages(options), set(long_texts))]
    return sorted(different(found for found in chosen if len(found.text) in LENGTHS))


def apt_options(lists: Path) -> list[str]:
    """What makes apt read English descriptions into `lists`, which is made."""
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    places = {"Dir::State::Lists": lists.resolve(), "Dir::Cache": lists.resolve()}
    pairs = [f"{key}={value}" for key, value in places.items()]
    return [part for pair in ("Acquire::Languages=en", *pairs) for part in ("-o", pair)]


def packages(options: list[str]) -> Iterator[dict[str, str]]:
    """Every binary package that apt knows."""
    return stanzas(command("apt-cache", *options, "dumpavail"))


def translations(options: list[str]) -> dict[str, str]:
    """The whole English description (synopsis, then the long text), by the MD5 sum that the package names."""
    wanted = ("indextargets", "--format", "$(FILENAME)", "Created-By: Translations")
    files = command("apt-get", *options, *wanted).splitlines()
    texts = (stanzas(command("/usr/lib/apt/apt-helper", "cat-file", file)) for file in files)
    return {found["Description-md5"]: found["Description-en"] for file in texts for found in file}


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a Debian control file; lines that go on keep their line breaks."""
    for paragraph in text.split("\n\n"):
        fields = re.split(r"\n(?=\S)", paragraph.strip("\n"))
        if fields != [""]:
            yield {name: value.strip() for name, _, value in (field.partition(":") for field in fields)}


def one_per_source(found: Iterator[dict[str, str]], described: set[str]) -> list[dict[str, str]]:
    """The package that speaks for its source, for every source with a description."""
    best: dict[str, tuple[tuple[bool, int, str], dict[str, str]]] = {}
    for stanza in found:
        name = stanza["Package"]
        source = stanza.get("Source", name).split()[0]
        rank = (name != source, len(name), name)
        if stanza.get("Description-md5") in described and (source not in best or rank < best[source][0]):
            best[source] = (rank, stanza)
    return [stanza for _, stanza in best.values()]


def describe(stanza: dict[str, str], texts: dict[str, str]) -> Description:
    """The package with its description; lines are joined, the marks of empty lines left out."""
    synopsis, _, body = texts[stanza["Description-md5"]].partition("\n")
    lines = (line.strip() for line in body.splitlines())
    text = " ".join(line for line in lines if line != ".")
    return Description(stanza["Package"], stanza.get("Section", ""), synopsis.strip(), text)


def different(found: Iterator[Description]) -> Iterator[Description]:
    """The first of those that say the same, by their text and by their synopsis."""
    texts: set[str] = set()
    synopses: set[str] = set()
    for one in sorted(found):
        said = template(one)
        if said not in texts and one.synopsis.lower() not in synopses:
            texts.add(said)
            synopses.add(one.synopsis.lower())
            yield one


def template(one: Description) -> str:
    """The words of the text without numbers and without the words of the package's name."""
    own = set(WORD.findall(one.package.lower()))
    return " ".join(word for word in WORD.findall(one.text.lower()) if word not in own and not word.isdigit())
