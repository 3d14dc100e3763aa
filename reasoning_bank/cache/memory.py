"""A bounded cache in this process: bounded by entries and bytes, nothing outlives its time."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypedDict, TypeVar

from cachetools import Cache, FIFOCache, LFUCache, LRUCache

from reasoning_bank.cache.config import EvictionPolicy
from reasoning_bank.cache.lifetime import AS_GIVEN, Deadlines, Lifetime
from reasoning_bank.cache.sizes import size_of

V = TypeVar("V")

CacheKey: TypeAlias = tuple[Hashable, ...]
"""The workspace first, always: an entry of one workspace can then never answer another."""

ENTRY_BYTES: Final = 400
"""What an entry takes beside its key and value: its place in the order and among the deadlines."""
_MOST_GHOSTS: Final = 4_096


class CacheStatistics(TypedDict):
    """Counters since the cache was made; `hit_rate` is a percentage of `total_requests`.

    Attributes:
        bytes: estimated bytes of what is kept; `max_bytes` None bounds entries alone.
        expirations: entries whose time was over, `evictions` those that made room.
        missed_by_size: misses of what was evicted lately: about what a cache of twice the size would have answered.
        saved_s: seconds that the hits would have taken to load, as far as that was told.
    """

    cache_size: int
    max_size: int
    hits: int
    misses: int
    hit_rate: float
    evictions: int
    total_requests: int
    bytes: int
    max_bytes: int | None
    expirations: int
    missed_by_size: int
    saved_s: float


@dataclass(slots=True, eq=False)
class _Entry(Generic[V]):
    """One kept value; once it was removed, its key and value are gone too.

    Attributes:
        fresh_until: up to then it is served without another look; not after `expires_at`.
        longest_at: no reading lets it live longer.
    """

    key: CacheKey
    value: V
    size: int
    cost_s: float
    tags: frozenset[str]
    ttl_s: float
    fresh_until: float
    expires_at: float
    longest_at: float
    alive: bool = True


class MemoryCache(Generic[V]):
    """Bounded cache with times to live, safe to share between threads.

    Values come back as the same object they were put in as, so they must not be changed afterwards.
    """

    def __init__(
        self,
        max_size: int = 1000,
        ttl_seconds: float = 3600,
        *,
        policy: EvictionPolicy = EvictionPolicy.LRU,
        max_bytes: int | None = None,
        size_of: Callable[[object], int] = size_of,
        timer: Callable[[], float] = time.monotonic,
        lifetime: Lifetime = AS_GIVEN,
    ) -> None:
        """Make an empty cache.

        Args:
            max_size: entries kept at most; 0 keeps nothing, so every request is a miss.
            ttl_seconds: seconds an entry may be served after it was put, where it is not put with its own.
            policy: which entry makes room for another.
            max_bytes: bytes of keys, values and the entries around them at most; a larger one is not kept.
            size_of: bytes of a key or a value.
            timer: clock in seconds that never goes backwards.
            lifetime: what becomes of a time to live.

        Raises:
            ValueError: a bound is negative or `ttl_seconds` is not positive.
        """
        if max_size < 0 or ttl_seconds <= 0:
            raise ValueError(f"max_size must be >= 0 and ttl_seconds > 0, got {max_size!r} and {ttl_seconds!r}")
        self._max_size = max_size
        self._max_bytes = max_bytes
        self._ttl_s = ttl_seconds
        self._policy = policy
        self._size_of = size_of
        self._timer = timer
        self._lifetime = lifetime
        # The containers know the order only; who expires first is known by the deadlines, whatever the order.
        self._entries: Cache[CacheKey, _Entry[V]] = _ordered(policy)
        self._deadlines = Deadlines[_Entry[V]]()
        self._tagged: dict[tuple[Hashable, str], set[CacheKey]] = {}
        self._ghosts = OrderedDict[int, None]()
        # Reading changes the order too, so reads need the lock as much as writes.
        self._lock = threading.Lock()
        self._bytes = 0
        self._hits = 0
        self._misses = 0
        self._evictions = 0
        self._expirations = 0
        self._missed_by_size = 0
        self._saved_s = 0.0

    def get(self, key: CacheKey) -> V | None:
        """Return the value put under `key`, or None when there is none or its time is over."""
        with self._lock:
            try:
                entry = self._entries[key]
            except KeyError:
                self._misses += 1
                if self._ghosts and hash(key) in self._ghosts:
                    del self._ghosts[hash(key)]
                    self._missed_by_size += 1
                return None
            now = self._timer()
            if now >= entry.fresh_until and not _prolonged(entry, now):
                self._remove(entry)
                self._expirations += 1
                self._misses += 1
                return None
            self._hits += 1
            self._saved_s += entry.cost_s
            return entry.value

    def peek(self, key: CacheKey) -> V | None:
        """As `get`, without being counted as a look-up."""
        with self._lock:
            entry = self._entries.get(key)
            return None if entry is None or self._timer() >= entry.expires_at else entry.value

    def put(
        self, key: CacheKey, value: V, *, ttl_s: float | None = None, tags: Collection[str] = (), cost_s: float = 0.0
    ) -> None:
        """Keep `value` under `key`; its time to live starts now.

        Args:
            ttl_s: its own time to live in seconds; 0 or less keeps nothing.
            tags: what `invalidate_tag` will drop it by.
            cost_s: seconds it took to load: what every hit saves.
        """
        if not self._max_size:
            return
        size = ENTRY_BYTES + self._size_of(key) + self._size_of(value)
        ttl_s = self._lifetime.varied(self._ttl_s if ttl_s is None else ttl_s)
        with self._lock:
            now = self._timer()
            self._expire(now)
            if (old := self._entries.get(key)) is not None:
                self._remove(old)
            if ttl_s <= 0 or (self._max_bytes is not None and size > self._max_bytes):
                return
            self._make_room(entries=1, size=size)
            longest = self._lifetime.longest
            fresh_s = ttl_s if longest == 1 else ttl_s / 2
            tagged = frozenset(tags)
            self._add(
                _Entry(key, value, size, cost_s, tagged, ttl_s, now + fresh_s, now + ttl_s, now + ttl_s * longest)
            )

    def invalidate(self, key: CacheKey) -> bool:
        """Drop one entry; True when there was one that could still be served."""
        with self._lock:
            self._expire(self._timer())
            self._ghosts.pop(hash(key), None)
            entry = self._entries.get(key)
            if entry is None:
                return False
            self._remove(entry)
            return True

    def invalidate_tag(self, workspace: str, tag: str) -> int:
        """Drop the entries of a workspace that were put with a tag; how many could still be served."""
        with self._lock:
            self._expire(self._timer())
            return self._drop(self._tagged.get((workspace, tag), ()))

    def clear(self, workspace: str | None = None) -> None:
        """Drop the entries of one workspace, or all; the counters go on."""
        with self._lock:
            self._ghosts.clear()
            self._drop([key for key in self._entries if workspace is None or key[0] == workspace])

    def resize(self, max_size: int | None = None, *, max_bytes: int | None = None) -> None:
        """Set other bounds, as far as given; what no longer fits is evicted now."""
        if (max_size or 0) < 0 or (max_bytes or 0) < 0:
            raise ValueError(f"bounds must be >= 0, got {max_size!r} and {max_bytes!r}")
        with self._lock:
            self._max_size = self._max_size if max_size is None else max_size
            self._max_bytes = self._max_bytes if max_bytes is None else max_bytes
            self._make_room(entries=0, size=0)

    def get_statistics(self) -> CacheStatistics:
        """Return size, capacity and counters; entries whose time is over are not counted as kept."""
        with self._lock:
            self._expire(self._timer())
            requests = self._hits + self._misses
            return CacheStatistics(
                cache_size=len(self._entries),
                max_size=self._max_size,
                hits=self._hits,
                misses=self._misses,
                hit_rate=round(100.0 * self._hits / requests, 2) if requests else 0.0,
                evictions=self._evictions,
                total_requests=requests,
                bytes=self._bytes,
                max_bytes=self._max_bytes,
                expirations=self._expirations,
                missed_by_size=self._missed_by_size,
                saved_s=round(self._saved_s, 6),
            )

    # All below: by whoever holds the lock.

    def _add(self, entry: _Entry[V]) -> None:
        self._entries[entry.key] = entry
        self._bytes += entry.size
        self._deadlines.add(entry)
        self._ghosts.pop(hash(entry.key), None)
        for tag in entry.tags:
            self._tagged.setdefault((entry.key[0], tag), set()).add(entry.key)

    def _remove(self, entry: _Entry[V]) -> None:
        del self._entries[entry.key]
        self._let_go(entry)

    def _let_go(self, entry: _Entry[V]) -> None:
        self._bytes -= entry.size
        for tag in entry.tags:
            tagged = self._tagged[entry.key[0], tag]
            tagged.discard(entry.key)
            if not tagged:
                del self._tagged[entry.key[0], tag]
        entry.alive = False
        del entry.key, entry.value  # the deadlines let go of it later
        self._deadlines.tidy(len(self._entries))

    def _drop(self, keys: Collection[CacheKey]) -> int:
        dropped = [self._entries[key] for key in keys]
        for entry in dropped:
            self._remove(entry)
        return len(dropped)

    def _expire(self, now: float) -> None:
        while (entry := self._deadlines.soonest()) is not None and entry.expires_at <= now:
            self._remove(entry)
            self._expirations += 1

    def _make_room(self, *, entries: int, size: int) -> None:
        while self._entries and (
            len(self._entries) + entries > self._max_size
            or (self._max_bytes is not None and self._bytes + size > self._max_bytes)
        ):
            self._evict()

    def _evict(self) -> None:
        if self._policy is EvictionPolicy.TTL and (soonest := self._deadlines.soonest()) is not None:
            entry = self._entries.pop(soonest.key)
        else:
            _, entry = self._entries.popitem()
        self._ghosts[hash(entry.key)] = None
        if len(self._ghosts) > min(self._max_size, _MOST_GHOSTS):
            self._ghosts.popitem(last=False)
        self._let_go(entry)
        self._evictions += 1


def _ordered(policy: EvictionPolicy) -> "Cache[CacheKey, Any]":
    match policy:
        case EvictionPolicy.LRU:
            return LRUCache(math.inf)
        case EvictionPolicy.LFU:
            return LFUCache(math.inf)
        case EvictionPolicy.FIFO | EvictionPolicy.TTL:
            return FIFOCache(math.inf)


def _prolonged(entry: _Entry[V], now: float) -> bool:
    """Whether an entry may still be served; being read late in its time gives it more, where it may have more."""
    if now >= entry.expires_at:
        return False
    entry.expires_at = max(entry.expires_at, min(now + entry.ttl_s, entry.longest_at))
    entry.fresh_until = min(now + entry.ttl_s / 2, entry.expires_at)
    return True
