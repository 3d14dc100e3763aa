"""What every store outside the process does, whatever it is made of: file, Redis, and memory in front of either."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasoning_bank.cache.file import FileCache
from reasoning_bank.cache.hybrid import HybridStore
from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.cache.redis import RedisStore
from reasoning_bank.cache.redis_server import RedisServer
from reasoning_bank.cache.store import SharedStore

KINDS = ("file", "redis", "hybrid file", "hybrid redis")
Make = Callable[..., Awaitable[SharedStore]]

_numbers = itertools.count()


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(params=KINDS)
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes stores over one and the same place, as several processes have them."""
    kind: str = request.param
    url = request.getfixturevalue("shared_redis").url if "redis" in kind else ""
    prefix = f"t{next(_numbers)}"
    async with AsyncExitStack() as stack:

        async def one(max_entries: int = 100, max_bytes: int = 100_000) -> SharedStore:
            if "redis" in kind:
                server = await stack.enter_async_context(RedisServer(url, prefix=prefix))
                assert await server.ready(30)
                store = RedisStore(server, "x", max_entries=max_entries, max_bytes=max_bytes)
            else:
                store = FileCache(
                    tmp_path / "cache.db", max_entries=max_entries, max_bytes=max_bytes, now=now, wait_s=60
                )
            made = HybridStore(MemoryCache(max_entries), store) if "hybrid" in kind else store
            stack.push_async_callback(made.aclose)
            return made

        yield one


async def put(store: SharedStore, key: str, value: bytes = b"v", *tags: str, space: str = "w") -> None:
    """Put it so that it is there, however busy this machine is: a failure is a miss and no error."""
    for _ in range(100):
        await store.put(space, key, value, ttl_s=100, tags=tags)
        if await store.get(space, key) == value:
            return
    raise AssertionError("it was never kept")


async def test_what_was_put_is_there_as_it_was(make: Make) -> None:
    store, other = await make(), await make()
    value = bytes(range(256)) * 3
    await put(store, "k", value)
    assert await store.get("w", "k") == value
    assert await other.get("w", "k") == value
    assert await store.get("w", "else") is None
    await put(store, "k", b"")
    assert await other.get("w", "k") == b""


async def test_namespaces_never_meet(make: Make) -> None:
    store = await make()
    await put(store, "bk", b"1", "t", space="a")
    await put(store, "k", b"2", "t", space="ab")
    assert (await store.get("a", "bk"), await store.get("ab", "k"), await store.get("b", "k")) == (b"1", b"2", None)
    await store.delete_tag("a", "t")
    await store.delete("a", "k")
    assert (await store.get("a", "bk"), await store.get("ab", "k")) == (None, b"2")
    await store.clear("a")
    assert await store.get("ab", "k") == b"2"
    await store.clear()
    assert await store.get("ab", "k") is None
    assert (await store.statistics())["entries"] == 0


async def test_an_entry_is_dropped_by_key_and_by_any_of_its_tags(make: Make) -> None:
    store = await make()
    for key, tags in (("1", ("red",)), ("2", ("red", "round")), ("3", ("round",)), ("4", ())):
        await put(store, key, b"v", *tags)
    await store.delete_tag("w", "red")
    await store.delete_tag("w", "ed")
    assert [await store.get("w", key) for key in "1234"] == [None, None, b"v", b"v"]
    await store.delete("w", "4")
    assert [await store.get("w", key) for key in "34"] == [b"v", None]


async def test_a_new_value_has_its_own_tags_only(make: Make) -> None:
    store = await make()
    await put(store, "k", b"old", "red")
    await put(store, "k", b"new", "blue")
    await store.delete_tag("w", "red")
    assert await store.get("w", "k") == b"new"


async def test_an_entry_is_a_miss_once_its_time_is_over(make: Make) -> None:
    store = await make()
    await store.put("w", "k", b"v", ttl_s=0.05)
    with anyio.fail_after(30):
        while await store.get("w", "k") is not None:  # noqa: ASYNC110 -- time is over without an event
            await anyio.sleep(0.01)


async def test_the_least_recently_used_goes_first(make: Make) -> None:
    store = await make(max_entries=2)
    for key in "ab":
        await put(store, key)
    await store.delete("w", "none")
    assert await store.get("w", "a") == b"v"
    await store.put("w", "c", b"v", ttl_s=100)
    assert (await store.statistics())["entries"] == 2
    if not isinstance(store, HybridStore):  # which knows uses that its store does not
        assert [await store.get("w", key) for key in "abc"] == [b"v", None, b"v"]


async def test_values_take_no_more_bytes_than_allowed(make: Make) -> None:
    store = await make(max_bytes=1_000)
    for number in range(20):
        await store.put("w", str(number), b"x" * 280, ttl_s=100)
    held = await store.statistics()
    assert held["entries"] == 3
    assert 840 <= held["bytes"] <= 1_000
    assert held["evictions"] == 17
    await put(store, "k", b"x" * 280)
    await store.put("w", "k", b"x" * 1_001, ttl_s=100)
    assert await store.get("w", "k") is None, "neither the value that is too large, nor the one before it"


async def test_what_a_process_takes_back_no_other_finds(make: Make) -> None:
    """Exactly so for the file and for Redis; memory in front of Redis learns of it within a second."""
    one, other = await make(), await make()
    ways: list[Callable[[], Awaitable[None]]] = [
        lambda: one.delete("w", "k"),
        lambda: one.delete_tag("w", "t"),
        lambda: one.clear("w"),
        one.clear,
    ]
    for way in ways:
        await put(other, "k", b"v", "t")
        assert [await other.get("w", "k") for _ in range(3)] == [b"v"] * 3
        await way()
        assert await one.get("w", "k") is None
        await gone(other, b"v")
    await put(other, "k", b"old")
    assert await other.get("w", "k") == b"old"
    await put(one, "k", b"new")
    await gone(other, b"old")
    assert await other.get("w", "k") == b"new"


async def gone(store: SharedStore, value: bytes) -> None:
    """It serves the value no more; memory in front of Redis may for the moment that the news takes."""
    if isinstance(store, HybridStore) and isinstance(store._store, RedisStore):
        with anyio.fail_after(30):
            while await store.get("w", "k") == value:  # noqa: ASYNC110 -- no event tells what another one sees
                await anyio.sleep(0.001)
    assert await store.get("w", "k") != value


steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "get", "delete", "delete_tag", "clear", "clear all"]),
        st.sampled_from("ab"),
        st.sampled_from("123"),
        st.sampled_from("xy"),
    ),
    max_size=25,
)


@given(steps)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_store_never_finds_what_a_dict_would_not(make: Make, steps: list[tuple[str, str, str, str]]) -> None:
    store = await make()
    await store.clear()
    model: dict[tuple[str, str], tuple[bytes, str]] = {}
    for number, (what, space, key, tag) in enumerate(steps):
        value = str(number).encode()
        if what == "put":
            model.pop((space, key), None)
            await store.put(space, key, value, ttl_s=100, tags=[tag])
            model[space, key] = value, tag
        elif what == "delete":
            model.pop((space, key), None)
            await store.delete(space, key)
        elif what == "delete_tag":
            model = {at: kept for at, kept in model.items() if at[0] != space or kept[1] != tag}
            await store.delete_tag(space, tag)
        elif what != "get":
            model = {at: kept for at, kept in model.items() if what == "clear" and at[0] != space}
            await store.clear(space if what == "clear" else None)
        for at in itertools.product("ab", "123"):
            found = await store.get(*at)
            assert found is None or (at in model and found == model[at][0])
