"""What settings change in a search, and what a search of all workspaces gives."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.opening import clockwork
from reasoning_bank.records import MemoryItem, NewTrace, Query
from reasoning_bank.settings import Settings


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
