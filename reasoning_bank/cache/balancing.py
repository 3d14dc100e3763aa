"""Caches that grow where growing would measurably save most, within one budget of bytes."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from reasoning_bank.cache.memory import CacheStatistics, MemoryCache

logger = logging.getLogger(__name__)

PAUSE_S: Final = 60.0
_ENOUGH: Final = 20
"""Misses in one look that a cache of twice the size would have answered, below which nothing is changed."""
_PATIENCE: Final = 2
"""Looks in a row that must agree: a single burst changes nothing."""
_STEP: Final = 1.5
_FULL: Final = 0.8
"""Share of its bytes from which a cache needs more of them to hold more."""
_LEAD: Final = 2.0
"""So many times as much must bytes save where they go as they save where they come from."""


@dataclass(slots=True)
class _Watched:
    """One cache between two looks.

    Attributes:
        most: entries it may ever be given.
        streak: looks in a row at which it wanted to grow.
        lost_s: seconds the last interval would have been shorter with twice the size.
        worth_s: seconds its hits saved in the last interval.
    """

    cache: MemoryCache[Any]
    most: int
    hits: int = 0
    missed: int = 0
    streak: int = 0
    lost_s: float = 0.0
    worth_s: float = 0.0


class Balancer:
    """Resizes caches by what their misses of evicted entries cost, a step at a time.

    A cache remembers the keys it evicted lately, so it knows which misses a larger one would have answered; what a hit
    saves it has measured. Entries are free as long as the bytes suffice; bytes come first from who does not use them,
    then from whom they serve less than half as well.

    Args:
        caches: by name; each keeps at least what it has now until bytes are taken from it.
        budget_bytes: of all together: the sum of their bounds never exceeds it.
        most: times its first size a cache may grow to.
    """

    def __init__(self, caches: Mapping[str, MemoryCache[Any]], *, budget_bytes: int, most: int = 8) -> None:
        self._budget = budget_bytes
        self._watched = {
            name: _Watched(cache, most * size) for name, cache in caches.items() if (size := _said(cache)["max_size"])
        }

    async def run(self) -> None:
        """Look every minute, until cancelled."""
        while True:
            await asyncio.sleep(PAUSE_S)
            self.look()

    def look(self) -> str | None:
        """Grow the cache that would save most, if any would save enough; its name."""
        for watched in self._watched.values():
            _measure(watched)
        wanting = {name: each for name, each in self._watched.items() if each.streak >= _PATIENCE}
        for name, watched in sorted(wanting.items(), key=lambda item: -item[1].lost_s):
            if self._grown(watched):
                said = _said(watched.cache)
                logger.info("cache %s now holds up to %s entries, %s bytes", name, said["max_size"], said["max_bytes"])
                watched.streak = 0
                return name
        return None

    def _grown(self, watched: _Watched) -> bool:
        said = _said(watched.cache)
        bound = said["max_bytes"] or 0
        size = min(int(said["max_size"] * _STEP) + 1, watched.most)
        if said["bytes"] < _FULL * bound:
            watched.cache.resize(size)
            return size > said["max_size"]
        wanted = int(bound * (_STEP - 1))
        free = self._budget - sum(_said(each.cache)["max_bytes"] or 0 for each in self._watched.values())
        if free < wanted:
            free += self._taken(wanted - free, watched)
        watched.cache.resize(size, max_bytes=bound + max(min(free, wanted), 0))
        return free > 0

    def _taken(self, wanted: int, by: _Watched) -> int:
        """Bytes taken from others, at most so many."""
        taken = 0
        per_byte = by.lost_s / max(_said(by.cache)["bytes"], 1)
        for each in sorted(self._watched.values(), key=_worth_per_byte):
            said = _said(each.cache)
            bound = said["max_bytes"] or 0
            spare = (bound - said["bytes"]) // 2  # half of what is unused: it may be used yet
            if _worth_per_byte(each) * _LEAD < per_byte:
                spare = max(spare, bound // 4)
            give = min(spare, wanted - taken)
            if each is not by and give > 0:
                each.cache.resize(max_bytes=bound - give)
                taken += give
        return taken


def _measure(watched: _Watched) -> None:
    said = _said(watched.cache)
    hits, missed = said["hits"] - watched.hits, said["missed_by_size"] - watched.missed
    watched.hits, watched.missed = said["hits"], said["missed_by_size"]
    each_s = said["saved_s"] / max(said["hits"], 1)
    watched.lost_s, watched.worth_s = missed * each_s, hits * each_s
    watched.streak = watched.streak + 1 if missed >= _ENOUGH else 0


def _worth_per_byte(watched: _Watched) -> float:
    return watched.worth_s / max(_said(watched.cache)["bytes"], 1)


def _said(cache: MemoryCache[Any]) -> CacheStatistics:
    return cache.get_statistics()
