"""What holds for any records: nothing is lost on the way through the formats, and the digest sees every change."""

from __future__ import annotations

import json
import tempfile
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import vexarrow
from vexarrow import records, timestamps
from vexarrow.digest import ContentDigest
from vexarrow.jsontext import canonical, members
from vexarrow.testing import Spot, facts, read, samples, write

DIM = 3
OUTPUTS = ("out.vmig.jsonl", "out.vmig.jsonl.zst", "out.parquet", "out.arrow", "out.arrows")
settings.register_profile("vexarrow", deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vexarrow")

# -- strategies -----------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.none() | texts
finite = st.integers(0, 2**32 - 1).filter(lambda bits: bits & 0x7F800000 != 0x7F800000)
vectors = st.none() | st.lists(finite, min_size=DIM, max_size=DIM)
moments = st.none() | st.integers(timestamps.FIRST, timestamps.LAST)
scores = st.none() | st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers() | st.integers(-(2**63), 2**64)
numbers = integers | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=4)
SPELLINGS: list[dict[str, Any]] = [
    {"separators": (",", ":"), "ensure_ascii": False},
    {"separators": (",", ":"), "ensure_ascii": True},
    {"separators": (", ", " : ")},
    {"indent": " \t"},
]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """An object as JSON text, in one of several spellings; line breaks are white space like any other."""
    text = json.dumps(draw(objects), **draw(st.sampled_from(SPELLINGS)))
    return text.replace("\n", " ")


def known(key: str) -> bool:
    """Whether a top-level key is one of the specification, or of the rejects file."""
    return key in {*records.BASE_NAMES, "vector", "dims", "line", "file", "code", "message", "record", "record_base64"}


@st.composite
def extras(draw: st.DrawFn) -> str | None:
    """Unknown top-level keys with their values, or none."""
    found = {key: value for key, value in draw(objects).items() if not known(key)}
    return json.dumps(found, separators=(",", ":"), ensure_ascii=draw(st.booleans())) if found else None


ids = st.one_of(
    st.lists(texts.filter(bool), min_size=1, max_size=5, unique=True).map(lambda found: (found, "string")),
    st.lists(st.integers(-(2**63), 2**64 - 1).map(str), min_size=1, max_size=5, unique=True).map(lambda f: (f, "int")),
    st.lists(st.uuids().map(str), min_size=1, max_size=5, unique=True).map(lambda found: (found, "uuid")),
)


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    """A few records of one dimension, as wild as a batch can hold and every format has to keep."""
    keys, kind = draw(ids)

    def some(of: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(of, min_size=len(keys), max_size=len(keys)))

    bits = some(vectors)
    valid = np.array([vector is not None for vector in bits])
    matrix = np.array([vector or [0] * DIM for vector in bits], dtype="<u4").view("<f4")
    columns = {
        "id": keys,
        # a record has a text or a vector
        "text": [text if text is not None or one else "" for text, one in zip(some(names), bits, strict=True)],
        "model": some(names),
        "namespace": some(names),
        "metadata": some(st.none() | documents()),
        "created_at": pa.array(some(moments), pa.int64()).cast(records.TIMESTAMP),
        "score": some(scores),
        "source_store": some(names),
        "modality": ["text"] * len(keys),
        "vex_version": [records.VMIG_VERSION] * len(keys),
        "extra": some(extras()),
    }
    return records.build(columns, records.from_matrix(matrix, valid), id_type=kind)


def digest(*parts: pa.RecordBatch) -> str:
    whole = ContentDigest()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


# -- through the formats --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OUTPUTS)
@given(batch=batches(), rows=st.integers(1, 6))
def test_any_records_come_back_from_any_format_as_they_were(name: str, batch: pa.RecordBatch, rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spot = Spot(f"{folder}/{name}")
        assert write(spot, batch) == []
        found = read(spot, rows=rows)
        assert facts(found) == facts(batch)
        assert digest(*found) == digest(batch)


@given(batch=batches())
def test_any_records_come_back_from_metadata_in_columns_with_the_same_values(batch: pa.RecordBatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spot = Spot(f"{folder}/out.parquet", target_options={"metadata": "columns"})
        assert write(spot, batch) == []
        assert facts(read(spot), verbatim=False) == facts(batch, verbatim=False)


@given(batch=batches())
def test_any_records_come_back_from_a_directory_by_namespace(batch: pa.RecordBatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spot = Spot(f"{folder}/out/", target_options={"partition-by": "namespace"}, format="parquet")
        assert write(spot, batch) == []
        assert sorted(facts(read(spot)), key=repr) == sorted(facts(batch), key=repr)


@given(batch=batches())
def test_any_records_come_back_from_a_vektor_database_with_the_same_values(batch: pa.RecordBatch) -> None:
    """All but integer ids beyond the 64 bits that SQLite has, which are rejected."""
    with tempfile.TemporaryDirectory() as folder:
        spot = Spot(f"{folder}/memory.db")
        refused = {identity for _, identity in write(spot, batch)}
        beyond = records.id_type(batch.schema) == "int"
        assert refused == {key for key in batch.column("id").to_pylist() if beyond and not -(2**63) <= int(key) < 2**63}
        kept = [fact for fact in facts(batch, verbatim=False) if fact.id not in refused]
        assert sorted(facts(read(spot), verbatim=False), key=repr) == sorted(kept, key=repr)


@given(batch=batches())
@settings(max_examples=10)
def test_a_tour_of_the_formats_ends_in_the_same_bytes(batch: pa.RecordBatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stops = [
            Path(folder, name) for name in ("a.vmig.jsonl", "b.parquet", "c.vmig.jsonl", "d.arrow", "e.vmig.jsonl")
        ]
        write(Spot(str(stops[0])), batch)
        for start, end in pairwise(stops):
            report = vexarrow.copy(str(start), str(end))
            assert (report.counts.written, report.counts.rejected) == (batch.num_rows, 0)
        assert stops[0].read_bytes() == stops[2].read_bytes() == stops[4].read_bytes()


@given(bits=st.lists(finite, min_size=1, max_size=64))
def test_every_finite_float32_has_a_text_that_gives_its_bits_back(bits: list[int]) -> None:
    matrix = np.array([bits], dtype="<u4").view("<f4")
    with tempfile.TemporaryDirectory() as folder:
        spot = Spot(f"{folder}/out.vmig.jsonl")
        write(spot, samples.batch({"id": ["a"]}, vector=matrix))
        (batch,) = read(spot)
    np.testing.assert_array_equal(records.matrix(batch.column("vector")).view("<u4"), matrix.view("<u4"))


@given(document=documents())
@settings(max_examples=50)
def test_metadata_is_written_and_read_letter_by_letter(document: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spot = Spot(f"{folder}/out.vmig.jsonl")
        write(spot, samples.batch({"metadata": [document]}))
        assert f'"metadata":{document},"created_at"' in Path(spot.text).read_bytes().decode()
        (batch,) = read(spot)
    assert records.storage(batch.column("metadata")).to_pylist() == [document]


# -- the digest -----------------------------------------------------------------------------------------


@given(batch=batches(), data=st.data())
def test_the_digest_does_not_depend_on_order_and_batches(batch: pa.RecordBatch, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(batch.num_rows)))
    shuffled = batch.take(pa.array(order, pa.int64()))
    cut = data.draw(st.integers(0, batch.num_rows))
    assert digest(shuffled.slice(0, cut), shuffled.slice(cut)) == digest(batch)


@given(batch=batches(), other=batches(), row=st.integers(0, 4), name=st.sampled_from(records.BASE_NAMES))
@settings(max_examples=60)
def test_the_digest_changes_when_any_field_does(
    batch: pa.RecordBatch, other: pa.RecordBatch, row: int, name: str
) -> None:
    """One field of one record is replaced by that of another record, which is another value."""
    assume(name not in ("source_store", "vex_version"))
    one, two = batch.slice(row % batch.num_rows, 1), other.slice(row % other.num_rows, 1)
    changed = one.set_column(one.schema.get_field_index(name), one.schema.field(name), two.column(name))
    same = [fact._replace(id="") for fact in facts(one, verbatim=False)] == [
        fact._replace(id="") for fact in facts(changed, verbatim=False)
    ]
    if name == "id":
        same = one.column("id").equals(two.column("id"))
    assert (digest(one) == digest(changed)) == same


@given(bits=st.lists(finite, min_size=DIM, max_size=DIM), at=st.integers(0, DIM - 1), bit=st.integers(0, 31))
def test_the_digest_changes_with_any_single_bit_of_a_vector(bits: list[int], at: int, bit: int) -> None:
    before = np.array([bits], dtype="<u4")
    after = before.copy()
    after[0, at] ^= np.uint32(1 << bit)
    one, two = (samples.batch({"id": ["a"]}, vector=matrix.view("<f4")) for matrix in (before, after))
    assert digest(one) != digest(two)


@given(batch=batches(), row=st.integers(0, 4))
def test_the_digest_changes_when_a_record_is_gone_or_there_twice(batch: pa.RecordBatch, row: int) -> None:
    one = batch.slice(row % batch.num_rows, 1)
    others = batch.take(pa.array([at for at in range(batch.num_rows) if at != row % batch.num_rows], pa.int64()))
    assert len({digest(batch), digest(batch, one), digest(others)}) == 3


# -- JSON and time --------------------------------------------------------------------------------------


@given(value=values, spelling=st.sampled_from(SPELLINGS))
@settings(max_examples=200)
def test_the_canonical_form_is_what_python_writes(value: object, spelling: dict[str, Any]) -> None:
    expected = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical(json.dumps(value, **spelling)) == expected


@given(value=objects, spelling=st.sampled_from(SPELLINGS))
@settings(max_examples=100)
def test_members_are_pieces_of_the_text_that_mean_the_same(value: dict[str, Any], spelling: dict[str, Any]) -> None:
    text = json.dumps(value, **spelling)
    found = members(text)
    assert {key: json.loads(piece) for key, _, piece in found} == value
    assert all(written in text and piece in text and json.loads(written) == key for key, written, piece in found)


@given(text=st.text(max_size=20) | st.text('{}[]":,01 e-', max_size=12))
@settings(max_examples=200)
def test_members_refuses_just_what_is_no_object(text: str) -> None:
    try:
        is_object = isinstance(json.loads(text, parse_constant=lambda name: [][0]), dict)
    except (ValueError, IndexError):
        is_object = False
    try:
        members(text)
    except ValueError:
        assert not is_object
    else:
        assert is_object


@given(found=st.lists(moments, max_size=5))
@settings(max_examples=100)
def test_moments_become_text_and_moments_again(found: list[int | None]) -> None:
    column = pa.array(found, pa.int64()).cast(records.TIMESTAMP)
    written = timestamps.texts(column)
    assert timestamps.array(written).equals(column)
    assert [None if text is None else timestamps.microseconds(text)[0] for text in written] == found


@given(rows=st.integers(0, 6), dim=st.integers(0, 4), data=st.data())
def test_a_matrix_with_nulls_is_itself_again_in_every_slice(rows: int, dim: int, data: st.DataObject) -> None:
    matrix = samples.vectors(rows, dim)
    valid = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), dtype=bool)
    start = data.draw(st.integers(0, rows))
    length = data.draw(st.integers(0, rows - start))
    column = records.from_matrix(matrix, valid)
    column.validate(full=True)
    part = column.slice(start, length)
    np.testing.assert_array_equal(records.matrix(part), matrix[start : start + length])
    np.testing.assert_array_equal(records.present(part), valid[start : start + length])
    assert part.null_count == int((~valid[start : start + length]).sum())


@given(identity=st.uuids())
def test_a_uuid_keeps_its_spelling(identity: uuid.UUID) -> None:
    for spelling in (str(identity), str(identity).upper(), identity.hex, f"{{{identity}}}"):
        with tempfile.TemporaryDirectory() as folder:
            spot = Spot(f"{folder}/out.parquet")
            write(spot, samples.batch({"id": [spelling]}, id_type="uuid"))
            assert [fact.id for fact in facts(read(spot))] == [f'"{spelling}"']
