"""A long text in few characters, judged by words alone."""

from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_bank.compression.excerpts import CUT, Excerpts

TEXT = "".join(f"On day {n} the visitors of group {n} saw the garden. " for n in range(60))


def test_what_is_asked_for_stays_in_its_order_with_marks() -> None:
    found = Excerpts.of(TEXT, "Who came on day 12 and day 40?").within(250)
    assert "day 12 the visitors" in found
    assert found.index("day 12 ") < found.index("day 40 ")
    assert found.startswith(" […] ")
    assert found.endswith(CUT)


def test_where_no_word_is_shared_the_beginning_stays() -> None:
    assert Excerpts.of(TEXT, "zebra").within(200).startswith("On day 0 the visitors")


def test_what_says_what_it_is_about_comes_first() -> None:
    found = Excerpts.of(f"A diary.\n{TEXT}", "day 40", lead=8).within(300)
    assert found.startswith("A diary. […]")
    assert "day 40 " in found


def test_all_of_a_text_that_fits_stays_as_it_is() -> None:
    assert Excerpts.of(TEXT, "day 40").within(len(TEXT)) == TEXT.rstrip()


def test_a_unit_longer_than_the_room_is_cut() -> None:
    assert Excerpts.of("x" * 500, "y").within(40) == "x" * 40 + CUT


@given(st.text(min_size=1, max_size=400), st.integers(1, 300))
@settings(deadline=None, max_examples=60)
def test_any_excerpt_is_made_of_the_text_and_marks(text: str, characters: int) -> None:
    found = Excerpts.of(text, text[::-1][:50]).within(characters)
    rest = found.removesuffix(CUT).split(" […]")
    assert all(part.strip() in text for part in rest) or "[…]" in text
    assert len(found) <= characters + len(CUT) + 6 * len(text)
