import asyncio

import pytest

from reasoning_bank.cache.flight import SingleFlight


class Work:
    """Counts its runs and ends when it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.started = asyncio.Event()
        self.gate = asyncio.Event()

    async def __call__(self) -> int:
        self.runs += 1
        self.started.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.runs


async def waiting(flight: SingleFlight[int], work: Work, *keys: str) -> "list[asyncio.Task[int]]":
    calls = [asyncio.create_task(flight.do((key,), work)) for key in keys]
    await work.started.wait()
    await asyncio.sleep(0)
    return calls


async def test_equal_calls_at_once_do_the_work_once() -> None:
    flight, work = SingleFlight[int](), Work()
    calls = await waiting(flight, work, "a", "a", "a")
    work.gate.set()
    assert await asyncio.gather(*calls) == [1, 1, 1]
    assert flight.shared == 2


async def test_other_calls_and_later_calls_do_their_own() -> None:
    flight, work = SingleFlight[int](), Work()
    calls = await waiting(flight, work, "a", "b")
    work.gate.set()
    assert await asyncio.gather(*calls) == [2, 2]
    assert await flight.do(("a",), work) == 3


async def test_a_cancelled_leader_harms_nobody() -> None:
    flight, work = SingleFlight[int](), Work()
    leader, follower = await waiting(flight, work, "a", "a")
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    work.gate.set()
    assert await follower == 1
    assert not work.cancelled


async def test_work_nobody_waits_for_any_more_is_called_off() -> None:
    flight, work = SingleFlight[int](), Work()
    for call in (calls := await waiting(flight, work, "a", "a")):
        call.cancel()
    assert [type(each) for each in await asyncio.gather(*calls, return_exceptions=True)] == [asyncio.CancelledError] * 2
    work.gate.set()
    assert await flight.do(("a",), work) == 2
    assert work.cancelled == 1


async def test_an_error_reaches_all_and_is_not_kept() -> None:
    flight = SingleFlight[int]()
    gate = asyncio.Event()

    async def fails() -> int:
        await gate.wait()
        raise LookupError("no")

    calls = [asyncio.create_task(flight.do(("a",), fails)) for _ in range(2)]
    await asyncio.sleep(0)
    gate.set()
    assert [str(each) for each in await asyncio.gather(*calls, return_exceptions=True)] == ["no", "no"]
    work = Work()
    work.gate.set()
    assert await flight.do(("a",), work) == 1
