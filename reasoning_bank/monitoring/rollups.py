"""What was measured in each quarter of an hour, put together before it is stored, and read again as a snapshot.

A process hands on what has come since it wrote last, so that several processes add to one row, and a write that failed
is made up for by the next one.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from reasoning_bank.monitoring.histogram import Histogram
from reasoning_bank.monitoring.metrics import Quarter
from reasoning_bank.monitoring.snapshot import WINDOW_S, Snapshot, Summary, Window
from reasoning_bank.monitoring.windows import QUARTER_S

Kind = Literal["operation", "counter", "gauge"]


@dataclass(frozen=True, slots=True)
class Rollup:
    """What one name gathered in some time.

    Attributes:
        kind: an operation has all figures, in seconds; a counter only `total`; a gauge none about errors.
        count: calls of an operation, looks at a gauge.
        last: the latest look at a gauge; of an operation the mean of what was added last.
        durations: of an operation, for its quantiles.
    """

    kind: Kind
    count: int = 0
    errors: int = 0
    total: float = 0.0
    smallest: float = math.inf
    largest: float = -math.inf
    last: float = 0.0
    durations: Histogram | None = None

    @property
    def mean(self) -> float:
        """The mean of all observations; 0 without any."""
        return self.total / self.count if self.count else 0.0

    def plus(self, later: "Rollup") -> "Rollup":
        """This and what came later, together."""
        parts = [each.durations for each in (self, later) if each.durations is not None]
        return Rollup(
            later.kind,
            self.count + later.count,
            self.errors + later.errors,
            self.total + later.total,
            min(self.smallest, later.smallest),
            max(self.largest, later.largest),
            later.last,
            _merged(parts) if parts else None,
        )

    def without(self, earlier: "Rollup") -> "Rollup":
        """What came since an earlier state of this; smallest and largest of a gauge stay those of both."""
        if self.count < earlier.count or self.total < earlier.total:  # it was reset meanwhile
            return self
        durations, smallest, largest = self.durations, self.smallest, self.largest
        if durations is not None and earlier.durations is not None:
            durations = durations.without(earlier.durations)
            smallest, largest = durations.smallest_s, durations.largest_s
        count, total = self.count - earlier.count, self.total - earlier.total
        last = total / count if self.kind == "operation" and count else self.last
        return Rollup(self.kind, count, self.errors - earlier.errors, total, smallest, largest, last, durations)


Rollups: TypeAlias = Mapping[tuple[int, str], Rollup]
"""By begin of the quarter, in seconds since the epoch, and name."""


def of_durations(durations: Histogram) -> Rollup:
    """The roll-up of an operation."""
    return Rollup(
        "operation",
        durations.count,
        durations.errors,
        durations.total_s,
        durations.smallest_s,
        durations.largest_s,
        durations.total_s / durations.count if durations.count else 0.0,
        durations,
    )


class Gathering:
    """What a process has measured and not written yet.

    Args:
        quarters: what was measured since a moment (seconds since the epoch), the running quarter too.
    """

    def __init__(self, quarters: Callable[[int], Iterable[Quarter]]) -> None:
        self._quarters = quarters
        self._written: dict[tuple[int, str], Rollup] = {}
        self._gauges: dict[tuple[int, str], Rollup] = {}
        self._looks: dict[str, Rollup] = {}
        self._since = 0

    def look(self, snapshot: Snapshot) -> None:
        """Count one look at every gauge."""
        start = quarter_of(snapshot.at)
        self._since = min(self._since, start)  # the clock was ahead and was put back
        for name, value in snapshot.gauges.items():
            seen = Rollup("gauge", 1, 0, value, value, value, value)
            key, known = (start, name), self._gauges.get((start, name))
            self._gauges[key] = known.plus(seen) if known else seen
            self._looks[name] = self._looks[name].plus(seen) if name in self._looks else seen

    def unwritten(self) -> dict[tuple[int, str], Rollup]:
        """What came since `written` was called last; nothing where no operation was called and nothing counted."""
        found = dict(self._gauges)
        for quarter in self._quarters(self._since):
            for name, durations in quarter.operations.items():
                found[quarter.start, name] = of_durations(durations)
            for name, amount in quarter.counters.items():
                found[quarter.start, name] = Rollup("counter", total=amount)
        new = {
            key: each for key, rollup in found.items() if (each := self._since_written(key, rollup)).count or each.total
        }
        # A process that nobody asked anything is not worth a write.
        return new if any(each.kind != "gauge" for each in new.values()) else {}

    def written(self, rollups: Rollups) -> None:
        """What `unwritten` returned is in the bank."""
        newest = max((start for start, _ in rollups), default=self._since)
        for key, rollup in rollups.items():
            before = self._written.get(key)
            self._written[key] = before.plus(rollup) if before else rollup
        # Quarters before the newest have ended: nothing comes to them any more, unless the clock was ahead.
        before, self._since = self._since, newest
        self._written = {key: each for key, each in self._written.items() if key[0] >= before}
        self._gauges = {key: each for key, each in self._gauges.items() if key[0] >= newest}

    def totals(self, durations: Mapping[str, Histogram], snapshot: Snapshot) -> dict[str, Rollup]:
        """What this process has measured since it began, by name.

        Args:
            durations: of every operation since then.
            snapshot: for the counters.
        """
        counted = {
            name: Rollup("counter", total=windows["start"])
            for name, windows in snapshot.counters.items()
            if "start" in windows
        }
        return self._looks | counted | {name: of_durations(each) for name, each in durations.items()}

    def forget(self) -> None:
        """Begin anew: what was measured so far is not written any more."""
        self._written.clear()
        self._gauges.clear()
        self._looks.clear()

    def _since_written(self, key: tuple[int, str], rollup: Rollup) -> Rollup:
        before = self._written.get(key)
        return rollup.without(before) if before else rollup


def quarter_of(at: datetime) -> int:
    """The begin of the quarter of an hour of a moment, in seconds since the epoch."""
    return int(at.timestamp()) // QUARTER_S * QUARTER_S


def together(rollups: Rollups, *, since: float = -math.inf, until: float = math.inf) -> dict[str, Rollup]:
    """Roll-ups by name, over all quarters that began in a time (seconds since the epoch, without its end)."""
    found: dict[str, Rollup] = {}
    for (start, name), rollup in sorted(rollups.items(), key=lambda item: item[0]):
        if since <= start < until:
            known = found.get(name)
            found[name] = known.plus(rollup) if known else rollup
    return found


def as_snapshot(rollups: Rollups, *, at: datetime) -> Snapshot:
    """Stored figures of all processes as those of one moment.

    The window `15m` holds each quarter that overlaps it, `start` all that is given, `1m` nothing. Gauges are those of
    the two latest quarters, on average.
    """
    now = at.timestamp()
    first = min((start for start, _ in rollups), default=now)
    windows: dict[Window, Mapping[str, Rollup]] = {
        window: together(rollups, since=now - since) for window, since in _WINDOWS
    }
    latest = max((start for start, _ in rollups), default=now)
    standing = {
        name: each.mean for name, each in together(rollups, since=latest - QUARTER_S).items() if each.kind == "gauge"
    }
    spans: dict[Window, float] = {
        window: now - math.ceil((now - since) / QUARTER_S) * QUARTER_S for window, since in _WINDOWS if since < math.inf
    }
    return replace(_snapshot(windows, at=at, uptime_s=now - first), gauges=standing, spans=spans)


def of_period(rollups: Mapping[str, Rollup], *, until: datetime, seconds: float) -> Snapshot:
    """Roll-ups by name as a snapshot at the end of their time; every window is about all of it."""
    every: tuple[Window, ...] = ("1m", "15m", "24h", "start")
    spans = dict.fromkeys(every, seconds)
    return replace(_snapshot(dict.fromkeys(every, rollups), at=until, uptime_s=seconds), spans=spans)


def _snapshot(windows: Mapping[Window, Mapping[str, Rollup]], *, at: datetime, uptime_s: float) -> Snapshot:
    operations: dict[str, dict[Window, Summary]] = {}
    counters: dict[str, dict[Window, float]] = {}
    gauges: dict[str, float] = {}
    known: dict[int, Summary] = {}
    for window, rollups in windows.items():
        for name, rollup in rollups.items():
            if rollup.kind == "gauge":
                gauges[name] = rollup.mean
            elif rollup.kind == "counter":
                counters.setdefault(name, {})[window] = rollup.total
            elif rollup.durations is not None and rollup.count:
                summary = known.get(id(rollup)) or known.setdefault(id(rollup), rollup.durations.summary())
                operations.setdefault(name, {})[window] = summary
    return Snapshot(at.astimezone(UTC), uptime_s, operations, counters, gauges)


_WINDOWS: Final[tuple[tuple[Window, float], ...]] = (
    ("start", math.inf),
    ("24h", WINDOW_S["24h"]),
    ("15m", WINDOW_S["15m"] + QUARTER_S),
)


def _merged(parts: Iterable[Histogram]) -> Histogram:
    merged = Histogram()
    for part in parts:
        merged.merge(part)
    return merged
