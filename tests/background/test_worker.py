"""The worker: what is queued is done, by one worker at a time, whatever fails, is cancelled or dies."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Connection

from reasoning_bank.background import OutboxWorker
from reasoning_bank.background.worker import Handler
from reasoning_bank.errors import BusyError, ModelUnavailableError, StorageError, UpstreamError
from reasoning_bank.learning.work import AT_ONCE, EMBED, promise
from reasoning_bank.monitoring.observing import Observe, unobserved
from reasoning_bank.records import JsonValue
from reasoning_bank.storage import Database, outbox
from reasoning_bank.storage.outbox import OutboxRow

WAIT_S = 10.0


class Clock:
    """Moves by hand only."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(tmp_path: Path, clock: Clock) -> AsyncIterator[Database]:
    async with Database(tmp_path / "bank" / "bank.db", durability="process", now=clock) as opened:
        yield opened


class Recorder:
    """A handler that notes what it was given, and fails or waits as told."""

    def __init__(self) -> None:
        self.batches: list[list[JsonValue]] = []
        self.poison: set[str] = set()
        self.error: Exception | None = None
        self.seen = asyncio.Event()

    async def __call__(self, rows: Sequence[OutboxRow]) -> None:
        payloads = [row.payload for row in rows]
        self.batches.append(payloads)
        self.seen.set()
        if self.error:
            raise self.error
        if self.poison & set(map(str, payloads)):
            raise ValueError("poison")


async def enqueue(database: Database, clock: Clock, *payloads: str, kind: str = "embed") -> None:
    for payload in payloads:
        await database.write(lambda conn, p=payload: outbox.enqueue(conn, "w", kind, p, now=clock()))


def worker(
    database: Database,
    clock: Clock,
    handlers: dict[str, Handler],
    *,
    owner: str = "me",
    poll_s: float = 0.01,
    lease_s: float = 60.0,
    batch: int = 32,
    observe: Observe = unobserved,
) -> OutboxWorker:
    return OutboxWorker(
        database,
        handlers,
        now=clock,
        owner=owner,
        jitter=lambda: 1.0,
        poll_s=poll_s,
        lease_s=lease_s,
        batch=batch,
        observe=observe,
    )


@asynccontextmanager
async def running(*workers: OutboxWorker) -> AsyncGenerator[None]:
    tasks = [asyncio.ensure_future(one.run()) for one in workers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_S):
        # The state is in a database, which signals nothing.
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def counts(database: Database, clock: Clock) -> tuple[int, int, int]:
    found = await database.read(lambda conn: outbox.counts(conn, now=clock()))
    return found.pending, found.leased, found.dead


async def test_queued_work_is_done_in_batches_and_in_order(database: Database, clock: Clock) -> None:
    done = Recorder()
    await enqueue(database, clock, "a", "b", "c")
    one = worker(database, clock, {"embed": done}, batch=2)
    async with running(one):
        assert await one.drain(WAIT_S)
    assert done.batches == [["a", "b"], ["c"]]
    assert await counts(database, clock) == (0, 0, 0)
    assert one.statistics()["embed"].done == 3


async def test_a_wake_beats_the_poll(database: Database, clock: Clock) -> None:
    done = Recorder()
    one = worker(database, clock, {"embed": done}, poll_s=3600)
    async with running(one):
        assert await one.drain(WAIT_S)
        await asyncio.sleep(0.02)
        await enqueue(database, clock, "a")
        one.wake()
        async with asyncio.timeout(WAIT_S):
            await done.seen.wait()


async def test_work_another_process_queued_is_found_by_polling(database: Database, clock: Clock) -> None:
    done = Recorder()
    async with running(worker(database, clock, {"embed": done})):
        await asyncio.sleep(0.02)
        await enqueue(database, clock, "a")
        async with asyncio.timeout(WAIT_S):
            await done.seen.wait()


async def test_a_slow_kind_does_not_hold_up_another(database: Database, clock: Clock) -> None:
    begun, may_end, done = asyncio.Event(), asyncio.Event(), Recorder()

    async def slow(_: Sequence[OutboxRow]) -> None:
        begun.set()
        await may_end.wait()

    await enqueue(database, clock, "slow", kind="index")
    one = worker(database, clock, {"index": slow, "embed": done})
    async with running(one), asyncio.timeout(WAIT_S):
        await begun.wait()
        await enqueue(database, clock, "quick")
        await done.seen.wait()
        may_end.set()
        assert await one.drain(WAIT_S)


async def test_other_kinds_are_left_to_other_workers(database: Database, clock: Clock) -> None:
    await enqueue(database, clock, "a", kind="unknown")
    one = worker(database, clock, {"embed": Recorder()})
    async with running(one):
        assert await one.drain(WAIT_S)
    assert await counts(database, clock) == (1, 0, 0)


async def test_a_failed_row_is_tried_alone_and_spares_its_neighbours(database: Database, clock: Clock) -> None:
    done = Recorder()
    done.poison = {"bad"}
    await enqueue(database, clock, "a", "bad", "b")
    one = worker(database, clock, {"embed": done})
    async with running(one):
        for _ in range(6):
            assert await one.drain(WAIT_S)
            clock.tick(600)
        assert await one.drain(WAIT_S)
    assert done.batches == [["a", "bad", "b"], ["a"], ["bad"], ["b"], ["bad"], ["bad"], ["bad"]]
    assert await counts(database, clock) == (0, 0, 1)
    (buried,) = await database.read(outbox.dead)
    assert buried.last_error == "ValueError: poison"
    statistics = one.statistics()["embed"]
    assert (statistics.done, statistics.dead, statistics.last_error) == (2, 1, "poison")


@pytest.mark.parametrize(
    "reason",
    [ModelUnavailableError("no weights"), BusyError("full", retry_after_s=5), UpstreamError("down", retry_after_s=9)],
)
async def test_work_that_must_wait_is_not_blamed(database: Database, clock: Clock, reason: Exception) -> None:
    done = Recorder()
    done.error = reason
    await enqueue(database, clock, "a")
    one = worker(database, clock, {"embed": done})
    async with running(one):
        for _ in range(8):
            assert await one.drain(WAIT_S)
            clock.tick(60)
        done.error = None
        assert await one.drain(WAIT_S)
    assert len(done.batches) >= 9
    assert await counts(database, clock) == (0, 0, 0)


async def test_cancelling_gives_unfinished_work_back_at_once(database: Database, clock: Clock) -> None:
    begun = asyncio.Event()

    async def hangs(_: Sequence[OutboxRow]) -> None:
        begun.set()
        await asyncio.Event().wait()

    await enqueue(database, clock, "a")
    async with running(worker(database, clock, {"embed": hangs})), asyncio.timeout(WAIT_S):
        await begun.wait()
        assert await counts(database, clock) == (0, 1, 0)
    assert await counts(database, clock) == (1, 0, 0)
    done = Recorder()
    other = worker(database, clock, {"embed": done}, owner="other")
    async with running(other):
        assert await other.drain(WAIT_S)
    assert done.batches == [["a"]]


async def test_cancelling_while_work_is_being_taken_leaves_none_leased(database: Database, clock: Clock) -> None:
    claiming, may_claim = threading.Event(), threading.Event()

    def blocks(_: Connection) -> None:
        claiming.set()
        assert may_claim.wait(WAIT_S)

    async def hangs(_: Sequence[OutboxRow]) -> None:
        await asyncio.Event().wait()

    await enqueue(database, clock, "a")
    blocked = asyncio.ensure_future(database.write(blocks))
    await asyncio.to_thread(claiming.wait, WAIT_S)
    task = asyncio.ensure_future(worker(database, clock, {"embed": hangs}).run())
    # The claim is the only write that can wait behind the one that is held.
    await until(lambda: asyncio.sleep(0, database._ready().writer._jobs.qsize() > 0))
    task.cancel()
    await asyncio.sleep(0)
    may_claim.set()
    await asyncio.wait({task, blocked}, timeout=WAIT_S)
    await database.write(lambda _: None)  # after the claim, which went on
    assert await counts(database, clock) == (1, 0, 0)


async def test_long_work_keeps_its_lease_by_heartbeats(database: Database, clock: Clock) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def long(_: Sequence[OutboxRow]) -> None:
        begun.set()
        await may_end.wait()

    async def renewed() -> bool:
        return await counts(database, clock) == (0, 1, 0)

    await enqueue(database, clock, "a")
    one = worker(database, clock, {"embed": long}, lease_s=0.3)
    async with running(one), asyncio.timeout(WAIT_S):
        await begun.wait()
        for _ in range(3):
            clock.tick(0.31)  # past the lease: only a heartbeat after this moment makes it a lease again
            await until(renewed)
        may_end.set()
        assert await one.drain(WAIT_S)
    assert one.statistics()["embed"].done == 1


async def test_two_workers_share_the_work_and_none_is_done_twice(database: Database, clock: Clock) -> None:
    mine, yours = Recorder(), Recorder()
    await enqueue(database, clock, *(f"n{place}" for place in range(40)))
    workers = [
        worker(database, clock, {"embed": mine}, owner="me", batch=3),
        worker(database, clock, {"embed": yours}, owner="you", batch=3),
    ]
    async with running(*workers):
        assert await workers[0].drain(WAIT_S)
    everything = [payload for recorder in (mine, yours) for batch in recorder.batches for payload in batch]
    assert sorted(map(str, everything)) == sorted(f"n{place}" for place in range(40))


async def test_a_dead_workers_lease_is_taken_over(database: Database, clock: Clock) -> None:
    await enqueue(database, clock, "a")
    await database.write(lambda conn: outbox.claim(conn, "killed", "embed", now=clock()))
    done = Recorder()
    one = worker(database, clock, {"embed": done})
    async with running(one):
        assert not await one.drain(0.05), "leased work is under way, for all we know"
        clock.tick(61)
        assert await one.drain(WAIT_S)
    assert done.batches == [["a"]]


async def test_a_bank_that_cannot_be_written_for_a_while_stops_nothing(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, real, failures = Recorder(), database.write, iter(range(3))

    async def sometimes(work: Callable[..., object]) -> object:
        if next(failures, None) is not None:
            raise StorageError("the disk is full", code="full")
        return await real(work)

    await enqueue(database, clock, "a")
    monkeypatch.setattr(database, "write", sometimes)
    one = worker(database, clock, {"embed": done})
    async with running(one):
        assert await one.drain(WAIT_S)
    assert await counts(database, clock) == (0, 0, 0)


async def test_each_kind_tells_what_it_took_and_how_long_its_rows_had_waited(database: Database, clock: Clock) -> None:
    observed: list[tuple[str, float, bool]] = []

    def observe(name: str, seconds: float, failed: bool) -> None:
        observed.append((name, seconds, failed))

    done, waits, fails = Recorder(), Recorder(), Recorder()
    waits.error, fails.error = BusyError("not now", retry_after_s=9), ValueError("bug")
    await enqueue(database, clock, "a")
    clock.tick(3)
    await enqueue(database, clock, "b")
    clock.tick(4)
    for kind in ("waits", "fails"):
        await enqueue(database, clock, "c", kind=kind)
    one = worker(database, clock, {"embed": done, "waits": waits, "fails": fails}, observe=observe)
    async with running(one):
        assert await one.drain(WAIT_S)
    assert [seconds for name, seconds, _ in observed if name == "queue.embed.wait"] == [7, 4]
    outcomes = {name: failed for name, _, failed in observed if not name.endswith(".wait")}
    assert outcomes == {"queue.embed": False, "queue.waits": False, "queue.fails": True}
    of = one.statistics()
    assert (of["embed"].waited_s, of["embed"].batches, of["waits"].postponed, of["fails"].failed) == (11, 1, 1, 1)
    assert of["embed"].handler_s == sum(seconds for name, seconds, _ in observed if name == "queue.embed")


IMPORTS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from reasoning_bank.learning.work import EMBED, promise
from reasoning_bank.storage import Database, outbox

now = lambda: datetime.now(UTC)
database = Database(Path(sys.argv[1]), durability="process", now=now)
database.open()
for start in range(0, 5000, 500):
    ids = [f"imported {number}" for number in range(start, start + 500)]
    database.write_now(lambda c: promise(c, "w", EMBED, ids, now=now(), priority=outbox.BULK))
database.close()
"""


async def test_what_was_just_stored_goes_before_an_import_of_another_process(tmp_path: Path) -> None:
    """5,000 imported memories wait; what is stored while the first of them are embedded comes next."""

    def now() -> datetime:
        return datetime.now(UTC)

    path = tmp_path / "bank" / "bank.db"
    batches: list[list[str]] = []
    stored = asyncio.Event()
    async with Database(path, durability="process", now=now) as database:
        importing = await asyncio.create_subprocess_exec(sys.executable, "-c", IMPORTS, str(path))
        assert await asyncio.wait_for(importing.wait(), WAIT_S * 6) == 0

        async def embed(rows: Sequence[OutboxRow]) -> None:
            batches.append([id_ for row in rows for id_ in cast("dict[str, list[str]]", row.payload)["ids"]])
            if len(batches) == 1:
                await database.write(lambda c: promise(c, "w", EMBED, ["fresh"], now=now()))
            elif "fresh" in batches[-1]:
                stored.set()

        one = OutboxWorker(database, {EMBED: embed}, now=now, owner="me", jitter=lambda: 0.5)
        async with running(one), asyncio.timeout(WAIT_S * 6):
            await stored.wait()
        left = await database.read(lambda c: outbox.counts(c, now=now()).pending)
    assert [len(batch) for batch in batches[:1]] == [32 * AT_ONCE], "a batch keeps a model busy for a moment only"
    assert batches[1][0] == "fresh"
    assert left > 1000


WORKS_AND_HANGS = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from reasoning_bank.background import OutboxWorker
from reasoning_bank.storage import Database

async def hangs(rows):
    print("BEGUN", rows[0].payload, flush=True)
    await asyncio.sleep(600)

async def main():
    now = lambda: datetime.now(UTC)
    async with Database(Path(sys.argv[1]), now=now) as database:
        await OutboxWorker(database, {"embed": hangs}, now=now, owner="child", jitter=lambda: 0.5, lease_s=0.5).run()

asyncio.run(main())
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
async def test_work_of_a_killed_process_is_finished_by_another(tmp_path: Path) -> None:
    def now() -> datetime:
        return datetime.now(UTC)

    path = tmp_path / "bank" / "bank.db"
    async with Database(path, durability="process", now=now) as database:
        await database.write(lambda conn: outbox.enqueue(conn, "w", "embed", "a", now=now()))
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKS_AND_HANGS, str(path), stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        assert await asyncio.wait_for(child.stdout.readline(), WAIT_S * 3) == b"BEGUN a\n"
        child.send_signal(signal.SIGKILL)
        await child.wait()
        done = Recorder()
        one = OutboxWorker(database, {"embed": done}, now=now, owner="other", jitter=lambda: 0.5, poll_s=0.02)
        async with running(one):
            assert await one.drain(WAIT_S)
        assert done.batches == [["a"]]
