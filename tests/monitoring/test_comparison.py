"""Before and after: intervals of figures, what they allow to say, and two functions on the same data."""

import asyncio
import random

import pytest

from reasoning_bank.errors import InputError
from reasoning_bank.monitoring.comparison import benchmark_optimization, compare
from reasoning_bank.monitoring.estimates import Estimate, estimates, mean_ms, quantile_ms, rate
from reasoning_bank.monitoring.histogram import Histogram
from reasoning_bank.monitoring.rollups import Rollup, of_durations


def durations(seconds: list[float]) -> Histogram:
    counted = Histogram()
    for each in seconds:
        counted.observe(each)
    return counted


def sample(seed: int, *, median: float = 0.05, size: int = 300) -> list[float]:
    chance = random.Random(seed)
    return [median * chance.lognormvariate(0, 0.5) for _ in range(size)]


def of_operation(seconds: list[float]) -> dict[str, Estimate]:
    return estimates({"work": of_durations(durations(seconds))}, minutes=10)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """95 % by their definition; the buckets of 5 % take a little."""
    runs = 200
    mean = 50 * 2.718281828 ** (0.5**2 / 2)
    held = {"median": 0, "mean": 0, "p95": 0, "rate": 0}
    chance = random.Random(5)
    for seed in range(runs):
        drawn = durations(sample(seed))
        hits = sum(chance.random() < 0.3 for _ in range(100))
        checked = {
            "median": (quantile_ms(drawn, 0.5), 50.0),
            "p95": (quantile_ms(drawn, 0.95), 50 * 2.718281828 ** (0.5 * 1.644854)),
            "mean": (mean_ms(drawn), mean),
            "rate": (rate(hits, 100), 0.3),
        }
        for name, (each, truth) in checked.items():
            held[name] += each.low <= truth <= each.high
    assert {name: count >= 0.88 * runs for name, count in held.items()} == dict.fromkeys(held, True), held


def test_every_figure_of_an_operation_a_counter_and_a_gauge() -> None:
    found = estimates(
        {
            "work": of_durations(durations([0.1, 0.2, 0.3])),
            "cache.retrieval.hits": Rollup("counter", total=30),
            "cache.retrieval.misses": Rollup("counter", total=10),
            "memories": Rollup("gauge", 2, 0, 30.0, 10.0, 20.0, 20.0),
            "idle": Rollup("operation"),
        },
        minutes=3,
    )
    assert found["work:count"].value == 3
    assert found["work:per_minute"].value == 1
    assert found["work:mean_ms"].value == pytest.approx(200)
    assert (found["work:min_ms"].value, found["work:max_ms"].value) == (100, pytest.approx(300))
    assert found["cache.retrieval:hit_rate"].value == 0.75
    assert found["cache.retrieval:lookups"].value == 40
    assert (found["memories:value"].value, found["memories:value"].low) == (15, 10)
    assert not [metric for metric in found if metric.startswith("idle")]


def test_an_estimate_comes_back_from_json() -> None:
    one = Estimate(0.25, 0.125, 0.5, 7)
    assert Estimate.of_plain(one.plain()) == one


def test_a_clear_difference_is_told_from_chance() -> None:
    before, same, faster = of_operation(sample(1)), of_operation(sample(2)), of_operation(sample(3, median=0.03))
    verdicts = {change.metric: change.verdict for change in compare(before, same)}
    assert verdicts["work:mean_ms"] == verdicts["work:p50_ms"] == "unclear"
    verdicts = {change.metric: change.verdict for change in compare(before, faster)}
    assert verdicts["work:mean_ms"] == verdicts["work:p50_ms"] == "better"
    assert verdicts["work:count"] == "different"
    verdicts = {change.metric: change.verdict for change in compare(faster, before)}
    assert verdicts["work:mean_ms"] == "worse"


def test_few_observations_allow_no_verdict() -> None:
    few = of_operation([0.1] * 5), of_operation([0.01] * 5)
    assert {change.verdict for change in compare(*few) if change.metric == "work:mean_ms"} == {"unclear"}


def test_a_higher_hit_rate_is_better() -> None:
    (change,) = compare({"cache.a:hit_rate": rate(20, 100)}, {"cache.a:hit_rate": rate(80, 100)})
    assert (change.verdict, change.ratio) == ("better", pytest.approx(4))


def test_a_quantile_needs_observations_beyond_it_and_more_than_a_bucket() -> None:
    slow, fast = of_operation(sample(1, size=60)), of_operation(sample(2, size=60, median=0.01))
    verdicts = {change.metric: change.verdict for change in compare(slow, fast)}
    assert (verdicts["work:mean_ms"], verdicts["work:p95_ms"], verdicts["work:max_ms"]) == (
        "better",
        "unclear",
        "different",
    )
    near = of_operation([0.1] * 200), of_operation([0.104] * 200)
    assert {change.verdict for change in compare(*near) if change.metric == "work:mean_ms"} == {"unclear"}


class Ticks:
    """A timer that a function moves itself."""

    def __init__(self, chance: random.Random) -> None:
        self.at = 0.0
        self._chance = chance

    def __call__(self) -> float:
        return self.at

    def spend(self, seconds: float) -> None:
        self.at += seconds * self._chance.uniform(0.9, 1.1)


@pytest.fixture
def ticks() -> Ticks:
    return Ticks(random.Random(1))


def test_speedup_of_a_faster_function_with_its_interval(ticks: Ticks) -> None:
    def slow(number: int) -> int:
        ticks.spend(0.3)
        return number * 2

    def fast(number: int) -> int:
        ticks.spend(0.1)
        return number + number

    found = benchmark_optimization(slow, fast, range(1, 11), timer=ticks)
    assert found.speedup.low < 3 < found.speedup.high or found.speedup.value == pytest.approx(3, rel=0.05)
    assert (found.speedup.n, found.different, found.faster) == (50, 0, True)
    assert found.original_s > 2.5 * found.optimized_s


def test_equal_functions_are_not_called_faster(ticks: Ticks) -> None:
    def same(number: int) -> int:
        ticks.spend(0.1)
        return number

    found = benchmark_optimization(same, same, range(20), timer=ticks, seed=3)
    assert found.speedup.value == pytest.approx(1, rel=0.05)
    assert not found.faster or found.speedup.low < 1.02


def test_an_optimization_that_changes_answers_is_none(ticks: Ticks) -> None:
    def slow(number: int) -> int:
        ticks.spend(0.3)
        return number

    def wrong(number: int) -> int:
        ticks.spend(0.1)
        return number if number < 3 else -1

    found = benchmark_optimization(slow, wrong, range(5), timer=ticks)
    assert (found.different, found.faster) == (2, False)
    assert found.speedup.low > 1


def test_async_functions_are_timed_too(ticks: Ticks) -> None:
    async def slow(number: int) -> int:
        await asyncio.sleep(0)
        ticks.spend(0.2)
        return number

    def fast(number: int) -> int:
        ticks.spend(0.1)
        return number

    assert benchmark_optimization(slow, fast, range(5), timer=ticks).speedup.value == pytest.approx(2, rel=0.1)


async def test_an_async_function_cannot_be_timed_on_a_running_loop() -> None:
    async def work(number: int) -> int:
        return number

    with pytest.raises(InputError, match="event loop runs"):
        benchmark_optimization(work, work, [1])


def test_without_data_there_is_nothing_to_measure() -> None:
    with pytest.raises(InputError, match="data is empty"):
        benchmark_optimization(len, len, [])
