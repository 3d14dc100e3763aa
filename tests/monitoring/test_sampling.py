"""What the sampler tells is what the process does."""

import asyncio
import gc
import math
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from reasoning_bank.monitoring.metrics import PerformanceMonitor
from reasoning_bank.monitoring.sampling import Sampler


async def sampled(monitor: PerformanceMonitor, *names: str) -> None:
    """Wait until the monitor knows every name."""
    async with asyncio.timeout(10):
        while True:
            snapshot = monitor.snapshot()
            if {*names} <= {*snapshot.gauges, *snapshot.operations}:
                return
            await asyncio.sleep(0.01)


async def test_a_running_sampler_tells_of_the_process_the_loop_and_the_collector(tmp_path: Path) -> None:
    monitor = PerformanceMonitor()
    sampler = Sampler(monitor, directory=tmp_path, sample_s=0.05)
    task = asyncio.create_task(sampler.run())
    await sampled(monitor, "process.rss_bytes", "event_loop.lag")
    gc.collect()
    await sampled(monitor, "gc.pause", "process.cpu_percent", "process.descriptors", "process.threads")
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    gauges = monitor.snapshot().gauges
    assert gauges["process.rss_bytes"] > 10e6
    assert gauges["process.descriptors"] > 2
    assert gauges["process.threads"] >= 1
    assert gauges["disk.free_bytes"] > 0
    callbacks: list[object] = list(gc.callbacks)
    assert not any(getattr(each, "__self__", None) is sampler for each in callbacks)


async def test_a_blocked_loop_shows_as_lag(tmp_path: Path) -> None:
    monitor = PerformanceMonitor()
    task = asyncio.create_task(Sampler(monitor, directory=tmp_path, sample_s=0.05).run())
    await sampled(monitor, "event_loop.lag")
    began = time.perf_counter()
    while time.perf_counter() - began < 0.3:
        pass
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert monitor.snapshot().operations["event_loop.lag"]["start"].largest_s > 0.2


async def test_a_collection_within_an_observation_harms_nobody(tmp_path: Path) -> None:
    """The collector may run in the thread that holds the monitor's lock."""
    monitor = PerformanceMonitor()
    sampler = Sampler(monitor, directory=tmp_path, sample_s=60)
    task = asyncio.create_task(sampler.run())
    await sampled(monitor, "process.rss_bytes")
    with monitor._lock:
        gc.collect()
    await sampler.look()
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert monitor.snapshot().operations["gc.pause"]["start"].count >= 1


async def test_further_gauges_are_unknown_as_soon_as_they_are_named_no_longer(tmp_path: Path) -> None:
    monitor = PerformanceMonitor()
    found: dict[str, float] = {"queue.pending": 3.0}

    async def look_also() -> Mapping[str, float]:
        return dict(found)

    sampler = Sampler(monitor, directory=tmp_path, look_also=look_also)
    await sampler.look()
    assert monitor.snapshot().gauges == {"queue.pending": 3.0}
    found.clear()
    await sampler.look()
    assert monitor.snapshot().gauges == {}


async def test_a_disk_that_is_gone_makes_figures_unknown_and_ends_nothing(tmp_path: Path) -> None:
    monitor = PerformanceMonitor()
    sampler = Sampler(monitor, directory=tmp_path / "gone")
    await sampler.look()
    assert math.isnan(sampler._sample.disk_free_bytes)


async def test_sources_are_read_with_every_look(tmp_path: Path) -> None:
    monitor = PerformanceMonitor()
    monitor.add_source("cache", lambda: {"hits": 2.0})
    await Sampler(monitor, directory=tmp_path).look()
    assert monitor.snapshot().counters["cache.hits"]["start"] == pytest.approx(2)
