"""The cache on disk: bounds, time, several users at once, and every way its file can fail is a miss."""

import logging
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from reasoning_bank.cache.changes import Target
from reasoning_bank.cache.file import FileCache
from reasoning_bank.cache.hybrid import HybridStore
from reasoning_bank.cache.memory import MemoryCache

START = datetime(2026, 1, 1, tzinfo=UTC)
VALUE = bytes(range(256))
PATIENCE_S = 60.0
"""Where no test is about waiting, no busy machine is to make a miss of a look."""
Make = Callable[..., FileCache]


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def timer(self) -> float:
        return (self.at - START).total_seconds()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    made: list[FileCache] = []

    def one(
        path: Path = tmp_path / "answers.db", max_entries: int = 100, max_bytes: int = 100_000, **options: Any
    ) -> FileCache:
        options = {"max_entries": max_entries, "max_bytes": max_bytes, "wait_s": PATIENCE_S, **options}
        cache = FileCache(path, now=clock, timer=clock.timer, **options)
        made.append(cache)
        return cache

    yield one
    for cache in made:
        cache.close()


async def test_a_value_outlives_its_process(make: Make) -> None:
    first = make()
    await first.put("a", "k", VALUE, ttl_s=100)
    first.close()
    assert await make().get("a", "k") == VALUE


async def test_the_file_is_for_its_owner_only(make: Make) -> None:
    cache = make()
    cache.path.touch(mode=0o644)
    await cache.put("a", "k", b"1", ttl_s=100)
    assert cache.path.stat().st_mode & 0o777 == 0o600


async def test_an_entry_is_a_miss_from_the_moment_its_time_is_over(make: Make, clock: Clock) -> None:
    cache = make()
    await cache.put("a", "k", b"1", ttl_s=10)
    clock.forward(9.9)
    assert await cache.get("a", "k") == b"1"
    clock.forward(0.1)
    assert await cache.get("a", "k") is None
    await cache.put("a", "other", b"1", ttl_s=10)
    assert (await cache.statistics())["entries"] == 1, "what is over is deleted with the next put"


async def test_an_entry_of_a_clock_that_was_wrong_is_a_miss(make: Make, clock: Clock) -> None:
    cache = make()
    clock.forward(1_000_000)
    await cache.put("a", "k", b"1", ttl_s=10)
    clock.forward(-1_000_000)
    assert await cache.get("a", "k") is None


async def test_a_cleared_value_is_gone_from_the_file(make: Make) -> None:
    cache = make()
    await cache.put("w", "k", b"a word nobody else says", ttl_s=100)
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
        await cache.put("w", str(number), b"x" * 1_000, ttl_s=100)
    cache.close()
    whole = cache.path.read_bytes()
    cache.path.write_bytes({"garbage": b"no database " * 1_000, "cut": whole[: len(whole) // 2], "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        found = [await cache.get("w", str(number)) for number in range(50)]
        await cache.put("w", "new", b"1", ttl_s=100)
        await cache.put("w", "newer", b"1", ttl_s=100)
    assert all(value in {None, b"x" * 1_000} for value in found)
    assert await cache.get("w", "newer") == b"1"
    assert ("begins anew" in caplog.text) == (damage != "empty")


async def test_a_value_that_was_changed_on_disk_is_never_served(make: Make) -> None:
    cache = make()
    await cache.put("w", "k", b"right answer", ttl_s=100)
    cache.close()
    cache.path.write_bytes(cache.path.read_bytes().replace(b"right answer", b"wrong answer"))
    assert await cache.get("w", "k") is None
    await cache.put("w", "k", b"right answer", ttl_s=100)
    assert await cache.get("w", "k") == b"right answer"


async def test_a_full_disk_is_a_miss_and_no_error(make: Make) -> None:
    cache = make()
    await cache.put("w", "small", b"1", ttl_s=100)
    assert cache._connection is not None
    pages = cache._connection.execute("PRAGMA page_count").fetchone()[0]
    cache._connection.execute(f"PRAGMA max_page_count = {pages}")
    await cache.put("w", "large", b"x" * 50_000, ttl_s=100)
    assert (await cache.get("w", "large"), await cache.get("w", "small")) == (None, b"1")
    assert (await cache.statistics())["failures"] == 1


async def test_a_place_where_nothing_can_be_made_is_a_miss(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = make(tmp_path / "file" / "cache.db")
    await cache.put("w", "k", b"1", ttl_s=100)
    assert await cache.get("w", "k") is None
    assert (await cache.statistics())["failures"] == 2


async def test_a_lock_held_by_another_process_is_a_miss_and_what_was_deleted_meanwhile_does_not_come_back(
    make: Make, clock: Clock
) -> None:
    cache = make()
    for key in ("dropped", "kept"):
        await cache.put("w", key, b"1", ttl_s=100)
    cache.close()
    cache = make(wait_s=0.2)
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert await cache.get("w", "kept") is None
    await cache.delete("w", "dropped")
    other.execute("ROLLBACK")
    other.close()
    assert await cache.get("w", "kept") is None, "it is left alone for a moment: nobody else waits for it"
    cache._wait_s = PATIENCE_S
    clock.forward(1)
    assert (await cache.get("w", "dropped"), await cache.get("w", "kept")) == (None, b"1")


@pytest.mark.parametrize("suffixes", [("", "-changes"), ("",), ("-changes",)])
async def test_a_file_deleted_under_running_processes_begins_anew_for_all_of_them(
    make: Make, suffixes: tuple[str, ...]
) -> None:
    one, other = make(), make()
    memory = HybridStore(MemoryCache(), other)
    await one.put("w", "k", b"old", ttl_s=100)
    assert [await memory.get("w", "k") for _ in range(2)] == [b"old"] * 2
    for suffix in suffixes:
        one.path.with_name(one.path.name + suffix).unlink()
    await one.put("w", "k", b"new", ttl_s=100)
    assert await memory.get("w", "k") == await other.get("w", "k") == b"new"
    await other.delete("w", "k")
    assert await one.get("w", "k") is None


async def test_memory_in_front_of_a_file_never_serves_what_a_killed_process_may_have_changed(make: Make) -> None:
    one, other = make(), make()
    memory = HybridStore(MemoryCache(), other)
    await one.put("w", "k", b"old", ttl_s=100)
    assert [await memory.get("w", "k") for _ in range(2)] == [b"old"] * 2
    one._versions.changing(Target("w", "k"))  # what a process that dies in the middle leaves behind
    assert other.version("w", "k") is None
    await one.delete("w", "k")
    assert await memory.get("w", "k") is None
    assert other.version("w", "k") is not None


async def test_a_file_of_another_version_begins_anew(make: Make, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "answers.db") as old:
        old.execute("CREATE TABLE entries (namespace TEXT, key TEXT, value TEXT)")
        old.execute("INSERT INTO entries VALUES ('w', 'k', 'a word nobody else says')")
    old.close()
    cache = make()
    assert await cache.get("w", "k") is None
    await cache.put("w", "k", b"1", ttl_s=100)
    assert await cache.get("w", "k") == b"1"
    cache.close()
    assert b"nobody else says" not in cache.path.read_bytes()


async def test_no_text_of_a_key_or_a_namespace_is_in_the_file(make: Make) -> None:
    cache = make()
    await cache.put("a private space", "a private key", VALUE, ttl_s=100, tags=["a private tag"])
    cache.close()
    assert b"private" not in cache.path.read_bytes()


async def test_many_tasks_share_one_cache(make: Make) -> None:
    cache = make()

    async def use(number: int) -> None:
        await cache.put("w", str(number), VALUE, ttl_s=100)
        assert await cache.get("w", str(number)) == VALUE

    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(use, number)
    assert (await cache.statistics())["hits"] == 30


async def test_a_crowd_is_no_fault_of_the_file(make: Make) -> None:
    cache = make()
    for number in range(100):
        await cache.put("w", str(number), VALUE, ttl_s=100)
    found: list[bytes | None] = []

    async def look(number: int) -> None:
        found.append(await cache.get("w", str(number % 100)))

    async with anyio.create_task_group() as group:
        for number in range(1_500):
            group.start_soon(look, number)
    assert found == [VALUE] * 1_500
    assert (await cache.statistics())["failures"] == 0


async def test_a_change_whose_caller_leaves_is_made_up_for(make: Make) -> None:
    cache = make()
    await cache.put("w", "k", b"old", ttl_s=100)
    async with anyio.create_task_group() as group, cache._turn:
        group.start_soon(cache.delete, "w", "k")
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert await cache.get("w", "k") is None


async def test_caches_of_two_names_share_a_file_and_nothing_in_it(make: Make) -> None:
    users, prices = make(name="users", max_entries=2), make(name="prices", max_entries=2)
    for cache, value in ((users, b"ann"), (prices, b"7")):
        for key in "123":
            await cache.put("w", key, value, ttl_s=100, tags=["t"])
    assert [await users.get("w", key) for key in "123"] == [None, b"ann", b"ann"]
    assert [await prices.get("w", key) for key in "123"] == [None, b"7", b"7"]
    await users.delete("w", "2")
    await users.delete_tag("w", "t")
    assert [(await cache.statistics())["entries"] for cache in (users, prices)] == [0, 2]
    await users.clear("w")
    await users.clear()
    assert [await prices.get("w", key) for key in "23"] == [b"7", b"7"]


async def test_what_is_counted_is_what_is_there(make: Make, clock: Clock) -> None:
    cache = make(max_entries=7, max_bytes=1_000)
    rng = random.Random(7)
    for _ in range(300):
        space, key = rng.choice("ab"), str(rng.randrange(12))
        await cache.put(space, key, b"x" * rng.randrange(300), ttl_s=rng.randrange(1, 100), tags=[rng.choice("xy")])
        clock.forward(1)
        change = rng.random()
        if change < 0.1:
            await cache.delete(space, str(rng.randrange(12)))
        elif change < 0.15:
            await cache.delete_tag(space, "x")
        elif change < 0.17:
            await cache.clear(space)
        assert cache._connection is not None
        there = cache._connection.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM entries").fetchone()
        held = await cache.statistics()
        assert (held["entries"], held["bytes"]) == there
        assert held["entries"] <= 7
        assert held["bytes"] <= 1_000


async def test_a_put_looks_at_no_other_entries_than_those_it_drops(make: Make) -> None:
    cache = make()
    await cache.put("w", "k", VALUE, ttl_s=100)
    assert cache._connection is not None
    seen: list[str] = []
    cache._connection.set_trace_callback(seen.append)
    await cache.put("w", "other", VALUE, ttl_s=100)
    cache._connection.set_trace_callback(None)
    plans = [
        row[3]
        for statement in seen
        if statement.startswith(("SELECT", "DELETE", "UPDATE", "INSERT"))
        for row in cache._connection.execute(f"EXPLAIN QUERY PLAN {statement}")
    ]
    assert plans
    assert not [plan for plan in plans if plan.startswith("SCAN")]


async def test_a_file_that_hangs_holds_up_neither_statistics_nor_the_end(make: Make) -> None:
    cache = make(wait_s=0.01)
    await cache.put("w", "k", b"1", ttl_s=100)
    with cache._lock:  # as a thread has it whose call does not come back
        with anyio.fail_after(PATIENCE_S):
            assert (await cache.statistics())["entries"] == 0
            await cache.aclose()


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from reasoning_bank.cache.file import FileCache

async def main(path, name):
    cache = FileCache(
        Path(path), max_entries=40, max_bytes=10**6, now=lambda: datetime(2026, 1, 1, tzinfo=UTC), wait_s=60
    )
    for number in range(60):
        await cache.put("w", f"{name}{number}", f"{name}{number}".encode(), ttl_s=1e9)
        found = await cache.get("w", f"{name}{number}")
        assert found in (None, f"{name}{number}".encode()), found
    cache.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_several_processes_write_one_file(make: Make) -> None:
    cache = make(max_entries=40)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(cache.path), name]) for name in "abc"]
    assert [writer.wait(timeout=100) for writer in writers] == [0, 0, 0]
    with sqlite3.connect(cache.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert 1 <= connection.execute("SELECT count(*) FROM entries").fetchone()[0] <= 40
    connection.close()
