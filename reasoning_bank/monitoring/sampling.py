"""What nobody reports by itself: how late the event loop is, how long collections pause it, what the process takes."""

import gc
import math
import shutil
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import psutil

from reasoning_bank.monitoring.metrics import PerformanceMonitor

_TICKS: Final = 10
"""Times the loop is asked how late it is for each look at the process: one look in five seconds would miss most."""
_MOST_PAUSES: Final = 10_000


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """What a process took at one moment; NaN where the system does not tell.

    Attributes:
        cpu_percent: of one core, since the sample before.
        descriptors: open file descriptors (handles on Windows).
    """

    rss_bytes: float = math.nan
    cpu_percent: float = math.nan
    descriptors: float = math.nan
    threads: float = math.nan
    disk_free_bytes: float = math.nan


class Sampler:
    """Feeds a monitor as long as it runs: `run` is a task of whoever owns the monitor.

    Args:
        monitor: is told `event_loop.lag` and `gc.pause`, has its sources read, and gets the gauges of `ProcessSample`.
        directory: on the disk whose free space matters.
        sample_s: pause between looks.
        look_also: returns further gauges by name; those it names no longer are unknown.
        timer: monotonic clock in seconds.
    """

    def __init__(
        self,
        monitor: PerformanceMonitor,
        *,
        directory: Path,
        sample_s: float = 5.0,
        look_also: Callable[[], Awaitable[Mapping[str, float]]] | None = None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._monitor = monitor
        self._directory = directory
        self._tick_s = sample_s / _TICKS
        self._look_also = look_also
        self._timer = timer
        self._process: psutil.Process | None = None
        self._pauses: deque[float] = deque(maxlen=_MOST_PAUSES)
        self._collecting_since = 0.0
        self._last: tuple[float, float] | None = None
        self._sample = ProcessSample()
        self._further: Mapping[str, float] = {}

    async def run(self) -> None:
        """Sample until cancelled."""
        self._add_gauges()
        gc.callbacks.append(self._note_collection)
        try:
            while True:
                await self.look()
                for _ in range(_TICKS):
                    await self._tick()
        finally:
            gc.callbacks.remove(self._note_collection)

    async def look(self) -> None:
        """Take one sample now."""
        self._sample = await anyio.to_thread.run_sync(self._look, abandon_on_cancel=True)
        if self._look_also is not None:
            self._further = await self._look_also()
            for name in self._further:
                self._monitor.gauge(name, lambda name=name: self._further.get(name, math.nan))
        while self._pauses:
            self._monitor.observe("gc.pause", self._pauses.popleft())
        self._monitor.read_sources()

    async def _tick(self) -> None:
        started = self._timer()
        await anyio.sleep(self._tick_s)
        self._monitor.observe("event_loop.lag", max(0.0, self._timer() - started - self._tick_s))

    def _add_gauges(self) -> None:
        self._monitor.gauge("process.rss_bytes", lambda: self._sample.rss_bytes)
        self._monitor.gauge("process.cpu_percent", lambda: self._sample.cpu_percent)
        self._monitor.gauge("process.descriptors", lambda: self._sample.descriptors)
        self._monitor.gauge("process.threads", lambda: self._sample.threads)
        self._monitor.gauge("disk.free_bytes", lambda: self._sample.disk_free_bytes)

    def _look(self) -> ProcessSample:
        try:
            process = self._process = self._process or psutil.Process()
            with process.oneshot():
                return ProcessSample(
                    rss_bytes=process.memory_info().rss,
                    cpu_percent=self._cpu_percent(process.cpu_times()),
                    descriptors=_descriptors(process),
                    threads=process.num_threads(),
                    disk_free_bytes=shutil.disk_usage(self._directory).free,
                )
        except (psutil.Error, OSError):
            return ProcessSample()

    def _cpu_percent(self, times: Any) -> float:
        now, used = self._timer(), times.user + times.system
        last, self._last = self._last, (now, used)
        return math.nan if last is None or now <= last[0] else 100 * (used - last[1]) / (now - last[0])

    def _note_collection(self, phase: str, _info: Mapping[str, int]) -> None:
        # Called wherever memory is allocated, perhaps by the monitor itself under its lock: only kept here, told later.
        if phase == "start":
            self._collecting_since = self._timer()
        elif self._collecting_since:
            self._pauses.append(self._timer() - self._collecting_since)


def _descriptors(process: psutil.Process) -> float:
    count = getattr(process, "num_fds", None) or getattr(process, "num_handles", None)
    return math.nan if count is None else float(count())
