"""Lists of queries, prompts and traces: in order, each by itself, traces together."""

import pytest

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.compression.results import Compression
from reasoning_bank.errors import InputError
from reasoning_bank.learning.recording import Told
from reasoning_bank.records import MemoryItem, NewTrace, Query, Retrieval, StoreResult


def told(number: int) -> Told:
    lesson = MemoryItem(
        text="", title=f"Lesson {number} about widget{number}", content=f"Turn screw number {number} of widget{number}."
    )
    return Told(NewTrace(task=f"Repair widget{number}", outcome="success"), [lesson])


async def test_many_queries_are_answered_in_their_order(bank: ReasoningBank) -> None:
    await bank.batches.store_traces("w", [told(number) for number in range(20)])
    queries = [Query(f"Repair widget{number}", k=1, min_score=0) for number in range(20)]
    many = await bank.batches.retrieve_many("w", [*queries, Query(" ")])
    each = [await bank.retrieve("w", query) for query in queries]
    found = [answer for answer in many if isinstance(answer, Retrieval)]
    assert [[one.memory.id for one in answer.memories] for answer in found] == [
        [one.memory.id for one in answer.memories] for answer in each
    ]
    assert isinstance(many[20], InputError)


async def test_many_traces_are_stored_once_and_one_that_is_refused_takes_nothing_from_them(bank: ReasoningBank) -> None:
    bad = Told(NewTrace(task=" "))
    first = await bank.batches.store_traces("w", [told(1), bad, told(2)])
    again = await bank.batches.store_traces("w", [told(2), told(1), told(3)])
    assert isinstance(first[1], InputError)
    kept = [result for result in (first[0], first[2], *again) if isinstance(result, StoreResult)]
    one, two, two_again, one_again, three = kept
    assert (one_again.trace_id, two_again.trace_id) == (one.trace_id, two.trace_id)
    assert (one_again.replayed, two_again.replayed, three.replayed) == (True, True, False)


async def test_many_prompts_are_compressed_with_the_same_options(bank: ReasoningBank) -> None:
    prompts = ["The cat sat on the mat. " * 30, "", "Dogs bark at night. " * 30]
    short = await bank.batches.compress_many(prompts, ratio=0.5)
    assert isinstance(short[1], InputError)
    for prompt, answer in zip(prompts[::2], short[::2], strict=True):
        assert isinstance(answer, Compression)
        assert answer == await bank.compress(prompt, ratio=0.5)


async def test_a_workspace_without_a_name_is_refused(bank: ReasoningBank) -> None:
    with pytest.raises(InputError, match="workspace"):
        await bank.batches.store_traces(" ", [told(1)])
