"""The monitor tells what was measured, and nothing else."""

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.monitoring.histogram import Histogram
from reasoning_bank.monitoring.metrics import PerformanceMonitor


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.floats(min_value=2e-6, max_value=60), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_within_five_percent_of_the_exact_one(durations: list[float], share: float) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.observe(duration)
    exact = sorted(durations)[math.ceil(share * len(durations)) - 1]
    assert histogram.quantiles([share])[0] == pytest.approx(exact, rel=0.05)


def test_measure_counts_time_and_errors_and_lets_the_error_pass() -> None:
    clock = Clock()
    monitor = PerformanceMonitor(timer=clock)
    with monitor.measure("store"):
        clock.now += 0.25
    with pytest.raises(ValueError, match="boom"), monitor.measure("store"):
        clock.now += 0.75
        raise ValueError("boom")
    statistics = monitor.get_statistics()
    assert statistics["uptime_s"] == 1.0
    operations = statistics["operations"]
    assert isinstance(operations, dict)
    store = operations["store"]
    assert isinstance(store, dict)
    assert (store["count"], store["errors"], store["mean_ms"], store["max_ms"]) == (2, 1, 500.0, 750.0)


def test_seed_methods_feed_the_same_counters() -> None:
    monitor = PerformanceMonitor()
    monitor.record_api_call(latency=1.5)
    monitor.record_cache_hit()
    monitor.record_cache_miss()
    monitor.record_tokens(1000)
    statistics = monitor.get_statistics()
    assert statistics["counters"] == {"cache_hits": 1, "cache_misses": 1, "tokens": 1000}
    operations = statistics["operations"]
    assert isinstance(operations, dict)
    assert list(operations) == ["api_call"]


def test_nothing_is_lost_when_threads_observe_at_once() -> None:
    monitor = PerformanceMonitor()

    def observe() -> None:
        for _ in range(1000):
            monitor.observe("x", 0.001)
            monitor.count("n")

    threads = [threading.Thread(target=observe) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=5)
    statistics = monitor.get_statistics()
    assert statistics["counters"] == {"n": 8000}
    operations = statistics["operations"]
    assert isinstance(operations, dict)
    x = operations["x"]
    assert isinstance(x, dict)
    assert x["count"] == 8000
