"""Ids that come more than once, and secrets in what is shown: what users are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from vexarrow import records
from vexarrow.delivery import unsent
from vexarrow.errors import UsageError
from vexarrow.location import redact
from vexarrow.places import resolve
from vexarrow.protocols import Reject
from vexarrow.rejects import path_for
from vexarrow.repeats import Repeats


@pytest.mark.parametrize(("by_namespace", "count"), [(False, 3), (True, 1)])
def test_records_that_replace_earlier_ones_are_counted(by_namespace: bool, count: int) -> None:
    repeats = Repeats(by_namespace=by_namespace)
    first = records.build({"id": ["a", "b", "a"], "namespace": ["x", "x", "y"]})
    second = records.build({"id": ["a", "b", "1:xa"], "namespace": [None, "x", ""]})
    repeats.add(first)
    repeats.add(second)
    assert repeats.count() == count
    repeats.close()


def test_a_record_is_not_written_when_the_one_that_replaces_it_is_refused() -> None:
    refused = [Reject("refused", "bad", row=3), Reject("refused", "bad", row=1)]
    assert [(one.code, one.row) for one in unsent(["a", "b", "c", "a", "c"], refused)] == [("replaced", 0)]


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:geheim@h/db",
        "postgresql://u:ge/heim@h/db#public.t",
        "postgresql://u:ge#heim@h:5432/db",
        "postgresql://u:ge?heim@h/db",
        "postgresql://u:ge@heim@h/db",
        "postgresql://u:12/heim@h/db",
        "postgresql://h/db?user=a;password=geheim",
        "host=h password=geheim dbname=b",
        "qdrant://h:6333/c?api_key=geheim",
        "chroma://:geheim@h/c",
    ],
)
def test_no_password_is_shown_and_none_names_a_file(text: str) -> None:
    assert "heim" not in redact(text)
    if "://" in text:
        assert "heim" not in Path(path_for(text.replace("#heim", "heim"), [])).name


def test_what_is_no_secret_is_shown() -> None:
    for text in (
        "https://host:8080/a@b",
        "s3://bucket/key@v:1",
        "postgresql://u@h/db#public.t",
        "chroma:///tmp/x?collection=y",
        "a b.jsonl",
    ):
        assert redact(text) == text


@pytest.mark.parametrize("password", ["a/heim", "a#heim", "a?heim", "12/heim"])
def test_a_password_that_is_not_encoded_is_an_error_that_shows_none_of_it(password: str) -> None:
    with pytest.raises(UsageError, match="%2F") as caught:
        resolve(f"postgresql://u:{password}@h/db", side="source")
    assert "heim" not in str(caught.value)
