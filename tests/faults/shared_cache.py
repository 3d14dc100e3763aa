"""Fault 7: Redis killed, frozen, emptied and replaced under a bank whose caches are in it; clients see nothing of it.

Clients search, read, compress and store all the time. In the middle of each part of the load something happens to the
server, a real one of our own, while a probe measures how long a look into a cache takes.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.cache.hybrid import HybridStore
from reasoning_bank.cache.redis import RedisStore
from reasoning_bank.cache.stored import StoredCache
from reasoning_bank.records import MemoryItem, NewTrace, Query
from reasoning_bank.settings import Settings, load_settings
from tests.cache.own_redis import OwnRedis, own_redis
from tests.faults.agreeing import SHARED, TOPICS

SPACE: Final = "w"
CLIENTS: Final = 16
_STORED: Final = 60
_PROBE_S: Final = 0.01
_PATIENCE_S: Final = 60.0


HAPPENING: Final[Mapping[str, Callable[[OwnRedis], object]]] = {
    "nothing": lambda redis: redis.ask("PING"),
    "killed": lambda redis: redis.kill(),
    "started": lambda redis: redis.start(),
    "frozen": lambda redis: redis.freeze(),
    "thawed": lambda redis: redis.thaw(),
    "emptied": lambda redis: redis.ask("FLUSHALL"),
    "replaced": lambda redis: (redis.kill(), redis.start()),
}
AWAY: Final = {"killed", "frozen"}


@dataclass(frozen=True)
class Part:
    """One part of the load.

    Attributes:
        call_ms: p50, p99 and maximum of a call of a client.
        look_ms: of a look into a cache, by the probe.
        back_s: seconds until the server was used again; None where it was away at the end.
        hits: looks that Redis answered once it was back.
    """

    happened: str
    calls: int
    errors: int
    call_ms: tuple[float, ...]
    look_ms: tuple[float, ...]
    back_s: float | None
    hits: int


@dataclass(frozen=True)
class SharedCacheReport:
    """What troubles of Redis showed to the clients of a bank.

    Attributes:
        places: where the caches were, "redis" or "hybrid" with memory in front of it, and how that went.
        faults: the first errors that clients saw.
    """

    clients: int
    places: Mapping[str, tuple[Part, ...]]
    faults: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether no client saw an error, and Redis was used again whenever it was there."""
        parts = [part for parts in self.places.values() for part in parts]
        used = all(part.hits > 0 for part in parts if part.happened not in AWAY)
        return used and not any(part.errors for part in parts)


@dataclass
class _Load:
    bank: ReasoningBank
    rng: random.Random
    faults: list[str]
    ids: list[str] = field(default_factory=list[str])

    async def call(self) -> float:
        """One call of a client; the milliseconds it took."""
        kind = self.rng.choices((self._search, self._read, self._compress, self._store), (70, 20, 5, 5))[0]
        started = time.perf_counter()
        try:
            await kind()
        except Exception as error:  # noqa: BLE001 -- whatever a client sees is what this counts
            self.faults.append(f"{type(error).__name__}: {error}")
        return 1000 * (time.perf_counter() - started)

    async def _search(self) -> None:
        query = Query(f"How to mend the {self._topic()}", k=self.rng.choice((3, 3, 10)))
        await self.bank.retrieve(SPACE, query)

    async def _read(self) -> None:
        await self.bank.get_memories(SPACE, self.rng.sample(self.ids, 2))

    async def _compress(self) -> None:
        await self.bank.compress(f"{self._topic()}. " * 30, max_tokens=100, query=self._topic())

    async def _store(self) -> None:
        await self.store(self.rng.randrange(10**9))

    async def store(self, number: int) -> None:
        """Keep a lesson."""
        item = MemoryItem(f"Mend {number}", title=f"Lesson {number}", content=f"Mend the {self._topic()} like {number}")
        stored = await self.bank.store_trace(SPACE, NewTrace(f"Mend {number}", outcome="success"), memories=[item])
        self.ids += [each.id for each in stored.memories if each.id is not None]

    def _topic(self) -> str:
        return self.rng.choices(TOPICS, [1 / (place + 1) for place in range(len(TOPICS))])[0]


def trouble_redis(
    directory: Path, *, calls: int, seed: int, places: Sequence[str] = ("redis", "hybrid")
) -> SharedCacheReport:
    """Let clients make so many calls while everything happens to Redis, one thing after the other.

    Args:
        directory: of the banks and of Redis.
        calls: of all clients together, for each place.
        seed: of what is asked.
        places: where the caches are.
    """
    faults: list[str] = []
    found: dict[str, tuple[Part, ...]] = {}
    for place in places:
        with own_redis(directory) as redis:
            load = partial(_Load, rng=random.Random(seed), faults=faults)
            settings = _settings(directory / place, redis, place)
            found[place] = asyncio.run(_troubled(settings, redis, load, calls // len(HAPPENING)))
    return SharedCacheReport(CLIENTS, found, tuple(faults[:5]))


def _settings(directory: Path, redis: OwnRedis, place: str) -> Settings:
    return load_settings(
        data_dir=directory,
        durability="process",
        embeddings={"backend": "hashing"},
        compression={"tokenizer": "estimated"},
        cache={"redis_url": redis.url, **{name: {"backend": place} for name in SHARED}},
    )


async def _troubled(
    settings: Settings, redis: OwnRedis, loaded: Callable[[ReasoningBank], "_Load"], calls: int
) -> tuple[Part, ...]:
    async with ReasoningBank(settings) as bank:
        load = loaded(bank)
        for number in range(_STORED):
            await load.store(number)
        await bank.wait_until_searchable(timeout_s=_PATIENCE_S)
        store = _store_of(bank)
        assert await store._server.ready(_PATIENCE_S)
        return tuple([await _part(load, redis, store, what, calls) for what in HAPPENING])


async def _part(load: _Load, redis: OwnRedis, store: RedisStore, what: str, calls: int) -> Part:
    errors = len(load.faults)
    looks: list[float] = []
    probe = asyncio.create_task(_probe(load.bank, looks))
    took = await _calls(load, calls // 3)
    happening = asyncio.create_task(_happen(what, redis, store))
    took += await _calls(load, calls - calls // 3)
    back = await happening
    hits = 0 if what in AWAY else await _hits(load, store)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    return Part(
        what,
        calls,
        len(load.faults) - errors,
        _quantiles(took),
        _quantiles(looks),
        None if back is None else round(back, 2),
        hits,
    )


async def _happen(what: str, redis: OwnRedis, store: RedisStore) -> float | None:
    """Let it happen; the seconds after which the server is used again, or None where it stays away."""
    await asyncio.to_thread(HAPPENING[what], redis)
    started = time.perf_counter()
    if what in AWAY:
        return None
    assert await store._server.ready(_PATIENCE_S)
    return time.perf_counter() - started


async def _calls(load: _Load, calls: int) -> list[float]:
    """So many calls by all clients, each making its next one when it has its answer."""
    left = iter(range(calls))
    took: list[float] = []

    async def client() -> None:
        took.extend([await load.call() for _ in left])

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return took


async def _probe(bank: ReasoningBank, looks: list[float]) -> None:
    number = 0
    while True:
        number += 1
        started = time.perf_counter()
        await bank.rooms.caches.tools.get(("probe", number % 50), namespace=SPACE)
        looks.append(1000 * (time.perf_counter() - started))
        await asyncio.sleep(_PROBE_S)


async def _hits(load: _Load, store: RedisStore) -> int:
    """What Redis answers after what happened: something, once something was put there again."""
    before = (await store.statistics())["hits"]
    async with asyncio.timeout(_PATIENCE_S):
        while (found := (await store.statistics())["hits"] - before) <= 0:
            await _calls(load, 20)
    return found


def _store_of(bank: ReasoningBank) -> RedisStore:
    kept = cast("StoredCache[Any]", bank.rooms.caches.tools._kept)
    store = kept.store._store if isinstance(kept.store, HybridStore) else kept.store
    assert isinstance(store, RedisStore)
    return store


def _quantiles(values: list[float]) -> tuple[float, ...]:
    return tuple(np.quantile(values, (0.5, 0.99, 1.0)).round(2).tolist())
