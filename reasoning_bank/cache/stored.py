"""Values in a store outside this process: what cannot be read back is a miss."""

import logging
from collections.abc import Collection, Hashable
from typing import Final, Generic, TypeVar

import anyio.to_thread

from reasoning_bank.cache.codec import Codec, digest
from reasoning_bank.cache.config import CacheConfig
from reasoning_bank.cache.lifetime import Lifetime
from reasoning_bank.cache.store import SharedStore
from reasoning_bank.records import JsonValue

logger = logging.getLogger(__name__)
V = TypeVar("V")

_LARGE: Final = 64 * 1024
"""Bytes from which reading a value would hold up the event loop for longer than going to a thread takes."""


class StoredCache(Generic[V]):
    """Values by namespace and key in a store.

    Args:
        store: where they are.
        codec: values as bytes.
        config: bounds and time to live.
        lifetime: what becomes of times to live.
        variant: what else values depend on that differs between processes, such as their settings; in every key.
    """

    def __init__(
        self, store: SharedStore, codec: Codec[V], *, config: CacheConfig, lifetime: Lifetime, variant: str = ""
    ) -> None:
        self.store = store
        self._codec = codec
        self._config = config
        self._lifetime = lifetime
        self._variant = variant
        self._hits = 0
        self._misses = 0
        self._loads = 0
        self._load_s = 0.0
        self._unreadable = 0

    async def get(self, namespace: str, key: Hashable) -> V | None:
        """Return what is kept under a key, or None."""
        stored = await self.store.get(namespace, self._name(key)) if self._config.enabled else None
        if stored is not None and len(stored) > _LARGE:
            value = await anyio.to_thread.run_sync(self._read, stored)
        else:
            value = self._read(stored)
        self._hits += value is not None
        self._misses += value is None
        return value

    async def put(
        self,
        namespace: str,
        key: Hashable,
        value: V,
        *,
        ttl_s: float | None = None,
        tags: Collection[str] = (),
        cost_s: float = 0.0,
    ) -> None:
        """Keep a value; see `Cache.set`."""
        if not self._config.enabled or not self._config.max_size:
            return
        self._loads += 1
        self._load_s += cost_s
        # How large a value is nobody knows before it is written.
        written = await anyio.to_thread.run_sync(self._codec.encode, value)
        if self._config.max_bytes is None or len(written) <= self._config.max_bytes:
            ttl_s = self._lifetime.varied(ttl_s or self._config.default_ttl)
            await self.store.put(namespace, self._name(key), written, ttl_s=ttl_s, tags=tags)

    async def drop(self, namespace: str, key: Hashable | None, tag: str | None) -> None:
        """Drop the entry of a key, and those with a tag."""
        if key is not None:
            await self.store.delete(namespace, self._name(key))
        if tag is not None:
            await self.store.delete_tag(namespace, tag)

    def counters(self) -> dict[str, float]:
        """Hits and misses of this process."""
        return {"hits": self._hits, "misses": self._misses}

    async def statistics(self) -> dict[str, JsonValue]:
        """As those of a cache in memory, as far as a store can tell; seconds saved are those of a mean load."""
        held, requests = await self.store.statistics(), self._hits + self._misses
        return {
            "cache_size": held["entries"],
            "max_size": self._config.max_size,
            "hits": self._hits,
            "misses": self._misses,
            "hit_rate": round(100.0 * self._hits / requests, 2) if requests else 0.0,
            "evictions": held["evictions"],
            "total_requests": requests,
            "bytes": held["bytes"],
            "max_bytes": self._config.max_bytes,
            "expirations": held["expirations"],
            "saved_s": round(self._hits * self._load_s / max(self._loads, 1), 6),
            "failures": held["failures"] + self._unreadable,
        }

    def _read(self, stored: bytes | None) -> V | None:
        if stored is None:
            return None
        try:
            return self._codec.decode(stored)
        except ValueError as error:  # written by another version, or by something else
            logger.debug("a cached value could not be read: %s", error)
            self._unreadable += 1
            return None

    def _name(self, key: Hashable) -> str:
        return digest((self._variant, key))
