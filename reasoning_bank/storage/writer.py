"""The one thread that writes: transactions in order, and those that wait together share one commit."""

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine

from reasoning_bank.concurrency.border import Border
from reasoning_bank.errors import BusyError, StorageError
from reasoning_bank.monitoring.observing import Observe
from reasoning_bank.storage.faults import storage_error

T = TypeVar("T")

_LARGEST_QUEUE = 4096
_CLOSED = "The bank is closed"


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[Connection], Any]
    done: Future[Any]
    context: Context
    submitted: float
    may_linger: bool


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """What was written.

    Attributes:
        waiting: writes that wait for the one thread now.
        writes: finished so far, those that failed too.
        commits: how many commits they shared; `largest_group` of them at most.
        rows: inserted, changed and deleted, as SQLite counts them.
    """

    waiting: int
    writes: int
    commits: int
    largest_group: int
    rows: int

    @property
    def mean_group(self) -> float:
        """Writes per commit."""
        return self.writes / self.commits if self.commits else 0.0


class Writer:
    """A thread with the writing connection; each job is one transaction, done or undone as a whole.

    A commit waits for the disk, far longer than a small write works: whoever waits meanwhile goes along with the next.

    Args:
        engine: opens the connection; its transactions begin with the write lock.
        translate: the error to raise instead of one of SQLite's, or None to keep it.
        check: raises when nothing may be committed any more; called before each commit.
        group: most jobs that share one commit.
        linger_s: how long jobs that nobody waits for may wait for others to share their commit.
        observe: is told what "sql.write" (until it is durable) and "sql.commit" took.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        translate: Callable[[BaseException], StorageError | None],
        check: Callable[[], None],
        group: int,
        linger_s: float,
        observe: Observe,
    ) -> None:
        self._engine = engine
        self._translate = translate
        self._check = check
        self._group = group
        self._linger_s = linger_s
        self._observe = observe
        self._writes = self._commits = self._largest = self._rows = 0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="storage-writer", daemon=True)
        self._closed = False
        self._finished = False

    def start(self) -> None:
        """Starts the thread; it opens its connection with the first job."""
        self._thread.start()

    def statistics(self) -> WriterStatistics:
        """What was written so far."""
        return WriterStatistics(self._jobs.qsize(), self._writes, self._commits, self._largest, self._rows)

    def submit(self, work: Callable[[Connection], T], *, may_linger: bool = False) -> Future[T]:
        """Queues one transaction; the future holds what `work` returned, once that is committed.

        Raises:
            BusyError: when thousands of writes wait already.
            StorageError: after `stop`.
        """
        if self._closed:
            raise storage_error("io", _CLOSED)
        if threading.current_thread() is self._thread:
            raise RuntimeError("a transaction cannot wait for another one: call functions of its connection")
        if self._jobs.qsize() >= _LARGEST_QUEUE:
            raise BusyError(f"{_LARGEST_QUEUE} writes are waiting for the disk; try again in a second")
        done: Future[T] = Future()
        # In the context of the caller, for whoever listens to its statements.
        self._jobs.put(_Job(work, done, copy_context(), time.perf_counter(), may_linger))
        if self._finished:
            self._refuse_late()
        return done

    def stop(self, timeout_s: float) -> bool:
        """Finishes what is queued and ends the thread; False when that took longer than the timeout."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        connection: Connection | None = None
        last = False
        while not last:
            group, last = self._next_group()
            # What it raises is raised again where the futures are awaited.
            with Border(partial(self._fail, group)):
                connection = connection or self._engine.connect()
                self._write(connection, group)
                continue
            connection = _discarded(connection)
        if connection is not None:
            connection.close()
        # In this order: whoever puts a job after the last look here sees that the thread has finished.
        self._finished = True
        self._refuse_late()

    def _refuse_late(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                if (job := self._jobs.get_nowait()) is not None and job.done.set_running_or_notify_cancel():
                    job.done.set_exception(storage_error("io", _CLOSED))

    def _next_group(self) -> tuple[list[_Job], bool]:
        """The jobs that share the next commit, and whether they are the last ones."""
        group: list[_Job] = []
        linger_until = 0.0
        job = self._jobs.get()
        while job is not None:
            if job.done.set_running_or_notify_cancel():
                group.append(job)
                linger_until = self._linger_until(job, linger_until, first=len(group) == 1)
            if len(group) >= self._group:
                return group, False
            try:
                job = self._jobs.get(timeout=max(0.0, linger_until - time.perf_counter()))
            except queue.Empty:
                return group, False
        return group, True

    def _linger_until(self, job: _Job, until: float, *, first: bool) -> float:
        """As long as the oldest job may wait; not at all from the first one on that somebody waits for."""
        if not job.may_linger:
            return 0.0
        return job.submitted + self._linger_s if first else until

    def _write(self, connection: Connection, group: list[_Job]) -> None:
        """Runs a group in one transaction; a job that fails is undone alone."""
        if not group:
            return
        finished: list[tuple[_Job, Any]] = []
        before = _rows_changed(connection)
        with connection.begin():
            for job in group:
                try:
                    finished.append((job, self._run_job(connection, job, alone=len(group) == 1)))
                except BaseException as error:
                    if not _in_transaction(connection) or len(group) == 1:
                        raise  # SQLite undid everything itself, or there is nothing else to keep
                    self._fail([job], error)
            self._check()
            committing = time.perf_counter()
        self._observe("sql.commit", time.perf_counter() - committing, False)
        self._commits += 1
        self._largest = max(self._largest, len(group))
        self._rows += _rows_changed(connection) - before
        for job, result in finished:
            self._finished_one(job, failed=False)
            job.done.set_result(result)

    def _run_job(self, connection: Connection, job: _Job, *, alone: bool) -> Any:
        if alone:
            return job.context.run(job.work, connection)
        with connection.begin_nested():
            return job.context.run(job.work, connection)

    def _fail(self, group: list[_Job], error: BaseException) -> None:
        raised = self._translate(error)
        if raised is not None:
            raised.__cause__ = error
        for job in group:
            if not job.done.done():
                self._finished_one(job, failed=True)
                job.done.set_exception(raised or error)

    def _finished_one(self, job: _Job, *, failed: bool) -> None:
        self._writes += 1
        self._observe("sql.write", time.perf_counter() - job.submitted, failed)


def _in_transaction(connection: Connection) -> bool:
    return cast("sqlite3.Connection", connection.connection.driver_connection).in_transaction


def _rows_changed(connection: Connection) -> int:
    """By this connection since it was opened."""
    return cast("sqlite3.Connection", connection.connection.driver_connection).total_changes


def _discarded(connection: Connection | None) -> Connection | None:
    """Gives up a connection that is still inside a transaction after an error; a sound one stays."""
    if connection is None or connection.closed:
        return None
    if not connection.in_transaction() and not _in_transaction(connection):
        return connection
    connection.invalidate()
    connection.close()
    return None
