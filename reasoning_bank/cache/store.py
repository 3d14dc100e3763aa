"""What a cache outside this process is: bytes by namespace and key, and never an error."""

from collections.abc import Collection
from typing import Protocol, TypedDict


class StoreStatistics(TypedDict):
    """What a store holds as far as it can tell, and counters since this object was made."""

    entries: int
    bytes: int
    hits: int
    misses: int
    evictions: int
    expirations: int
    failures: int


class SharedStore(Protocol):
    """Bytes that outlive this process or are shared by several.

    Whatever goes wrong (gone, frozen, full, damaged) is a miss, counted in `failures`; no call raises, and none waits
    more than 0.25 s for a store that does not answer. In a crowd a file takes one change after the other: a call waits
    up to a second for its turn, and is a miss then. A namespace is a workspace: entries of two never meet.
    """

    async def get(self, namespace: str, key: str) -> bytes | None:
        """Return the value put under a key, or None when there is none or its time is over."""
        ...

    async def put(self, namespace: str, key: str, value: bytes, *, ttl_s: float, tags: Collection[str] = ()) -> None:
        """Keep a value for `ttl_s` seconds; `tags` name what `delete_tag` will drop it by."""
        ...

    async def delete(self, namespace: str, key: str) -> None:
        """Drop one entry."""
        ...

    async def delete_tag(self, namespace: str, tag: str) -> None:
        """Drop the entries of a namespace that were put with this tag."""
        ...

    async def clear(self, namespace: str | None = None) -> None:
        """Drop the entries of one namespace, or all."""
        ...

    async def statistics(self) -> StoreStatistics:
        """Return what is held, and the counters."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and files."""
        ...
