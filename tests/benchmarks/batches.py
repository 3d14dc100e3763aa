"""Lists against one call after the other: `bank.batches`, and `run_parallel` for what waits and what computes.

Run: python -m tests.benchmarks batches [--rounds 7]

Ways take turns within a round, so that load hits all alike; ratios are of medians over the rounds, above 1 where the
list is faster. Every search and every trace is a new one; the bank holds 200 lessons, embedded by the default model.
"""

import argparse
import asyncio
import hashlib
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from reasoning_bank import NewTrace, Query, ReasoningBank, load_settings, run_parallel
from reasoning_bank.errors import ReasoningBankError
from reasoning_bank.evaluation.bench.lessons import lesson
from reasoning_bank.learning.recording import Told
from reasoning_bank.records import MemoryItem
from tests.benchmarks.machine import RESULTS, machine

STORED = 200
COUNT = 32
WAIT_S = 0.02
WORKERS = 4
HASHES = 150_000
Way = Callable[[], Awaitable[object]]


def main(arguments: list[str]) -> None:
    """Measure and write results/batches.json."""
    parser = argparse.ArgumentParser(prog="batches")
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args(arguments).rounds
    with tempfile.TemporaryDirectory() as directory:
        rows = asyncio.run(_measure(Path(directory), rounds))
    result = {"machine": machine(), "rounds": rounds, "items": COUNT, "rows": rows}
    (RESULTS / "batches.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=1))


async def _measure(directory: Path, rounds: int) -> dict[str, Any]:
    settings = load_settings(data_dir=directory, vectors={"chroma_mode": "off"})
    numbers = itertools.count(STORED)
    async with ReasoningBank(settings) as bank:
        await bank.batches.store_traces("w", [_told(number) for number in range(STORED)])
        await bank.wait_until_searchable()
        pairs: dict[str, tuple[Way, Way]] = {
            f"{COUNT} searches": (
                lambda: _one_by_one(partial(bank.retrieve, "w", _query(next(numbers))) for _ in range(COUNT)),
                lambda: _all_fine(bank.batches.retrieve_many("w", [_query(next(numbers)) for _ in range(COUNT)])),
            ),
            f"{COUNT} traces": (
                lambda: _one_by_one(_stored(bank, _told(next(numbers))) for _ in range(COUNT)),
                lambda: _all_fine(bank.batches.store_traces("w", [_told(next(numbers)) for _ in range(COUNT)])),
            ),
            f"{COUNT // 4} prompts": (
                lambda: _one_by_one(partial(bank.compress, _prompt(next(numbers))) for _ in range(COUNT // 4)),
                lambda: _all_fine(bank.batches.compress_many([_prompt(next(numbers)) for _ in range(COUNT // 4)])),
            ),
            f"{WORKERS * 2} waits of {WAIT_S:g} s, {WORKERS} threads": _at_once(time.sleep, WAIT_S, WORKERS * 2),
            f"{WORKERS * 2} waits of {WAIT_S:g} s, {WORKERS} coroutines": _at_once(asyncio.sleep, WAIT_S, WORKERS * 2),
            "4 computations, 2 processes": (
                lambda: _one_by_one(partial(asyncio.to_thread, compute, HASHES) for _ in range(4)),
                lambda: run_parallel(dict.fromkeys(range(4), compute), HASHES, max_workers=2, workers="processes"),
            ),
        }
        return {name: await _compared(*ways, rounds) for name, ways in pairs.items()}


def compute(hashes: int) -> str:
    """Work for a processor."""
    digest = b""
    for _ in range(hashes):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()


def _at_once(task: Callable[[float], Any], seconds: float, count: int) -> tuple[Way, Way]:
    tasks = dict.fromkeys(range(count), task)
    return (
        lambda: run_parallel(tasks, seconds, max_workers=1),
        lambda: run_parallel(tasks, seconds, max_workers=WORKERS),
    )


async def _compared(apart: Way, together: Way, rounds: int) -> dict[str, float]:
    await together()
    taken: dict[str, list[float]] = {"one after the other": [], "list": []}
    for number in range(rounds):
        ways = [("one after the other", apart), ("list", together)]
        for name, way in ways if number % 2 else reversed(ways):
            start = time.perf_counter()
            await way()
            taken[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    return {
        **{f"{name}, median ms": round(1_000 * median, 1) for name, median in medians.items()},
        "ratio": round(medians["one after the other"] / medians["list"], 2),
    }


async def _one_by_one(calls: Any) -> None:
    for call in calls:
        await call()


async def _all_fine(answers: Awaitable[list[Any]]) -> None:
    assert not [answer for answer in await answers if isinstance(answer, ReasoningBankError)]


def _stored(bank: ReasoningBank, told: Told) -> Way:
    return partial(bank.store_trace, "w", told.report, memories=told.drafts)


def _told(number: int) -> Told:
    made = lesson(number)
    return Told(NewTrace(made.task, "success"), [MemoryItem("", made.title, made.description, made.content)])


def _query(number: int) -> Query:
    return Query(lesson(number).question)


def _prompt(number: int) -> str:
    return "\n\n".join(lesson(number * 100 + each).content for each in range(12))
