import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.errors import InputError
from reasoning_bank.records import JsonValue
from reasoning_bank.text.sanity import MAX_JSON_DEPTH, clean_json, clean_text, required_text, strip_invisible


def test_text_comes_back_unchanged_with_every_script_and_line_break() -> None:
    text = "  tabs\there\r\n中文 עברית 👩‍👧 e\u0301 \u202e  "
    assert clean_text(text, "task") == text


@pytest.mark.parametrize(("text", "what"), [("a\x00b", "NUL"), ("ab\ud800", "D800"), ("\udfff", "DFFF")])
def test_text_that_nothing_can_store_is_refused_by_field_and_place(text: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as refused:
        clean_text(text, "task")
    assert "task" in str(refused.value)
    assert "position" in str(refused.value)


@pytest.mark.parametrize("text", ["", "   \n\t", "\u200b\u200b", "\u202e \ufeff"])
def test_text_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="task is empty"):
        required_text(text, "task")


@pytest.mark.parametrize(
    "value",
    [{"a": ["x\x00"]}, {"k\x00": 1}, [[["\ud800"]]], {"n": math.nan}, [math.inf]],
)
def test_a_value_with_something_unstorable_anywhere_is_refused(value: JsonValue) -> None:
    with pytest.raises(InputError, match="metadata"):
        clean_json(value, "metadata")


def test_a_value_nested_too_deep_is_refused_without_recursion() -> None:
    value: JsonValue = "leaf"
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InputError, match=f"deeper than {MAX_JSON_DEPTH} levels"):
        clean_json(value, "trajectory")
    while isinstance(value, list):  # taken apart by hand: the interpreter frees deep nesting recursively
        value = value[0]


def test_an_ordinary_value_comes_back_as_it_is() -> None:
    value: JsonValue = {"steps": [{"role": "user", "content": "café", "n": 1.5, "ok": None}]}
    assert clean_json(value, "trajectory") is value


@pytest.mark.parametrize(
    ("shown", "left"),
    [
        ("pay\u200bload", "payload"),
        ("\u202eevil\u202c", "evil"),
        ("\x1b[31mred\x1b[0m text", "red text"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "link"),
        ("a\u2028b\x0bc", "a\nb\nc"),
        ("line\r\nnext\ttab", "line\nnext\ttab"),
        ("hi\U000e0049\U000e0067\U000e006e", "hi"),
        ("a\ufe0f\ufe01\ufe02b", "ab"),
        ("👍\U000e0100\U000e0101\U000e0102", "👍"),
        ("pass\u200dword", "password"),
        ("\ufeffbom", "bom"),
    ],
)
def test_what_a_person_cannot_see_is_removed(shown: str, left: str) -> None:
    assert strip_invisible(shown) == left


@pytest.mark.parametrize("text", ["👩‍👧 ❤️ 1️⃣", "می‌خواهم", "क्‍ष", "café", "a\tb\nc", "中文，全角"])
def test_visible_text_of_any_script_stays_whole(text: str) -> None:
    assert strip_invisible(text) == text


@given(st.text(alphabet=st.sampled_from("ab👍क\x1b[31m]\x07\u200b\u200d\ufe0f\ufe01\U000e0100\u20e3\u202e\r\n\u2028")))
def test_stripping_twice_changes_nothing_more(text: str) -> None:
    once = strip_invisible(text)
    assert strip_invisible(once) == once
