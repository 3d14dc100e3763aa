"""The bank's database: opened safely, written by one thread, read by a few, watched for other processes' commits."""

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Generator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from reasoning_bank.storage import directory, version
from reasoning_bank.storage.connections import Durability, reading_engine, watching_connection, writing_engine
from reasoning_bank.storage.faults import storage_error, translated
from reasoning_bank.storage.writer import Writer

T = TypeVar("T")

# What is queued at the exit is a few milliseconds of work; a disk that hangs must not hold the process for ever.
_LONGEST_GOODBYE_S = 5.0


class Database:
    """One SQLite file shared by any number of processes.

    `async with` opens it: makes it when missing, brings an older schema up to date after a backup, refuses a newer one.

    Args:
        path: the file; its directory is made when missing.
        durability: "full" keeps every acknowledged write through a power cut, "process" through kill -9 only.
        busy_timeout_s: how long to wait for another process's transaction.
        readers: connections kept for reading; more are opened when more threads read at once.
        now: the clock, for the name of a backup.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: Durability = "full",
        busy_timeout_s: float = 10.0,
        readers: int = 3,
        now: Callable[[], datetime],
    ) -> None:
        self.path = path
        self.durability: Durability = durability
        self._busy_timeout_s = busy_timeout_s
        self._readers = readers
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

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returned, after its transaction is durable; a cancelled caller does not stop it.

        Raises:
            StorageError: when it was not written. (A failed commit can still turn out to be durable: repeat
                with the same idempotency key.)
            BusyError: when too many writes are waiting.
        """
        done = self._ready().writer.submit(work)
        return await asyncio.shield(asyncio.wrap_future(done))

    def write_now(self, work: Callable[[Connection], T]) -> T:
        """`write` for a thread that may block."""
        return self._ready().writer.submit(work).result()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returned from one snapshot of the bank, in a worker thread.

        Raises:
            StorageError: when the file could not be read.
        """
        return await anyio.to_thread.run_sync(self.read_now, work, limiter=self._ready().limiter)

    def read_now(self, work: Callable[[Connection], T]) -> T:
        """`read` for a thread that may block."""
        with self._typed_errors(), self._ready().pool.connection() as connection, connection.begin():
            return work(connection)

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
        with self._typed_errors():
            return _Open(self.path, self.durability, self._busy_timeout_s, self._readers)

    @contextlib.contextmanager
    def _typed_errors(self) -> Generator[None]:
        try:
            yield
        except Exception as error:
            if (typed := translated(error, self.path)) is None:
                raise
            raise typed from error


class _Open:
    """What an open bank holds in one process."""

    def __init__(self, path: Path, durability: Durability, busy_timeout_s: float, readers: int) -> None:
        self.process = os.getpid()
        self._file = directory.identity(path)
        self.watching = threading.Lock()
        self.watch = watching_connection(path, busy_timeout_s=busy_timeout_s)
        self.pool = _ReadPool(reading_engine(path, busy_timeout_s=busy_timeout_s), readers)
        self.limiter = anyio.CapacityLimiter(readers)
        self.writer = Writer(
            writing_engine(path, durability=durability, busy_timeout_s=busy_timeout_s),
            translate=lambda error: translated(error, path),
            check=lambda: directory.refuse_replaced(path, self._file),
        )
        self.writer.start()


_inherited: list[_Open] = []


class _ReadPool:
    """Idle reading connections; a thread that finds none opens one, and those above `kept` are closed after use."""

    def __init__(self, engine: Engine, kept: int) -> None:
        self._engine = engine
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue(kept)
        self._closed = False

    @contextlib.contextmanager
    def connection(self) -> Generator[Connection]:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._engine.connect()
        try:
            yield connection
        except (sqlite3.Error, DBAPIError):
            connection.close()  # a fresh one may do better than one that met a fault
            raise
        finally:
            self._give_back(connection)

    def close(self) -> None:
        self._closed = True
        while not self._idle.empty():
            with contextlib.suppress(queue.Empty):
                self._idle.get_nowait().close()

    def _give_back(self, connection: Connection) -> None:
        try:
            if connection.closed or self._closed:
                connection.close()
            else:
                self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()
