"""Before and after: figures of two times, and two functions on the same data."""

import asyncio
import inspect
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal, TypeVar, cast

from reasoning_bank.errors import InputError
from reasoning_bank.monitoring.estimates import Estimate, resampled_mean

T = TypeVar("T")
Verdict = Literal["better", "worse", "unclear", "different"]

LEAST: Final[Mapping[str, int]] = {
    "mean_ms": 20,
    "p50_ms": 20,
    "p95_ms": 100,
    "p99_ms": 500,
    "error_rate": 20,
    "hit_rate": 20,
}
"""What has a better side, and the observations on either side below which nothing is said: five beyond a quantile."""
RESOLUTION: Final = 0.05
"""Durations are counted in buckets of 5 %: a smaller difference is none."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure before and after.

    Attributes:
        ratio: after over before; None where before is 0.
        verdict: `unclear` where the intervals overlap or too few observations stand behind one; `different` for what is
            neither good nor bad, such as the number of calls.
    """

    metric: str
    before: Estimate
    after: Estimate
    ratio: float | None
    verdict: Verdict


def compare(before: Mapping[str, Estimate], after: Mapping[str, Estimate]) -> list[Change]:
    """What both times measured, in the order of `before`."""
    return [_change(metric, each, after[metric]) for metric, each in before.items() if metric in after]


def _change(metric: str, before: Estimate, after: Estimate) -> Change:
    ratio = after.value / before.value if before.value else None
    return Change(metric, before, after, ratio, _verdict(metric, before, after))


def _verdict(metric: str, before: Estimate, after: Estimate) -> Verdict:
    statistic = metric.rpartition(":")[2]
    if statistic not in LEAST:
        return "different"
    apart = before.low > after.high or after.low > before.high
    small = abs(after.value - before.value) <= RESOLUTION * before.value
    if min(before.n, after.n) < LEAST[statistic] or not apart or small:
        return "unclear"
    return "better" if (after.value > before.value) == (statistic == "hit_rate") else "worse"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Two functions on the same data.

    Attributes:
        speedup: time of the original over the optimized one, each pair by itself: above 1 is faster. The mean of the
            logarithms, with its bootstrap interval.
        original_s, optimized_s: seconds of all rounds together.
        different: data on which the two do not return the same. An optimization that changes answers is none.
    """

    speedup: Estimate
    original_s: float
    optimized_s: float
    different: int

    @property
    def faster(self) -> bool:
        """Whether the optimized one is faster beyond chance, and returns the same."""
        return self.speedup.low > 1 and not self.different


def benchmark_optimization(
    original: Callable[[T], Any],
    optimized: Callable[[T], Any],
    data: Sequence[T],
    *,
    rounds: int = 5,
    seed: int = 0,
    timer: Callable[[], float] = time.perf_counter,
) -> Benchmark:
    """Time two functions, plain or async, on the same data in pairs, and say how much faster the second is.

    Both run once on each datum before anything is timed, and who goes first in a pair changes by chance, so that
    neither warm caches nor a machine that slows down favour one. Async functions run on an event loop of this call's:
    from a running one, call it in a thread.

    Args:
        data: what each is called with, one after another.
        rounds: pairs for each datum.
        seed: of chance: who goes first, and the bootstrap.

    Raises:
        InputError: there is no data, or an event loop runs in this thread already and a function is async.
    """
    if not data or rounds < 1:
        raise InputError("data is empty or rounds below 1: there is nothing to measure")
    chance = Random(seed)  # noqa: S311 -- chance of a measurement, not of a secret
    if not any(map(inspect.iscoroutinefunction, (original, optimized))):
        return _timed(_plain(original, timer), _plain(optimized, timer), data, rounds, chance)
    if _on_a_loop():
        raise InputError("an event loop runs in this thread: call benchmark_optimization in another one")
    with asyncio.Runner() as runner:
        calls = (_on_loop(runner, original, timer), _on_loop(runner, optimized, timer))
        return _timed(*calls, data, rounds, chance)


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_Timed = Callable[[T], tuple[float, object]]


def _plain(function: Callable[[T], Any], timer: Callable[[], float]) -> _Timed[T]:
    def timed(datum: T) -> tuple[float, object]:
        start = timer()
        result = function(datum)
        return timer() - start, result

    return timed


def _on_loop(runner: asyncio.Runner, function: Callable[[T], Any], timer: Callable[[], float]) -> _Timed[T]:
    if not inspect.iscoroutinefunction(function):
        return _plain(function, timer)

    async def inside(datum: T) -> tuple[float, object]:
        start = timer()
        result = await cast("Awaitable[object]", function(datum))
        return timer() - start, result

    return lambda datum: runner.run(inside(datum))


def _timed(original: _Timed[T], optimized: _Timed[T], data: Sequence[T], rounds: int, chance: Random) -> Benchmark:
    different = sum(original(datum)[1] != optimized(datum)[1] for datum in data)
    logs: list[float] = []
    spent = [0.0, 0.0]
    for _ in range(rounds):
        for datum in data:
            seconds = [0.0, 0.0]
            for which in chance.sample((0, 1), 2):
                seconds[which] = max((original, optimized)[which](datum)[0], 1e-9)
                spent[which] += seconds[which]
            logs.append(math.log(seconds[0] / seconds[1]))
    mean = resampled_mean(logs, lambda values, size: chance.choices(values, k=size))
    speedup = Estimate(math.exp(mean.value), math.exp(mean.low), math.exp(mean.high), mean.n)
    return Benchmark(speedup, spent[0], spent[1], different)
