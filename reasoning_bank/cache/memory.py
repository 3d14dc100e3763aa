"""A bounded cache in this process: least recently used goes first, nothing outlives its time."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeAlias, TypedDict, TypeVar

from cachetools import TTLCache

V = TypeVar("V")

CacheKey: TypeAlias = tuple[Hashable, ...]
"""The workspace first, always: an entry of one workspace can then never answer another."""


class CacheStatistics(TypedDict):
    """Counters since the cache was made; `hit_rate` is a percentage of `total_requests`."""

    cache_size: int
    max_size: int
    hits: int
    misses: int
    hit_rate: float
    evictions: int
    total_requests: int


class MemoryCache(Generic[V]):
    """LRU cache with a time to live, safe to share between threads.

    Values come back as the same object they were put in as, so they must not be changed afterwards.
    """

    def __init__(
        self, max_size: int = 1000, ttl_seconds: float = 3600, *, timer: Callable[[], float] = time.monotonic
    ) -> None:
        """Make an empty cache.

        Args:
            max_size: entries kept at most; 0 keeps nothing, so every request is a miss.
            ttl_seconds: seconds an entry may be served after it was put.
            timer: clock in seconds that never goes backwards.

        Raises:
            ValueError: `max_size` is negative or `ttl_seconds` is not positive.
        """
        if max_size < 0 or ttl_seconds <= 0:
            raise ValueError(f"max_size must be >= 0 and ttl_seconds > 0, got {max_size!r} and {ttl_seconds!r}")
        self._max_size = max_size
        self._entries: TTLCache[CacheKey, V] = TTLCache(maxsize=max(max_size, 1), ttl=ttl_seconds, timer=timer)
        # cachetools reorders its links on every read, so reads need the lock as much as writes.
        self._lock = threading.Lock()
        self._hits = 0
        self._misses = 0
        self._evictions = 0

    def get(self, key: CacheKey) -> V | None:
        """Return the value put under `key`, or None when there is none or its time is over."""
        with self._lock:
            try:
                value = self._entries[key]
            except KeyError:
                self._misses += 1
                return None
            self._hits += 1
            return value

    def put(self, key: CacheKey, value: V) -> None:
        """Keep `value` under `key`; its time to live starts now."""
        if not self._max_size:
            return
        with self._lock:
            self._entries.expire()
            if key not in self._entries and len(self._entries) >= self._max_size:
                self._evictions += 1
            self._entries[key] = value

    def invalidate(self, key: CacheKey) -> bool:
        """Drop one entry; True when there was one that could still be served."""
        with self._lock:
            self._entries.expire()
            return self._entries.pop(key, None) is not None

    def clear(self, workspace: str | None = None) -> None:
        """Drop the entries of one workspace, or all; the counters go on."""
        with self._lock:
            if workspace is None:
                self._entries.clear()
                return
            self._entries.expire()
            for key in [key for key in self._entries if key[0] == workspace]:
                del self._entries[key]

    def get_statistics(self) -> CacheStatistics:
        """Return size, capacity and counters; entries whose time is over are not counted as kept."""
        with self._lock:
            self._entries.expire()
            requests = self._hits + self._misses
            return CacheStatistics(
                cache_size=len(self._entries),
                max_size=self._max_size,
                hits=self._hits,
                misses=self._misses,
                hit_rate=round(100.0 * self._hits / requests, 2) if requests else 0.0,
                evictions=self._evictions,
                total_requests=requests,
            )
