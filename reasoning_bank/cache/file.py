"""A bounded cache on disk that outlives its process: one SQLite file that anyone may delete at any time."""

import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from reasoning_bank.cache.changes import Owed, Target, Version, Versions
from reasoning_bank.cache.counters import FileCounters
from reasoning_bank.cache.store import StoreStatistics

logger = logging.getLogger(__name__)
T = TypeVar("T")

_FORMAT: Final = 2
# What is lost in a power cut can be asked again. What is deleted is overwritten: it may be private.
_SETTINGS: Final = """
    PRAGMA synchronous = OFF;
    PRAGMA secure_delete = ON;
    PRAGMA foreign_keys = ON;
"""
_TABLES: Final = (
    "DROP TABLE IF EXISTS tags",
    "DROP TABLE IF EXISTS entries",  # of another version: nothing of it is served again
    "CREATE TABLE entries (id BLOB PRIMARY KEY, namespace BLOB NOT NULL, put_at REAL NOT NULL,"
    " expires_at REAL NOT NULL, used INTEGER NOT NULL, bytes INTEGER NOT NULL, digest BLOB NOT NULL,"
    " value BLOB NOT NULL)",
    "CREATE INDEX by_use ON entries (used, bytes)",
    "CREATE INDEX by_expiry ON entries (expires_at)",
    "CREATE TABLE tags (tag BLOB NOT NULL, id BLOB NOT NULL REFERENCES entries ON DELETE CASCADE,"
    " PRIMARY KEY (tag, id)) WITHOUT ROWID",
    "CREATE INDEX by_entry ON tags (id)",
    f"PRAGMA user_version = {_FORMAT}",
)
_NEXT_USE: Final = "(SELECT coalesce(max(used), 0) + 1 FROM entries)"
_FULL: Final = "SELECT count(*) > ? OR sum(bytes) > ? FROM entries"
_EVICT: Final = """
    DELETE FROM entries WHERE rowid IN (
        SELECT rowid FROM (
            SELECT rowid, row_number() OVER latest AS place, sum(bytes) OVER latest AS together
            FROM entries WINDOW latest AS (ORDER BY used DESC, rowid DESC))
        WHERE place > ? OR together > ?)
"""
_WAIT_S: Final = 0.2
_REST_S: Final = 1.0
"""How long a file that did not answer in time is left alone: whoever comes then does not wait for it too."""
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class FileCache:
    """A `SharedStore` in a file: least recently used goes first, nothing outlives its time.

    Any number of processes and threads share the file; what one of them changed, every other finds changed at its next
    call. Whatever the file does (full disk, locked, read-only, deleted) is a miss and counted; a damaged file is
    dropped and made anew. Each value carries a digest of itself and its key, because a page of a damaged file can look
    sound. No key and no namespace is in it, only their digests.

    Args:
        path: the file; made when first used, readable by its owner only. Counters of changes are beside it.
        max_entries: entries kept at most.
        max_bytes: bytes of all values together at most; a larger value is not kept.
        now: the clock.
        timer: seconds that never go backwards.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_entries: int,
        max_bytes: int,
        now: Callable[[], datetime],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._bounds = (max_entries, max_bytes)
        self._now = now
        self._timer = timer
        # One call at a time has the file: the others wait as coroutines, not as threads.
        self._limiter = anyio.CapacityLimiter(1)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._counters = FileCounters(path.with_name(f"{path.name}-changes"))
        self._versions = Versions(self._counters)
        self._owed = Owed()
        self._touched: dict[bytes, None] = {}
        self._resting_until = -_REST_S
        self._hits = 0
        self._misses = 0
        self._evictions = 0
        self._expirations = 0
        self._failures = 0

    async def get(self, namespace: str, key: str) -> bytes | None:
        """Return the value put under a key, or None when there is none or its time is over."""
        found = await self.look(namespace, key)
        return None if found is None else found[0]

    async def look(self, namespace: str, key: str) -> tuple[bytes, float] | None:
        """Return the value put under a key, and the seconds it has left; or None."""
        found = await self._do(lambda connection: self._look(connection, _id(namespace, key)))
        self._hits += bool(found)
        self._misses += not found
        return found or None

    async def put(self, namespace: str, key: str, value: bytes, *, ttl_s: float, tags: Collection[str] = ()) -> None:
        """Keep a value for `ttl_s` seconds; `tags` name what `delete_tag` will drop it by."""
        if not self._bounds[0] or len(value) > self._bounds[1]:
            await self.delete(namespace, key)
            return
        its_tags = [_digest(namespace, tag) for tag in tags]
        await self._change(
            Target(namespace, key),
            lambda connection: self._put(connection, namespace, _id(namespace, key), value, ttl_s, its_tags),
        )

    async def delete(self, namespace: str, key: str) -> None:
        """Drop one entry."""
        target = Target(namespace, key)
        await self._change(target, lambda connection: _delete(connection, target))

    async def delete_tag(self, namespace: str, tag: str) -> None:
        """Drop the entries of a namespace that were put with this tag."""
        await self._change(
            Target(namespace),
            lambda connection: connection.execute(
                "DELETE FROM entries WHERE id IN (SELECT id FROM tags WHERE tag = ?)", (_digest(namespace, tag),)
            ),
        )

    async def clear(self, namespace: str | None = None) -> None:
        """Drop the entries of one namespace, or all."""
        target = Target(namespace)
        await self._change(target, lambda connection: _delete(connection, target))

    def version(self, namespace: str, key: str) -> Version | None:
        """Return the version of an entry, which tells a change before its call returns; None: nobody can tell."""
        with suppress(OSError):
            return self._versions.of(namespace, key) if self._counters.live else None
        return None

    async def statistics(self) -> StoreStatistics:
        """Return what is held, and the counters of this object; what is over counts until the next put."""
        there = await anyio.to_thread.run_sync(self.path.exists, limiter=self._limiter)  # looking makes no file
        sizes = there and await self._do(
            lambda connection: connection.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM entries").fetchone()
        )
        return StoreStatistics(
            entries=sizes[0] if sizes else 0,
            bytes=sizes[1] if sizes else 0,
            hits=self._hits,
            misses=self._misses,
            evictions=self._evictions,
            expirations=self._expirations,
            failures=self._failures,
        )

    async def aclose(self) -> None:
        """Let go of the file; the next use opens it again."""
        await anyio.to_thread.run_sync(self.close, limiter=self._limiter)

    def close(self) -> None:
        """As `aclose`, from a thread."""
        with self._lock:
            self._let_go()

    async def _change(self, target: Target, work: Callable[[sqlite3.Connection], object]) -> None:
        """Change something, so that every process knows; owed where it fails."""

        def told(connection: sqlite3.Connection) -> bool:
            self._write(connection, target, work)
            return True

        if await self._do(told) is None:
            self._owed.add(target)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `work` returns, or None where the file did not do it in time."""
        done = None
        if self._timer() >= self._resting_until:
            with anyio.move_on_after(_WAIT_S) as patience:
                done = await anyio.to_thread.run_sync(self._tried, work, limiter=self._limiter, abandon_on_cancel=True)
            if patience.cancelled_caught:
                self._rest()
        self._failures += done is None
        return done

    def _rest(self) -> None:
        self._resting_until = self._timer() + _REST_S

    # All below: in a worker thread.

    def _tried(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        if not self._lock.acquire(timeout=_WAIT_S):  # a thread that nobody waits for any more still has it
            return None
        try:
            connection = self._opened()
            for target, added in self._owed.due().items():
                self._write(connection, target, lambda connection, target=target: _delete(connection, target))
                self._owed.paid({target: added})
            return work(connection)
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
            return None
        finally:
            self._lock.release()

    def _failed(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if isinstance(error, _Unsound) or code in _DAMAGED:
            self._drop(error)
        else:
            logger.debug("the cache %s did not work: %s", self.path.name, error)
        if code == sqlite3.SQLITE_BUSY:
            self._rest()

    def _opened(self) -> sqlite3.Connection:
        """The connection to the file that others have open too."""
        if self._connection is not None and not (self._counters.live and _inode(self.path) == self._inode):
            self._let_go()
        if self._connection is None:
            self._connection = self._open()
            self._inode = _inode(self.path)
        return self._connection

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # An existing file is never opened beside SQLite: closing it again would end SQLite's locks on it.
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL, 0o600))
        self.path.chmod(0o600)
        connection = sqlite3.connect(self.path, timeout=_WAIT_S, check_same_thread=False, isolation_level=None)
        try:
            connection.executescript(_SETTINGS)
            with _Transaction(connection):
                self._counters.open()
                if connection.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
                    for statement in _TABLES:
                        connection.execute(statement)
        except (sqlite3.Error, OSError):
            connection.close()
            raise
        return connection

    def _write(
        self, connection: sqlite3.Connection, target: Target, work: Callable[[sqlite3.Connection], object]
    ) -> None:
        try:
            with _Transaction(connection):
                self._versions.changing(target)
                connection.executemany(
                    f"UPDATE entries SET used = {_NEXT_USE} WHERE id = ?",  # noqa: S608
                    [(id_,) for id_ in self._touched],
                )
                work(connection)
        finally:
            self._versions.changed(target.slot)
        self._touched.clear()

    def _look(self, connection: sqlite3.Connection, id_: bytes) -> tuple[bytes, float] | tuple[()]:
        row = connection.execute(
            "SELECT put_at, expires_at, digest, value FROM entries WHERE id = ?", (id_,)
        ).fetchone()
        if row is None:
            return ()
        put_at, expires_at, digest, value = row
        now = self._now().timestamp()
        if not put_at <= now < expires_at:  # put later than now: by a clock that was wrong
            self._expirations += 1
            return ()
        if digest != _digest(id_, value):
            raise _Unsound("a value does not belong to its key")
        # Written with the next change: a look that wrote would cost more than it saves.
        self._touched.pop(id_, None)
        self._touched[id_] = None
        return value, expires_at - now

    def _put(
        self, connection: sqlite3.Connection, namespace: str, id_: bytes, value: bytes, ttl_s: float, tags: list[bytes]
    ) -> None:
        now = self._now().timestamp()
        self._expirations += connection.execute("DELETE FROM entries WHERE expires_at <= ?", (now,)).rowcount
        connection.execute(
            f"INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, {_NEXT_USE}, ?, ?, ?)",  # noqa: S608
            (id_, _digest(namespace), now, now + ttl_s, len(value), _digest(id_, value), value),
        )
        connection.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", [(tag, id_) for tag in tags])
        if connection.execute(_FULL, self._bounds).fetchone()[0]:
            self._evictions += connection.execute(_EVICT, self._bounds).rowcount

    def _drop(self, error: Exception) -> None:
        logger.warning("the cache %s is damaged and begins anew: %s", self.path.name, error)
        with suppress(OSError):
            self._versions.changed(Target().slot)
        self._let_go()
        for suffix in ("", "-journal"):
            with suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _let_go(self) -> None:
        self._counters.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Transaction:
    """One transaction that has the file to itself from its beginning."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


class _Unsound(sqlite3.DatabaseError):
    """A value that is not the one that was put there."""


def _delete(connection: sqlite3.Connection, target: Target) -> None:
    if target.namespace is None:
        connection.execute("DELETE FROM entries")
    elif target.key is None:
        connection.execute("DELETE FROM entries WHERE namespace = ?", (_digest(target.namespace),))
    else:
        connection.execute("DELETE FROM entries WHERE id = ?", (_id(target.namespace, target.key),))


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _id(namespace: str, key: str) -> bytes:
    return _digest(namespace, key)


def _digest(*parts: str | bytes) -> bytes:
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        each = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        hashed.update(len(each).to_bytes(8) + each)
    return hashed.digest()
