"""What a compression set measures, and the compressors anyone could write."""

import json
from pathlib import Path

import pytest

from reasoning_bank.errors import InputError
from reasoning_bank.evaluation.compressing import Compressed, Item, baselines, compress_set, judge, read_items, units

CONTEXT = "Alice likes tea. Bob likes coffee.\n\nCarol lives in Oslo; it is cold there.\nDave sails."


def item(*spans: tuple[int, int], mode: str = "all", answer: str = "") -> Item:
    return Item("i", "where does Carol live", CONTEXT, spans, "all" if mode == "all" else "any", answer)


def count(text: str) -> int:
    return len(text.split())


def span(words: str) -> tuple[int, int]:
    start = CONTEXT.index(words)
    return start, start + len(words)


def test_a_span_is_retained_when_nine_tenths_of_it_are_kept() -> None:
    kept = Compressed("", ((0, 9),))
    assert judge(item((0, 10)), kept, used=1)["evidence"] == 1.0
    assert judge(item((0, 11)), kept, used=1)["evidence"] == 0.0


def test_success_is_all_of_the_evidence_or_any_of_it() -> None:
    kept = Compressed("", ((0, 10),))
    both = ((0, 10), (20, 30))
    assert judge(item(*both), kept, used=1)["success"] == 0.0
    assert judge(item(*both, mode="any"), kept, used=1)["success"] == 1.0
    assert judge(item(*both), kept, used=1)["evidence"] == 0.5


def test_an_answer_counts_only_where_the_context_holds_it() -> None:
    assert judge(item((0, 5), answer="Oslo"), Compressed("in Oslo", ()), used=1)["answer"] == 1.0
    assert "answer" not in judge(item((0, 5), answer="Bergen"), Compressed("", ()), used=1)


def test_units_are_the_sentences_of_lines() -> None:
    assert [CONTEXT[start:end] for start, end in units(CONTEXT)] == [
        "Alice likes tea.",
        "Bob likes coffee.",
        "Carol lives in Oslo; it is cold there.",
        "Dave sails.",
    ]
    assert [end - start for start, end in units("x" * 1500)] == [700, 700, 100]


def test_a_turn_of_a_talk_stays_whole() -> None:
    talk = "[2024-05-01] Ann: Hello. How are you?\nBob: Well. And you?\n\nAnn: Fine."
    assert [talk[start:end] for start, end in units(talk)] == [line for line in talk.splitlines() if line]


@pytest.mark.parametrize("name", ["head", "head+tail", "random", "bm25"])
@pytest.mark.parametrize("budget", [1, 5, 8, 100])
def test_no_baseline_exceeds_its_budget(name: str, budget: int) -> None:
    result = baselines(count)[name](item((0, 5)), budget)
    assert count(result.text) <= budget
    assert "".join(result.text.split()) == "".join("".join(CONTEXT[a:b] for a, b in result.kept).split())


def test_bm25_keeps_what_shares_words_with_the_question() -> None:
    found = compress_set([item(span("Carol lives in Oslo"))], baselines(count)["head"], count_tokens=count)
    assert found.methods["bm25"]["50%"].figures["success"].value == 1.0
    assert found.methods["reasoning-bank"]["30%"].figures["success"].value == 0.0
    assert found.methods["reasoning-bank"]["20%"].over_budget == 0


def test_bad_rows_are_named(tmp_path: Path) -> None:
    good = {"id": "g", "question": "q", "context": "abc", "evidence": [{"start": 0, "end": 3}]}
    bad = [
        {**good, "evidence": [{"start": 0, "end": 4}]},
        {**good, "evidence": []},
        {**good, "context": ""},
        {**good, "metadata": {"mode": "some"}},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [good, *bad]), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_items(file)
    for part in ("4 bad row(s)", "line 2: evidence 0..4 is no part", "line 3", "line 4", "must be one of all, any"):
        assert part in str(error.value)
