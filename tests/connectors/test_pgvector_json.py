"""What jsonb does not hold exactly is found, wherever in a text it stands."""

import importlib
import json
import random

import pyarrow as pa
import pytest

inexact = importlib.import_module("vexarrow.connectors._pgvector_json").inexact

LOSSY = ("-0", "-0.0", "-0.00", "-0e1", "-0.0E-2", "1e5", "1E5", "1.5e3", "-1.25e+2", "9" * 301, r'"a\u0000"')
EXACT = ("0", "0.0", "-0.05", "-10", "1.5", "1.25e1", '"-0 "', '"x,-0"', '": -0,"', '"16.2+ds-0+deb"', '"1e5,"', "null")
AROUND = ('{{"k":{0}}}', '{{"k" : {0} }}', '{{"k":[1,{0}]}}', '{{"k":[{0} ,2]}}', '{{"a":{{"k":\n{0}}}}}')


@pytest.mark.parametrize("around", AROUND)
def test_numbers_and_texts_that_jsonb_would_change_are_found_in_any_place(around: str) -> None:
    texts = [around.format(value) for value in (*LOSSY, *EXACT)]
    assert inexact(pa.array(texts)) == ([*range(len(LOSSY))], [])


def test_a_key_that_is_there_twice_is_found_at_any_depth() -> None:
    texts = [
        '{"a":1,"b":{"a":2}}',
        '{"a":1,"a":1}',
        '{"b":{"a":1,"a":2}}',
        '{"b":[{"a":1,"a":2}]}',
        '{"a":"\\"a\\":1"}',
    ]
    assert inexact(pa.array(texts)) == ([1, 2, 3], [])


def test_what_is_no_json_is_found_among_much_that_is() -> None:
    rng = random.Random(7)
    texts = [json.dumps({"n": rng.random(), "t": "x" * rng.randrange(9)}) for _ in range(100)]
    texts[41], texts[77] = '{"n":1', "nothing"
    assert inexact(pa.array(texts)) == ([], [41, 77])
