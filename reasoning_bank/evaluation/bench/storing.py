"""The truth on disk: what a writer waits for, what many rows in one call save, and what a cache spares a reader."""

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import anyio
import numpy as np

from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.evaluation.bench.filling import WORKSPACE, lesson_row
from reasoning_bank.evaluation.bench.lessons import lesson
from reasoning_bank.evaluation.bench.rows import Measured, milliseconds, paired
from reasoning_bank.evaluation.bench.workbench import Opened, Workbench
from reasoning_bank.records import ImportedTrace, MemoryDetail, MemoryItem, NewTrace
from reasoning_bank.storage import embeddings

STORED: Final = "stored"
"""The workspace that is written to, beside the one that is searched."""
PER_ROUND: Final = 4
BATCH: Final = 50
READ: Final = 20
READS: Final = 1_000
_FIRST: Final = 5_000_000
_POLL_S: Final = 0.005


def background_work(bench: Workbench) -> Measured:
    """`store_trace` and waiting until the memory is found by meaning, against `store_trace`, which only must last."""
    opened, model_id = bench.bank(), bench.model().identity.model_id
    numbers = itertools.count(_FIRST)

    def in_the_foreground() -> float:
        return statistics.median(_store(opened, number, until=model_id) for number in _some(numbers, PER_ROUND))

    def in_the_background() -> float:
        taken = [_store(opened, number) for number in _some(numbers, PER_ROUND)]
        opened.call(opened.bank.wait_until_searchable)
        return statistics.median(taken)

    in_the_background()
    return paired(in_the_foreground, in_the_background, rounds=bench.scale.rounds)


def many_writes(bench: Workbench) -> Measured:
    """Rows stored one transaction each against all in one: milliseconds of a row."""
    opened = bench.bank()
    numbers = itertools.count(2 * _FIRST)

    def store(batches: Sequence[Sequence[ImportedTrace]]) -> float:
        async def all_of_them() -> float:
            started = time.perf_counter()
            for batch in batches:
                await opened.bank.store_many(STORED, batch)
            return 1000 * (time.perf_counter() - started) / BATCH

        taken = opened.call(all_of_them)
        opened.call(opened.bank.wait_until_searchable)
        return taken

    return paired(
        lambda: store([[lesson_row(number)] for number in _some(numbers, BATCH)]),
        lambda: store([[lesson_row(number) for number in _some(numbers, BATCH)]]),
        rounds=max(bench.scale.rounds // 3, 3),
        figures={"rows": BATCH},
    )


def many_reads(bench: Workbench) -> Measured:
    """Memories read by id with their traces, one query after the other against one for all; milliseconds of a call."""
    opened = bench.bank()
    ids = [f"m_{number}" for number in range(min(READ, bench.scale.memories))]
    single: list[float] = []

    async def one_by_one() -> float:
        for id in ids:
            started = time.perf_counter()
            await opened.bank.get_memories(WORKSPACE, [id])
            single.append(1000 * (time.perf_counter() - started))
        return sum(single[-len(ids) :])

    async def at_once() -> float:
        started = time.perf_counter()
        await opened.bank.get_memories(WORKSPACE, ids)
        return 1000 * (time.perf_counter() - started)

    measured = paired(lambda: opened.call(one_by_one), lambda: opened.call(at_once), rounds=2 * bench.scale.rounds)
    p95 = float(np.quantile(single, 0.95))
    return replace(measured, figures={"memories": len(ids), "mean_ms": statistics.mean(single), "p95_ms": p95})


def cache_read(bench: Workbench) -> Measured:
    """A memory read from the database against the same one read from a memory cache."""
    opened = bench.bank()
    cache = MemoryCache[MemoryDetail]()
    cache.put((WORKSPACE, "m_0"), opened.call(opened.bank.get_memories, WORKSPACE, ["m_0"])[0])

    async def read() -> float:
        started = time.perf_counter()
        await opened.bank.get_memories(WORKSPACE, ["m_0"])
        return 1000 * (time.perf_counter() - started)

    return paired(
        lambda: statistics.median(opened.call(read) for _ in range(PER_ROUND)),
        lambda: milliseconds(lambda: cache.get((WORKSPACE, "m_0")), times=READS),
        rounds=2 * bench.scale.rounds,
    )


def _store(opened: Opened, number: int, *, until: str = "") -> float:
    """Milliseconds of storing one trace with one memory, and until the model of that id has embedded it."""
    made = lesson(number)
    draft = MemoryItem(text="", title=made.title, description=made.description, content=made.content)

    async def call() -> float:
        started = time.perf_counter()
        await opened.bank.store_trace(STORED, NewTrace(task=made.task, outcome="success"), memories=[draft])
        while until and not await _embedded(opened, until):  # noqa: ASYNC110 -- no event says so
            await anyio.sleep(_POLL_S)
        return 1000 * (time.perf_counter() - started)

    return opened.call(call)


async def _embedded(opened: Opened, model_id: str) -> bool:
    coverage = await opened.bank.rooms.database.read(lambda c: embeddings.coverage(c, model_id, STORED))
    return coverage.embedded >= coverage.live


def _some(numbers: Iterator[int], count: int) -> list[int]:
    return list(itertools.islice(numbers, count))
