"""Patterns on RE2 and on its stand-in find the same; the stand-in refuses what could take for ever."""

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.errors import InputError
from reasoning_bank.text.patterns import Literals, Pattern, encodable, linear

WORDS = ("token", "sk-", "://", "é", "a+b", "Key")


def without_re2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)


def places(pattern: Pattern, text: str) -> list[tuple[int, int]]:
    return [found.span() for found in pattern.finditer(text)]


@pytest.mark.parametrize("pattern", ["a{2,3}b?", "(?:x|yz){0,3}w", r"\bkey-[0-9]{4}\b", "é+", "(?P<secret>k)[a-c]"])
def test_both_find_the_same_places(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "aab aaab é xyzw key-1234 éé kb 中 key-12345 xxxw"
    first = linear(pattern)
    without_re2(monkeypatch)
    second = linear(pattern)
    assert places(first, text) == places(second, text) != []
    assert dict(first.groupindex) == dict(second.groupindex)


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "a*a*b", r"(\w+\s?)*x", ".*a.*b", "(?=a)b", r"(a)\1", "a{0,2000}b", "(?:a{0,9}){0,9}b"]
)
def test_the_stand_in_refuses_what_could_take_for_ever(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without_re2(monkeypatch)
    with pytest.raises(InputError):
        linear(pattern)
    linear("[a-z]{1,20}b", bounded=True)


@pytest.mark.parametrize("pattern", ["(", "a{2", "(?<=a)b", r"(a)\1", "*", "[z-a]"])
def test_what_is_no_pattern_is_refused_with_the_reason(pattern: str) -> None:
    if pattern == "a{2":  # a brace that opens nothing stands for itself
        assert linear(pattern).search("a{2") is not None
        return
    with pytest.raises(InputError, match="RE2"):
        linear(pattern)


def test_case_is_ignored_where_that_is_asked_for() -> None:
    assert linear("key", ignore_case=True).search("KEY") is not None
    assert linear("key").search("KEY") is None


def test_a_lone_surrogate_keeps_the_places_of_what_follows() -> None:
    assert places(linear("b"), encodable("a\ud800b")) == [(2, 3)]


@given(st.text(alphabet="tokens-:/éÉab+KeyKEY \ud800"))
def test_words_are_found_with_and_without_re2(text: str) -> None:
    exact, folded = WORDS[:3], ("é", "a+b", "key")
    expected = [n for n, word in enumerate(exact) if word in text]
    expected += [n for n, word in enumerate(folded, 3) if word in text.lower()]
    assert sorted(Literals(exact, folded).found(text, text.lower())) == expected
    with pytest.MonkeyPatch.context() as patch:
        without_re2(patch)
        assert sorted(Literals(exact, folded).found(text, text.lower())) == expected


def test_many_words_in_any_order_take_one_pass() -> None:
    words = [f"{chr(97 + n % 26)}{n}word" for n in range(300)]
    text = " ".join(words[n * 7 % 300] for n in range(100_000))
    started = time.process_time()
    assert set(Literals(words, ()).found(text, text)) == set(range(300))
    assert time.process_time() - started < 20.0
