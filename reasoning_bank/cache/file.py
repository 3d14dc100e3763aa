"""A bounded cache on disk that outlives its process: one SQLite file that anyone may delete at any time."""

import hashlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, TypedDict, TypeVar

import anyio
import anyio.to_thread

from reasoning_bank.records import JsonValue

logger = logging.getLogger(__name__)
T = TypeVar("T")

# What is lost in a power cut can be asked again. What is deleted is overwritten: it may be private.
_SETUP: Final = """
    PRAGMA synchronous = OFF;
    PRAGMA secure_delete = ON;
    CREATE TABLE IF NOT EXISTS entries (
        namespace TEXT NOT NULL, key TEXT NOT NULL, expires_at REAL NOT NULL, used INTEGER NOT NULL,
        bytes INTEGER NOT NULL, digest TEXT NOT NULL, value TEXT NOT NULL, UNIQUE (namespace, key));
    CREATE INDEX IF NOT EXISTS by_use ON entries (used, bytes);
    CREATE INDEX IF NOT EXISTS by_expiry ON entries (expires_at);
"""
_NEXT_USE: Final = "(SELECT coalesce(max(used), 0) + 1 FROM entries)"
_FULL: Final = "SELECT count(*) > ? OR sum(bytes) > ? FROM entries"
_EVICT: Final = """
    DELETE FROM entries WHERE rowid IN (
        SELECT rowid FROM (
            SELECT rowid, row_number() OVER latest AS place, sum(bytes) OVER latest AS together
            FROM entries WINDOW latest AS (ORDER BY used DESC, rowid DESC))
        WHERE place > ? OR together > ?)
"""
_BUSY_S: Final = 0.25
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class FileCacheStatistics(TypedDict):
    """What the file holds, and counters since this object was made; `hit_rate` is a percentage of requests."""

    entries: int
    bytes: int
    max_entries: int
    max_bytes: int
    hits: int
    misses: int
    hit_rate: float
    failures: int


class FileCache:
    """JSON values by namespace and key; least recently used goes first, nothing outlives its time.

    Any number of processes and threads share the file. Whatever the file does (full disk, locked, read-only) is a miss
    and counted; a damaged file is dropped and made anew. Each value carries a digest of itself and its key, because a
    page of a damaged file can look sound.

    Args:
        path: the file; made when first used, readable by its owner only.
        ttl_s: seconds an entry may be served after it was put.
        max_entries: entries kept at most.
        max_bytes: bytes of all values together at most; a larger value is not kept.
        now: the clock.
    """

    def __init__(
        self, path: Path, *, ttl_s: float, max_entries: int, max_bytes: int, now: Callable[[], datetime]
    ) -> None:
        self.path = path
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._now = now
        # One call at a time has the file: the others wait as coroutines, not as threads.
        self._limiter = anyio.CapacityLimiter(1)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._hits = 0
        self._misses = 0
        self._failures = 0

    async def get(self, namespace: str, key: str) -> JsonValue:
        """Return the value put under a key, or None when there is none or its time is over."""
        text = await self._do(lambda connection: self._get(connection, namespace, key))
        self._hits += text is not None
        self._misses += text is None
        return None if text is None else json.loads(text)

    async def put(self, namespace: str, key: str, value: JsonValue) -> None:
        """Keep a value, other than None, under a key; its time starts now."""
        text = json.dumps(value, separators=(",", ":"))  # ASCII: SQLite takes no lone surrogates
        await self._do(lambda connection: self._put(connection, namespace, key, text))

    async def clear(self, namespace: str | None = None) -> None:
        """Drop all entries of a namespace, or all; the counters go on."""
        if namespace is None:
            await self._do(lambda connection: connection.execute("DELETE FROM entries"))
        else:
            await self._do(
                lambda connection: connection.execute("DELETE FROM entries WHERE namespace = ?", (namespace,))
            )

    async def statistics(self) -> FileCacheStatistics:
        """Return sizes, bounds and counters; entries whose time is over count until the next one is put."""
        sizes = await self._do(
            lambda connection: connection.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM entries").fetchone()
        )
        requests = self._hits + self._misses
        return FileCacheStatistics(
            entries=sizes[0] if sizes else 0,
            bytes=sizes[1] if sizes else 0,
            max_entries=self._max_entries,
            max_bytes=self._max_bytes,
            hits=self._hits,
            misses=self._misses,
            hit_rate=round(100.0 * self._hits / requests, 2) if requests else 0.0,
            failures=self._failures,
        )

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        with self._lock:
            self._let_go()

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        return await anyio.to_thread.run_sync(self._tried, work, limiter=self._limiter)

    def _tried(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        with self._lock:
            try:
                self._connection = self._connection or self._opened()
                with self._connection:
                    return work(self._connection)
            except (sqlite3.Error, OSError) as error:
                self._failures += 1
                if isinstance(error, _Unsound) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
                    self._drop(error)
                else:
                    logger.debug("the cache %s did not work: %s", self.path.name, error)
                return None

    def _opened(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        self.path.chmod(0o600)
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, check_same_thread=False)
        try:
            connection.executescript(_SETUP)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _get(self, connection: sqlite3.Connection, namespace: str, key: str) -> str | None:
        row = connection.execute(
            "SELECT rowid, expires_at, digest, value FROM entries WHERE namespace = ? AND key = ?", (namespace, key)
        ).fetchone()
        # An expiry further away than the time to live was written by a clock that was wrong.
        if row is None or not 0 < row[1] - self._now().timestamp() <= self._ttl_s:
            return None
        if row[2] != _digest(namespace, key, row[3]):
            raise _Unsound("a value does not belong to its key")
        with suppress(sqlite3.OperationalError):  # a full disk or a lock: the order of use is all that is lost
            connection.execute(f"UPDATE entries SET used = {_NEXT_USE} WHERE rowid = ?", (row[0],))  # noqa: S608
        return row[3]

    def _put(self, connection: sqlite3.Connection, namespace: str, key: str, text: str) -> None:
        size, now, bounds = len(text), self._now().timestamp(), (self._max_entries, self._max_bytes)
        if size > self._max_bytes:
            return
        connection.execute("DELETE FROM entries WHERE expires_at <= ?", (now,))
        connection.execute(
            f"INSERT OR REPLACE INTO entries VALUES (?, ?, ?, {_NEXT_USE}, ?, ?, ?)",  # noqa: S608
            (namespace, key, now + self._ttl_s, size, _digest(namespace, key, text), text),
        )
        if connection.execute(_FULL, bounds).fetchone()[0]:
            connection.execute(_EVICT, bounds)

    def _drop(self, error: Exception) -> None:
        logger.warning("the cache %s is damaged and begins anew: %s", self.path.name, error)
        self._let_go()
        for suffix in ("", "-journal"):
            with suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Unsound(sqlite3.DatabaseError):
    """A value that is not the one that was put there."""


def _digest(namespace: str, key: str, text: str) -> str:
    return hashlib.sha256("\0".join((namespace, key, text)).encode("utf-8", "replace")).hexdigest()
