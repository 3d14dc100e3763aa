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
from reasoning_bank.cache.redis_server import RedisServer
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
_TRIES: Final = 50


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
        lag_ms: by which the event loop itself was late then: no wait in it can be shorter.
        back_s: seconds until the server answered again; None where it was away at the end.
        hits: what Redis answered during the part.
        used: whether it was used again after what happened.
    """

    happened: str
    calls: int
    errors: int
    call_ms: tuple[float, ...]
    look_ms: tuple[float, ...]
    lag_ms: tuple[float, ...]
    back_s: float | None
    hits: int
    used: bool


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
        used = all(part.used for part in parts if part.happened not in AWAY)
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
        stores = _stores(bank)
        assert await stores[0]._server.ready(_PATIENCE_S)
        return tuple([await _part(load, redis, stores, what, calls) for what in HAPPENING])


async def _part(load: _Load, redis: OwnRedis, stores: Sequence[RedisStore], what: str, calls: int) -> Part:
    errors, hits = len(load.faults), _hits(stores)
    looks: list[float] = []
    lags: list[float] = []
    probes = [asyncio.create_task(_probe(load.bank, looks)), asyncio.create_task(_watch_loop(lags))]
    took = await _calls(load, calls // 3)
    happening = asyncio.create_task(_happen(what, redis, stores[0]._server))
    took += await _calls(load, calls - calls // 3)
    back = await happening
    used = what not in AWAY and await _used(load, stores)
    for probe in probes:
        probe.cancel()
    await asyncio.gather(*probes, return_exceptions=True)
    return Part(
        what,
        calls,
        len(load.faults) - errors,
        _quantiles(took),
        _quantiles(looks),
        _quantiles(lags),
        None if back is None else round(back, 2),
        _hits(stores) - hits,
        used,
    )


async def _happen(what: str, redis: OwnRedis, server: RedisServer) -> float | None:
    """Let it happen; the seconds after which the server is used again, or None where it stays away."""
    await asyncio.to_thread(HAPPENING[what], redis)
    started = time.perf_counter()
    if what in AWAY:
        return None
    assert await server.ready(_PATIENCE_S)
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
        await bank.rooms.caches.profiles.get(("probe", number % 50), namespace=SPACE)
        looks.append(1000 * (time.perf_counter() - started))
        await asyncio.sleep(_PROBE_S)


async def _watch_loop(lags: list[float]) -> None:
    while True:
        started = time.perf_counter()
        await asyncio.sleep(_PROBE_S)
        lags.append(1000 * (time.perf_counter() - started - _PROBE_S))


async def _used(load: _Load, stores: Sequence[RedisStore]) -> bool:
    """Whether Redis answers something, once something was put there again."""
    before = _hits(stores)
    for _ in range(_TRIES):
        await _calls(load, CLIENTS)
        if _hits(stores) > before:
            return True
    return False


def _stores(bank: ReasoningBank) -> list[RedisStore]:
    """What the bank's caches have in Redis."""
    kept = [cast("StoredCache[Any]", getattr(bank.rooms.caches, name)._kept).store for name in SHARED]
    stores = [store._store if isinstance(store, HybridStore) else store for store in kept]
    assert all(isinstance(store, RedisStore) for store in stores)
    return cast("list[RedisStore]", stores)


def _hits(stores: Sequence[RedisStore]) -> int:
    return sum(store._hits for store in stores)


def _quantiles(values: list[float]) -> tuple[float, ...]:
    return tuple(np.quantile(values, (0.5, 0.99, 1.0)).round(2).tolist())
