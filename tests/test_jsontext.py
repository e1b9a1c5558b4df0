"""JSON as text: members verbatim, and the canonical form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vexarrow.jsontext import Malformed, canonical, canonical_all, loads_all, members

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)

# -- members --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{}", " { } ", "\t{\r\n}\n"])
def test_an_empty_object_has_no_members(text: str) -> None:
    assert members(text) == []


def test_keys_and_values_come_in_their_order_and_spelling() -> None:
    text = ' { "b" : 1.0 ,"a":1e5, "c":[1, {"x" : null}] , "\\u0064": "\\u00e9 \\/" } '
    assert members(text) == [
        ("b", '"b"', "1.0"),
        ("a", '"a"', "1e5"),
        ("c", '"c"', '[1, {"x" : null}]'),
        ("d", '"\\u0064"', '"\\u00e9 \\/"'),
    ]


def test_a_key_that_is_there_twice_is_listed_twice() -> None:
    assert members('{"a":1,"\\u0061":2}') == [("a", '"a"', "1"), ("a", '"\\u0061"', "2")]


@pytest.mark.parametrize(
    "value", ["-0", "123456789012345678901234567890", "1e400", "0.10", "true", "null", '"😀"', "[]"]
)
def test_a_value_is_the_text_that_was_written(value: str) -> None:
    assert members(f'{{"a":{value}}}') == [("a", '"a"', value)]


def test_braces_and_quotes_in_strings_end_nothing() -> None:
    assert members('{"a":"}\\",{","b":"\\\\"}') == [("a", '"a"', '"}\\",{"'), ("b", '"b"', '"\\\\"')]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON value"),
        ("  \n", "no JSON value"),
        ("[1]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{", "key .* character 2"),
        ('{"a"}', "':' .* character 5"),
        ('{"a":}', "value .* character 6"),
        ('{"a":1', "',' or '}' .* character 7"),
        ('{"a":1 "b":2}', "',' or '}' .* character 8"),
        ('{"a":1,}', "key .* character 8"),
        ("{a:1}", "key .* character 2"),
        ("{'a':1}", "key .* character 2"),
        ('{"a":1} x', "more text .* character 8"),
        ('{"a":1}{}', "more text .* character 8"),
        ('{"a":"x', "unterminated string .* character 6"),
        ('{"a":"\n"}', "invalid control character .* character 7"),
        ('{"a":"\\x"}', "escape .* character 7"),
        ('{"a":NaN}', "NaN is not a JSON number"),
        ('{"a":-Infinity}', "-Infinity is not a JSON number"),
        ('{"a":01}', "',' or '}' .* character 7"),
        ('{"a":+1}', "value .* character 6"),
        ('{"a":tru}', "value .* character 6"),
        ('{"a":' + "[" * 100_000 + "}", "nested too deeply|value"),
    ],
)
def test_anything_but_one_whole_object_is_malformed_and_the_message_says_where(text: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        members(text)


# -- canonical ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (' {"b" : 1, "a" : [ 1 , 2 ]} ', '{"a":[1,2],"b":1}'),
        ('{"b":{"d":1,"c":2}}', '{"b":{"c":2,"d":1}}'),
        ('{"a":1.0}', '{"a":1.0}'),
        ('{"a":1}', '{"a":1}'),
        ('{"a":1e5,"b":1E+2,"c":100000.0}', '{"a":100000.0,"b":100.0,"c":100000.0}'),
        ("[1e16,1e15,1e-4,1e-5,5e-324]", "[1e+16,1000000000000000.0,0.0001,1e-05,5e-324]"),
        ("[-0,-0.0,0.0]", "[0,-0.0,0.0]"),
        ("[9223372036854775808,-9223372036854775809]", "[9223372036854775808,-9223372036854775809]"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('"\\u00e9\\/\\u2028\\ud83d\\ude00"', '"é/\u2028😀"'),
        ('"\\u0000\\u001f\\u007f\\b\\f\\n\\r\\t\\"\\\\"', '"\\u0000\\u001f\x7f\\b\\f\\n\\r\\t\\"\\\\"'),
        ('{"\\u0062":1,"a":2}', '{"a":2,"b":1}'),
        ('{"😀":1,"\ufffd":2}', '{"\ufffd":2,"😀":1}'),
        ("null", "null"),
        ("true", "true"),
        ('""', '""'),
    ],
)
def test_equal_values_have_one_form(text: str, expected: str) -> None:
    assert canonical(text) == canonical(text.encode()) == expected.encode()


def test_a_canonical_form_is_its_own() -> None:
    once = canonical('{"b":[1.50,{"z":null,"a":"\\u00e9"}],"a":1e300}')
    assert canonical(once) == once


def test_members_of_equal_keys_all_stay_in_their_order() -> None:
    assert canonical('{"b":1,"a":2,"a":1}') == b'{"a":2,"a":1,"b":1}'


def test_a_lone_surrogate_stays_what_it_is_and_differs_from_another() -> None:
    assert canonical('"\\ud800"') != canonical('"\\ud801"')


@pytest.mark.parametrize("text", ["", "{", "[1,]", "{'a':1}", "NaN", "[Infinity]", "01", '"\n"', "1 2", "[" * 100_000])
def test_what_is_no_json_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        canonical(text)


def test_bytes_that_are_not_utf_8_are_malformed() -> None:
    with pytest.raises(Malformed):
        canonical(b'"\xff"')


# -- many texts at once ---------------------------------------------------------------------------------


ODD = (
    '{"a":1,"a":1e6}',
    '{"a":1e16}',
    '{"a":1e-5}',
    '{"a":123456789012345678901234567890}',
    '{"a":-0}',
    '{"a":"\\u003a"}',
    '{"b":{"z":1,"y":[1.5,null,true]},"a":"é"}',
)


@pytest.mark.parametrize("odd", ODD)
def test_many_texts_have_the_forms_that_each_has_alone(odd: str) -> None:
    """Or they have to be looked at one by one."""
    texts = ['{"a":1}', odd, '{"c":[],"b":2.5}']
    together = canonical_all(texts)
    assert together is None or together == [canonical(text) for text in texts]


@given(st.lists(DOCUMENTS.map(json.dumps), max_size=5))
def test_any_texts_together_have_the_forms_that_each_has_alone(texts: list[str]) -> None:
    """Whatever they hold."""
    together = canonical_all(texts)
    assert together is None or together == [canonical(text) for text in texts]


def test_ordinary_texts_need_no_look_at_each() -> None:
    """Which would take much of the time of a run."""
    assert canonical_all(['{"b":1,"a":"x"}', "{}", '{"c":[1.5,{"d":null}]}']) == [
        b'{"a":"x","b":1}',
        b"{}",
        b'{"c":[1.5,{"d":null}]}',
    ]


@pytest.mark.parametrize(
    "texts",
    [
        ['{"a":"', '"}'],
        ["[1", "2]"],
        ["1,2", '"a', 'b"'],
        ['{"a":1},{"b":2}', '{"c":', "3}"],
        ["", "1"],
        ["1", ""],
    ],
)
def test_texts_that_are_json_only_together_are_none(texts: list[str]) -> None:
    """Nor does one that is two make up for two that are one."""
    assert loads_all(texts) is None
    assert canonical_all(texts) is None
