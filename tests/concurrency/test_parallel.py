"""Named tasks side by side: what each came to, and that nothing is left behind."""

import asyncio
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

import anyio.from_thread
import pytest

from reasoning_bank.concurrency.parallel import run_parallel, run_parallel_sync
from reasoning_bank.errors import InputError


def fails() -> int:
    raise IndexError("no such place")


async def test_every_task_is_given_the_arguments_and_answers_by_its_name() -> None:
    async def double(number: int) -> int:
        return 2 * number

    done = await run_parallel({"double": double, "negative": lambda number: -number, "factorial": math.factorial}, 4)
    assert done.results == {"double": 8, "negative": -4, "factorial": 24}
    assert list(done.results) == ["double", "negative", "factorial"]
    assert (done.errors, done.late) == ({}, ())


async def test_partials_callable_objects_and_lambdas_around_coroutines_are_tasks_too() -> None:
    class Ask:
        async def __call__(self, who: str) -> str:
            await asyncio.sleep(0)
            return f"asked {who}"

    async def tell(what: str, who: str) -> str:
        return f"told {who} {what}"

    done = await run_parallel({"a": Ask(), "b": partial(tell, "it"), "c": lambda who: tell("all", who)}, "Ann")
    assert done.results == {"a": "asked Ann", "b": "told Ann it", "c": "told Ann all"}


async def test_one_that_fails_takes_nothing_from_the_others() -> None:
    done = await run_parallel({"good": lambda: 1, "bad": fails, "fine": lambda: 2})
    assert done.results == {"good": 1, "fine": 2}
    assert type(done.errors["bad"]) is IndexError
    assert done.late == ()


async def test_coroutines_threads_and_both_together_overlap() -> None:
    """A barrier for four opens only when four are there at once."""
    meeting, hall = threading.Barrier(4, timeout=30), asyncio.Barrier(4)

    def meet_in_threads() -> int:
        return meeting.wait()

    async def meet() -> int:
        async with asyncio.timeout(30):
            return await hall.wait()

    assert len((await run_parallel(dict.fromkeys("abcd", meet_in_threads))).results) == 4
    assert len((await run_parallel(dict.fromkeys("abcd", meet))).results) == 4


async def test_no_more_run_at_once_than_there_are_workers() -> None:
    running, most = 0, 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    done = await run_parallel(dict.fromkeys(range(20), work), max_workers=3)
    assert (len(done.results), most) == (20, 3)


async def test_what_is_late_is_named_and_what_was_in_time_is_kept() -> None:
    never = asyncio.Event()
    cancelled: list[str] = []

    async def slow() -> None:
        try:
            await never.wait()
        except asyncio.CancelledError:
            cancelled.append("slow")
            raise

    before = asyncio.all_tasks()
    done = await run_parallel(
        {"quick": lambda: 1, "slow": slow, "bad": fails, "unstarted": slow}, timeout_s=0.2, max_workers=2
    )
    assert (done.results, list(done.errors), done.late) == ({"quick": 1}, ["bad"], ("slow", "unstarted"))
    assert len(cancelled) >= 1
    assert asyncio.all_tasks() == before


async def test_a_late_thread_learns_that_nobody_listens() -> None:
    ended = threading.Event()

    def work() -> None:
        try:
            while True:
                anyio.from_thread.check_cancelled()
                time.sleep(0.001)
        finally:
            ended.set()

    done = await run_parallel({"work": work}, timeout_s=0.05)
    assert done.late == ("work",)
    assert await asyncio.to_thread(ended.wait, 30)


async def test_cancelling_the_call_cancels_every_task() -> None:
    started, cancelled = asyncio.Semaphore(0), 0

    async def work() -> None:
        nonlocal cancelled
        started.release()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise

    before = asyncio.all_tasks()
    call = asyncio.create_task(run_parallel(dict.fromkeys("abc", work)))
    for _ in "abc":
        await started.acquire()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert cancelled == 3
    assert asyncio.all_tasks() == before


async def test_processes_compute_and_say_what_went_wrong() -> None:
    tasks: dict[str, Callable[[int], object]] = {"root": math.sqrt, "fails": math.log, "elsewhere": os.strerror}
    done = await run_parallel(tasks, 0, workers="processes", max_workers=1)
    assert done.results == {"root": 0.0, "elsewhere": os.strerror(0)}
    assert type(done.errors["fails"]) is ValueError
    pids = await run_parallel({"a": os.getpid}, workers="processes")
    assert pids.results["a"] != os.getpid()


async def test_a_late_process_is_killed() -> None:
    done = await run_parallel({"ready": os.getpid}, workers="processes")
    pid = done.results["ready"]  # it waits for the next task: the one that is late
    late = await run_parallel({"wait": signal.sigwait}, {signal.SIGUSR1}, workers="processes", timeout_s=0.2)
    assert late.late == ("wait",)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_what_no_process_can_run_is_refused_by_name() -> None:
    async def ask() -> None: ...

    with pytest.raises(InputError, match="task 'ask' is a coroutine function"):
        await run_parallel({"ask": ask}, workers="processes")
    with pytest.raises(InputError, match="task 'local' cannot be sent to a process"):
        await run_parallel({"local": lambda: 1}, workers="processes")
    with pytest.raises(InputError, match=r"task 'id' cannot be sent to a process .*plain values"):
        await run_parallel({"id": id}, threading.Lock(), workers="processes")
    with pytest.raises(InputError, match="max_workers is 0"):
        await run_parallel({"sqrt": math.sqrt}, 4, max_workers=0)


def test_without_an_event_loop_it_is_a_plain_function() -> None:
    async def ask(who: str) -> str:
        return who.upper()

    done = run_parallel_sync({"ask": ask, "say": str.title}, "ann lee")
    assert done.results == {"ask": "ANN LEE", "say": "Ann Lee"}


async def test_no_tasks_are_no_results() -> None:
    none: dict[str, Callable[[], int]] = {}
    done = await run_parallel(none)
    assert (done.results, done.errors, done.late) == ({}, {}, ())
