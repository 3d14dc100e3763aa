"""What measuring costs: one observation, one report, the bytes kept, and the share of a real call.

Run: python -m tests.benchmarks monitor
"""

import json
import math
import random
import statistics
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as PrometheusHistogram

from reasoning_bank import NewTrace, Query, ReasoningBank, load_settings
from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.monitoring.sampling import Sampler
from reasoning_bank.monitoring.windows import Durations
from tests.benchmarks.machine import RESULTS, machine

ROUNDS = 31
CALLS = 5_000
CHANCE = random.Random(6)
PER_BUCKET = 1 / math.log(1.05)
SECONDS = [CHANCE.lognormvariate(-6, 1) for _ in range(CALLS)]


class Earlier:
    """The registry before there were windows: one list of buckets per operation, under one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[str, list[int]] = {}
        self._sums: dict[str, list[float]] = {}

    def observe(self, operation: str, seconds: float) -> None:
        """Count one duration."""
        with self._lock:
            buckets, sums = self._buckets.get(operation), self._sums.get(operation)
            if buckets is None or sums is None:
                buckets = self._buckets[operation] = [0] * 400
                sums = self._sums[operation] = [0, 0.0, math.inf, 0.0]
            buckets[min(int(math.log(seconds / 1e-6) * PER_BUCKET) if seconds > 1e-6 else 0, 399)] += 1
            sums[0] += 1
            sums[1] += seconds
            sums[2] = min(sums[2], seconds)
            sums[3] = max(sums[3], seconds)


def side_by_side() -> dict[str, Any]:
    """Nanoseconds of processor time per call, the candidates taking turns."""
    monitor, earlier = PerformanceMonitor(), Earlier()
    prometheus = PrometheusHistogram("x", "x", registry=CollectorRegistry())

    def measured() -> None:
        for _ in SECONDS:
            with monitor.measure("block"):
                pass

    candidates: dict[str, Callable[[], object]] = {
        "observe": lambda: [monitor.observe("call", seconds) for seconds in SECONDS],
        "observe, before windows": lambda: [earlier.observe("call", seconds) for seconds in SECONDS],
        "observe, prometheus_client with its 15 buckets": lambda: [prometheus.observe(seconds) for seconds in SECONDS],
        "with measure(): pass": measured,
        "count": lambda: [monitor.count("n") for _ in SECONDS],
    }
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, run in candidates.items():
            started = time.thread_time()
            run()
            taken[name].append((time.thread_time() - started) / CALLS * 1e9)
    return {
        name: {"median_ns": round(statistics.median(each)), "best_ns": round(min(each))} for name, each in taken.items()
    }


def contended(threads: int = 4) -> float:
    """Nanoseconds of processor time per observation with several threads at it at once."""
    monitor = PerformanceMonitor()

    def observe() -> None:
        for seconds in SECONDS:
            monitor.observe("call", seconds)

    workers = [threading.Thread(target=observe) for _ in range(threads)]
    started = time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return (time.process_time() - started) / (threads * CALLS) * 1e9


def kept(spread: Callable[[], float], *, a_minute: int) -> float:
    """KB that one operation takes after a day of so many calls a minute."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    durations, at = Durations(), 1_795_176_000.0
    for _ in range(26 * 60 * 12):
        at += 5
        for _ in range(max(1, a_minute // 12)):
            durations.observe(at, spread(), failed=False)
    durations.summaries(at)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return round(taken / 1000, 1)


def report() -> dict[str, float]:
    """Milliseconds of a snapshot of 100 operations: all called since the last one, and none."""
    monitor = PerformanceMonitor()

    def told() -> float:
        started = time.thread_time()
        monitor.snapshot()
        return (time.thread_time() - started) * 1000

    taken: dict[str, list[float]] = {"all_called_ms": [], "none_called_ms": []}
    for _ in range(ROUNDS):
        for number in range(100):
            for seconds in SECONDS[:100]:
                monitor.observe(f"operation {number}", seconds)
        taken["all_called_ms"].append(told())
        taken["none_called_ms"].append(told())
    return {name: round(statistics.median(each), 2) for name, each in taken.items()}


async def share(observe_ns: float) -> dict[str, Any]:
    """Observations and counts of a real call, and what they take of it, with the fastest embedder there is."""
    with tempfile.TemporaryDirectory() as directory:
        settings = load_settings(data_dir=directory, embeddings={"backend": "hashing"}, monitoring={"sample_s": 3_600})
        async with ReasoningBank(settings) as bank:
            for number in range(200):
                await bank.store_trace("w", NewTrace(f"repair the parser of format {number}", "success"))
            await bank.wait_until_searchable(timeout_s=120)
            calls: dict[str, Callable[[int], Any]] = {
                "retrieve": lambda number: bank.retrieve("w", Query(f"how to repair parser {number}", min_score=0.0)),
                "store_trace": lambda number: bank.store_trace("w", NewTrace(f"a new task {number}", "failure")),
            }
            return {name: await _share_of(bank, call, observe_ns) for name, call in calls.items()}


async def _share_of(bank: ReasoningBank, call: Callable[[int], Any], observe_ns: float) -> dict[str, float]:
    # Processor time of all threads, and the background work that a call queued: a busy machine changes neither.
    before, started = _observations(bank.monitor), time.process_time()
    for number in range(150):
        await call(number)
    await bank.rooms.worker.drain(60)
    each_s = (time.process_time() - started) / 150
    observations = (_observations(bank.monitor) - before) / 150
    return {
        "n": 150,
        "observations": round(observations, 1),
        "processor_ms": round(each_s * 1000, 3),
        "share": round(observations * observe_ns / 1e9 / each_s, 5),
    }


def _observations(monitor: PerformanceMonitor) -> int:
    snapshot = monitor.snapshot()
    return sum(windows["start"].count for windows in snapshot.operations.values()) + len(snapshot.counters)


async def sampling() -> float:
    """Milliseconds of one look at the process."""
    sampler = Sampler(PerformanceMonitor(), directory=Path())
    taken: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await sampler.look()
        taken.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(taken), 2)


def main(_arguments: list[str]) -> None:
    """Measure, and write results/monitor.json."""
    costs = side_by_side()
    observe_ns = costs["observe"]["median_ns"]
    result = {
        "machine": machine(),
        "rounds": ROUNDS,
        "calls_per_round": CALLS,
        "cost": costs,
        "observe_of_4_threads_ns": round(contended()),
        "report_of_100_operations": report(),
        "kilobytes_per_operation": {
            "60 calls a minute for a day": kept(lambda: CHANCE.lognormvariate(-6, 0.5), a_minute=60),
            "every length from 1 µs to 5 min in every slot": kept(
                lambda: 1e-6 * 1.05 ** CHANCE.uniform(0, 400), a_minute=240
            ),
        },
        "share_of_a_call": anyio.run(share, observe_ns),
        "look_at_the_process_ms": anyio.run(sampling),
    }
    path = RESULTS / "monitor.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1, ensure_ascii=False))
