"""The caches of a bank: by name, apart by bank and settings, shown and emptied; answers never differ."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.cli import cli
from reasoning_bank.errors import InputError, NotFoundError
from reasoning_bank.opening.caching import balancer, configurations
from reasoning_bank.records import Counters, MemoryItem, NewTrace, Query, Retrieval, RetrievedMemory
from reasoning_bank.settings import load_settings
from reasoning_bank.storage import lineage

ADVICE = "Add an index on the column of the filter: without one every report reads the whole table."
QUERY = Query("which index do the reports need?", min_score=0)
TASK = "speed up the reports"
OFF: dict[str, Any] = {"enabled": False}
IN_FILES: dict[str, Any] = {
    name: {"backend": "hybrid" if name == "retrieval" else "file"} for name in ("retrieval", "queries", "profiles")
}
Open = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def open_bank(
        cache: dict[str, Any] | None = None, retrieval: dict[str, Any] | None = None
    ) -> AsyncGenerator[ReasoningBank]:
        settings = await asyncio.to_thread(
            load_settings,
            data_dir=tmp_path / "bank",
            embeddings={"backend": "hashing", "query_wait_ms": 60_000},  # nothing is late on a busy machine
            retrieval={"deadline_ms": 60_000, **(retrieval or {})},
            compression={"tokenizer": "estimated"},
            vectors={"chroma_mode": "off"},
            cache=cache or {},
        )
        async with ReasoningBank(settings) as bank:
            yield bank

    return open_bank


def without_uses(found: Retrieval) -> list[RetrievedMemory]:
    """What was found, but for counters that are counted while it is compared."""
    return [replace(each, memory=replace(each.memory, counters=Counters())) for each in found.memories]


async def store(bank: ReasoningBank, workspace: str = "w", title: str = "Index the filter") -> str:
    item = MemoryItem(text="", title=title, description="when reports are slow", content=ADVICE, tags=("sql",))
    stored = await bank.store_trace(workspace, NewTrace(task=TASK, outcome="success"), memories=[item])
    return stored.memories[0].id or ""


async def test_answers_in_files_outlive_the_process_and_are_as_without_caches(opened: Open) -> None:
    async with opened() as bank:
        kept = await store(bank)
        await bank.wait_until_searchable(timeout_s=30)
    async with opened(OFF) as bank:
        await bank.wait_until_searchable(timeout_s=30)
        plain = await bank.retrieve("w", QUERY)
        detail = (await bank.get_memories("w", [kept]))[0]
        short = await bank.compress(ADVICE * 20, ratio=0.3, query="index")
        about = await bank.profile("w")
    for cached in (False, True):
        async with opened(IN_FILES) as bank:
            await bank.wait_until_searchable(timeout_s=30)
            await bank.rooms.retriever.warm("w")
            found = await bank.retrieve("w", QUERY)
            assert found.cached == cached
            assert without_uses(found) == without_uses(plain)
            assert found.context == plain.context
            (again,) = await bank.get_memories("w", [kept])
            used = replace(again.memory.counters, used=detail.memory.counters.used)
            assert replace(again, memory=replace(again.memory, counters=used)) == detail
            assert await bank.compress(ADVICE * 20, ratio=0.3, query="index") == short
            assert await bank.profile("w") == about
            hits = {name: said["hits"] for name, said in (await bank.rooms.caches.statistics()).items()}
            assert (hits["profiles"], hits["retrieval"]) == ((1, 1) if cached else (0, 0))
    async with opened(IN_FILES, retrieval={"floor": 0.4}) as bank:
        await bank.wait_until_searchable(timeout_s=30)
        await bank.rooms.retriever.warm("w")
        assert not (await bank.retrieve("w", QUERY)).cached, "other settings may answer otherwise"


async def test_a_memory_in_full_is_read_once_and_again_after_whatever_it_shows_changed(opened: Open) -> None:
    async with opened() as bank:
        kept = await store(bank)
        await bank.wait_until_searchable(timeout_s=30)
        first, again = [await bank.get_memories("w", [kept]) for _ in range(2)]
        assert first == again
        tools = bank.rooms.caches.tools.memory
        assert tools is not None
        assert tools.get_statistics()["hits"] == 1
        await bank.retrieve("w", QUERY)
        await bank.rooms.usage.flush()
        (used,) = await bank.get_memories("w", [kept])
        assert used.memory.counters.used == 1
        assert tools.get_statistics()["hits"] == 2, "a use is no change"
        await bank.rate("w", [kept], "helped")
        assert (await bank.get_memories("w", [kept]))[0].memory.counters.helped == 1
        now = bank.rooms.retriever._now()
        add = partial(lineage.add_sources, workspace="w", id_=kept, trace_ids=["tr_other"], now=now)
        await bank.rooms.database.write(add)
        assert len((await bank.get_memories("w", [kept]))[0].genealogy.sources) == 2
        await bank.update_memory("w", kept, {"title": "Index every filter"})
        assert (await bank.get_memories("w", [kept]))[0].memory.item.title == "Index every filter"
        with pytest.raises(NotFoundError, match="m_none"):
            await bank.get_memories("w", [kept, "m_none"])
        with pytest.raises(NotFoundError):
            await bank.get_memories("v", [kept])


async def test_a_profile_says_what_a_workspace_is_about_now(opened: Open) -> None:
    async with opened() as bank:
        kept = await store(bank)
        await store(bank, "v", "Another workspace")
        await bank.wait_until_searchable(timeout_s=30)
        profile = await bank.profile("w")
        assert (profile.counts.memories, profile.tags, profile.outcomes) == (1, {"sql": 1}, {"success": 1})
        assert profile.top == ()
        assert await bank.profile("w") is profile
        await bank.rate("w", [kept], "helped")
        assert [each.id for each in (await bank.profile("w")).top] == [kept]
        assert (await bank.profile("nobody")).counts.memories == 0


async def test_every_cache_is_named_shown_counted_and_emptied(opened: Open) -> None:
    async with opened() as bank:
        await store(bank)
        await bank.wait_until_searchable(timeout_s=30)
        await bank.rooms.retriever.warm("w")
        for _ in range(2):
            await bank.retrieve("w", QUERY)
        caches = bank.rooms.caches
        said: Any = await caches.statistics()
        assert set(said) == set(bank.settings.cache.named())
        assert said["retrieval"]["hits"] == 1
        assert said["retrieval"]["saved_s"] > 0
        assert caches.counters()["retrieval.hits"] == 1
        assert caches.gauges()["retrieval.entries"]() == 1
        stats: Any = await bank.stats("w")
        assert stats["caches"].keys() == said.keys()
        await caches.clear("retrieval", workspace="other")
        assert caches.gauges()["retrieval.entries"]() == 1
        await caches.clear("retrieval")
        assert caches.gauges()["retrieval.entries"]() == 0
        with pytest.raises(InputError, match="no cache 'none': there are memories"):
            await caches.clear("none")


async def test_caches_that_adapt_are_resized_in_an_open_bank(opened: Open) -> None:
    async with opened({"auto_size": True, "memory_mb": 50}) as bank:
        assert "cache sizes" in {task.name for task in bank.rooms.tasks}
        memories = bank.rooms.caches.memories
        assert memories.config.adaptive_ttl > 1
        watched = balancer(bank.rooms.caches, bank.rooms.settings)._watched
        assert set(watched) == set(bank.settings.cache.named()) - {"llm"}


async def test_copies_of_what_is_shared_take_their_part_of_the_memory_of_all(opened: Open) -> None:
    shared = {"backend": "hybrid", "max_mb": 30}
    async with opened({"auto_size": True, "memory_mb": 50, "retrieval": shared, "queries": shared}) as bank:
        grows = balancer(bank.rooms.caches, bank.rooms.settings)
        configs = configurations(bank.settings)
        copies = sum(configs[name].max_bytes or 0 for name in ("retrieval", "queries"))
        assert copies > 0
        assert grows._budget + copies <= 50 * 2**20
        held = [each.config.max_bytes or 0 for each in bank.rooms.caches.named().values() if each.memory is not None]
        assert sum(held) <= grows._budget


def test_the_memory_of_all_caches_together_is_bounded() -> None:
    settings = load_settings(cache={"memory_mb": 10, "llm": {"backend": "file", "max_mb": 64}})
    bytes_ = {name: config.max_bytes or 0 for name, config in configurations(settings).items()}
    assert sum(size for name, size in bytes_.items() if name != "llm") <= 10 * 2**20
    assert bytes_["llm"] == 64 * 2**20
    off = configurations(load_settings(cache={"enabled": False}))
    assert not any(config.enabled for config in off.values())


def test_a_person_sees_the_caches_and_empties_what_outlives_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REASONING_BANK_DATA_DIR", str(tmp_path / "bank"))
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["cache", *arguments], catch_exceptions=False, standalone_mode=False)
        assert done.exception is None
        return done.output

    assert "retrieval" in run("stats")
    assert json.loads(run("stats", "--json"))["llm"]["backend"] == "file"
    assert run("clear") == "llm: 0 entries dropped\n"
    assert "nothing to empty" in run("clear", "memories")
