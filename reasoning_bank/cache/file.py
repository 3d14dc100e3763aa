"""A bounded cache on disk that outlives its process: one SQLite file that anyone may delete at any time."""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from reasoning_bank.cache.changes import Owed, Target, Version, Versions
from reasoning_bank.cache.counters import FileCounters
from reasoning_bank.cache.entries import AT_ONCE, Entries, Transaction, UnsoundError, make_tables, set_up
from reasoning_bank.cache.store import StoreStatistics

logger = logging.getLogger(__name__)
T = TypeVar("T")

_WAIT_S: Final = 0.2
_TURN: Final = 5
"""So many times as long whoever asks in a crowd waits for his turn: how many ask is no fault of the file."""
_TOGETHER: Final = 100
"""Looks that are made in one trip to a thread."""
_REST_S: Final = 1.0
"""How long a file that did not answer in time is left alone: whoever comes then does not wait for it too."""
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class FileCache:
    """A named cache in a file, a `SharedStore`: least recently used goes first, nothing outlives its time.

    Any number of processes and threads share the file; what one of them changed, every other finds changed at its next
    call. Whatever the file does (full disk, locked, read-only, deleted) is a miss and counted; a damaged file is
    dropped and made anew. Each value carries a digest of itself and its key, because a page of a damaged file can look
    sound.

    Args:
        path: the file; made when first used, readable by its owner only. Counters of changes are beside it.
        name: of the cache: those of other names in the same file have their own entries and bounds.
        max_entries: entries kept at most.
        max_bytes: bytes of all values together at most; a larger value is not kept.
        now: the clock.
        timer: seconds that never go backwards.
        wait_s: the longest that anybody waits for the file, once it is his turn.
    """

    def __init__(
        self,
        path: Path,
        name: str = "",
        *,
        max_entries: int,
        max_bytes: int,
        now: Callable[[], datetime],
        timer: Callable[[], float] = time.monotonic,
        wait_s: float = _WAIT_S,
    ) -> None:
        self.path = path
        self._entries = Entries(name, max_entries=max_entries, max_bytes=max_bytes)
        self._now = now
        self._timer = timer
        self._wait_s = wait_s
        # One call at a time has the file: the others wait as coroutines, not as threads.
        self._turn = anyio.Lock()
        self._limiter = anyio.CapacityLimiter(1)  # of a thread too that nobody waits for any more
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._counters = FileCounters(path.with_name(f"{path.name}-changes"))
        self._versions = Versions(self._counters)
        self._owed = Owed()
        self._touched: dict[bytes, None] = {}
        self._looks: dict[_Look, None] = {}
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
        mine = _Look(self._entries.id(namespace, key))
        self._looks[mine] = None
        try:
            found = await self._do(lambda: self._look(mine), known=lambda: mine.found)
        finally:
            del self._looks[mine]
        self._hits += bool(found)
        self._misses += not found
        return found or None

    async def put(self, namespace: str, key: str, value: bytes, *, ttl_s: float, tags: Collection[str] = ()) -> None:
        """Keep a value for `ttl_s` seconds; `tags` name what `delete_tag` will drop it by."""
        if not self._entries.max_entries or len(value) > self._entries.max_bytes:
            await self.delete(namespace, key)
            return
        target = Target(namespace, key)
        await self._change(target, lambda connection: self._put(connection, target, value, ttl_s, tags))

    async def delete(self, namespace: str, key: str) -> None:
        """Drop one entry."""
        await self._remove(Target(namespace, key))

    async def delete_tag(self, namespace: str, tag: str) -> None:
        """Drop the entries of a namespace that were put with this tag."""
        await self._change(Target(namespace), lambda connection: self._entries.delete_tag(connection, namespace, tag))

    async def clear(self, namespace: str | None = None) -> None:
        """Drop the entries of one namespace, or all."""
        await self._remove(Target(namespace))

    def version(self, namespace: str, key: str) -> Version | None:
        """Return the version of an entry, which tells a change before its call returns; None: nobody can tell."""
        with suppress(OSError):
            return self._versions.of(namespace, key) if self._counters.live else None
        return None

    async def statistics(self) -> StoreStatistics:
        """Return what is held, and the counters of this object; what is over counts until the next put."""
        entries, size = await self._do(self._sizes) or (0, 0)
        return StoreStatistics(
            entries=entries,
            bytes=size,
            hits=self._hits,
            misses=self._misses,
            evictions=self._evictions,
            expirations=self._expirations,
            failures=self._failures,
        )

    async def aclose(self) -> None:
        """Let go of the file; the next use opens it again."""
        with anyio.move_on_after(2 * self._wait_s):
            await anyio.to_thread.run_sync(self.close, limiter=self._limiter, abandon_on_cancel=True)

    def close(self) -> None:
        """As `aclose`, from a thread."""
        if self._lock.acquire(timeout=self._wait_s):  # else it hangs: nobody waits for that at the end
            try:
                self._let_go()
            finally:
                self._lock.release()

    async def _remove(self, target: Target) -> None:
        await self._change(target, lambda connection: self._entries.delete(connection, target))

    async def _change(self, target: Target, work: Callable[[sqlite3.Connection], object]) -> None:
        """Change something, so that every process knows; owed where it fails or its caller leaves."""

        def told() -> bool:
            self._write(self._ready(), target, work)
            return True

        done = None
        try:
            done = await self._do(told)
        finally:
            if done is None:
                self._owed.add(target)

    async def _do(self, work: Callable[[], T], *, known: Callable[[], T | None] = lambda: None) -> T | None:
        """What `work` returns, or what is `known` when its turn comes, or None where the file did not do it in time."""
        done = None
        with anyio.move_on_after(_TURN * self._wait_s):
            async with self._turn:
                if (done := known()) is None:
                    done = await self._in_turn(work)
        self._failures += done is None
        return done

    async def _in_turn(self, work: Callable[[], T]) -> T | None:
        done = None
        if self._timer() >= self._resting_until:
            with anyio.move_on_after(self._wait_s) as patience:
                done = await anyio.to_thread.run_sync(self._tried, work, limiter=self._limiter, abandon_on_cancel=True)
            if patience.cancelled_caught:
                self._rest()
        return done

    def _rest(self) -> None:
        self._resting_until = self._timer() + _REST_S

    # All below: in a worker thread.

    def _tried(self, work: Callable[[], T]) -> T | None:
        if not self._lock.acquire(timeout=self._wait_s):  # a thread that nobody waits for any more still has it
            return None
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
            return None
        finally:
            self._lock.release()

    def _failed(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if isinstance(error, UnsoundError) or code in _DAMAGED:
            self._drop(error)
        else:
            logger.debug("the cache %s did not work: %s", self.path.name, error)
        if code == sqlite3.SQLITE_BUSY:
            self._rest()

    def _ready(self) -> sqlite3.Connection:
        """The connection, with what is owed from before done."""
        connection = self._opened()
        for target, added in self._owed.due().items():
            self._write(connection, target, lambda connection, target=target: self._entries.delete(connection, target))
            self._owed.paid({target: added})
        return connection

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
        connection = sqlite3.connect(self.path, timeout=self._wait_s, check_same_thread=False, isolation_level=None)
        try:
            set_up(connection)
            with Transaction(connection):
                self._counters.open()
                make_tables(connection)
        except (sqlite3.Error, OSError):
            connection.close()
            raise
        return connection

    def _write(
        self, connection: sqlite3.Connection, target: Target, work: Callable[[sqlite3.Connection], object]
    ) -> None:
        try:
            with Transaction(connection):
                self._versions.changing(target)
                self._entries.used(connection, self._touched)
                work(connection)
        finally:
            self._versions.changed(target.slot)
        self._touched.clear()

    def _sizes(self) -> tuple[int, int]:
        return self._entries.held(self._ready()) if self.path.exists() else (0, 0)  # looking makes no file

    def _look(self, mine: "_Look") -> tuple[bytes, float] | tuple[()]:
        """Look one up, and for others that wait: a trip to this thread takes as long as dozens of looks."""
        connection, now = self._ready(), self._now().timestamp()
        for each in [mine, *list(self._looks)[:_TOGETHER]]:
            if each.found is None:
                found = self._entries.look(connection, each.id, now)
                self._expirations += found is True
                each.found = () if isinstance(found, bool) else found
                if each.found:
                    self._touch(each.id)
        assert mine.found is not None
        return mine.found

    def _touch(self, id_: bytes) -> None:
        # Written with the next change: a look that wrote would cost more than it saves.
        self._touched.pop(id_, None)
        self._touched[id_] = None
        if len(self._touched) > AT_ONCE:
            del self._touched[next(iter(self._touched))]

    def _put(
        self, connection: sqlite3.Connection, target: Target, value: bytes, ttl_s: float, tags: Collection[str]
    ) -> None:
        now = self._now().timestamp()
        self._expirations += self._entries.expire(connection, now)
        self._evictions += self._entries.put(connection, target, value, now=now, ttl_s=ttl_s, tags=tags)

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


@dataclass(slots=True, eq=False)
class _Look:
    """What somebody waits for: None is not known yet, nothing is a miss."""

    id: bytes
    found: tuple[bytes, float] | tuple[()] | None = None


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
