from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.records import Counters, ErrorContext, Memory, MemoryItem
from reasoning_bank.retrieval.scoring import (
    WEIGHTS,
    Candidate,
    TaskErrors,
    Weights,
    rescored,
    utility,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LESSON = MemoryItem("task", title="T", content="what to do")
COUNTS = st.integers(0, 1_000)


def kept(id_: str, item: MemoryItem = LESSON, counters: Counters | None = None) -> Memory:
    return Memory(id_, "w", "t", item, counters or Counters(), NOW, NOW, id_)


def order(*candidates: Candidate, task: str = "task", weights: Weights | None = None) -> list[str]:
    scored = rescored(candidates, task=task, weights=weights or Weights(), now=NOW)
    return [each.memory.id for each in scored]


items = st.builds(
    replace,
    st.just(LESSON),
    outcome=st.sampled_from(["success", "failure", "partial", "unknown"]),
)


@given(st.lists(items, max_size=20), st.lists(st.floats(-3, 9), min_size=20, max_size=20))
def test_a_bank_without_ratings_keeps_the_order_of_the_rule(lessons: list[MemoryItem], scores: list[float]) -> None:
    ranked = sorted(scores[: len(lessons)], reverse=True)
    candidates = [
        Candidate(kept(f"m{n}", lesson, Counters(used=n)), score, 0.5)
        for n, (lesson, score) in enumerate(zip(lessons, ranked, strict=True))
    ]
    scored = rescored(candidates, task="Fix the KeyError: failed", weights=Weights(), now=NOW)
    assert [each.memory.id for each in scored] == [f"m{n}" for n in range(len(lessons))]
    assert [each.score for each in scored] == ranked
    assert all(not each.adjustments for each in scored)


@given(st.builds(Counters, COUNTS, COUNTS, COUNTS, COUNTS))
def test_ratings_move_a_memory_by_a_bounded_amount(counters: Counters) -> None:
    weights = Weights()
    (scored,) = rescored([Candidate(kept("m", counters=counters), 1.0, 0.5)], task="task", weights=weights, now=NOW)
    assert -weights.misled / 2 <= scored.score - 1.0 <= weights.helped / 2
    assert scored.relevance == 0.5
    assert 0 < utility(counters) < 1


@given(COUNTS, COUNTS, COUNTS)
def test_each_verdict_counts_in_its_direction(helped: int, misled: int, ignored: int) -> None:
    now = utility(Counters(0, helped, misled, ignored))
    assert utility(Counters(0, helped + 1, misled, ignored)) > now
    assert utility(Counters(0, helped, misled + 1, ignored)) < utility(Counters(0, helped, misled, ignored + 1)) < now


def test_a_memory_that_misled_falls_below_an_equally_relevant_one_the_more_the_oftener() -> None:
    scored = [
        rescored([Candidate(kept("m", counters=Counters(misled=n)), 1.0, 0.5)], task="t", weights=Weights(), now=NOW)
        for n in range(5)
    ]
    assert [each[0].score for each in scored] == sorted((each[0].score for each in scored), reverse=True)
    assert order(Candidate(kept("bad", counters=Counters(misled=2)), 1.1, 0.9), Candidate(kept("new"), 1.0, 0.9)) == [
        "new",
        "bad",
    ]


def test_low_trust_gives_way_among_equals() -> None:
    low = kept("low", replace(LESSON, trust="low"))
    assert order(Candidate(low, 1.3, 0.9), Candidate(kept("m"), 1.0, 0.9)) == ["m", "low"]
    assert order(Candidate(low, 2.0, 0.9), Candidate(kept("m"), 1.0, 0.9)) == ["low", "m"]


def test_what_is_trusted_goes_before_its_near_equals() -> None:
    trusted = kept("trusted", replace(LESSON, trust="trusted"))
    assert order(Candidate(kept("m"), 1.2, 0.9), Candidate(trusted, 1.0, 0.9)) == ["trusted", "m"]
    assert order(Candidate(kept("m"), 1.3, 0.9), Candidate(trusted, 1.0, 0.9)) == ["m", "trusted"]


def test_recency_counts_only_where_it_is_asked_for() -> None:
    def at(id_: str, time: str | None, days: int = 0) -> Candidate:
        memory = kept(id_, replace(LESSON, time=time))
        return Candidate(replace(memory, created_at=NOW - timedelta(days=days)), 1.0, 0.9)

    candidates = [
        at("old", "2020-05-01"),
        at("stored", None, days=31),
        at("new", "2025-12-31"),
        at("coming", "2027-01-01"),
    ]
    assert order(*candidates) == ["old", "stored", "new", "coming"]
    weights = Weights(recency=1.0)
    assert order(*candidates, weights=weights) == ["coming", "new", "stored", "old"]
    (aged,) = rescored([at("m", None, days=30)], task="t", weights=weights, now=NOW)
    assert aged.score == pytest.approx(1.0)  # after one half-life recency is .5, which neither adds nor takes
    assert order(*candidates, weights=WEIGHTS["seed"])[-1] == "old"


def test_outcomes_count_only_where_it_is_asked_for() -> None:
    candidates = [
        Candidate(kept(outcome, replace(LESSON, outcome=outcome)), 1.0, 0.9) for outcome in ("failure", "success")
    ]
    assert order(*candidates) == ["failure", "success"]
    assert order(*candidates, weights=Weights(outcome=0.1)) == ["success", "failure"]


CONTEXT = ErrorContext("requests.exceptions.ConnectTimeout", "Connection to api.example.org timed out", "Retry")


@pytest.mark.parametrize(
    ("task", "context", "match"),
    [
        ("Sync fails with ConnectTimeout", CONTEXT, 0.5),
        ("Sync.\nConnection to api.example.org timed out after 5 s", CONTEXT, 1.0),
        ("Describe the connection to api.example.org", CONTEXT, 0.0),
        ("Fix the failing test", CONTEXT, 0.0),
        ("Fix AssertionError: failed", ErrorContext("AssertionError", "assert a == b"), 0.0),
        ("Fix the error", ErrorContext("error", "error"), 0.0),
        ("Fix the MyKeyError", ErrorContext("KeyError", ""), 0.0),
        ("command not found: uv", ErrorContext("command not found", ""), 0.5),
        ("Fix it: failed", None, 0.0),
        ("构建失败：找不到模块 requests", ErrorContext("", "找不到模块 requests"), 1.0),
    ],
)
def test_an_error_matches_by_its_name_or_by_its_message(task: str, context: ErrorContext | None, match: float) -> None:
    assert TaskErrors(task).match(replace(LESSON, error_context=context)) == match


def test_a_memory_of_the_tasks_error_comes_before_a_little_more_relevant_ones() -> None:
    fix = kept("fix", replace(LESSON, error_context=CONTEXT))
    candidates = [Candidate(kept("m"), 1.4, 0.9), Candidate(fix, 1.0, 0.9)]
    assert order(*candidates, task="Sync fails with ConnectTimeout") == ["fix", "m"]
    assert order(*candidates, task="Sync the notes") == ["m", "fix"]


def test_an_error_at_the_end_of_a_huge_task_is_read() -> None:
    task = "x" * 60_000 + "\nConnectTimeout: failed"
    assert TaskErrors(task).match(replace(LESSON, error_context=CONTEXT)) == 0.5
