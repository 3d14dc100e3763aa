"""Runs strategies at once, each with a deadline: one that fails or is late is left out, and the others answer."""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread
from typing import Any, Generic, TypeVar

from reasoning_bank.concurrency.border import Border
from reasoning_bank.records import Strategy

logger = logging.getLogger(__name__)

V = TypeVar("V")

MOST_LOST = 64
"""Strategies that hang at once: beyond that none is started any more, and every answer says what it lacks."""


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
    """Runs each strategy in a thread of its own, so that one that hangs costs itself only.

    Starting a thread takes 0.05 ms; a pool would be exhausted by strategies that hang, and be waited for at exit.

    Args:
        deadline_s: seconds a strategy may take.
    """

    def __init__(self, *, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._lost: set[Future[Any]] = set()

    def run(self, works: Mapping[Strategy, Callable[[], V]]) -> Outcome[V]:
        """Runs all works at once, until they are done or the deadline is over; blocks."""
        self._lost = {future for future in self._lost if not future.done()}
        futures: dict[Strategy, Future[tuple[V, float]]] = {}
        if len(self._lost) < MOST_LOST:
            futures = {name: _started(name, work) for name, work in works.items()}
        wait(futures.values(), self._deadline_s)
        found: dict[Strategy, V] = {}
        took_ms: dict[str, float] = {}
        for name, future in futures.items():
            if _answered(name, future):
                found[name], took_ms[name] = future.result()
            elif not future.done():
                self._lost = self._lost | {future}
        return Outcome(found, tuple(name for name in works if name not in found), took_ms)


def _started(name: Strategy, work: Callable[[], V]) -> "Future[tuple[V, float]]":
    future: Future[tuple[V, float]] = Future()

    def run() -> None:
        start = time.perf_counter()
        with Border(future.set_exception):
            found = work()
            future.set_result((found, (time.perf_counter() - start) * 1000))

    Thread(target=run, name=f"strategy {name}", daemon=True).start()
    return future


def _answered(name: Strategy, future: "Future[tuple[V, float]]") -> bool:
    if not future.done():
        logger.warning("the %s strategy took too long: the others answer", name)
        return False
    if (error := future.exception()) is not None:
        logger.error("the %s strategy failed: the others answer", name, exc_info=error)
        return False
    return True
