"""How long entries live, and which of them are over."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Generic, Protocol, TypeVar

JITTER = 0.1
"""Share by which a time to live varies: what was put together is not all loaded again at one moment."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What becomes of a time to live.

    Attributes:
        chance: a random number in [0, 1) for each entry, which makes its time up to 10 % shorter; None leaves it as it
            is.
        longest: an entry that is read in the second half of its time gets its time anew, up to so many times its first
            time in all (adaptive); 1 never does.
    """

    chance: Callable[[], float] | None = None
    longest: float = 1.0

    def varied(self, ttl_s: float) -> float:
        """A time to live in seconds, varied by chance."""
        return ttl_s if self.chance is None else ttl_s * (1 - JITTER * self.chance())


AS_GIVEN = Lifetime()
"""Neither varied nor prolonged."""


class Mortal(Protocol):
    """What has a time to live; `alive` is False once it was removed."""

    expires_at: float
    alive: bool


M = TypeVar("M", bound=Mortal)


class Deadlines(Generic[M]):
    """Entries by the time they expire, soonest first; not thread-safe by itself."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, M]] = []
        self._order = count()

    def add(self, entry: M) -> None:
        """Watch an entry; its time may become later afterwards, and it may be removed."""
        heapq.heappush(self._heap, (entry.expires_at, next(self._order), entry))

    def soonest(self) -> M | None:
        """The living entry that expires first, or None."""
        while self._heap:
            noted, _, entry = self._heap[0]
            if entry.alive and entry.expires_at == noted:
                return entry
            heapq.heappop(self._heap)
            if entry.alive:
                self.add(entry)
        return None

    def tidy(self, living: int) -> None:
        """Let go of removed entries once they are more than the living ones, of which there are so many."""
        if len(self._heap) > 2 * living + 16:
            self._heap = [each for each in self._heap if each[2].alive]
            heapq.heapify(self._heap)
