"""Faults that were found by reading, each pinned so that it cannot come back unseen."""

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import Connection

from reasoning_bank.errors import StorageError
from reasoning_bank.records import MemoryItem, Query, Strategy
from reasoning_bank.retrieval import lexical, workspaces
from reasoning_bank.retrieval.lexical import Lengths, query_terms, term_scores
from reasoning_bank.retrieval.postings import build_segment, unpack_terms
from reasoning_bank.retrieval.retriever import Retriever
from reasoning_bank.retrieval.runner import MOST_LOST, StrategyRunner
from reasoning_bank.storage import memories
from reasoning_bank.text.analyser import Terms, analyse
from tests.retrieval.bank import START, SmallBank, caches_of, found, ids_of


def test_words_common_in_the_workspace_but_rare_among_the_candidates_are_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lexical, "PRUNE_ABOVE_MEMORIES", 10)
    wanted = [f"w{number}" for number in range(30)]
    # Every second memory holds all the words; of the candidates, the other half, one alone does.
    rows = [Terms(dict.fromkeys(wanted if row % 2 or row == 0 else ["x"], 1), {}, {}) for row in range(40)]
    table = unpack_terms([terms.packed() for terms in rows])
    mask = np.arange(40) % 2 == 0
    lengths = Lengths(table.lengths, table.lengths.mean(axis=1), int(mask.sum()))
    query = query_terms(Terms(dict.fromkeys(wanted, 1), {}, {}))
    scores = term_scores(query, (build_segment(table, 0),), lengths=lengths, mask=mask)
    assert np.flatnonzero(scores.points).tolist() == [0]
    assert scores.coverage["word"][0] == pytest.approx(1.0)


def test_words_left_out_still_count_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "ALWAYS_KEPT_TERMS", 1)
    common, rare = [f"c{number}" for number in range(20)], "rare"
    rows = [Terms(dict.fromkeys([*common, rare] if row == 0 else common, 1), {}, {}) for row in range(40)]
    table = unpack_terms([terms.packed() for terms in rows])
    lengths = Lengths(table.lengths, table.lengths.mean(axis=1), 40)
    query = query_terms(Terms(dict.fromkeys([*common, rare, "unheard"], 1), {}, {}))
    whole = term_scores(query, (build_segment(table, 0),), lengths=lengths, mask=None)
    monkeypatch.setattr(lexical, "PRUNE_ABOVE_MEMORIES", 10)
    pruned = term_scores(query, (build_segment(table, 0),), lengths=lengths, mask=None)
    assert pruned.coverage["word"][0] <= whole.coverage["word"][0]
    assert pruned.coverage["word"][0] == pytest.approx(whole.coverage["word"][0], abs=0.2)


async def test_a_memory_that_changes_during_an_explained_search_breaks_nothing(
    bank: SmallBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await bank.store("w", MemoryItem("reindex the orders table"), MemoryItem("bake a loaf of bread"))
    retriever, other = bank.retriever(), bank.retriever()
    shared = retriever._workspaces
    other._workspaces = other._searcher._workspaces = shared
    grounded = asyncio.Event()
    go_on = asyncio.Event()
    nearest = retriever._nearest

    async def paused(*arguments: object) -> object:
        grounded.set()
        await go_on.wait()
        return await nearest(*arguments)  # pyright: ignore[reportArgumentType] -- handed through

    monkeypatch.setattr(retriever, "_nearest", paused)
    searching = asyncio.create_task(retriever.retrieve("w", Query("reindex", explain=True, min_score=0)))
    await grounded.wait()

    def change(connection: Connection) -> None:
        memory = memories.by_ids(connection, "w", [ids[0]])[ids[0]]
        item = replace(memory.item, text="reindex the customers table")
        memories.update(connection, replace(memory, item=item, content_hash="other"), analyse(item))

    await bank.database.write(change)
    await other.retrieve("w", Query("anything", min_score=0))
    go_on.set()
    answer = await searching
    assert answer.explanation is not None
    assert ids[1] in {each.id for each in answer.explanation.considered}


async def test_a_memory_of_the_right_day_does_not_silence_those_that_say_the_words(bank: SmallBank) -> None:
    yesterday = (START - timedelta(hours=20)).isoformat()
    for place in ("staging", "test", "production"):
        await bank.store("w", MemoryItem(f"rotate the {place} database password", time="2025-03-01T10:00:00"))
    await bank.store("w", MemoryItem("saw a film about penguins", time=yesterday))
    answer = await bank.retriever(with_model=False).retrieve("w", Query("rotate the database password yesterday"))
    assert len(answer.memories) >= 2
    assert all("password" in each.memory.item.text for each in answer.memories[:2] if each.score > 0.5)


async def test_an_answer_cut_by_an_estimate_is_not_given_once_tokens_are_counted(bank: SmallBank) -> None:
    await bank.store("w", MemoryItem("reindex the table", content="word " * 400))
    exact = False

    def count(text: str) -> int:
        return len(text.split()) if exact else len(text) // 20

    retriever = Retriever(
        database=bank.database, model=bank.model, caches=caches_of(100), count_tokens=count, now=lambda: START
    )
    query = Query("reindex the table", min_score=0, token_budget=80)
    first = await retriever.retrieve("w", query)
    exact = True
    second = await retriever.retrieve("w", query)
    assert len(first.context.split()) > 80 >= len(second.context.split())


async def test_a_picture_that_failed_half_way_is_made_anew(bank: SmallBank, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await bank.store("w", MemoryItem("reindex the orders table"), MemoryItem("bake a loaf of bread"))
    retriever = bank.retriever()
    assert (await found(retriever, "w", Query("orders", min_score=0)))[0] == ids[0]

    def change(connection: Connection) -> None:
        memory = memories.by_ids(connection, "w", [ids[0]])[ids[0]]
        item = replace(memory.item, text="water the tomatoes")
        memories.update(connection, replace(memory, item=item, content_hash="other"), analyse(item))

    await bank.database.write(change)

    def fails(*_: object, **__: object) -> object:
        raise StorageError("the disk failed", code="io")

    with monkeypatch.context() as broken:
        broken.setattr(workspaces, "composed", fails)
        with pytest.raises(StorageError):
            await retriever.retrieve("w", Query("tomatoes", min_score=0))
    answer = await retriever.retrieve("w", Query("tomatoes", min_score=0, k=9))
    assert sorted(ids_of(answer)) == sorted(ids)
    assert retriever._workspaces.latest("w").corpus.live_count == 2  # pyright: ignore[reportOptionalMemberAccess]


async def test_forgotten_words_of_a_title_make_it_no_less_rare(bank: SmallBank) -> None:
    (hub,) = await bank.store("w", MemoryItem("read Deployment Freeze before friday", title="Checklist"))
    (linked,) = await bank.store("w", MemoryItem("no changes until monday", title="Deployment Freeze"))
    await bank.store("w", *(MemoryItem(f"note {number} on gardening and tulips") for number in range(20)))
    retriever = bank.retriever()
    for number in range(6):

        def edit(connection: Connection, number: int = number) -> None:
            memory = memories.by_ids(connection, "w", [hub])[hub]
            item = replace(memory.item, content=f"edition {number}")
            memories.update(connection, replace(memory, item=item, content_hash=f"h{number}"), analyse(item))

        await bank.database.write(edit)
        await bank.embed("w", hub)
        await retriever.retrieve("w", Query("checklist"))
    query = Query("checklist before friday", k=2, min_score=0)
    assert ids_of(await retriever.retrieve("w", query)) == ids_of(await bank.retriever().retrieve("w", query))
    assert linked in ids_of(await retriever.retrieve("w", query))


def test_strategies_that_hang_cost_themselves_only() -> None:
    hanging, runner = threading.Event(), StrategyRunner(deadline_s=0.01)
    works: dict[Strategy, object] = {"keyword": lambda: hanging.wait(60)}
    try:
        for _ in range(MOST_LOST):
            assert runner.run(works).missing == ("keyword",)  # pyright: ignore[reportArgumentType]
        assert StrategyRunner(deadline_s=60).run({"entity": lambda: 1}).found == {"entity": 1}
        assert runner.run({"entity": lambda: 1}).missing == ("entity",)
    finally:
        hanging.set()


async def test_a_model_that_breaks_unexpectedly_degrades_the_answer(
    bank: SmallBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bank.store("w", MemoryItem("reindex the orders table"))

    def breaks(_: object) -> object:
        raise ValueError("shapes do not match")

    monkeypatch.setattr(bank, "encode", breaks)
    answer = await bank.retriever().retrieve("w", Query("reindex the table", min_score=0))
    assert (len(answer.memories), answer.degraded) == (1, ("semantic",))
