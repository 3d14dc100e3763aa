"""One query to many workspaces, each searched by itself: for whoever owns the bank, never for an assistant.

No number of one workspace enters the search of another, so an answer here is exactly what each would answer alone.
Only relevance is compared, which means the same on every bank.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from reasoning_bank.records import Query, Retrieval, RetrievalEverywhere, RetrievedMemory
from reasoning_bank.retrieval.presets import under_preset
from reasoning_bank.retrieval.selection import grouped_by_trace

AT_ONCE = 4
"""Workspaces searched at the same time, so that assistants still get their turn."""


async def search_everywhere(
    search: Callable[[str, Query], Awaitable[Retrieval]], workspaces: Sequence[str], query: Query
) -> RetrievalEverywhere:
    """The k most relevant memories of some workspaces, and what each answered.

    Args:
        search: searches one workspace.
        workspaces: names, each once.
        query: asked as it is in each of them; its floor, caps and exclusions hold in each.
    """
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(workspace: str) -> Retrieval:
        async with turns:
            return await search(workspace, query)

    tasks = [asyncio.ensure_future(one(each)) for each in workspaces]
    try:
        answers = dict(zip(workspaces, await asyncio.gather(*tasks), strict=True))
    finally:
        for task in tasks:
            task.cancel()
    return RetrievalEverywhere(merged(query, answers), answers)


def merged(query: Query, answers: Mapping[str, Retrieval]) -> tuple[RetrievedMemory, ...]:
    """The k most relevant memories of all answers, best first; where a preset gives whole traces, of k traces."""
    chosen, manner = under_preset(query)
    places = [(place, each) for name in sorted(answers) for place, each in enumerate(answers[name].memories)]
    # Of equally relevant ones those come first that were first in their own workspace.
    ordered = [each for _, each in sorted(places, key=lambda placed: (-placed[1].score, placed[0]))]
    counted: set[tuple[str, str]] = set()
    best: list[RetrievedMemory] = []
    for each in ordered:
        memory = each.memory
        key = (memory.workspace, memory.trace_id if manner.whole_traces else memory.id)
        if key in counted or len(counted) < chosen.k:
            counted.add(key)
            best.append(each)
    return tuple(grouped_by_trace(best) if chosen.group_by_trace else best)
