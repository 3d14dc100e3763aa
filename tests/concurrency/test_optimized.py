"""`@optimized_tool`: what it saves, what it never confuses, what it tells."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from reasoning_bank.cache.registry import close_caches
from reasoning_bank.concurrency.optimized import optimized_tool
from reasoning_bank.monitoring.metrics import PerformanceMonitor


@pytest.fixture(autouse=True)
async def own_caches() -> AsyncGenerator[None]:
    yield
    await close_caches()


async def test_equal_calls_run_once_whether_together_or_one_after_the_other() -> None:
    runs, gate = 0, asyncio.Event()

    @optimized_tool(cache_ttl=300)
    async def analysis(data: dict[str, int], *, deep: bool = False) -> int:
        nonlocal runs
        runs += 1
        await gate.wait()
        return sum(data.values()) + deep

    together = [asyncio.create_task(analysis({"a": 1, "b": 2})) for _ in range(5)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*together) == [3] * 5
    assert await analysis({"b": 2, "a": 1}, deep=False) == 3
    assert await analysis({"a": 1, "b": 2}, deep=True) == 4
    assert runs == 2


def test_threads_share_a_run_too() -> None:
    runs, begun, gate = 0, threading.Event(), threading.Event()

    @optimized_tool()
    def analysis(number: int) -> int:
        nonlocal runs
        runs += 1
        begun.set()
        assert gate.wait(30)
        return number * 2

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(analysis, 21)
        assert begun.wait(30)
        others = [pool.submit(analysis, 21) for _ in range(3)]
        gate.set()
        assert [each.result(30) for each in (first, *others)] == [42] * 4
    assert runs == 1


def test_values_of_other_types_are_other_calls() -> None:
    @optimized_tool()
    def told(value: object) -> str:
        return repr(value)

    @dataclass(frozen=True)
    class Held:
        number: float

    values: list[object] = [
        1,
        1.0,
        True,
        "1",
        [1],
        (1,),
        {1: 1},
        {"1": 1},
        b"1",
        [[1], 1],
        [[1, 1]],
        Held(1),
        Held(True),
    ]
    assert [told(value) for value in values] == [repr(value) for value in values]


def test_what_cannot_be_compared_is_refused() -> None:
    @dataclass
    class Changing:
        number: int

    @optimized_tool()
    def told(value: object) -> str:
        return repr(value)

    with pytest.raises(TypeError, match="a Changing cannot be compared"):
        told([Changing(1)])


def test_an_error_is_not_kept_and_every_call_is_timed() -> None:
    monitor = PerformanceMonitor()

    @optimized_tool(observe=monitor.observe)
    def picky(number: int) -> int:
        if number < 0:
            raise ValueError("negative")
        return number

    for number in (-1, -1, 1, 1):
        try:
            picky(number)
        except ValueError:
            continue
    operations = monitor.get_statistics()["operations"]
    assert isinstance(operations, dict)
    timed = operations["tool.picky"]
    assert isinstance(timed, dict)
    assert (timed["count"], timed["errors"]) == (4, 2)


def test_the_third_equal_call_is_told(caplog: pytest.LogCaptureFixture) -> None:
    @optimized_tool()
    def told(value: int) -> int:
        return value

    with caplog.at_level(logging.WARNING):
        for value in (1, 2, 1, 3, 1):
            told(value)
    (line,) = caplog.messages
    assert "asked told the same 3 times" in line
