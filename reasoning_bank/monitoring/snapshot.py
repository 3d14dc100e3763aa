"""What was measured up to a moment, as plain values: alerts, advice, reports and exports all read this."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias

Window: TypeAlias = Literal["1m", "15m", "24h", "start"]
"""The span a figure is about, ending now; `start` reaches back to the start of the process or the last reset."""
WINDOW_S: Final[Mapping[Window, float]] = {"1m": 60.0, "15m": 900.0, "24h": 86_400.0}


@dataclass(frozen=True, slots=True)
class Summary:
    """Durations of one operation in one window, in seconds; quantiles are within 2.5 % of the exact ones."""

    count: int
    errors: int
    total_s: float
    smallest_s: float
    largest_s: float
    p50_s: float
    p95_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every figure of a process at one moment.

    Attributes:
        at: the moment, aware UTC.
        uptime_s: seconds since the start or the last reset.
        operations: durations by operation and window; a window without a call is absent.
        counters: what was added up, by name and window; a window to which nothing was added is absent.
        gauges: what stood at the moment, by name.
        spans: seconds that a window is about, where they are not those of its name.
    """

    at: datetime
    uptime_s: float
    operations: Mapping[str, Mapping[Window, Summary]]
    counters: Mapping[str, Mapping[Window, float]]
    gauges: Mapping[str, float]
    spans: Mapping[Window, float] = field(default_factory=dict[Window, float])

    def value(self, metric: str, window: Window = "15m") -> float | None:
        """The figure a metric names, or None where nothing was measured.

        Args:
            metric: `NAME:STATISTIC`. Of an operation: count, per_minute, errors, error_rate (0..1), min_ms, mean_ms,
                p50_ms, p95_ms, p99_ms, max_ms. Of a counter: count, per_minute. Of a NAME with the counters
                `NAME.hits` and `NAME.misses`: hit_rate (0..1), lookups. Of a gauge: value.

        Raises:
            ValueError: the statistic is none of these.
        """
        name, _, statistic = metric.rpartition(":")
        if not name or statistic not in STATISTICS:
            raise ValueError(f"no metric {metric!r}: write NAME:STATISTIC, with one of {', '.join(sorted(STATISTICS))}")
        if statistic == "value":
            return self.gauges.get(name)
        if statistic in ("hit_rate", "lookups"):
            return self._looked_up(name, statistic, window)
        if (summary := self.operations.get(name, {}).get(window)) is not None:
            return self._of_operation(summary, statistic, window)
        if name not in self.counters or statistic not in ("count", "per_minute"):
            return None
        counted = self.counters[name].get(window, 0.0)
        return counted if statistic == "count" else counted / self._minutes(window)

    def _looked_up(self, name: str, statistic: str, window: Window) -> float | None:
        hits = self.counters.get(f"{name}.hits", {}).get(window, 0.0)
        lookups = hits + self.counters.get(f"{name}.misses", {}).get(window, 0.0)
        if statistic == "lookups":
            return lookups
        return hits / lookups if lookups else None

    def _of_operation(self, summary: Summary, statistic: str, window: Window) -> float:
        match statistic:
            case "count":
                return float(summary.count)
            case "per_minute":
                return summary.count / self._minutes(window)
            case "errors":
                return float(summary.errors)
            case "error_rate":
                return summary.errors / summary.count
            case _:
                return 1000 * _SECONDS[statistic](summary)

    def _minutes(self, window: Window) -> float:
        # A process younger than the window has not had all of its minutes.
        span_s = self.spans.get(window) or WINDOW_S.get(window, self.uptime_s)
        return max(min(span_s, self.uptime_s), 1.0) / 60


_SECONDS: Final[Mapping[str, Callable[[Summary], float]]] = {
    "min_ms": lambda summary: summary.smallest_s,
    "mean_ms": lambda summary: summary.total_s / summary.count,
    "p50_ms": lambda summary: summary.p50_s,
    "p95_ms": lambda summary: summary.p95_s,
    "p99_ms": lambda summary: summary.p99_s,
    "max_ms": lambda summary: summary.largest_s,
}
STATISTICS: Final = frozenset(
    (*_SECONDS, "count", "per_minute", "errors", "error_rate", "hit_rate", "lookups", "value")
)
