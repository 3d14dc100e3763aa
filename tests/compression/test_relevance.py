"""What makes one unit of a prompt matter more than another."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from reasoning_bank.compression.relevance import EMBEDDED_UNITS, Passages, asked, central
from reasoning_bank.embeddings.embedder import Embedder, Kind, Vectors
from reasoning_bank.errors import BusyError


def passages(
    *texts: str, paragraphs: Sequence[int] = (), names: Mapping[int, str] | None = None, chat: bool = False
) -> Passages:
    numbers = paragraphs or range(0, 10 * len(texts), 10)
    return Passages(texts, np.array(numbers, dtype=np.intp), names or {}, np.full(len(texts), chat))


def order(scores: np.ndarray) -> list[int]:
    return np.argsort(-scores, kind="stable").tolist()


FILLER = ("The garden was green.", "The weather stayed mild.", "Guests came and went.", "Birds sang all day.")


def test_rare_words_of_the_query_count_more_than_common_ones() -> None:
    found = asked(
        passages("the pool is cold", *FILLER, "the pool is warm", *FILLER, "the turbine is warm"), "pool turbine", None
    )
    assert order(found.scores)[0] == 10


def test_what_stands_beside_an_answer_is_worth_more_than_what_stands_far_from_it() -> None:
    found = asked(passages(*FILLER, "It was built in 1907.", "The turbine of the mill.", *FILLER * 3), "turbine", None)
    assert found.scores[4] > found.scores[-1]


def test_a_unit_inherits_from_its_paragraph() -> None:
    texts = ("The turbine hall.", *FILLER, *FILLER, "It was built in 1907.", "Nobody knows why.")
    one = [0] * 10 + [1]
    found = asked(passages(*texts, paragraphs=one), "turbine", None)
    assert found.scores[9] > found.scores[10]


def test_a_section_whose_heading_a_promising_unit_names_is_promising_too() -> None:
    texts = (
        "The mill was bought by Ada Lovering.",
        *FILLER,
        *FILLER,
        "# Ada Lovering (engineer)",
        "She was born in York.",
        *FILLER,
        "She was born in Rome.",
    )
    numbers = [0, *range(1, 9), 9, 9, *range(10, 14), 20]
    with_name = asked(
        passages(*texts, paragraphs=numbers, names={9: "Ada Lovering (engineer)"}), "Who bought the mill?", None
    )
    without = asked(passages(*texts, paragraphs=numbers), "Who bought the mill?", None)
    assert with_name.scores[10] > without.scores[10]
    assert with_name.scores[15] == without.scores[15]


def test_only_the_most_promising_units_are_embedded(hashing: Embedder) -> None:
    seen: list[int] = []

    def encode(texts: Sequence[str], kind: Kind) -> Vectors:
        seen.append(len(texts))
        return hashing.encode(texts, kind)

    asked(passages(*(f"unit {number} of the pool" for number in range(500))), "pool", encode)
    assert seen == [EMBEDDED_UNITS, 1]


def test_a_model_that_is_busy_leaves_it_to_the_words() -> None:
    def busy(texts: Sequence[str], kind: Kind) -> Vectors:
        raise BusyError("65,536 texts are waiting")

    given = passages("the pool", *FILLER)
    found = asked(given, "pool", busy)
    assert found.is_degraded
    assert found.scores.tolist() == asked(given, "pool", None).scores.tolist()


def test_without_a_question_beginnings_and_what_is_said_often_count() -> None:
    texts = (
        "The mill grinds corn.",
        "Nothing else.",
        "Corn feeds the mill.",
        "Rain fell.",
        "A mill needs corn.",
        "Cats sleep.",
    )
    scores = central(passages(*texts, paragraphs=[0, 0, 1, 1, 2, 2]), head_ratio=0.6).scores
    assert set(order(scores)[:3]) == {0, 2, 4}


def test_of_a_chat_both_ends_count() -> None:
    texts = [f"Turn {number} says something of its own." for number in range(40)]
    turns = [number // 4 for number in range(40)]
    scores = central(passages(*texts, paragraphs=turns, chat=True), head_ratio=0.6).scores
    assert {0, 36} <= set(order(scores)[:4])
    assert scores[24] < scores[0]


@pytest.mark.parametrize("count", [0, 1])
def test_few_units_are_no_special_case(count: int) -> None:
    given = passages(*("one unit",) * count)
    assert len(asked(given, "unit", None).scores) == count
    assert len(central(given, head_ratio=0.5).scores) == count


def test_a_query_of_megabytes_is_read_no_further_than_its_beginning() -> None:
    given = passages("the cache is cold.", "the pool is small.", "the disk is slow.")
    query = "pool " + " ".join(f"x{number}" for number in range(2_000)) + " disk"
    assert order(asked(given, query, None).scores) == order(asked(given, "pool", None).scores)
