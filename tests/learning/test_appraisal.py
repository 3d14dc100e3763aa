import json
from pathlib import Path

import pytest

from reasoning_bank.learning.appraisal import appraise

Pair = tuple[bool, str, str]


def pairs(made: str) -> list[Pair]:
    lines = Path(__file__).with_name("captured_pairs.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["made"] == made]
    return [(row["keep"], row["question"], row["answer"]) for row in rows]


@pytest.mark.parametrize("made", ["dev", "unseen"])
def test_what_is_worth_keeping_is_told_from_what_is_not(made: str) -> None:
    """The unseen pairs had no part in making the rules."""
    labelled = pairs(made)
    kept = [(keep, appraise(question, answer).is_worth_keeping) for keep, question, answer in labelled]
    right = kept.count((True, True))
    assert right / (right + kept.count((False, True))) >= 0.95
    assert right / (right + kept.count((True, False))) >= 0.9


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("Sure!", "courtesy"),
        ("I don't know.", "no answer"),
        ("Which file do you mean?", "question back"),
        ("Let me look into that.", "promise"),
        ("The server is up at the moment.", "momentary"),
        ("I fixed it.", "report"),
        ("Paris it is.", "too little"),
        ("It looks really nice and modern to me, the colours are pleasant as well.", "low value"),
    ],
)
def test_what_is_not_worth_keeping_says_why(answer: str, code: str) -> None:
    appraisal = appraise("Why does the export fail?", answer)
    assert not appraisal.is_worth_keeping
    assert appraisal.reason.startswith(f"{code}: ")


def test_an_answer_that_only_repeats_the_question_adds_nothing() -> None:
    question = "Why does the nightly export of the sales table time out after ten minutes?"
    assert not appraise(question, "The nightly export of the sales table times out after ten minutes.").is_worth_keeping
