"""The one registry of figures of a process: durations, counters, gauges. Whatever tells of them reads it here."""

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

from reasoning_bank.monitoring.histogram import Histogram
from reasoning_bank.monitoring.observing import Timed
from reasoning_bank.monitoring.snapshot import Snapshot
from reasoning_bank.monitoring.views import statistics
from reasoning_bank.monitoring.windows import QUARTER_S, Counted, Durations
from reasoning_bank.records import JsonValue

MOST_NAMES: Final = 400
"""Operations, and counters, that are kept apart; names come from the code, so more of them are a fault of the code."""
OTHER: Final = "other"
"""Where what bears a name beyond those is counted."""

STEP_S: Final = 5.0
"""Steps of the clock up to this one are ignored when they go back: windows would overlap for nothing."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Quarter:
    """What happened in one quarter of an hour.

    Attributes:
        start: its begin, in seconds since the epoch.
    """

    start: int
    operations: Mapping[str, Histogram]
    counters: Mapping[str, float]


@dataclass(slots=True)
class _Source:
    """Counters that a room keeps itself, with what was read of them last."""

    prefix: str
    read: Callable[[], Mapping[str, float]]
    last: Mapping[str, float]


class PerformanceMonitor:
    """Counts and times what this process does; safe to call from any thread.

    Args:
        timer: monotonic clock in seconds.
        clock: seconds since the epoch: windows begin and end by it.
    """

    def __init__(
        self, timer: Callable[[], float] = time.perf_counter, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._timer = timer
        self._clock = clock
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._started = timer()
        self._offset = clock() - self._started
        self._operations: dict[str, Durations] = {}
        self._counters: dict[str, Counted] = {}
        self._gauges: dict[str, Callable[[], float]] = {}
        self._sources: list[_Source] = []

    # Recording

    def measure(self, operation: str) -> Timed:
        """Time the block as one call of `operation`; an error counts as one and passes on."""
        return Timed(self.observe, operation, timer=self._timer)

    def observe(self, operation: str, seconds: float, failed: bool = False) -> None:
        """Count one call of `operation` that took `seconds`; this is the `Observe` that rooms are given."""
        with self._lock:
            durations = self._operations.get(operation)
            if durations is None:
                durations = _named(self._operations, operation, Durations)
            durations.observe(self._timer() + self._offset, seconds, failed=failed)

    def observe_stages(self, operation: str, stages_ms: Mapping[str, float]) -> None:
        """Count the stages of one call, each as `operation.stage`; milliseconds."""
        for stage, milliseconds in stages_ms.items():
            self.observe(f"{operation}.{stage}", milliseconds / 1000)

    def count(self, name: str, amount: float = 1) -> None:
        """Add `amount` to the counter `name`."""
        with self._lock:
            counted = self._counters.get(name)
            if counted is None:
                counted = _named(self._counters, name, Counted)
            counted.add(self._timer() + self._offset, amount)

    def record_api_call(self, latency: float) -> None:
        """Count one call to a remote model that took `latency` seconds."""
        self.observe("api_call", latency)

    def record_cache_hit(self) -> None:
        """Count one answer served from a cache."""
        self.count("cache_hits")

    def record_cache_miss(self) -> None:
        """Count one look-up that no cache could answer."""
        self.count("cache_misses")

    def record_tokens(self, tokens: int) -> None:
        """Add tokens sent to or received from a remote model."""
        self.count("tokens", tokens)

    # What rooms keep themselves

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Tell what `read` returns whenever figures are asked for; NaN where nothing is known.

        Args:
            name: of the gauge; a second one of the name takes its place.
            read: called from any thread; it neither waits nor raises.
        """
        self._gauges[name] = read

    def add_source(self, prefix: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Count what a room adds up itself, as `prefix.key` (just `key` under the prefix "").

        Args:
            prefix: of the counters' names.
            read: returns sums since the room was made; called from any thread; it neither waits nor raises.
        """
        with self._reading:
            self._sources.append(_Source(prefix, read, {}))

    def detach(self) -> None:
        """Read every source once more, then forget sources and gauges: their rooms close."""
        self.read_sources()
        with self._reading:
            self._sources.clear()
        self._gauges.clear()

    def read_sources(self) -> None:
        """Count what the sources added since they were read last."""
        with self._reading:
            self._follow_clock()
            for source in self._sources:
                found = dict(source.read())
                for key, value in found.items():
                    last = source.last.get(key)
                    added = value if last is None or value < last else value - last
                    if added or last is None:  # what is still nought is known, too
                        self.count(f"{source.prefix}.{key}" if source.prefix else key, added)
                source.last = found

    def reset(self) -> None:
        """Forget everything that was counted; gauges and sources stay."""
        self.read_sources()
        with self._lock:
            self._operations.clear()
            self._counters.clear()
            self._started = self._timer()

    # What it tells

    def snapshot(self) -> Snapshot:
        """Every figure as of now."""
        self.read_sources()
        at = self._at()
        return Snapshot(
            at=datetime.fromtimestamp(at, UTC),
            uptime_s=self._timer() - self._started,
            operations={name: self._locked(partial(each.summaries, at)) for name, each in self._measured()},
            counters={name: self._locked(partial(each.by_window, at)) for name, each in self._counted()},
            gauges={name: value for name, read in sorted(self._gauges.items()) if (value := read()) == value},
        )

    def totals(self) -> dict[str, Histogram]:
        """The durations of every operation since the start, by name, as histograms of the caller's own."""
        return {name: self._locked(each.total) for name, each in self._measured()}

    def quarters(self, since: int = 0, *, running: bool = False) -> list[Quarter]:
        """The quarters of an hour of the last day in which anything happened, oldest first.

        Args:
            since: the earliest begin, in seconds since the epoch.
            running: whether the one that has not ended is among them.
        """
        self.read_sources()
        at, first = self._at(), math.ceil(since / QUARTER_S)
        operations: dict[int, dict[str, Histogram]] = defaultdict(dict)
        counters: dict[int, dict[str, float]] = defaultdict(dict)
        for name, durations in self._measured():
            for index, histogram in self._locked(partial(durations.quarters, at, since=first, running=running)):
                operations[index].setdefault(name, Histogram()).merge(histogram)
        for name, counted in self._counted():
            for index, amount in self._locked(partial(counted.quarters, at, since=first, running=running)):
                counters[index][name] = amount
        return [
            Quarter(index * QUARTER_S, operations[index], counters[index]) for index in sorted({*operations, *counters})
        ]

    def get_statistics(self) -> dict[str, JsonValue]:
        """Return uptime in seconds, every counter, and a summary per operation, since the start."""
        return statistics(self.snapshot())

    def _follow_clock(self) -> None:
        """Move with the clock, which leaps when a machine slept or its time is set; a small step back is ignored."""
        offset = self._clock() - self._timer()
        with self._lock:
            put_back = offset < self._offset - STEP_S
            if put_back or offset > self._offset:
                self._offset = offset
            if put_back:
                for each in (*self._operations.values(), *self._counters.values()):
                    each.put_back(self._at())

    def _at(self) -> float:
        return self._timer() + self._offset

    def _measured(self) -> list[tuple[str, Durations]]:
        with self._lock:
            return sorted(self._operations.items())

    def _counted(self) -> list[tuple[str, Counted]]:
        with self._lock:
            return sorted(self._counters.items())

    def _locked(self, read: Callable[[], T]) -> T:
        # For each name by itself, so that nobody who counts waits for a whole report.
        with self._lock:
            return read()


def _named(known: dict[str, T], name: str, make: Callable[[], T]) -> T:
    return known.setdefault(name if len(known) < MOST_NAMES else OTHER, make())
