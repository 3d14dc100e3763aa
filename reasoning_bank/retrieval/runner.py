"""Runs strategies at once, each with a deadline: one that fails or is late is left out, and the others answer."""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from reasoning_bank.records import Strategy

logger = logging.getLogger(__name__)

V = TypeVar("V")

THREADS = 16
"""Strategies at work at once, of all searches: more only take turns on the processor."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[V]):
    """What came of strategies that ran at once.

    Attributes:
        found: the result of each that answered in time.
        missing: those that failed or were late.
        took_ms: milliseconds of each that answered.
    """

    found: Mapping[Strategy, V]
    missing: tuple[Strategy, ...]
    took_ms: Mapping[str, float]


class StrategyRunner:
    """Threads for strategies; `close` lets them go.

    Args:
        deadline_s: seconds a strategy may take, waiting for a thread included.
    """

    def __init__(self, *, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="reasoning-bank-strategy")

    def run(self, works: Mapping[Strategy, Callable[[], V]]) -> Outcome[V]:
        """Runs all works at once, until they are done or the deadline is over; blocks."""
        futures: dict[Strategy, Future[tuple[V, float]]] = {
            name: self._threads.submit(_timed, work) for name, work in works.items()
        }
        wait(futures.values(), self._deadline_s)
        found: dict[Strategy, V] = {}
        took_ms: dict[str, float] = {}
        missing: list[Strategy] = []
        for name, future in futures.items():
            if _answered(name, future):
                found[name], took_ms[name] = future.result()
            else:
                missing.append(name)
        return Outcome(found, tuple(missing), took_ms)

    def close(self) -> None:
        """Starts nothing more; a strategy that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _timed(work: Callable[[], V]) -> tuple[V, float]:
    start = time.perf_counter()
    found = work()
    return found, (time.perf_counter() - start) * 1000


def _answered(name: Strategy, future: "Future[tuple[V, float]]") -> bool:
    if not future.done():
        future.cancel()
        logger.warning("the %s strategy took too long: the others answer", name)
        return False
    if (error := future.exception()) is not None:
        logger.error("the %s strategy failed: the others answer", name, exc_info=error)
        return False
    return True
