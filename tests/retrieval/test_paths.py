"""The same answer whichever way the vectors are searched, and whoever searches at the same time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reasoning_bank.records import MemoryItem, Query
from reasoning_bank.retrieval.planner import Search, asks_index
from reasoning_bank.storage import memories
from reasoning_bank.vectors.chroma import ChromaDBAdapter
from reasoning_bank.vectors.exact import ExactIndex
from reasoning_bank.vectors.index import Candidates, Vector
from reasoning_bank.vectors.indexer import Indexer
from tests.retrieval.bank import PATIENT, START, SmallBank, found

SUBJECTS = ("table", "index", "login", "timeout", "bread", "dough", "deploy", "freeze", "cache", "token")
TASKS = ("reindex the slow table", "login timeout", "bake bread", "deploy during a freeze", "nothing of the kind")


def lessons(first: int, count: int) -> list[MemoryItem]:
    """Different memories, half of them in sessions of four."""
    rng = np.random.default_rng(first)
    return [
        MemoryItem(
            f"Lesson {number}: {' '.join(rng.choice(SUBJECTS, 4))}",
            content=f"Do {' '.join(rng.choice(SUBJECTS, 3))} in that order",
            session=f"s{number // 4}" if number % 8 < 4 else None,
            position=number % 4 if number % 8 < 4 else None,
        )
        for number in range(first, first + count)
    ]


@pytest.fixture
async def chroma(bank: SmallBank, tmp_path: Path) -> AsyncIterator[tuple[ChromaDBAdapter, Indexer]]:
    adapter = ChromaDBAdapter(tmp_path / "vectors", timeout_s=30)
    try:
        yield adapter, Indexer(bank.database, adapter, now=lambda: START)
    finally:
        await adapter.close()


@pytest.mark.slow
async def test_exact_chroma_and_auto_answer_the_same(bank: SmallBank, chroma: tuple[ChromaDBAdapter, Indexer]) -> None:
    adapter, indexer = chroma
    ids = await bank.store("w", *lessons(0, 300))
    assert await indexer.turn()
    # What the index has not seen yet: new memories, embedded and not, and one that is gone.
    await bank.store("w", *lessons(300, 10))
    await bank.store("w", *lessons(310, 5), embed=False)
    await bank.database.write(lambda connection: memories.soft_delete(connection, "w", ids[:20], START))
    exact = bank.retriever(options=replace(PATIENT, search="exact"), index=adapter)
    asked = bank.retriever(options=replace(PATIENT, search="chroma"), index=adapter)
    large = bank.retriever(options=replace(PATIENT, search="auto", exact_limit=100), index=adapter)
    small = bank.retriever(options=replace(PATIENT, search="auto", exact_limit=1000), index=adapter)
    await large.warm("w")
    for task in TASKS:
        query = Query(task, k=10, min_score=0)
        answers = [await one.retrieve("w", query) for one in (exact, asked, large, small)]
        assert [answer.path for answer in answers] == ["exact", "chroma", "chroma", "exact"]
        assert all(answer.memories == answers[0].memories for answer in answers)


async def test_an_index_that_cannot_answer_is_not_missed(bank: SmallBank) -> None:
    await bank.store("w", *lessons(0, 30))

    class Silent(ExactIndex):
        async def nearest(self, workspace: str, query: Vector, limit: int) -> Candidates | None:
            return None

    index = Silent(model_id=bank.embedder.identity.model_id, dim=bank.embedder.identity.dim)
    answer = await bank.retriever(options=replace(PATIENT, search="chroma"), index=index).retrieve(
        "w", Query("login timeout", min_score=0)
    )
    assert answer.path == "exact"
    assert len(answer.memories) == 3


async def test_an_index_of_another_model_is_not_believed(bank: SmallBank) -> None:
    await bank.store("w", *lessons(0, 30))
    index = ExactIndex(model_id="other", dim=bank.embedder.identity.dim)
    retriever = bank.retriever(options=replace(PATIENT, search="chroma"), index=index)
    assert (await retriever.retrieve("w", Query("login timeout", min_score=0))).path == "exact"


async def test_an_index_that_has_seen_nothing_hides_nothing(bank: SmallBank) -> None:
    await bank.store("w", *lessons(0, 30))
    index = ExactIndex(model_id=bank.embedder.identity.model_id, dim=bank.embedder.identity.dim)
    retriever = bank.retriever(options=replace(PATIENT, search="chroma"), index=index)
    answer = await retriever.retrieve("w", Query("login timeout", k=10, min_score=0))
    assert answer.path == "chroma"
    assert answer.memories == (await bank.retriever().retrieve("w", Query("login timeout", k=10, min_score=0))).memories


@pytest.mark.parametrize(
    ("search", "filtered", "memories_there", "asks"),
    [
        ("exact", False, 10**6, False),
        ("auto", False, 50_000, False),
        ("auto", False, 50_001, True),
        ("auto", True, 10**6, False),
        ("chroma", False, 1, True),
        ("chroma", True, 10**6, False),
    ],
)
def test_the_index_is_asked_where_it_is_faster_or_wished(
    search: Search, filtered: bool, memories_there: int, asks: bool
) -> None:
    assert asks_index(search, filtered=filtered, memories=memories_there) is asks


async def test_searches_and_writes_at_once_see_their_own_workspace_and_all_that_was_stored(bank: SmallBank) -> None:
    """Each writer's memory is found by its next search, while others search, store and change the same bank."""
    shared = bank.retriever(cache_size=20)
    others = [bank.retriever(), bank.retriever()]

    async def work(workspace: str, number: int) -> None:
        mine: set[str] = set()
        for step in range(8):
            text = f"Lesson {number} {step} of {workspace} on {SUBJECTS[step]}"
            mine |= set(await bank.store(workspace, MemoryItem(text), embed=step % 2 == 0))
            for retriever in (shared, others[step % 2]):
                answer = await found(retriever, workspace, Query(text, k=100, min_score=0))
                assert mine <= set(answer)
        everything[workspace] |= mine

    everything: dict[str, set[str]] = {"a": set(), "b": set()}
    await asyncio.gather(*[work("ab"[number % 2], number) for number in range(6)])
    for workspace, ids in everything.items():
        for retriever in (shared, *others):
            assert set(await found(retriever, workspace, Query("lesson", k=100, min_score=0))) == ids
