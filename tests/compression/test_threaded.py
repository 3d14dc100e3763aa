"""A compressor on an event loop: it asks the model there, tells how far it is, and stops when nobody waits."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.compression.results import Compression
from reasoning_bank.compression.threaded import ThreadedCompressor
from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.embeddings.switch import RunningModel
from reasoning_bank.text.tokens import counter

PROMPT = " ".join(f"On day {n} the visitors of group {n} walked through garden {n} and liked it." for n in range(80))


@pytest.fixture
async def model(hashing: Embedder) -> AsyncIterator[RunningModel]:
    async with RunningModel(hashing) as running:
        yield running


def threaded(model: RunningModel | None) -> ThreadedCompressor:
    compressor = PromptCompressor(tokenizer=counter("estimated"))
    return ThreadedCompressor(compressor, model=lambda: model, model_wait_s=5)


async def test_the_same_units_are_embedded_once(model: RunningModel) -> None:
    compressor = threaded(model)
    first = await compressor.compress(PROMPT, ratio=0.3, query="garden 7")
    embedded = model.generator.statistics().embedded
    again = await compressor.compress(PROMPT, ratio=0.3, query="garden 7")
    assert first == again
    assert first.degraded == ()
    assert embedded > 1
    assert model.generator.statistics().embedded == embedded


async def test_without_a_model_words_decide_and_the_answer_says_so() -> None:
    result = await threaded(None).compress(PROMPT, ratio=0.3, query="garden 7")
    assert result.degraded == ("semantic",)
    assert "garden 7 " in result.text


async def test_progress_is_told_on_the_loop_and_ends_at_one(model: RunningModel) -> None:
    seen: list[float] = []

    async def report(done: float) -> None:
        asyncio.get_running_loop()
        seen.append(done)

    await threaded(model).compress(PROMPT, ratio=0.3, query="garden 7", report=report)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


async def test_work_that_nobody_waits_for_ends_at_its_next_step(model: RunningModel) -> None:
    reached = asyncio.Event()
    seen: list[float] = []

    async def report(done: float) -> None:
        seen.append(done)
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(threaded(model).compress(PROMPT, ratio=0.3, query="garden 7", report=report))
    async with asyncio.timeout(30):
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(seen) == 1


async def test_the_same_asked_by_several_at_once_is_done_once_whoever_leaves(model: RunningModel) -> None:
    compressor = threaded(model)
    begun = asyncio.Event()
    told: dict[str, list[float]] = {"leader": [], "follower": []}

    async def report(who: str, done: float) -> None:
        told[who].append(done)
        begun.set()

    def asked(who: str) -> asyncio.Task[Compression]:
        return asyncio.create_task(compressor.compress(PROMPT, ratio=0.3, report=partial(report, who)))

    leader, follower, other = asked("leader"), asked("follower"), asked("follower")
    async with asyncio.timeout(30):
        await begun.wait()
        leader.cancel()
        results = await asyncio.gather(follower, other)
    assert results[0] is results[1]
    assert leader.cancelled()
    assert told["follower"][-2:] == [1.0, 1.0]
