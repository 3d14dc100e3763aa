"""What was answered before is given again as long as it is right, and work that several ask for is done once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from reasoning_bank.embeddings.embedder import Vectors
from reasoning_bank.records import MemoryItem, Query, Retrieval
from reasoning_bank.retrieval.retriever import Retriever
from reasoning_bank.storage import feedback, memories
from reasoning_bank.storage.database import Database
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash
from tests.retrieval.bank import PATIENT, START, SmallBank, ids_of

QUERY = Query("reindex the slow table", min_score=0, k=10)
TABLE = MemoryItem("reindex the slow table", content="at night")
BREAD = MemoryItem("bake bread", content="knead the dough")
Write = Literal["store", "forget", "undo", "rate", "update"]


@dataclass(frozen=True, slots=True)
class Writer:
    """Changes a bank through one of the databases open on its file."""

    bank: SmallBank
    workspace: str

    async def write(self, kind: Write, ids: Sequence[str], text: str = "reindex the slow table at once") -> None:
        database, workspace = self.bank.database, self.workspace
        match kind:
            case "store":
                await self.bank.store(workspace, MemoryItem(text))
            case "forget":
                await database.write(lambda c: memories.soft_delete(c, workspace, ids, START))
            case "undo":
                await database.write(lambda c: memories.undelete(c, workspace, ids, START))
            case "rate":
                await database.write(lambda c: [feedback.add(c, workspace, ids, "misled", now=START) for _ in range(9)])
            case "update":
                await database.write(lambda c: self._updated(c, ids[0], text))

    def _updated(self, connection: Connection, id_: str, text: str) -> None:
        memory = memories.by_ids(connection, self.workspace, [id_])[id_]
        item = replace(memory.item, text=text)
        memories.update(connection, replace(memory, item=item, content_hash=content_hash(item)), analyse(item))


def same(answer: Retrieval) -> Retrieval:
    """An answer without what may differ between two right ones: times, where it came from, and uses counted."""
    served = tuple(
        replace(each, memory=replace(each.memory, counters=replace(each.memory.counters, used=0)))
        for each in answer.memories
    )
    return replace(answer, memories=served, timings_ms={}, cached=False)


async def test_the_same_question_is_answered_again_from_what_is_kept(bank: SmallBank) -> None:
    await bank.store("w", TABLE, BREAD)
    retriever = bank.retriever()
    first, again = [await retriever.retrieve("w", QUERY) for _ in range(2)]
    assert (first.cached, again.cached) == (False, True)
    assert same(again) == same(first)
    assert set(again.timings_ms) == {"total"}


@pytest.mark.parametrize(
    "other",
    [
        replace(QUERY, task="bake bread"),
        replace(QUERY, k=1),
        replace(QUERY, token_budget=60),
        replace(QUERY, min_score=0.9),
        replace(QUERY, detail="index"),
        replace(QUERY, explain=True),
        replace(QUERY, preset="paper"),
        replace(QUERY, exclude_ids=("m000002",)),
        replace(QUERY, outcome="failure"),
        replace(QUERY, until=START - timedelta(days=1)),
    ],
)
async def test_any_other_question_is_another_search(bank: SmallBank, other: Query) -> None:
    await bank.store("w", TABLE, BREAD)
    retriever = bank.retriever()
    await retriever.retrieve("w", QUERY)
    answer = await retriever.retrieve("w", other)
    assert not answer.cached
    assert same(answer) == same(await bank.retriever().retrieve("w", other))


async def test_white_space_around_a_task_is_no_other_question(bank: SmallBank) -> None:
    await bank.store("w", TABLE)
    retriever = bank.retriever()
    await retriever.retrieve("w", QUERY)
    assert (await retriever.retrieve("w", replace(QUERY, task=f"  {QUERY.task}\n"))).cached


async def test_nothing_is_kept_where_time_decides(bank: SmallBank) -> None:
    """The same words mean another day tomorrow, and what is valid now may not be then."""
    await bank.store("w", TABLE)
    await bank.store("v", replace(TABLE, valid_to=START + timedelta(hours=1)))
    hours = count()
    retriever = bank.retriever(now=lambda: START + timedelta(hours=next(hours)))
    for query in (Query("which table was slow yesterday?", min_score=0),) * 2:
        assert not (await retriever.retrieve("w", query)).cached
    hours = count()
    assert len((await retriever.retrieve("v", QUERY)).memories) == 1
    assert (await retriever.retrieve("v", QUERY)).memories == ()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same process", "another process"])
@pytest.mark.parametrize("kind", ["store", "forget", "undo", "rate", "update"])
async def test_a_write_is_seen_by_the_next_search(bank: SmallBank, kind: Write, elsewhere: bool) -> None:
    ids = await bank.store("w", TABLE, BREAD)
    retriever = bank.retriever()
    if kind == "undo":
        await Writer(bank, "w").write("forget", ids[:1])
    before = [await retriever.retrieve("w", QUERY) for _ in range(2)][-1]
    assert before.cached
    if elsewhere:
        async with Database(bank.database.path, durability="process", now=lambda: START) as second:
            await Writer(SmallBank(second, bank.embedder, first=100), "w").write(kind, ids[:1])
    else:
        await Writer(bank, "w").write(kind, ids[:1])
    after = await retriever.retrieve("w", QUERY)
    assert not after.cached
    assert same(after) != same(before)
    assert same(after) == same(await bank.retriever().retrieve("w", QUERY))


async def test_a_write_elsewhere_in_the_bank_costs_no_kept_answer(bank: SmallBank) -> None:
    await bank.store("w", TABLE)
    await bank.store("v", TABLE)
    retriever = bank.retriever()
    await retriever.retrieve("w", QUERY)
    await bank.store("v", BREAD)
    assert (await retriever.retrieve("w", QUERY)).cached


async def test_what_would_take_much_memory_is_answered_anew_and_alike(bank: SmallBank) -> None:
    await bank.store("w", *(MemoryItem(f"reindex the slow table {n}", content=f"{n} " * 9_000) for n in range(4)))
    retriever = bank.retriever()
    for budget, detail in [(0, "full"), (60, "full"), (60, "index")]:  # a short context of long memories holds them all
        query = replace(QUERY, token_budget=budget, detail=detail)
        first, again = [await retriever.retrieve("w", query) for _ in range(2)]
        assert len(first.memories) == 4
        assert not again.cached
        assert same(again) == same(first)
    assert (await retriever._caches.retrieval.statistics())["cache_size"] == 0
    assert retriever._caches.contexts.get_statistics()["cache_size"] == 2
    one = replace(QUERY, k=1)
    assert [(await retriever.retrieve("w", one)).cached for _ in range(2)] == [False, True]


async def test_counting_uses_costs_no_kept_answer(bank: SmallBank) -> None:
    ids = await bank.store("w", TABLE)
    retriever = bank.retriever()
    await retriever.retrieve("w", QUERY)
    await bank.database.write(lambda c: memories.add_used(c, "w", ids))
    assert (await retriever.retrieve("w", QUERY)).cached


async def test_a_workspace_asked_again_and_again_is_in_use(bank: SmallBank) -> None:
    for workspace in "abc":
        await bank.store(workspace, TABLE)
    retriever = bank.retriever(options=replace(PATIENT, workspaces=2))
    # The second time "a" is answered from what is kept; when "c" comes, "b" is unused for longer.
    answers = [await retriever.retrieve(workspace, QUERY) for workspace in "abaca"]
    assert [each.cached for each in answers] == [False, False, True, False, True]


async def test_a_look_at_every_workspace_leaves_those_in_use_in_memory(bank: SmallBank) -> None:
    for workspace in "abcdef":
        await bank.store(workspace, TABLE)
    retriever = bank.retriever(options=replace(PATIENT, workspaces=2))
    before = {workspace: await retriever.retrieve(workspace, QUERY) for workspace in "ab"}
    looks = await asyncio.gather(*(retriever.visit(workspace, QUERY) for workspace in "fedcbacc"))
    assert [len(each.memories) for each in looks] == [1] * 8
    assert [retriever._workspaces.latest(each) is not None for each in "cdef"] == [False] * 4
    for workspace in "ab":
        answer = await retriever.retrieve(workspace, QUERY)
        assert answer.cached
        assert same(answer) == same(before[workspace])


async def test_after_a_look_at_a_workspace_its_writes_are_seen(bank: SmallBank) -> None:
    (first,) = await bank.store("w", TABLE)
    retriever = bank.retriever()
    assert ids_of(await retriever.visit("w", QUERY)) == [first]
    await Writer(bank, "w").write("update", [first])
    answer = await retriever.retrieve("w", QUERY)
    assert answer.memories[0].memory.item.text == "reindex the slow table at once"
    assert retriever._workspaces.latest("w") is not None


class Gate:
    """Holds the model until it is opened, so that what happens meanwhile is certain."""

    def __init__(self, bank: SmallBank) -> None:
        self.opened = asyncio.Event()
        self.arrivals: asyncio.Queue[None] = asyncio.Queue()
        self.calls = 0
        self._bank = bank

    def retriever(self) -> Retriever:
        """A retriever whose model waits at the gate."""
        model = self._bank.model()

        async def embed(texts: Sequence[str]) -> Vectors:
            self.calls += 1
            self.arrivals.put_nowait(None)
            await self.opened.wait()
            return await model.embed(texts)

        retriever = self._bank.retriever()
        retriever._model = lambda: replace(model, embed=embed)
        return retriever


async def test_equal_searches_at_once_are_one(bank: SmallBank) -> None:
    await bank.store("w", TABLE, BREAD)
    gate = Gate(bank)
    retriever = gate.retriever()
    asked = [asyncio.create_task(retriever.retrieve("w", QUERY)) for _ in range(5)]
    await gate.arrivals.get()
    while retriever.flight.shared < 4:  # noqa: ASYNC110 -- nobody is told who comes aboard
        await asyncio.sleep(0)
    gate.opened.set()
    answers = await asyncio.gather(*asked)
    assert gate.calls == 1
    assert all(same(each) == same(answers[0]) for each in answers)


async def test_who_asked_first_and_gave_up_harms_nobody(bank: SmallBank) -> None:
    await bank.store("w", TABLE, BREAD)
    gate = Gate(bank)
    retriever = gate.retriever()
    leader = asyncio.create_task(retriever.retrieve("w", QUERY))
    await gate.arrivals.get()
    others = [asyncio.create_task(retriever.retrieve("w", QUERY)) for _ in range(3)]
    while retriever.flight.shared < 3:  # noqa: ASYNC110 -- nobody is told who comes aboard
        await asyncio.sleep(0)
    leader.cancel()
    await asyncio.wait([leader])
    gate.opened.set()
    answers = await asyncio.gather(*others)
    assert leader.cancelled()
    assert gate.calls == 1
    assert [len(each.memories) for each in answers] == [2, 2, 2]
    assert all(each.degraded == () for each in answers)


async def test_a_search_that_all_gave_up_leaves_nothing_behind(bank: SmallBank) -> None:
    await bank.store("w", TABLE)
    gate = Gate(bank)
    retriever = gate.retriever()
    alone = asyncio.create_task(retriever.retrieve("w", QUERY))
    await gate.arrivals.get()
    alone.cancel()
    await asyncio.wait([alone])
    gate.opened.set()
    answer = await retriever.retrieve("w", QUERY)
    assert not answer.cached
    assert len(answer.memories) == 1


async def test_who_asks_after_a_write_does_not_board_a_search_from_before_it(bank: SmallBank) -> None:
    await bank.store("w", TABLE)
    gate = Gate(bank)
    retriever = gate.retriever()
    before = asyncio.create_task(retriever.retrieve("w", QUERY))
    await gate.arrivals.get()
    (stored,) = await bank.store("w", replace(TABLE, content="in the morning"))
    after = asyncio.create_task(retriever.retrieve("w", QUERY))
    await gate.arrivals.get()
    gate.opened.set()
    await before
    assert stored in ids_of(await after)
    assert stored in ids_of(await retriever.retrieve("w", QUERY))


WORDS = st.sampled_from(["reindex", "slow", "table", "bake", "bread", "parse_rows", "timeout", "yesterday", "the"])
TEXTS = st.lists(WORDS, min_size=1, max_size=5).map(" ".join)
ITEMS = st.builds(
    MemoryItem,
    text=TEXTS,
    title=st.sampled_from(["", "Slow table", "Bread"]),
    content=st.just("") | TEXTS,
    tags=st.sampled_from([(), ("sql",)]),
    outcome=st.sampled_from(["success", "failure"]),
    session=st.sampled_from([None, "s"]),
    position=st.integers(0, 5),
    trust=st.sampled_from(["normal", "low"]),
)
QUERIES = st.builds(
    Query,
    task=TEXTS,
    k=st.integers(1, 4),
    min_score=st.sampled_from([None, 0]),
    tags=st.sampled_from([(), ("sql",)]),
    preset=st.sampled_from(["default", "paper", "conversation"]),
    detail=st.sampled_from(["full", "index"]),
    explain=st.booleans(),
    include_failures=st.booleans(),
)
STEPS = st.one_of(QUERIES, st.tuples(st.sampled_from(["store", "forget", "undo", "rate", "update"]), st.integers(0, 9)))
NUMBERS = count()


@given(st.lists(ITEMS, min_size=1, max_size=6), st.lists(STEPS, min_size=1, max_size=8), QUERIES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_caches_change_no_answer(
    bank: SmallBank, items: list[MemoryItem], steps: list[Query | tuple[Write, int]], query: Query
) -> None:
    workspace = f"w{next(NUMBERS)}"
    ids = await bank.store(workspace, *items)
    keeping, forgetting = (bank.retriever(cache_size=size) for size in (100, 0))
    writer = Writer(bank, workspace)
    for step in (query, query, *steps, query, query):
        if isinstance(step, tuple):
            kind, number = step
            await writer.write(kind, [ids[number % len(ids)]], text=f"slow bread number {number}")
        else:
            one, other = [await each.retrieve(workspace, step) for each in (keeping, forgetting)]
            assert not other.cached
            assert same(one) == same(other)
