"""The memory cache: what it keeps, what it forgets, what it counts."""

import threading
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.cache.memory import ENTRY_BYTES, MemoryCache


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_value_comes_back_as_the_same_object() -> None:
    cache = MemoryCache[list[int]]()
    value = [1]
    cache.put(("w", "a"), value)
    assert cache.get(("w", "a")) is value


def test_an_entry_is_served_until_its_time_is_over() -> None:
    clock = Clock()
    cache = MemoryCache[int](ttl_seconds=10, timer=clock)
    cache.put(("w", "a"), 1)
    clock.now = 9.9
    assert cache.get(("w", "a")) == 1
    clock.now = 10.0
    assert cache.get(("w", "a")) is None
    assert cache.get_statistics()["cache_size"] == 0


def test_putting_again_starts_the_time_again() -> None:
    clock = Clock()
    cache = MemoryCache[int](ttl_seconds=10, timer=clock)
    cache.put(("w", "a"), 1)
    clock.now = 8.0
    cache.put(("w", "a"), 2)
    clock.now = 12.0
    assert cache.get(("w", "a")) == 2


def test_the_least_recently_used_entry_goes_first() -> None:
    cache = MemoryCache[int](max_size=2)
    cache.put(("w", "a"), 1)
    cache.put(("w", "b"), 2)
    cache.get(("w", "a"))
    cache.put(("w", "c"), 3)
    assert [cache.get(("w", key)) for key in "abc"] == [1, None, 3]
    assert cache.get_statistics()["evictions"] == 1


def test_expiry_and_replacement_are_no_evictions() -> None:
    clock = Clock()
    cache = MemoryCache[int](max_size=1, ttl_seconds=10, timer=clock)
    cache.put(("w", "a"), 1)
    cache.put(("w", "a"), 2)
    clock.now = 20.0
    cache.put(("w", "b"), 3)
    assert cache.get_statistics()["evictions"] == 0


def test_a_dropped_entry_is_a_miss() -> None:
    cache = MemoryCache[int]()
    cache.put(("w", "a"), 1)
    assert cache.invalidate(("w", "a"))
    assert not cache.invalidate(("w", "a"))
    assert cache.get(("w", "a")) is None


def test_clearing_one_workspace_leaves_the_others() -> None:
    cache = MemoryCache[int]()
    cache.put(("mine", "a"), 1)
    cache.put(("yours", "a"), 2)
    cache.clear("mine")
    assert cache.get(("mine", "a")) is None
    assert cache.get(("yours", "a")) == 2
    cache.clear()
    assert cache.get(("yours", "a")) is None


def test_statistics_count_requests_and_say_the_rate_in_percent() -> None:
    cache = MemoryCache[int](max_size=5, max_bytes=1_000, size_of=lambda _: 10)
    cache.put(("w", "a"), 1, cost_s=0.5)
    for key in "aab":
        cache.get(("w", key))
    assert cache.get_statistics() == {
        "cache_size": 1,
        "max_size": 5,
        "hits": 2,
        "misses": 1,
        "hit_rate": 66.67,
        "evictions": 0,
        "total_requests": 3,
        "bytes": 20 + ENTRY_BYTES,
        "max_bytes": 1_000,
        "expirations": 0,
        "missed_by_size": 0,
        "saved_s": 1.0,
    }


def test_a_cache_of_size_zero_keeps_nothing() -> None:
    cache = MemoryCache[int](max_size=0)
    cache.put(("w", "a"), 1)
    assert cache.get(("w", "a")) is None
    assert cache.get_statistics()["max_size"] == 0


@pytest.mark.parametrize(("size", "ttl"), [(-1, 1.0), (1, 0.0), (1, -1.0)])
def test_impossible_bounds_are_refused(size: int, ttl: float) -> None:
    with pytest.raises(ValueError, match="max_size"):
        MemoryCache[int](max_size=size, ttl_seconds=ttl)


@given(st.lists(st.tuples(st.sampled_from(["get", "put", "drop"]), st.sampled_from("abcdef")), max_size=80))
def test_it_behaves_like_an_ordered_dict_cut_at_its_size(steps: list[tuple[str, str]]) -> None:
    cache = MemoryCache[int](max_size=3)
    model = OrderedDict[str, int]()
    for number, (action, key) in enumerate(steps):
        if action == "put":
            cache.put(("w", key), number)
            model[key] = number
            model.move_to_end(key)
            if len(model) > 3:
                model.popitem(last=False)
        elif action == "get":
            assert cache.get(("w", key)) == model.get(key)
            if key in model:
                model.move_to_end(key)
        else:
            assert cache.invalidate(("w", key)) == (model.pop(key, None) is not None)
    assert cache.get_statistics()["cache_size"] == len(model)


def test_many_threads_leave_consistent_counters() -> None:
    cache = MemoryCache[int](max_size=8)
    start = threading.Barrier(4)

    def work(seed: int) -> None:
        start.wait(5)
        for step in range(500):
            key = ("w", str((seed * 7 + step) % 16))
            if cache.get(key) is None:
                cache.put(key, step)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    statistics = cache.get_statistics()
    assert statistics["total_requests"] == 2000
    assert statistics["cache_size"] <= 8


def test_a_tag_given_twice_is_one_tag() -> None:
    cache = MemoryCache[int]()
    cache.put(("w", 1), 1, tags=["x", "x"])
    assert cache.invalidate_tag("w", "x") == 1
    cache.put(("w", 2), 2)
    assert cache.get_statistics()["cache_size"] == 1


def test_no_time_to_live_keeps_nothing() -> None:
    cache = MemoryCache[int]()
    cache.put(("w", 1), 1, ttl_s=0)
    assert cache.get(("w", 1)) is None
