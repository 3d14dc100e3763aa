"""The cache on disk: bounds, time, several users at once, and every way its file can fail is a miss."""

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from reasoning_bank.cache.file import FileCache
from reasoning_bank.records import JsonValue

START = datetime(2026, 1, 1, tzinfo=UTC)
Make = Callable[..., FileCache]


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    made: list[FileCache] = []

    def one(path: Path = tmp_path / "answers.db", **bounds: float) -> FileCache:
        chosen = {"ttl_s": 100.0, "max_entries": 100, "max_bytes": 100_000, **bounds}
        cache = FileCache(
            path,
            ttl_s=chosen["ttl_s"],
            max_entries=int(chosen["max_entries"]),
            max_bytes=int(chosen["max_bytes"]),
            now=clock,
        )
        made.append(cache)
        return cache

    yield one
    for cache in made:
        cache.close()


async def test_a_value_outlives_its_process(make: Make) -> None:
    value: JsonValue = {"text": "é 漢 \ud800 \n", "numbers": [1, 2.5, None, True]}
    first = make()
    await first.put("a", "k", value)
    first.close()
    assert await make().get("a", "k") == value


async def test_the_file_is_for_its_owner_only(make: Make) -> None:
    cache = make()
    cache.path.touch(mode=0o644)
    await cache.put("a", "k", 1)
    assert cache.path.stat().st_mode & 0o777 == 0o600


async def test_namespaces_never_see_each_other(make: Make) -> None:
    cache = make()
    await cache.put("a", "bk", 1)
    await cache.put("ab", "k", 2)
    assert (await cache.get("a", "bk"), await cache.get("ab", "k"), await cache.get("b", "k")) == (1, 2, None)
    await cache.clear("a")
    assert (await cache.get("a", "bk"), await cache.get("ab", "k")) == (None, 2)
    await cache.clear()
    assert (await cache.statistics())["entries"] == 0


async def test_an_entry_is_a_miss_from_the_moment_its_time_is_over(make: Make, clock: Clock) -> None:
    cache = make(ttl_s=10)
    await cache.put("a", "k", 1)
    clock.forward(9.9)
    assert await cache.get("a", "k") == 1
    clock.forward(0.1)
    assert await cache.get("a", "k") is None
    await cache.put("a", "other", 1)
    assert (await cache.statistics())["entries"] == 1, "what is over is deleted with the next put"


async def test_an_entry_of_a_clock_that_was_wrong_is_a_miss(make: Make, clock: Clock) -> None:
    cache = make(ttl_s=10)
    clock.forward(1_000_000)
    await cache.put("a", "k", 1)
    clock.forward(-1_000_000)
    assert await cache.get("a", "k") is None


async def test_the_least_recently_used_goes_first(make: Make) -> None:
    cache = make(max_entries=2)
    for key in "ab":
        await cache.put("w", key, key)
    await cache.get("w", "a")
    await cache.put("w", "c", "c")
    assert [await cache.get("w", key) for key in "abc"] == ["a", None, "c"]


async def test_values_take_no_more_bytes_than_allowed(make: Make) -> None:
    cache = make(max_bytes=1_000)
    for number in range(20):
        await cache.put("w", str(number), "x" * 298)
    held = await cache.statistics()
    assert (held["entries"], held["bytes"]) == (3, 900)
    await cache.put("w", "large", "x" * 1_000)
    assert await cache.get("w", "large") is None
    assert await cache.get("w", "19") is not None, "what is too large pushes nothing out"


async def test_a_cleared_value_is_gone_from_the_file(make: Make) -> None:
    cache = make()
    await cache.put("w", "k", "a word nobody else says")
    await cache.clear("w")
    await cache.clear("w")
    cache.close()
    assert b"nobody else says" not in cache.path.read_bytes()


@pytest.mark.parametrize("damage", ["garbage", "cut", "empty"])
async def test_a_damaged_file_is_dropped_with_a_warning(
    make: Make, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make()
    for number in range(50):
        await cache.put("w", str(number), "x" * 1_000)
    cache.close()
    whole = cache.path.read_bytes()
    cache.path.write_bytes({"garbage": b"no database " * 1_000, "cut": whole[: len(whole) // 2], "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        found = [await cache.get("w", str(number)) for number in range(50)]
        await cache.put("w", "new", 1)
        await cache.put("w", "newer", 1)
    assert all(value in {None, "x" * 1_000} for value in found)
    assert await cache.get("w", "newer") == 1
    assert ("begins anew" in caplog.text) == (damage != "empty")


async def test_a_value_that_was_changed_on_disk_is_never_served(make: Make) -> None:
    cache = make()
    await cache.put("w", "k", "right answer")
    cache.close()
    cache.path.write_bytes(cache.path.read_bytes().replace(b"right answer", b"wrong answer"))
    assert await cache.get("w", "k") is None
    await cache.put("w", "k", "right answer")
    assert await cache.get("w", "k") == "right answer"


async def test_a_full_disk_is_a_miss_and_no_error(make: Make) -> None:
    cache = make()
    await cache.put("w", "small", 1)
    assert cache._connection is not None
    pages = cache._connection.execute("PRAGMA page_count").fetchone()[0]
    cache._connection.execute(f"PRAGMA max_page_count = {pages}")
    await cache.put("w", "large", "x" * 50_000)
    assert (await cache.get("w", "large"), await cache.get("w", "small")) == (None, 1)
    assert (await cache.statistics())["failures"] == 1


async def test_a_place_where_nothing_can_be_made_is_a_miss(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = make(tmp_path / "file" / "cache.db")
    await cache.put("w", "k", 1)
    assert await cache.get("w", "k") is None
    assert (await cache.statistics())["failures"] == 3


async def test_a_lock_held_by_another_process_is_a_miss(make: Make) -> None:
    cache = make()
    await cache.put("w", "k", 1)
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert await cache.get("w", "k") is None
    other.execute("ROLLBACK")
    other.close()
    assert await cache.get("w", "k") == 1


async def test_many_tasks_share_one_cache(make: Make) -> None:
    cache = make()

    async def use(number: int) -> None:
        await cache.put("w", str(number), number)
        assert await cache.get("w", str(number)) == number

    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(use, number)
    assert (await cache.statistics())["hits"] == 30


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from reasoning_bank.cache.file import FileCache

async def main(path, name):
    cache = FileCache(
        Path(path), ttl_s=1e9, max_entries=40, max_bytes=10**6, now=lambda: datetime(2026, 1, 1, tzinfo=UTC)
    )
    for number in range(60):
        await cache.put("w", f"{name}{number}", [name, number])
        found = await cache.get("w", f"{name}{number}")
        assert found in (None, [name, number]), found
    cache.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_several_processes_write_one_file(make: Make) -> None:
    cache = make(max_entries=40, ttl_s=1e9)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(cache.path), name]) for name in "abc"]
    assert [writer.wait(timeout=100) for writer in writers] == [0, 0, 0]
    with sqlite3.connect(cache.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert 1 <= connection.execute("SELECT count(*) FROM entries").fetchone()[0] <= 40
    connection.close()
