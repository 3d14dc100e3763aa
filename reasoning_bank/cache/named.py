"""One named cache: in this process or in a store, with one load for all that ask at once."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Hashable
from dataclasses import replace
from typing import Any, Final, Generic, TypeVar, cast
from weakref import WeakKeyDictionary

from reasoning_bank.cache.codec import Codec, json_codec
from reasoning_bank.cache.config import CacheConfig
from reasoning_bank.cache.flight import SingleFlight, ThreadFlight
from reasoning_bank.cache.lifetime import AS_GIVEN, Lifetime
from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.cache.store import SharedStore
from reasoning_bank.cache.stored import StoredCache
from reasoning_bank.records import JsonValue

V = TypeVar("V")

_COUNTED: Final = ("hits", "misses", "evictions", "expirations", "missed_by_size")


class Cache(Generic[V]):
    """Values by key; None is no value. Keys of two namespaces (workspaces) never meet.

    Values of a cache in memory come back as the same object, so they must not be changed.

    Args:
        name: what it is called in statistics.
        config: bounds and time to live.
        store: where entries are instead of this process.
        codec: how a store is given values; JSON where there is none.
        variant: what else values depend on that may differ between processes sharing the store.
        lifetime: what becomes of times to live.
        timer: a clock in seconds, for what loading takes.
    """

    def __init__(
        self,
        name: str,
        config: CacheConfig,
        *,
        store: SharedStore | None = None,
        codec: Codec[V] | None = None,
        variant: str = "",
        lifetime: Lifetime = AS_GIVEN,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.name = name
        self.config = config
        self._kept: MemoryCache[V] | StoredCache[V] = (
            in_memory(config, lifetime)
            if store is None
            else StoredCache(store, codec or json_codec(), config=config, lifetime=lifetime, variant=variant)
        )
        self._timer = timer
        self._epochs = Counter[str | None]()
        self._flights = WeakKeyDictionary[asyncio.AbstractEventLoop, SingleFlight[V]]()
        self._threads = ThreadFlight[V]()

    @property
    def memory(self) -> MemoryCache[V] | None:
        """Its entries, where they are in this process."""
        return self._kept if isinstance(self._kept, MemoryCache) else None

    async def get(self, key: Hashable, *, namespace: str = "") -> V | None:
        """Return what is kept under a key, or None."""
        kept = self._kept
        return kept.get((namespace, key)) if isinstance(kept, MemoryCache) else await kept.get(namespace, key)

    async def set(
        self,
        key: Hashable,
        value: V,
        *,
        namespace: str = "",
        ttl: float | None = None,
        tags: Collection[str] = (),
        cost_s: float = 0.0,
    ) -> None:
        """Keep a value.

        Args:
            key: a text, or a tuple of texts, numbers and frozen dataclasses.
            value: what to keep.
            namespace: whose it is.
            ttl: its own time to live in seconds.
            tags: what `invalidate` will drop it by.
            cost_s: seconds it took to make: what every hit saves.
        """
        kept = self._kept
        if isinstance(kept, MemoryCache):
            kept.put((namespace, key), value, ttl_s=ttl, tags=tags, cost_s=cost_s)
        else:
            await kept.put(namespace, key, value, ttl_s=ttl, tags=tags, cost_s=cost_s)

    async def get_or_load(
        self,
        key: Hashable,
        load: Callable[[], Coroutine[Any, Any, V]],
        *,
        namespace: str = "",
        ttl: float | None = None,
        tags: Collection[str] = (),
    ) -> V:
        """Return what is kept under a key, or load and keep it: once for all that ask at the same time.

        Whoever is cancelled harms nobody who waits for the same. What `load` raises is raised to all who wait, and
        nothing is kept then. What this process invalidates while it is loaded or put is not kept either. What another
        process invalidates meanwhile is: a value that was read before is then served until its time is over. Where that
        matters, a key holds the version of what was read, as those of a bank do.
        """
        if (known := await self.get(key, namespace=namespace)) is not None:
            return known
        epoch = self._epoch(namespace)

        async def loaded() -> V:
            started = self._timer()
            value = await load()
            if value is not None and epoch == self._epoch(namespace):
                cost_s = self._timer() - started
                await self.set(key, value, namespace=namespace, ttl=ttl, tags=tags, cost_s=cost_s)
                if epoch != self._epoch(namespace):  # the value may have arrived after what was to drop it
                    await self._drop(namespace, key)
            return value

        flight = self._flights.setdefault(asyncio.get_running_loop(), SingleFlight())
        return await flight.do((namespace, epoch, key), loaded)

    def get_or_work(
        self,
        key: Hashable,
        work: Callable[[], V],
        *,
        namespace: str = "",
        ttl: float | None = None,
        tags: Collection[str] = (),
    ) -> V:
        """As `get_or_load`, for threads; of caches in memory only.

        Raises:
            ValueError: the cache is outside this process, where only coroutines wait well.
        """
        memory = self.memory
        if memory is None:
            raise ValueError(f"cache {self.name!r} is outside this process: use it from coroutines")
        if (known := memory.get((namespace, key))) is not None:
            return known
        epoch = self._epoch(namespace)

        def worked() -> V:
            # Another thread may have been through between the look above and this run.
            if (known := memory.peek((namespace, key))) is not None:
                return known
            started = self._timer()
            value = work()
            if value is not None and epoch == self._epoch(namespace):
                memory.put((namespace, key), value, ttl_s=ttl, tags=tags, cost_s=self._timer() - started)
                if epoch != self._epoch(namespace):
                    memory.invalidate((namespace, key))
            return value

        return self._threads.do((namespace, epoch, key), worked)

    async def invalidate(self, key: Hashable = None, *, namespace: str = "", tag: str | None = None) -> None:
        """Drop the entry of a key, or all entries of a namespace that were put with a tag."""
        self._epochs[namespace] += 1
        await self._drop(namespace, key, tag)

    async def clear(self, namespace: str | None = None) -> None:
        """Drop the entries of a namespace, or all; the counters go on."""
        self._epochs[namespace] += 1
        kept = self._kept
        if isinstance(kept, MemoryCache):
            kept.clear(namespace)
        else:
            await kept.store.clear(namespace)

    def counters(self) -> dict[str, float]:
        """Hits, misses and the like since it was made, without a look outside this process."""
        kept = self._kept
        said = kept.get_statistics() if isinstance(kept, MemoryCache) else kept.counters()
        return {name: said[name] for name in _COUNTED if name in said}

    async def statistics(self) -> dict[str, JsonValue]:
        """Backend, and what `MemoryCache.get_statistics` says.

        `shared` are calls that waited for what another one was loading; `failures` is what a store could not do.
        """
        kept = self._kept
        said = kept.get_statistics() if isinstance(kept, MemoryCache) else await kept.statistics()
        shared = self._threads.shared + sum(flight.shared for flight in self._flights.values())
        return {"backend": self.config.backend.value, **cast("dict[str, JsonValue]", said), "shared": shared}

    async def _drop(self, namespace: str, key: Hashable, tag: str | None = None) -> None:
        kept = self._kept
        if not isinstance(kept, MemoryCache):
            await kept.drop(namespace, key, tag)
            return
        if key is not None:
            kept.invalidate((namespace, key))
        if tag is not None:
            kept.invalidate_tag(namespace, tag)

    def _epoch(self, namespace: str) -> tuple[int, int]:
        # What was invalidated while it was being loaded is not kept, and who asks afterwards does not wait for it.
        return self._epochs[namespace], self._epochs[None]


def in_memory(config: CacheConfig, lifetime: Lifetime = AS_GIVEN) -> MemoryCache[Any]:
    """An empty cache in this process as configured; one that is switched off keeps nothing."""
    return MemoryCache(
        config.max_size if config.enabled else 0,
        config.default_ttl,
        policy=config.eviction_policy,
        max_bytes=config.max_bytes,
        lifetime=replace(lifetime, longest=config.adaptive_ttl),
    )
