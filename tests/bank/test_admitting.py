"""Nothing gets in that a search or an export could not read, also where no type checker looked."""

from dataclasses import replace
from typing import Any, cast

import pytest

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.errors import InputError
from reasoning_bank.records import JsonValue, MemoryItem, NewTrace, Query

TASK = "Make the nightly import of orders idempotent"
LESSON = MemoryItem(
    text="",
    title="Derive a key from the content",
    description="When a job may run twice on the same input.",
    content="Hash the normalised row, store the hash under a unique constraint, and skip rows that are already there.",
    tags=("import",),
    outcome="success",
)


@pytest.mark.parametrize(
    ("report", "lesson", "said"),
    [
        ({"outcome": "great"}, {}, "outcome is 'great': send one of success"),
        ({}, {"outcome": "great"}, r"memories\[0\].outcome is 'great'"),
        ({}, {"origin": "me"}, r"memories\[0\].origin is 'me'"),
        ({}, {"trust": "full"}, r"memories\[0\].trust is 'full'"),
        ({"time": float("inf")}, {}, "time is a number out of range"),
        ({"time": 10**400}, {}, "time is a number out of range"),
        ({}, {"time": float("nan")}, r"memories\[0\].time is a number out of range"),
        ({"time": "2026\x00"}, {}, "time holds a NUL"),
    ],
)
async def test_what_a_search_or_an_export_could_not_read_is_refused(
    bank: ReasoningBank, report: dict[str, Any], lesson: dict[str, Any], said: str
) -> None:
    trace = replace(NewTrace(TASK), **report)
    with pytest.raises(InputError, match=said):
        await bank.store_trace("w", trace, memories=[replace(LESSON, **lesson)])
    assert (await bank.stats("w"))["traces"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"title": 5},
        {"outcome": "great"},
        {"tags": "abc"},
        {"tags": [1]},
        {"error_context": {"x": "y"}},
        {"error_context": {"error_type": 1}},
        {"error_context": "E"},
    ],
)
async def test_an_edit_of_the_wrong_kind_changes_nothing(bank: ReasoningBank, changes: dict[str, JsonValue]) -> None:
    stored = await bank.store_trace("w", NewTrace(TASK), memories=[LESSON])
    memory_id = stored.memories[0].id or ""
    before = (await bank.get_memories("w", [memory_id]))[0].memory
    with pytest.raises(InputError):
        await bank.update_memory("w", memory_id, changes)
    assert (await bank.get_memories("w", [memory_id]))[0].memory == before


async def test_none_empties_a_field(bank: ReasoningBank) -> None:
    stored = await bank.store_trace("w", NewTrace(TASK), memories=[LESSON])
    nothing = dict.fromkeys(("description", "tags", "domain", "difficulty", "outcome", "error_context"))
    changed = await bank.update_memory("w", stored.memories[0].id or "", cast("dict[str, JsonValue]", nothing))
    item = changed.item
    assert (item.description, item.tags, item.domain, item.outcome) == ("", (), None, "unknown")
    assert (await bank.retrieve("w", Query(TASK, min_score=0))).memories[0].memory == changed
