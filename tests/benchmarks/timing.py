"""Taking times: one after the other, or several at once."""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import anyio
import numpy as np

T = TypeVar("T")
Call = Callable[[T], Awaitable[Any]]


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds: median, 95th percentile, best."""
    values = np.asarray(seconds) * 1000
    return {
        "n": len(values),
        "p50_ms": round(float(np.quantile(values, 0.5)), 2),
        "p95_ms": round(float(np.quantile(values, 0.95)), 2),
        "min_ms": round(float(values.min()), 2),
    }


async def timed(call: Call[T], item: T) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    await call(item)
    return time.perf_counter() - started


async def one_by_one(call: Call[T], items: Sequence[T]) -> dict[str, float]:
    """Latencies of calls in sequence."""
    return quantiles([await timed(call, item) for item in items])


async def at_once(call: Call[T], items: Sequence[T], *, width: int) -> dict[str, float]:
    """Latencies and throughput with `width` calls in flight (closed loop)."""
    rest: Iterator[T] = iter(items)
    taken: list[float] = []

    async def worker() -> None:
        for item in rest:
            taken.append(await timed(call, item))  # noqa: PERF401 -- several workers share the list and the iterator

    started = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(width):
            tasks.start_soon(worker)
    total = time.perf_counter() - started
    return {**quantiles(taken), "width": width, "per_s": round(len(taken) / total, 1)}
