"""Opens what is outside this process, once each, and closes it again."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reasoning_bank.cache.config import CacheBackend, CacheConfig
from reasoning_bank.cache.named import in_memory
from reasoning_bank.cache.store import SharedStore
from reasoning_bank.errors import ConfigError

if TYPE_CHECKING:
    from reasoning_bank.cache.hybrid import VersionedStore
    from reasoning_bank.cache.redis_server import RedisServer

_MOST_BYTES: Final = 64 * 2**20
"""Of a store that was given no bound of its own."""


class Stores:
    """The stores of caches that are not in memory; those in one Redis share its connections.

    Args:
        prefix: first part of every key in Redis: what shares a prefix and a name shares entries.
        now: the clock.
    """

    def __init__(self, *, prefix: str, now: Callable[[], datetime]) -> None:
        self._prefix = prefix
        self._now = now
        self._opened: list[SharedStore] = []
        self._servers: dict[str, RedisServer] = {}

    def of(self, name: str, config: CacheConfig) -> SharedStore | None:
        """The store a cache is configured for; None for one in memory.

        Raises:
            ConfigError: its location is missing, or cannot be one; redis is not installed.
        """
        if config.backend is CacheBackend.MEMORY or not config.enabled:
            return None
        shared = self._shared(name, config)
        self._opened.append(shared)
        if config.backend is not CacheBackend.HYBRID:
            return shared
        from reasoning_bank.cache.hybrid import HybridStore  # noqa: PLC0415

        return HybridStore(in_memory(config), shared)

    async def begin(self) -> None:
        """Begin to reach the servers, if any."""
        for server in self._servers.values():
            await server.begin()

    async def aclose(self) -> None:
        """Close every store and connection."""
        stores, self._opened = self._opened, []
        servers, self._servers = self._servers, {}
        for opened in (*stores, *servers.values()):
            await opened.aclose()

    def _shared(self, name: str, config: CacheConfig) -> "VersionedStore":
        location = config.location
        if location is None:
            raise ConfigError(f"cache {name!r}: a cache in {config.backend.value!r} needs a location")
        bytes_ = _MOST_BYTES if config.max_bytes is None else config.max_bytes
        if config.backend is CacheBackend.REDIS or "://" in location:
            from reasoning_bank.cache.redis import RedisStore  # noqa: PLC0415

            return RedisStore(self._server(location), name, max_entries=config.max_size, max_bytes=bytes_)
        from reasoning_bank.cache.file import FileCache  # noqa: PLC0415

        return FileCache(Path(location), name, max_entries=config.max_size, max_bytes=bytes_, now=self._now)

    def _server(self, url: str) -> "RedisServer":
        if url not in self._servers:
            from reasoning_bank.cache.redis_server import RedisServer  # noqa: PLC0415

            self._servers[url] = RedisServer(url, prefix=self._prefix)
        return self._servers[url]
