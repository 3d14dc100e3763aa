"""A store whose changes take long: what was changed or taken back is not served once the call returned."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from reasoning_bank.cache.changes import Version
from reasoning_bank.cache.config import CacheBackend, CacheConfig
from reasoning_bank.cache.file import FileCache
from reasoning_bank.cache.hybrid import HybridStore
from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.cache.named import Cache
from reasoning_bank.cache.store import StoreStatistics


class Late:
    """A file as a busy Redis is: what is put is on its way until `go`, and news of it come later still."""

    def __init__(self, path: Path) -> None:
        self.go = asyncio.Event()
        self.putting = asyncio.Event()
        self._file = FileCache(path, max_entries=100, max_bytes=1_000, now=lambda: datetime.now(UTC), wait_s=60)
        self.get, self.look, self.clear = self._file.get, self._file.look, self._file.clear
        self.delete, self.delete_tag = self._file.delete, self._file.delete_tag

    async def put(self, namespace: str, key: str, value: bytes, *, ttl_s: float, tags: Collection[str] = ()) -> None:
        self.putting.set()
        await self.go.wait()
        await self._file.put(namespace, key, value, ttl_s=ttl_s, tags=tags)

    def version(self, namespace: str, key: str) -> Version | None:
        return (0, 0, 0)

    async def statistics(self) -> StoreStatistics:
        return await self._file.statistics()

    async def aclose(self) -> None:
        await self._file.aclose()


async def test_memory_in_front_of_a_store_serves_what_was_put_last_before_the_news_of_it(tmp_path: Path) -> None:
    store = Late(tmp_path / "cache.db")
    memory = HybridStore(MemoryCache(), store)
    store.go.set()
    await memory.put("w", "k", b"old", ttl_s=100)
    store.go.clear()
    store.putting.clear()
    putting = asyncio.create_task(memory.put("w", "k", b"new", ttl_s=100))
    await store.putting.wait()
    assert await memory.get("w", "k") == b"old"
    store.go.set()
    await putting
    assert await memory.get("w", "k") == b"new"
    await memory.aclose()


async def test_what_is_invalidated_while_it_is_being_put_is_not_kept(tmp_path: Path) -> None:
    store = Late(tmp_path / "cache.db")
    config = CacheConfig(backend=CacheBackend.FILE, location="")
    cache = Cache[str]("x", config, store=store)

    async def load() -> str:
        return "old"

    loading = asyncio.create_task(cache.get_or_load("k", load))
    await store.putting.wait()
    await cache.invalidate("k")
    store.go.set()
    assert await loading == "old"
    assert await cache.get("k") is None
    await store.aclose()
