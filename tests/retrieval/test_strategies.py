"""Each strategy on its own thread with a deadline: one that fails or hangs is named, and the others answer."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from reasoning_bank.records import MemoryItem, Query, Strategy
from reasoning_bank.retrieval import search
from reasoning_bank.retrieval.options import RetrievalOptions
from reasoning_bank.retrieval.runner import StrategyRunner
from reasoning_bank.retrieval.workspaces import Workspaces
from tests.retrieval.bank import SmallBank, ids_of

TASK = "why does parse_config() fail since last week?"
ITEMS = (
    MemoryItem("parse_config fails on empty files", content="call parse_config(default={})", time="2025-12-24"),
    MemoryItem("Bake sourdough bread with a long fermentation", content="Keep the dough at 24 degrees"),
    MemoryItem("Fix the login timeout of the web client", content="Do not raise the timeout"),
)
FUNCTIONS = {"semantic": "by_meaning", "keyword": "by_keyword", "temporal": "by_time", "entity": "by_entity"}


@pytest.fixture
def patient() -> StrategyRunner:
    return StrategyRunner(deadline_s=60)


def test_every_strategy_can_be_broken_here() -> None:
    assert set(FUNCTIONS) == set(get_args(Strategy))


def test_works_run_at_once(patient: StrategyRunner) -> None:
    both = threading.Barrier(2)
    outcome = patient.run({"keyword": both.wait, "entity": both.wait})
    assert set(outcome.found) == {"keyword", "entity"}
    assert outcome.missing == ()
    assert set(outcome.took_ms) == {"keyword", "entity"}


def test_a_work_that_raises_is_missing(patient: StrategyRunner, caplog: pytest.LogCaptureFixture) -> None:
    works: dict[Strategy, Callable[[], float]] = {"entity": lambda: 1 / 0, "temporal": lambda: 7}
    outcome = patient.run(works)
    assert outcome.found == {"temporal": 7}
    assert outcome.missing == ("entity",)
    assert "the entity strategy failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_work_that_hangs_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    hanging, runner = threading.Event(), StrategyRunner(deadline_s=0.05)
    try:
        outcome = runner.run({"keyword": lambda: hanging.wait(60)})
    finally:
        hanging.set()
    assert (outcome.found, outcome.missing) == ({}, ("keyword",))
    assert "the keyword strategy took too long" in caplog.text


def test_no_work_is_no_trouble(patient: StrategyRunner) -> None:
    outcome = patient.run(dict[Strategy, Callable[[], int]]())
    assert (outcome.found, outcome.missing) == ({}, ())


@pytest.mark.parametrize("broken", sorted(FUNCTIONS))
async def test_a_strategy_that_raises_is_named_and_the_others_answer(
    bank: SmallBank, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of order")

    ids = await bank.store("w", *ITEMS)
    monkeypatch.setattr(search, FUNCTIONS[broken], fail)
    answer = await bank.retriever().retrieve("w", Query(TASK, min_score=0))
    assert answer.degraded == (broken,)
    assert ids_of(answer)[0] == ids[0]
    assert broken not in {each for served in answer.contributors for each in served}


@pytest.mark.parametrize("late", sorted(FUNCTIONS))
async def test_a_strategy_that_hangs_is_named_and_the_others_answer(
    bank: SmallBank, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    hanging = threading.Event()

    def hang(*_: Any, **__: Any) -> None:
        hanging.wait(60)

    await bank.store("w", *ITEMS)
    monkeypatch.setattr(search, FUNCTIONS[late], hang)
    retriever = bank.retriever(options=RetrievalOptions(deadline_s=0.5))
    try:
        answer = await retriever.retrieve("w", Query(TASK, min_score=0))
    finally:
        hanging.set()
    assert late in answer.degraded
    assert len(answer.memories) == len(ITEMS)


async def test_a_damaged_index_of_words_costs_the_strategies_that_read_it_only(
    bank: SmallBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = Workspaces.current

    def damaged(*arguments: Any) -> Any:
        picture = current(*arguments)
        segments = tuple(replace(each, rows=np.empty(0, np.int32)) for each in picture.corpus.segments)
        return replace(picture, corpus=replace(picture.corpus, segments=segments))

    ids = await bank.store("w", *ITEMS)
    monkeypatch.setattr(Workspaces, "current", damaged)
    answer = await bank.retriever().retrieve("w", Query("how do I fix the login timeout of our client?", min_score=0))
    assert answer.degraded == ("keyword",)
    assert ids_of(answer)[0] == ids[2]


async def test_a_degraded_answer_is_not_given_again(bank: SmallBank, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of order")

    await bank.store("w", *ITEMS)
    retriever = bank.retriever()
    query = Query("fix the login timeout", min_score=0)
    with monkeypatch.context() as patch:
        patch.setattr(search, "by_keyword", fail)
        assert (await retriever.retrieve("w", query)).degraded == ("keyword",)
    answer = await retriever.retrieve("w", query)
    assert answer.degraded == ()
    assert not answer.cached


async def test_a_bank_whose_model_cannot_tell_answers_by_words(bank: SmallBank) -> None:
    ids = await bank.store("w", *ITEMS)
    bank.ready = False
    answer = await bank.retriever().retrieve("w", Query("login timeout of the web client", min_score=0))
    assert answer.degraded == ("semantic",)
    assert answer.path == "none"
    assert ids_of(answer)[0] == ids[2]
