"""The same work asked for by several at once is done once."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
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


class ThreadFlight(Generic[V]):
    """Lets concurrent calls of threads with an equal key share one run.

    The first one runs, and what it raises is raised to all. Where it was stopped from outside (an interrupt, the end
    of its thread), one of those who wait runs anew.
    """

    def __init__(self) -> None:
        self._runs: dict[CacheKey, Future[V]] = {}
        self._lock = threading.Lock()
        self.shared = 0
        """Calls that found their work already under way."""

    def do(self, key: CacheKey, work: Callable[[], V]) -> V:
        """What `work` returns or raises, from a run that is under way with this key or from one of this thread."""
        while True:
            with self._lock:
                run = self._runs.get(key)
                if run is None:
                    mine = self._runs[key] = Future()
                    break
                self.shared += 1
            if not isinstance(run.exception(), _StoppedError):
                return run.result()
        return self._lead(key, mine, work)

    def _lead(self, key: CacheKey, run: "Future[V]", work: Callable[[], V]) -> V:
        try:
            value = work()
            run.set_result(value)
            return value
        except Exception as error:
            run.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._runs[key]
            if not run.done():
                run.set_exception(_StoppedError())


class _StoppedError(Exception):
    """Whoever ran was stopped before there was a result."""


@dataclass(slots=True)
class _Flight(Generic[V]):
    run: "asyncio.Future[V]"
    waiting: int = field(default=0)
