"""What settings change in a search, and what a search of all workspaces gives."""

import asyncio
import gc
import weakref
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import reasoning_bank
from reasoning_bank.bank import ReasoningBank
from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.errors import InputError, NotFoundError, StorageError
from reasoning_bank.opening import clockwork, counting
from reasoning_bank.records import Counters, Memory, MemoryItem, NewTrace, Query, Retrieval, RetrievedMemory
from reasoning_bank.retrieval.everywhere import AT_ONCE, merged, search_everywhere
from reasoning_bank.settings import Settings
from reasoning_bank.text.tokens import counter


def lesson(title: str, **about: Any) -> MemoryItem:
    return MemoryItem(text="", title=title, content=f"{title}, as the runbook says, and check twice.", **about)


async def stored(bank: ReasoningBank, workspace: str, *lessons: MemoryItem, task: str = "Rotate the password") -> None:
    await bank.store_trace(workspace, NewTrace(task=task), memories=lessons)


@pytest.mark.parametrize(
    ("chosen", "moved_by"),
    [
        ({}, {}),
        ({"scoring": "seed"}, {"recency": 2.5}),
        ({"recency": 1.0}, {"recency": 0.5}),
        ({"scoring": "seed", "recency": 0}, {}),
    ],
)
async def test_how_much_age_counts_is_a_setting(
    settings: Settings, chosen: dict[str, Any], moved_by: dict[str, float]
) -> None:
    """A memory of 100 years ago with a half-life of as long gains half of the weight."""
    retrieval = settings.retrieval.model_copy(update={"half_life_days": 36_500, **chosen})
    clock = replace(clockwork(), now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    async with ReasoningBank(settings.model_copy(update={"retrieval": retrieval}), clock=clock) as bank:
        report = NewTrace(task="Rotate the password", time="1926-01-01")
        await bank.store_trace("w", report, memories=[lesson("Rotate slowly")])
        found = await bank.retrieve("w", Query("Rotate the password", min_score=0, explain=True))
    assert found.explanation is not None
    (considered,) = found.explanation.considered
    assert considered.adjustments == pytest.approx(moved_by, abs=0.01)


@pytest.fixture
async def three(bank: ReasoningBank) -> ReasoningBank:
    """Three workspaces that know more and less of passwords, and one that knows nothing of them."""
    await stored(bank, "ops", lesson("Rotate the database password in two steps"))
    await stored(bank, "web", lesson("Rotate the session secret"), task="Replace the session secret of the web login")
    await stored(bank, "mail", lesson("Rotate the mail password at night"), lesson("Rotate the mail relay's password"))
    await stored(bank, "kitchen", lesson("Feed the sourdough"), task="Bake bread")
    await bank.wait_until_searchable(timeout_s=5)
    return bank


QUERY = Query("Rotate the database password", k=3)


async def test_a_search_everywhere_gives_the_most_relevant_of_all_and_whose_each_is(three: ReasoningBank) -> None:
    found = await three.retrieve_everywhere(QUERY)
    assert found.memories[0].memory.workspace == "ops"
    scores = [each.score for each in found.memories]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert list(found.answers) == ["kitchen", "mail", "ops", "web"]
    left_out = [one for each in found.answers.values() for one in each.memories if one not in found.memories]
    assert all(one.score <= scores[-1] for one in left_out)


async def test_each_workspace_answers_in_it_what_it_answers_alone_before_and_after(three: ReasoningBank) -> None:
    names = ("ops", "web", "mail", "kitchen")
    before = {name: (await three.retrieve(name, QUERY)).memories for name in names}
    everywhere = await three.retrieve_everywhere(QUERY)
    after = {name: await three.retrieve(name, QUERY) for name in names}
    for name in names:
        assert before[name] == everywhere.answers[name].memories == after[name].memories
        assert {each.memory.workspace for each in after[name].memories} <= {name}
        assert all(each.memory.id in after[name].context for each in after[name].memories)


async def test_what_is_found_everywhere_in_an_empty_cache_stays_in_its_workspace(three: ReasoningBank) -> None:
    await three.retrieve_everywhere(QUERY)
    for name in ("ops", "web", "mail", "kitchen", "new"):
        found = await three.retrieve(name, QUERY)
        assert {each.memory.workspace for each in found.memories} <= {name}


async def test_a_search_everywhere_counts_as_no_use(three: ReasoningBank) -> None:
    found = await three.retrieve_everywhere(QUERY)
    await three.rooms.usage.flush()
    for each in found.memories:
        (detail,) = await three.get_memories(each.memory.workspace, [each.memory.id])
        assert detail.memory.counters.used == 0


async def test_a_search_everywhere_can_be_of_some_workspaces(three: ReasoningBank) -> None:
    found = await three.retrieve_everywhere(QUERY, workspaces=["web", "mail", "web"])
    assert list(found.answers) == ["web", "mail"]
    assert {each.memory.workspace for each in found.memories} <= {"web", "mail"}
    assert (await three.retrieve_everywhere(QUERY, workspaces=[])).memories == ()
    with pytest.raises(NotFoundError, match="no workspace 'mial', 'wbe'"):
        await three.retrieve_everywhere(QUERY, workspaces=["wbe", "ops", "mial"])
    with pytest.raises(InputError, match="near_duplicates is 3"):
        await three.retrieve_everywhere(replace(QUERY, near_duplicates=3))


async def test_a_search_everywhere_counts_experiences_where_its_preset_does(three: ReasoningBank) -> None:
    query = Query("Rotate the password", preset="paper", min_score=0)
    found = await three.retrieve_everywhere(query, workspaces=["mail", "kitchen"])
    assert [each.memory.workspace for each in found.memories] == ["mail", "mail"]


async def test_a_block_is_made_once_for_the_same_memories_of_a_workspace(three: ReasoningBank) -> None:
    found = (await three.retrieve("mail", replace(QUERY, min_score=0))).memories
    kept = three.rooms.caches.for_searches().contexts
    before = kept.get_statistics()
    blocks = [three.context_block("mail", found, token_budget=90) for _ in range(3)]
    after = kept.get_statistics()
    assert len(set(blocks)) == 1
    assert (after["hits"] - before["hits"], after["misses"] - before["misses"]) == (2, 1)
    three.context_block("ops", found, token_budget=90)
    assert kept.get_statistics()["misses"] == after["misses"] + 1


async def test_a_bank_may_read_a_workspace_before_anyone_searches_it(settings: Settings) -> None:
    async with ReasoningBank(settings) as bank:
        await stored(bank, "ops", lesson("Rotate the database password"))
    async with ReasoningBank(settings, warm="ops") as bank, asyncio.timeout(60):
        while bank.rooms.retriever._workspaces.latest("ops") is None:  # noqa: ASYNC110 -- it announces nothing
            await asyncio.sleep(0.01)


async def test_how_many_workspaces_stay_in_memory_is_a_setting(settings: Settings) -> None:
    few = settings.model_copy(update={"cache": settings.cache.model_copy(update={"workspaces": 1})})
    async with ReasoningBank(few) as bank:
        for name in ("ops", "web"):
            await bank.retrieve(name, QUERY)
        assert [bank.rooms.retriever._workspaces.latest(name) is None for name in ("ops", "web")] == [True, False]


class Text(str):
    """A text that says when nobody holds it any more."""

    __slots__ = ("__weakref__",)


def test_counting_tokens_keeps_no_text_of_any_workspace() -> None:
    count = counting(counter("estimated"), MemoryCache())
    text = Text("Rotate the database password \ud800")
    gone, tokens = weakref.ref(text), count(text)
    del text
    gc.collect()
    assert gone() is None
    assert count("Rotate the database password \ud800") == tokens > 0


def test_equally_relevant_memories_come_by_their_place_and_whole_traces_stay_whole() -> None:
    found = {name: _answer(name, [(0.9, "t1"), (0.9, "t2"), (0.5, "t2")]) for name in ("b", "a")}
    four = [(each.memory.workspace, each.memory.id) for each in merged(Query("x", k=4), found)]
    assert four == [("a", "a0"), ("b", "b0"), ("a", "a1"), ("b", "b1")]
    alike = {name: _answer(name, [(0.9, "t1"), (0.9, "t1")]) for name in ("b", "a")}
    assert [each.memory.id for each in merged(Query("x", preset="paper"), alike)] == ["a0", "a1"]


def _answer(workspace: str, found: list[tuple[float, str]]) -> Retrieval:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    memories = [
        Memory(f"{workspace}{place}", workspace, trace, lesson("x"), Counters(), moment, moment, f"{workspace}{place}")
        for place, (_, trace) in enumerate(found)
    ]
    scored = zip(memories, [score for score, _ in found], strict=True)
    return Retrieval(tuple(RetrievedMemory(each, score) for each, score in scored), "", 0, (), "none", {})


async def test_no_more_than_four_workspaces_are_searched_at_once_and_an_error_stops_the_others() -> None:
    running, most, gate = 0, 0, asyncio.Event()

    async def search(workspace: str, query: Query) -> Retrieval:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        try:
            if running == AT_ONCE:
                gate.set()
            await gate.wait()
            if workspace == "5":
                raise StorageError("it cannot be read", code="io")
            return Retrieval((), "", 0, (), "none", {})
        finally:
            running -= 1

    names = [str(number) for number in range(9)]
    with pytest.raises(StorageError):
        await search_everywhere(search, names, QUERY)
    await asyncio.sleep(0)
    assert (most, running) == (AT_ONCE, 0)


def test_no_client_can_search_everywhere() -> None:
    """Over the protocol a caller sees the one workspace that is theirs."""
    surface = Path(reasoning_bank.__file__).parent / "mcp"
    reaching = [path.name for path in surface.rglob("*.py") if "everywhere" in path.read_text(encoding="utf-8")]
    assert reaching == []
