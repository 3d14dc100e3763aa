"""Figures with the interval that their observations allow: what can be compared with figures of another time."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Final, Self, cast

from reasoning_bank.monitoring.histogram import Histogram
from reasoning_bank.monitoring.rollups import Rollup
from reasoning_bank.records import JsonValue

QUANTILE: Final = 1.959964
"""Two-sided 95 % of the normal distribution."""
_SHARES: Final = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
_POINTS: Final = tuple((number + 0.5) / 200 for number in range(200))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, the 95 % interval of what it stands for, and the observations behind it.

    What was counted and not sampled (a sum, a maximum) is its own interval.
    """

    value: float
    low: float
    high: float
    n: int

    def plain(self) -> dict[str, JsonValue]:
        """The estimate as JSON."""
        return {"value": _short(self.value), "low": _short(self.low), "high": _short(self.high), "n": self.n}

    @classmethod
    def of_plain(cls, plain: Mapping[str, object]) -> Self:
        """What `plain` wrote; raises KeyError or TypeError where it did not."""
        value, low, high, n = (cast("float", plain[name]) for name in ("value", "low", "high", "n"))
        return cls(float(value), float(low), float(high), int(n))


def estimates(rollups: Mapping[str, Rollup], *, minutes: float) -> dict[str, Estimate]:
    """Every figure that roll-ups by name allow, by metric as `Snapshot.value` names it.

    Args:
        minutes: the time they are about.
    """
    found: dict[str, Estimate] = {}
    for name, rollup in sorted(rollups.items()):
        if rollup.kind == "operation" and rollup.count and rollup.durations:
            found |= {f"{name}:{statistic}": each for statistic, each in _of_operation(rollup, rollup.durations)}
            found[f"{name}:per_minute"] = _exact(rollup.count / minutes, rollup.count)
        elif rollup.kind == "counter":
            found[f"{name}:count"] = _exact(rollup.total, 1)
        elif rollup.kind == "gauge" and rollup.count:
            found[f"{name}:value"] = Estimate(rollup.mean, rollup.smallest, rollup.largest, rollup.count)
    return found | dict(_hit_rates(rollups))


def mean_ms(durations: Histogram) -> Estimate:
    """The mean in milliseconds, with the interval of the central limit theorem."""
    mean = durations.total_s / durations.count
    spread = QUANTILE * pstdev(durations.quantiles(_POINTS)) / math.sqrt(durations.count)
    return Estimate(1000 * mean, 1000 * max(0.0, mean - spread), 1000 * (mean + spread), durations.count)


def quantile_ms(durations: Histogram, share: float) -> Estimate:
    """A quantile in milliseconds, between the order statistics that hold it with 95 % (Conover 1999, 3.2)."""
    spread = QUANTILE * math.sqrt(share * (1 - share) / durations.count)
    value, low, high = durations.quantiles((share, max(0.0, share - spread), min(1.0, share + spread)))
    return Estimate(1000 * value, 1000 * low, 1000 * high, durations.count)


def rate(hits: float, tries: float) -> Estimate:
    """A share of tries, with its score interval (Wilson, JASA 1927)."""
    share, square = hits / tries, QUANTILE**2
    middle = (hits + square / 2) / (tries + square)
    spread = QUANTILE * math.sqrt(tries * share * (1 - share) + square / 4) / (tries + square)
    return Estimate(share, max(0.0, middle - spread), min(1.0, middle + spread), int(tries))


def resampled_mean(
    values: list[float], draw: Callable[[list[float], int], list[float]], *, times: int = 2_000
) -> Estimate:
    """The mean of a few values, with the percentile interval of the bootstrap (Efron 1979).

    Args:
        draw: returns so many of the values, each by chance and independent of the others.
    """
    means = sorted(fmean(draw(values, len(values))) for _ in range(times))
    return Estimate(fmean(values), means[int(0.025 * times)], means[int(0.975 * times) - 1], len(values))


def _of_operation(rollup: Rollup, durations: Histogram) -> Iterator[tuple[str, Estimate]]:
    yield "count", _exact(rollup.count, rollup.count)
    yield "error_rate", rate(rollup.errors, rollup.count)
    yield "min_ms", _exact(1000 * rollup.smallest, rollup.count)
    yield "mean_ms", mean_ms(durations)
    for statistic, share in _SHARES.items():
        yield statistic, quantile_ms(durations, share)
    yield "max_ms", _exact(1000 * rollup.largest, rollup.count)


def _hit_rates(rollups: Mapping[str, Rollup]) -> Iterator[tuple[str, Estimate]]:
    for name in sorted({name.rpartition(".")[0] for name in rollups if name.endswith((".hits", ".misses"))}):
        hits, misses = (rollups[each].total if each in rollups else 0.0 for each in (f"{name}.hits", f"{name}.misses"))
        if hits + misses:
            yield f"{name}:hit_rate", rate(hits, hits + misses)
            yield f"{name}:lookups", _exact(hits + misses, int(hits + misses))


def _exact(value: float, n: int) -> Estimate:
    return Estimate(value, value, value, n)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
