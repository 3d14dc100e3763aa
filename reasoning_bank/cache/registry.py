"""Caches by name, for programs that use this package as a library; a bank has its own."""

import asyncio
import threading
import time
from datetime import UTC, datetime
from typing import Any

from reasoning_bank.cache.codec import json_codec
from reasoning_bank.cache.config import CacheConfig
from reasoning_bank.cache.named import Cache
from reasoning_bank.cache.stores import Stores
from reasoning_bank.records import JsonValue

_caches: dict[str, Cache[Any]] = {}
_stores = Stores(prefix="rb", now=lambda: datetime.fromtimestamp(time.time(), UTC))
_lock = threading.Lock()


def get_cache(name: str, config: CacheConfig | None = None, *, of: Any = None) -> Cache[Any]:
    """Return the cache of a name, made when it is first asked for.

    A cache in Redis belongs to the event loop in which it is first used. Several programs share what is in one place
    under one name.

    Args:
        name: whatever the program calls it.
        config: how it is made; whoever asks again gives the same or none.
        of: the type of its values, where they leave this process; without one they must be what JSON can say.

    Raises:
        ValueError: a cache of this name is there, configured otherwise.
        ConfigError: the configuration names a place that cannot be one.
    """
    with _lock:
        cache = _caches.get(name)
        if cache is None:
            cache = _caches[name] = _made(name, config or CacheConfig(), of)
        elif config is not None and config != cache.config:
            raise ValueError(f"cache {name!r} is there, with {cache.config!r}")
        return cache


async def cache_statistics() -> dict[str, dict[str, JsonValue]]:
    """Return the statistics of every cache `get_cache` made, by name."""
    caches = dict(_caches)
    return dict(zip(caches, await asyncio.gather(*(each.statistics() for each in caches.values())), strict=True))


async def close_caches() -> None:
    """Forget every cache `get_cache` made, and let go of files and connections."""
    with _lock:
        _caches.clear()
    await _stores.aclose()


def _made(name: str, config: CacheConfig, of: Any) -> Cache[Any]:
    return Cache(name, config, store=_stores.of(name, config), codec=json_codec(of))
