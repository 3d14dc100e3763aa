"""Profiles tell where time, memory and statements went, of plain and of `async` functions."""

import asyncio
import inspect
import logging
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.monitoring.profiling import (
    SUSPICIOUS,
    memory_profile,
    profile,
    profile_memory,
    profile_queries,
    profile_time,
    query_profile,
)
from reasoning_bank.opening import clockwork
from reasoning_bank.storage.database import Database

WORK = 300_000


def work() -> int:
    return sum(range(WORK))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "reasoning_bank.monitoring.profiling"]


def test_a_block_that_waits_is_told_from_one_that_runs() -> None:
    with profile("work") as ran:
        work()
    with profile("wait") as waited:
        threading.Event().wait(0.05)
    assert ran.running_s > 0
    assert not ran.failed
    assert waited.seconds >= 0.05 > waited.running_s
    assert waited.waiting_s == pytest.approx(waited.seconds - waited.running_s)


def test_a_block_that_fails_is_told_too_and_its_error_passes() -> None:
    monitor = PerformanceMonitor()
    with pytest.raises(ValueError, match="boom"), profile("work", observe=monitor.observe) as spent:
        raise ValueError("boom")
    assert spent.failed
    assert monitor.snapshot().operations["work"]["start"].errors == 1


async def test_the_time_of_other_tasks_is_not_the_running_time_of_an_async_function(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While it waits the loop runs somebody else: processor time of the thread, but none of its own."""
    caplog.set_level(logging.INFO)
    others = asyncio.Event()
    found: list[tuple[str, float]] = []

    async def busy() -> None:
        while not others.is_set():
            work()
            await asyncio.sleep(0)

    @profile_time(name="answer", observe=lambda name, seconds, _failed: found.append((name, seconds)))
    async def answer() -> str:
        await asyncio.sleep(0.1)
        return "done"

    task = asyncio.create_task(busy())
    assert await answer() == "done"
    others.set()
    await task
    ((name, seconds),) = found
    assert (name, seconds >= 0.1) == ("answer", True)
    (line,) = told(caplog)
    running_s = float(line.split("running ")[1].split(" s")[0])
    assert running_s < seconds / 2


async def test_a_cancelled_async_function_is_cancelled_and_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    begun, cleaned = asyncio.Event(), asyncio.Event()

    @profile_time
    async def forever() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    task = asyncio.ensure_future(forever())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()
    assert len(told(caplog)) == 1


def test_only_calls_above_the_threshold_are_logged_and_as_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    @profile_time(threshold=30.0)
    def quick() -> int:
        return work()

    @profile_time(threshold=1e-9)
    def slow() -> int:
        return work()

    assert quick() == slow() == sum(range(WORK))
    (record,) = caplog.records
    assert (record.levelno, "slow" in record.getMessage()) == (logging.WARNING, True)


@pytest.mark.parametrize("decorator", [profile_time, profile_memory, profile_queries])
async def test_a_decorated_function_is_what_it_was(decorator: Callable[..., Any]) -> None:
    def plain(a: int, *, b: int = 2) -> int:
        """Adds."""
        return a + b

    async def asynchronous(a: int, *, b: int = 2) -> int:
        """Adds."""
        await asyncio.sleep(0)
        return a + b

    assert decorator(plain)(1, b=5) == decorator()(plain)(1, b=5) == 6
    assert await decorator(asynchronous)(1) == await decorator()(asynchronous)(1) == 3
    assert inspect.iscoroutinefunction(decorator(asynchronous))
    assert decorator(plain).__doc__ == plain.__doc__


def test_a_memory_profile_names_the_line_that_allocated_most() -> None:
    kept: list[bytearray] = []
    with memory_profile("load") as found:
        kept.append(bytearray(3_000_000))
        bytearray(5_000_000).clear()
    assert 3_000_000 <= found.kept_bytes < 3_500_000
    assert found.peak_bytes >= 8_000_000
    line, size = found.lines[0]
    assert (Path(line.rpartition(":")[0]).name, size >= 3_000_000) == (Path(__file__).name, True)
    assert not tracemalloc.is_tracing()


async def test_memory_profiles_may_overlap(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first_is_in, second_is_in = asyncio.Event(), asyncio.Event()
    kept: list[bytearray] = []

    @profile_memory
    async def first() -> None:
        first_is_in.set()
        await second_is_in.wait()

    @profile_memory
    async def second() -> None:
        await first_is_in.wait()
        second_is_in.set()
        await outer
        kept.append(bytearray(2_000_000))

    outer = asyncio.ensure_future(first())
    await second()
    assert ["first" in line for line in told(caplog)] == [True, False]
    assert "kept +19" in told(caplog)[1]
    assert not tracemalloc.is_tracing()


async def test_a_query_profile_suspects_a_query_for_each_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with Database(tmp_path / "bank.sqlite3", now=clockwork().now) as database:

        @profile_queries(name="names")
        async def names() -> list[int]:
            def read(connection: Connection) -> list[int]:
                one = text("SELECT :number + 1")
                return [connection.execute(one, {"number": number}).scalar_one() for number in range(SUSPICIOUS)]

            return await database.read(read)

        assert await names() == list(range(1, SUSPICIOUS + 1))
        with query_profile("one") as found:
            await database.read(lambda connection: connection.execute(text("SELECT 7")).scalar_one())
    line = next(line for line in told(caplog) if line.startswith("names:"))
    assert f"{SUSPICIOUS} times SELECT ? + 1" in line
    assert "SELECT 7" in [statement.sql for statement in found.statements]
    assert (found.repeated, found.seconds > 0) == ({}, True)
