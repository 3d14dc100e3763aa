"""Counters and latency histograms of this process, from its first call on.

A histogram counts durations in buckets that grow by 5 %, so a quantile is off by at most 2.5 %
and an observation costs one logarithm and one list update.
"""

import math
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from reasoning_bank.records import JsonValue

SMALLEST_S = 1e-6
GROWTH = 1.05
BUCKETS = 400
"""1 µs · 1.05^400 is about 5 minutes: longer durations land in the last bucket, min and max stay exact."""
_PER_BUCKET = 1.0 / math.log(GROWTH)


class Histogram:
    """Durations of one operation; not thread-safe by itself."""

    __slots__ = ("_buckets", "count", "errors", "largest_s", "smallest_s", "total_s")

    def __init__(self) -> None:
        self._buckets = [0] * BUCKETS
        self.count = 0
        self.errors = 0
        self.total_s = 0.0
        self.smallest_s = math.inf
        self.largest_s = 0.0

    def observe(self, seconds: float, *, failed: bool = False) -> None:
        """Count one duration in seconds."""
        bucket = int(math.log(seconds / SMALLEST_S) * _PER_BUCKET) if seconds > SMALLEST_S else 0
        self._buckets[min(bucket, BUCKETS - 1)] += 1
        self.count += 1
        self.errors += failed
        self.total_s += seconds
        self.smallest_s = min(self.smallest_s, seconds)
        self.largest_s = max(self.largest_s, seconds)

    def quantile(self, share: float) -> float:
        """Return the duration in seconds that `share` (0..1) of the observations did not exceed; 0 when empty."""
        wanted = share * self.count
        seen = 0
        for bucket, count in enumerate(self._buckets):
            seen += count
            if count and seen >= wanted:
                middle = SMALLEST_S * GROWTH ** (bucket + 0.5)
                return min(max(middle, self.smallest_s), self.largest_s)
        return 0.0

    def summary(self) -> dict[str, JsonValue]:
        """Return count, errors and milliseconds (mean, min, p50, p95, p99, max)."""
        if not self.count:
            return {"count": 0, "errors": 0}
        return {
            "count": self.count,
            "errors": self.errors,
            "mean_ms": _ms(self.total_s / self.count),
            "min_ms": _ms(self.smallest_s),
            "p50_ms": _ms(self.quantile(0.50)),
            "p95_ms": _ms(self.quantile(0.95)),
            "p99_ms": _ms(self.quantile(0.99)),
            "max_ms": _ms(self.largest_s),
        }


class PerformanceMonitor:
    """Counts and times what this process does; safe to call from any thread.

    Args:
        timer: monotonic clock in seconds.
    """

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        self._timer = timer
        self._lock = threading.Lock()
        self._started = timer()
        self._histograms: dict[str, Histogram] = {}
        self._counters: dict[str, int] = {}

    @contextmanager
    def measure(self, operation: str) -> Generator[None]:
        """Time the block as one call of `operation`; an exception counts as its error and passes on."""
        start = self._timer()
        failed = True
        try:
            yield
            failed = False
        finally:
            self.observe(operation, self._timer() - start, failed=failed)

    def observe(self, operation: str, seconds: float, *, failed: bool = False) -> None:
        """Count one call of `operation` that took `seconds`."""
        with self._lock:
            histogram = self._histograms.get(operation)
            if histogram is None:
                histogram = self._histograms[operation] = Histogram()
            histogram.observe(seconds, failed=failed)

    def observe_stages(self, operation: str, stages_ms: Mapping[str, float]) -> None:
        """Count the stages of one call, each as `operation.stage`; milliseconds."""
        for stage, milliseconds in stages_ms.items():
            self.observe(f"{operation}.{stage}", milliseconds / 1000)

    def count(self, name: str, amount: int = 1) -> None:
        """Add `amount` to the counter `name`."""
        with self._lock:
            self._counters[name] = self._counters.get(name, 0) + amount

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

    def get_statistics(self) -> dict[str, JsonValue]:
        """Return uptime in seconds, every counter, and a summary per operation."""
        with self._lock:
            counters: dict[str, JsonValue] = dict(sorted(self._counters.items()))
            operations: dict[str, JsonValue] = {
                name: histogram.summary() for name, histogram in sorted(self._histograms.items())
            }
        return {
            "uptime_s": round(self._timer() - self._started, 3),
            "counters": counters,
            "operations": operations,
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
