import pytest

from reasoning_bank.compression.protect import MOST_LITERALS, protected
from reasoning_bank.errors import InputError


def found(text: str, *preserve: str) -> list[str]:
    return [text[start:end] for start, end in protected(text, preserve)]


def test_literals_are_found_wherever_they_are() -> None:
    assert found("a ZX-81 and ZX-81, not zx-81", "ZX-81", "", "absent") == ["ZX-81", "ZX-81"]


def test_what_overlaps_or_meets_is_one_span() -> None:
    assert found("abcdef", "abc", "cd", "ef") == ["abcdef"]


def test_a_pattern_begins_with_re() -> None:
    assert found("ISO-9001, ISO-27001 and re:x", r"re:ISO-\d+") == ["ISO-9001", "ISO-27001"]
    assert found("日本 🙂 ISO-1 é", r"re:\p{Han}+", r"re:ISO-\d") == ["日本", "ISO-1"]
    assert found("path /usr/bin/ here", "/usr/bin/") == ["/usr/bin/"]


@pytest.mark.parametrize("pattern", ["re:(", "re:a{2,1}", "re:(?=x)", "re:(?<!x)y", r"re:(a)\1", "re:[", "re:*"])
def test_a_pattern_that_cannot_be_used_is_refused_with_the_reason(pattern: str) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        protected("some text", [pattern])


def test_a_pattern_that_would_backtrack_elsewhere_takes_linear_time() -> None:
    assert found("a" * 50_000 + "!", "re:(a+)+$") == []
    assert found("a" * 50_000, "re:(a|aa)+$") == ["a" * 50_000]


def test_a_pattern_that_searches_to_the_end_from_everywhere_is_refused_in_time() -> None:
    with pytest.raises(InputError, match="takes too long"):
        protected("ab" * 2_000_000, ["re:(?s)a.*z|b"])


def test_what_stands_between_keep_tags_is_kept_with_them() -> None:
    assert found("a <keep>b\nc</keep> d <keep>e</keep> <keep>open") == ["<keep>b\nc</keep>", "<keep>e</keep>"]
    assert found("<keep>" * 100_000) == []


def test_a_pattern_that_matches_nothing_keeps_nothing() -> None:
    assert found("abc", "re:x*") == []


def test_half_a_character_is_no_obstacle() -> None:
    assert found("a\ud800b ISO-1", r"re:ISO-\d") == ["ISO-1"]


def test_a_flood_of_entries_is_refused() -> None:
    with pytest.raises(InputError, match=f"the limit is {MOST_LITERALS}"):
        protected("x", ["x"] * (MOST_LITERALS + 1))


def test_a_long_literal_that_overlaps_itself_takes_linear_time() -> None:
    ruler = "-" * 20_000
    assert protected(ruler * 50, [ruler]) == ((0, 1_000_000),)
