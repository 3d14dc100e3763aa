"""Bounds, policies, tags and times of the memory cache, against a model that is simple and slow."""

import random
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_bank.cache.config import EvictionPolicy
from reasoning_bank.cache.lifetime import Lifetime
from reasoning_bank.cache.memory import ENTRY_BYTES, MemoryCache
from reasoning_bank.cache.sizes import size_of

ENTRIES, BYTES, TTL = 4, 6 * ENTRY_BYTES, 10.0


@dataclass(slots=True)
class Kept:
    """An entry of the model."""

    value: int
    size: int
    expires_at: float
    tag: str
    put: int
    read: int
    times: int = 1


@dataclass
class Model:
    """What each policy promises, said in the shortest way."""

    policy: EvictionPolicy
    kept: dict[tuple[str, str], Kept] = field(default_factory=dict[tuple[str, str], Kept])
    clock: "count[int]" = field(default_factory=count)

    def expire(self, now: float) -> None:
        """Drops what is over."""
        self.kept = {key: each for key, each in self.kept.items() if each.expires_at > now}

    def get(self, key: tuple[str, str], now: float) -> int | None:
        """The value still served."""
        self.expire(now)
        each = self.kept.get(key)
        if each is None:
            return None
        each.read, each.times = next(self.clock), each.times + 1
        return each.value

    def put(self, key: tuple[str, str], value: int, *, size: int, tag: str, expires_at: float, now: float) -> None:
        """Keeps a value, and evicts whom the policy names."""
        self.expire(now)
        self.kept.pop(key, None)
        if size > BYTES:
            return
        while len(self.kept) >= ENTRIES or sum(each.size for each in self.kept.values()) + size > BYTES:
            del self.kept[min(self.kept, key=self._order)]
        moment = next(self.clock)
        self.kept[key] = Kept(value, size, expires_at, tag, moment, moment)

    def _order(self, key: tuple[str, str]) -> tuple[float, ...]:
        each = self.kept[key]
        match self.policy:
            case EvictionPolicy.LRU:
                return (each.read,)
            case EvictionPolicy.LFU:
                return (each.times, each.read)
            case EvictionPolicy.FIFO:
                return (each.put,)
            case EvictionPolicy.TTL:
                return (each.expires_at, each.put)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["get", "get", "put", "put", "drop", "tag", "clear", "wait"]),
        st.sampled_from(["mine", "yours"]),
        st.sampled_from("abcdef"),
        st.integers(0, 7),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("policy", list(EvictionPolicy))
@given(steps=STEPS)
def test_every_policy_keeps_what_a_slow_model_keeps(
    policy: EvictionPolicy, steps: list[tuple[str, str, str, int]]
) -> None:
    now, model = 0.0, Model(policy)
    cache = MemoryCache[int](
        ENTRIES, TTL, policy=policy, max_bytes=BYTES, size_of=lambda each: each if isinstance(each, int) else 0,
        timer=lambda: now,
    )  # fmt: skip
    for number, (action, workspace, name, amount) in enumerate(steps):
        key = (workspace, name)
        match action:
            case "get":
                assert cache.get(key) == model.get(key, now)
            case "put":
                size, tag, ttl = amount * ENTRY_BYTES + number, "even" if amount % 2 else "odd", 1.0 + amount
                cache.put(key, size, ttl_s=ttl, tags=[tag])
                model.put(key, size, size=ENTRY_BYTES + size, tag=tag, expires_at=now + ttl, now=now)
            case "drop":
                model.expire(now)
                assert cache.invalidate(key) == (model.kept.pop(key, None) is not None)
            case "tag":
                model.expire(now)
                gone = [k for k, each in model.kept.items() if k[0] == workspace and each.tag == "odd"]
                assert cache.invalidate_tag(workspace, "odd") == len(gone)
                model.kept = {k: each for k, each in model.kept.items() if k not in gone}
            case "clear":
                if amount == 7:
                    cache.clear(workspace)
                    model.kept = {k: each for k, each in model.kept.items() if k[0] != workspace}
            case _:
                now += amount
        model.expire(now)
        statistics = cache.get_statistics()
        assert statistics["cache_size"] == len(model.kept) <= ENTRIES
        assert statistics["bytes"] == sum(each.size for each in model.kept.values()) <= BYTES


def test_an_entry_larger_than_all_room_is_not_kept_and_evicts_nobody() -> None:
    cache = MemoryCache[bytes](max_bytes=4_000)
    cache.put(("w", "small"), b"")
    cache.put(("w", "large"), bytes(4_000))
    assert cache.get(("w", "small")) == b""
    assert cache.get(("w", "large")) is None
    cache.put(("w", "small"), bytes(4_000))
    assert cache.get(("w", "small")) is None, "what was replaced by more than fits is not served again"


def test_a_cache_made_smaller_evicts_at_once_and_grows_again() -> None:
    cache = MemoryCache[int](max_size=10)
    for number in range(10):
        cache.put(("w", number), number)
    cache.resize(3)
    assert [cache.get(("w", number)) for number in range(10)] == [None] * 7 + [7, 8, 9]
    cache.resize(4, max_bytes=10_000)
    cache.put(("w", "more"), 1)
    assert cache.get_statistics()["cache_size"] == 4
    with pytest.raises(ValueError, match="bounds"):
        cache.resize(-1)


def test_times_to_live_vary_by_chance_within_a_tenth() -> None:
    now = 0.0
    cache = MemoryCache[int](500, 100.0, timer=lambda: now, lifetime=Lifetime(random.Random(7).random))
    for number in range(500):
        cache.put(("w", number), number)

    def left(at: float) -> int:
        nonlocal now
        now = at
        return cache.get_statistics()["cache_size"]

    assert 500 == left(89.9) > left(95.0) > left(100.0) == 0, "none outlives the time it was promised"


def test_what_is_read_lives_on_to_a_bound_where_times_adapt() -> None:
    now = 0.0
    cache = MemoryCache[int](ttl_seconds=10, timer=lambda: now, lifetime=Lifetime(longest=3))
    cache.put(("w", "read"), 1)
    cache.put(("w", "alone"), 2)
    while now < 26:
        now += 4.0
        assert cache.get(("w", "read")) == 1
    assert cache.get_statistics()["cache_size"] == 1
    now = 30.0
    assert cache.get(("w", "read")) is None, "three times its first time is the end, however often it is read"
    assert cache.get(("w", "alone")) is None


def test_misses_that_a_larger_cache_would_have_answered_are_counted_once_each() -> None:
    cache = MemoryCache[int](max_size=2)
    for number in range(4):
        cache.put(("w", number), number)
    for number in (0, 1, 1, 9):
        assert cache.get(("w", number)) is None
    assert cache.get_statistics()["missed_by_size"] == 2


def test_removed_entries_are_not_held_by_their_deadlines() -> None:
    cache = MemoryCache[bytes](max_size=8)
    for number in range(1_000):
        cache.put(("w", number), bytes(10))
        cache.invalidate(("w", number - 1))
    assert len(cache._deadlines._heap) <= 40


def test_sizes_count_what_is_inside_and_what_is_held_twice_once() -> None:
    text = "x" * 1_000
    assert size_of(text) > 1_000
    assert size_of([text]) > size_of(text)
    assert size_of({"a": (text,), "b": frozenset({1.5})}) > size_of([text])
    inner = ["y" * 500]
    assert size_of([inner, inner]) < 2 * size_of(inner)
    inner.append(inner)  # type: ignore[arg-type]
    assert size_of(inner) < 2_000, "what holds itself has an end"
    assert size_of(None) == 0
    assert size_of(EvictionPolicy.LRU) == 0
