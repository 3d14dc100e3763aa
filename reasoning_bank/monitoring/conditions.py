"""Which figures of a snapshot a pattern names, and how many observations stand behind one."""

import re
from collections.abc import Iterator
from functools import lru_cache

from reasoning_bank.monitoring.snapshot import STATISTICS, Snapshot, Window

ANY = "*"
"""In a metric: any one part of a name, so that `queue.*:error_rate` is about each kind of work."""


def check_metric(metric: str) -> None:
    """Raise ValueError where no snapshot could ever have a metric."""
    name, _, statistic = metric.rpartition(":")
    if not name or statistic not in STATISTICS or name.count(ANY) > 1:
        known = ", ".join(sorted(STATISTICS))
        raise ValueError(f"metric {metric!r}: write NAME:STATISTIC, one of {known}, with at most one * in NAME")


def named_by(metric: str, snapshot: Snapshot) -> list[str]:
    """The metrics that a pattern names in a snapshot, in order; a metric without `*` names itself."""
    if ANY not in metric:
        return [metric]
    pattern, _, statistic = metric.rpartition(":")
    fits = _compiled(pattern).fullmatch
    return [f"{name}:{statistic}" for name in sorted(set(_names(snapshot, statistic))) if fits(name)]


def part_named(pattern: str, metric: str) -> str:
    """What stands in a metric where its pattern has `*`; empty without one."""
    found = _compiled(pattern.rpartition(":")[0]).fullmatch(metric.rpartition(":")[0])
    return found[1] if found and found.groups() else ""


def observations(snapshot: Snapshot, metric: str, window: Window) -> float:
    """How many observations a figure rests on: calls, look-ups, increments; 1 for what is read from a gauge."""
    name, _, statistic = metric.rpartition(":")
    if statistic == "value":
        return 1.0 if name in snapshot.gauges else 0.0
    counted = "lookups" if statistic in ("hit_rate", "lookups") else "count"
    return snapshot.value(f"{name}:{counted}", window) or 0.0


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(re.escape(ANY), r"([^.]+)"))


def _names(snapshot: Snapshot, statistic: str) -> Iterator[str]:
    if statistic == "value":
        yield from snapshot.gauges
    elif statistic in ("hit_rate", "lookups"):
        yield from (name.rpartition(".")[0] for name in snapshot.counters if name.endswith((".hits", ".misses")))
    else:
        yield from snapshot.operations
        yield from snapshot.counters
