"""How a prompt becomes units, and how the kept ones become a text again."""

import re
from itertools import pairwise

import pytest

from reasoning_bank.compression.cutting import from_both_ends, overlapping, plan
from reasoning_bank.compression.edits import Edit
from reasoning_bank.compression.pieces import Pieces
from reasoning_bank.compression.question import own_question
from reasoning_bank.compression.segments import segments
from reasoning_bank.compression.units import Unit, judged, units
from reasoning_bank.text.tokens import estimate

CHAT = "".join(
    f"[2026-01-0{n}T10:00] {'Ann' if n % 2 else 'Bob'}: This is what I say on day {n}.\n" for n in range(1, 10)
)
CODE = "```python\ndef first():\n    return 1\n\n\ndef second():\n    return 2\n```\n"
TEXTS = {
    "prose": "# Title\n\nA sentence here. Another one there, somewhat longer than the first, to be cut. The end.\n\n"
    * 4,
    "chat": CHAT,
    "code": f"Look:\n\n{CODE}\nDone.\n",
    "open fence": "Look:\n```\nnever closed\n",
    "one word": "a",
    "blanks": "\n\n x \n\n",
    "windows": "One line here.\r\n\r\nAnother line there.\r\n",
    "chinese": "今天我们修复了一个严重的错误，原因是连接池太小。" * 40,
}


def of(text: str, *, longest: int = 400) -> list[Unit]:
    return units(text, segments(text), longest=longest)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("longest", [1, 60, 400])
def test_units_cover_the_text_in_order(name: str, longest: int) -> None:
    found = of(TEXTS[name], longest=longest)
    assert found[0].start == 0
    assert found[-1].end == len(TEXTS[name])
    assert all(first.end == second.start for first, second in pairwise(found))
    assert [unit.paragraph for unit in found] == sorted(unit.paragraph for unit in found)


def test_a_chat_is_cut_between_turns_and_judged_without_its_times() -> None:
    found = of(CHAT)
    assert len(found) == 9
    assert judged(CHAT, found[0], "chat") == "Ann: This is what I say on day 1."
    assert len({unit.paragraph for unit in found[:4]}) == 1
    assert found[4].paragraph > found[3].paragraph


def test_a_heading_names_the_paragraph_behind_it() -> None:
    text = "# The mill\n\nIt grinds corn. It was built by hand beside the river, near the old bridge.\n\nNew thought.\n"
    found = of(text)
    assert found[0].name == "The mill"
    assert found[1].paragraph == found[0].paragraph < found[-1].paragraph


def test_a_sentence_that_an_editor_wrapped_is_one_unit() -> None:
    sentence = "This is a long sentence that somebody wrapped at a column so that it goes on\nin the second line. "
    text = f"{sentence}A second one, which is long enough to be a unit of its own, as it is here.\n" * 3
    assert sentence in {text[unit.start : unit.end] for unit in of(text)}


def test_both_ends_grow_by_their_shares() -> None:
    order = from_both_ends(range(10), [1] * 10, head_ratio=0.6)
    assert sorted(order) == list(range(10))
    assert set(order[:5]) == {0, 1, 2, 8, 9}
    assert from_both_ends(range(4), [1] * 4, head_ratio=1.0)[0] == 0
    assert from_both_ends(range(4), [1] * 4, head_ratio=0.0)[0] == 3


def test_units_that_share_a_character_with_a_span_are_found() -> None:
    cover = [Unit(at, at + 10, 0) for at in range(0, 50, 10)]
    assert overlapping(cover, [(9, 11), (30, 40)]) == {0, 1, 3}
    assert overlapping(cover, []) == frozenset()


def test_gaps_are_marked_where_they_are() -> None:
    text = "One is here. Two is there. Three is far.\n\nFour is alone in its line.\n"
    cover = [Unit(0, 13, 0), Unit(13, 27, 0), Unit(27, 42, 0), Unit(42, len(text), 0)]
    whole = plan(
        Pieces.whole(text), cover, count=estimate, tokens=estimate(text), tiers=(), scores=[2, 0, 1, 0], head_ratio=0.5
    )
    assert whole.assembled(whole.within(8)).text == "One is here. […] Three is far.\n[…]"
    assert whole.assembled(whole.within(10**6)).text == text


def test_pieces_remember_where_they_come_from() -> None:
    text = "alpha beta gamma delta"
    pieces = Pieces.whole(text).edited([Edit(0, 6, ""), Edit(11, 16, "<g>")])
    assert pieces.text == "beta <g> delta"
    assert pieces.spans == ((6, 11), (16, 22))
    assert pieces.located([0, 6, 8, 11, 13, 16, 22]) == [0, 0, 2, 5, 8, 8, 14]
    again = pieces.edited([Edit(0, 1, "B")])
    assert (again.text, again.spans) == ("Beta <g> delta", ((7, 11), (16, 22)))


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("Some report of the day.\n\nWhat was the cause?\n", "What was the cause?"),
        (
            "Task: find the cheapest flight to Oslo.\n\n" + "Flights leave daily. " * 40,
            "find the cheapest flight to Oslo.",
        ),
        (CHAT + "[2026-01-10T10:00] Bob: Where did you go on day 3?\n", "Where did you go on day 3?"),
        ("The garden was green. " * 40, None),
    ],
)
def test_a_prompt_tells_what_it_asks(prompt: str, question: str | None) -> None:
    found = own_question(prompt, segments(prompt))
    assert found == question or (question is not None and found is not None and re.search(re.escape(question), found))
