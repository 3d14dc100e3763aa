"""What counts as the same advice, on the labelled pairs: with the hashing embedder here, whose cosines are coarser."""

from collections import Counter

import pytest

from reasoning_bank.embeddings.hashing import HashingEmbedder
from reasoning_bank.learning.similarity import Compared, Lesson, compared
from tests.learning.likeness import Pair, labelled_pairs

PAIRS = list(labelled_pairs())
EMBEDDER = HashingEmbedder()


def lesson(text: str) -> Lesson:
    return Lesson(text)


def relation(pair: Pair, cosine: float | None = None) -> Compared:
    if cosine is None:
        one, other = EMBEDDER.encode([pair.one, pair.other], "document")
        cosine = float(one @ other)
    return compared(lesson(pair.one), lesson(pair.other), cosine)


def test_no_lesson_with_another_number_name_word_or_a_not_is_taken_for_the_same() -> None:
    # However alike the model finds them.
    wrong = [pair for pair in PAIRS if pair.label in {"number", "word"} and relation(pair, 0.97).relation == "same"]
    assert wrong == []
    opposed = [pair for pair in PAIRS if pair.label == "opposite" and relation(pair, 0.97).relation == "same"]
    assert opposed == []


def test_lightly_edited_lessons_are_the_same() -> None:
    found = Counter(relation(pair).relation for pair in PAIRS if pair.label == "edited")
    assert found["same"] == found.total()


def test_half_of_the_reworded_lessons_are_the_same_and_none_is_an_opposite() -> None:
    found = Counter(relation(pair, 0.92).relation for pair in PAIRS if pair.label == "reworded")
    assert found["opposite"] == 0
    assert found["same"] >= found.total() / 2


def test_opposite_advice_is_recognised() -> None:
    found = Counter(relation(pair, 0.9).relation for pair in PAIRS if pair.label == "opposite")
    assert found["opposite"] >= 0.95 * found.total()


@pytest.mark.parametrize("label", ["number", "word", "other"])
def test_what_only_differs_in_detail_is_no_contradiction_unless_a_setting_has_two_values(label: str) -> None:
    opposed = [pair for pair in PAIRS if pair.label == label and relation(pair, 0.9).relation == "opposite"]
    assert len(opposed) <= (6 if label == "number" else 0)


def test_two_values_of_one_setting_are_named() -> None:
    pair = next(each for each in PAIRS if each.label == "number" and "pool_size" in each.one)
    assert relation(pair, 0.98) == Compared("opposite", "another value: pool_size is 20 here and 50 there")


def test_the_order_of_things_matters() -> None:
    one, other = lesson("Lock the row before reading it."), lesson("Lock the row after reading it.")
    assert compared(one, other, 0.98).relation == "opposite"
    one, other = lesson("Use the menu instead of the search box."), lesson("Use the search box instead of the menu.")
    assert compared(one, other, 0.98).relation == "opposite"


def test_lessons_far_apart_in_meaning_are_different_whatever_their_words() -> None:
    pair = next(each for each in PAIRS if each.label == "edited")
    assert relation(pair, 0.5) == Compared("different", "about other matters")


def test_comparing_is_symmetric() -> None:
    for pair in PAIRS:
        one, other = lesson(pair.one), lesson(pair.other)
        assert compared(one, other, 0.9).relation == compared(other, one, 0.9).relation


def test_proper_names_and_quoted_words_must_agree() -> None:
    for one, other in (
        (
            "Ask for the states that border Ohio and Maryland first.",
            "Ask for the states that border Texas and Iowa first.",
        ),
        (
            'Choose "Rhode Island" in the list of shipping states.',
            'Choose "New Jersey" in the list of shipping states.',
        ),
    ):
        assert compared(lesson(one), lesson(other), 0.97).relation == "different"


def test_what_says_too_little_is_never_the_same() -> None:
    assert compared(lesson("Yes"), lesson("Yes"), 1.0) == Compared("different", "too little is said")
