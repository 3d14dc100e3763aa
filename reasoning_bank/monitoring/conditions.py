"""Figures by name: which a pattern names, what stands behind one, and comparisons of them."""

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from reasoning_bank.errors import InputError
from reasoning_bank.monitoring.snapshot import STATISTICS, Snapshot, Window

ANY: Final = "*"
"""In a metric: any one part of a name, so that `queue.*:error_rate` is about each kind of work."""
COMPARISON: Final = re.compile(r"(?P<left>\S+) (?P<sign><=|>=|<|>) (?:(?P<factor>[\d.]+) x )?(?P<right>\S+)")


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
    """How many observations a figure rests on: calls, look-ups, increments. A gauge needs no more than it is."""
    name, _, statistic = metric.rpartition(":")
    if statistic == "value":
        return math.inf if name in snapshot.gauges else 0.0
    counted = "lookups" if statistic in ("hit_rate", "lookups") else "count"
    return snapshot.value(f"{name}:{counted}", window) or 0.0


class Evidence(Mapping[str, float]):
    """Figures by name, which remembers those that were looked at and there.

    Names are `NAME:STATISTIC` as `Snapshot.value` takes them; `setting.NAME`, with a flag `setting.NAME=VALUE` for a
    setting that is a word; and `machine.cores`, `machine.memory_bytes`, `machine.gpus`.
    """

    def __init__(self, snapshot: Snapshot, further: Mapping[str, float], *, window: Window) -> None:
        self.seen: dict[str, float] = {}
        self._snapshot = snapshot
        self._further = further
        self._window: Window = window

    def __getitem__(self, name: str) -> float:
        value = self._further.get(name)
        if value is None and ":" in name:
            value = self._snapshot.value(name, self._window)
        if value is None and self._is_nought(name):
            value = 0.0
        if value is None:
            raise KeyError(name)
        self.seen[name] = value
        return value

    def __iter__(self) -> Iterator[str]:
        yield from self._further
        for statistic in ("count", "value"):
            yield from (f"{name}:{statistic}" for name in _names(self._snapshot, statistic))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _is_nought(self, name: str) -> bool:
        # What a cache counts is stored where it is more than nought: beside look-ups, what is missing is nought.
        cache = name.rpartition(".")[0]
        return name.startswith("cache.") and name.endswith(":count") and bool(self._lookups(cache))

    def _lookups(self, cache: str) -> float | None:
        return self._snapshot.value(f"{cache}:lookups", self._window)

    def about(self, pattern: str) -> list[str]:
        """What `*` stands for in a metric, once for each figure it names."""
        return [part_named(pattern, metric) for metric in named_by(pattern, self._snapshot)]

    def afresh(self) -> "Evidence":
        """The same figures, none looked at."""
        return Evidence(self._snapshot, self._further, window=self._window)


def holds(line: str, figures: Mapping[str, float]) -> bool:
    """Whether a comparison holds; not where a figure of it is not known."""
    found = COMPARISON.fullmatch(line)
    if found is None:
        raise InputError(f"{line!r} is no comparison: write FIGURE > NUMBER")
    left, right = (_figure(found[side], figures) for side in ("left", "right"))
    if left is None or right is None:
        return False
    right *= float(found["factor"] or 1)
    match found["sign"]:
        case "<":
            return left < right
        case ">":
            return left > right
        case "<=":
            return left <= right
        case _:
            return left >= right


def _figure(name: str, figures: Mapping[str, float]) -> float | None:
    try:
        return float(name)
    except ValueError:
        return figures.get(name)


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
