from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import get_args

from reasoning_bank.records import Counters, Memory, MemoryItem, Preset, Query, RetrievedMemory
from reasoning_bank.retrieval.presets import MOST_OF_TRACE, PRESETS, under_preset, with_whole_traces
from reasoning_bank.retrieval.selection import Limits, hidden_reason
from tests.retrieval.bank import SmallBank, found, ids_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def kept(id_: str, trace: str = "t", **changes: object) -> Memory:
    memory = Memory(id_, "w", trace, MemoryItem("task", title=id_), Counters(), NOW, NOW, f"hash of {id_}")
    return replace(memory, **changes)


def test_every_preset_is_known() -> None:
    assert set(PRESETS) == set(get_args(Preset))


def test_the_default_preset_changes_nothing() -> None:
    query = Query("task", k=7, explain=True)
    assert under_preset(query) == (query, PRESETS["default"])


def test_a_preset_changes_what_the_caller_left_open() -> None:
    query, manner = under_preset(Query("task", preset="paper"))
    assert (query.k, query.per_trace, manner.whole_traces) == (1, 1, True)
    query, manner = under_preset(Query("task", preset="conversation"))
    assert (query.k, query.group_by_trace, manner.whole_traces) == (10, True, False)
    assert under_preset(Query("task", k=5, preset="conversation"))[0].k == 5


def test_a_past_task_comes_with_all_it_taught() -> None:
    traces = {
        "t": [kept("b"), kept("a"), kept("gone", deleted_at=NOW), kept("c")],
        "u": [
            kept("d", "u"),
            kept("copy", "u", content_hash="hash of d"),
            kept("bad", "u", item=MemoryItem("task", title="bad", trust="quarantined")),
        ],
    }
    found = [RetrievedMemory(traces["t"][1], 0.9), RetrievedMemory(traces["u"][0], 0.8)]
    whole = with_whole_traces(
        found,
        read_trace=traces.__getitem__,
        limits=Limits(k=2, floor=0.5, per_trace=1),
        hidden=lambda memory: hidden_reason(memory, workspace="w", now=NOW),
    )
    assert [(each.memory.id, each.score) for each in whole] == [("a", 0.9), ("b", 0.9), ("c", 0.9), ("d", 0.8)]


def test_a_failure_that_a_past_task_taught_comes_as_a_warning() -> None:
    best, failed = kept("a"), kept("b", item=MemoryItem("task", title="b", outcome="failure"))
    whole = with_whole_traces(
        [RetrievedMemory(best, 0.9)],
        read_trace=lambda _: [best, failed],
        limits=Limits(k=1, floor=0.5),
        hidden=lambda _: None,
    )
    assert whole[1].warning == "This failed before."


async def test_the_paper_preset_answers_with_all_lessons_of_the_nearest_past_task(bank: SmallBank) -> None:
    nearest = await bank.store("w", *lessons("reindex the slow table", 3))
    await bank.store("w", *lessons("bake sourdough bread", 3))
    # Words in the content count by default, never here: the task alone is the key.
    await bank.store("w", MemoryItem("rotate the logs", title="Logs", content="reindex the slow table"))
    query = Query("reindex the slow table", preset="paper", min_score=0, explain=True)
    answer = await bank.retriever().retrieve("w", query)
    assert sorted(ids_of(answer)) == sorted(nearest)
    assert len({each.score for each in answer.memories}) == 1
    assert answer.explanation is not None
    assert answer.explanation.plan["strategies"] == ["semantic"]
    two = await bank.retriever().retrieve("w", replace(query, k=2))
    assert len({each.memory.trace_id for each in two.memories}) == 2
    assert sorted(ids_of(two)[:3]) == sorted(nearest)


async def test_what_a_past_task_brings_passes_the_filters_of_the_query(bank: SmallBank) -> None:
    first, second, third = lessons("reindex the slow table", 3)
    items = [
        replace(first, tags=("sql",)),
        replace(second, tags=("sql",), outcome="failure"),
        replace(third, actor="Ann", domain="data"),
        replace(first, content="Nothing of the kind", actor="Ann", trust="low", time="2024-05-01T00:00:00Z"),
        replace(first, content="Quite another matter altogether", actor="Bob", trust="low"),
    ]
    ids = await bank.store("w", *items)
    query = Query("reindex the slow table", preset="paper", min_score=0)
    sql, failure, third_id, *low = ids
    trusted = {sql, failure, third_id}
    for changes, expected in [
        ({"include_failures": False}, trusted - {failure}),
        ({"outcome": "failure"}, {failure}),
        ({"tags": ("sql",)}, {sql, failure}),
        ({"domain": "Data"}, {third_id}),
        ({"until": datetime(2025, 1, 1, tzinfo=UTC)}, {low[0]}),
        ({"exclude_ids": (sql, third_id)}, {failure}),
        ({"per_actor": 1}, trusted),
    ]:
        answered = await found(bank.retriever(), "w", replace(query, **changes))
        assert set(answered) - set(low) == expected - set(low), changes
        assert set(answered) <= expected | set(low), changes
        assert len(set(answered) & set(low)) <= 1, changes


async def test_a_past_task_of_many_turns_brings_few_and_few_are_read(bank: SmallBank) -> None:
    ids = await bank.store("w", *[MemoryItem(f"table number {n}") for n in range(200)])
    retriever = bank.retriever()
    answer = await retriever.retrieve("w", Query("table number 150", preset="paper", min_score=0))
    assert ids_of(answer) == [ids[150], *ids[: MOST_OF_TRACE - 1]]
    assert retriever._caches.memories.get_statistics()["total_requests"] <= 100


async def test_the_paper_preset_compares_by_cosine_alone(bank: SmallBank) -> None:
    texts = ["how do I fix it?", "what?", "fix the login", "login timeout after the deploy of the web client", "login"]
    ids = [id_ for text in texts for id_ in await bank.store("w", MemoryItem(text))]
    vectors = bank.encode([*texts, "fix the login timeout"])
    cosines = dict(zip(ids, (vectors[:-1] @ vectors[-1]).tolist(), strict=True))
    query = Query("fix the login timeout", preset="paper", k=5, min_score=0)
    assert await found(bank.retriever(), "w", query) == sorted(ids, key=lambda each: -cosines[each])


async def test_the_conversation_preset_answers_with_turns_in_their_order(bank: SmallBank) -> None:
    said = ["where is the table?", "the table is in the hall", "who moved the table?", "the cat is asleep"]
    talks = [
        await bank.store("w", *(turn(f"{text} {talk}", n, f"s{talk}") for n, text in reversed(list(enumerate(said)))))
        for talk in range(3)
    ]
    answer = await bank.retriever().retrieve("w", Query("where is the table?", preset="conversation", min_score=0))
    assert len(answer.memories) == 10
    traces = [each.memory.trace_id for each in answer.memories]
    assert len([each for each, _ in groupby(traces)]) == len(set(traces)) == len(talks)
    for _, group in groupby(answer.memories, key=lambda each: each.memory.trace_id):
        positions = [each.memory.item.position or 0 for each in group]
        assert positions == sorted(positions)
    default = await bank.retriever().retrieve("w", Query("where is the table?", k=10, min_score=0))
    assert set(ids_of(default)) == set(ids_of(answer))


def lessons(task: str, count: int) -> list[MemoryItem]:
    return [MemoryItem(task, title=f"Strategy {n}", content=f"Advice {n} for those who {task}") for n in range(count)]


def turn(text: str, position: int, session: str) -> MemoryItem:
    return MemoryItem(text, session=session, position=position)
