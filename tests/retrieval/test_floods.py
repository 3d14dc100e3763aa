"""What many alike memories cost a search; counted, as a loaded machine tells no time."""

from dataclasses import replace

import pytest

from reasoning_bank.records import MemoryItem, Query
from tests.retrieval.bank import SmallBank, ids_of

TASK = "Reindex the orders table after a bulk insert"
FLOOD = [
    MemoryItem(TASK, content=f"Run REINDEX on the orders table at night, not while anybody writes: {n}")
    for n in range(4_500)
]
BREAD = MemoryItem("Bake sourdough bread", content="Keep the table at 24 degrees")


@pytest.mark.parametrize(
    ("flood", "query"),
    [
        ([replace(each, trust="low") for each in FLOOD], Query(TASK, min_score=0)),
        (FLOOD, Query(TASK, min_score=0, per_trace=1)),
        (FLOOD, Query(TASK, min_score=0, near_duplicates=0.8)),
        ([replace(each, trust="low") if n % 2 else each for n, each in enumerate(FLOOD)], Query(TASK, 9, per_trace=1)),
    ],
    ids=["low trust", "one trace", "near copies", "half of low trust"],
)
async def test_a_flood_is_read_once_and_not_to_its_end(bank: SmallBank, flood: list[MemoryItem], query: Query) -> None:
    await bank.store("w", *flood, embed=False)
    await bank.store("w", BREAD, embed=False)
    retriever = bank.retriever(with_model=False)
    answer = await retriever.retrieve("w", replace(query, explain=True))
    assert answer.explanation is not None
    totals = [each.fused + sum(each.adjustments.values()) for each in answer.explanation.considered]
    assert totals == sorted(totals, reverse=True)  # whenever each was read
    considered = [each.id for each in answer.explanation.considered]
    assert len(set(considered)) == len(considered) <= 4_096
    assert ids_of(answer)[0] == considered[0]
    assert len(answer.memories) < query.k  # nothing ended it early
    # Each is looked for once; a few more times for what the best of them link to.
    assert retriever._caches.memories.get_statistics()["total_requests"] <= len(considered) + 20


async def test_what_lies_behind_a_small_flood_is_found(bank: SmallBank) -> None:
    low = [replace(each, trust="low") for each in FLOOD[:1_000]]
    ids = await bank.store("w", *low, BREAD, embed=False)
    answer = await bank.retriever(with_model=False).retrieve("w", Query(TASK, min_score=0))
    assert ids_of(answer) == [ids_of(answer)[0], ids[-1]]
