import csv
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings

from reasoning_bank.compression.edits import apply
from reasoning_bank.compression.structured import minified, tabled, unpadded, unquoted
from tests.compression.generated import EXAMPLES, JSON, ROWS, TABLES


def exactly(source: str) -> Any:
    """The value with its repeated keys and its digits."""
    return json.loads(source, object_pairs_hook=lambda pairs: ["object", *pairs], parse_int=str, parse_float=str)


def table_of(source: str) -> str:
    return apply(source, sorted(edit for edits in tabled(source) for edit in edits))


def test_blanks_and_needless_escapes_go_and_values_stay() -> None:
    source = (
        '{ "a" : [1, 2.50, -0, 1e5, NaN],\n  "caf\\u00e9": "\\ud83d\\ude42 a  b: c, d \\/ \\n",'
        ' "a": 12345678901234567890 }'
    )
    lean = apply(source, minified(source))
    assert lean == '{"a":[1,2.50,-0,1e5,NaN],"café":"🙂 a  b: c, d / \\n","a":12345678901234567890}'
    assert minified(lean) == []


@pytest.mark.parametrize("text", ["\\u200b", "\\u00a0", "\\ud800", "\\u0022", "\\u005c", "\\u0007", "\\\\u00e9"])
def test_escapes_that_are_needed_stay(text: str) -> None:
    source = f'{{"a":"{text}"}}'
    assert minified(source) == []


@pytest.mark.parametrize(
    "source", ['{"a": 1,}', "{'a': 1}", '{"a": 1', '{"a": 1} x', "", "  ", "[1, 2] [3]", "{ // no\n}"]
)
def test_what_is_not_json_is_left_alone(source: str) -> None:
    assert minified(source) == []
    assert tabled(source) == []


def test_values_on_lines_of_their_own_stay_on_them() -> None:
    source = '{"a": 1}\n{"a": 2}\n\n[ ]\n'
    assert apply(source, minified(source)) == '{"a":1}\n{"a":2}\n\n[]\n'


def test_rows_with_the_same_keys_become_a_table() -> None:
    rows: list[dict[str, Any]] = [
        {"id": 1, "name": "x", "tags": [1, 2]},
        {"id": 2, "name": "y", "tags": []},
        {"id": 3, "name": "z", "tags": {}},
    ]
    source = json.dumps({"before": [1], "rows": rows, "after": [{"a": 1}]}, indent=2)
    table = table_of(source)
    assert json.loads(table) == {
        "before": [1],
        "rows": {"columns": ["id", "name", "tags"], "rows": [[1, "x", [1, 2]], [2, "y", []], [3, "z", {}]]},
        "after": [{"a": 1}],
    }


@pytest.mark.parametrize(
    "rows", [[{"a": 1}, {"b": 1}, {"a": 1}], [{"a": 1}, {"a": 1}], [{}, {}, {}], [{"a": 1}, 2, {"a": 3}], [1, 2, 3]]
)
def test_other_arrays_stay(rows: list[Any]) -> None:
    assert tabled(json.dumps(rows)) == []
    assert tabled('[{"a": 1, "a": 2}, {"a": 1, "a": 2}, {"a": 1, "a": 2}]') == []


@settings(deadline=None, max_examples=EXAMPLES * 3)
@given(JSON)
def test_any_json_is_equal_by_value(source: str) -> None:
    lean = apply(source, minified(source))
    assert repr(exactly(lean)) == repr(exactly(source))
    assert len(lean) <= len(source)
    assert minified(lean) == []


@settings(deadline=None, max_examples=EXAMPLES)
@given(ROWS)
def test_any_table_can_be_read_back(rows: list[dict[str, Any]]) -> None:
    read = json.loads(table_of(json.dumps(rows, sort_keys=True)))
    inner = [dict(zip(read["columns"], row, strict=True)) for row in read["rows"]]
    assert [set(row) for row in inner] == [set(row) for row in rows]
    assert [row["id"] for row in inner] == [row["id"] for row in rows]


def test_padding_of_a_table_goes_and_its_cells_stay() -> None:
    # A pipe behind a backslash is part of its cell.
    source = (
        "| Name     | City \\| Town |\n|:---------|-----------:|\n"
        "| Ann  Lee |      Rome  |\n|          | `a  b`     |\n"
    )
    lean = apply(source, unpadded(source))
    assert lean == "| Name | City \\| Town |\n|:-|-:|\n| Ann  Lee | Rome |\n| | `a  b` |\n"
    assert unpadded(lean) == []


@settings(deadline=None, max_examples=EXAMPLES)
@given(TABLES)
def test_any_table_of_markdown_keeps_its_cells(source: str) -> None:
    lean = apply(source, unpadded(source))
    for one, other in zip(source.split("\n"), lean.split("\n"), strict=True):
        assert [cell.strip() for cell in re.sub("-+", "-", one).split("|")] == [
            cell.strip() for cell in other.split("|")
        ]


def test_quotes_that_say_nothing_go_and_those_that_tell_text_from_numbers_stay() -> None:
    source = '"id","full name","note"\n"1","Ann Lee","a, b"\n"2","Bob","say ""hi"""\n"3"," x ","true"\n'
    lean = apply(source, unquoted(source))
    assert lean == 'id,full name,note\n"1",Ann Lee,"a, b"\n"2",Bob,"say ""hi"""\n"3"," x ","true"\n'
    assert list(csv.reader(lean.splitlines())) == list(csv.reader(source.splitlines()))
