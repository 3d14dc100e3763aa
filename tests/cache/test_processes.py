"""What one process takes back, another one does not serve: two real processes on one store."""

import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from reasoning_bank.cache.store import SharedStore
from tests.cache.other_process import opened

ROUNDS = 40


class Other:
    """The other process."""

    def __init__(self, kind: str, place: str) -> None:
        command = [sys.executable, "-m", "tests.cache.other_process", kind, place]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def get(self, key: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{key}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture(params=["file", "redis", "hybrid file", "hybrid redis"])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[str, SharedStore, Other]]:
    kind: str = request.param
    place = request.getfixturevalue("redis").url if "redis" in kind else str(tmp_path / "cache.db")
    (mine, server), other = await opened(kind, place), Other(kind, place)
    yield kind, mine, other
    other.process.communicate(timeout=60)
    await mine.aclose()
    if server is not None:
        await server.aclose()


async def test_what_one_process_took_back_the_other_does_not_serve(both: tuple[str, SharedStore, Other]) -> None:
    """From the moment the call returned; memory in front of Redis from the moment the news came."""
    kind, mine, other = both
    rng = random.Random(7)
    for number in range(ROUNDS):
        old = f"old{number}"
        while other.get("k") != old:
            await mine.put("w", "k", old.encode(), ttl_s=100, tags=["t"])
        assert [other.get("k") for _ in range(3)] == [old] * 3
        await rng.choice(ways(mine))(number)
        end = time.monotonic() + 30
        while (found := other.get("k")) == old and kind == "hybrid redis" and time.monotonic() < end:
            pass
        assert found != old


def ways(store: SharedStore) -> list[Callable[[int], Awaitable[None]]]:
    return [
        lambda number: store.put("w", "k", f"new{number}".encode(), ttl_s=100),
        lambda _: store.delete("w", "k"),
        lambda _: store.delete_tag("w", "t"),
        lambda _: store.clear("w"),
        lambda _: store.clear(),
    ]
