"""What a search says of itself agrees with what it answers."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from reasoning_bank.records import Explanation, MemoryItem, Query, Retrieval
from reasoning_bank.retrieval.planner import STRATEGIES
from reasoning_bank.storage import feedback, memories
from tests.retrieval.bank import START, SmallBank, ids_of

TASK = "why does parse_rows() of the importer fail with a TimeoutError since last week?"
ITEMS = (
    MemoryItem(
        "the importer fails in parse_rows", content="call parse_rows(limit=10)", time="2025-12-24", outcome="failure"
    ),
    MemoryItem("the importer is slow", content="parse_rows reads all rows at once"),
    MemoryItem("the importer is slow", content="parse_rows reads all rows at once"),
    MemoryItem("bake bread", content="knead the dough"),
    MemoryItem("read rows of a table", content="SELECT"),
    MemoryItem("rotate the logs", content="once a day"),
)


async def explained(bank: SmallBank, query: Query) -> tuple[Retrieval, Explanation]:
    retriever = bank.retriever()
    answer = await retriever.retrieve("w", replace(query, explain=True))
    assert answer.explanation is not None
    return answer, answer.explanation


async def test_nothing_is_explained_unless_asked_for(bank: SmallBank) -> None:
    await bank.store("w", *ITEMS)
    assert (await bank.retriever().retrieve("w", Query(TASK, min_score=0))).explanation is None


async def test_an_explanation_changes_no_answer(bank: SmallBank) -> None:
    await bank.store("w", *ITEMS)
    plain = await bank.retriever().retrieve("w", Query(TASK, min_score=0))
    answer, _ = await explained(bank, Query(TASK, min_score=0))
    assert answer.memories == plain.memories
    assert answer.context == plain.context
    assert answer.contributors == plain.contributors


async def test_the_chosen_are_the_answer_in_its_order(bank: SmallBank) -> None:
    await bank.store("w", *ITEMS)
    answer, explanation = await explained(bank, Query(TASK, k=2, min_score=0))
    chosen = [each for each in explanation.considered if each.decision == "chosen"]
    assert [each.id for each in chosen] == ids_of(answer)
    assert [each.relevance for each in chosen] == pytest.approx([each.score for each in answer.memories], abs=1e-4)
    assert len({each.id for each in explanation.considered}) == len(explanation.considered)
    totals = [each.fused + sum(each.adjustments.values()) for each in explanation.considered]
    assert totals == sorted(totals, reverse=True)


async def test_the_plan_says_what_ran_and_what_did_not(bank: SmallBank) -> None:
    await bank.store("w", *ITEMS)
    answer, explanation = await explained(bank, Query(TASK, min_score=0))
    plan = cast("dict[str, Any]", explanation.plan)
    assert plan["path"] == answer.path == "exact"
    assert plan["candidates"] == len(ITEMS)
    assert plan["strategies"] == list(STRATEGIES)
    assert plan["skipped"] == {}
    assert 0 <= plan["code_degree"] <= 1
    assert 0 < plan["meaning"] < 1
    assert set(plan["strategies"]) <= set(answer.timings_ms)
    _, other = await explained(bank, Query("bake bread", min_score=0, tags=("absent",)))
    assert cast("dict[str, Any]", other.plan)["strategies"] == []


async def test_the_intent_is_told(bank: SmallBank) -> None:
    await bank.store("w", *ITEMS)
    _, explanation = await explained(bank, Query(TASK, min_score=0))
    intent = cast("dict[str, Any]", explanation.intent)
    assert intent["kind"] == "question"
    assert intent["main_line"] == TASK
    assert [each["phrase"] for each in intent["times"]]
    assert "TimeoutError" in str(intent["entities"])


async def test_each_strategy_that_found_a_memory_says_at_which_place(bank: SmallBank) -> None:
    await bank.store("w", *ITEMS)
    answer, explanation = await explained(bank, Query(TASK, k=len(ITEMS), min_score=0))
    running = set(cast("dict[str, Any]", explanation.plan)["strategies"])
    for strategy in running:
        seen = [each.standings[strategy] for each in explanation.considered if strategy in each.standings]
        assert seen, strategy
        for one in seen:
            # As many are before it as have a higher score.
            assert one.rank == 1 + sum(other.score > one.score for other in seen)
    by_id = {each.id: each for each in explanation.considered}
    assert set(by_id[ids_of(answer)[0]].standings) == running
    for id_, served in zip(ids_of(answer), answer.contributors, strict=True):
        assert set(served) <= set(by_id[id_].standings)


async def test_every_reason_to_leave_one_out_is_said(bank: SmallBank) -> None:
    first, slow, copy, _, shown, far = await bank.store("w", *ITEMS)
    expired = (await bank.store("w", replace(ITEMS[1], content="old", valid_to=START + timedelta(days=1))))[0]
    query = Query(f"{TASK} bake bread", k=2, min_score=0, exclude_ids=(shown,))
    _, explanation = await explained(bank, query)
    said = {each.id: each.decision for each in explanation.considered}
    assert said[first] == "chosen"
    assert said[shown] == "excluded"
    assert said[far] == "beyond k"
    assert said[expired] in {"chosen", "beyond k"}
    _, explanation = await explained(bank, replace(query, k=9))
    said = {each.id: each.decision for each in explanation.considered}
    assert said[copy] == f"duplicate of {slow}"
    _, explanation = await explained(bank, Query("bake bread", k=9, min_score=0.99))
    assert "below floor" in {each.decision for each in explanation.considered}
    await bank.database.write(lambda c: memories.soft_delete(c, "w", [first], START))
    _, explanation = await explained(bank, replace(query, k=9))
    assert first not in {each.id for each in explanation.considered}


async def test_ratings_show_as_what_they_add(bank: SmallBank) -> None:
    first, *_ = await bank.store("w", *ITEMS)
    for _ in range(5):
        await bank.database.write(lambda c: feedback.add(c, "w", [first], "helped", now=START))
    _, explanation = await explained(bank, Query(TASK, min_score=0))
    (best,) = [each for each in explanation.considered if each.id == first]
    assert best.adjustments["utility"] > 0
