"""The bank's database: opened safely, written by one thread, read by a few, watched for other processes' commits."""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection

from reasoning_bank.monitoring.observing import Observe, Timed, unobserved
from reasoning_bank.storage import directory, version
from reasoning_bank.storage.connections import Durability, reading_engine, watching_connection, writing_engine
from reasoning_bank.storage.faults import storage_error, translated
from reasoning_bank.storage.readers import ReaderStatistics, ReadPool
from reasoning_bank.storage.statements import SlowStatement, StatementWatch
from reasoning_bank.storage.writer import Writer, WriterStatistics

T = TypeVar("T")

# What is queued at the exit is a few milliseconds of work; a disk that hangs must not hold the process for ever.
_LONGEST_GOODBYE_S = 5.0


@dataclass(frozen=True, slots=True)
class DatabaseStatistics:
    """What a database did in this process since it was opened; `slow` statements took longer than is allowed."""

    readers: ReaderStatistics
    writer: WriterStatistics
    slow: int


class Database:
    """One SQLite file shared by any number of processes.

    `async with` opens it: makes it when missing, brings an older schema up to date after a backup, refuses a newer one.

    Args:
        path: the file; its directory is made when missing.
        durability: "full" keeps every acknowledged write through a power cut, "process" through kill -9 only.
        busy_timeout_s: how long to wait for another process's transaction.
        readers: connections kept for reading; more are opened when more threads read at once.
        group: most writes that share one commit.
        linger_s: how long a write that nobody waits for may wait for others to share its commit.
        slow_s: statements that take longer are logged with their plan, without their values.
        observe: is told what "sql.read", "sql.write" (until it is durable) and "sql.commit" took; of single statements
            hears whoever listens (`monitoring.statements`).
        now: the clock, for the name of a backup and the log of slow statements.
    """

    def __init__(  # noqa: PLR0913 -- plain keywords instead of Settings
        self,
        path: Path,
        *,
        durability: Durability = "full",
        busy_timeout_s: float = 10.0,
        readers: int = 3,
        group: int = 500,
        linger_s: float = 0.0,
        slow_s: float = 0.1,
        observe: Observe = unobserved,
        now: Callable[[], datetime],
    ) -> None:
        self.path = path
        self.durability: Durability = durability
        self._busy_timeout_s = busy_timeout_s
        self._readers = readers
        self._group = group
        self._linger_s = linger_s
        self._observe = observe
        self._watch = StatementWatch(slow_s=slow_s, now=now)
        self._now = now
        self._open: _Open | None = None
        self._opening = threading.Lock()

    async def __aenter__(self) -> Self:
        """Opens the bank in a worker thread.

        Raises:
            StorageError: foreign, read-only, full, damaged or locked.
            MigrationError: when the schema is newer than this program, or could not be brought up to date.
        """
        await anyio.to_thread.run_sync(self.open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.close)

    def open(self) -> None:
        """The same as `async with`, for a thread that may block."""
        directory.prepare(self.path)
        with self._typed_errors():
            version.bring_up_to_date(self.path, busy_timeout_s=self._busy_timeout_s, now=self._now)
        self._open = self._opened()

    def close(self) -> None:
        """Finishes the writes that are queued and closes every connection; may be called twice."""
        opened, self._open = self._open, None
        if opened is not None and opened.process == os.getpid():
            opened.writer.stop(_LONGEST_GOODBYE_S)
            opened.pool.close()
            opened.watch.close()

    async def write(self, work: Callable[[Connection], T], *, may_linger: bool = False) -> T:
        """What `work` returned, after its transaction is durable; a cancelled caller does not stop it.

        Args:
            work: a function of the writing connection.
            may_linger: nobody waits for it: it may wait `linger_s` for other writes to share its commit.

        Raises:
            StorageError: when it was not written. (A failed commit can still turn out to be durable: repeat
                with the same idempotency key.)
            BusyError: when too many writes are waiting.
        """
        done = self._ready().writer.submit(work, may_linger=may_linger)
        return await asyncio.shield(asyncio.wrap_future(done))

    def write_now(self, work: Callable[[Connection], T]) -> T:
        """`write` for a thread that may block."""
        return self._ready().writer.submit(work).result()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returned from one snapshot of the bank, in a worker thread.

        Raises:
            StorageError: when the file could not be read.
        """
        opened = self._ready()
        with Timed(self._observe, "sql.read"), opened.pool.in_turn():
            return await anyio.to_thread.run_sync(self._read, work, limiter=opened.limiter)

    def read_now(self, work: Callable[[Connection], T]) -> T:
        """`read` for a thread that may block."""
        with Timed(self._observe, "sql.read"):
            return self._read(work)

    def statistics(self) -> DatabaseStatistics:
        """What was done in this process since the database was opened."""
        opened = self._ready()
        return DatabaseStatistics(opened.pool.statistics(), opened.writer.statistics(), self._watch.slow)

    def slow_statements(self) -> tuple[SlowStatement, ...]:
        """The latest statements that took longer than is allowed, the slowest first."""
        return self._watch.slowest()

    def data_version(self) -> int:
        """A number that differs after any commit by any connection of any process; microseconds, any thread.

        It compares only with earlier answers of this object.
        """
        opened = self._ready()
        with self._typed_errors(), opened.watching:
            return int(opened.watch.execute("PRAGMA data_version").fetchone()[0])

    async def current_version(self) -> int:
        """`data_version`, for a coroutine."""
        return await anyio.to_thread.run_sync(self.data_version, limiter=self._ready().limiter)

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._typed_errors(), self._ready().pool.connection() as connection, connection.begin():
            return work(connection)

    def _ready(self) -> "_Open":
        opened = self._open
        if opened is None:
            raise storage_error("io", "The bank is not open")
        return opened if opened.process == os.getpid() else self._reopened(opened)

    def _reopened(self, inherited: "_Open") -> "_Open":
        # After a fork the parent's writer thread is absent here, and using its connections would corrupt the file;
        # they are kept unused, because closing them would drop the parent's locks.
        with self._opening:
            if self._open is None or self._open is inherited:
                _inherited.append(inherited)
                self._open = self._opened()
            return self._open

    def _opened(self) -> "_Open":
        path, timeout_s, watch = self.path, self._busy_timeout_s, self._watch
        with self._typed_errors():
            file = directory.identity(path)
            opened = _Open(
                process=os.getpid(),
                watching=threading.Lock(),
                watch=watching_connection(path, busy_timeout_s=timeout_s),
                pool=ReadPool(reading_engine(path, busy_timeout_s=timeout_s, watch=watch), self._readers),
                limiter=anyio.CapacityLimiter(self._readers),
                writer=Writer(
                    writing_engine(path, durability=self.durability, busy_timeout_s=timeout_s, watch=watch),
                    translate=lambda error: translated(error, path),
                    check=lambda: directory.refuse_replaced(path, file),
                    group=self._group,
                    linger_s=self._linger_s,
                    observe=self._observe,
                ),
            )
            opened.writer.start()
            return opened

    @contextlib.contextmanager
    def _typed_errors(self) -> Generator[None]:
        try:
            yield
        except Exception as error:
            if (typed := translated(error, self.path)) is None:
                raise
            raise typed from error


@dataclass(frozen=True, slots=True)
class _Open:
    """What an open bank holds in one process."""

    process: int
    watching: threading.Lock
    watch: sqlite3.Connection
    pool: ReadPool
    limiter: anyio.CapacityLimiter
    writer: Writer


_inherited: list[_Open] = []
