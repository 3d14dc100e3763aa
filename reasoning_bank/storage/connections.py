"""How this bank opens SQLite: write-ahead log, explicit transactions, and a wait instead of a lock error."""

import itertools
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

from sqlalchemy import Connection, Engine, NullPool, create_engine, event

from reasoning_bank.storage.statements import StatementWatch, TimedConnection

Durability = Literal["full", "process"]

_SYNCHRONOUS: dict[Durability, str] = {"full": "FULL", "process": "NORMAL"}
# After a checkpoint the log is cut back to this, so that one long read does not leave a large file behind for good.
_LOG_LIMIT_BYTES = 64 << 20
_PAGE_CACHE_KIB = 16 << 10
_STATEMENTS_KEPT = 256
_LOCK_WAIT_S = 0.001
# Its multiples spread evenly over 0..1: waits that differ without a source of randomness.
_GOLDEN_RATIO = 0.618034


def writing_engine(
    path: Path, *, durability: Durability, busy_timeout_s: float, watch: StatementWatch | None = None
) -> Engine:
    """An engine whose transactions take the write lock first, so that they never fail half-way for want of it."""

    def connect() -> sqlite3.Connection:
        connection = _connect(path, busy_timeout_s, watch)
        _use_write_ahead_log(connection, busy_timeout_s)
        connection.execute(f"PRAGMA synchronous={_SYNCHRONOUS[durability]}")
        connection.execute(f"PRAGMA journal_size_limit={_LOG_LIMIT_BYTES}")
        connection.execute("PRAGMA busy_timeout=0")  # the wait for the write lock is ours, below
        return connection

    def begin(connection: sqlite3.Connection) -> None:
        _retried_while_locked(lambda: connection.execute("BEGIN IMMEDIATE"), busy_timeout_s)

    return _engine(connect, begin)


def reading_engine(path: Path, *, busy_timeout_s: float, watch: StatementWatch | None = None) -> Engine:
    """An engine whose transactions are snapshots and cannot write."""

    def connect() -> sqlite3.Connection:
        connection = _connect(path, busy_timeout_s, watch)
        connection.execute("PRAGMA query_only=ON")
        return connection

    return _engine(connect, lambda connection: connection.execute("BEGIN"))


def watching_connection(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """A bare connection that only asks for `PRAGMA data_version`; it never opens a transaction."""
    return _connect(path, busy_timeout_s)


def _connect(path: Path, busy_timeout_s: float, watch: StatementWatch | None = None) -> sqlite3.Connection:
    # Connections move between worker threads, one user at a time: the pool and the writer thread see to that.
    connection = sqlite3.connect(
        path,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS_KEPT,
        factory=TimedConnection,
    )
    connection.watch = watch
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA cache_size=-{_PAGE_CACHE_KIB}")
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    # Switching a new file to WAL reports "locked" at once where two processes do it together, whatever the timeout.
    _retried_while_locked(lambda: connection.execute("PRAGMA journal_mode=WAL"), busy_timeout_s)


def _retried_while_locked(statement: Callable[[], object], timeout_s: float) -> None:
    """Repeats a statement until the lock is free.

    SQLite's own wait doubles up to 0.1 s, so that a process that just came takes the lock from one that waits: with
    four busy writers the unluckiest waited 3.4 s. Short waits of uneven length give each the same chance.
    """
    deadline = time.monotonic() + timeout_s
    for attempt in itertools.count():
        try:
            statement()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_LOCK_WAIT_S * (0.5 + (attempt * _GOLDEN_RATIO + os.getpid() * 0.1) % 1))


def _engine(connect: Callable[[], sqlite3.Connection], begin: Callable[[sqlite3.Connection], object]) -> Engine:
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    def begin_transaction(connection: Connection) -> None:
        begin(cast("sqlite3.Connection", connection.connection.driver_connection))

    event.listen(engine, "begin", begin_transaction)
    return engine
