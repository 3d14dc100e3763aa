"""Memory in front of a store that several processes share."""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from reasoning_bank.cache.changes import Version
from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.cache.store import SharedStore, StoreStatistics


class VersionedStore(SharedStore, Protocol):
    """A store that can tell, without a trip to it, whether what was read from it may have changed since."""

    async def look(self, namespace: str, key: str) -> tuple[bytes, float] | None:
        """Return the value put under a key and the seconds it has left, or None."""
        ...

    def version(self, namespace: str, key: str) -> Version | None:
        """Return what is another one after any change of the entry, by whomever; None where nobody can tell."""
        ...


class Copy(NamedTuple):
    """A value, and the version of its entry at which it was read."""

    value: bytes
    version: Version


class HybridStore:
    """A `SharedStore` that remembers what it read from another one, for as long as nobody changed it.

    In front of a file, what any process changed is never served after its call returned. In front of Redis it is not
    served after the news of it came, which takes about a millisecond, and never more than a second after: without news
    or a sign of life for so long nothing is served from memory.

    Args:
        memory: what was read; bounded as it says, with times to live as they are given, which end with the store's.
        store: what several processes share.
    """

    def __init__(self, memory: MemoryCache[Copy], store: VersionedStore) -> None:
        self._memory = memory
        self._store = store
        self._changes = 0
        self._hits = 0

    async def get(self, namespace: str, key: str) -> bytes | None:
        """Return the value put under a key, or None when there is none or its time is over."""
        version = self._store.version(namespace, key)
        copy = None if version is None else self._memory.get((namespace, key))
        if copy is not None and copy.version == version:
            self._hits += 1
            return copy.value
        changes = self._changes
        found = await self._store.look(namespace, key)
        if found is None:
            return None
        value, left_s = found
        # What changed while it was being read may be what was read, or not.
        if version is not None and changes == self._changes and version == self._store.version(namespace, key):
            self._memory.put((namespace, key), Copy(value, version), ttl_s=left_s)
        return value

    async def put(self, namespace: str, key: str, value: bytes, *, ttl_s: float, tags: Collection[str] = ()) -> None:
        """Keep a value for `ttl_s` seconds; the next `get` takes it into memory."""
        with self._changing(namespace, key):
            await self._store.put(namespace, key, value, ttl_s=ttl_s, tags=tags)

    async def delete(self, namespace: str, key: str) -> None:
        """Drop one entry."""
        with self._changing(namespace, key):
            await self._store.delete(namespace, key)

    async def delete_tag(self, namespace: str, tag: str) -> None:
        """Drop the entries of a namespace that were put with this tag."""
        with self._changing(namespace):
            await self._store.delete_tag(namespace, tag)

    async def clear(self, namespace: str | None = None) -> None:
        """Drop the entries of one namespace, or all."""
        with self._changing(namespace):
            await self._store.clear(namespace)

    async def statistics(self) -> StoreStatistics:
        """Return what the store holds, with the hits of the memory in front of it."""
        said = await self._store.statistics()
        return {**said, "hits": said["hits"] + self._hits}

    async def aclose(self) -> None:
        """Let go of connections and files."""
        self._memory.clear()
        await self._store.aclose()

    @contextmanager
    def _changing(self, namespace: str | None, key: str | None = None) -> Generator[None]:
        """Whoever reads before the store has changed takes the old value into memory: it is forgotten once more then.

        The news of a change of one's own may come later than the answer to it.
        """
        self._forget(namespace, key)
        try:
            yield
        finally:
            self._forget(namespace, key)

    def _forget(self, namespace: str | None, key: str | None = None) -> None:
        self._changes += 1
        if key is None:
            self._memory.clear(namespace)
        else:
            self._memory.invalidate((namespace, key))
