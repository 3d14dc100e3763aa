"""What is read before anyone asks, in a real bank."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.errors import NotFoundError
from reasoning_bank.records import JsonValue, MemoryItem, NewTrace, Query
from reasoning_bank.retrieval.ahead import Prefetcher
from reasoning_bank.settings import Settings, load_settings

QUERY = Query("reports on tables", k=3, min_score=0, detail="index")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "bank", embeddings={"backend": "hashing"}, vectors={"chroma_mode": "off"})


async def fill(bank: ReasoningBank) -> None:
    said = ["Index the filter of slow reports", "Cache the reports of yesterday", "Split reports on large tables",
            "Run reports on a replica", "Cancel reports that nobody waits for"]  # fmt: skip
    items = [MemoryItem(text="", title=each, content=f"{each}, or the tables are read as a whole.") for each in said]
    await bank.store_trace("w", NewTrace(task="reports", outcome="success"), memories=items)
    await bank.wait_until_searchable(timeout_s=30)


async def hits(bank: Any, name: str) -> int:
    return (await bank.rooms.caches.statistics())[name]["hits"]


async def test_the_hits_of_a_list_and_what_their_trace_taught_too_are_read_before_they_are_asked(
    settings: Settings,
) -> None:
    async with ReasoningBank(settings) as bank:
        await fill(bank)
        found = await bank.retrieve("w", QUERY)
        details = bank.rooms.caches.tools.memory
        assert details is not None
        async with asyncio.timeout(30):
            while details.get_statistics()["cache_size"] < 5:  # noqa: ASYNC110 -- nobody is told
                await asyncio.sleep(0.01)
        await bank.get_memories("w", [each.memory.id for each in found.memories])
        assert await hits(bank, "tools") == 3


async def test_what_was_in_use_is_in_memory_after_the_start(settings: Settings) -> None:
    async with ReasoningBank(settings) as bank:
        await fill(bank)
        await bank.retrieve("w", QUERY)
    for warm, known in ((False, 0), ("w", 3), (True, 3)):
        async with ReasoningBank(settings) as bank:
            await bank.rooms.warmer.run(warm) if warm else None
            memories = bank.rooms.caches.memories.memory
            assert memories is not None
            assert memories.get_statistics()["cache_size"] == known
            assert (bank.rooms.retriever._workspaces.latest("w") is not None) == bool(warm)


async def test_a_full_queue_gives_up_what_waits_longest_and_errors_end_nothing() -> None:
    read: list[tuple[str, ...]] = []
    done = asyncio.Event()

    async def load(workspace: str, ids: Sequence[str]) -> None:
        read.append(tuple(ids))
        if ids == ("19",):
            raise NotFoundError(workspace)
        if ids == ("4",):
            done.set()

    queue = Prefetcher(load)
    for number in range(20):
        queue.offer("w", [str(number)])
    queue.offer("w", [])
    assert queue.counters() == {"done": 0, "dropped": 4}
    running = asyncio.create_task(queue.run())
    await asyncio.wait_for(done.wait(), 30)
    running.cancel()
    assert [int(ids[0]) for ids in read] == list(range(19, 3, -1))
    assert queue.counters() == {"done": 15, "dropped": 4}


async def test_memories_of_long_traces_are_read_each_time_and_not_ahead(settings: Settings) -> None:
    """To know what memory a long trajectory takes, the event loop would look through all of it."""
    async with ReasoningBank(settings) as bank:
        steps: list[JsonValue] = [{"thought": f"look at the plan of query {number}"} for number in range(1_000)]
        lesson = MemoryItem(text="", title="Index the filter of slow reports", content="Add an index on its column.")
        told = NewTrace(task="reports", outcome="success", trajectory=steps)
        id_ = (await bank.store_trace("w", told, memories=[lesson])).memories[0].id or ""
        for _ in range(2):
            (detail,) = await bank.get_memories("w", [id_])
            assert detail.trace.report.trajectory == steps
        await bank.rooms.reader.ahead("w", [id_])
        details = bank.rooms.caches.tools.memory
        assert details is not None
        assert (details.get_statistics()["cache_size"], details.get_statistics()["hits"]) == (0, 0)
