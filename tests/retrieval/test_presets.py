from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

from reasoning_bank.records import Counters, Memory, MemoryItem, Preset, Query, RetrievedMemory
from reasoning_bank.retrieval.presets import PRESETS, under_preset, with_whole_traces
from reasoning_bank.retrieval.selection import hidden_reason

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
            kept("bad", "u", counters=Counters(misled=9)),
        ],
    }
    found = [RetrievedMemory(traces["t"][1], 0.9), RetrievedMemory(traces["u"][0], 0.8)]
    whole = with_whole_traces(
        found,
        read_trace=traces.__getitem__,
        hidden=lambda memory: hidden_reason(memory, workspace="w", now=NOW),
    )
    assert [(each.memory.id, each.score) for each in whole] == [("a", 0.9), ("b", 0.9), ("c", 0.9), ("d", 0.8)]


def test_a_failure_that_a_past_task_taught_comes_as_a_warning() -> None:
    best, failed = kept("a"), kept("b", item=MemoryItem("task", title="b", outcome="failure"))
    whole = with_whole_traces([RetrievedMemory(best, 0.9)], read_trace=lambda _: [best, failed], hidden=lambda _: None)
    assert whole[1].warning == "This failed before."
