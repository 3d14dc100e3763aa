"""The worker that takes queued work from the outbox, under lease, and calls its handler."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import anyio
from sqlalchemy import Connection

from reasoning_bank.errors import BusyError, ModelUnavailableError, ReasoningBankError, StorageError, UpstreamError
from reasoning_bank.monitoring.observing import Observe, unobserved
from reasoning_bank.storage import Database, outbox
from reasoning_bank.storage.outbox import OutboxRow

logger = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Sequence[OutboxRow]], Awaitable[None]]
"""Does a batch of rows of one kind, in order. It may be called again with the same rows: after a crash, or by
another process that took an expired lease over; doing them twice must be the same as once."""

# Three missed heartbeats lose a lease.
_HEARTBEATS_PER_LEASE = 3
# A missing model is the user's to install, which takes minutes: neither a failure of the row nor worth a busy loop.
_MODEL_WAIT_S = 15.0
_DRAIN_POLL_S = 0.02
_LINGER_S = 0.05


@dataclass(slots=True)
class KindStatistics:
    """What became of the rows of one kind since the worker was made.

    Attributes:
        handler_s: seconds spent on all batches.
        waited_s: seconds that all rows had waited when they were first begun.
    """

    done: int = 0
    failed: int = 0
    dead: int = 0
    postponed: int = 0
    batches: int = 0
    handler_s: float = 0.0
    waited_s: float = 0.0
    last_error: str | None = None


class OutboxWorker:
    """Serves the outbox of a bank, one batch per kind at a time, until its `run` is cancelled.

    Any number of workers, in any number of processes, may serve one bank.

    Args:
        database: an open bank.
        handlers: kind of work to its handler; other kinds are left to other workers.
        now: the wall clock, which processes share.
        owner: names this worker in leases; unique among processes.
        poll_s: how often to look for work of other processes, and for work whose time has come.
        lease_s: how long a killed worker's rows wait for another one.
        batch: rows given to a handler at once; a row that failed before is tried alone.
        max_attempts: attempts after which a row is given up, until someone requeues it.
        jitter: uniform in 0..1; spreads the retries of several processes.
        observe: is told what each batch took as "queue.<kind>", and how long a row had waited as "queue.<kind>.wait".
    """

    def __init__(  # noqa: PLR0913 -- plain keywords instead of Settings
        self,
        database: Database,
        handlers: Mapping[str, Handler],
        *,
        now: Callable[[], datetime],
        owner: str,
        poll_s: float = 1.0,
        lease_s: float = 60.0,
        batch: int = 32,
        max_attempts: int = outbox.MAX_ATTEMPTS,
        jitter: Callable[[], float],
        observe: Observe = unobserved,
    ) -> None:
        self._database = database
        self._handlers = dict(handlers)
        self._now = now
        self._owner = owner
        self._poll_s = poll_s
        self._lease_s = lease_s
        self._batch = batch
        self._max_attempts = max_attempts
        self._jitter = jitter
        self._observe = observe
        self._held: set[int] = set()
        self._awake = {kind: anyio.Event() for kind in self._handlers}
        self._statistics = {kind: KindStatistics() for kind in self._handlers}

    async def run(self) -> None:
        """Works until cancelled; what is unfinished then goes back to the outbox at once."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_leases)
            for kind in self._handlers:
                tasks.start_soon(self._serve, kind)

    def wake(self) -> None:
        """Looks for work at once; called on the event loop after something was queued."""
        for event in self._awake.values():
            event.set()

    async def drain(self, timeout_s: float) -> bool:
        """Waits until nothing is queued or under way, here or in other processes; False when the time was up.

        Work that was given up, or waits for a retry, does not count.
        """
        self.wake()
        with anyio.move_on_after(timeout_s):
            # Other processes work on the same outbox: only its rows tell, so there is no event to wait for.
            while self._held or await self._database.read(self._is_busy):  # noqa: ASYNC110
                await anyio.sleep(_DRAIN_POLL_S)
            return True
        return False

    def statistics(self) -> Mapping[str, KindStatistics]:
        """What became of the rows of each kind, in this process."""
        return dict(self._statistics)

    async def _serve(self, kind: str) -> None:
        while True:
            self._awake[kind] = anyio.Event()
            try:
                worked = await self._work_once(kind)
            except (StorageError, BusyError) as error:
                # The bank may be locked or its disk full for a while; the lease or the next look mends it.
                logger.warning("Background work %s waits: %s", kind, error)
                self._statistics[kind].last_error = str(error)
                await anyio.sleep(self._poll_s)
                continue
            if worked < self._batch:
                with anyio.move_on_after(self._poll_s):
                    await self._awake[kind].wait()
                # Writes come in bursts: taking their rows together costs three transactions instead of three each.
                await anyio.sleep(_LINGER_S)

    async def _work_once(self, kind: str) -> int:
        """How many rows were taken."""
        now = self._now()
        if not await self._database.read(lambda conn: outbox.is_waiting(conn, now=now, kinds=[kind])):
            return 0
        rows = await self._claimed(kind)
        try:
            fresh = [row for row in rows if row.attempts == 1]
            if fresh:
                await self._handle(kind, fresh)
            for row in rows:
                if row.attempts > 1:
                    await self._handle(kind, [row])
        finally:
            await self._let_go(rows)
        return len(rows)

    async def _claimed(self, kind: str) -> list[OutboxRow]:
        now = self._now()
        rows: list[OutboxRow] = []
        # A write goes on when its caller is cancelled: rows that nobody knows of would stay leased.
        with anyio.CancelScope(shield=True):
            rows = await self._database.write(
                lambda conn: outbox.claim(
                    conn,
                    self._owner,
                    kind,
                    now=now,
                    lease_s=self._lease_s,
                    limit=self._batch,
                    max_attempts=self._max_attempts,
                )
            )
        self._held.update(row.seq for row in rows)
        return rows

    async def _handle(self, kind: str, rows: Sequence[OutboxRow]) -> None:
        mine = self._statistics[kind]
        self._count_waits(kind, rows)
        started = time.perf_counter()
        # An error is noted in the outbox, and the work is done again later or given up; a cancellation goes on.
        (error,) = await asyncio.gather(self._handlers[kind](rows), return_exceptions=True)
        seconds = time.perf_counter() - started
        mine.batches += 1
        mine.handler_s += seconds
        # What has to wait, and what is cancelled, did not fail.
        self._observe(f"queue.{kind}", seconds, isinstance(error, Exception) and _wait_s(error) is None)
        if isinstance(error, Exception):
            await self._note(kind, rows, error)
        elif error is not None:
            raise error
        else:
            mine.done += await self._database.write(lambda conn: outbox.finish(conn, self._owner, _seqs(rows)))
            self._held.difference_update(_seqs(rows))

    def _count_waits(self, kind: str, rows: Sequence[OutboxRow]) -> None:
        now = self._now()
        for row in rows:
            if row.attempts == 1:
                waited_s = max(0.0, (now - row.created_at).total_seconds())
                self._statistics[kind].waited_s += waited_s
                self._observe(f"queue.{kind}.wait", waited_s, False)

    async def _note(self, kind: str, rows: Sequence[OutboxRow], error: Exception) -> None:
        mine = self._statistics[kind]
        mine.last_error = str(error)
        wait_s = _wait_s(error)
        if wait_s is not None:
            await self._postpone(rows, str(error), wait_s)
            mine.postponed += len(rows)
        else:
            # What is raised on purpose says in words what happened; a bug needs its traceback.
            bug = None if isinstance(error, ReasoningBankError) else error
            logger.warning("Background work %s failed for %d rows: %s", kind, len(rows), error, exc_info=bug)
            mine.dead += await self._fail(rows, f"{type(error).__name__}: {error}")
            mine.failed += len(rows)

    async def _fail(self, rows: Sequence[OutboxRow], error: str) -> int:
        now = self._now()
        dead = await self._database.write(
            lambda conn: outbox.fail(
                conn,
                self._owner,
                _seqs(rows),
                error,
                now=now,
                jitter=self._jitter,
                max_attempts=self._max_attempts,
            )
        )
        self._held.difference_update(_seqs(rows))
        return dead

    async def _postpone(self, rows: Sequence[OutboxRow], reason: str, wait_s: float) -> None:
        now = self._now()
        until = now + timedelta(seconds=wait_s)
        await self._database.write(
            lambda conn: outbox.postpone(conn, self._owner, _seqs(rows), reason, until=until, now=now)
        )
        self._held.difference_update(_seqs(rows))

    async def _let_go(self, rows: Sequence[OutboxRow]) -> None:
        """Gives back what was begun and not finished: the work was cancelled, or its result could not be noted."""
        left = [row.seq for row in rows if row.seq in self._held]
        if not left:
            return
        self._held.difference_update(left)
        with anyio.CancelScope(shield=True):
            try:
                await self._database.write(lambda conn: outbox.release(conn, self._owner, left))
            except (StorageError, BusyError) as error:
                logger.warning("%d rows of background work stay leased until their lease ends: %s", len(left), error)

    async def _keep_leases(self) -> None:
        while True:
            await anyio.sleep(self._lease_s / _HEARTBEATS_PER_LEASE)
            held = list(self._held)
            if not held:
                continue
            now = self._now()
            try:
                await self._database.write(
                    lambda conn, held=held, now=now: outbox.extend(
                        conn, self._owner, held, now=now, lease_s=self._lease_s
                    )
                )
            except (StorageError, BusyError) as error:
                logger.warning("Leases were not renewed: %s", error)

    def _is_busy(self, connection: Connection) -> bool:
        now = self._now()
        kinds = list(self._handlers)
        return outbox.is_under_way(connection, now=now, kinds=kinds) or outbox.is_waiting(
            connection, now=now, kinds=kinds
        )


def _wait_s(error: Exception) -> float | None:
    """Seconds until the work may succeed where the rows are not to blame; None where they may be."""
    if isinstance(error, ModelUnavailableError):
        return _MODEL_WAIT_S
    return error.retry_after_s if isinstance(error, BusyError | UpstreamError) else None


def _seqs(rows: Sequence[OutboxRow]) -> list[int]:
    return [row.seq for row in rows]
