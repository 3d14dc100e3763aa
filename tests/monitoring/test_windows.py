"""Windows tell what happened in them, no more and no less, in bounded memory."""

import math
import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_bank.monitoring.histogram import Histogram
from reasoning_bank.monitoring.metrics import MOST_NAMES, OTHER, PerformanceMonitor
from reasoning_bank.monitoring.rollups import Gathering, Rollup
from reasoning_bank.monitoring.snapshot import WINDOW_S, Snapshot, Window
from reasoning_bank.monitoring.windows import Durations

SLOT_S: dict[Window, float] = {"1m": 5, "15m": 60, "24h": 900}
NOON = 1_795_176_000.0


class Clock:
    """A timer that counts from nought, and the time of the day it belongs to."""

    def __init__(self) -> None:
        self.timer_s = 0.0

    def timer(self) -> float:
        return self.timer_s

    def epoch(self) -> float:
        return NOON + self.timer_s

    def monitor(self) -> PerformanceMonitor:
        return PerformanceMonitor(self.timer, clock=self.epoch)


@given(
    st.lists(st.tuples(st.floats(0, 20_000), st.floats(1e-6, 100), st.booleans()), min_size=1, max_size=60),
    st.floats(0, 90_000),
)
@settings(max_examples=60)
def test_a_window_holds_what_ended_within_it(calls: list[tuple[float, float, bool]], later: float) -> None:
    clock = Clock()
    monitor = clock.monitor()
    ended: list[tuple[float, float, bool]] = []
    for pause, seconds, failed in calls:
        clock.timer_s += pause
        monitor.observe("search", seconds, failed=failed)
        monitor.count("searches", 2)
        ended.append((clock.epoch(), seconds, failed))
    clock.timer_s += later
    snapshot = monitor.snapshot()
    for window, reach in WINDOW_S.items():
        slot = SLOT_S.get(window, 1.0)
        # Slots are aligned: the window begins with the slot that began last within its reach.
        begin = (clock.epoch() // slot) * slot - reach + slot if window != "start" else -math.inf
        inside = [(seconds, failed) for at, seconds, failed in ended if at >= begin]
        summary = snapshot.operations["search"].get(window)
        assert (summary.count if summary else 0) == len(inside)
        assert snapshot.counters["searches"].get(window, 0) == 2 * len(inside)
        if summary is not None:
            assert summary.errors == sum(failed for _, failed in inside)
            assert summary.total_s == pytest.approx(sum(seconds for seconds, _ in inside))
            assert summary.smallest_s == min(seconds for seconds, _ in inside)
            assert summary.largest_s == max(seconds for seconds, _ in inside)


def test_quarters_add_up_to_everything_that_was_counted() -> None:
    clock = Clock()
    monitor = clock.monitor()
    expected: dict[int, int] = defaultdict(int)
    chance = random.Random(7)
    for _ in range(500):
        clock.timer_s += chance.expovariate(1 / 120)
        monitor.observe("store", 0.01)
        monitor.count("rows", 3)
        expected[int(clock.epoch() // 900) * 900] += 1
    quarters = monitor.quarters(running=True)
    assert {quarter.start: quarter.operations["store"].count for quarter in quarters} == expected
    assert {quarter.start: quarter.counters["rows"] / 3 for quarter in quarters} == expected
    ended = monitor.quarters()
    assert [quarter.start for quarter in ended] == sorted(expected)[:-1]
    assert (
        monitor.quarters(since=ended[3].start) == ended[3:]
        or [quarter.start for quarter in monitor.quarters(since=ended[3].start)] == sorted(expected)[3:-1]
    )


def test_a_machine_that_slept_finds_its_last_minute_empty() -> None:
    clock = Clock()
    slept = 0.0
    monitor = PerformanceMonitor(clock.timer, clock=lambda: clock.epoch() + slept)
    monitor.observe("search", 0.01)
    slept = 3600.0
    windows = monitor.snapshot().operations["search"]
    assert set(windows) == {"24h", "start"}


def test_a_clock_that_is_put_back_loses_nothing() -> None:
    clock = Clock()
    put_back = 0.0
    monitor = PerformanceMonitor(clock.timer, clock=lambda: clock.epoch() - put_back)
    monitor.observe("search", 0.01)
    put_back = 3600.0
    monitor.observe("search", 0.01)
    windows = monitor.snapshot().operations["search"]
    assert {window: summary.count for window, summary in windows.items()} == {"1m": 2, "15m": 2, "24h": 2, "start": 2}


def test_a_clock_that_was_ahead_for_one_look_shifts_nothing_that_is_written_afterwards() -> None:
    clock = Clock()
    ahead = 0.0
    monitor = PerformanceMonitor(clock.timer, clock=lambda: clock.epoch() + ahead)
    gathering = Gathering(lambda since: monitor.quarters(since, running=True))
    stored: dict[tuple[int, str], Rollup] = {}

    def calls_look_and_write() -> Snapshot:
        for _ in range(20):
            clock.timer_s += 15
            monitor.observe("search", 0.01)
            monitor.count("searches")
        snapshot = monitor.snapshot()
        gathering.look(snapshot)
        new = gathering.unwritten()
        gathering.written(new)
        for key, rollup in new.items():
            stored[key] = stored[key].plus(rollup) if key in stored else rollup
        return snapshot

    calls_look_and_write()
    ahead = 7_200.0
    calls_look_and_write()
    ahead = 0.0
    snapshot = [calls_look_and_write() for _ in range(36)][-1]
    assert snapshot.at.timestamp() == clock.epoch()
    assert snapshot.operations["search"]["1m"].count == snapshot.counters["searches"]["1m"] <= 5
    assert snapshot.operations["search"]["15m"].count <= 60
    per_quarter = {start: rollup.count for (start, name), rollup in stored.items() if name == "search"}
    counted = {start: rollup.total for (start, name), rollup in stored.items() if name == "searches"}
    assert counted == per_quarter
    assert sum(per_quarter.values()) == 38 * 20
    assert per_quarter[int(NOON)] + per_quarter[int(NOON) + 900] == 119, "the two quarters of the wrong look"
    assert [per_quarter[int(NOON) + 900 * number] for number in range(2, 12)] == [60] * 10


def test_quarters_that_nobody_asked_for_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monitor = clock.monitor()
    for _ in range(90):
        clock.timer_s += 900
        monitor.observe("search", 0.01)
    unpacked: list[bytes] = []
    unpack = Histogram.from_bytes

    def counted(packed: bytes) -> Histogram:
        unpacked.append(packed)
        return unpack(packed)

    monkeypatch.setattr(Histogram, "from_bytes", counted)
    since = int(clock.epoch()) - 900
    assert [quarter.start for quarter in monitor.quarters(since, running=True)] == [since, since + 900]
    assert len(unpacked) == 1


@given(st.lists(st.floats(0, 500), max_size=80))
def test_a_histogram_is_the_same_after_being_written_and_read(durations: list[float]) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.observe(duration, failed=duration > 1)
    back = Histogram.from_bytes(histogram.to_bytes())
    assert back.to_bytes() == histogram.to_bytes()
    assert (back.count, back.errors, back.total_s) == (histogram.count, histogram.errors, histogram.total_s)
    assert back.quantiles((0.1, 0.5, 0.99)) == histogram.quantiles((0.1, 0.5, 0.99))


def test_bytes_that_are_no_histogram_are_refused() -> None:
    with pytest.raises(ValueError, match="no histogram"):
        Histogram.from_bytes(b"x" * 45)


def test_what_sources_add_up_is_counted_once_whoever_reads_it() -> None:
    clock = Clock()
    monitor = clock.monitor()
    sums = {"hits": 5.0}
    monitor.add_source("cache.memories", lambda: sums)
    assert _counted(monitor.snapshot(), "cache.memories.hits") == {"1m": 5, "15m": 5, "24h": 5, "start": 5}
    sums["hits"] = 7
    clock.timer_s += 70
    monitor.read_sources()
    assert _counted(monitor.snapshot(), "cache.memories.hits") == {"1m": 2, "15m": 7, "24h": 7, "start": 7}
    sums["hits"] = 1  # the room was made anew
    assert _counted(monitor.snapshot(), "cache.memories.hits")["start"] == 8
    monitor.reset()
    assert "cache.memories.hits" not in monitor.snapshot().counters
    sums["hits"] = 4
    assert _counted(monitor.snapshot(), "cache.memories.hits")["start"] == 3


def test_a_source_without_a_prefix_names_its_counters_itself() -> None:
    monitor = Clock().monitor()
    monitor.add_source("", lambda: {"sql.slow": 2})
    assert _counted(monitor.snapshot(), "sql.slow")["start"] == 2


def test_a_gauge_tells_what_stands_and_nothing_where_nothing_is_known() -> None:
    monitor = Clock().monitor()
    entries = [1.0]
    monitor.gauge("entries", lambda: entries[0])
    monitor.gauge("unknown", lambda: math.nan)
    assert monitor.snapshot().gauges == {"entries": 1.0}
    entries[0] = 3.0
    assert monitor.snapshot().value("entries:value") == 3.0


def test_rooms_that_close_are_read_once_more_and_no_longer() -> None:
    monitor = Clock().monitor()
    sums = {"hits": 1.0}
    monitor.add_source("cache", lambda: sums)
    monitor.gauge("entries", lambda: 1.0)
    monitor.snapshot()
    sums["hits"] = 2
    monitor.detach()
    sums["hits"] = 9
    snapshot = monitor.snapshot()
    assert (_counted(snapshot, "cache.hits")["start"], snapshot.gauges) == (2, {})


def test_names_beyond_the_bound_are_counted_together() -> None:
    monitor = Clock().monitor()
    for number in range(MOST_NAMES + 25):
        monitor.observe(f"operation {number}", 0.01)
        monitor.count(f"counter {number}")
    snapshot = monitor.snapshot()
    assert len(snapshot.operations) == len(snapshot.counters) == MOST_NAMES + 1
    assert snapshot.operations[OTHER]["start"].count == _counted(snapshot, OTHER)["start"] == 25


def test_an_operation_takes_no_more_than_its_bound_however_long_and_however_scattered() -> None:
    """Every slot of a day holds calls of every length: the worst there can be (a call a second takes 70 KB)."""
    durations = Durations()
    at = NOON
    spread = [1e-6 * 1.05**bucket * 1.01 for bucket in range(400)]
    for _ in range(12 + 15 + 97):
        at += 900
        for seconds in spread:
            durations.observe(at, seconds, failed=False)
    for ring in durations._rings:
        assert sum(len(packed) for _, packed in ring.kept) <= 95 * 1700
        assert len(ring.kept) < 96
    first = sum(len(packed) for ring in durations._rings for _, packed in ring.kept)
    for _ in range(200):
        at += 900
        for seconds in spread:
            durations.observe(at, seconds, failed=False)
    assert sum(len(packed) for ring in durations._rings for _, packed in ring.kept) == first <= 230_000


def _counted(snapshot: Snapshot, name: str) -> dict[Window, float]:
    return dict(snapshot.counters[name])
