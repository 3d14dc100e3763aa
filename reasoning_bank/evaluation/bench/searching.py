"""Searches: how fast at which size, and what an answer that is given again saves."""

import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Final

import numpy as np

from reasoning_bank.evaluation.bench.filling import WORKSPACE
from reasoning_bank.evaluation.bench.rows import BeyondScaleError, Measured, compared, cpu_milliseconds, paired
from reasoning_bank.evaluation.bench.workbench import Opened, Workbench
from reasoning_bank.records import Query

K: Final = 5
PER_ROUND: Final = 4
"""Questions asked each way in one round."""
AGAIN: Final = 10
"""Times each of them is asked again, which takes so little that one would not show."""
CLIENTS, TASKS, REPEATS = 3, 10, 10
"""Of the traffic of clients that repeat themselves: every task of theirs so many times."""
QUESTIONS, REQUESTS = 50, 120
"""Of the traffic of many: so many requests, drawn by Zipf's law from so many questions."""
COLLECTED: Final = 10
"""Questions of a round that has to meet Python's garbage collector."""
FROZEN_THRESHOLDS = 50_000, 20, 100
"""Of a collector whose old objects are frozen; Python's own are 700, 10, 10 up to 3.12."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Milliseconds of one search, and whether an earlier answer was given again."""

    ms: float
    cached: bool


def ask(opened: Opened, questions: Sequence[str]) -> list[Answered]:
    """Ask one question after the other; milliseconds as a caller in the bank's process sees them."""

    async def all_of_them() -> list[Answered]:
        answers: list[Answered] = []
        for question in questions:
            started = time.perf_counter()
            found = await opened.bank.retrieve(WORKSPACE, Query(question, k=K))
            answers.append(Answered(1000 * (time.perf_counter() - started), found.cached))
        return answers

    return opened.call(all_of_them)


def cpu_ms(opened: Opened, questions: Sequence[str]) -> float:
    """Processor milliseconds of one of the searches."""
    return cpu_milliseconds(lambda: ask(opened, questions)) / len(questions)


def repeated_query(bench: Workbench) -> Measured:
    """A question asked for the first time against the same one asked again."""
    opened = bench.bank()
    _warm(opened, bench)
    first: list[float] = []
    again: list[float] = []
    for _ in range(bench.scale.rounds):
        asked = bench.questions(PER_ROUND)
        first.append(cpu_ms(opened, asked))
        again.append(cpu_ms(opened, AGAIN * asked))
    return compared(first, again, unit="CPU ms")


def query_traffic(bench: Workbench) -> Measured:
    """A stream in which few questions come often: a bank without caches against one with them."""
    cached, bare = bench.bank(), bench.bank(cached=False)
    _warm(cached, bench)
    _warm(bare, bench)
    rates: list[float] = []
    without: list[float] = []
    with_caches: list[float] = []
    for number in range(bench.scale.few):
        stream = zipf(bench.questions(QUESTIONS), REQUESTS, seed=number)
        without.append(cpu_ms(bare, stream))
        started = time.process_time()
        rates.append(statistics.mean(answer.cached for answer in ask(cached, stream)))
        with_caches.append(1000 * (time.process_time() - started) / len(stream))
    return compared(without, with_caches, unit="CPU ms", figures={"hit_rate": statistics.mean(rates)})


def repeated_calls(bench: Workbench) -> Measured:
    """Calls of a client that repeats itself against those of them that were worked on."""
    opened = bench.bank()
    _warm(opened, bench)
    worked: list[float] = []
    for _ in range(CLIENTS):
        tasks = bench.questions(TASKS)
        answers = [answer for _ in range(REPEATS) for answer in ask(opened, tasks)]
        worked.append(sum(not answer.cached for answer in answers))
    calls = TASKS * REPEATS
    saved = 1 - statistics.median(worked) / calls
    return compared([calls] * CLIENTS, worked, unit="calls", figures={"saved": saved})


def retrieval(size: int) -> Callable[[Workbench], Measured]:
    """What measures searches of a bank of that size."""
    return partial(_retrieval, size)


def zipf(questions: Sequence[str], count: int, *, seed: int) -> list[str]:
    """A stream of so many requests; the question at place r is asked in proportion to 1 / r (Zipf's law, s = 1)."""
    rng = random.Random(seed)  # noqa: S311 -- the same stream in each run
    weights = list(accumulate(1 / place for place in range(1, len(questions) + 1)))
    return rng.choices(questions, cum_weights=weights, k=count)


def collector(bench: Workbench) -> Measured:
    """Searches with Python's own garbage collection against a collector that leaves what is there since warm-up."""
    opened = bench.bank(cached=False)
    _warm(opened, bench)
    thresholds = gc.get_threshold()

    def as_python_does() -> float:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        return cpu_ms(opened, bench.questions(COLLECTED))

    def frozen() -> float:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*FROZEN_THRESHOLDS)
        return cpu_ms(opened, bench.questions(COLLECTED))

    try:
        return paired(as_python_does, frozen, rounds=bench.scale.rounds, unit="CPU ms")
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


def _retrieval(size: int, bench: Workbench) -> Measured:
    """Embedding a new question, which any search by meaning must, against a whole search."""
    if size > bench.scale.largest:
        raise BeyondScaleError(f"this scale stops at {bench.scale.largest:,} memories")
    opened, embedder = bench.bank(size), bench.model()
    _warm(opened, bench, size=size)
    taken: list[float] = []

    def embedded() -> float:
        return cpu_milliseconds(lambda: [embedder.encode([question], "query") for question in asked()]) / PER_ROUND

    def whole() -> float:
        started = time.process_time()
        taken.extend(answer.ms for answer in ask(opened, asked()))
        return 1000 * (time.process_time() - started) / PER_ROUND

    def asked() -> list[str]:
        return bench.questions(PER_ROUND, size=size)

    measured = paired(embedded, whole, rounds=2 * bench.scale.rounds, unit="CPU ms")
    p50, p95 = np.quantile(taken, [0.5, 0.95])
    return replace(measured, figures={"p50_ms": float(p50), "p95_ms": float(p95), "searches": len(taken)})


def _warm(opened: Opened, bench: Workbench, *, size: int | None = None) -> None:
    """What the first searches load is not what the others cost."""
    ask(opened, bench.questions(PER_ROUND, size=size))
