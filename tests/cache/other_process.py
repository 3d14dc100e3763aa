"""Another process on the same store: answers each line of stdin, the key to read, with the value it serves."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from reasoning_bank.cache.file import FileCache
from reasoning_bank.cache.hybrid import HybridStore
from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.cache.redis import RedisStore
from reasoning_bank.cache.redis_server import RedisServer
from reasoning_bank.cache.store import SharedStore


async def opened(kind: str, place: str) -> tuple[SharedStore, RedisServer | None]:
    """A store of a kind: "file" or "redis", with "hybrid" before it where memory is in front; and its connection."""
    server = None
    if "redis" in kind:
        server = RedisServer(place)
        assert await server.ready(30)
        store = RedisStore(server, "x", max_entries=100, max_bytes=100_000)
    else:
        store = FileCache(Path(place), max_entries=100, max_bytes=100_000, now=lambda: datetime.now(UTC))
    return (HybridStore(MemoryCache(), store) if "hybrid" in kind else store), server


async def main(kind: str, place: str) -> None:
    """Read what is asked for until stdin ends."""
    store, _ = await opened(kind, place)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        print((await store.get("w", line.decode().strip()) or b"-").decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
