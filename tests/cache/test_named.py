"""Named caches: one load for all that ask, nothing kept that failed or was taken back, workspaces apart."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.cache.codec import Codec, array_codec, digest, json_codec
from reasoning_bank.cache.config import CacheConfig, EvictionPolicy
from reasoning_bank.cache.decorator import cached
from reasoning_bank.cache.named import Cache
from reasoning_bank.cache.registry import cache_statistics, close_caches, get_cache
from reasoning_bank.cache.store import StoreStatistics


class Shelf:
    """A `SharedStore` that is a dict."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], tuple[bytes, frozenset[str]]] = {}

    async def get(self, namespace: str, key: str) -> bytes | None:
        """What was put."""
        found = self.kept.get((namespace, key))
        return found[0] if found else None

    async def put(self, namespace: str, key: str, value: bytes, *, ttl_s: float, tags: Collection[str] = ()) -> None:
        """Keeps it."""
        assert ttl_s > 0
        self.kept[namespace, key] = value, frozenset(tags)

    async def delete(self, namespace: str, key: str) -> None:
        """Drops it."""
        self.kept.pop((namespace, key), None)

    async def delete_tag(self, namespace: str, tag: str) -> None:
        """Drops those with the tag."""
        self.kept = {key: each for key, each in self.kept.items() if key[0] != namespace or tag not in each[1]}

    async def clear(self, namespace: str | None = None) -> None:
        """Drops all of a namespace."""
        self.kept = {key: each for key, each in self.kept.items() if namespace not in {None, key[0]}}

    async def statistics(self) -> StoreStatistics:
        """What it holds."""
        size = sum(len(value) for value, _ in self.kept.values())
        return StoreStatistics(
            entries=len(self.kept), bytes=size, hits=0, misses=0, evictions=0, expirations=0, failures=0
        )

    async def aclose(self) -> None:
        """Nothing to do."""


def in_memory() -> Cache[int]:
    return Cache("numbers", CacheConfig())


def on_a_shelf() -> Cache[int]:
    return Cache("numbers", CacheConfig(max_bytes=100), store=Shelf())


@pytest.fixture(autouse=True)
async def no_caches_left() -> AsyncIterator[None]:
    yield
    await close_caches()


@pytest.fixture(params=[in_memory, on_a_shelf])
def numbers(request: pytest.FixtureRequest) -> Cache[int]:
    return request.param()


async def test_what_is_kept_is_given_again_and_told_in_the_statistics(numbers: Cache[int]) -> None:
    assert await numbers.get("a") is None
    await numbers.set("a", 1, cost_s=2.0)
    assert await numbers.get("a") == 1
    said = await numbers.statistics()
    assert (said["hits"], said["misses"], said["cache_size"], said["saved_s"]) == (1, 1, 1, 2.0)
    assert said["hit_rate"] == 50.0
    assert numbers.counters()["hits"] == 1


async def test_two_workspaces_never_meet(numbers: Cache[int]) -> None:
    await numbers.set("a", 1, namespace="mine", tags=["t"])
    await numbers.set("a", 2, namespace="yours", tags=["t"])
    assert await numbers.get("a") is None
    await numbers.invalidate(namespace="mine", tag="t")
    assert await numbers.get("a", namespace="mine") is None
    assert await numbers.get("a", namespace="yours") == 2
    await numbers.clear("mine")
    assert await numbers.get("a", namespace="yours") == 2
    await numbers.clear()
    assert await numbers.get("a", namespace="yours") is None


async def test_a_key_can_be_dropped_by_itself(numbers: Cache[int]) -> None:
    for key in ("a", "b"):
        await numbers.set(key, 1)
    await numbers.invalidate("a")
    assert await numbers.get("a") is None
    assert await numbers.get("b") == 1


async def test_all_who_ask_at_once_share_one_load(numbers: Cache[int]) -> None:
    begun, go_on, loads = asyncio.Event(), asyncio.Event(), 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        begun.set()
        await go_on.wait()
        return 7

    asking = [asyncio.create_task(numbers.get_or_load("a", load)) for _ in range(20)]
    await asyncio.wait_for(begun.wait(), 5)
    go_on.set()
    assert await asyncio.gather(*asking) == [7] * 20
    assert (loads, await numbers.get_or_load("a", load)) == (1, 7)
    assert (await numbers.statistics())["shared"] == 19


async def test_leaders_that_are_cancelled_harm_nobody_who_waits() -> None:
    numbers, harmed = in_memory(), 0
    for round_ in range(1_000):
        begun, go_on, loads = asyncio.Event(), asyncio.Event(), 0

        async def load(begun: asyncio.Event = begun, go_on: asyncio.Event = go_on, value: int = round_) -> int:
            nonlocal loads
            loads += 1
            begun.set()
            await go_on.wait()
            return value

        leader = asyncio.create_task(numbers.get_or_load(round_, load))
        await asyncio.wait_for(begun.wait(), 5)
        followers = [asyncio.create_task(numbers.get_or_load(round_, load)) for _ in range(5)]
        await asyncio.sleep(0)
        leader.cancel()
        await asyncio.sleep(0)
        go_on.set()
        harmed += sum(answer != round_ for answer in await asyncio.gather(*followers, return_exceptions=True))
        assert leader.cancelled()
        assert loads == 1
    assert harmed == 0


async def test_errors_reach_all_who_wait_and_are_never_kept(numbers: Cache[int]) -> None:
    loads = 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        await asyncio.sleep(0)
        if loads == 1:
            raise LookupError("not now")
        return loads

    answers = await asyncio.gather(*(numbers.get_or_load("a", load) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LookupError] * 3
    assert await numbers.get_or_load("a", load) == 2


async def test_what_is_taken_back_while_it_is_loaded_is_not_kept_and_not_waited_for(numbers: Cache[int]) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def outdated() -> int:
        begun.set()
        await go_on.wait()
        return 1

    async def fresh() -> int:
        return 2

    old = asyncio.create_task(numbers.get_or_load("a", outdated))
    await asyncio.wait_for(begun.wait(), 5)
    await numbers.invalidate("a")
    assert await numbers.get_or_load("a", fresh) == 2
    go_on.set()
    assert await old == 1
    assert await numbers.get("a") == 2


async def test_a_cache_that_is_off_keeps_nothing() -> None:
    for store in (None, Shelf()):
        numbers = Cache[int]("off", CacheConfig(enabled=False), store=store)
        await numbers.set("a", 1)
        assert await numbers.get("a") is None


LISTS = json_codec(list[int])


async def test_what_a_store_gives_that_is_no_value_is_a_miss_and_counted() -> None:
    shelf = Shelf()
    numbers = Cache[list[int]]("lists", CacheConfig(), store=shelf, codec=LISTS)
    await numbers.set("a", [1])
    shelf.kept = dict.fromkeys(shelf.kept, (b"torn", frozenset[str]()))
    assert await numbers.get("a") is None
    assert (await numbers.statistics())["failures"] == 1
    with pytest.raises(ValueError, match="coroutines"):
        numbers.get_or_work("a", lambda: [2])


async def test_values_are_written_and_large_ones_read_beside_the_event_loop() -> None:
    threads: list[int] = []

    def written(value: str) -> bytes:
        threads.append(threading.get_ident())
        return value.encode()

    def read(stored: bytes) -> str:
        threads.append(threading.get_ident())
        return stored.decode()

    texts = Cache[str]("texts", CacheConfig(), store=Shelf(), codec=Codec(written, read))
    for size in (10, 1_000_000):
        await texts.set("a", "x" * size)
        assert await texts.get("a") == "x" * size
    loop = threading.get_ident()
    assert [thread == loop for thread in threads] == [False, True, False, False]


@dataclass(frozen=True, slots=True)
class Asked:
    """A key as a bank has them."""

    task: str
    tags: frozenset[str]
    since: datetime


def test_a_digest_is_the_same_for_equal_keys_and_holds_no_text() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    one, two = (("w", 1, Asked("task", frozenset(tags), moment)) for tags in (["a", "b"], ["b", "a"]))
    assert digest(one) == digest(two) != digest(("w", 1, Asked("task", frozenset(["a"]), moment)))
    assert digest("\ud800") != digest("")
    with pytest.raises(TypeError, match="no key"):
        digest((object(),))


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3), max_size=4))
def test_arrays_come_back_as_they_were(rows: list[list[float]]) -> None:
    array, codec = np.array(rows, np.float32).reshape(len(rows), 3), array_codec()
    back = codec.decode(codec.encode(array))
    assert np.array_equal(back, array)
    assert back.dtype == np.float32
    assert back.flags.writeable


async def test_a_cached_coroutine_function_runs_once_for_equal_arguments() -> None:
    calls: list[tuple[int, str]] = []

    @cached("sums", ttl=60)
    async def add(number: int, *, unit: str = "s") -> str:
        """Adds."""
        calls.append((number, unit))
        await asyncio.sleep(0)
        return f"{number}{unit}"

    assert await asyncio.gather(add(1), add(1, unit="s"), add(2)) == ["1s", "1s", "2s"]
    assert calls == [(1, "s"), (2, "s")]
    assert add.__name__ == "add"
    assert (await cache_statistics())["sums"]["cache_size"] == 2


def test_a_cached_function_is_run_by_one_thread_while_others_wait() -> None:
    entered, go_on, calls = threading.Event(), threading.Event(), 0

    @cached("slow")
    def slow(number: int) -> int:
        nonlocal calls
        calls += 1
        entered.set()
        assert go_on.wait(30)
        return number * 2

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(slow, 21) for _ in range(8)]
        assert entered.wait(30)
        while get_cache("slow")._threads.shared < 7:
            time.sleep(0.001)
        go_on.set()
        assert [each.result(30) for each in asked] == [42] * 8
    assert calls == 1


def test_a_thread_that_is_stopped_leaves_its_work_to_one_who_waits() -> None:
    entered, go_on, calls = threading.Event(), threading.Event(), 0

    @cached("interrupted")
    def slow() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            entered.set()
            assert go_on.wait(30)
            raise KeyboardInterrupt
        return 5

    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(slow)
        assert entered.wait(30)
        others = [threads.submit(slow) for _ in range(3)]
        go_on.set()
        assert [each.result(30) for each in others] == [5] * 3
        assert isinstance(first.exception(30), KeyboardInterrupt)
    assert calls == 2


def test_errors_of_a_cached_function_are_not_kept_and_its_key_can_be_chosen() -> None:
    calls = 0

    def only_number(number: int, note: str) -> int:
        return number

    @cached("chosen", key=only_number)
    def work(number: int, note: str) -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError(note)
        return note

    with pytest.raises(ValueError, match="first"):
        work(1, "first")
    assert work(1, "second") == "second"
    assert work(1, "third") == "second"


def test_functions_of_one_cache_and_arguments_that_look_alike_are_kept_apart() -> None:
    def by_number(number: int) -> int:
        return number

    @cached("shared", key=by_number)
    def name_of(number: int) -> str:
        return f"name {number}"

    @cached("shared", key=by_number)
    def price_of(number: int) -> str:
        return f"price {number}"

    @cached("shared")
    def told(*args: object, **kwargs: object) -> str:
        return repr((args, kwargs))

    assert (price_of(1), name_of(1)) == ("price 1", "name 1")
    assert [told(("a", 1)), told(a=1), told(1), told(True)] == [
        "((('a', 1),), {})",
        "((), {'a': 1})",
        "((1,), {})",
        "((True,), {})",
    ]


def test_a_name_means_one_cache() -> None:
    config = CacheConfig(max_size=3, eviction_policy=EvictionPolicy.LFU)
    assert get_cache("mine", config) is get_cache("mine") is get_cache("mine", config)
    with pytest.raises(ValueError, match="is there"):
        get_cache("mine", CacheConfig())


def test_a_configuration_that_cannot_be_meant_is_refused() -> None:
    for wrong in ({"max_size": -1}, {"max_bytes": -1}, {"default_ttl": 0.0}, {"adaptive_ttl": 0.5}):
        with pytest.raises(ValueError, match=r"bounds|default_ttl"):
            CacheConfig(**wrong)  # pyright: ignore[reportArgumentType]


async def test_a_storm_of_threads_loads_each_key_once() -> None:
    calls: list[int] = []

    @cached("storm")
    def work(number: int) -> int:
        calls.append(number)
        return number + 1

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(work, [number % 25 for number in range(2_000)]))
    assert answers == [number % 25 + 1 for number in range(2_000)]
    assert sorted(calls) == list(range(25))
