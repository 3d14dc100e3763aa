"""The same work asked for by several at once is done once."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from reasoning_bank.cache.memory import CacheKey

V = TypeVar("V")


class SingleFlight(Generic[V]):
    """Lets concurrent calls with an equal key share one run, within one event loop.

    The run belongs to nobody: it goes on while anyone waits for it, and ends when the last one was cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[CacheKey, _Flight[V]] = {}
        self.shared = 0
        """Calls that found their work already under way."""

    async def do(self, key: CacheKey, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """What `work` returns or raises, from a run that is under way with this key or from a new one.

        Args:
            key: what the work depends on, all of it; the workspace first.
            work: makes the coroutine; called only where no run is under way.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(work()))
            flight.run.add_done_callback(lambda _: self._landed(key, flight))
        else:
            self.shared += 1
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.run)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.run.done():
                # Whoever comes now must not board a flight that is being called off.
                self._landed(key, flight)
                flight.run.cancel()

    def _landed(self, key: CacheKey, flight: "_Flight[V]") -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


@dataclass(slots=True)
class _Flight(Generic[V]):
    run: "asyncio.Future[V]"
    waiting: int = field(default=0)
